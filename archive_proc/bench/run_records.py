"""What a run left on record about its cost: journal, plan and the records of the processes it sealed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archive_proc.errors import InputError
from archive_proc.flow.runs import named_run
from archive_proc.model.events import Event, ProcessChanged, RunEnded, RunStarted, TaskEnded, WorkerReady
from archive_proc.model.ids import ProcessId, RunId
from archive_proc.model.processes import State
from archive_proc.model.records import ProcessRecord
from archive_proc.storage.journal import read_journal
from archive_proc.storage.layout import Layout
from archive_proc.storage.records import read_record
from archive_proc.storage.runs import run_ids
from archive_proc.storage.seal import is_sealed


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run from a start to its end, or to the last line a killed driver wrote; a resumed run has several."""

    begin: float
    end: float
    """Both: s since 1970."""
    workers: int
    ready: tuple[WorkerReady, ...]
    tasks: tuple[TaskEnded, ...]
    """In order of their starts."""

    @property
    def wall_s(self) -> float:
        """How long it took."""
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class RunRecords:
    """A run on record."""

    run_id: RunId
    stretches: tuple[Stretch, ...]
    sealed: tuple[ProcessRecord, ...]
    """Processes that it sealed, in order of their seals."""

    @property
    def tasks(self) -> tuple[TaskEnded, ...]:
        """All tasks, in order of their starts."""
        return tuple(task for one in self.stretches for task in one.tasks)

    @property
    def wall_s(self) -> float:
        """While it was going."""
        return sum(one.wall_s for one in self.stretches)

    @property
    def in_workers(self) -> bool:
        """Whether tasks ran in processes of their own, which hold nothing but a task's memory."""
        return any(one.ready for one in self.stretches)

    def tasks_of(self, recipe: str) -> tuple[TaskEnded, ...]:
        """The tasks of one recipe."""
        return tuple(one for one in self.tasks if one.recipe == recipe)

    def by_recipe(self) -> Mapping[str, tuple[ProcessRecord, ...]]:
        """Sealed processes by recipe, in order of their first seal."""
        found: dict[str, tuple[ProcessRecord, ...]] = {}
        for one in self.sealed:
            found[one.process.recipe] = (*found.get(one.process.recipe, ()), one)
        return found


def read_records(layout: Layout, run_id: RunId) -> RunRecords:
    """The records of a run. Raises InputError AP-BEN-001 where its journal has no tasks: nothing ran, or an older
    package wrote it.
    """
    events = read_journal(layout.journal(run_id)).events
    stretches = _stretches(events)
    if not any(one.tasks for one in stretches):
        raise _nothing_on_record(run_id)
    done = dict.fromkeys(
        one.process_id for one in events if isinstance(one, ProcessChanged) and one.state is State.DONE
    )
    sealed = [read_record(layout.product_dir(one)) for one in done if is_sealed(layout, ProcessId(one))]
    return RunRecords(run_id, stretches, tuple(sealed))


def latest_that_worked(layout: Layout) -> RunId:
    """The newest run with a task on record. Raises NotFoundError AP-CLI-009 where there is no run at all, InputError
    AP-BEN-001 where none has a task.
    """
    newest = named_run(layout, None)
    for run_id in reversed(run_ids(layout)):
        if any(isinstance(one, TaskEnded) for one in read_journal(layout.journal(run_id)).events):
            return run_id
    raise _nothing_on_record(newest)


def _nothing_on_record(run_id: RunId) -> InputError:
    return InputError(
        "AP-BEN-001",
        "no task is on record: everything was sealed before, or an older package ran it",
        subject=f"run {run_id[:12]}",
        remedy="name another run (archive-proc status lists them), or leave --run out to measure a simulated one",
    )


def _stretches(events: Sequence[Event]) -> tuple[Stretch, ...]:
    found: list[Stretch] = []
    starts = [index for index, one in enumerate(events) if isinstance(one, RunStarted)]
    for begin, stop in zip(starts, [*starts[1:], len(events)], strict=True):
        part = events[begin:stop]
        first = part[0]
        assert isinstance(first, RunStarted)
        ends = [one for one in part if isinstance(one, RunEnded)]
        tasks = [one for one in part if isinstance(one, TaskEnded)]
        found.append(
            Stretch(
                seconds(first.at),
                seconds((ends or part)[-1].at) if not ends else seconds(ends[0].at),
                first.workers,
                tuple(one for one in part if isinstance(one, WorkerReady)),
                tuple(sorted(tasks, key=lambda one: one.started_at)),
            )
        )
    return tuple(found)


def seconds(iso: str) -> float:
    """ISO time with offset as s since 1970."""
    return dt.datetime.fromisoformat(iso).timestamp()
