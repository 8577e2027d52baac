"""A small published archive: one current reduction, one superseded, one failed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "flow"))

import making

from archive_proc.flow.publish import publish
from archive_proc.storage.layout import Layout


@dataclass(frozen=True)
class Published:
    archive: making.Archive
    old: making.Night
    new: making.Night
    failed: making.Night

    @property
    def layout(self) -> Layout:
        return self.archive.layout


def _make(root: Path) -> Published:
    archive = making.archive(root)
    publish(archive.layout, making.understanding())
    old, new, failed = making.night(5.0), making.night(4.0), making.night(3.0)
    for run, night, sealed in (("r1", old, ()), ("r2", new, (new.dark,))):
        run_id = archive.start(run, making.plan_of(night.all, sealed))
        for one in night.all:
            if one not in sealed:
                archive.seal(run_id, one)
        archive.end(run_id, done=4 - len(sealed), cached=len(sealed))
    run_id = archive.start("r3", making.plan_of(failed.all, (failed.dark,)))
    archive.fail(run_id, failed.sky)
    archive.block(run_id, failed.cube, failed.sky)
    archive.block(run_id, failed.centered, failed.sky)
    archive.end(run_id, failed=1, blocked=2, cached=1)
    publish(archive.layout)
    return Published(archive, old, new, failed)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Read-only for tests."""
    return _make(tmp_path_factory.mktemp("catalog") / "A")


@pytest.fixture
def own(tmp_path: Path) -> Published:
    """For tests that change it."""
    return _make(tmp_path / "A")
