"""Which night each block is executed in, and when: blocks follow one another from dusk to dawn, stars stand high."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from archive_proc.errors import MisuseError
from archive_proc.simulate import celestial
from archive_proc.simulate.semester import shape
from archive_proc.simulate.semester.blocks import Block
from archive_proc.simulate.spec import Star
from archive_proc.simulate.timeline import to_mjd

DUSK = dt.timedelta(hours=23, minutes=20)
"""After 0 h UT of the night's date."""
NIGHT_S = 9.6 * 3600.0
FIRST_PERIOD, LAST_PERIOD = 93, 116
"""SPHERE's first light is of P93; P116 ends in March 2026."""
REPEATED_WITHIN = 15
"""Nights between the executions of a block at most: the star still culminates at the same time to an hour."""


def period_named(text: str) -> int:
    """The number of a period as people write it: P97 or 97. Raises MisuseError AP-SIM-009 where it is none."""
    digits = text.strip().lstrip("Pp")
    if not digits.isdecimal() or not digits.isascii():
        raise _no_period(text)
    first_day(int(digits[:6]))
    return int(digits)


def first_day(period: int) -> dt.date:
    """The first night of an ESO period. Raises MisuseError AP-SIM-009 for a period without SPHERE."""
    if not FIRST_PERIOD <= period <= LAST_PERIOD:
        raise _no_period(f"P{period}")
    year = 2015 + (period - 95) // 2
    return dt.date(year, 4, 1) if period % 2 else dt.date(year, 10, 1)


def _no_period(text: str) -> MisuseError:
    return MisuseError(
        "AP-SIM-009",
        f"{text[:20]!r} is no period of SPHERE",
        subject="period",
        remedy=f"use P{FIRST_PERIOD} to P{LAST_PERIOD}",
    )


def observed_nights(period: int, scale: float, rng: np.random.Generator) -> list[dt.date]:
    """The nights in which SPHERE observed, in order."""
    first, after = first_day(period), first_day_after(period)
    days = (after - first).days
    count = min(days, max(1, round(shape.NIGHTS * scale)))
    # The last morning's calibrations still belong to the period.
    return [first + dt.timedelta(days=int(one)) for one in sorted(rng.choice(days, count, replace=False))]


def first_day_after(period: int) -> dt.date:
    """The first night after a period."""
    year = 2015 + (period - 95) // 2
    return dt.date(year, 10, 1) if period % 2 else dt.date(year + 1, 4, 1)


def placed(
    blocks: Sequence[Block], nights: Sequence[dt.date], rng: np.random.Generator
) -> Mapping[dt.date, tuple[Block, ...]]:
    """Blocks with start and star, by night, in order of time."""
    left = dict.fromkeys(nights, NIGHT_S)
    busy = dict(zip(nights, rng.exponential(1.0, len(nights)) + 0.3, strict=True))
    chosen: dict[int, dt.date] = {}
    # Long ones first, or none would find room.
    for at in sorted(range(len(blocks)), key=lambda at: (blocks[at].repeats >= 0, -blocks[at].seconds, at)):
        one = blocks[at]
        open_nights = list(nights)
        if one.repeats >= 0:
            before = chosen[one.repeats]
            later = [night for night in nights if 0 < (night - before).days <= REPEATED_WITHIN]
            open_nights = later or [night for night in nights if night != before] or list(nights)
        fitting = [night for night in open_nights if left[night] >= one.seconds + 900.0]
        if not fitting:
            fitting = [max(open_nights, key=lambda night: (left[night], night))]
        weights = np.array([busy[night] for night in fitting])
        night = fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))]
        chosen[at] = night
        left[night] -= one.seconds + 900.0
    return _in_time(blocks, chosen, left, rng)


def _in_time(
    blocks: Sequence[Block], chosen: Mapping[int, dt.date], left: Mapping[dt.date, float], rng: np.random.Generator
) -> dict[dt.date, tuple[Block, ...]]:
    of_night: defaultdict[dt.date, list[int]] = defaultdict(list)
    for at in rng.permutation(len(blocks)).tolist():
        of_night[chosen[at]].append(at)
    found: dict[dt.date, tuple[Block, ...]] = {}
    stars: dict[int, Star] = {}
    for night in sorted(of_night):
        clock = dt.datetime.combine(night, dt.time()) + DUSK
        some = []
        for at in of_night[night]:
            one = blocks[at]
            idle = max(left[night], 0.0) * float(rng.random()) / (len(of_night[night]) + 1)
            clock += dt.timedelta(seconds=600.0 + round(idle))
            star = stars.get(one.repeats) or _star(one, clock, len(stars))
            stars[at] = star
            some.append(replace(one, start=clock.replace(microsecond=0), star=star))
            clock += dt.timedelta(seconds=one.seconds)
        found[night] = tuple(some)
    return found


def _star(block: Block, start: dt.datetime, number: int) -> Star:
    middle = to_mjd(start + dt.timedelta(seconds=0.5 * block.seconds))
    ra = (celestial.sidereal_deg(middle) - block.hour_angle_deg) % 360.0
    catalogue = ("HIP_", "HD ", "HIP ", "TYC ")[number % 4]
    # Zero point: 1.2e7 ADU/s at H = 6, as `Star` has it.
    light = 1.2e7 * 10 ** (-0.4 * (min(max(block.magnitude_h, 5.0), 7.0) - 6.0))
    return Star(
        name=f"{catalogue}{10000 + 7 * number}",
        ra_deg=round(ra, 6),
        dec_deg=round(block.dec_deg, 6),
        pm_ra_mas=float(number % 97 - 48),
        pm_dec_mas=float(number % 89 - 44),
        flux_adu_s=(light, 0.92 * light),
    )
