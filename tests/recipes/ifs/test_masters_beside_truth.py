"""What `bench accuracy ifs` says of masters: right ones score, doctored ones are caught."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from archive_proc.bench.ifs.known import Known, load_simulated
from archive_proc.bench.ifs.masters import flat_values, position_values, read_noise_values
from archive_proc.recipes.ifs.positions import IFS_SPECTRA_POSITIONS
from archive_proc.recipes.recipe import Calibration


class Master(dict[str, Any]):
    """Arrays with attributes, as an opened product has them."""

    def __init__(self, one: Calibration) -> None:
        super().__init__(one.arrays)
        self.attrs = one.attrs


@pytest.fixture(scope="module")
def known(night: Any) -> Known:
    return load_simulated(night.truth.directory, {})


def test_flat_and_bad_pixels_score_and_a_map_with_holes_does_not(known: Known, white_flat: Any) -> None:
    flat = Master(white_flat["detector_flat"])
    found = flat_values(known, flat)
    assert float(found["bad pixels found, hot and dead"].value or 0.0) > 99.5
    assert float(found["bad pixels found, unstable"].value or 0.0) > 85.0
    assert float(found["bad pixels, flagged among good ones"].value or 9.0) < 0.1
    assert found["flat, error over claimed"].value == pytest.approx(1.0, abs=0.06)
    flat["flags"] = np.where(np.arange(2048)[None, :] < 1024, flat["flags"], np.uint16(0))
    flags_alone = replace(known, response=None)
    assert float(flat_values(flags_alone, flat)["bad pixels found, hot and dead"].value or 0.0) < 60.0


def test_read_noise_is_that_of_the_truth_where_light_does_not_hide_it(known: Known, darks: Any) -> None:
    masters = [Master(one) for one in darks.values()]
    assert read_noise_values(known, masters)["read noise of a plane, found over true"].value == pytest.approx(
        1.0, abs=0.05
    )
    doctored = Master(replace(darks["dark_1.65"], attrs={**darks["dark_1.65"].attrs, "gain": 3.6}))
    assert float(read_noise_values(known, [doctored])["read noise of a plane, found over true"].value or 0.0) > 1.8


def test_labels_that_slip_by_one_lenslet_are_counted(known: Known, night: Any, darks: Any, white_flat: Any) -> None:
    given = {
        "dark": [darks["dark_1.65"]],
        "detector_flat_white": [white_flat["detector_flat"]],
        "bad_pixels": [white_flat["bad_pixels"]],
    }
    ran = night.files.run(IFS_SPECTRA_POSITIONS, night.files.of("SPECPOS,LAMP"), given)
    positions = Master(ran.calibration("ifs_spectra_positions"))
    right = position_values(known, positions)
    assert right["spectra positions, lenslets mislabelled"].value == 0.0
    assert float(right["spectra positions, typical distance from the first laser"].value or 9.0) < 0.4
    slipped = positions["coefficients"].copy()
    slipped[:, 0] += (15.26, -2.93)
    wrong = position_values(known, Master(Calibration("x", "y", {"coefficients": slipped}, {})))
    assert wrong["spectra positions, lenslets mislabelled"].value == known.complete.sum()
