"""When each IFS exposure of a night is taken, and what it is: one value a raw file."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate.ifs.facts import DITDELAY_S, READ_S, mode_named, period_s, real_dit_s
from archive_proc.simulate.ifs.spec import IfsNight, IfsObservation
from archive_proc.simulate.timeline import GENERIC_OB, to_mjd

SETTLE_S = {"F": 28.0, "C": 9.0, "O": 6.0, "S": 21.0}
CALIBRATIONS_BEFORE = dt.timedelta(hours=9, minutes=36)
OBSERVED = {"F": "OBJECT,FLUX", "C": "OBJECT,CENTER", "O": "OBJECT", "S": "SKY"}
DAY_TEMPLATES = {
    "dark": ("SPHERE_irdifs_cal_dark", "IFS dark"),
    "background": ("SPHERE_irdifs_cal_dark", "IFS dark"),
    "detector_flat": ("SPHERE_irdifs_cal_dff", "IFS detector flat field"),
    "ifu_flat": ("SPHERE_irdifs_cal_ff", "IFS instrument flat field"),
    "specpos": ("SPHERE_irdifs_cal_specpos", "IFS spectra positions"),
    "wave": ("SPHERE_irdifs_cal_wave", "IFS spectra wavelength calibration"),
}
"""`TPL ID` and `TPL NAME`; only those of `wave` are from a real header."""
DPR_TYPES = {
    "dark": "DARK",
    "background": "DARK,BACKGROUND",
    "detector_flat": "FLAT,LAMP",
    "ifu_flat": "FLAT,LAMP",
    "specpos": "SPECPOS,LAMP",
    "wave": "WAVE,LAMP",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IfsExposure:
    """One raw file to be."""

    start: dt.datetime
    """UTC, to 0.1 ms: DATE-OBS."""
    kind: str
    """dark, background, detector_flat, ifu_flat, specpos, wave, or F, C, O, S for science."""
    comb: str
    """`INS2 COMB IFS`."""
    dit_s: float
    ndit: int
    nd_filter: str
    observation: int
    """Index into IfsNight.observations, -1 for calibrations."""
    ob_id: int
    ob_name: str
    ob_start: dt.datetime
    program: str
    template_number: int
    template_start: dt.datetime
    exposure_number: int
    exposures: int
    obstype_list: str

    @property
    def file_id(self) -> str:
        """Archive name: DATE-OBS cut to milliseconds."""
        return f"SPHER.{self.start:%Y-%m-%dT%H:%M:%S}.{self.start.microsecond // 1000:03d}"

    @property
    def science(self) -> bool:
        """True for F, C, O, S."""
        return self.observation >= 0

    @property
    def dpr_type(self) -> str:
        """`DPR TYPE`."""
        return OBSERVED[self.kind] if self.science else DPR_TYPES[self.kind]

    @property
    def exposure_time_s(self) -> float:
        """`DET SEQ1 EXPTIME`."""
        return self.ndit * period_s(self.dit_s)

    @property
    def mjd(self) -> float:
        """Start, MJD UTC."""
        return to_mjd(self.start)

    @property
    def mid_mjd(self) -> NDArray[np.float64]:
        """(ndit,) mid-exposure of each plane: DIT d is exposed from the start + 0.2 s + d periods on."""
        seconds = DITDELAY_S + np.arange(self.ndit) * period_s(self.dit_s) + 0.5 * real_dit_s(self.dit_s)
        return np.asarray(self.mjd + seconds / 86400.0)


def _tenth_ms(when: dt.datetime) -> dt.datetime:
    return when.replace(microsecond=when.microsecond // 100 * 100)


def schedule(night: IfsNight, rng: np.random.Generator) -> tuple[IfsExposure, ...]:
    """All exposures of a night in order of time. `rng` moves starts by fractions of a second."""
    found = list(_calibrations(night, rng))
    clock = night.start
    for index, one in enumerate(night.observations):
        clock = clock if one.start is None else one.start
        for exposure in _observation(index, one, night, clock, rng):
            found.append(exposure)
            clock = exposure.start + dt.timedelta(seconds=exposure.exposure_time_s)
        clock += dt.timedelta(minutes=4)
    return tuple(sorted(found, key=lambda exposure: exposure.start))


def _observation(
    index: int, one: IfsObservation, night: IfsNight, clock: dt.datetime, rng: np.random.Generator
) -> Iterator[IfsExposure]:
    begin = clock.replace(microsecond=0)
    kinds = " ".join(letter for letter, _ in itertools.groupby(one.order))
    ndits = {"F": one.flux_ndit, "C": one.center_ndit, "O": one.ndit, "S": one.sky_ndit}
    for number, letter in enumerate(one.order):
        clock += dt.timedelta(seconds=SETTLE_S[letter] + float(rng.uniform(0.0, 3.0)))
        exposure = IfsExposure(
            start=_tenth_ms(clock),
            kind=letter,
            comb=mode_named(night.mode).comb,
            dit_s=one.flux_dit_s if letter == "F" else one.dit_s,
            ndit=ndits[letter],
            nd_filter=one.flux_nd if letter == "F" else "OPEN",
            observation=index,
            ob_id=one.ob_id,
            ob_name=one.ob_name or f"{one.target.name}_{night.mode}",
            ob_start=begin - dt.timedelta(seconds=540),
            program=one.program,
            template_number=2,
            template_start=begin - dt.timedelta(seconds=20),
            # The template counts the files of both arms; the IFS has every second one.
            exposure_number=2 * number + 1,
            exposures=2 * len(one.order),
            obstype_list=kinds,
        )
        yield exposure
        clock = exposure.start + dt.timedelta(seconds=exposure.exposure_time_s + 1.0)
        if letter == "O" and one.scene in ("star", "disc"):
            clock += dt.timedelta(seconds=one.gap_s)


def _calibrations(night: IfsNight, rng: np.random.Generator) -> Iterator[IfsExposure]:
    mode = mode_named(night.mode)
    wanted = {READ_S} | {dit for one in night.observations for dit in _dits(one)}
    dits = sorted(wanted - set(night.dits_without_background_s))
    templates: list[tuple[str, list[tuple[str, float, int]]]] = [
        ("dark", [(mode.comb, dit, night.background_ndit) for dit in dits if dit == READ_S]),
        ("background", [(mode.comb, dit, night.background_ndit) for dit in dits]),
    ]
    templates += [("detector_flat", [(lamp.comb, dit, 1) for dit in night.flat_dits_s]) for lamp in mode.lamps]
    templates += [(kind, [(mode.comb, READ_S, night.lamp_ndit)]) for kind in ("ifu_flat", "specpos", "wave")]
    templates = [(kind, files) for kind, files in templates if kind in night.calibrations and files]
    begin = clock = (night.start - CALIBRATIONS_BEFORE).replace(microsecond=0)
    for number, (kind, files) in enumerate(templates, start=1):
        clock += dt.timedelta(seconds=40)
        template_start = clock.replace(microsecond=0)
        for file, (comb, dit, ndit) in enumerate(files, start=1):
            clock += dt.timedelta(seconds=12.0 + float(rng.uniform(0.0, 3.0)))
            exposure = IfsExposure(
                start=_tenth_ms(clock),
                kind=kind,
                comb=comb,
                dit_s=dit,
                ndit=ndit,
                nd_filter="ND_1.0",
                observation=-1,
                ob_id=GENERIC_OB,
                ob_name="Calibration",
                ob_start=begin,
                program="60.A-9255(A)",
                template_number=number,
                template_start=template_start,
                exposure_number=file,
                exposures=len(files),
                obstype_list="",
            )
            yield exposure
            clock = exposure.start + dt.timedelta(seconds=exposure.exposure_time_s)


def _dits(one: IfsObservation) -> set[float]:
    return {one.flux_dit_s if letter == "F" else one.dit_s for letter in one.order}
