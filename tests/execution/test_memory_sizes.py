"""What needs more memory than a normal worker gets it: by prediction, or after it was too little."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toy_night import night, plan_of, process, raw_input, site

from archive_proc.errors import PreconditionError
from archive_proc.execution.backends import SerialBackend
from archive_proc.execution.calls import Bundle
from archive_proc.execution.executor import execute
from archive_proc.execution.larger import WithLarger
from archive_proc.execution.memory_sizes import fitting_gb, machine_gb, sizes_gb
from archive_proc.model.events import ProcessFailed
from archive_proc.model.processes import Cause, State
from archive_proc.storage.journal import read_journal


def test_sizes_are_those_of_the_profile_and_on_one_machine_all_there_is() -> None:
    assert sizes_gb(site(memory_per_worker_gb=4.0, larger_workers_gb=(64.0, 16.0, 2.0))) == (4.0, 16.0, 64.0)
    assert sizes_gb(site(memory_per_worker_gb=0.0)) == ()
    assert sizes_gb(site(backend="local", memory_per_worker_gb=0.5)) == (0.5, machine_gb())
    assert [fitting_gb((4.0, 16.0), one) for one in (1.0, 4.0, 4.1, 99.0)] == [4.0, 4.0, 16.0, 16.0]


class Sized(SerialBackend):
    """Notes what size of worker executed what."""

    def __init__(self, size: float, seen: list[tuple[float, str]]) -> None:
        super().__init__(lambda: False)
        self._size, self._seen = size, seen

    def submit(self, bundle: Bundle, priority: float) -> None:
        self._seen += [(self._size, one.process_id) for one in bundle.calls]
        super().submit(bundle, priority)


def test_a_larger_worker_is_chosen_by_prediction_and_after_each_failure_the_next(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    frames = [raw_input(list(tonight.frames.values())[3])]
    small, large = process("toy_cube", frames, subject="small"), process("toy_cube", frames, subject="large")
    hungry = process("toy_cube", frames, subject="hungry", behave="memory")
    plan = plan_of(small, large, hungry)
    rows = [
        replace(one, prediction=replace(one.prediction, memory_gb=9.0)) if one.process == large else one
        for one in plan.processes
    ]
    seen: list[tuple[float, str]] = []
    backend = WithLarger(Sized(0.0, seen), lambda size: Sized(size, seen))
    here = site(memory_per_worker_gb=4.0, larger_workers_gb=(12.0, 16.0))
    options = tonight.options(backend=backend)
    smaller = site(memory_per_worker_gb=4.0, larger_workers_gb=(8.0,))
    with pytest.raises(PreconditionError, match=r"AP-RUN-033.*largest worker has 8\.0"):
        execute(replace(plan, processes=tuple(rows)), tonight.layout, tonight.frames, smaller, options)
    outcome = execute(replace(plan, processes=tuple(rows)), tonight.layout, tonight.frames, here, options)
    assert outcome.counts == {State.DONE: 2, State.FAILED: 1}
    # x 1.5 each time: 4, 6 (of 12), 18 (16 is the largest), there once more alone.
    tried = [[size for size, which in seen if which == one.process_id] for one in (small, large, hungry)]
    assert tried == [[0.0], [12.0], [0.0, 12.0, 16.0, 16.0]]


def test_what_was_killed_for_its_memory_is_made_with_the_machines_memory(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    hungry = process("toy_cube", [raw_input(list(tonight.frames.values())[3])], behave="eat:500")
    outcome = execute(
        plan_of(hungry),
        tonight.layout,
        tonight.frames,
        site(backend="local", workers=1, memory_per_worker_gb=0.45),
        tonight.options(),
    )
    assert outcome.counts == {State.DONE: 1}
    events = read_journal(tonight.layout.journal(outcome.run_id)).events
    assert [(one.cause, one.final) for one in events if isinstance(one, ProcessFailed)] == [(Cause.MEMORY, False)]
