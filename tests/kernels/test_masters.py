"""Combination, flags, response and non-linearity on small frames."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.bad_pixels import dark_flags, flat_flags, lit_field, touched_field
from archive_proc.kernels.combine import align_outputs, clipped_mean, combine_planes, local_median, robust_sigma
from archive_proc.kernels.fill import box_mean, local_means
from archive_proc.kernels.flat import nonlinearity, response
from archive_proc.model.flags import Flag


@pytest.mark.parametrize("n", [1, 2, 3, 5, 11])
def test_combination_finds_mean_and_noise_whatever_the_number_of_planes(n: int) -> None:
    rng = np.random.default_rng(n)
    planes = (100.0 + rng.normal(0.0, 3.0, (n, 64, 128))).astype(np.float32)
    done = combine_planes(planes)
    assert done.mean.mean() == pytest.approx(100.0, abs=0.15)
    assert done.typical_noise == pytest.approx(3.0, rel=0.05)
    assert np.median(done.noise) == pytest.approx(3.0, rel=0.06)
    pull = (done.mean - 100.0) / np.sqrt(done.variance)
    assert np.std(pull) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("n", [2, 3, 7])
def test_a_hit_in_one_plane_does_not_reach_the_mean(n: int) -> None:
    rng = np.random.default_rng(3)
    planes = rng.normal(0.0, 2.0, (n, 32, 64)).astype(np.float32)
    planes[n // 2, 10, 20] += 900.0
    assert abs(float(combine_planes(planes).mean[10, 20])) < 6.0


def test_outputs_are_aligned_without_losing_the_mean_level() -> None:
    rng = np.random.default_rng(4)
    planes = rng.normal(50.0, 2.0, (3, 32, 128)).astype(np.float32)
    planes[1, :, 64:] += 9.0
    aligned = align_outputs(planes)
    assert aligned[:, :, 64:].mean(axis=(1, 2)) == pytest.approx([53.0] * 3, abs=0.2)
    assert aligned[:, :, :64].mean(axis=(1, 2)) == pytest.approx([50.0] * 3, abs=0.2)


def test_robust_statistics_see_below_integer_steps() -> None:
    rng = np.random.default_rng(6)
    values = np.round(rng.normal(0.3, 2.5, 20_000)).astype(np.float32)
    assert clipped_mean(values) == pytest.approx(0.3, abs=0.06)
    assert robust_sigma(values - np.float32(0.3)) == pytest.approx(np.hypot(2.5, 12**-0.5), rel=0.03)


def test_local_median_ignores_single_pixels_and_nan() -> None:
    values = np.full((20, 30), 7.0, np.float32)
    values[5, 5], values[10, 11] = 9000.0, np.nan
    assert (local_median(values) == 7.0).all()


def test_hot_pixels_scale_with_the_dit_and_noisy_ones_with_the_typical_noise() -> None:
    level = np.zeros((32, 64), np.float32)
    scatter = np.full_like(level, 2.5)
    level[3, 4], level[8, 9], scatter[20, 30] = 50.0, 30.0, 14.0
    flags = dark_flags(level, scatter, 2.5, 16.0, hot_adu=40.0, noisy_factor=4.0)
    assert flags[3, 4] == int(Flag.HOT)
    assert flags[8, 9] == 0
    assert flags[20, 30] == int(Flag.NOISY)
    longer = dark_flags(level, scatter, 2.5, 32.0, hot_adu=40.0, noisy_factor=4.0)
    assert longer[3, 4] == 0


def lamp_half(rng: np.random.Generator, level: float, a: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[:256, :256]
    shape = 1.0 + 0.25 * np.cos(x / 60.0) * np.sin(y / 45.0)
    light = level * shape * ((x > 20) & (x < 240) & (y > 15) & (y < 250))
    noisy = rng.poisson(light * 1.75) / 1.75 + rng.normal(0.0, 2.5, light.shape)
    return (noisy * (1.0 - a * noisy)).astype(np.float32)


def test_lit_field_has_no_holes_and_no_islands() -> None:
    lamp = lamp_half(np.random.default_rng(1), 5000.0)
    lamp[100:104, 100:104] = 0.0
    lamp[5, 5] = 30_000.0
    lit = lit_field(lamp)
    assert lit[16:250, 21:240].all()
    assert not lit[:15].any()
    assert touched_field(lamp)[13, 100]


def test_response_recovers_pixels_and_its_error() -> None:
    rng = np.random.default_rng(2)
    levels = np.stack([lamp_half(rng, 2000.0), lamp_half(rng, 6060.0)])
    pixel = rng.normal(1.0, 0.03, (256, 256)).astype(np.float32)
    levels *= pixel
    variances = np.maximum(levels, 0.0) / 1.75 + 2.5**2
    lit = lit_field(levels[-1])
    done = response(levels, variances, lit)
    y, x = np.mgrid[:256, :256]
    truth = pixel * (1.0 + 0.25 * np.cos(x / 60.0) * np.sin(y / 45.0))
    truth /= np.median(truth[lit])
    pull = (done.response - truth)[lit] / np.sqrt(done.variance[lit])
    assert np.std(pull) == pytest.approx(1.0, abs=0.05)
    assert np.sqrt(np.mean(done.chi[lit] ** 2)) == pytest.approx(1.0, abs=0.1)
    assert np.isnan(done.response[0, 0])


def test_nonlinearity_is_measured_where_it_is_and_not_where_the_lamp_drifts() -> None:
    rng = np.random.default_rng(3)
    bent = np.stack([lamp_half(rng, 2000.0, 2e-6), lamp_half(rng, 9000.0, 2e-6)])
    straight = np.stack([lamp_half(rng, 2000.0), lamp_half(rng, 9000.0 * 1.02)])
    lit = lit_field(straight[-1])
    found = nonlinearity(bent, lit)
    assert found.a == pytest.approx(2e-6, abs=4.0 * found.error)
    assert found.error < 4e-7
    assert nonlinearity(straight, lit).a == 0.0


def test_flat_flags_name_the_reason() -> None:
    lit = np.zeros((40, 60), bool)
    lit[5:-5, 5:-5] = True
    value = np.where(lit, 1.0, np.nan).astype(np.float32)
    chi = np.ones_like(value)
    value[20, 20], value[20, 30], chi[20, 40] = 0.1, 1.2, 11.0
    touched = np.pad(np.ones((36, 56), bool), 2)
    flags = flat_flags(value, chi, lit, touched, dead_below=0.5, dead_above=1.6, suspect=0.12, nonlinear_chi=8.0)
    assert flags[20, 20] == int(Flag.DEAD | Flag.SUSPECT)
    assert flags[20, 30] == int(Flag.SUSPECT)
    assert flags[20, 40] == int(Flag.NONLINEAR)
    assert flags[0, 0] == int(Flag.OUTSIDE)
    assert flags[3, 30] == int(Flag.OUTSIDE | Flag.EDGE)
    assert flags[5, 30] == int(Flag.EDGE)
    assert flags[7, 30] == 0


def test_filling_touches_only_what_is_wanted_and_widens_where_it_must() -> None:
    values = np.full((2, 40, 40), 3.0, np.float32)
    wanted = np.zeros(values.shape, bool)
    wanted[0, 10:21, 10:21] = True
    good = ~wanted
    values[wanted] = 0.0
    local_means(values, wanted, good)
    assert values == pytest.approx(np.full_like(values, 3.0), abs=1e-5)
    alone = np.zeros((1, 5, 5), np.float32)
    local_means(alone, np.ones_like(alone, bool), np.zeros_like(alone, bool))
    assert (alone == 0.0).all()


def test_box_mean_counts_good_pixels_only() -> None:
    values = np.ones((1, 5, 5), np.float32)
    good = np.ones(values.shape, bool)
    good[0, 2, 2] = False
    values[0, 2, 2] = 0.0
    assert (box_mean(values, good) == 1.0).all()
