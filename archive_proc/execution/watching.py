"""What the driver leaves for `status`: its journal added up, and what the journal does not tell (workers, queue)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from archive_proc.execution.backends import AWAITED, Backend
from archive_proc.execution.course import Past, RunCourse, course_of, seconds
from archive_proc.execution.course_page import read_course, read_page, write_page
from archive_proc.execution.forecast import band
from archive_proc.execution.progress import Progress
from archive_proc.execution.schedule import SETTLED, Schedule
from archive_proc.model.events import Event
from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.processes import State
from archive_proc.planning.resources import chains_ahead
from archive_proc.storage.layout import Layout
from archive_proc.storage.runs import run_ids

WRITE_EVERY_S = 5.0
"""So much of the journal `status` has to add up, at most."""
PAST_RUNS = 20
"""Earlier runs that predictions are compared with, the newest."""


@dataclass(slots=True)
class Watch:
    """Adds up what the driver writes, and leaves the page."""

    layout: Layout
    course: RunCourse
    schedule: Schedule
    backend: Backend
    chains: Mapping[ProcessId, float]
    """Predicted seconds from a process to the end of its longest chain, its own included."""
    _longest: list[ProcessId] = field(default_factory=list)
    """Processes by these, the shortest first: settled ones are dropped from its end."""
    _looked: float = field(default_factory=time.monotonic)
    _written: float = 0.0

    def __post_init__(self) -> None:
        """Order the processes by what follows them."""
        self._longest = sorted(self.chains, key=lambda one: self.chains[one])

    def heard(self, event: Event, end: int) -> None:
        """An event was written, up to this byte of the journal."""
        self.course.fold(event)
        self.course.end = end

    def left_s(self) -> tuple[float, float] | None:
        """Band of the time left; None before this run or an earlier one has measured anything."""
        course = self.course
        if not course.past and not any(one.done_s for one in course.recipes.values()):
            return None
        return band(course, seconds(course.last_at)) if course.last_at else None

    def look(self, in_flight: int) -> None:
        """Called often: write the page when it is due."""
        if time.monotonic() - self._written >= WRITE_EVERY_S:
            self.course.in_flight = in_flight
            self.write()

    def write(self) -> None:
        """Write the page now. A disk that takes no more is the journal's trouble, not this one's."""
        now, course = time.monotonic(), self.course
        if not course.over:
            course.census = dict(self.backend.census())
            here = sum(number for state, number in course.census.items() if state != AWAITED)
            course.held_s += (now - self._looked) * here
            course.workers = self.backend.workers
            course.ready = sum(one is State.READY for one in self.schedule.states.values())
        while self._longest and self.schedule.states[self._longest[-1]] in SETTLED:
            self._longest.pop()
        course.chain_s = self.chains[self._longest[-1]] if self._longest else 0.0
        self._looked = self._written = now
        with contextlib.suppress(OSError):
            write_page(self.layout, course)


def watch(
    layout: Layout, run_id: RunId, plan_id: PlanId, schedule: Schedule, to_run: Sequence[ProcessId], backend: Backend
) -> Watch:
    """The watch over a run that is about to begin, or to be continued."""
    planned = schedule.planned
    wanted = set(to_run)
    course = course_of(run_id, plan_id, planned.values(), frozenset(one for one in planned if one not in wanted))
    earlier = read_course(layout, run_id)
    if earlier is not None:
        _carry(earlier, course)
    course.past = _past(layout, run_id)
    chains = chains_ahead({one: planned[one] for one in to_run}, backend.workers)
    return Watch(layout, course, schedule, backend, chains)


def _carry(earlier: RunCourse, course: RunCourse) -> None:
    """What was made and spent before a run was continued is still its own."""
    course.first_at, course.end, course.torn = earlier.first_at, earlier.end, earlier.torn
    course.busy_s, course.cpu_s, course.held_s = earlier.busy_s, earlier.cpu_s, earlier.held_s
    for name, before in earlier.recipes.items():
        if (recipe := course.recipes.get(name)) is None:
            continue
        recipe.done_s, recipe.measured_s, recipe.planes = before.done_s, before.measured_s, before.planes
        recipe.ratios = before.ratios
        made = min(before.ended.get(State.DONE, 0), recipe.ended.get(State.CACHED, 0))
        if made:
            recipe.ended[State.DONE] = made
            recipe.ended[State.CACHED] -= made


def _past(layout: Layout, but: RunId) -> dict[str, Past]:
    """What earlier runs took against what was predicted, by recipe."""
    found: dict[str, Past] = {}
    others = [one for one in run_ids(layout) if one != but]
    for run_id in others[: -PAST_RUNS - 1 : -1]:
        page = read_page(layout, run_id)
        for name, recipe in page.recipes.items() if page is not None else ():
            if recipe.done_s > 0:
                past = found.setdefault(name, Past())
                past.runs.append(recipe.measured_s / recipe.done_s)
                for at, number in recipe.ratios.items():
                    past.ratios[at] = past.ratios.get(at, 0) + number
    return found


@dataclass(slots=True)
class Watched:
    """A progress that keeps the page up to date as well."""

    progress: Progress
    watch: Watch

    def settle(self, process_id: ProcessId, state: State, wall_s: float) -> None:
        """As the progress inside."""
        self.progress.settle(process_id, state, wall_s)

    def say(self, line: str) -> None:
        """As the progress inside."""
        self.progress.say(line)

    def warn(self, line: str) -> None:
        """As the progress inside."""
        self.progress.warn(line)

    def tick(self, in_flight: int) -> None:
        """Called often."""
        self.watch.look(in_flight)
        self.progress.tick(in_flight)

    def close(self) -> None:
        """As the progress inside."""
        self.progress.close()
