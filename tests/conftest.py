"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machines are shared: how long an example takes says nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


LONGEST = (
    "tests/night",
    "tests/recipes/ifs",
    "tests/bench/test_faults.py",
    "tests/contracts/test_types.py",
    "tests/night/test_chunks.py",
    "tests/execution/test_kills.py",
    "irdis samples",
    "tests/recipes/ifs/test_star_tracks.py",
    "tests/kernels/microspectra/test_extraction.py",
    "tests/bench/test_fuzz.py",
    "tests/bench/ifs/test_ifs_references.py",
    "tests/execution/test_failures.py",
    "tests/execution/test_long_sequences.py",
)
"""Groups of tests by the CPU they take, those over a quarter of a minute: they begin first, so that no worker is left
alone with one at the end."""


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data of `$ARCHIVE_PROC_SHARED`, else `shared` beside the checkout; tests that ask for them skip without."""
    named = os.environ.get("ARCHIVE_PROC_SHARED")
    found = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not found.is_dir():
        pytest.skip("the team's data are not beside this checkout; set ARCHIVE_PROC_SHARED")
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what `scripts/test core` leaves out: `samples` asks for the shared data, `frames` reduces whole IFS frames.

    Also says who runs together and who first, for `--dist loadgroup --no-loadscope-reorder`.
    """
    for item in items:
        asked = getattr(item, "fixturenames", ())
        if "shared" in asked:
            item.add_marker("samples")
        if "night" in asked and "recipes/ifs" in item.path.as_posix():
            item.add_marker("frames")
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(_made_once(item)))
    place = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.get_closest_marker("xdist_group").args[0], len(place)))


def _made_once(item: pytest.Item) -> str:
    """The folder or file whose fixtures this test shares with others: one worker runs them all and makes them once.

    Files stay whole too: what a file's tests compile, compute once or keep in a cache is its own.
    """
    made = [defs[-1] for defs in item._fixtureinfo.name2fixturedefs.values()]
    bases = {one.baseid for one in made if one.scope != "function" and one.baseid not in ("", "tests")}
    return min(bases, key=len, default=item.nodeid.split("::")[0])
