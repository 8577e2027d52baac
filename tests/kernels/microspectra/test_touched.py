"""Pixels that disagree with a plane's model, against the formula written down in numpy."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter

from archive_proc.kernels.loops.touched import outlying

LIMITS = (5.0, 10.0, 2.5)


def test_outliers_are_those_of_the_formula_and_take_their_neighbours_along():
    rng = np.random.default_rng(11)
    shape = (37, 41)
    model = rng.gamma(2.0, 60.0, shape).astype(np.float32)
    floor = np.full(shape, 90.0, np.float32)
    response = rng.normal(1.0, 0.05, shape).astype(np.float32)
    residual = (rng.normal(size=shape) * np.sqrt(floor + model)).astype(np.float32)
    residual[rng.random(shape) < 0.05] *= 7.0
    # At the edges and beside each other too; and what is not a number is no outlier.
    residual[0, 0], residual[-1, 5], residual[20, 20:22], residual[9, 9] = 900.0, -900.0, 400.0, np.nan
    good = (rng.random(shape) > 0.1).astype(np.uint8)
    good[20, 20] = good[0, 0] = 1
    light = model + residual
    found = np.empty(shape, np.uint8)
    count = outlying(light, residual, floor, response, good, 0.5, 0.03, LIMITS, found)

    own = np.nan_to_num(light - residual)
    brightest = maximum_filter(own, 3, mode="constant")
    sigma = np.sqrt(0.5 * (floor + own / response) + (0.03 * brightest) ** 2)
    pull = np.nan_to_num(np.abs(residual) / sigma) * good
    beside = maximum_filter((pull > LIMITS[1]).astype(np.uint8), 3, mode="constant") > 0
    expected = (pull > LIMITS[0]) | (beside & (pull > LIMITS[2]))
    assert np.array_equal(found > 0, expected)
    assert count == expected.sum() > 30
    assert (beside & expected & (pull < LIMITS[0])).any()
