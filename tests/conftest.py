"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The machines are shared: how long an example takes says nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


FOLDERS = ("tests/night/", "tests/recipes/ifs/", "tests/slurm/")
"""Their files share what takes long to make (a reduced night, a SLURM): one worker runs them all and makes it once."""
APART = (
    "tests/night/test_chunks.py",
    "tests/recipes/ifs/test_cubes.py",
    "tests/recipes/ifs/test_extract.py",
    "tests/recipes/ifs/test_star_tracks.py",
)
"""Files of those folders that take long and ask for nothing that the others share."""
SAMPLES = ("tests/recipes/test_tracks.py", "tests/recipes/test_sample_cubes.py")
"""Files that share masters of the sample sets by a cache."""
CHEAP = ("", "tests", "tests/association")
"""Folders whose shared fixtures may as well be made in every worker."""
LONGEST = (
    "tests/night/",
    "tests/recipes/ifs/",
    "tests/bench/test_faults.py",
    "tests/contracts/test_types.py",
    "irdis samples",
    "tests/execution/test_kills.py",
    "tests/execution/test_failures.py",
    "tests/night/test_chunks.py",
    "tests/recipes/ifs/test_star_tracks.py",
    "tests/kernels/microspectra/test_extraction.py",
    "tests/bench/ifs/test_ifs_references.py",
    "tests/bench/test_fuzz.py",
    "tests/execution/test_long_sequences.py",
    "tests/execution/test_bundles.py",
    "tests/execution/test_hangs.py",
    "tests/bench/test_engine.py",
    "tests/simulate/test_semester_pixels.py",
    "tests/simulate/ifs/test_ifs_night.py",
)
"""Groups by the time they take, those over some ten seconds: they begin first, so that no worker is left alone with
one at the end."""


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data of `$ARCHIVE_PROC_SHARED`, else `shared` beside the checkout; tests that ask for them skip without."""
    named = os.environ.get("ARCHIVE_PROC_SHARED")
    found = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not found.is_dir():
        pytest.skip("the team's data are not beside this checkout; set ARCHIVE_PROC_SHARED")
    return found


def group(nodeid: str) -> str:
    """Whose tests one worker runs: a folder's that shares fixtures, else a file's.

    Files stay whole: what a file's tests compile, compute once or keep in a cache is its own.
    """
    file = nodeid.split("::")[0]
    if file in SAMPLES:
        return "irdis samples"
    return file if file in APART else next((one for one in FOLDERS if file.startswith(one)), file)


# Any: a configuration and a log of pytest-xdist, which may not be installed.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> Any:
    """Who gives groups to workers, for `--dist loadgroup`.

    xdist's own reads a test's group off the end of its id, where pytest 9.2 lets nobody write it: it went on without a
    word, test by test, and every worker made every night.
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return ByGroup(config, log)


_WORKERS: defaultdict[str, set[str]] = defaultdict(set)
"""Group -> workers that ran tests of it, as the process that hands them out hears."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _WORKERS[group(report.nodeid)].add(getattr(report, "worker_id", ""))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A group that several workers ran fails the session: its tests pass, but everything is made several times."""
    torn = sorted(name for name, workers in _WORKERS.items() if len(workers) > 1)
    if torn and session.config.getoption("dist", "no") == "loadgroup":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\nseveral workers ran tests of one group: {', '.join(torn)}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what `scripts/test core` leaves out: `samples` asks for the shared data, `frames` reduces whole IFS frames.

    Also says who is first, for `--dist loadgroup --no-loadscope-reorder`.
    """
    sharing: defaultdict[str, set[str]] = defaultdict(set)
    for item in items:
        asked = getattr(item, "fixturenames", ())
        if "shared" in asked:
            item.add_marker("samples")
        if "night" in asked and "recipes/ifs" in item.path.as_posix():
            item.add_marker("frames")
        for folder in _shares(item):
            sharing[folder].add(group(item.nodeid))
    torn = {folder: sorted(groups) for folder, groups in sharing.items() if len(groups) > 1}
    assert not torn, f"these share fixtures of a folder's conftest.py, which several workers would make: {torn}"
    place = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(group(item.nodeid), len(place)))


def _shares(item: pytest.Item) -> set[str]:
    """Folders whose session's fixtures this test asks for, cheap ones apart."""
    made = [defs[-1] for defs in item._fixtureinfo.name2fixturedefs.values()]
    return {one.baseid for one in made if one.scope == "session" and one.baseid not in CHEAP}
