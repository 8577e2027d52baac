"""States of a run's processes as they change: schedule, journal and progress kept in step."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from archive_proc.execution.backends import JobNews
from archive_proc.execution.calls import TaskReport
from archive_proc.execution.meters import utc_now
from archive_proc.execution.outcome import EarlierFailure
from archive_proc.execution.progress import Progress
from archive_proc.execution.receipts import Meters
from archive_proc.execution.schedule import Schedule
from archive_proc.model.events import (
    JobChanged,
    ProcessChanged,
    ProcessFailed,
    RecipePaused,
    TaskEnded,
    WorkerReady,
)
from archive_proc.model.ids import ProcessId, shown
from archive_proc.model.processes import Cause, State
from archive_proc.storage.journal import JournalWriter


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Every change of state goes through here: one line of the journal each."""

    schedule: Schedule
    journal: JournalWriter
    progress: Progress
    breaker: int
    """Equal `code` signatures after which a recipe is paused; 0: never."""
    failures: dict[ProcessId, ProcessFailed] = field(default_factory=dict)
    """The last failure of every failed process."""
    _signatures: Counter[tuple[str, str]] = field(default_factory=Counter)
    _paused: dict[str, ProcessId] = field(default_factory=dict)
    """Recipe -> the process whose failure was one too many."""

    def running(self, process_id: ProcessId, attempt: int) -> None:
        """An attempt begins."""
        self.schedule.states[process_id] = State.RUNNING
        self.journal.append(self._changed(process_id, State.RUNNING, attempt=attempt))

    # Any: fields of ProcessChanged.
    def _changed(self, process_id: ProcessId, state: State, **more: Any) -> ProcessChanged:
        planned = self.schedule.planned[process_id]
        return ProcessChanged(
            process_id=process_id,
            state=state,
            at=utc_now(),
            recipe=planned.process.recipe,
            planes=planned.prediction.planes,
            predicted_s=round(planned.prediction.cpu_s, 3),
            **more,
        )

    def done(self, process_id: ProcessId, attempt: int, host: str, meters: Meters, note: str = "") -> list[ProcessId]:
        """A process is sealed; gives those that became ready by it."""
        self.journal.append(
            self._changed(
                process_id,
                State.DONE,
                attempt=attempt,
                host=host,
                wall_s=round(meters.wall_s, 3),
                cpu_s=round(meters.cpu_s, 3),
                peak_memory_bytes=meters.peak_memory_bytes,
                tasks=meters.tasks,
                note=note,
            )
        )
        self.progress.settle(process_id, State.DONE, meters.wall_s)
        return self.schedule.settle(process_id, State.DONE)

    def answered(self, recipe: str, report: TaskReport) -> None:
        """A task gave its answer: what it cost."""
        now = utc_now()
        if (start := report.worker_start) is not None:
            self.journal.append(
                WorkerReady(
                    at=now,
                    host=report.host,
                    pid=report.pid,
                    ready_at=start.ready_at,
                    wall_s=start.wall_s,
                    cpu_s=start.cpu_s,
                    job=start.job,
                    config=dict(start.config),
                )
            )
        self.journal.append(
            TaskEnded(
                process_id=report.process_id,
                recipe=recipe,
                attempt=report.attempt,
                at=now,
                task=report.task.label,
                host=report.host,
                pid=report.pid,
                started_at=report.started_at,
                wall_s=report.wall_s,
                cpu_s=report.cpu_s,
                peak_memory_bytes=report.peak_memory_bytes,
                resident_bytes=report.resident_bytes,
                bytes_read=report.bytes_read,
                planes_read=report.planes_read,
                phases=report.phases,
            )
        )

    def jobs(self, news: Iterable[JobNews]) -> None:
        """Worker jobs were submitted or ended."""
        for one in news:
            self.journal.append(
                JobChanged(at=utc_now(), job=one.job, state=one.state, reason=one.reason, replaces=one.replaces)
            )
            if one.replaces:
                self.progress.say(f"job {one.replaces} ended and was replaced by {one.job}")

    def cancelled(self, process_id: ProcessId) -> None:
        """The run stops before this process is done."""
        self.schedule.states[process_id] = State.CANCELLED
        self.journal.append(self._changed(process_id, State.CANCELLED))
        self.progress.settle(process_id, State.CANCELLED, 0.0)

    def tried(self, failed: ProcessFailed) -> None:
        """An attempt failed and will be followed by another."""
        self.journal.append(failed, durable=True)

    def failed(self, failed: ProcessFailed) -> None:
        """A final failure: a row, and its descendants blocked."""
        process_id = failed.process_id
        self.failures[process_id] = failed
        # One that stands is on disk already, in the journal of its run: a semester may have thousands.
        self.journal.append(failed, durable=failed.earlier_run is None)
        self.journal.append(self._changed(process_id, failed.state, attempt=failed.attempt))
        blocked = self.schedule.fail(process_id, failed.state)
        self.progress.settle(process_id, failed.state, 0.0)
        self.progress.say(f"{failed.state} {failed.recipe} {shown('proc', process_id)}: {failed.code} {failed.account}")
        self._announce(blocked, process_id)
        self._count_signature(failed)

    def stands(self, process_id: ProcessId, earlier: EarlierFailure) -> None:
        """A failure of an earlier run stands: not tried again."""
        if self.schedule.states.get(process_id) is State.PLANNED:
            self.failed(
                dataclasses.replace(earlier.failure, earlier_run=earlier.run_id, at=utc_now(), attempt=0, final=True)
            )

    def blocked(self, process_id: ProcessId, root: ProcessId, note: str) -> None:
        """A process cannot run because of `root`; its descendants neither."""
        self._announce(self.schedule.block(process_id, root), root, note)

    def _announce(self, blocked: Iterable[ProcessId], root: ProcessId, note: str = "") -> None:
        for process_id in blocked:
            self.journal.append(self._changed(process_id, State.BLOCKED, blocked_by=root, note=note))
            self.progress.settle(process_id, State.BLOCKED, 0.0)

    def _count_signature(self, failed: ProcessFailed) -> None:
        """Five equal faults of the code pause the recipe: the sixth process would only fail too."""
        if failed.cause is not Cause.CODE or not self.breaker or failed.earlier_run is not None:
            return
        key = (failed.recipe, failed.signature)
        self._signatures[key] += 1
        if self._signatures[key] >= self.breaker and failed.recipe not in self._paused:
            self._paused[failed.recipe] = failed.process_id
            self.progress.warn(
                f"paused {failed.recipe}: failed {self.breaker} times with {failed.signature}; "
                "its other processes are blocked, everything else goes on"
            )
            paused = RecipePaused(
                recipe=failed.recipe,
                signature=failed.signature,
                process_id=failed.process_id,
                failures=self._signatures[key],
                at=utc_now(),
            )
            self.journal.append(paused, durable=True)

    def paused(self, process_id: ProcessId) -> bool:
        """Block a process whose recipe is paused."""
        root = self._paused.get(self.schedule.planned[process_id].process.recipe)
        if root is None:
            return False
        self.blocked(process_id, root, f"recipe paused after {self.breaker} equal failures")
        return True
