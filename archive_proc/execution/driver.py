"""The driver: a bounded window of tasks, longest chain first; every answer becomes a state and a journal line."""

from __future__ import annotations

import contextlib
import heapq
import time
from dataclasses import dataclass, field

from archive_proc.errors import ArchiveProcError
from archive_proc.execution.adoption import sweep_sealed
from archive_proc.execution.attempting import Attempts
from archive_proc.execution.backends import Backend, Finished
from archive_proc.execution.calls import FailureFacts, Task, TaskCall, TaskReport, WorkerSettings
from archive_proc.execution.failures import facts_of, killed_its_worker, no_answer
from archive_proc.execution.ledger import Ledger
from archive_proc.execution.liveness import alive, host_name, this_writer
from archive_proc.execution.meters import read_mark, utc_now
from archive_proc.execution.outcome import RunOutcome
from archive_proc.execution.publishing import Publisher
from archive_proc.execution.receipts import Meters
from archive_proc.execution.schedule import Schedule
from archive_proc.execution.stopping import DISK_FULL, ROOT_GONE, Stopper
from archive_proc.execution.work import ProcessWork, Size
from archive_proc.model.events import ProcessFailed
from archive_proc.model.ids import ProcessId, shown
from archive_proc.model.processes import Cause, State
from archive_proc.storage.answers import is_full, no_room
from archive_proc.storage.layout import Layout
from archive_proc.storage.seal import is_sealed

WAIT_S = 0.2
MEMORY_RETRIES = 1
KILLS = 2
"""A task that killed its worker is tried once more, alone; the second kill ends its process."""


