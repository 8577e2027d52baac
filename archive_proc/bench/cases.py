"""The cases of `bench accuracy irdis`: what is observed, and how hard it is, drawn from ranges a seed.

Ranges begin at the sample sets' stated values and go beyond. A night holds the chosen cases of one filter, so that they
share calibrations. Seeds of the default are used by no test and no tuning.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from archive_proc.errors import MisuseError
from archive_proc.simulate.spec import COSMICS_PER_S, Companion, NightSpec, SequenceSpec, Star, Weather

DEFAULT_SEEDS = (611, 612)
FIRST_START_H, BETWEEN_STARTS_H = 2.4, 1.35
"""UTC hours of the first sequence of a night, and from one start to the next."""
RA_DEG = 32.0
"""Rises past the meridian with a sequence that starts at 5.6 h UTC in late September."""
MERIDIAN_H = 5.6


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of observation."""

    name: str
    filter: str
    order: str
    ndit: int = 3
    flux_factor: float = 1.0
    sky_ndit: int = 2
    continuous_waffle: bool = False
    against_mask: float | None = None
    """Share of the star's motion that the mask does not follow; None: drawn."""
    hits: bool = False
    """Many cosmic rays and pixels that turned hot."""

    @property
    def key(self) -> str:
        """What `--cases` takes."""
        return self.name.lower().replace(" ", "-")


CASES = (
    Case("H", "DB_H23", "FCOOOCFS"),
    Case("H faint", "DB_H23", "FCOOOCFS", flux_factor=0.05),
    Case("H waffle", "DB_H23", "FCCCCFS", continuous_waffle=True),
    Case("H open loop", "DB_H23", "FCOOOCFS", against_mask=1.0),
    Case("H no FLUX", "DB_H23", "COOOCS"),
    Case("K", "DB_K12", "FCSOOSOCFSSB"),
    Case("K few skies", "DB_K12", "FCOOOCFSB"),
    Case("K NDIT 2", "DB_K12", "FCSOOOOSCFSB", ndit=2),
    Case("K hits", "DB_K12", "FCSOOSOCFSB", hits=True),
)


def chosen_cases(keys: Sequence[str] | None) -> tuple[Case, ...]:
    """The cases with these keys, in the order of `CASES`; None gives all. Raises MisuseError AP-CLI-007 for others."""
    if keys is None:
        return CASES
    known = {one.key for one in CASES}
    for key in keys:
        if key not in known:
            raise MisuseError(
                "AP-CLI-007", "no such case", subject=f"--cases {key}", remedy=f"use some of {','.join(sorted(known))}"
            )
    return tuple(one for one in CASES if one.key in keys)


def nights(cases: Sequence[Case], seed: int) -> tuple[tuple[tuple[Case, ...], NightSpec], ...]:
    """The nights of one seed with the cases of their sequences, one night a filter."""
    found = []
    for name in dict.fromkeys(one.filter for one in cases):
        members = tuple(one for one in cases if one.filter == name)
        found.append((members, NightSpec(sequences=tuple(_sequences(members, seed)))))
    return tuple(found)


def _sequences(cases: Sequence[Case], seed: int) -> list[SequenceSpec]:
    # Every other seed falls into the years of the derotator's fault.
    evening = dt.datetime(2015, 9, 25) if seed % 2 else dt.datetime(2017, 9, 28)
    found = []
    for index, one in enumerate(cases):
        hours = FIRST_START_H + BETWEEN_STARTS_H * index
        # A case's draws do not depend on which others were chosen.
        rng = np.random.default_rng([seed, CASES.index(one), 77])
        found.append(_sequence(one, evening, hours, 2200000 + 20 * seed + CASES.index(one), rng))
    return found


def _sequence(case: Case, evening: dt.datetime, hours: float, ob_id: int, rng: np.random.Generator) -> SequenceSpec:
    def draw(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    weather = Weather(
        wavefront_scatter=draw(0.06, 0.08),
        transmission_fast=draw(0.06, 0.08),
        transmission_slow=draw(0.05, 0.07),
        jitter_mas=draw(3.0, 4.5),
        drift_mas=draw(5.0, 8.0),
        against_mask=draw(0.2, 0.4),
        static_nm=draw(38.0, 50.0),
        thermal_drift=draw(1.0, 1.4),
        slow_nm=draw(10.0, 15.0),
        wind_lobes=draw(0.3, 0.7),
        wind_position_angle_deg=draw(0.0, 180.0),
    )
    if case.against_mask is not None:
        weather = replace(weather, against_mask=case.against_mask)
    flux = case.flux_factor * (draw(0.8e7, 1.5e7) if case.filter == "DB_H23" else draw(4e6, 7e6))
    star = Star(
        name=f"BENCH_{case.key.upper().replace('-', '_')}",
        ra_deg=(RA_DEG + 15.0 * (hours - MERIDIAN_H) + draw(-2.0, 2.0)) % 360.0,
        dec_deg=draw(-6.0, -1.0),
        pm_ra_mas=draw(-90.0, 90.0),
        pm_dec_mas=draw(-90.0, 90.0),
        flux_adu_s=(flux, 0.92 * flux),
        companions=(Companion(draw(950.0, 1250.0), draw(0.0, 360.0), (3e-4, 4e-4)),),
    )
    return SequenceSpec(
        star=star,
        start=evening + dt.timedelta(hours=hours, minutes=draw(-5, 5)),
        filter=case.filter,
        order=case.order,
        ndit=case.ndit,
        center_ndit=2,
        sky_ndit=case.sky_ndit,
        gap_s=draw(420.0, 900.0),
        ob_id=ob_id,
        continuous_waffle=case.continuous_waffle,
        tip_tilt_open=case.against_mask is not None,
        derotator_fault_deg=draw(-1.0, 1.0),
        derotator_fault_deg_per_hour=draw(-0.4, 0.4),
        weather=weather,
        cosmics_per_s=draw(3.0, 6.0) if case.hits else COSMICS_PER_S,
        new_hot_pixels=int(draw(2000, 4000)) if case.hits else 0,
    )
