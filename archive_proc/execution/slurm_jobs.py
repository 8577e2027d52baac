"""Worker jobs kept at the number that the run wants: what ended is replaced, what is not needed is given back.

`scale` of dask-jobqueue replaces nothing, `adapt` counts nothing and shrinks a cluster before the work comes
(notes/engine 2, 3). So a thread of its own compares wanted with living jobs, once a second, and asks SLURM only where
the workers leave it open. What the driver has to know it leaves in `trouble` and `news`.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from archive_proc.errors import ArchiveProcError, PreconditionError, TemporaryError
from archive_proc.execution.backends import JobEnd, JobNews
from archive_proc.execution.slurm_cluster import JobCluster, Seen
from archive_proc.execution.slurm_left import JobRegister
from archive_proc.execution.slurm_queries import JobQuery, answer
from archive_proc.execution.slurm_scripts import LOGS
from archive_proc.execution.slurm_text import ENDING, GONE, WAITING, may_heal, refusal, words
from archive_proc.settings import SlurmProfile

TEND_S = 1.0
RESTART_S = 120.0
"""A running job whose workers do not come back in this time is replaced; a nanny needs a few seconds."""
START_S = 600.0
"""The same for its first worker: imports from a busy parallel file system take minutes."""
JOIN_S = 60.0
UNSAID_S = 120.0
"""SLURM has so long to say how a job ended; a node that does not answer keeps it COMPLETING for hours."""
BACK_OFF_S = 2.0
SLOWEST_S = 300.0


@dataclass(slots=True)
class _Job:
    number: str
    seen: bool = False
    """Had a worker."""
    silent_since: float | None = None
    """Monotonic time since which it has no worker."""
    runs_since: float | None = None
    """The same, and SLURM said that it runs."""
    missed_at: float = 0.0
    """Time of the first answer that did not list it."""


class JobKeeper:
    """Keeps a cluster at the number of jobs wanted, in a thread."""

    def __init__(
        self, cluster: JobCluster, slurm: SlurmProfile, wanted: int, directory: Path, register: JobRegister
    ) -> None:
        self._cluster = cluster
        self._slurm = slurm
        self._logs = directory / LOGS
        self._register = register
        self.query = JobQuery(slurm.query_seconds)
        self.largest = wanted
        self.wanted = wanted
        self.trouble: ArchiveProcError | None = None
        """Why no task will ever end here."""
        self.replaced = 0
        self._jobs: dict[str, _Job] = {}
        self._ends: dict[str, JobEnd | None] = {}
        """Jobs that are over by number; None where SLURM has not yet said how."""
        self._ended_at: dict[str, float] = {}
        self._unreplaced: list[str] = []
        self._fruitless = 0
        """Jobs that ended since the last task was done."""
        self._since = time.monotonic()
        """When there last was a worker."""
        self._looked = 0.0
        """When the last look began."""
        self._not_before = 0.0
        self._refusals = 0
        self._last = ""
        self._news: queue.SimpleQueue[JobNews] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slurm-jobs", daemon=True)

    def start(self) -> None:
        """Submit the first jobs; raises what refuses them. From then on the thread tends them."""
        self._submit(self.wanted - len(self._jobs), first=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; jobs stay."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)  # sbatch may be waiting for a controller that is away

    def worked(self) -> None:
        """A task was done: jobs do work."""
        self._fruitless = 0

    def end_of(self, number: str) -> JobEnd | None:
        """How a job ended, None while it lives or nothing is known."""
        return self._ends.get(number)

    def settled(self, since: float) -> bool:
        """Whether it is known what became of every worker that was lost before a (monotonic) time.

        Its nanny started another one in a living job, or the job is over and SLURM has said how.
        """
        silent = any(one.seen and one.silent_since is not None for one in list(self._jobs.values()))
        return self._looked > since and not silent and None not in list(self._ends.values())

    def news(self) -> list[JobNews]:
        """Submitted and ended jobs since the last call."""
        found: list[JobNews] = []
        while not self._news.empty():
            found.append(self._news.get())
        return found

    def numbers(self) -> list[str]:
        """Of the jobs that are not known to be over."""
        return [one.number for one in list(self._jobs.values())]

    def _run(self) -> None:
        while not self._stop.wait(TEND_S):
            try:
                self.tend()
            except ArchiveProcError as answer:
                self.trouble = answer
                return
            except Exception as bug:  # the driver must hear of it, whatever it is, or it would wait for ever
                self.trouble = TemporaryError(
                    "AP-RUN-044",
                    f"looking after worker jobs failed: {type(bug).__name__}: {bug}",
                    subject="SLURM",
                    remedy="give the same command again",
                )
                return

    def tend(self) -> None:
        """One look: who lives, who is over, who is missing. Raises TemporaryError when it makes no sense to go on."""
        now = time.monotonic()
        seen = self._cluster.sync(self._cluster.look)
        for name, one in seen.items():
            job = self._jobs.get(name)
            if job is None:
                continue
            job.seen |= one.alive > 0 or one.left
            if one.alive:
                job.silent_since, job.runs_since, job.missed_at = None, None, 0.0
                self._since = now
            elif job.silent_since is None:
                job.silent_since = now
        self._looked = now
        self._ask()
        for name, job in list(self._jobs.items()):
            self._judge(name, job, now)
        self._give_back(seen)
        self._check(now)
        missing = self.wanted - len(self._jobs)
        if missing > 0 and now >= self._not_before:
            self._submit(missing)

    def _ask(self) -> None:
        """One query for every job that is silent, and for those whose end is not explained."""
        silent = [one.number for one in self._jobs.values() if one.silent_since is not None]
        unexplained = [number for number, end in self._ends.items() if end is None]
        if (silent or unexplained) and self.query.due() and self.query.look([*silent, *unexplained]):
            for number in unexplained:
                state = self.query.known[number]
                if state.over:
                    self._over(number, state.end)
                elif state.state in WAITING:
                    # Put back into the queue while it was ending: it has been replaced already.
                    answer(["scancel", "--quiet", number])
                    self._over(number, _requeued(number))
        for number in unexplained:
            if self._ends[number] is None and time.monotonic() - self._ended_at[number] > UNSAID_S:
                self._over(number, JobEnd(number, GONE, f"still {ENDING} after {UNSAID_S:.0f} s"))

    def _judge(self, name: str, job: _Job, now: float) -> None:
        """Take a job off that is over, or will be of no use."""
        state = self.query.known.get(job.number)
        if job.silent_since is None or state is None or self.query.asked_at < job.silent_since:
            return
        if state.state == GONE:
            first = job.missed_at or self.query.asked_at
            job.missed_at = first
            if not job.seen and self.query.asked_at == first:
                return  # just submitted, it may not be listed yet: the next answer tells
        elif state.state in WAITING:
            # Its twin would come back when nobody waits for it, or never: a node that cannot start it leaves it held.
            if job.seen or state.restarts:
                self._drop(name, job, cancel=True)
                self._over(job.number, _requeued(job.number))
            return
        elif not state.over and state.state != ENDING:
            job.runs_since = now if job.runs_since is None else job.runs_since
            patience = RESTART_S if job.seen else START_S
            if now - job.runs_since > patience:
                self._drop(name, job, cancel=True)
                self._over(
                    job.number, JobEnd(job.number, "CANCELLED", f"it ran and had no worker for {patience:.0f} s")
                )
            return
        self._drop(name, job, cancel=False)
        self._over(job.number, state.end if state.over else None)

    def _drop(self, name: str, job: _Job, *, cancel: bool) -> None:
        self._cluster.sync(self._cluster.forget_job, name, cancel=cancel)
        del self._jobs[name]
        self._unreplaced.append(job.number)
        self._fruitless += 1
        self._not_before = time.monotonic() + (BACK_OFF_S * min(self._fruitless - 1, 10) if not job.seen else 0.0)

    def _over(self, number: str, end: JobEnd | None) -> None:
        self._ends[number] = end
        self._ended_at.setdefault(number, time.monotonic())
        if end is not None:
            self._last = words(end)
            self._news.put(JobNews(number, end.state, end.reason))

    def _give_back(self, seen: dict[str, Seen]) -> None:
        """Beyond what is wanted: first jobs that have no worker yet, then idle ones."""
        spare = len(self._jobs) - self.wanted
        idle = sorted((one.alive, name) for name, one in seen.items() if not one.held and name in self._jobs)
        for _, name in idle[: max(0, spare)]:
            number = self._jobs.pop(name).number
            self._cluster.sync(self._cluster.forget_job, name, cancel=True)
            self._over(number, JobEnd(number, "CANCELLED", "not needed any more"))

    def _check(self, now: float) -> None:
        limit = self.largest + self._slurm.lost_jobs
        if self._fruitless > limit:
            raise TemporaryError(
                "AP-RUN-043",
                f"{self._fruitless} worker jobs ended and no task was done; the last: {self._last or 'unknown'}",
                subject="SLURM",
                remedy=f"look at the newest log in {self._logs}, mend the site's profile, give the same command again",
            )
        waited = now - self._since
        if waited > 60 * self._slurm.queue_wait_minutes and self.wanted:
            states = [self.query.known[one.number] for one in self._jobs.values() if one.number in self.query.known]
            said = sorted({f"{one.state} ({one.reason})" if one.reason else one.state for one in states})
            raise TemporaryError(
                "AP-RUN-041",
                f"no worker for {waited / 60:.0f} min; SLURM says {', '.join(said) or self._last or 'nothing'}",
                subject="SLURM",
                remedy="wait until the queue moves, ask for less (walltime, memory, workers_per_job), or raise "
                "queue_wait_minutes; give the same command again",
            )

    def _submit(self, number: int, *, first: bool = False) -> None:
        """Submit jobs. A refusal of the moment is tried again later; any other ends the run, unless workers live."""
        before = set(self._jobs)
        problem = ""
        try:
            self._cluster.sync(self._cluster.submit_jobs, number)
        except (RuntimeError, OSError, ValueError) as error:
            problem = str(error)
        for name, one in self._cluster.sync(self._cluster.look).items():
            if name not in before:
                self._jobs[name] = _Job(one.number)
                replaces = self._unreplaced.pop(0) if self._unreplaced else ""
                self.replaced += bool(replaces)
                self._news.put(JobNews(one.number, "submitted", replaces=replaces))
                self._register.write(one.number)
        if not problem:
            self._refusals = 0
            return
        self._last = refusal(problem)
        if may_heal(problem) and first and not self._jobs:
            raise TemporaryError(
                "AP-RUN-044",
                f"SLURM takes no job now: {self._last}",
                subject="SLURM",
                remedy="give the same command again",
            )
        if not may_heal(problem) and (first or not any(one.seen for one in self._jobs.values())):
            raise PreconditionError(
                "AP-RUN-042",
                f"SLURM refuses the worker jobs: {self._last}",
                subject="SLURM",
                remedy="mend partition, account, walltime or memory of the site's profile; `run --no-submit` shows the "
                "script",
            )
        self._refusals += 1
        self._not_before = time.monotonic() + min(SLOWEST_S, BACK_OFF_S * 2**self._refusals)


def _requeued(number: str) -> JobEnd:
    """The end of a job that SLURM, or somebody, put back into the queue although ours forbid it."""
    return JobEnd(number, "CANCELLED", "it was requeued, and another took its place")
