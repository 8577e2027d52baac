"""Where a run stands: read off the page beside its journal and the few lines behind it, at once for any size of run.

Works for a living driver, also on another host, for a dead one and for a run that is over.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from archive_proc.execution.course import FailureKind, RunCourse, course_of, seconds
from archive_proc.execution.course_page import read_course
from archive_proc.execution.forecast import band
from archive_proc.execution.lock import driver_of, silence_s
from archive_proc.execution.meters import marks
from archive_proc.execution.spec import AttemptDir
from archive_proc.model.events import ProcessChanged
from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.processes import State
from archive_proc.storage.journal import read_journal
from archive_proc.storage.layout import Layout
from archive_proc.storage.runs import RunFile, read_run, run_ids
from archive_proc.storage.seal import is_sealed

OLDEST = 5
"""Running processes that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process that is being made."""

    recipe: str
    process_id: ProcessId
    age_s: float
    planes: int
    hosts: tuple[str, ...]
    """Where its tasks execute now; of its last task where none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """One run at one moment."""

    run_id: RunId
    plan_id: PlanId
    site: str
    state: str
    """running, ended, stopped (SIGINT, ...), or dead (no driver and no end: run or resume continues)."""
    driver: str
    """Host and pid of the newest driver."""
    silence_s: float | None
    """Since its last heartbeat; None unless it runs on another host."""
    counts: Mapping[State, int]
    """Adds up to the plan."""
    by_recipe: Mapping[str, Mapping[State, int]]
    """recipe -> final and running states; `planned` has the rest."""
    began_at: str
    """ISO UTC."""
    elapsed_s: float
    """Since it was started, or last continued."""
    processes_per_min: float | None
    planes_per_min: float | None
    """Over the last ten minutes; None before anything was done. A plane counts for each process that goes over it."""
    left_s: tuple[float, float] | None
    """Band of the time left; None where nothing is left, nobody works, or nothing was predicted."""
    history: int
    """Earlier runs that the band rests on."""
    chain_s: float | None
    """Predicted seconds of the longest chain of what is left."""
    ready: int
    """Processes that could begin, were there a worker."""
    in_flight: int
    workers: int
    """Wanted."""
    census: Mapping[str, int]
    """Workers by state."""
    running: tuple[Running, ...]
    """The oldest."""
    busy_s: float
    """Worker seconds of tasks."""
    cpu_s: float
    held_s: float
    """Worker seconds that workers stood, idle ones included."""
    planes: int
    failures: tuple[FailureKind, ...]
    """By signature, the most frequent first."""
    paused: Mapping[str, str]
    """Recipe -> signature that opened its breaker."""
    note: str
    torn: int
    """Journal lines that could not be read."""

    @property
    def is_running(self) -> bool:
        """Whether a driver works on it."""
        return self.state == "running"


def run_status(layout: Layout, run_id: RunId, now: dt.datetime | None = None) -> RunStatus:
    """Read where a run stands. Raises NotFoundError AP-STO-027 for a run that does not exist."""
    facts = read_run(layout, run_id)
    course = read_course(layout, run_id) or _added_up(layout, facts)
    holder = driver_of(layout, course.host, course.pid) if course.begun and not course.over else None
    if course.over:
        state = f"stopped ({course.stopped})" if course.stopped else "ended"
    else:
        state = "dead" if holder is None else "running"
    moment = (now or dt.datetime.now(dt.UTC)).timestamp()
    last = course.last_at or facts.created_at
    until = moment if holder is not None else seconds(last)
    rates = _rates(course, until)
    counts = course.counts
    return RunStatus(
        run_id=run_id,
        plan_id=facts.plan_id,
        site=course.site or facts.site,
        state=state,
        driver=f"{course.host} pid {course.pid}" if course.begun else "",
        silence_s=silence_s(layout) if holder is not None and holder.elsewhere else None,
        counts=counts,
        by_recipe={name: _states(name, course) for name in sorted(course.recipes)},
        began_at=course.first_at or facts.created_at,
        elapsed_s=max(0.0, until - seconds(course.started_at or facts.created_at)),
        processes_per_min=rates[0] if rates else None,
        planes_per_min=rates[1] if rates else None,
        left_s=band(course, until) if holder is not None else None,
        history=max((len(one.runs) for one in course.past.values()), default=0),
        chain_s=course.chain_s if holder is not None else None,
        ready=counts.get(State.READY, 0),
        in_flight=course.in_flight if holder is not None else 0,
        workers=course.workers,
        census=course.census if holder is not None else {},
        running=_oldest(layout, course, until),
        busy_s=course.busy_s,
        cpu_s=course.cpu_s,
        held_s=max(course.held_s, course.busy_s),
        planes=sum(one.planes for one in course.recipes.values()),
        failures=tuple(sorted(course.failures, key=lambda one: -one.processes - one.retried)),
        paused=course.paused,
        note=course.note,
        torn=course.torn,
    )


