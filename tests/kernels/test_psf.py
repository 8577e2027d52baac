from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.photometry import shrunk, unidentified
from archive_proc.kernels.psf import aligned_star, combine_stars, find_star, measure_star
from archive_proc.kernels.stamps import Stamp, corner, cut

GUESS = ((350.0, 360.0), (352.0, 350.0))


def scene(away=(30.4, -24.7), flux: float = 4e4, noise: float = 4.0):
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:700, :700]
    values = rng.normal(0, noise, (2, 700, 700))
    for half, (gx, gy) in enumerate(GUESS):
        r2 = (x - gx - away[0]) ** 2 + (y - gy - away[1]) ** 2
        values[half] += flux / (2 * np.pi * 1.7**2) * np.exp(-0.5 * r2 / 1.7**2)
    values[0, 100, 100] = 1e5
    return values.astype(np.float32), np.full(values.shape, 1 / noise**2, np.float32)


def test_the_star_is_found_beside_a_brighter_hot_pixel():
    values, weight = scene()
    found = find_star(values, weight, GUESS)
    assert found is not None
    for half in range(2):
        assert found.xy[half] == pytest.approx((GUESS[half][0] + 30.4, GUESS[half][1] - 24.7), abs=1.5)


def test_nothing_is_found_where_nothing_is():
    values, weight = scene(flux=0.0)
    assert find_star(values, weight, GUESS) is None


def stamp_of(values: np.ndarray, weight: np.ndarray, xy) -> Stamp:
    return cut(values, weight, *corner(xy, 160), 160)


def test_position_and_flux_hold_with_a_bad_pixel_in_the_core():
    values, weight = scene()
    xy = (380.4, 335.3)
    clean = measure_star(stamp_of(values[0], weight[0], xy), (380.0, 335.0))
    assert clean.xy == pytest.approx(xy, abs=0.02)
    assert clean.aperture == pytest.approx(4e4, rel=0.01)
    values[0, 336, 381], weight[0, 336, 381] = -9e4, 0
    dirty = measure_star(stamp_of(values[0], weight[0], xy), (381.0, 335.0))
    assert dirty.xy == pytest.approx(xy, abs=0.02)
    assert dirty.aperture == pytest.approx(4e4, rel=0.01)


def test_the_aligned_star_stands_on_the_middle_pixel():
    values, weight = scene()
    aligned, inverse = aligned_star(stamp_of(values[0], weight[0], (380.4, 335.3)), (380.4, 335.3))
    assert aligned.shape == (80, 80)
    assert np.unravel_index(np.argmax(aligned), aligned.shape) == (40, 40)
    assert aligned[40, 39] == pytest.approx(aligned[40, 41], rel=0.02)
    assert (inverse > 0).all()


def test_a_pixel_that_no_plane_has_is_nan_in_the_combination():
    values = np.ones((2, 2, 80, 80), np.float32)
    weight = np.ones_like(values)
    weight[0, 0, 3, 4] = 0
    weight[:, 1, 5, 6] = 0
    mean, variance = combine_stars(values, weight)
    assert np.isnan(mean[1, 5, 6])
    assert np.isnan(mean).sum() == 1
    assert variance[0, 3, 4] == 1
    assert variance[0, 0, 0] == 0.5


def test_unidentified_planes_keep_factor_one_and_the_expected_scatter():
    flux = unidentified(4, 0.07)
    assert (flux.factor == 1).all()
    assert (flux.error == 0.07).all()


def test_noisy_estimates_are_drawn_to_one_and_never_harm():
    rng = np.random.default_rng(5)
    truth = 1 + rng.normal(0, 0.06, (400, 2))
    usable = np.ones(400, bool)
    good = shrunk(truth * (1 + rng.normal(0, 0.01, truth.shape)), usable, 0.01, 0.07)
    assert np.std(good.factor / truth) < 0.015
    poor = shrunk(truth * (1 + rng.normal(0, 0.12, truth.shape)), usable, 0.12, 0.07)
    assert np.std(poor.factor / truth) < np.std(truth)
    assert np.median(poor.factor[:, 0]) == pytest.approx(1)
    nothing = shrunk(np.full((3, 2), np.nan), np.ones(3, bool), 0.04, 0.07)
    assert (nothing.factor == 1).all()
