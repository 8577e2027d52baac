"""How far a run is: bars per recipe with a band for the time left on a terminal, one line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from archive_proc.model.ids import ProcessId
from archive_proc.model.processes import PlannedProcess, State

LINE_EVERY_S = 60.0
TOLD_EVERY_S = 2.0
"""The time left, beside the bars."""


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


Left = Callable[[], tuple[float, float] | None]
"""Gives the band of the time left, s; None where nothing can be said."""


@dataclass(slots=True)
class Tallies:
    """Processes by recipe, as they end."""

    by_recipe: dict[str, Tally]

    def settle(self, planned: PlannedProcess, state: State) -> Tally:
        """A process got its final state."""
        tally = self.by_recipe[planned.process.recipe]
        match state:
            case State.DONE:
                tally.done += 1
            case State.CACHED:
                tally.cached += 1
            case one if one.is_failure:
                tally.failed += 1
            case _:
                tally.blocked += 1
        return tally


def tallies_of(processes: Iterable[PlannedProcess]) -> Tallies:
    """Nothing has ended yet."""
    found: dict[str, Tally] = {}
    for one in processes:
        found.setdefault(one.process.recipe, Tally()).total += 1
    return Tallies(found)


def time_left(band: tuple[float, float] | None) -> str:
    """The time left in words.

    >>> time_left((100, 300)), time_left((10, 50)), time_left(None)
    ('2-5 min left', 'less than a minute left', '')
    """
    if band is None:
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

    def __init__(self, processes: Mapping[ProcessId, PlannedProcess], left: Left) -> None:
        self._processes = processes
        self._tallies = tallies_of(processes.values())
        self._left = left
        self._said = time.monotonic()

    def settle(self, process_id: ProcessId, state: State, wall_s: float) -> None:
        """Count it."""
        self._tallies.settle(self._processes[process_id], state)

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
        tallies = self._tallies.by_recipe.values()
        total, settled = sum(one.total for one in tallies), sum(one.settled for one in tallies)
        failed = sum(one.failed for one in tallies)
        parts = [f"{settled} of {total} processes", f"{in_flight} tasks in flight"]
        parts += [f"{failed} failed"] if failed else []
        left = time_left(self._left())
        return ", ".join([*parts, left] if left else parts)

    def close(self) -> None:
        """Nothing left to say: the caller prints the counts."""


class Bars:
    """Bars per recipe on a terminal (stderr)."""

    def __init__(self, processes: Mapping[ProcessId, PlannedProcess], left: Left) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._processes = processes
        self._tallies = tallies_of(processes.values())
        self._left = left
        self._told = time.monotonic()
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
            for recipe, tally in self._tallies.by_recipe.items()
        }
        self._all = self._rich.add_task("all", total=len(processes), note="")
        self._rich.start()

    def settle(self, process_id: ProcessId, state: State, wall_s: float) -> None:
        """Advance its recipe's bar."""
        planned = self._processes[process_id]
        recipe = planned.process.recipe
        tally = self._tallies.settle(planned, state)
        words = [f"{count} {word}" for count, word in ((tally.failed, "failed"), (tally.blocked, "blocked")) if count]
        self._rich.update(self._bars[recipe], completed=tally.settled, note=", ".join(words))
        self._rich.update(self._all, advance=1)

    def say(self, line: str) -> None:
        """Print above the bars."""
        self._rich.console.print(line, markup=False, highlight=False)

    def warn(self, line: str) -> None:
        """Print it above the bars."""
        self.say(line)

    def tick(self, in_flight: int) -> None:
        """Rich refreshes itself; the time left is told anew now and then."""
        if time.monotonic() - self._told >= TOLD_EVERY_S:
            self._told = time.monotonic()
            self._rich.update(self._all, note=time_left(self._left()))

    def close(self) -> None:
        """Leave the bars as they stand."""
        self._rich.stop()


def progress_for(processes: Mapping[ProcessId, PlannedProcess], left: Left, *, wanted: bool) -> Progress:
    """Bars on a terminal, lines elsewhere, nothing where nothing is wanted."""
    if not wanted or not processes:
        return Silent()
    return Bars(processes, left) if sys.stderr.isatty() else Lines(processes, left)
