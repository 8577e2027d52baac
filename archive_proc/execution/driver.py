"""The driver: a bounded window of bundles, longest chain first; every answer becomes a state and a journal line.

What a bundle is: `bundling.py`.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import time
from collections import deque
from dataclasses import dataclass, field

from archive_proc.errors import ArchiveProcError
from archive_proc.execution.adoption import sweep_sealed
from archive_proc.execution.attempting import Attempts
from archive_proc.execution.backends import AWAITED, Backend, Finished
from archive_proc.execution.bundling import Bundler, Due
from archive_proc.execution.calls import Bundle, Task, TaskCall, TaskReport
from archive_proc.execution.failures import facts_of
from archive_proc.execution.ledger import Ledger
from archive_proc.execution.liveness import alive, host_name
from archive_proc.execution.lock import Lease
from archive_proc.execution.memory_sizes import fitting_gb
from archive_proc.execution.meters import read_mark
from archive_proc.execution.outcome import RunOutcome
from archive_proc.execution.publishing import Publisher
from archive_proc.execution.receipts import Meters, receipt_of
from archive_proc.execution.retrying import Lost, Rules, Verdict, after_failure, after_loss, failed_event
from archive_proc.execution.schedule import Schedule
from archive_proc.execution.stopping import DISK_FULL, ROOT_GONE, Stopper
from archive_proc.execution.work import ProcessWork, Size
from archive_proc.model.ids import ProcessId, shown
from archive_proc.model.processes import Cause, State
from archive_proc.storage.answers import is_full, no_room
from archive_proc.storage.forms import SHARD_PLANES
from archive_proc.storage.layout import Layout
from archive_proc.storage.seal import is_sealed

WAIT_S = 0.2
EXPECT_EVERY_S = 2.0
BUNDLES = 4000
"""In flight at most: what a scheduler holds without noticing (notes/engine 3)."""


@dataclass(slots=True, kw_only=True)
class Driver:
    """State of one run."""

    ledger: Ledger
    attempts: Attempts
    backend: Backend
    bundler: Bundler
    stopper: Stopper
    publisher: Publisher
    lease: Lease
    """Where another driver takes it over, this one must touch nothing more."""
    _works: dict[ProcessId, ProcessWork] = field(default_factory=dict)
    """Processes that are being worked on."""
    _idle: deque[ProcessWork] = field(default_factory=deque)
    """Nothing of it is in flight: to be looked at for its next stage or attempt."""
    _later: list[tuple[float, ProcessId]] = field(default_factory=list)
    """Heap: when a back-off ends."""
    _flying: dict[int, Bundle] = field(default_factory=dict)
    """Bundles by number."""
    _alone: bool = False
    """What flies does so alone."""
    _started: float = field(default_factory=time.monotonic)
    _width_due: float = 0.0

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
        self.stopper.look()
        if len(self.bundler.queue) and not self.stopper.stopping:
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
        self.bundler.add(self._schedule.planned[process_id], self._schedule.priorities[process_id])

    def loop(self) -> None:
        """Until nothing is left that could run, or the run was told to stop and nothing is in flight."""
        while True:
            self.lease.expect_held()
            self.stopper.look()
            if not self.stopper.stopping:
                self._fill()
            if not self._flying and (self.stopper.stopping or not self._works):
                break
            self.stopper.tell_workers()
            self._forget_unbegun()
            if not self._flying:
                time.sleep(WAIT_S)  # every open process waits for its back-off
            for finished in self.backend.wait_any(WAIT_S) if self._flying else ():
                self._answer(finished)
            self.ledger.jobs(self.backend.news())
            self._tell_width()
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

    def abandon(self, why: str) -> None:
        """End because the back end cannot go on; chunks that are done stay for the same command."""
        self.stopper.ask(why)
        self.ledger.jobs(self.backend.news())
        for process_id in list(self._schedule.open()):
            self.ledger.cancelled(process_id)

    def _tidy(self) -> None:
        """Remove half-made products that no later run can continue: on a full disk that is the room to end in."""
        for work in self._works.values():
            if not work.chunked:
                with contextlib.suppress(OSError):
                    self.attempts.remove(work)

    def _forget_unbegun(self) -> None:
        """Once running tasks had their time to end, what waits for workers that may never come is taken back."""
        if self._flying and self.stopper.now and not self._executes():
            self.backend.cancel(self._flying.values())
            for bundle in self._flying.values():
                for call in bundle.calls:
                    self._works[call.process_id].in_flight.discard(call.task)
            self._flying.clear()

    def _executes(self) -> bool:
        """Whether a worker is at work: also one that is paused for its memory, or about to retire."""
        census = self.backend.census()
        if census.get("busy") or not set(census) - {AWAITED}:
            return bool(census.get("busy"))
        begun = (
            read_mark(self.attempts.directory(self._works[call.process_id]), call.task)[0]
            for bundle in self._flying.values()
            for call in bundle.calls
        )
        return any(mark is not None and alive(mark.writer) is not False for mark in begun)

    def _tell_width(self) -> None:
        """Near the end the back end may give workers back; before it, this costs nothing."""
        now = time.monotonic()
        if not len(self.bundler.queue) and now >= self._width_due:
            self._width_due = now + EXPECT_EVERY_S
            self.backend.expect(len(self._flying) if self.stopper.stopping else self._width())

    def _width(self) -> int:
        """Tasks that may still be in flight at once: an upper bound, for what is not begun by its planes."""
        width = 0
        for process_id in self._schedule.open():
            work = self._works.get(process_id)
            planes = self._schedule.planned[process_id].prediction.planes
            width += work.width if work is not None else max(1, math.ceil(planes / SHARD_PLANES))
            if width >= self.backend.workers:
                break
        return width

    # -- what to submit next --------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Submit until the window is full; a process to be tried alone waits for an empty one."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            work = self._works.get(heapq.heappop(self._later)[1])
            if work is not None:
                self._idle.append(work)
        while self._idle:
            self._tend(self._idle.popleft(), now)
        window = max(1, self.attempts.site.window_per_worker) * self.backend.workers
        self.bundler.window, self.bundler.workers = min(BUNDLES, window), max(1, self.backend.workers)
        while len(self._flying) < self.bundler.window and (best := self.bundler.queue.best()) is not None:
            alone = best.alone or self._alone
            if alone and self._flying:
                return
            self._alone = best.alone
            bundle = self.bundler.make(self._due)
            if bundle is not None:
                self._submit(bundle)

    def _tend(self, work: ProcessWork, now: float) -> None:
        """Tasks of the next stage, or of the next attempt, once nothing of this one is left."""
        if work.ended or work.in_flight or work.waiting:
            return
        process_id = work.process.process_id
        if work.not_before > now:
            heapq.heappush(self._later, (work.not_before, process_id))
            return
        if self.ledger.paused(process_id):
            work.ended = True
            self._bury(work)
            return
        if work.retrying:
            self.attempts.again(work)
            self.ledger.running(process_id, work.attempt)
        work.waiting = work.open_tasks()
        if work.waiting:
            self.bundler.add_work(work)

    def _due(self, process_id: ProcessId) -> Due | None:
        """The next task of a process; None where there is nothing to do for it any more."""
        work = self._works.get(process_id) or self._take(process_id)
        if work is None or not work.waiting:
            return None
        task = work.waiting.pop(0)
        work.in_flight.add(task)
        if work.waiting:
            self.bundler.add_work(work)
        return TaskCall(process_id, work.attempt, task), work.seconds(task)

    def _take(self, process_id: ProcessId) -> ProcessWork | None:
        """Begin to work on a ready process, if it still is."""
        if self._schedule.states[process_id] is not State.READY or self.ledger.paused(process_id):
            return None
        planned = self._schedule.planned[process_id]
        try:
            work = self.attempts.take(planned, self._schedule.priorities[process_id], self.bundler.whole_s)
        except (ArchiveProcError, OSError, KeyError, ValueError) as error:
            if is_full(error):
                self._schedule.states[process_id] = State.PLANNED  # nothing is wrong with it
                self.stopper.ask(DISK_FULL)
                return None
            never = ProcessWork(planned, 0.0, 0, Size(0, 0), 1, 1, chunked=False)
            self._task_failed(never, Task("prepare"), Verdict(facts_of(error), again=False), None)
            return None
        if work is None:
            note = "published what an earlier driver had sealed"
            self._free(self.ledger.done(process_id, 0, host_name(), Meters(), note))
            return None
        self._works[process_id] = work
        work.had_gb = fitting_gb(self.bundler.sizes, work.needs_gb)
        self.ledger.running(process_id, work.attempt)
        work.waiting = work.open_tasks()
        return work

    def _submit(self, bundle: Bundle) -> None:
        self._flying[bundle.number] = bundle
        self.backend.submit(bundle, max(self._schedule.priorities[one.process_id] for one in bundle.calls))

    # -- what came back -------------------------------------------------------------------------------------------

    def _answer(self, finished: Finished) -> None:
        bundle = self._flying.pop(finished.bundle.number, None)
        if bundle is None:
            return
        reports = finished.reports or (None,) * len(bundle.calls)
        for call, report in zip(bundle.calls, reports, strict=True):
            work = self._works[call.process_id]
            work.in_flight.discard(call.task)
            if work.ended:
                self._bury(work)
            elif report is None:
                self._lost(work, call.task, finished.lost)
            else:
                self._told(work, call.task, report)
            if not (work.ended or work.in_flight or work.waiting):
                self._idle.append(work)

    def _told(self, work: ProcessWork, task: Task, report: TaskReport) -> None:
        """A worker answered for one task."""
        if report.started_at:
            work.meters = work.meters.plus(Meters.of(report))
            self.ledger.answered(work.process.recipe, report)
        if report.sealed:
            self._sealed(work, report)
        elif report.failure is not None:
            verdict = after_failure(work, report.failure, self._rules)
            self._task_failed(work, task, verdict, report)
        elif not report.stopped:
            work.finish(task)

    @property
    def _rules(self) -> Rules:
        return Rules(self.attempts.site.max_retries, self.attempts.options.back_off_s, self.bundler.sizes)

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
        """No answer: the disk tells whether it is done, or was executing when its worker died."""
        if is_sealed(self._layout, work.process.process_id):
            self._sealed(work, None)
            return
        directory = self.attempts.directory(work)
        if work.chunked and (receipt := receipt_of(directory, task)) is not None:
            # It had ended before its worker died under another task of the bundle.
            work.meters = work.meters.plus(receipt.meters)
            work.finish(task)
            return
        mark, fault = read_mark(directory, task)
        end = self.backend.job_end(mark.writer) if mark is not None else None
        verdict = after_loss(work, mark, Lost(why, fault, end), self._rules)
        if verdict.facts is not None:
            self._task_failed(work, task, verdict, None)
            return
        # Under a new number, so that a twin that the back end may still start finds nothing.
        work.retrying = True
        work.waiting.clear()

    def _task_failed(self, work: ProcessWork, task: Task, verdict: Verdict, report: TaskReport | None) -> None:
        facts = verdict.facts
        assert facts is not None
        if facts.disk_full:
            self.stopper.ask(DISK_FULL)
        if facts.cause is Cause.INFRA and not self.stopper.stopping and self.attempts.roots_gone(work.planned):
            self.stopper.ask(ROOT_GONE)
        failed = failed_event(work, task, verdict, report)
        work.waiting.clear()
        if verdict.again:
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
