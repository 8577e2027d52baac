"""The course of a run: its journal, event by event, added up to one page. Pure.

The driver adds up what it writes and leaves the page beside the journal (`watching.py`); `status` reads the page and
adds the few lines behind it, so that it answers at once whatever the size of the run. Without a page the same sums are
made from plan and whole journal.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable

import msgspec

from archive_proc.model.events import (
    Event,
    ProcessChanged,
    ProcessFailed,
    RecipePaused,
    RunEnded,
    RunStarted,
    TaskEnded,
)
from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.processes import PlannedProcess, State

FORMAT = 1
"""Raised when a reader of the old page would misread the new."""
FINAL = frozenset(
    {State.DONE, State.CACHED, State.FAILED, State.BLOCKED, State.CANCELLED, State.QUARANTINED, State.WAIVED}
)
POINT_EVERY_S = 30.0
POINTS = 21
"""Rates are told over the last ten minutes."""
STEPS = 4
"""Bins an octave of the histogram of measured over predicted time."""
SIGNATURES = 100
"""Kinds of failure kept apart; what comes later is counted in one row."""
MORE = "other signatures"


class RecipeCourse(msgspec.Struct, kw_only=True):
    """The processes of one recipe."""

    planned: int = 0
    ended: dict[State, int] = {}
    """Final state -> processes."""
    left_s: float = 0.0
    """Predicted CPU seconds of processes without a final state."""
    lost_s: float = 0.0
    """Of those that ended without a product."""
    done_s: float = 0.0
    """Of those done."""
    measured_s: float = 0.0
    """Worker seconds that those done took."""
    planes: int = 0
    """Of those done."""
    ratios: dict[int, int] = {}
    """Histogram of measured over predicted time: bin (`STEPS` an octave) -> processes."""

    @property
    def open(self) -> int:
        """Processes without a final state."""
        return self.planned - sum(self.ended.values())


class RunningProcess(msgspec.Struct, kw_only=True):
    """A process that was begun and has no final state."""

    recipe: str
    since: str
    """ISO UTC."""
    attempt: int
    planes: int
    predicted_s: float
    spent_s: float = 0.0
    """Worker seconds of its tasks that gave an answer."""
    host: str = ""
    """Of its last task that gave an answer."""


class FailureKind(msgspec.Struct, kw_only=True):
    """Equal failures."""

    recipe: str
    cause: str
    code: str
    signature: str
    first: ProcessId
    account: str
    """Of the first, as its remedy."""
    remedy: str
    processes: int = 0
    """Failed for good."""
    retried: int = 0
    """Attempts that another followed."""
    earlier: int = 0
    """Of the processes, those whose failure stands from an earlier run."""


class Past(msgspec.Struct, kw_only=True):
    """What earlier runs say about one recipe: worker seconds over predicted CPU seconds."""

    runs: list[float] = []
    """One ratio of sums a run, newest first."""
    ratios: dict[int, int] = {}
    """Histogram of single processes, as in `RecipeCourse`."""


class RunCourse(msgspec.Struct, kw_only=True):
    """One run, as far as its journal was added up."""

    format: int = FORMAT
    run_id: RunId
    plan_id: PlanId
    site: str = ""
    backend: str = ""
    host: str = ""
    pid: int = 0
    """Of the newest driver."""
    first_at: str = ""
    """ISO UTC: when it began, and when it was last continued."""
    started_at: str = ""
    last_at: str = ""
    end: int = 0
    """Byte of the journal up to which it is added up."""
    torn: int = 0
    begun: bool = False
    over: bool = False
    """Whether the newest driver wrote its last line."""
    stopped: str = ""
    note: str = ""
    recipes: dict[str, RecipeCourse] = {}
    running: dict[ProcessId, RunningProcess] = {}
    failures: list[FailureKind] = []
    paused: dict[str, str] = {}
    """Recipe -> signature that opened the breaker."""
    points: list[tuple[float, int, int]] = []
    """(s since 1970, processes done, planes of them), oldest first."""
    busy_s: float = 0.0
    """Worker seconds of tasks that gave an answer, and their CPU seconds."""
    cpu_s: float = 0.0
    # What the driver knows and the journal does not tell.
    workers: int = 0
    """Wanted."""
    census: dict[str, int] = {}
    """Workers by state: busy, idle, paused, ..."""
    ready: int = 0
    """Processes whose inputs are sealed and that were not begun."""
    in_flight: int = 0
    """Tasks given to the back end."""
    chain_s: float | None = None
    """Predicted CPU seconds of the longest chain of what is left, shared as far as its chunks allow."""
    held_s: float = 0.0
    """Worker seconds that the back end's workers stood."""
    past: dict[str, Past] = {}

    @property
    def counts(self) -> dict[State, int]:
        """Processes by state; adds up to the plan."""
        found: dict[State, int] = {}
        for one in self.recipes.values():
            for state, number in one.ended.items():
                found[state] = found.get(state, 0) + number
        found[State.RUNNING] = len(self.running)
        left = sum(one.planned for one in self.recipes.values()) - sum(found.values())
        # `ready` is the driver's count of a moment ago.
        found[State.READY] = min(self.ready, left)
        found[State.PLANNED] = left - found[State.READY]
        return {state: found[state] for state in State if found.get(state)}

    def fold(self, event: Event) -> None:
        """Add one event."""
        self.last_at = event.at
        match event:
            case ProcessChanged():
                self._changed(event)
            case TaskEnded():
                self.busy_s += event.wall_s
                self.cpu_s += event.cpu_s
                if (running := self.running.get(event.process_id)) is not None:
                    running.spent_s += event.wall_s
                    running.host = event.host
            case ProcessFailed():
                self._failed(event)
            case RecipePaused():
                self.paused[event.recipe] = event.signature
            case RunStarted():
                self._started(event)
            case RunEnded():
                self.over, self.stopped, self.note = True, event.stopped, event.note
                self.running.clear()
                self.census.clear()
                self.ready = self.in_flight = 0

    def _started(self, event: RunStarted) -> None:
        self.begun, self.over, self.stopped = True, False, ""
        self.site, self.backend, self.workers = event.site, event.backend, event.workers
        self.host, self.pid = event.host, event.pid
        self.first_at, self.started_at = self.first_at or event.at, event.at
        self.running.clear()
        self.failures.clear()
        self.paused.clear()
        self.points.clear()
        self.ready = self.in_flight = 0
        for one in self.recipes.values():
            # What ended without a product is tried again, or said to stand, by the new driver.
            one.ended = {state: number for state, number in one.ended.items() if state in (State.DONE, State.CACHED)}
            one.left_s, one.lost_s = one.left_s + one.lost_s, 0.0

    def _changed(self, event: ProcessChanged) -> None:
        before = self.running.pop(event.process_id, None)
        name = event.recipe or (before.recipe if before else "")
        recipe = self.recipes.get(name)
        if recipe is None:
            return
        if event.state is State.RUNNING:
            self.running[event.process_id] = RunningProcess(
                recipe=name,
                since=before.since if before else event.at,
                attempt=event.attempt,
                planes=event.planes,
                predicted_s=event.predicted_s,
            )
        elif event.state in FINAL:
            recipe.ended[event.state] = recipe.ended.get(event.state, 0) + 1
            recipe.left_s = max(0.0, recipe.left_s - event.predicted_s) if recipe.open else 0.0
            if event.state is State.DONE:
                self._done(recipe, event)
            else:
                recipe.lost_s += event.predicted_s

    def _done(self, recipe: RecipeCourse, event: ProcessChanged) -> None:
        recipe.planes += event.planes
        if event.predicted_s > 0 and event.wall_s > 0:
            recipe.done_s += event.predicted_s
            recipe.measured_s += event.wall_s
            at = bin_of(event.wall_s / event.predicted_s)
            recipe.ratios[at] = recipe.ratios.get(at, 0) + 1
        now = seconds(event.at)
        done = sum(one.ended.get(State.DONE, 0) for one in self.recipes.values())
        planes = sum(one.planes for one in self.recipes.values())
        if not self.points:
            self.points.append((seconds(self.started_at) if self.started_at else now, done - 1, planes - event.planes))
        # The last point moves until it is old enough to stand.
        if len(self.points) > 1 and now - self.points[-2][0] < POINT_EVERY_S:
            self.points.pop()
        self.points.append((now, done, planes))
        del self.points[:-POINTS]

    def _failed(self, event: ProcessFailed) -> None:
        kind = next((one for one in self.failures if (one.recipe, one.signature) == _kind(event)), None)
        if kind is None:
            full = len(self.failures) >= SIGNATURES
            if full and self.failures[-1].signature == MORE:
                kind = self.failures[-1]
            else:
                kind = FailureKind(
                    recipe=event.recipe,
                    cause=event.cause.value,
                    code=event.code,
                    signature=MORE if full else event.signature,
                    first=event.process_id,
                    account=event.account,
                    remedy=event.remedy,
                )
                self.failures.append(kind)
        kind.processes += event.final
        kind.retried += not event.final
        kind.earlier += event.earlier_run is not None


def course_of(
    run_id: RunId, plan_id: PlanId, processes: Iterable[PlannedProcess], cached: frozenset[ProcessId]
) -> RunCourse:
    """The course of a run of a plan that has not begun; `cached`: what of it is sealed."""
    course = RunCourse(run_id=run_id, plan_id=plan_id)
    for one in processes:
        recipe = course.recipes.get(one.process.recipe)
        if recipe is None:
            recipe = course.recipes[one.process.recipe] = RecipeCourse()
        recipe.planned += 1
        if one.process.process_id in cached:
            recipe.ended[State.CACHED] = recipe.ended.get(State.CACHED, 0) + 1
        else:
            recipe.left_s += one.prediction.cpu_s
    return course


def bin_of(ratio: float) -> int:
    """The bin of a ratio in a histogram.

    >>> bin_of(1.0), bin_of(2.0), bin_of(0.5)
    (0, 4, -4)
    """
    return round(math.log2(ratio) * STEPS)


def seconds(at: str) -> float:
    """ISO UTC text in s since 1970; texts without offset are UTC."""
    moment = dt.datetime.fromisoformat(at)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def _kind(event: ProcessFailed) -> tuple[str, str]:
    return event.recipe, event.signature
