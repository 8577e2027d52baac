"""The campaign: every kind of fault in turn, seeded, on grounds that are made once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from archive_proc.bench.faults import clocks, formats, journals, kills, raw_files, rivals, room, shards
from archive_proc.bench.faults.case import Case
from archive_proc.bench.faults.grounds import Grounds, prepared_grounds, stand_in_grounds
from archive_proc.errors import MisuseError, PreconditionError

LEVELS = 20
"""Levels of fill of a small disk."""
PAUSE_S = 0.02
"""How much longer stand-in blocks last where the moment is chosen by watching a run."""


@dataclass(slots=True)
class Campaign:
    """What the kinds of fault share."""

    work: Path
    seed: int
    size: int
    """How many of each: 1 for a look, 10 for the long campaign."""
    real_night: Callable[[Path], Path]
    """Makes a raw night of full-size planes for the real recipes."""
    _grounds: Grounds | None = None
    _finished: Path | None = None
    _real: Grounds | None = None
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @property
    def small(self) -> Grounds:
        """The small night with stand-in recipes."""
        if self._grounds is None:
            self._grounds = stand_in_grounds(self.work / "small")
        return self._grounds

    @property
    def finished(self) -> Path:
        """An archive of the small night, reduced undisturbed."""
        if self._finished is None:
            self._finished = self.small.copy()
            self.small.run(self._finished, "faults-serial")
        return self._finished

    @property
    def real(self) -> Grounds:
        """Full-size planes with the real recipes."""
        if self._real is None:
            place = self.work / "real"
            place.mkdir(parents=True)
            self._real = prepared_grounds(place, self.real_night(place / "raw"))
        return self._real

    def rng(self, kind: str) -> random.Random:
        """Seeded by kind: leaving one out changes no other."""
        return random.Random(f"{self.seed} {kind}")  # noqa: S311 - moments of faults, not secrets

    def run(self, kinds: Sequence[str]) -> Iterator[Case]:
        """Every case of the kinds asked for; what this machine does not allow is noted as skipped."""
        for name in kinds:
            try:
                yield from KINDS[name](self, self.rng(name))
            except PreconditionError as lacks:
                self.skipped.append((name, lacks.message))


def _kills(one: Campaign, rng: random.Random) -> Iterator[Case]:
    yield from kills.random_kills(one.small, "driver", 2 * one.size, rng)
    yield from kills.random_kills(one.small, "worker", 2 * one.size, rng)


def _real_kills(one: Campaign, rng: random.Random) -> Iterator[Case]:
    # A run of full planes costs ten times one of the small night; with the small ones and the compactor's it makes 60.
    count = max(1, one.size // 2)
    yield from kills.random_kills(one.real, "driver", count, rng)
    yield from kills.random_kills(one.real, "worker", count, rng)


def _points(one: Campaign, rng: random.Random) -> Iterator[Case]:
    yield from kills.kills_at_points(one.small, rng, max(1, one.size // 4))


def _compactor(one: Campaign, rng: random.Random) -> Iterator[Case]:
    yield from kills.compactor_kills(one.small, one.finished, one.size, rng)


def _disk(one: Campaign, rng: random.Random) -> Iterator[Case]:
    number = LEVELS if one.size >= 10 else 2 * one.size
    levels = [1.1 * at / (number - 1) for at in range(number)]
    yield from room.full_disks(one.small, levels, rng, during=False)
    yield from room.full_disks(one.small, levels, rng, during=True)
    yield from room.few_inodes(one.small, (0, 40, 160))


def _quota(one: Campaign, rng: random.Random) -> Iterator[Case]:
    yield from room.quotas(one.small, max(1, one.size // 5), rng)


def _read_only(one: Campaign, rng: random.Random) -> Iterator[Case]:
    yield from room.read_only(one.small, {"nothing run yet": one.small.template, "all done": one.finished})


def _shards(one: Campaign, rng: random.Random) -> Iterator[Case]:
    yield from shards.damaged_products(one.small, one.finished, 2 * one.size + 1, rng)
    yield from shards.damaged_inputs(one.small, one.size + 2, rng)


def _journals(one: Campaign, rng: random.Random) -> Iterator[Case]:
    yield from journals.torn_journals(one.small, max(4, one.size), rng)
    yield from journals.lost_lines(one.small, one.finished, max(4, one.size), rng)


def _clocks(one: Campaign, rng: random.Random) -> Iterator[Case]:
    yield from clocks.stepping_clocks(one.small, max(2, one.size // 2), rng)
    yield from clocks.off_clocks(one.small, max(2, one.size // 2), rng)
    yield from clocks.ingest_under_a_clock_set_back(one.small)


def _rivals(one: Campaign, rng: random.Random) -> Iterator[Case]:
    yield from rivals.two_drivers(one.small, max(2, one.size), rng)
    yield from rivals.readers(one.small, max(1, one.size // 2))


def _formats(one: Campaign, rng: random.Random) -> Iterator[Case]:
    yield from formats.other_versions(one.small, one.finished)


def _raw(one: Campaign, rng: random.Random) -> Iterator[Case]:
    one.small.pause_s = PAUSE_S
    try:
        yield from raw_files.changing_files(one.small, max(1, one.size // 10), rng)
    finally:
        one.small.pause_s = 0.0


KINDS: dict[str, Callable[[Campaign, random.Random], Iterator[Case]]] = {
    "kills": _kills,
    "real-kills": _real_kills,
    "points": _points,
    "compactor": _compactor,
    "disk": _disk,
    "quota": _quota,
    "read-only": _read_only,
    "shards": _shards,
    "journals": _journals,
    "clocks": _clocks,
    "rivals": _rivals,
    "formats": _formats,
    "raw": _raw,
}


def kinds_of(text: str | None) -> tuple[str, ...]:
    """The kinds of a comma-separated list, all where nothing is given. Raises MisuseError AP-CLI-007."""
    if not text:
        return tuple(KINDS)
    asked = tuple(one.strip() for one in text.split(","))
    unknown = [one for one in asked if one not in KINDS]
    if unknown:
        raise MisuseError(
            "AP-CLI-007", f"unknown kind {unknown[0]}", subject="--only", remedy=f"there are {', '.join(KINDS)}"
        )
    return asked
