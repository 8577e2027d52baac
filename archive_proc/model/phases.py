"""Where the time of a task goes: phases, their cost, and the clock that shares a task out among them.

Every moment of a task belongs to exactly one phase, so the phases of a task add up to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What a worker does at a moment."""

    TASK = "task"
    """Whatever is in no other phase: the spec, marks, receipts, plane tables."""
    START = "start"
    """Imports, compiled kernels loaded: paid once a worker."""
    COMPILE = "compile"
    """Kernels compiled because no worker of this machine and package had done so yet. In older records: `start`."""
    RAW = "raw"
    """Raw planes out of FITS files: found, read, inflated, in native byte order."""
    READ = "read"
    """Pixels of a main product decoded from Zarr, and what is kept of raw planes from one block to the next.

    Packages before phase `raw` counted that here too.
    """
    CALIBRATIONS = "calibrations"
    """Associated products that the worker's cache did not hold."""
    BLOCK = "block"
    """The recipe: its blocks."""
    REDUCE = "reduce"
    """The recipe: summaries to shared values, files between passes included."""
    CLOSE = "close"
    """The recipe: whole arrays, figures of quality."""
    WRITE = "write"
    """Arrays encoded and written to Zarr."""
    DIGEST = "digest"
    """sha256 of raw planes, of values and of the objects written."""
    SEAL = "seal"
    """Verified, recorded, sealed, forced to disk, renamed."""


RECIPE_PHASES = (Phase.BLOCK, Phase.REDUCE, Phase.CLOSE)
"""The recipe itself; every other phase is the engine's, but for reading raw files and compiling."""


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """Time of one phase."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def plus(self, other: PhaseCost) -> PhaseCost:
        """Sum of both."""
        return PhaseCost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)


_NAMES = tuple(phase.value for phase in Phase)
_KNOWN = frozenset(_NAMES)

Phases = Mapping[str, PhaseCost]
"""By name of phase; one that did not occur has no entry."""


def summed(one: Phases, other: Phases) -> dict[str, PhaseCost]:
    """Both together, phase by phase, in the order of `Phase`; names of newer packages come last.

    >>> summed({"read": PhaseCost(1.0, 0.5)}, {"read": PhaseCost(2.0, 1.0)})
    {'read': PhaseCost(wall_s=3.0, cpu_s=1.5)}
    """
    names = [name for name in _NAMES if name in one or name in other]
    if not (one.keys() <= _KNOWN and other.keys() <= _KNOWN):
        names += sorted({*one, *other} - _KNOWN)
    if not one or not other:
        some = one or other
        return {name: some[name] for name in names}
    none = PhaseCost()
    return {name: one.get(name, none).plus(other.get(name, none)) for name in names}


Now = Callable[[], tuple[float, float]]
"""(wall, CPU) seconds since whenever."""


class PhaseClock:
    """Shares time out among phases. Phases nest: the inner one's time is not the outer one's."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._spent: dict[Phase, list[float]] = {}
        self._phase = Phase.TASK
        self._since = now()

    @contextlib.contextmanager
    def __call__(self, phase: Phase) -> Iterator[None]:
        """What runs inside belongs to `phase`."""
        before = self._turn(phase)
        try:
            yield
        finally:
            self._turn(before)

    def _turn(self, phase: Phase) -> Phase:
        """From now on it is `phase`; gives the one until now."""
        before, moment = self._phase, self._now()
        spent = self._spent.setdefault(before, [0.0, 0.0])
        spent[0] += moment[0] - self._since[0]
        spent[1] += moment[1] - self._since[1]
        self._phase, self._since = phase, moment
        return before

    def costs(self) -> dict[str, PhaseCost]:
        """Up to now, in the order of `Phase`; sums to the time since the clock was made."""
        self._turn(self._phase)
        return {
            phase.value: PhaseCost(round(self._spent[phase][0], 6), round(self._spent[phase][1], 6))
            for phase in Phase
            if phase in self._spent
        }


STILL = PhaseClock(lambda: (0.0, 0.0))
"""Stands still: for callers that do not measure."""
