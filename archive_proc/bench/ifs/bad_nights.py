"""Rows for nights that something is wrong with: each reduced like any other, and judged."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from archive_proc.bench.figures import Figure
from archive_proc.bench.ifs.judging import Verdict, judge
from archive_proc.bench.ifs.known import load_simulated
from archive_proc.bench.ifs.raw_set import read_raw_set
from archive_proc.bench.ifs.troubles import Trouble, plain_night
from archive_proc.simulate.ifs.night import simulate_ifs_night

ReduceWith = Callable[[Path, Path, Path | None], None]
"""(new archive, raw directory, archive whose sealed products may be used)."""
MOVED = "grid moved by up to 1 px"
"""Every simulated night is: its grid is drawn anew, and no solution is stored."""


def bad_night_rows(
    mode: str, seed: int, troubles: Sequence[Trouble], work: Path, reduce: ReduceWith, *, keep: bool = False
) -> list[Figure]:
    """One row a trouble, and one for the good night that they are made from.

    A night takes as long as what its trouble makes anew: sealed products of the good one are linked beside it.
    """
    place = work / f"{mode}_{seed}_bad"
    truth = simulate_ifs_night(place / "raw", plain_night(mode), seed)
    raw = read_raw_set(place / "raw")
    known = load_simulated(truth.directory, {one.file_id: one.dit_s for one in raw.files})
    reduce(place / "archive", place / "raw", None)
    figures = [_row(mode, seed, MOVED, judge(known, raw, place / "archive"))]
    for number, trouble in enumerate(troubles):
        spot = place / f"trouble_{number:02d}"
        trouble.make(place / "raw", spot / "raw", mode, seed)
        reduce(spot / "archive", spot / "raw", place / "archive")
        figures.append(_row(mode, seed, trouble.name, judge(known, raw, spot / "archive")))
        if not keep:
            shutil.rmtree(spot)
    if not keep:
        shutil.rmtree(place)
    return figures


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
