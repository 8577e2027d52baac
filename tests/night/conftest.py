"""The night of these tests: simulated once a worker, reduced once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import nights

from archive_proc.archive import Archive
from archive_proc.simulate.truth import Truth


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return nights.small_night(tmp_path_factory.mktemp("night") / "raw")


@pytest.fixture(scope="session")
def reduced(night: Truth, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The night, reduced on `serial`. Read it only: `reduced_copy` is for tests that change something."""
    archive = nights.archive_of(tmp_path_factory.mktemp("reduced") / "A", night.directory)
    _, outcome = nights.run_serial(archive)
    assert outcome.exit_status == 0, [one.message for one in outcome.failures]
    return Archive.open(archive.root)


@pytest.fixture
def reduced_copy(reduced: Archive, tmp_path: Path) -> Archive:
    return Archive.open(nights.copied(reduced.root, tmp_path / "A"))
