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
    """What asks for the shared data is marked `samples`: full-size planes, left out of `scripts/test core`."""
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker("samples")
