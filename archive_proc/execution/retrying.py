"""Whether something that failed is tried again, and how (DESIGN 3.5): by its cause, never by hope."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from archive_proc.execution.backends import JobEnd
from archive_proc.execution.calls import FailureFacts, Task, TaskReport
from archive_proc.execution.failures import hangs, hung, job_ended, killed_its_worker, lost_too_often, no_answer
from archive_proc.execution.liveness import alive
from archive_proc.execution.meters import Mark, utc_now
from archive_proc.execution.work import ProcessWork
from archive_proc.model.events import ProcessFailed
from archive_proc.model.processes import Cause

MEMORY_RETRIES = 1
KILLS = 3
"""Tries of a task that kills its worker, all but the first one alone; then its process is poison."""
INTERRUPTIONS = 10
"""Jobs that may end under a process, none of its tasks done in between, before that counts against it after all."""
FREE_LOSSES = 5
"""Times a task may vanish with a worker that died of something else. Then something is wrong with the site."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a task that failed or did not answer."""

    facts: FailureFacts | None
    """None: nothing to hold against it, it is sent again free of charge."""
    again: bool
    poison: bool = False
    """It has killed a worker too often."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a site allows."""

    max_retries: int
    back_off_s: float
    """Before the first retry of an `infra` failure; doubles."""
    sizes: tuple[float, ...] = ()
    """Memory of its workers, GB, ascending; empty: not limited."""


def after_failure(work: ProcessWork, facts: FailureFacts, rules: Rules) -> Verdict:
    """Infra: elsewhere, later. Memory: with more of it, at last alone. Data, code and config never heal by themselves.

    A full disk stops the run; it is never the end of a process.
    """
    return Verdict(facts, _may_retry(work, facts, rules) or facts.disk_full)


def _may_retry(work: ProcessWork, facts: FailureFacts, rules: Rules) -> bool:
    if work.counted and facts.cause in (Cause.INFRA, Cause.MEMORY):
        return True  # another chunk of an attempt that is given up already
    work.counted = True
    if facts.cause is Cause.INFRA:
        work.retries += 1
        work.not_before = time.monotonic() + rules.back_off_s * 2 ** (work.retries - 1)
        return work.retries <= rules.max_retries
    if facts.cause is Cause.MEMORY:
        return _more_memory(work, rules.sizes, 1.5)
    return False


def _more_memory(work: ProcessWork, sizes: Sequence[float], factor: float) -> bool:
    """More than it had, up to the largest worker there is; there once more with nothing else in flight."""
    if sizes and work.had_gb < sizes[-1]:
        work.needs_gb = factor * work.had_gb
        return True
    work.memory_retries += 1
    work.alone = True
    return work.memory_retries <= MEMORY_RETRIES


@dataclass(frozen=True, slots=True)
class Lost:
    """What is known of a task that did not answer."""

    why: str
    """The back end's word."""
    fault: str = ""
    """What a fatal signal left beside its mark."""
    end: JobEnd | None = None
    """How the job of its worker ended; None where that lives, or there is none."""


def after_loss(work: ProcessWork, mark: Mark | None, lost: Lost, rules: Rules) -> Verdict:
    """No answer: the mark on disk tells whether the task was executing, and whether its worker is dead.

    Without a mark it is a bystander of another task's death, or its answer died on the way. Where the worker's job
    ended under it, that does not count against it, unless it was for its memory.
    """
    why, fault, end = lost.why, lost.fault, lost.end
    if mark is None:
        work.losses += not work.retrying
        if work.losses > FREE_LOSSES:
            return after_failure(work, lost_too_often(work.losses, why), rules)
        return Verdict(None, again=True)
    if hung(fault):
        _count_kill(work)  # but never alone: the others would wait for as long again
        again = work.kills < KILLS
        return Verdict(hangs(fault), again, poison=not again)
    ended = job_ended(end) if end is not None and not fault else None
    if ended is not None and ended.cause is Cause.INFRA:
        work.interruptions += not work.counted
        work.counted = True
        return Verdict(ended, again=work.interruptions < INTERRUPTIONS)
    if ended is not None:
        return after_failure(work, ended, rules)
    living = alive(mark.writer)
    # Of another host only Dask can tell: it lost the worker while its job goes on, so the nanny starts another.
    dead = living is False or (living is None and why.startswith("KilledWorker"))
    if end is None and not fault and not dead:
        return after_failure(work, no_answer(mark.writer, why), rules)
    if _count_kill(work) and not fault and rules.sizes and work.had_gb < rules.sizes[-1]:
        _more_memory(work, rules.sizes, 2.0)  # by SIGKILL: most often for memory, and nobody knows its peak
    work.alone = True
    again = work.kills < KILLS
    return Verdict(killed_its_worker(fault, end), again, poison=not again)


def _count_kill(work: ProcessWork) -> bool:
    """Whether it counts: several chunks of one attempt do once; one that was only lost with them hides none."""
    counts = not work.counted
    work.kills += counts
    work.counted = True
    return counts


def failed_event(work: ProcessWork, task: Task, verdict: Verdict, report: TaskReport | None) -> ProcessFailed:
    """The row of a failure; `report` where a worker told of it."""
    facts = verdict.facts
    assert facts is not None
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
        final=not verdict.again,
        poison=verdict.poison,
        started_at=work.meters.started_at,
        wall_s=round(work.meters.wall_s, 3),
        cpu_s=round(work.meters.cpu_s, 3),
        peak_memory_bytes=work.meters.peak_memory_bytes,
        qc=facts.qc,
    )
