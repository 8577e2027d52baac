"""UT1 - UTC from a packaged table: sidereal time without network or astropy."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EarthRotation:
    """The table: knots of UT1 - TAI, and TAI - UTC by first day."""

    mjd: Float64
    ut1_minus_tai_s: Float64
    leap_mjd: Float64
    tai_minus_utc_s: Float64


@lru_cache(maxsize=1)
def load_earth_rotation() -> EarthRotation:
    """Read `earth_rotation.toml`."""
    table = tomllib.loads((files("archive_proc.instruments") / "earth_rotation.toml").read_text("utf-8"))
    leaps = np.asarray(table["leap_seconds"], np.float64)
    return EarthRotation(
        np.asarray(table["mjd"], np.float64), np.asarray(table["ut1_minus_tai"], np.float64), leaps[:, 0], leaps[:, 1]
    )


def ut1_minus_utc(mjd: ArrayLike) -> Float64:
    """UT1 - UTC, s, at these MJD UTC; the nearest value outside the table's years.

    UT1 - TAI is interpolated, which has no leaps; the leap seconds come on top.
    """
    table = load_earth_rotation()
    when = np.asarray(mjd, np.float64)
    leap = np.clip(np.searchsorted(table.leap_mjd, when, side="right") - 1, 0, None)
    # Clipping the time keeps UT1 - UTC, not UT1 - TAI, at its nearest known value: no leap lies outside the table.
    return np.asarray(np.interp(when, table.mjd, table.ut1_minus_tai_s) + table.tai_minus_utc_s[leap])
