"""Times and angles of planes: mid-exposures, parallactic angle, derotator fault, position angle of the +y axis.

Angles in degrees, times MJD UTC. Only erfa is needed. Sense (DESIGN 8): the derotation angle D is the position angle
on the sky (north through east) of the array's +y axis; turning the image by D counter-clockwise puts north up.
"""

from __future__ import annotations

from dataclasses import dataclass

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]

DAY_S = 86400.0
MJD_ZERO = 2400000.5
TT_MINUS_UTC_S = 69.184
"""s, since 2017; a leap second of error moves sidereal time by less than 1e-11 deg here (precession only)."""
OVERHEAD_S = 0.944
"""s between DITs where no keyword tells: `DET SEQ EXPTIME`/NDIT - DIT at 16 s (notes/irdis 1)."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the telescope stands."""

    longitude_deg: float
    """East positive."""
    latitude_deg: float


PARANAL_UT3 = Site(-70.4045, -24.6268)
"""`TEL GEOLON`, `TEL GEOLAT` of real headers."""


def unpack_sexagesimal(packed: float, *, negative: bool | None = None) -> float:
    """Value of a packed sexagesimal number: hhmmss.s in hours, ddmmss.s in degrees.

    The sign belongs to the whole number: `-000512.3` is -0.0868. `negative` is the sign as written, which a float of
    value -0 may have lost on its way; None takes the number's own (the sign bit, so -0.0 is negative). Raises
    ValueError where minutes or seconds reach 60 by more than rounding.
    """
    sign = -1.0 if (negative if negative is not None else bool(np.signbit(packed))) else 1.0
    size = abs(packed)
    whole, rest = divmod(size, 10_000.0)
    minutes, seconds = divmod(rest, 100.0)
    if minutes >= 60.0 or seconds > 60.0:
        raise ValueError(f"{packed!r} is no packed sexagesimal number: minutes and seconds end at 60")
    return sign * (whole + minutes / 60.0 + seconds / 3600.0)


def plane_spacing(
    dit_s: float,
    *,
    planned_planes: int | None,
    sequence_s: float | None,
    start_to_end_s: float | None,
    planes_present: int,
) -> float:
    """Time from one DIT's start to the next, s.

    `DET SEQ EXPTIME`/NDIT as planned; else (`DET FRAM UTC` - `DATE-OBS`)/NDIT, but only of a complete cube: of an
    aborted one the end says nothing; else DIT plus the usual overhead. Values shorter than the DIT are not believed.
    """
    planned = planned_planes or planes_present
    if sequence_s is not None and planned and sequence_s / planned >= dit_s:
        return sequence_s / planned
    if start_to_end_s is not None and planned == planes_present and start_to_end_s / planned >= dit_s:
        # A fallback that runs on by more than a readout or two is an end time of something else.
        spacing = start_to_end_s / planned
        if spacing <= dit_s + 3.0:
            return spacing
    return dit_s + OVERHEAD_S


def plane_starts(mjd_start: float, planes: ArrayLike, spacing_s: float, delay_s: float) -> Float64:
    """MJD at which the DIT of each plane begins: DATE-OBS + DITDELAY + i x spacing (notes/irdis 1)."""
    return np.asarray(mjd_start + (delay_s + np.asarray(planes, np.float64) * spacing_s) / DAY_S)


def apparent_place(ra_j2000_deg: float, dec_j2000_deg: float, mjd: float) -> tuple[float, float]:
    """Apparent right ascension and declination, deg, of a J2000 position without proper motion (IAU 2006/2000A)."""
    ri, di, eo = erfa.atci13(
        np.radians(ra_j2000_deg), np.radians(dec_j2000_deg), 0.0, 0.0, 0.0, 0.0, MJD_ZERO, mjd + TT_MINUS_UTC_S / DAY_S
    )
    return float(np.degrees(erfa.anp(ri - eo))), float(np.degrees(di))


def hour_angle(mjd: ArrayLike, ra_deg: ArrayLike, site: Site, ut1_minus_utc_s: ArrayLike = 0.0) -> Float64:
    """Hour angle, deg in (-180, 180], of an apparent right ascension: apparent sidereal time (IAU 2006/2000A)."""
    utc = np.asarray(mjd, np.float64)
    ut1 = utc + np.asarray(ut1_minus_utc_s, np.float64) / DAY_S
    sidereal = np.degrees(erfa.gst06a(MJD_ZERO, ut1, MJD_ZERO, utc + TT_MINUS_UTC_S / DAY_S))
    return np.asarray(180.0 - np.mod(180.0 - (sidereal + site.longitude_deg - np.asarray(ra_deg, np.float64)), 360.0))


def parallactic_angle(hour_angle_deg: ArrayLike, dec_deg: ArrayLike, latitude_deg: float) -> Float64:
    """`atan2(sin H, cos d tan p - sin d cos H)`, deg in (-180, 180]: position angle of the zenith (notes/irdis 1)."""
    hour = np.radians(np.asarray(hour_angle_deg, np.float64))
    dec = np.radians(np.asarray(dec_deg, np.float64))
    latitude = np.radians(latitude_deg)
    return np.asarray(np.degrees(np.arctan2(np.sin(hour), np.cos(dec) * np.tan(latitude) - np.sin(dec) * np.cos(hour))))


