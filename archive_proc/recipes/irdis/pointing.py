"""When and whither: mid-exposure times, parallactic and derotation angles of every plane of the main files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.instruments.earth_rotation import ut1_minus_utc
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels import angles
from archive_proc.model.frames import RawFrame
from archive_proc.model.processes import Remark
from archive_proc.recipes.detector import true_dit
from archive_proc.recipes.recipe import PlaneTable

Float64 = NDArray[np.float64]

ANGLE_CONVENTION = (
    "derotation_angle is the position angle on the sky, north through east, of the array's +y axis: a source at "
    "position angle p lies p - derotation_angle counter-clockwise from +y; turning the image counter-clockwise by "
    "derotation_angle puts north up, east left. derotation_angle = parallactic angle + epsilon (before 2016-07-12) + "
    "pupil offset + instrument offset + true north; in field tracking true north - INS4 DROT2 POSANG."
)
ROUGH_FAULT_DEG = 0.05
"""Scatter of the files about the epsilon line beyond which the angles carry a remark."""


@dataclass(frozen=True, slots=True)
class Pointing:
    """One value a plane, in order of the plane table; angles in degrees, times MJD UTC."""

    time: Float64
    exposure_time: Float64
    """s."""
    parallactic_angle: Float64
    """Mid-exposure, unwrapped, epsilon not included."""
    derotation_angle: Float64
    derotation_angle_start: Float64
    derotation_angle_end: Float64
    epsilon: Float64
    airmass: Float64
    seeing: Float64
    """arcsec; NaN where no monitor tells."""
    remarks: tuple[Remark, ...]


class Orientation(Protocol):
    """Angles of one arm's images at a time: a row of `irdis.geometry` or of `ifs.orientation`."""

    @property
    def epsilon(self) -> bool:
        """Whether the derotator's error is to be added."""

    @property
    def true_north_deg(self) -> float:
        """Of the +y axis."""

    @property
    def pupil_offset_deg(self) -> float:
        """Pupil tracking only."""

    @property
    def instrument_offset_deg(self) -> float:
        """Of the arm."""


OrientationAt = Callable[[float], Orientation]
"""The orientation valid at a time, MJD."""


def pointing(frames: Sequence[RawFrame], planes: PlaneTable, orientation: OrientationAt | None = None) -> Pointing:
    """Times and angles of all planes; `orientation` of the arm, None: IRDIS.

    Raises DataFailure AP-IRD-011 without a position, AP-IRD-012 where the derotator's error is needed and cannot be
    known, AP-IRD-002 without a DIT.
    """
    exposure = np.array([true_dit(frame) for frame in frames])
    start = np.empty(len(planes))
    for number, frame in enumerate(frames):
        where = planes.file == number
        start[where] = angles.plane_starts(
            frame.mjd_obs, planes.plane[where], _spacing(frame, float(exposure[number])), frame.ditdelay_s or 0.0
        )
    length = exposure[planes.file]
    times = np.stack([start, start + 0.5 * length / angles.DAY_S, start + length / angles.DAY_S])
    parallactic, air = _parallactic(frames, planes, times)
    oriented = orientation or load_tables().irdis.geometry
    track, remarks = _fault(frames, oriented)
    epsilon = track.at(times) if track is not angles.NO_FAULT else np.zeros_like(times)
    turned = _derotation(frames, planes, times, parallactic, epsilon, oriented)
    return Pointing(
        time=times[1],
        exposure_time=length,
        parallactic_angle=parallactic[1],
        derotation_angle=turned[1],
        derotation_angle_start=turned[0],
        derotation_angle_end=turned[2],
        epsilon=epsilon[1],
        airmass=air[1],
        seeing=np.array([_seeing(frame) for frame in frames])[planes.file],
        remarks=remarks,
    )


def plane_times(frames: Sequence[RawFrame], planes: PlaneTable) -> Float64:
    """(n,) mid-exposure of every plane, MJD UTC."""
    middle = np.empty(len(planes))
    for number, frame in enumerate(frames):
        where = planes.file == number
        dit = true_dit(frame)
        first = angles.plane_starts(frame.mjd_obs, planes.plane[where], _spacing(frame, dit), frame.ditdelay_s or 0.0)
        middle[where] = first + 0.5 * dit / angles.DAY_S
    return middle


def _spacing(frame: RawFrame, dit_s: float) -> float:
    ends = (frame.frame_utc_end - frame.date_obs) / dt.timedelta(seconds=1) if frame.frame_utc_end else None
    return angles.plane_spacing(
        dit_s,
        planned_planes=frame.ndit,
        sequence_s=frame.seq_exptime_s,
        start_to_end_s=ends,
        planes_present=frame.n_planes,
    )


