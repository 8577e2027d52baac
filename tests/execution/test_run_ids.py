"""The order of run ids is the order of runs, whatever the clock says: which product is current hangs on it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from toy_night import night, site

from archive_proc.execution.executor import execute
from archive_proc.model.ids import RunId
from archive_proc.storage.layout import Layout
from archive_proc.storage.runs import new_run_id, run_ids

HOUR_S = 3600.0


def test_a_run_after_the_clock_went_back_is_still_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tonight = night(tmp_path)
    first = execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options())
    now = time.time()
    monkeypatch.setattr("archive_proc.storage.runs.time.time", lambda: now - HOUR_S)
    later = [execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options()) for _ in range(3)]
    ids = [one.run_id for one in (first, *later)]
    assert ids == sorted(ids)
    assert run_ids(tonight.layout) == tuple(ids)


def test_a_run_that_left_nothing_but_its_directory_counts(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    newest = RunId(f"{int(time.time() * 1000) + 86_400_000:012x}{'0' * 20}")
    for name in (newest, "r1", "f" * 40, "README"):
        layout.run_dir(RunId(name)).mkdir(parents=True)
    made = new_run_id(layout)
    assert made > newest
    assert len(made) == len(newest)
    assert int(made[:12], 16) == int(newest[:12], 16) + 1


def test_where_the_clock_runs_forward_the_id_tells_the_time(tmp_path: Path) -> None:
    before = int(time.time() * 1000)
    made = int(new_run_id(Layout(tmp_path))[:12], 16)
    assert before <= made <= int(time.time() * 1000)
