"""A small raw night for stand-in recipes: real headers of a simulated night, planes of a few thousand pixels."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np

from archive_proc.simulate.headers import cards_of
from archive_proc.simulate.raw_file import write_raw
from archive_proc.simulate.spec import NightSpec, SequenceSpec, Star
from archive_proc.simulate.timeline import timeline

HEIGHT, WIDTH = 96, 128
"""Of a plane, pixels: two stripes of rows, and 50 kB a plane."""


FILTERS = ("DB_H23", "DB_K12", "DB_H34")
"""Of the sequences of a night, in turn."""
APART = dt.timedelta(minutes=72)


def small_night(directory: Path, *, ndit: int = 20, seed: int = 3, sequences: int = 1) -> tuple[Path, ...]:
    """Write the raw files of a few dual-band sequences and their calibrations; the same seed gives the same bytes.

    Two science files of `ndit` planes each: with chunks of 16 planes several tasks a process, the last one short.
    """
    night = NightSpec(sequences=tuple(_sequence(number, ndit) for number in range(sequences)))
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    files = []
    for counter, exposure in enumerate(timeline(night, rng), start=1):
        sequence = night.sequences[exposure.sequence] if exposure.sequence >= 0 else None
        sizes = {"NAXIS1": WIDTH, "NAXIS2": HEIGHT}
        cards = [
            replace(one, value=sizes.get(one.key, one.value)) for one in cards_of(exposure, sequence, rng, counter)
        ]
        path = directory / f"{exposure.file_id}.fits"
        planes = rng.normal(100 + counter, 5, (exposure.ndit, HEIGHT, WIDTH)).astype(np.float32)
        write_raw(path, cards, planes)
        files.append(path)
    return tuple(files)


def _sequence(number: int, ndit: int) -> SequenceSpec:
    return SequenceSpec(
        star=Star(name=f"SIM_SMALL{number or ''}", ra_deg=341.25 + number, dec_deg=-33.26, flux_adu_s=(1e7, 1e7)),
        start=dt.datetime(2017, 9, 29, 3, 0) + number * APART,
        filter=FILTERS[number % len(FILTERS)],
        order="FCOOCS",
        ndit=ndit,
        flux_ndit=1,
        sky_ndit=1,
        ob_id=2100081 + number,
        program="0100.C-9998(A)",
    )
