from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.background import (
    FIXED_TERMS,
    BackgroundBasis,
    BlockPlane,
    background_of_plane,
    change_in_part,
    fit_background,
    halo_maps,
    still_light,
)
from archive_proc.kernels.blocks import block_centres, upsample

N = 64
STAR = (480.0, 524.0)


def sky(x0: float = 500.0) -> np.ndarray:
    centres = block_centres(N)
    x, y = np.meshgrid(centres, centres)
    return 200 + 100 * np.exp(-0.5 * ((x - x0) / 300) ** 2) + 0.05 * y


def basis(n_modes: int = 1) -> BackgroundBasis:
    centres = (block_centres(N) - 511.5) / 512
    x, y = np.meshgrid(centres, centres)
    modes = np.stack([x * y, x**2 - y**2])[:n_modes, None] * np.ones((1, 2, 1, 1))
    rng = np.random.default_rng(1)
    return BackgroundBasis(
        level=rng.normal(300, 5, (2, 1024, 1024)).astype(np.float32),
        response=rng.normal(1, 0.05, (2, 1024, 1024)).astype(np.float32),
        first_mode=np.stack([sky(), sky()]),
        modes=modes,
        scale_sigma=np.full(2, 0.02),
        mode_sigma=np.full((n_modes, 2), 5.0),
    )


def seen(values: np.ndarray, rng: np.random.Generator, noise: float = 0.7) -> BlockPlane:
    noisy = values + rng.normal(0, noise, values.shape)
    return BlockPlane(noisy, np.full(values.shape, noise), STAR, np.zeros(values.shape, bool))


def test_scale_and_modes_are_found_through_a_bright_halo_that_is_not_subtracted():
    rng, truth = np.random.default_rng(7), basis()
    halo, _ = halo_maps(STAR, (N, N))
    change = 0.03 * sky() + 4.0 * truth.modes[0, 0]
    fit = fit_background(truth, 0, seen(change + 60 * halo[0] + 20 * halo[4], rng), (0.0, 0.0))
    assert fit.coefficients[0] == pytest.approx(0.03, abs=0.001)
    assert fit.coefficients[len(FIXED_TERMS)] == pytest.approx(4.0, abs=0.5)
    assert fit.halo[0] == pytest.approx(60, rel=0.1)
    assert fit.chi2 < 1.3


def test_field_stars_and_left_out_blocks_do_not_count():
    rng, truth = np.random.default_rng(8), basis()
    plane = seen(0.02 * sky(), rng)
    plane.values[50:53, 10:13] += 500
    plane.values[20:30, 40:60] += 80
    plane.left_out[20:30, 40:60] = True
    fit = fit_background(truth, 1, plane, (0.0, 0.0))
    assert fit.coefficients[0] == pytest.approx(0.02, abs=0.001)


def test_priors_hold_what_the_blocks_cannot_say():
    truth = basis(2)
    plane = BlockPlane(np.full((N, N), np.nan), np.full((N, N), np.nan), STAR, np.zeros((N, N), bool))
    fit = fit_background(truth, 0, plane, (0.0, 0.0))
    assert not fit.coefficients.any()
    assert fit.error > 1.0


def test_a_dithered_plane_has_its_smooth_light_shifted_and_its_detector_not():
    truth = basis(0)
    coefficients = np.zeros((2, 3))
    coefficients[:, 1] = 8.0
    background = background_of_plane(truth, coefficients)
    expected = truth.level + truth.response * (upsample(np.stack([sky(508.0)] * 2)) - upsample(truth.first_mode))
    inner = (slice(None), slice(60, -60), slice(60, -60))
    np.testing.assert_allclose(background[inner], expected[inner], atol=0.02)


def test_a_part_of_the_background_is_the_part_of_the_whole_and_surplus_coefficients_are_ignored():
    truth = basis(1)
    coefficients = np.array([[0.02, 1.0, -1.0, 3.0, 0.0], [0.01, 1.0, -1.0, -2.0, 0.0]])
    whole = background_of_plane(truth, coefficients[:, :4])
    rows, columns = slice(100, 164), slice(30, 70)
    part = [change_in_part(truth, coefficients, channel, rows, columns) for channel in range(2)]
    np.testing.assert_allclose(part + truth.level[:, rows, columns], whole[:, rows, columns], rtol=1e-6)
    still = still_light(truth)
    np.testing.assert_array_equal(background_of_plane(truth, coefficients, still=still), whole)