@dataclass(slots=True, kw_only=True)
class Driver:
    """State of one run."""

    ledger: Ledger
    attempts: Attempts
    backend: Backend
    settings: WorkerSettings
    stopper: Stopper
    publisher: Publisher
    _works: dict[ProcessId, ProcessWork] = field(default_factory=dict)
    """Processes that are being worked on."""
    _ready: list[tuple[float, ProcessId]] = field(default_factory=list)
    """Heap: processes whose inputs are committed, not yet taken."""
    _flying: dict[TaskCall, ProcessWork] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        """Since the run began."""
        return round(time.monotonic() - self._started, 3)

    @property
    def _schedule(self) -> Schedule:
        return self.ledger.schedule

    @property
    def _layout(self) -> Layout:
        return self.attempts.layout

    def begin(self, to_run: set[ProcessId]) -> None:
        """Settle what needs no work, note what was left behind, start the back end if anything remains."""
        for process_id in self._schedule.planned:
            if process_id not in to_run:
                self._schedule.settle(process_id, State.CACHED)
        for process_id, earlier in self.attempts.options.earlier_failures.items():
            self.ledger.stands(process_id, earlier)
        for process_id in to_run:
            self._block_without_inputs(process_id)
        sweep_sealed(self._layout)
        self.attempts.look_around()
        for process_id in self._schedule.ready():
            self._push(process_id)
        if self._ready:
            self.backend.start()

    def _block_without_inputs(self, process_id: ProcessId) -> None:
        if self._schedule.states[process_id] is State.PLANNED:
            for source in self._schedule.planned[process_id].process.sources:
                if source not in self._schedule.planned and not is_sealed(self._layout, source):
                    note = f"its input {shown('proc', source)} is neither in the plan nor made"
                    self.ledger.blocked(process_id, source, note)
                    return

    def _push(self, process_id: ProcessId) -> None:
        self._schedule.states[process_id] = State.READY
        heapq.heappush(self._ready, (-self._schedule.priorities[process_id], process_id))

    def loop(self) -> None:
        """Until nothing is left that could run, or the run was told to stop and nothing is in flight."""
        while True:
            self.stopper.look()
            if not self.stopper.stopping:
                self._fill()
            if not self._flying and (self.stopper.stopping or not self._works):
                break
            self.stopper.tell_workers()
            if not self._flying:
                time.sleep(WAIT_S)  # every open process waits for its back-off
            for finished in self.backend.wait_any(WAIT_S) if self._flying else ():
                self._answer(finished)
            self.ledger.progress.tick(len(self._flying))
            self.publisher.when_due()
        self._tidy()
        for process_id in list(self._schedule.open()):
            self.ledger.cancelled(process_id)

    def give_up(self) -> None:
        """End at once because there is no room for anything more, not even for the journal."""
        self.stopper.ask(DISK_FULL)
        self._tidy()
        for process_id in list(self._schedule.open()):
            self._schedule.states[process_id] = State.CANCELLED

    def _tidy(self) -> None:
        """Remove half-made products that no later run can continue: on a full disk that is the room to end in."""
        for work in self._works.values():
            if not work.chunked:
                with contextlib.suppress(OSError):
                    self.attempts.remove(work)

    # -- what to submit next --------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Submit until the window is full; a process to be tried alone waits for an empty one."""
        window = max(1, self.attempts.site.window_per_worker) * self.backend.workers
        while len(self._flying) < window and not any(work.alone for work in self._flying.values()):
            work = self._next_work()
            if work is None or (work.alone and self._flying):
                return
            self._submit(work, work.waiting.pop(0))

    def _next_work(self) -> ProcessWork | None:
        """Of the processes being worked on and the next ready one, that with the longest chain behind it."""
        now = time.monotonic()
        for work in self._works.values():
            self._refresh(work, now)
        having = [work for work in self._works.values() if work.waiting and work.not_before <= now]
        best = max(having, key=lambda work: (work.priority, work.process.process_id), default=None)
        while self._ready and (best is None or -self._ready[0][0] > best.priority):
            taken = self._take(heapq.heappop(self._ready)[1])
            if taken is not None:
                return taken
        return best

    def _refresh(self, work: ProcessWork, now: float) -> None:
        """Tasks of the next stage, once nothing of this one is left."""
        if work.ended or work.in_flight or work.waiting or work.not_before > now:
            return
        if work.retrying:
            self.attempts.again(work)
            self.ledger.running(work.process.process_id, work.attempt)
        work.waiting = work.open_tasks()

    def _take(self, process_id: ProcessId) -> ProcessWork | None:
        """Begin to work on a ready process, if it still is."""
        if self._schedule.states[process_id] is not State.READY or self.ledger.paused(process_id):
            return None
        planned = self._schedule.planned[process_id]
        try:
            work = self.attempts.take(planned, self._schedule.priorities[process_id])
        except (ArchiveProcError, OSError, KeyError, ValueError) as error:
            if is_full(error):
                self._schedule.states[process_id] = State.PLANNED  # nothing is wrong with it
                self.stopper.ask(DISK_FULL)
                return None
            never = ProcessWork(planned, 0.0, 0, Size(0, 0), 1, 1, chunked=False)
            self._task_failed(never, Task("prepare"), facts_of(error), None, again=False)
            return None
        if work is None:
            note = "published what an earlier driver had sealed"
            self._free(self.ledger.done(process_id, 0, host_name(), Meters(), note))
            return None
        self._works[process_id] = work
        self.ledger.running(process_id, work.attempt)
        work.waiting = work.open_tasks()
        return work

    def _submit(self, work: ProcessWork, task: Task) -> None:
        call = TaskCall(self.settings, work.process.process_id, work.attempt, task)
        work.in_flight.add(task)
        self._flying[call] = work
        self.backend.submit(call, work.priority)

    # -- what came back -------------------------------------------------------------------------------------------

    def _answer(self, finished: Finished) -> None:
        work = self._flying.pop(finished.call, None)
        if work is None:
            return
        task, report = finished.call.task, finished.report
        work.in_flight.discard(task)
        if work.ended:
            self._bury(work)
        elif report is None:
            self._lost(work, task, finished.lost)
        else:
            work.meters = work.meters.plus(_meters(report))
            self.ledger.answered(work.process.recipe, report)
            if report.sealed:
                self._sealed(work, report)
            elif report.failure is not None:
                # A full disk stops the run; it is never the end of a process.
                again = self._may_retry(work, report.failure) or report.failure.disk_full
                self._task_failed(work, task, report.failure, report, again=again)
            elif not report.stopped:
                work.finish(task)

    def _sealed(self, work: ProcessWork, report: TaskReport | None) -> None:
        work.ended = True
        if report is not None:
            self.attempts.digests.update(report.pixel_digests)
        host = report.host if report is not None else ""
        self._free(self.ledger.done(work.process.process_id, work.attempt, host, work.meters))
        self._bury(work)

    def _free(self, freed: list[ProcessId]) -> None:
        for process_id in freed:
            self._push(process_id)

    def _lost(self, work: ProcessWork, task: Task, why: str) -> None:
        """No answer: the disk tells whether the task was executing, and whether its worker is dead."""
        if is_sealed(self._layout, work.process.process_id):
            self._sealed(work, None)
            return
        mark, fault = read_mark(self.attempts.directory(work), task)
        if mark is None:
            # A bystander of another task's death, or an answer that died on its way: again, free of charge, under a
            # new number, so that a twin that the back end may still start finds nothing.
            work.retrying = True
            work.waiting.clear()
            return
        if alive(mark.writer) is not False:
            facts = no_answer(mark.writer, why)
            self._task_failed(work, task, facts, None, again=self._may_retry(work, facts))
            return
        work.kills += not work.retrying  # several chunks of one attempt count once
        work.alone = True
        self._task_failed(work, task, killed_its_worker(fault), None, again=work.kills < KILLS)

    def _may_retry(self, work: ProcessWork, facts: FailureFacts) -> bool:
        """Infra: elsewhere, later. Memory: once more, alone. Data, code and config never heal by themselves."""
        if work.retrying and facts.cause in (Cause.INFRA, Cause.MEMORY):
            return True  # another chunk of an attempt that is given up already
        if facts.cause is Cause.INFRA:
            work.retries += 1
            work.not_before = time.monotonic() + self.attempts.options.back_off_s * 2 ** (work.retries - 1)
            return work.retries <= self.attempts.site.max_retries
        if facts.cause is Cause.MEMORY:
            work.memory_retries += 1
            work.alone = True
            return work.memory_retries <= MEMORY_RETRIES
        return False

    def _task_failed(
        self, work: ProcessWork, task: Task, facts: FailureFacts, report: TaskReport | None, *, again: bool
    ) -> None:
        if facts.disk_full:
            self.stopper.ask(DISK_FULL)
        if facts.cause is Cause.INFRA and not self.stopper.stopping and self.attempts.roots_gone(work.planned):
            self.stopper.ask(ROOT_GONE)
        failed = _event(work, task, facts, report, final=not again)
        work.waiting.clear()
        if again:
            self.ledger.tried(failed)
            work.retrying = True
            return
        work.ended = True
        self.ledger.failed(failed)
        limit = self.attempts.options.max_failures
        if limit is not None and len(self.ledger.failures) >= limit:
            self.stopper.ask("max failures")
        self._bury(work)

    def _bury(self, work: ProcessWork) -> None:
        """Nothing of an ended process is left in flight: its attempt may go."""
        if not work.in_flight:
            if work.attempt:
                self.attempts.remove(work)
            self._works.pop(work.process.process_id, None)

    def outcome(self) -> RunOutcome:
        """How it ended."""
        return RunOutcome(
            run_id=self.attempts.run_id,
            plan_id=self.attempts.plan_id,
            counts=self._schedule.counts(),
            failures=tuple(self.ledger.failures.values()),
            blocked=dict(self._schedule.blocked),
            stopped=self.stopper.reason,
            pixel_digests=dict(self.attempts.digests),
            catalog_behind=self.publisher.behind,
            note=self._no_room() or self.publisher.note,
        )

    def _no_room(self) -> str:
        """What a full disk asks of the user; empty where that was not the end."""
        if self.stopper.reason != DISK_FULL:
            return ""
        states = self._schedule.states
        left = [one for pid, one in self._schedule.planned.items() if states[pid] is State.CANCELLED]
        return no_room(self._layout.root, sum(one.prediction.bytes_out for one in left)).line


