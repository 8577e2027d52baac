"""UT1 - UTC against astropy's own table."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.instruments.earth_rotation import ut1_minus_utc
from archive_proc.instruments.tables import load_tables


def test_table_agrees_with_the_bulletins_also_across_leap_seconds() -> None:
    from astropy.utils import iers

    table = iers.IERS_B.open()
    # Away from leap second days: the interpolation of astropy's daily values crosses them.
    when = np.array([56800.3, 57200.5, 57206.5, 57500.7, 57752.5, 57756.5, 58024.3, 59000.1, 60000.9])
    known = np.array([float(table.ut1_utc(2400000.5, one).value) for one in when])
    assert np.abs(ut1_minus_utc(when) - known).max() < 0.015


def test_the_part_around_a_time_gives_the_values_of_the_whole() -> None:
    table = load_tables().earth_rotation
    for mjd in (56000.0, 56658.0, 57203.5, 57646.9, 57754.2, 58038.0, 61311.0, 62000.0):
        part = table.around(mjd)
        assert len(part.mjd) <= 3
        for when in (mjd - 1.5, mjd, mjd + 1.5):
            leap = [seconds for day, seconds in part.leap_seconds if day <= when] or [part.leap_seconds[0][1]]
            value = np.interp(when, part.mjd, part.ut1_minus_tai) + leap[-1]
            assert float(ut1_minus_utc(when)) == pytest.approx(value, abs=1e-12)


def test_outside_the_table_the_nearest_value_holds() -> None:
    assert float(ut1_minus_utc(80000.0)) == float(ut1_minus_utc(70000.0))
