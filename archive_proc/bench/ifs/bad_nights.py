"""Rows for nights that something is wrong with: each reduced like any other, and judged."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from archive_proc.bench.figures import Figure
from archive_proc.bench.ifs.judging import Verdict, as_expected, judge
from archive_proc.bench.ifs.known import load_simulated
from archive_proc.bench.ifs.products import find_lamp, read_archive
from archive_proc.bench.ifs.raw_set import read_raw_set
from archive_proc.bench.ifs.spectra import Lamp
from archive_proc.bench.ifs.troubles import Trouble, plain_night
from archive_proc.simulate.ifs.night import simulate_ifs_night
from archive_proc.simulate.truth import truth_directory

ReduceWith = Callable[[Path, Path, Path | None], None]
"""(new archive, raw directory, archive whose sealed products may be used)."""
MOVED = "grid moved by up to 1 px"
"""Every simulated night is: its grid is drawn anew, and no solution is stored."""
EVEN = "AP-IFS-070"
"""Code of light that fills the field."""


def bad_night_rows(
    mode: str,
    seed: int,
    troubles: Sequence[Trouble],
    work: Path,
    reduce: ReduceWith,
    *,
    keep: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[Figure]:
    """One row a trouble, and one for the good night that they are made from; each is said when it is known.

    A night takes as long as what its trouble makes anew: sealed products of the good one are linked beside it. With
    `keep` a good night that stands in `work` already is taken as it is, so that one trouble can be tried again.
    """
    place = work / f"{mode}_{seed}_bad"
    beside = truth_directory(place / "raw")
    if not (keep and beside.is_dir()):
        simulate_ifs_night(place / "raw", plain_night(mode), seed)
    raw = read_raw_set(place / "raw")
    known = load_simulated(beside, {one.file_id: one.dit_s for one in raw.files})

    ordinary: frozenset[str] = frozenset()
    lamp: Lamp | None = None

    def judged(name: str, spot: Path, began: float, trouble: Trouble | None = None) -> Figure:
        nonlocal ordinary, lamp
        reduce(spot / "archive", spot / "raw", place / "archive" if trouble else None)
        # An evenly lit field is what the good night has, and what a star never has.
        of_star = trouble is not None and trouble.of_star
        usual = frozenset(one for one in ordinary if not (of_star and one.startswith(EVEN)))
        verdict = as_expected(judge(known, raw, spot / "archive", usual, lamp), trouble.says if trouble else (), usual)
        if trouble is None:
            ordinary, lamp = verdict.names, find_lamp(read_archive(spot / "archive"), raw, known)
        say(f"{mode} seed {seed}, {name}: {verdict.words} ({_children_s() - began:.0f} s CPU)")
        return _row(mode, seed, name, verdict)

    figures = [judged(MOVED, place, _children_s())]
    for trouble in troubles:
        began = _children_s()
        spot = place / trouble.name.replace(" ", "_").replace("%", "percent")
        shutil.rmtree(spot, ignore_errors=True)
        trouble.make(place / "raw", spot / "raw", mode, seed)
        figures.append(judged(trouble.name, spot, began, trouble))
        if not keep:
            shutil.rmtree(spot)
    if not keep:
        shutil.rmtree(place)
    return figures


def _children_s() -> float:
    """CPU of the commands so far, s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _row(mode: str, seed: int, name: str, verdict: Verdict) -> Figure:
    return Figure(
        case=f"{mode} seed {seed}: right labels and solution, or a named refusal",
        name=name,
        value=float(verdict.acceptable),
        unit="yes",
        aim=1.0,
        at_least=True,
        reference=verdict.words,
        n=1,
    )
