"""The frame axis that people count planes on when they exclude planes of an observation."""

from __future__ import annotations

from collections.abc import Mapping

from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId
from archive_proc.model.observations import Observation


def plane_axis(observation: Observation, frames: Mapping[FileId, RawFrame]) -> tuple[tuple[FileId, int], ...]:
    """(file, plane) of each number that an `exclude-planes` entry matching by `obs` may name, from 0.

    Planes of all whole science files in order of time: the frame axis of the science products when nothing is
    quarantined. Files that a quarantine takes out keep their place, so that adding or lifting one leaves what other
    entries mean as it was; to number a product made under a quarantine, add the planes of the files taken out before.
    Truncated files are on no axis: they are never main inputs.

    `frames`: as read or corrected.
    """
    known = [frames[one] for one in {*observation.science_files, *observation.quarantined_science} if one in frames]
    whole = sorted((one for one in known if not one.truncated), key=lambda one: (one.mjd_obs, one.file_id))
    return tuple((one.file_id, plane) for one in whole for plane in range(one.n_planes))
