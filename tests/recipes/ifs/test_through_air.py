"""What several files say of the air becomes one answer, and a place that nothing measures has an honest doubt."""

from __future__ import annotations

import numpy as np
import pytest
from running import raw_inputs
from samples import made_frame

from archive_proc.kernels.flexure import Sighting
from archive_proc.recipes.ifs.extract import IFS_EXTRACT
from archive_proc.recipes.ifs.extraction import ExtractionParameters
from archive_proc.recipes.ifs.through_air import Seen, Stars, pointing, settled, sightings_of_others
from archive_proc.recipes.recipe import Calibration

EDGES = np.linspace(0.935, 1.375, 40)


def test_without_air_the_prior_is_flat_and_the_place_doubtful() -> None:
    found = settled([], 1.1, (0.0, 0.13))
    assert np.isnan(found["air"]).all()
    assert (found["shift_y"][0], found["shift_y_used"][0], found["shift_y_error"][0]) == (0.0, 0.0, 0.13)
    assert ExtractionParameters().prior(found, EDGES) is None


def test_files_share_one_strength_and_templates_stand_at_the_nearest_step() -> None:
    found = settled([Seen(1.6, 0.02, 0.11, 0.01), Seen(1.7, 0.03, 0.13, 0.02)], 1.1, (0.112, 0.035))
    assert found["air"][0] == pytest.approx(1.65)
    assert (found["shift_y"][0], found["shift_y_error"][0]) == (0.112, 0.035)
    assert found["shift_y_used"][0] == pytest.approx(0.11)


def test_others_are_heard_that_were_held_against_the_same_wavelength_solution_by_the_star_they_saw() -> None:
    at_star = {"ra_deg": 69.4, "dec_deg": -2.5}
    frames = tuple(made_frame(f"2017-05-15T04:5{minute}:00.000", **at_star) for minute in (0, 2))
    place = {
        "file_id": np.array([frames[1].file_id, "A", "B", "C"]),
        "time": np.array([57888.20, 57888.21, 57888.22, 57888.23]),
        "ra": np.full(4, 69.4),
        "dec": np.full(4, -2.5),
        "solution": np.array(["mine", "mine", "another", "mine"]),
        "shift_y": np.array([0.1, 0.2, 0.3, np.nan]),
        "shift_y_error": np.array([0.01, 0.02, 0.03, np.nan]),
        "uneven": np.array([0.5, 0.6, 0.7, np.nan]),
    }
    # A CENTER group a second of arc beside, another star, and two files that do not say where they pointed.
    center = {
        "file_id": np.array(["D", "E", "F", "G"]),
        "time": np.array([57888.24, 57888.25, 57888.26, 57888.27]),
        "ra": np.array([69.4003, 69.5, np.nan, np.nan]),
        "dec": np.array([-2.5002, -2.5, np.nan, np.nan]),
        "solution": np.full(4, "mine"),
        "shift_y": np.full(4, 0.2),
        "shift_y_error": np.full(4, 0.02),
        "uneven": np.full(4, 0.6),
    }
    given = {
        "wave": (Calibration("mine", "ifs_wavelength_solution", {}, {}),),
        "place": (Calibration("objects", "ifs_place", place, {}), Calibration("centers", "ifs_place", center, {})),
    }
    inputs = raw_inputs(IFS_EXTRACT, frames, calibrations=given)
    stars = Stars()
    own = stars.name(*pointing(frames[0]))
    found = sightings_of_others(inputs, stars)
    assert found[0] == Sighting(57888.21, 0.2, 0.02, own, 0.6)
    assert [one.time_d for one in found] == [57888.21, 57888.24, 57888.25, 57888.26, 57888.27]
    assert [one.source == own for one in found] == [True, True, False, False, False]
    assert [one.source for one in found[2:]] == ["star 1", "unknown", "unknown"]
    assert stars.name(359.9999, 0.0) == stars.name(0.0001, 0.0)


def test_the_prior_follows_the_air_and_a_spectrum_that_is_given_goes_before_it() -> None:
    found = settled([Seen(1.6, 0.02, 0.0, 0.01)], 1.1, (0.0, 0.13))
    shape = ExtractionParameters().prior(found, EDGES)
    assert shape is not None
    middle = 0.5 * (EDGES[1:] + EDGES[:-1])
    assert shape.max() == pytest.approx(1.0, abs=0.001)
    assert shape[np.argmin(np.abs(middle - 1.135))] < 0.8
    given = ExtractionParameters(channel_weight=(1.0,) * 20 + (0.5,) * 19).prior(found, EDGES)
    assert given is not None
    assert given[-1] == 0.5