def worker_settings(attempts: Attempts, backend: Backend, stop_file: str) -> WorkerSettings:
    """What every task of the run is told."""
    options, site = attempts.options, attempts.site
    return WorkerSettings(
        root=str(attempts.layout.root.resolve()),
        cookbook=options.cookbook,
        raw_roots=tuple(sorted((name, str(path)) for name, path in options.raw_roots.items())),
        cache_bytes=int(site.calibration_cache_gb * 1e9),
        verify_full=site.verify == "full",
        driver=this_writer(),
        isolated=backend.isolated,
        stop_file=stop_file,
    )


def _meters(report: TaskReport) -> Meters:
    return Meters(
        wall_s=report.wall_s,
        cpu_s=report.cpu_s,
        peak_memory_bytes=report.peak_memory_bytes,
        bytes_read=report.bytes_read,
        planes_read=report.planes_read,
        tasks=1,
        started_at=report.started_at,
        phases=report.phases,
    )


def _event(
    work: ProcessWork, task: Task, facts: FailureFacts, report: TaskReport | None, *, final: bool
) -> ProcessFailed:
    return ProcessFailed(
        process_id=work.process.process_id,
        recipe=work.process.recipe,
        attempt=work.attempt,
        at=utc_now(),
        cause=facts.cause,
        code=facts.code,
        signature=facts.signature,
        message=facts.message,
        remedy=facts.remedy,
        subject=facts.subject or f"{work.process.subject.kind} {work.process.subject.subject_id}",
        traceback=facts.traceback,
        task=task.label,
        host=report.host if report is not None else "",
        pid=report.pid if report is not None else 0,
        final=final,
        started_at=work.meters.started_at,
        wall_s=round(work.meters.wall_s, 3),
        cpu_s=round(work.meters.cpu_s, 3),
        peak_memory_bytes=work.meters.peak_memory_bytes,
        qc=facts.qc,
    )
