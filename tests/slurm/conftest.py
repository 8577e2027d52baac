"""A real SLURM for the tests marked `slurm`: cluster/slurm-local on free ports, stopped at the end whatever happens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive_proc.bench.faults.grounds import Grounds, stand_in_grounds
from archive_proc.bench.faults.on_slurm.cluster import NODES, SCRIPTS, free_ports

HERE = Path(__file__).parent
# Helpers of these tests, and toy recipes that worker processes import by name.
for place in (HERE, HERE.parent / "execution"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from slurm_site import queue, write_site  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Path]:
    """The directory of a running cluster; commands of this process talk to it. No SLURM here: skipped. A SLURM that
    does not start: failed."""
    if shutil.which("sinfo") is None:
        pytest.skip("SLURM is not installed")
    place = Path(tempfile.mkdtemp(prefix="ap-slurm-"))
    given = {"AP_SLURM_DIR": str(place), "AP_SLURM_PORT": str(free_ports(NODES + 1)), "AP_SLURM_NODES": str(NODES)}
    before = {name: os.environ.get(name) for name in ("SLURM_CONF", *given)}
    os.environ.update(given)
    try:
        subprocess.run([SCRIPTS / "start"], check=True)
        os.environ["SLURM_CONF"] = str(place / "slurm.conf")
        yield place
    finally:
        subprocess.run([SCRIPTS / "stop", "--remove"], check=False)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="session")
def grounds(slurm: Path, tmp_path_factory: pytest.TempPathFactory) -> Grounds:
    """A small night for stand-in recipes, ingested; undisturbed it was run serially."""
    made = stand_in_grounds(tmp_path_factory.mktemp("grounds"), ndit=40)
    made.pause_s = 0.2  # runs last long enough to be disturbed
    write_site(made.template, "jobs")
    return made


@pytest.fixture(autouse=True)
def no_job_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every run gives its jobs back."""
    yield
    if "slurm" in request.fixturenames:
        until = time.monotonic() + 60
        while (left := queue()) and time.monotonic() < until:
            time.sleep(0.2)
        if left:
            subprocess.run(["scancel", *left], check=False)
        assert left == []
