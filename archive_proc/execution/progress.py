"""How far a run is: bars per recipe with a band for the time left on a terminal, one line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from archive_proc.model.ids import ProcessId
from archive_proc.model.processes import PlannedProcess, State

LINE_EVERY_S = 60.0
BAND = (0.1, 0.9)
"""Quantiles of measured over predicted time between which the time left is told."""


@dataclass(slots=True)
class Tally:
    """Processes of one recipe by how they ended."""

    total: int = 0
    done: int = 0
    cached: int = 0
    failed: int = 0
    blocked: int = 0

    @property
    def settled(self) -> int:
        """Processes with a final state."""
        return self.done + self.cached + self.failed + self.blocked


@dataclass(slots=True)
class Course:
    """What is known of a run's course."""

    workers: int
    tallies: dict[str, Tally] = field(default_factory=dict)
    predicted_left_s: float = 0.0
    """Predicted CPU seconds of processes without a final state."""
    ratios: list[float] = field(default_factory=list)
    """Measured wall over predicted CPU seconds of finished processes."""

    def settle(self, planned: PlannedProcess, state: State, wall_s: float) -> None:
        """A process got its final state."""
        tally = self.tallies[planned.process.recipe]
        predicted = planned.prediction.cpu_s
        self.predicted_left_s = max(0.0, self.predicted_left_s - predicted)
        match state:
            case State.DONE:
                tally.done += 1
                if predicted > 0 and wall_s > 0:
                    self.ratios.append(wall_s / predicted)
            case State.CACHED:
                tally.cached += 1
            case State.FAILED | State.LOST | State.QUARANTINED:
                tally.failed += 1
            case _:
                tally.blocked += 1

    def left_s(self) -> tuple[float, float] | None:
        """Band of the time left, s; None before anything was measured."""
        if not self.ratios:
            return None
        ordered = sorted(self.ratios)
        low, high = (ordered[min(len(ordered) - 1, int(one * len(ordered)))] for one in BAND)
        scale = self.predicted_left_s / max(1, self.workers)
        return scale * low, scale * high


def course_of(processes: Sequence[PlannedProcess], workers: int) -> Course:
    """The course of a run that has not begun."""
    course = Course(workers)
    for one in processes:
        course.tallies.setdefault(one.process.recipe, Tally()).total += 1
        course.predicted_left_s += one.prediction.cpu_s
    return course


def time_left(course: Course) -> str:
    """`2-4 min left`, `less than a minute left`, or empty."""
    band = course.left_s()
    if band is None or course.predicted_left_s <= 0:
        return ""
    low, high = (one / 60.0 for one in band)
    if high < 1:
        return "less than a minute left"
    return f"{low:.0f}-{max(high, low + 1):.0f} min left"


class Progress(Protocol):
    """Shows a run's course."""

    def settle(self, process_id: ProcessId, state: State, wall_s: float) -> None:
        """A process got its final state."""

    def say(self, line: str) -> None:
        """A failure, as it comes."""

    def warn(self, line: str) -> None:
        """What must be told even where no progress is shown."""

    def tick(self, in_flight: int) -> None:
        """Called often."""

    def close(self) -> None:
        """The run ended."""


class Silent:
    """Shows nothing."""

    def settle(self, process_id: ProcessId, state: State, wall_s: float) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def warn(self, line: str) -> None:
        """Print it on stderr."""
        print(line, file=sys.stderr, flush=True)

    def tick(self, in_flight: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """One line a minute on stderr."""

    def __init__(self, processes: Mapping[ProcessId, PlannedProcess], workers: int) -> None:
        self._processes = processes
        self._course = course_of(list(processes.values()), workers)
        self._said = time.monotonic()

    def settle(self, process_id: ProcessId, state: State, wall_s: float) -> None:
        """Count it."""
        self._course.settle(self._processes[process_id], state, wall_s)

    def say(self, line: str) -> None:
        """Print it at once."""
        print(line, file=sys.stderr, flush=True)

    def warn(self, line: str) -> None:
        """Print it at once."""
        self.say(line)

    def tick(self, in_flight: int) -> None:
        """Print a line when a minute has passed."""
        if time.monotonic() - self._said >= LINE_EVERY_S:
            self._said = time.monotonic()
            self.say(self._line(in_flight))

    def _line(self, in_flight: int) -> str:
        tallies = self._course.tallies.values()
        total, settled = sum(one.total for one in tallies), sum(one.settled for one in tallies)
        failed = sum(one.failed for one in tallies)
        parts = [f"{settled} of {total} processes", f"{in_flight} tasks in flight"]
        parts += [f"{failed} failed"] if failed else []
        left = time_left(self._course)
        return ", ".join([*parts, left] if left else parts)

    def close(self) -> None:
        """Nothing left to say: the caller prints the counts."""


class Bars:
    """Bars per recipe on a terminal (stderr)."""

    def __init__(self, processes: Mapping[ProcessId, PlannedProcess], workers: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._processes = processes
        self._course = course_of(list(processes.values()), workers)
        self._rich = RichProgress(
            TextColumn("{task.description:>28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            refresh_per_second=4,
        )
        self._bars = {
            recipe: self._rich.add_task(recipe, total=tally.total, note="")
            for recipe, tally in self._course.tallies.items()
        }
        self._all = self._rich.add_task("all", total=len(processes), note="")
        self._rich.start()

    def settle(self, process_id: ProcessId, state: State, wall_s: float) -> None:
        """Advance its recipe's bar."""
        planned = self._processes[process_id]
        recipe = planned.process.recipe
        self._course.settle(planned, state, wall_s)
        tally = self._course.tallies[recipe]
        words = [f"{count} {word}" for count, word in ((tally.failed, "failed"), (tally.blocked, "blocked")) if count]
        self._rich.update(self._bars[recipe], completed=tally.settled, note=", ".join(words))
        self._rich.update(self._all, advance=1, note=time_left(self._course))

    def say(self, line: str) -> None:
        """Print above the bars."""
        self._rich.console.print(line, markup=False, highlight=False)

    def warn(self, line: str) -> None:
        """Print it above the bars."""
        self.say(line)

    def tick(self, in_flight: int) -> None:
        """Rich refreshes itself."""

    def close(self) -> None:
        """Leave the bars as they stand."""
        self._rich.stop()


def progress_for(processes: Mapping[ProcessId, PlannedProcess], workers: int, *, wanted: bool) -> Progress:
    """Bars on a terminal, lines elsewhere, nothing where nothing is wanted."""
    if not wanted or not processes:
        return Silent()
    return Bars(processes, workers) if sys.stderr.isatty() else Lines(processes, workers)
