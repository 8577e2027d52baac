"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machines are shared: how long an example takes says nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


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

    Tests of whole frames share one simulated night and its masters: they run after each other in one worker, so that
    these are made once.
    """
    for item in items:
        asked = getattr(item, "fixturenames", ())
        if "shared" in asked:
            item.add_marker("samples")
        if "night" in asked and "recipes/ifs" in item.path.as_posix():
            item.add_marker("frames")
        if item.get_closest_marker("frames"):
            item.add_marker(pytest.mark.xdist_group("ifs frames"))
