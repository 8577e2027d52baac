"""Nights, ESO periods and programme ids: pure functions of dates and names."""

from __future__ import annotations

import datetime as dt
import re

NIGHT_BOUNDARY = dt.timedelta(hours=16)
"""A night begins at 16:00 UT: noon in Chile without daylight saving (notes/archive 3)."""

MJD_EPOCH = dt.datetime(1858, 11, 17)
"""Zero point of the modified Julian date."""


def night_of(utc: dt.datetime) -> dt.date:
    """The evening date of the night that a time belongs to.

    >>> night_of(dt.datetime(2015, 9, 25, 15, 59, 59, 999999)), night_of(dt.datetime(2015, 9, 25, 16))
    (datetime.date(2015, 9, 24), datetime.date(2015, 9, 25))
    """
    return (utc - NIGHT_BOUNDARY).date()


def period_of(night: dt.date) -> int:
    """The ESO period of a night: odd ones April to September, even ones October to March.

    >>> period_of(dt.date(2015, 9, 24)), period_of(dt.date(2016, 1, 15)), period_of(dt.date(2020, 3, 8))
    (95, 96, 104)
    """
    half_years = 2 * (night.year - 2015)
    if night.month <= 3:
        return 94 + half_years
    return 95 + half_years if night.month <= 9 else 96 + half_years


_BY_LETTER = re.compile(r"(\d{2,4})\.[A-Z]-\d{4}(\([A-Z0-9]+\))?")
_BY_CODE = re.compile(r"(\d{3})\.[0-9A-Z]{4}(\.\d{3})?")
_TYPES = {"1": 4, "2": 2}
"""Leading digit of the letter grammar: 1 large programme, 2 director's time (ESO programme types)."""


def programme_period(prog_id: str | None) -> int | None:
    """The period a programme was accepted for; None for technical programmes (60.A-...) and unknown grammars.

    >>> [programme_period(one) for one in ("095.C-0298(D)", "0104.C-0007(B)", "117.2A06.001", "198.C-0209(B)")]
    [95, 104, 117, 98]
    """
    if prog_id is None:
        return None
    coded = _BY_CODE.fullmatch(prog_id)
    if coded:
        return int(coded[1])
    lettered = _BY_LETTER.fullmatch(prog_id)
    if not lettered or len(lettered[1]) == 2:
        return None
    # The first digit is the kind of programme; two digits of period follow up to P99, three since P100.
    return int(lettered[1][1:])


def programme_type(prog_id: str | None) -> int | None:
    """ESO's programme type where the id tells it: 2 director's time, 4 large, 6 calibration; else None.

    >>> programme_type("60.A-9255(A)"), programme_type("1100.C-0481(D)"), programme_type("095.C-0298(D)")
    (6, 4, None)
    """
    lettered = _BY_LETTER.fullmatch(prog_id or "")
    if not lettered:
        return None
    if len(lettered[1]) == 2:
        return 6
    return _TYPES.get(lettered[1][0])


def mjd_of(utc: dt.datetime) -> float:
    """Modified Julian date of a naive UTC time, d."""
    return (utc - MJD_EPOCH) / dt.timedelta(days=1)


def one_year_later(utc: dt.datetime) -> dt.datetime:
    """The same day and time a year later: end of the proprietary time (29 February gives 1 March)."""
    try:
        return utc.replace(year=utc.year + 1)
    except ValueError:
        return utc.replace(year=utc.year + 1, month=3, day=1)
