"""Coordinates along the frame axis of spectra: times, angles and conditions of every plane, sky or lamp."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.model.processes import Remark
from archive_proc.recipes.detector import true_dit
from archive_proc.recipes.irdis.coordinates import Coordinates, strings
from archive_proc.recipes.irdis.pointing import Pointing, plane_times, pointing
from archive_proc.recipes.recipe import PlaneTable, RecipeInputs

ANGLE_CONVENTION = (
    "derotation_angle is the position angle on the sky, north through east, of the +y axis of lenslet_x, lenslet_y and "
    "of the rectified cube: a source at position angle p lies p - derotation_angle counter-clockwise from +y; turning "
    "the image counter-clockwise by derotation_angle puts north up, east left. derotation_angle = parallactic angle + "
    "epsilon (before 2016-07-12) + pupil offset + instrument offset + true north; in field tracking true north + "
    "instrument offset - INS4 DROT2 POSANG. NaN off the sky."
)
_OF_SKY = (
    "parallactic_angle",
    "derotation_angle",
    "derotation_angle_start",
    "derotation_angle_end",
    "airmass",
    "seeing",
)


def plane_coordinates(inputs: RecipeInputs) -> tuple[Coordinates, tuple[Remark, ...]]:
    """All coordinates of planes that headers know, and remarks about the angles.

    Raises DataFailure AP-IRD-011 for a frame of the sky without position, AP-IRD-012 where the derotator's error is
    needed and cannot be known, AP-IRD-002 without a DIT.
    """
    planes, frames = inputs.planes, inputs.frames
    n = len(planes)
    on_sky = np.array([role != "CALIB" for role in inputs.frame_roles], bool)
    coordinates: Coordinates = {
        "file_id": strings(frames[file].file_id for file in planes.file),
        "plane": np.asarray(planes.plane, np.int32),
        "frame_type": strings(inputs.frame_roles[file] for file in planes.file),
        "usable": np.asarray(planes.usable, bool),
        "reason": strings(planes.reason),
        "time": plane_times(frames, planes),
        "exposure_time": np.array([true_dit(frame) for frame in frames])[planes.file],
    }
    where, remarks = _pointing(inputs, on_sky)
    rows = on_sky[planes.file]
    for name in _OF_SKY:
        values: NDArray[Any] = np.full(n, np.nan)
        if where is not None:
            values[rows] = getattr(where, name)
        coordinates[name] = values
    return coordinates, remarks


def _pointing(inputs: RecipeInputs, on_sky: NDArray[np.bool_]) -> tuple[Pointing | None, tuple[Remark, ...]]:
    """Of the planes of files on the sky, in order."""
    if not on_sky.any():
        return None, ()
    number = np.cumsum(on_sky) - 1
    planes = inputs.planes
    rows = np.flatnonzero(on_sky[planes.file])
    some = PlaneTable(
        file=number[planes.file[rows]].astype(np.int32),
        plane=planes.plane[rows],
        usable=planes.usable[rows],
        reason=tuple(planes.reason[row] for row in rows),
    )
    frames = [frame for frame, seen in zip(inputs.frames, on_sky, strict=True) if seen]
    where = pointing(frames, some, load_tables().ifs.orientation)
    return replace(where, remarks=()), where.remarks