def _place(frame: RawFrame) -> tuple[float, float]:
    """Apparent right ascension and declination, deg: DROT2 RA/DEC, else the target's or the pointing's J2000 place."""
    try:
        if frame.drot2_ra is not None and frame.drot2_dec is not None:
            return (
                15.0 * angles.unpack_sexagesimal(frame.drot2_ra),
                angles.unpack_sexagesimal(frame.drot2_dec, negative=frame.drot2_dec_negative),
            )
        if frame.targ_alpha is not None and frame.targ_delta is not None:
            return angles.apparent_place(
                15.0 * angles.unpack_sexagesimal(frame.targ_alpha),
                angles.unpack_sexagesimal(frame.targ_delta),
                frame.mjd_obs,
            )
    except ValueError as problem:
        raise DataFailure(
            "AP-IRD-011",
            f"the position in the header cannot be read: {problem}",
            subject=frame.file_id,
            remedy="correct INS4 DROT2 RA/DEC with an override of kind `header`",
        ) from problem
    if frame.ra_deg is not None and frame.dec_deg is not None:
        return angles.apparent_place(frame.ra_deg, frame.dec_deg, frame.mjd_obs)
    raise DataFailure(
        "AP-IRD-011",
        "the header gives no position (INS4 DROT2 RA/DEC, TEL TARG ALPHA/DELTA, RA/DEC)",
        subject=frame.file_id,
        remedy="add the position with an override of kind `header`, or quarantine the file",
    )


def _parallactic(frames: Sequence[RawFrame], planes: PlaneTable, times: Float64) -> tuple[Float64, Float64]:
    """Parallactic angle, unwrapped over the planes in order, and airmass; both (3, n)."""
    angle, air = np.empty_like(times), np.empty_like(times)
    for number, frame in enumerate(frames):
        where = planes.file == number
        site = angles.Site(
            frame.tel_lon_deg if frame.tel_lon_deg is not None else angles.PARANAL_UT3.longitude_deg,
            frame.tel_lat_deg if frame.tel_lat_deg is not None else angles.PARANAL_UT3.latitude_deg,
        )
        ra, dec = _place(frame)
        when = times[:, where]
        hour = angles.hour_angle(when, ra, site, ut1_minus_utc(when))
        angle[:, where] = angles.parallactic_angle(hour, dec, site.latitude_deg)
        air[:, where] = angles.airmass(hour, dec, site.latitude_deg)
    middle = angles.unwrapped(angle[1])
    # Start and end lie within a fraction of a turn of the middle: bring them onto its branch.
    near = middle + (np.mod(angle - middle + 180.0, 360.0) - 180.0)
    return near, air


def _fault(frames: Sequence[RawFrame], oriented: OrientationAt) -> tuple[angles.FaultTrack, tuple[Remark, ...]]:
    """The derotator's error by date only, from files whose ALT and BEGIN belong to one instant: these IRDIS files."""
    if not frames or not oriented(frames[0].mjd_obs).epsilon:
        return angles.NO_FAULT, ()
    when = np.array([frame.mjd_obs for frame in frames])
    missing = float("nan")
    altitude = np.array([missing if frame.alt_deg is None else frame.alt_deg for frame in frames])
    begin = np.array([missing if frame.drot2_begin_deg is None else frame.drot2_begin_deg for frame in frames])
    try:
        track = angles.fault_track(when, angles.derotator_fault(altitude, begin))
    except ValueError as problem:
        raise DataFailure(
            "AP-IRD-012",
            f"before 2016-07-12 the derotator's error is needed, but {problem}",
            subject=frames[0].file_id,
            remedy="add TEL ALT and INS4 DROT2 BEGIN with an override of kind `header`",
        ) from problem
    remarks = []
    if track.rms_deg > ROUGH_FAULT_DEG:
        remarks.append(
            Remark(
                "AP-IRD-013", f"epsilon scatters by {track.rms_deg:.3f} deg rms about a line in time: angles are rough"
            )
        )
    if track.n_kept < track.n_files:
        remarks.append(
            Remark(
                "AP-IRD-013", f"epsilon from {track.n_kept} of {track.n_files} files: the others disagree or have none"
            )
        )
    return track, tuple(remarks)


def _derotation(
    frames: Sequence[RawFrame],
    planes: PlaneTable,
    times: Float64,
    parallactic: Float64,
    epsilon: Float64,
    oriented: OrientationAt,
) -> Float64:
    turned = np.empty_like(times)
    for number, frame in enumerate(frames):
        where = planes.file == number
        geometry = oriented(frame.mjd_obs)
        north = geometry.true_north_deg + geometry.instrument_offset_deg
        if in_field_tracking(frame):
            turned[:, where] = angles.derotation_angle_in_field(int(where.sum()), frame.drot2_posang_deg or 0.0, north)
        else:
            turned[:, where] = angles.derotation_angle(
                parallactic[:, where],
                epsilon[:, where],
                pupil_offset_deg=geometry.pupil_offset_deg,
                true_north_deg=north,
            )
    return turned


def in_field_tracking(frame: RawFrame) -> bool:
    """Whether the derotator followed the field: `INS4 COMB ROT`, else the derotator's mode (SKY; ELEV is pupil)."""
    if frame.rot_mode:
        return "FIELD" in frame.rot_mode.upper()
    return (frame.drot2_mode or "").upper() == "SKY"


def _seeing(frame: RawFrame) -> float:
    """Mean of the monitor's start and end, else the telescope's own image analysis; not positive means missing."""
    monitor = [one for one in (frame.fwhm_start, frame.fwhm_end) if one is not None and one > 0.0]
    if monitor:
        return float(np.mean(monitor))
    return float(frame.ia_fwhm) if frame.ia_fwhm is not None and frame.ia_fwhm > 0.0 else float("nan")
