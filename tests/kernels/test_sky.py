from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.blocks import block_centres
from archive_proc.kernels.sky import (
    CHANGES,
    change_maps,
    join_estimates,
    master_pixels,
    reference_blocks,
    sky_modes,
    structure_variance,
)

N = 64
STARS = ((480.0, 524.0), (483.0, 511.0))


def skies(amplitudes: list[float], rng: np.random.Generator, noise: float = 0.5) -> np.ndarray:
    centres = (block_centres(N) - 511.5) / 512
    x, y = np.meshgrid(centres, centres)
    level = 300 * (1 + 0.3 * np.exp(-3 * (x - 0.2) ** 2))
    change = np.sin(3 * x) * np.cos(2 * y)
    one = np.array([level * (1 + 0.01 * a) + a * change for a in amplitudes])
    return np.stack([one, one], axis=1) + rng.normal(0, noise, (len(amplitudes), 2, N, N))


def test_a_star_in_one_sky_is_not_in_the_reference():
    rng = np.random.default_rng(2)
    blocks = skies([0, 1, -1, 2, 0], rng)
    blocks[3, 0, 20:22, 30:32] += 400
    clean = reference_blocks(np.delete(blocks, 3, axis=0))
    assert np.abs(reference_blocks(blocks) - clean)[0, 20:22, 30:32].max() < 3


def test_a_change_seen_in_every_sky_file_becomes_a_mode():
    rng = np.random.default_rng(4)
    blocks = skies([-6, -6, 0, 0, 5, 5, 9, 9], rng)
    files = np.repeat(np.arange(4), 2)
    found = sky_modes(blocks, np.full(blocks.shape, 0.5), files, max_modes=4, star=STARS)
    assert "sky_1" in found.mode_names
    assert np.nanmin(found.held_out_error) < 0.5
    assert found.modes.shape[0] == len(found.mode_names) == found.mode_sigma.shape[0]


def test_one_sky_gives_assumed_spreads_and_no_singular_vectors():
    found = sky_modes(
        skies([0], np.random.default_rng(1)), np.full((1, 2, N, N), 0.5), np.zeros(1, int), max_modes=6, star=STARS
    )
    assert not any(name.startswith("sky_") for name in found.mode_names)
    assert np.isnan(found.held_out_error).all()
    assert (found.scale_sigma > 0).all()


def test_cosmic_rays_do_not_enter_the_master():
    rng = np.random.default_rng(9)
    planes = rng.normal(100, 5, (6, 16, 16)).astype(np.float32)
    planes[2, 4, 5] = 5000
    mean, variance = master_pixels(planes, np.ones((16, 16), bool), np.full((16, 16), 5, np.float32))
    assert mean[4, 5] == pytest.approx(100, abs=10)
    assert np.median(variance) == pytest.approx(25 / 6, rel=0.3)


def test_the_less_noisy_estimate_of_a_level_weighs_more():
    shape = (4, 4)
    sky, smooth = np.full(shape, 10, np.float32), np.full(shape, 20, np.float32)
    level, variance = join_estimates(
        sky, np.full(shape, 9, np.float32), smooth, np.full(shape, 1, np.float32), np.zeros(shape, np.float32)
    )
    np.testing.assert_allclose(level, 19, rtol=1e-6)
    np.testing.assert_allclose(variance, 0.9, rtol=1e-6)
    unknown = np.full(shape, np.inf, np.float32)
    level, _ = join_estimates(sky, unknown, smooth, np.ones(shape, np.float32), np.zeros(shape, np.float32))
    np.testing.assert_array_equal(level, smooth)


def test_structure_is_what_the_variance_does_not_explain():
    rng = np.random.default_rng(3)
    away = rng.normal(0, 2, (64, 128)).astype(np.float32)
    away[:, 64:] *= 3
    found = structure_variance(away, np.full(away.shape, 4, np.float32), np.ones(away.shape, bool), 64)
    assert found[0, 0] < 0.5
    assert found[0, 100] > 15


def test_change_maps_have_unit_norm_and_follow_the_light():
    rng = np.random.default_rng(6)
    reference = np.stack([1.0 + 0.1 * rng.random((N, N))] * 2)
    reference[1] *= 5
    maps, spread = change_maps(reference)
    assert len(maps) == len(CHANGES)
    np.testing.assert_allclose((maps**2).sum(axis=(2, 3)), 1)
    np.testing.assert_allclose(spread[:, 1], 5 * spread[:, 0])


def test_a_pixel_under_a_star_in_some_planes_comes_from_the_others():
    rng = np.random.default_rng(12)
    planes = rng.normal(10, 1, (4, 8, 8)).astype(np.float32)
    planes[:2, 2:5, 2:5] += 50
    valid = np.ones(planes.shape, bool)
    valid[:2, 2:5, 2:5] = False
    valid[:, 3, 3] = False
    mean, variance = master_pixels(planes, np.ones((8, 8), bool), np.ones((8, 8), np.float32), valid)
    assert np.isinf(variance[3, 3])
    np.testing.assert_allclose(mean[2, 2], planes[2:, 2, 2].mean(), rtol=1e-6)
    assert variance[2, 2] > variance[0, 0]
