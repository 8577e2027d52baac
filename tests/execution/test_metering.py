"""What tasks cost is on record: in the journal task by task, in process.json phase by phase."""

from __future__ import annotations

import gc
import time
import weakref
from pathlib import Path

import pytest
from toy_night import Night, night, site

from archive_proc.bench.run_records import latest_that_worked, read_records
from archive_proc.errors import InputError
from archive_proc.execution.compiling import compiling_apart
from archive_proc.execution.executor import execute
from archive_proc.model.events import ProcessChanged, RunStarted, TaskEnded, WorkerReady
from archive_proc.model.ids import RunId
from archive_proc.model.phases import Phase, PhaseClock
from archive_proc.model.processes import State
from archive_proc.storage.journal import read_journal
from archive_proc.storage.records import read_record
from archive_proc.storage.runs import run_ids
from archive_proc.storage.seal import remove_tree


def run(tonight: Night, backend: str, **options: object) -> tuple[object, ...]:
    outcome = execute(
        tonight.plan, tonight.layout, tonight.frames, site(backend=backend, workers=2), tonight.options(**options)
    )
    assert outcome.exit_status == 0
    return read_journal(tonight.layout.journal(RunId(outcome.run_id))).events


@pytest.mark.parametrize(("backend", "chunk"), [("serial", 1000), ("local", 16)])
def test_every_task_tells_its_phases_and_they_add_up(tmp_path: Path, backend: str, chunk: int) -> None:
    tonight = night(tmp_path)
    events = run(tonight, backend, chunk_planes=chunk)
    tasks = [one for one in events if isinstance(one, TaskEnded)]
    for one in tasks:
        assert sum(cost.wall_s for cost in one.phases.values()) == pytest.approx(one.wall_s, abs=1e-3)
        assert sum(cost.cpu_s for cost in one.phases.values()) == pytest.approx(one.cpu_s, abs=1e-3)
        assert one.resident_bytes > 0
        assert one.peak_memory_bytes > 0
    for process in (tonight.dark, tonight.cube, tonight.centered):
        mine = [one for one in tasks if one.process_id == process.process_id]
        done = next(
            one
            for one in events
            if isinstance(one, ProcessChanged) and (one.process_id, one.state) == (process.process_id, State.DONE)
        )
        assert sum(one.cpu_s for one in mine) == pytest.approx(done.cpu_s, abs=0.01)
        assert len(mine) == done.tasks
        record = read_record(tonight.layout.product_dir(process.process_id))
        assert sum(one.wall_s for one in record.phases.values()) == pytest.approx(record.wall_s, abs=1e-3)
        assert {"read", "block", "write", "digest"} <= set(record.phases)
        # Raw files and Zarr are told apart: the last of the three is made of a product.
        assert ("raw" in record.phases) == (process is not tonight.centered)
        # The record cannot know what came after it: the rest of the sealing.
        assert record.wall_s <= sum(one.wall_s for one in mine) + 1e-3
        assert record.planes_read == sum(one.planes_read for one in mine)
        assert record.bytes_read >= sum(one.bytes_read for one in mine if one.task != "close")


def test_a_few_planes_are_read_once_for_all_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, readings in ((10**6, 1), (0, 2)):
        monkeypatch.setattr("archive_proc.execution.planes.FEW_BYTES", limit)
        monkeypatch.setattr("archive_proc.execution.planes.HELD_BYTES", limit)
        tonight = night(tmp_path / str(limit), science=(5, 4))
        run(tonight, "serial")
        record = read_record(tonight.layout.product_dir(tonight.cube.process_id))
        assert (record.planes, record.planes_read) == (9, readings * 9)


def test_workers_tell_once_when_they_were_ready(tmp_path: Path) -> None:
    events = run(night(tmp_path), "local", chunk_planes=16)
    started = next(one for one in events if isinstance(one, RunStarted))
    ready = [one for one in events if isinstance(one, WorkerReady)]
    workers = {one.pid for one in events if isinstance(one, TaskEnded)}
    assert {one.pid for one in ready} == workers
    assert len(ready) == len(workers) <= started.workers
    assert all(one.cpu_s > 0 and one.wall_s > 0 and one.ready_at > started.at for one in ready)


def test_a_run_in_this_process_starts_no_worker(tmp_path: Path) -> None:
    assert not any(isinstance(one, WorkerReady) for one in run(night(tmp_path), "serial"))


def test_a_run_that_did_nothing_cannot_be_measured(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    run(tonight, "serial")
    (first,) = run_ids(tonight.layout)
    again = execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options())
    with pytest.raises(InputError, match="AP-BEN-001"):
        read_records(tonight.layout, again.run_id)
    assert latest_that_worked(tonight.layout) == first < again.run_id


def test_of_runs_that_all_did_nothing_none_is_the_latest_that_worked(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    run(tonight, "serial")
    again = execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options())
    for run_id in run_ids(tonight.layout):
        if run_id != again.run_id:
            remove_tree(tonight.layout.run_dir(run_id))
    with pytest.raises(InputError, match=f"AP-BEN-001 run {again.run_id[:12]}"):
        latest_that_worked(tonight.layout)


class _Circle:
    """Holds itself, as an error does that stands in a frame of its own traceback."""

    def __init__(self) -> None:
        self.own = self


def test_what_compiling_left_behind_is_let_go_of_and_nothing_is_looked_for_where_none_was() -> None:
    numba = pytest.importorskip("numba")
    clock = PhaseClock(lambda: (time.monotonic(), time.process_time()))
    kernel = numba.njit(lambda n: n * 5 + 1)

    def left_by_a_call(n: int) -> weakref.ref[_Circle]:
        circle = _Circle()
        assert kernel(n) == n * 5 + 1
        return weakref.ref(circle)

    gc.disable()
    try:
        with compiling_apart(clock) as let_go:
            first = left_by_a_call(2)
            assert first() is not None
            let_go()
            assert first() is None
            second = left_by_a_call(3)
            let_go()
            assert second() is not None
        assert second() is not None
        with compiling_apart(clock):
            third = left_by_a_call(2.5)
        assert third() is None
    finally:
        gc.enable()


def test_making_a_kernel_is_neither_start_up_nor_the_recipe_and_using_it_is() -> None:
    numba = pytest.importorskip("numba")
    numba.njit(lambda n: n)(1)  # what numba sets up once is not this kernel's
    clock = PhaseClock(lambda: (time.monotonic(), time.process_time()))
    kernel = numba.njit(lambda n: n * 3 + 1)
    with compiling_apart(clock), clock(Phase.BLOCK):
        assert kernel(2) == 7
        made = clock.costs()["compile"].cpu_s
        assert kernel(3) == 10
        assert clock.costs()["compile"].cpu_s == made
    assert made > clock.costs()["block"].cpu_s
    assert made > clock.costs()["start"].cpu_s
