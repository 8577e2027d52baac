"""UT1 - UTC against astropy's own table."""

from __future__ import annotations

import numpy as np

from archive_proc.instruments.earth_rotation import ut1_minus_utc


def test_table_agrees_with_the_bulletins_also_across_leap_seconds() -> None:
    from astropy.utils import iers

    table = iers.IERS_B.open()
    # Away from leap second days: the interpolation of astropy's daily values crosses them.
    when = np.array([56800.3, 57200.5, 57206.5, 57500.7, 57752.5, 57756.5, 58024.3, 59000.1, 60000.9])
    known = np.array([float(table.ut1_utc(2400000.5, one).value) for one in when])
    assert np.abs(ut1_minus_utc(when) - known).max() < 0.015


def test_outside_the_table_the_nearest_value_holds() -> None:
    assert float(ut1_minus_utc(80000.0)) == float(ut1_minus_utc(70000.0))
