"""Angles of planes against the samples' truth, in and after the derotator-fault era."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from running import plane_table
from samples import made_frame, sample_frames

from archive_proc.errors import DataFailure
from archive_proc.recipes.irdis.pointing import pointing

PLACE = {"drot2_ra": 43736.0, "drot2_dec": -22823.88}


@pytest.mark.parametrize("name", ["DB_H23", "DB_K12"])
def test_angles_agree_with_the_samples_truth(shared: Path, name: str) -> None:
    folder = shared / "samples" / "irdis" / name
    frames = [one for one in sample_frames(folder).values() if one.dpr_type in ("OBJECT", "OBJECT,CENTER")]
    planes = plane_table(frames)
    found = pointing(frames, planes)
    truth = np.load(folder / "truth.npz")
    row = {(str(a), int(b)): i for i, (a, b) in enumerate(zip(truth["raw_file"], truth["frame_idx"], strict=True))}
    rows = [row[str(frames[file].file_id), int(plane)] for file, plane in zip(planes.file, planes.plane, strict=True)]
    away = (found.derotation_angle - truth["derot"][rows] + 180.0) % 360.0 - 180.0
    assert np.abs(away).max() < 0.01
    assert np.abs(found.time - truth["mjd"][rows]).max() * 86400.0 < 0.01
    assert (found.epsilon != 0.0).any() == (name == "DB_K12")


def test_epsilon_is_applied_by_date_only() -> None:
    header = {**PLACE, "alt_deg": 60.0, "drot2_begin_deg": 29.4}
    before = made_frame("2016-07-11T08:00:00", **header)
    after = made_frame("2020-03-08T08:00:00", **header)
    assert pointing([before], plane_table([before])).epsilon[0] == pytest.approx(1.2)
    assert pointing([after], plane_table([after])).epsilon[0] == 0.0


def test_epsilon_that_cannot_be_known_stops_the_process() -> None:
    frame = made_frame("2015-09-25T08:00:00", **PLACE)
    with pytest.raises(DataFailure, match="AP-IRD-012"):
        pointing([frame], plane_table([frame]))


def test_a_frame_without_position_stops_the_process_and_j2000_stands_in() -> None:
    lost = made_frame("2017-09-28T08:00:00")
    with pytest.raises(DataFailure, match="AP-IRD-011"):
        pointing([lost], plane_table([lost]))
    packed = made_frame("2017-09-28T08:00:00", **PLACE)
    plain = replace(packed, drot2_ra=None, drot2_dec=None, ra_deg=69.1781, dec_deg=-2.5080)
    one, other = (pointing([frame], plane_table([frame])).parallactic_angle[0] for frame in (packed, plain))
    assert other == pytest.approx(one, abs=0.3)


def test_field_tracking_keeps_its_angle_and_turning_is_seen_within_a_plane() -> None:
    pupil = made_frame("2017-09-28T08:40:00", 2, **PLACE)
    field = replace(pupil, rot_mode="FIELD", drot2_posang_deg=12.0)
    turning = pointing([pupil], plane_table([pupil]))
    assert np.all(np.abs(turning.derotation_angle_end - turning.derotation_angle_start) > 0.01)
    assert pointing([field], plane_table([field])).derotation_angle == pytest.approx([-13.75, -13.75])
