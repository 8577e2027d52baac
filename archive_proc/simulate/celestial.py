"""Where the telescope points and how the field turns: sidereal time, apparent place, parallactic angle.

Written from the textbook series (Meeus, *Astronomical Algorithms*, 2nd ed., chapters 12, 21-23), good to about one
arcsecond, so that nothing is shared with the angles of the recipes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from archive_proc.simulate.facts import (
    DEROTATOR_REPAIR_MJD,
    LATITUDE_DEG,
    LONGITUDE_DEG,
    PUPIL_OFFSET_DEG,
    TRUE_NORTH_DEG,
)

J2000_MJD = 51544.5
UT1_MINUS_TAI_S = (
    (56658.0, -35.10), (56838.0, -35.30), (57018.0, -35.45), (57198.0, -35.67), (57378.0, -35.90), (57558.0, -36.20),
    (57738.0, -36.39), (57918.0, -36.63), (58098.0, -36.77), (58278.0, -36.93), (58458.0, -37.02), (58638.0, -37.12),
    (58818.0, -37.17), (58998.0, -37.25), (59178.0, -37.18), (59358.0, -37.18), (59538.0, -37.11),
)  # fmt: skip
"""MJD and seconds: IERS Bulletin B, rounded; linear in between to 0.06 s (0.002 deg of angle at the fastest)."""
LEAPS = ((57204.0, 36.0), (57754.0, 37.0))
"""TAI - UTC from these days on; 35 s before."""


@dataclass(frozen=True, slots=True)
class Place:
    """An apparent place (equinox of date)."""

    ra_deg: float
    dec_deg: float


@dataclass(frozen=True, slots=True)
class Pointing:
    """A star seen from Paranal at one instant. No refraction."""

    hour_angle_deg: float
    altitude_deg: float
    azimuth_deg: float
    """TEL AZ: 0 in the south, 90 in the west."""
    parallactic_deg: float
    """Between -180 and 180."""

    @property
    def airmass(self) -> float:
        """Plane-parallel atmosphere."""
        return 1.0 / math.sin(math.radians(max(self.altitude_deg, 5.0)))


def _centuries(mjd: float) -> float:
    return (mjd - J2000_MJD) / 36525.0


def nutation_deg(mjd: float) -> tuple[float, float, float]:
    """Nutation in longitude and obliquity, and the true obliquity, deg (Meeus 22, four largest terms: 0.5")."""
    t = _centuries(mjd)
    node = math.radians(125.04452 - 1934.136261 * t)
    sun = math.radians(280.4665 + 36000.7698 * t)
    moon = math.radians(218.3165 + 481267.8813 * t)
    dpsi = (
        -17.20 * math.sin(node) - 1.32 * math.sin(2 * sun) - 0.23 * math.sin(2 * moon) + 0.21 * math.sin(2 * node)
    ) / 3600
    deps = (
        9.20 * math.cos(node) + 0.57 * math.cos(2 * sun) + 0.10 * math.cos(2 * moon) - 0.09 * math.cos(2 * node)
    ) / 3600
    return dpsi, deps, 23.4392911 - 0.0130042 * t + deps


def ut1_minus_utc_s(mjd: float) -> float:
    """How far the Earth's turn is ahead of UTC, s; the nearest value outside 2014-2021."""
    days, seconds = zip(*UT1_MINUS_TAI_S, strict=True)
    tai_minus_utc = 35.0
    for day, since in LEAPS:
        tai_minus_utc = since if mjd >= day else tai_minus_utc
    return float(np.interp(mjd, days, seconds)) + tai_minus_utc


def sidereal_deg(mjd: float) -> float:
    """Local apparent sidereal time at Paranal, deg (Meeus 12.4 with the equation of the equinoxes). `mjd` is UTC."""
    t = _centuries(mjd)
    ut1 = mjd + ut1_minus_utc_s(mjd) / 86400.0
    mean = 280.46061837 + 360.98564736629 * (ut1 - J2000_MJD) + 0.000387933 * t * t
    dpsi, _, obliquity = nutation_deg(mjd)
    return (mean + dpsi * math.cos(math.radians(obliquity)) + LONGITUDE_DEG) % 360.0


def apparent_place(ra_deg: float, dec_deg: float, pm_ra_mas: float, pm_dec_mas: float, mjd: float) -> Place:
    """Apparent place of a J2000 position: proper motion, precession, nutation, annual aberration (Meeus 21-23).

    `pm_ra_mas` is mu_alpha cos(delta), mas/yr.
    """
    t = _centuries(mjd)
    years = 100.0 * t
    dec = math.radians(dec_deg + pm_dec_mas / 3.6e6 * years)
    ra = math.radians(ra_deg + pm_ra_mas / 3.6e6 * years / math.cos(math.radians(dec_deg)))
    zeta = math.radians((2306.2181 * t + 0.30188 * t * t + 0.017998 * t**3) / 3600)
    z = math.radians((2306.2181 * t + 1.09468 * t * t + 0.018203 * t**3) / 3600)
    theta = math.radians((2004.3109 * t - 0.42665 * t * t - 0.041833 * t**3) / 3600)
    a = math.cos(dec) * math.sin(ra + zeta)
    b = math.cos(theta) * math.cos(dec) * math.cos(ra + zeta) - math.sin(theta) * math.sin(dec)
    c = math.sin(theta) * math.cos(dec) * math.cos(ra + zeta) + math.cos(theta) * math.sin(dec)
    ra, dec = math.atan2(a, b) + z, math.asin(c)

    dpsi, deps, obliquity = nutation_deg(mjd)
    eps = math.radians(obliquity)
    sin_a, cos_a, tan_d = math.sin(ra), math.cos(ra), math.tan(dec)
    d_ra = (math.cos(eps) + math.sin(eps) * sin_a * tan_d) * dpsi - cos_a * tan_d * deps
    d_dec = math.sin(eps) * cos_a * dpsi + sin_a * deps

    anomaly = math.radians(357.52911 + 35999.05029 * t)
    sun = math.radians(280.46646 + 36000.76983 * t + 1.914602 * math.sin(anomaly) + 0.019993 * math.sin(2 * anomaly))
    e = 0.016708634 - 0.000042037 * t
    perihelion = math.radians(102.93735 + 1.71946 * t)
    kappa = 20.49552 / 3600
    cos_e, tan_e, cos_d, sin_d = math.cos(eps), math.tan(eps), math.cos(dec), math.sin(dec)
    d_ra += (
        -kappa * (cos_a * math.cos(sun) * cos_e + sin_a * math.sin(sun)) / cos_d
        + e * kappa * (cos_a * math.cos(perihelion) * cos_e + sin_a * math.sin(perihelion)) / cos_d
    )
    lean = tan_e * cos_d - sin_a * sin_d
    d_dec += -kappa * (math.cos(sun) * cos_e * lean + cos_a * sin_d * math.sin(sun)) + e * kappa * (
        math.cos(perihelion) * cos_e * lean + cos_a * sin_d * math.sin(perihelion)
    )
    return Place((math.degrees(ra) + d_ra) % 360.0, math.degrees(dec) + d_dec)


def pointing(place: Place, mjd: float) -> Pointing:
    """Hour angle, altitude, azimuth and parallactic angle of an apparent place (Meeus 13 and 14)."""
    hour_angle = (sidereal_deg(mjd) - place.ra_deg + 180.0) % 360.0 - 180.0
    h, d, p = math.radians(hour_angle), math.radians(place.dec_deg), math.radians(LATITUDE_DEG)
    altitude = math.asin(math.sin(p) * math.sin(d) + math.cos(p) * math.cos(d) * math.cos(h))
    azimuth = math.atan2(math.sin(h), math.cos(h) * math.sin(p) - math.tan(d) * math.cos(p))
    parallactic = math.atan2(math.sin(h), math.tan(p) * math.cos(d) - math.sin(d) * math.cos(h))
    return Pointing(hour_angle, math.degrees(altitude), math.degrees(azimuth) % 360.0, math.degrees(parallactic))


def derotator_fault_deg(mjd: float, at_start_deg: float, per_hour_deg: float, start_mjd: float) -> float:
    """What the faulty derotator added before 2016-07-12 (a straight line in time), 0 after it, deg."""
    if mjd >= DEROTATOR_REPAIR_MJD:
        return 0.0
    return at_start_deg + per_hour_deg * 24.0 * (mjd - start_mjd)


def derotator_deg(altitude_deg: float, fault_deg: float) -> float:
    """`INS4 DROT2 BEGIN` in elevation mode: half the altitude, and half the fault less, deg."""
    return 0.5 * (altitude_deg - fault_deg)


def derotation_deg(parallactic_deg: float, fault_deg: float, *, pupil_tracking: bool, posang_deg: float = 0.0) -> float:
    """Position angle on the sky of the detector's +y axis, deg (DESIGN 8)."""
    if not pupil_tracking:
        return TRUE_NORTH_DEG - posang_deg
    return parallactic_deg + fault_deg + PUPIL_OFFSET_DEG + TRUE_NORTH_DEG


def packed(value: float, decimals: int) -> float:
    """Degrees or hours as ESO packs them: ddmmss.sss, sign on the whole number."""
    scale = 10**decimals
    units = round(abs(value) * 3600 * scale)
    whole, rest = divmod(units, 3600 * scale)
    minutes, seconds = divmod(rest, 60 * scale)
    return math.copysign(whole * 10000 + minutes * 100 + seconds / scale, value)