def unwrapped(angles_deg: ArrayLike) -> Float64:
    """Angles in order of time without jumps of 360 deg: stars north of the zenith cross 180."""
    return np.asarray(np.unwrap(np.asarray(angles_deg, np.float64), period=360.0))


def airmass(hour_angle_deg: ArrayLike, dec_deg: ArrayLike, latitude_deg: float) -> Float64:
    """Airmass of the geometric altitude h: 1 / sin(h + 244 / (165 + 47 h^1.1)), Pickering 2002, DIO 12, 20."""
    hour = np.radians(np.asarray(hour_angle_deg, np.float64))
    dec = np.radians(np.asarray(dec_deg, np.float64))
    latitude = np.radians(latitude_deg)
    sine = np.sin(latitude) * np.sin(dec) + np.cos(latitude) * np.cos(dec) * np.cos(hour)
    altitude = np.maximum(np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0))), 0.0)
    return np.asarray(1.0 / np.sin(np.radians(altitude + 244.0 / (165.0 + 47.0 * altitude**1.1))))


def derotator_fault(altitude_deg: ArrayLike, drot2_begin_deg: ArrayLike) -> Float64:
    """Error of the derotator before 2016-07-12, deg in (-90, 90]: atan(tan(ALT - 2 BEGIN)) (notes/irdis 1).

    ALT and BEGIN must belong to one instant: IRDIS files only.
    """
    angle = np.asarray(altitude_deg, np.float64) - 2.0 * np.asarray(drot2_begin_deg, np.float64)
    return np.asarray(90.0 - np.mod(90.0 - angle, 180.0))


@dataclass(frozen=True, slots=True)
class FaultTrack:
    """The derotator's error against time, from the files of one OB."""

    epoch_mjd: float
    constant_deg: float
    slope_deg_per_day: float
    rms_deg: float
    """Scatter of the files kept about the line."""
    n_kept: int
    n_files: int

    def at(self, mjd: ArrayLike) -> Float64:
        """The error at these times, deg."""
        return np.asarray(self.constant_deg + self.slope_deg_per_day * (np.asarray(mjd, np.float64) - self.epoch_mjd))


NO_FAULT = FaultTrack(0.0, 0.0, 0.0, 0.0, 0, 0)
"""What holds from 2016-07-12 on."""


def fault_track(mjd_start: ArrayLike, fault_deg: ArrayLike) -> FaultTrack:
    """Straight line through the files' errors against time: Theil-Sen, outliers out, then least squares.

    One file gives a constant. Starting from medians of slopes, a third of the files may be wrong. Raises ValueError
    without any finite value.
    """
    when = np.asarray(mjd_start, np.float64)
    value = np.asarray(fault_deg, np.float64)
    known = np.isfinite(when) & np.isfinite(value)
    when, value = when[known], value[known]
    if not when.size:
        raise ValueError("no file gives the derotator's error: ALT and DROT2 BEGIN are missing everywhere")
    epoch = float(when.mean())
    first, second = np.triu_indices(when.size, 1)
    apart = np.abs(when[second] - when[first]) > 1.0 / DAY_S
    first, second = first[apart], second[apart]
    # Values live on a circle of 180 deg: bring them next to the first before any difference.
    value = value[0] + derotator_fault(value - value[0], 0.0)
    slope = float(np.median((value[second] - value[first]) / (when[second] - when[first]))) if first.size else 0.0
    constant = float(np.median(value - slope * (when - epoch)))
    away = np.abs(value - constant - slope * (when - epoch))
    keep = away <= max(4.0 * 1.4826 * float(np.median(away)), 0.02)
    if first.size and int(keep.sum()) >= 3 and float(np.ptp(when[keep])) > 1.0 / DAY_S:
        slope, constant = (float(one) for one in np.polyfit(when[keep] - epoch, value[keep], 1))
    rms = float(np.sqrt(np.mean((value[keep] - constant - slope * (when[keep] - epoch)) ** 2)))
    return FaultTrack(epoch, constant, slope, rms, int(keep.sum()), int(known.size))


def derotation_angle(
    parallactic_deg: ArrayLike, fault_deg: ArrayLike, *, pupil_offset_deg: float, true_north_deg: float
) -> Float64:
    """Position angle on the sky of the +y axis in pupil tracking, deg: PA + fault + pupil offset + true north."""
    return np.asarray(
        np.asarray(parallactic_deg, np.float64) + np.asarray(fault_deg) + pupil_offset_deg + true_north_deg
    )


def derotation_angle_in_field(shape: int, position_angle_deg: float, true_north_deg: float) -> Float64:
    """The same in field tracking: true north minus the rotator's position angle, for `shape` planes."""
    return np.full(shape, true_north_deg - position_angle_deg)
