"""UT1 - UTC from a packaged table: sidereal time without network or astropy."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from archive_proc.instruments.toml_rows import read_table

Float64 = NDArray[np.float64]

REACH_DAYS = 2.0
"""More than a night, with the CENTER of the same night: no process spans more."""


class EarthRotationFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """earth_rotation.toml: knots of UT1 - TAI, and TAI - UTC by first day."""

    unit: Literal["s"]
    mjd: tuple[float, ...]
    ut1_minus_tai: tuple[float, ...]
    leap_seconds: tuple[tuple[float, float], ...]

    def around(self, mjd: float) -> EarthRotationFile:
        """The part that values within REACH_DAYS of a time come from: a longer table leaves the keys of old frames."""
        first = max(0, bisect_right(self.mjd, mjd - REACH_DAYS) - 1)
        last = bisect_left(self.mjd, mjd + REACH_DAYS) + 1
        leap = max(0, bisect_right(self.leap_seconds, mjd - REACH_DAYS, key=lambda one: one[0]) - 1)
        end = bisect_right(self.leap_seconds, mjd + REACH_DAYS, key=lambda one: one[0])
        return msgspec.structs.replace(
            self,
            mjd=self.mjd[first:last],
            ut1_minus_tai=self.ut1_minus_tai[first:last],
            leap_seconds=self.leap_seconds[leap : max(end, leap + 1)],
        )


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
    text = (files("archive_proc.instruments") / "earth_rotation.toml").read_text("utf-8")
    table = read_table(text, EarthRotationFile, "earth_rotation.toml")
    leaps = np.asarray(table.leap_seconds, np.float64)
    return EarthRotation(
        np.asarray(table.mjd, np.float64), np.asarray(table.ut1_minus_tai, np.float64), leaps[:, 0], leaps[:, 1]
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
