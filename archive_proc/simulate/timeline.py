"""When each exposure of a night is taken: the specs laid out in time, one value a raw file."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate.facts import DITDELAY_S, plane_period_s
from archive_proc.simulate.spec import CalibrationSpec, NightSpec, SequenceSpec, needed_calibrations

MJD_EPOCH = dt.datetime(1858, 11, 17)
GENERIC_OB = 200313600
"""The calibration OB that all daytime templates share."""
SETTLE_S = {"F": 28.0, "C": 9.0, "O": 6.0, "S": 21.0, "B": 12.0}
"""Idle time before a file of each letter, s: filter wheel, offset, waffle."""
_DPR = {"F": "OBJECT,FLUX", "C": "OBJECT,CENTER", "O": "OBJECT", "S": "SKY", "B": "SKY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One raw file to be."""

    start: dt.datetime
    """UTC, to 0.1 ms: DATE-OBS."""
    dpr_type: str
    letter: str
    """F, C, O, S, B; empty for calibrations."""
    filter: str
    dit_s: float
    ndit: int
    nd_filter: str
    dither: tuple[int, int]
    sequence: int
    """Index into NightSpec.sequences, -1 for calibrations."""
    ob_id: int
    ob_name: str
    ob_start: dt.datetime
    program: str
    template: str
    template_number: int
    template_start: dt.datetime
    exposure_number: int
    exposures: int
    """`TPL EXPNO` and `TPL NEXP`."""
    obstype_list: str

    @property
    def file_id(self) -> str:
        """Archive name: DATE-OBS cut to milliseconds."""
        return f"SPHER.{self.start:%Y-%m-%dT%H:%M:%S}.{self.start.microsecond // 1000:03d}"

    @property
    def exposure_time_s(self) -> float:
        """`DET SEQ1 EXPTIME`."""
        return self.ndit * plane_period_s(self.dit_s)

    @property
    def mjd(self) -> float:
        """Start, MJD UTC."""
        return to_mjd(self.start)

    @property
    def mid_mjd(self) -> NDArray[np.float64]:
        """(ndit,) mid-exposure of each plane, MJD UTC (notes/irdis.md 1, times)."""
        seconds = DITDELAY_S + np.arange(self.ndit) * plane_period_s(self.dit_s) + 0.5 * self.dit_s
        return np.asarray(self.mjd + seconds / 86400.0)


def to_mjd(when: dt.datetime) -> float:
    """MJD of a naive UTC time."""
    return (when - MJD_EPOCH) / dt.timedelta(days=1)


def _tenth_ms(when: dt.datetime) -> dt.datetime:
    return when.replace(microsecond=when.microsecond // 100 * 100)


def timeline(night: NightSpec, rng: np.random.Generator) -> tuple[Exposure, ...]:
    """All exposures of a night, in order of time. `rng` moves starts by fractions of a second."""
    found: list[Exposure] = []
    for index, one in enumerate(night.sequences):
        found.extend(_sequence(index, one, rng))
    calibrations = needed_calibrations(night.sequences) if night.calibrations is None else night.calibrations
    if calibrations:
        found.extend(_calibrations(calibrations, night, rng))
    return tuple(sorted(found, key=lambda exposure: (exposure.start, exposure.dpr_type)))


def _sequence(index: int, one: SequenceSpec, rng: np.random.Generator) -> Iterator[Exposure]:
    clock = one.start
    dithers = itertools.cycle(one.dithers)
    kinds = " ".join(letter for letter, _ in itertools.groupby(one.order.replace("B", "S")))
    ndits = {"F": one.flux_ndit, "C": one.center_ndit, "O": one.ndit, "S": one.sky_ndit, "B": one.sky_ndit}
    for number, letter in enumerate(one.order, start=1):
        clock += dt.timedelta(seconds=SETTLE_S[letter] + float(rng.uniform(0.0, 3.0)))
        science = letter == "O" or (one.continuous_waffle and letter == "C")
        short = letter in "FB"
        exposure = Exposure(
            start=_tenth_ms(clock),
            dpr_type=_DPR[letter],
            letter=letter,
            filter=one.filter,
            dit_s=one.flux_dit_s if short else one.dit_s,
            ndit=one.ndit if science else ndits[letter],
            nd_filter=one.flux_nd if short else "OPEN",
            dither=next(dithers) if science else (0, 0),
            sequence=index,
            ob_id=one.ob_id,
            ob_name=f"{one.star.name}_{one.filter}",
            ob_start=one.start - dt.timedelta(seconds=540),
            program=one.program,
            template=_template(one),
            template_number=2,
            template_start=one.start - dt.timedelta(seconds=20),
            exposure_number=2 * number if one.two_arms else number,
            exposures=2 * len(one.order) if one.two_arms else len(one.order),
            obstype_list=kinds,
        )
        if number not in one.lost:
            yield exposure
        clock = exposure.start + dt.timedelta(seconds=exposure.exposure_time_s + 1.0)
        if science:
            clock += dt.timedelta(seconds=one.gap_s)


def _template(one: SequenceSpec) -> str:
    if one.two_arms:
        return "SPHERE_irdifs_obs"
    return "SPHERE_irdis_dbi_obs" if one.filter.startswith("DB_") else "SPHERE_irdis_ci_obs"


def _calibrations(specs: tuple[CalibrationSpec, ...], night: NightSpec, rng: np.random.Generator) -> Iterator[Exposure]:
    begin = night.calibration_start
    if begin is None:
        first = min(one.start for one in night.sequences)
        begin = first.replace(hour=14, minute=10, second=0, microsecond=0)
        if begin < first:
            begin += dt.timedelta(days=1)
    templates = {"DARK": "dark", "DARK,BACKGROUND": "background", "FLAT,LAMP": "flat", "LAMP,DISTORT": "distortion"}
    clock = begin
    for number, one in enumerate(specs, start=1):
        clock += dt.timedelta(seconds=45)
        template_start = clock.replace(microsecond=0)
        for file in range(1, one.files + 1):
            clock += dt.timedelta(seconds=8.0 + float(rng.uniform(0.0, 2.0)))
            exposure = Exposure(
                start=_tenth_ms(clock),
                dpr_type=one.kind,
                letter="",
                filter=one.filter,
                dit_s=one.dit_s,
                ndit=one.ndit,
                nd_filter="OPEN",
                dither=(0, 0),
                sequence=-1,
                ob_id=GENERIC_OB,
                ob_name="Calibration",
                ob_start=begin.replace(microsecond=0),
                program="60.A-9255(A)",
                template=f"SPHERE_irdis_cal_{templates[one.kind]}",
                template_number=number,
                template_start=template_start,
                exposure_number=file,
                exposures=one.files,
                obstype_list="",
            )
            yield exposure
            clock = exposure.start + dt.timedelta(seconds=exposure.exposure_time_s)
