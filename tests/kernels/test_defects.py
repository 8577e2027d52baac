"""Hot, unstable and contradictory pixels are found in darks whose truth is known, and quiet ones are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.defects import (
    coupled_pixels,
    flickering_pixels,
    highest_planes,
    hot_pixels,
    inconsistent_pixels,
    plane_spread,
    unstable_pixels,
)

SHAPE = (256, 256)


def quiet(rng: np.random.Generator, n: int, level: float = 0.0, noise: float = 6.0) -> np.ndarray:
    return (level + noise * rng.standard_normal((n, *SHAPE))).astype(np.float32)


def test_hot_pixels_stand_above_their_neighbourhood_and_not_above_a_gradient() -> None:
    rng = np.random.default_rng(1)
    level = quiet(rng, 1)[0] + np.linspace(0.0, 300.0, SHAPE[1], dtype=np.float32)
    level[40, 50] += 90.0
    level[60, 70] += 25.0
    hot, excess = hot_pixels(level, least_adu=60.0, sigmas=6.0)
    assert hot[40, 50]
    assert hot.sum() == 1
    assert excess[40, 50] == pytest.approx(90.0, abs=25.0)


@pytest.mark.parametrize("planes", [2, 3, 4, 6])
def test_an_unstable_pixel_is_found_with_as_few_as_two_planes(planes: int) -> None:
    rng = np.random.default_rng(planes)
    raw = quiet(rng, planes)
    wavering = rng.choice(SHAPE[0] * SHAPE[1], 400, replace=False)
    raw.reshape(planes, -1)[:, wavering] += (200.0 * rng.standard_normal((planes, 400))).astype(np.float32)
    spread, freedom = plane_spread(raw)
    found = unstable_pixels(spread, freedom, np.full(SHAPE, 36.0, np.float32), 5.0).ravel()
    assert found[wavering].mean() > 0.85
    found[wavering] = False
    assert found.sum() <= 1


def test_a_cosmic_ray_in_one_of_four_planes_makes_no_unstable_pixel() -> None:
    raw = quiet(np.random.default_rng(5), 4)
    raw[2, 10:20, 30] += 4000.0
    spread, freedom = plane_spread(raw)
    assert not unstable_pixels(spread, freedom, np.full(SHAPE, 36.0, np.float32), 5.0).any()


def test_one_plane_says_nothing_about_stability() -> None:
    spread, freedom = plane_spread(quiet(np.random.default_rng(6), 1))
    assert np.isnan(spread).all()
    assert not unstable_pixels(spread, freedom, np.full(SHAPE, 36.0, np.float32), 5.0).any()


def test_only_the_hottest_take_their_four_neighbours_along() -> None:
    excess = np.zeros(SHAPE, np.float32)
    excess[100, 100] = 5000.0
    excess[150, 150] = 500.0
    found = coupled_pixels(excess, least_adu=40.0, coupling=0.02)
    assert sorted(zip(*np.nonzero(found), strict=True)) == [(99, 100), (100, 99), (100, 101), (101, 100)]


def test_darks_that_contradict_each_other_show_pixels_that_jump() -> None:
    rng = np.random.default_rng(7)
    current = np.full(SHAPE, 8.0, np.float32)
    dits = (1.65, 32.0, 1.65)
    levels = [current * dit + quiet(rng, 1, noise=3.0)[0] for dit in dits]
    levels[2][30, 40] += 60.0  # another file of the same DIT: higher
    levels[0][50, 60] += 400.0  # a short DIT above the long one
    levels[1][70, 80] += 900.0  # merely hot
    variances = [np.full(SHAPE, 9.0, np.float32)] * 3
    found = inconsistent_pixels(levels, variances, dits, 5.0, (5.0, 5.0))
    assert found[30, 40]
    assert found[50, 60]
    assert not found[70, 80]
    assert found.sum() <= 3


def test_thermal_light_that_changes_from_file_to_file_is_no_contradiction() -> None:
    rng = np.random.default_rng(8)
    response = (1.0 + 0.012 * rng.standard_normal(SHAPE)).astype(np.float32)
    warm = np.linspace(200.0, 500.0, SHAPE[0], dtype=np.float32)[:, None] * response
    levels = [factor * warm + quiet(rng, 1, noise=4.0)[0] for factor in (1.0, 0.94)]
    variances = [np.full(SHAPE, 16.0, np.float32)] * 2
    assert inconsistent_pixels(levels, variances, (32.0, 32.0), 5.0, (5.0, 5.0)).mean() < 2e-4


def test_a_pixel_that_jumps_by_five_times_the_noise_shows_by_what_it_is_and_by_what_it_was() -> None:
    rng = np.random.default_rng(9)
    n, noise = 40_000, np.float32(13.0)
    quiet_ones = rng.normal(0.0, 13.0, (2, n)).astype(np.float32)
    warm = quiet_ones + np.float32(70.0)
    jumping = quiet_ones + np.float32(70.0) * np.array([[0.0], [1.0]], np.float32)
    variance = np.full(n, noise**2, np.float32)
    shares = []
    for planes in (quiet_ones, warm, jumping):
        highest, rest, n_rest = highest_planes(planes)
        shares.append(flickering_pixels(highest, variance, rest, variance / np.float32(n_rest), (4.0, 2.5)).mean())
    assert shares[0] < 2e-4
    assert shares[1] < 0.03
    assert shares[2] > 0.7


def test_of_four_planes_the_highest_may_have_been_hit() -> None:
    planes = np.array([1.0, 2.0, 9.0, 3.0], np.float32)[:, None]
    highest, rest, n_rest = highest_planes(planes)
    assert (float(highest[0]), float(rest[0]), n_rest) == (3.0, 1.5, 2)


def test_a_pixel_brighter_in_a_short_dark_than_a_long_one_allows_jumps() -> None:
    rng = np.random.default_rng(10)
    dits = (1.65, 32.0)
    levels = [quiet(rng, 1, noise=noise)[0] for noise in (6.0, 13.0)]
    for level, dit in zip(levels, dits, strict=True):
        level[20, 30] += np.float32(10.0 * dit)  # steady: 320 ADU in the long dark
    levels[0][50, 60] += 60.0
    levels[1][50, 60] += 60.0
    variances = [np.full(SHAPE, noise**2, np.float32) for noise in (6.0, 13.0)]
    found = inconsistent_pixels(levels, variances, dits, 5.0, (4.0, 2.5))
    assert found[50, 60]
    assert not found[20, 30]
    assert found.mean() < 1e-3
