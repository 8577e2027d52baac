"""Fuzz campaign: mutated real headers in every wrapper through scanner, rules, manifest and pixel reader.

Nothing may escape but coded errors, below 1 s and 200 MB each. A case is made from the seed and its number alone, so
any of them can be replayed: `archive-proc bench fuzz --seed S --only N`.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from archive_proc.bench.figures import Figure, Report
from archive_proc.bench.mutations import Mutator, bases
from archive_proc.bench.one_case import Cost, Meter, answer, limit_memory

AIM_S, AIM_MB = 1.0, 200.0
_CHUNK = 50
"""Cases of one task."""
_LIMIT = 1 << 29
"""Bytes a process may have beyond its start: more than the aim, so that a miss is measured before it is refused."""
_NAME = "mutant.fits"


@dataclass(frozen=True, slots=True)
class Case:
    """One case and what came of it."""

    number: int
    name: str
    word: str
    """See `one_case.answer`."""
    cost: Cost
    escaped: str = ""
    """Traceback of what was no coded error."""


@dataclass(slots=True)
class Campaign:
    """What came of many cases."""

    seed: int
    words: Counter[str] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)
    slowest: Case | None = None
    largest: Case | None = None
    escapes: list[Case] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """How many were tried."""
        return self.words.total()

    def add(self, case: Case) -> None:
        """Count a case."""
        self.words[case.word] += 1
        self.forms[case.name.partition(":")[0]] += 1
        if case.word.startswith("ESCAPE"):
            self.escapes.append(case)
        if self.slowest is None or case.cost.cpu_s > self.slowest.cost.cpu_s:
            self.slowest = case
        if self.largest is None or case.cost.peak_bytes > self.largest.cost.peak_bytes:
            self.largest = case


def run_case(seed: int, number: int, displays: Path | None, folder: Path) -> Case:
    """Make a case's file below `folder` and read it."""
    mutant = _mutator(displays).mutant(seed, number)
    path = folder / _NAME
    path.write_bytes(mutant.content)
    meter = Meter()
    word, escaped = answer(path)
    return Case(number, mutant.name, word, meter.cost(), escaped)


def run_fuzz(cases: int, seed: int, displays: Path | None = None, jobs: int = 1) -> Campaign:
    """Cases 0 to `cases` - 1 of a seed, in `jobs` processes of their own, whose memory is limited."""
    campaign = Campaign(seed)
    chunks = [(first, min(first + _CHUNK, cases)) for first in range(0, cases, _CHUNK)]
    for case in _all(chunks, seed, displays, jobs):
        campaign.add(case)
    return campaign


def _all(chunks: Sequence[tuple[int, int]], seed: int, displays: Path | None, jobs: int) -> Iterator[Case]:
    method = multiprocessing.get_context("spawn")
    left = list(chunks)
    while left:
        done = 0
        try:
            with ProcessPoolExecutor(min(jobs, len(left)), mp_context=method) as pool:
                for found in pool.map(_chunk, *zip(*((*one, seed, displays) for one in left), strict=True)):
                    yield from found
                    done += 1
            return
        except BrokenProcessPool:
            # Some case of the first chunks without an answer killed its process: one by one from there.
            first, stop = left[done]
            yield from (_alone(number, seed, displays) for number in range(first, stop))
            left = left[done + 1 :]


def _alone(number: int, seed: int, displays: Path | None) -> Case:
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return next(iter(pool.submit(_chunk, number, number + 1, seed, displays).result()))
    except BrokenProcessPool:
        return Case(
            number, "?: its process died", "ESCAPE process died", Cost(0.0, 0), "no traceback: the process died"
        )


def _chunk(first: int, stop: int, seed: int, displays: Path | None) -> list[Case]:
    _ready(displays)
    with tempfile.TemporaryDirectory(prefix="archive-proc-fuzz-") as folder:
        return [run_case(seed, number, displays, Path(folder)) for number in range(first, stop)]


@cache
def _ready(displays: Path | None) -> None:
    """Once a process: what the first case would pay for alone, then the limit."""
    with tempfile.TemporaryDirectory(prefix="archive-proc-fuzz-") as folder:
        for number in range(12):
            run_case(-1, number, displays, Path(folder))
    limit_memory(_LIMIT)


@cache
def _mutator(displays: Path | None) -> Mutator:
    return Mutator(bases(displays))


def report(campaign: Campaign) -> Report:
    """Escapes, worst time, worst memory."""
    slow, large = campaign.slowest, campaign.largest
    case = f"seed {campaign.seed}"
    figures = [
        Figure(case=case, name="escapes", value=len(campaign.escapes), unit="1", aim=0, n=campaign.cases),
        Figure(
            case=case, name="worst case", value=slow.cost.cpu_s if slow else None, unit="s CPU", aim=AIM_S,
            n=campaign.cases,
        ),
        Figure(
            case=case, name="worst case", value=large.cost.peak_bytes / 1e6 if large else None, unit="MB", aim=AIM_MB,
            n=campaign.cases,
        ),
    ]  # fmt: skip
    return Report("fuzz", tuple(figures))


def lines(campaign: Campaign) -> list[str]:
    """Answers counted, the worst cases and every escape with the command that replays it."""
    again = f"archive-proc bench fuzz --seed {campaign.seed} --only"
    found = [f"answers  {', '.join(f'{word} {number}' for word, number in campaign.words.most_common())}"]
    found += [f"forms    {', '.join(f'{form} {number}' for form, number in sorted(campaign.forms.items()))}"]
    for word, case in (("slowest", campaign.slowest), ("largest", campaign.largest)):
        if case is not None:
            cost = f"{case.cost.cpu_s:.3f} s, {case.cost.peak_bytes / 1e6:.1f} MB"
            found.append(f"{word}  {cost}  {case.word}  ({case.name})  {again} {case.number}")
    for case in campaign.escapes:
        found += [f"{case.word}  ({case.name})  {again} {case.number}", case.escaped.rstrip()]
    return found