def run_list(layout: Layout) -> tuple[RunStatus, ...]:
    """Where every run stands, oldest first; runs of older packages that left no page are added up from their plans."""
    return tuple(run_status(layout, run_id) for run_id in run_ids(layout))


def _added_up(layout: Layout, facts: RunFile) -> RunCourse:
    """The course from plan and whole journal, where the page is gone or an older package ran."""
    from archive_proc.planning.text import plan_from_json  # with it come numpy and all that plans are made of

    plan = plan_from_json(layout.plan(facts.plan_id).read_bytes(), f"plan {facts.plan_id[:12]}")
    planned = {one.process.process_id: one for one in plan.processes}
    journal = read_journal(layout.journal(facts.run_id))
    told = {one.process_id for one in journal.events if isinstance(one, ProcessChanged)}
    # A cached process has no line of its own: its seal is the record.
    cached = frozenset(pid for pid in planned if pid not in told and is_sealed(layout, pid))
    course = course_of(facts.run_id, facts.plan_id, planned.values(), cached)
    for event in journal.events:
        if isinstance(event, ProcessChanged) and not event.recipe and event.process_id in planned:
            one = planned[event.process_id]
            event = dataclasses.replace(
                event,
                recipe=one.process.recipe,
                planes=one.prediction.planes,
                predicted_s=one.prediction.cpu_s,
            )
        course.fold(event)
    course.end, course.torn = journal.end, journal.torn
    return course


def _states(name: str, course: RunCourse) -> dict[State, int]:
    recipe = course.recipes[name]
    running = sum(one.recipe == name for one in course.running.values())
    found = {**recipe.ended, State.RUNNING: running, State.PLANNED: recipe.open - running}
    return {state: found[state] for state in State if found.get(state)}


def _rates(course: RunCourse, until: float) -> tuple[float, float] | None:
    """Processes and planes a minute, from the oldest kept point to now."""
    if not course.points:
        return None
    (first, done, planes), (last, done_now, planes_now) = course.points[0], course.points[-1]
    minutes = max(until if not course.over else last, last) - first
    return (60 * (done_now - done) / minutes, 60 * (planes_now - planes) / minutes) if minutes > 0 else None


def _oldest(layout: Layout, course: RunCourse, until: float) -> tuple[Running, ...]:
    found = heapq.nsmallest(OLDEST, course.running.items(), key=lambda item: (item[1].since, item[0]))
    return tuple(
        Running(
            recipe=one.recipe,
            process_id=process_id,
            age_s=max(0.0, until - seconds(one.since)),
            planes=one.planes,
            hosts=_hosts(layout, process_id, one.attempt) or ((one.host,) if one.host else ()),
        )
        for process_id, one in found
    )


def _hosts(layout: Layout, process_id: ProcessId, attempt: int) -> tuple[str, ...]:
    """Hosts that execute a task of an attempt now, by the marks they left."""
    found = marks(AttemptDir(layout.pending_dir(process_id, attempt)))
    return tuple(sorted({one.writer.host for one in found}))
