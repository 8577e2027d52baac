from __future__ import annotations

import numpy as np

from archive_proc.kernels.blocks import block_centres, block_means, fill_nearest, shift_blocks, upsample


def test_cosmic_rays_and_bad_pixels_do_not_move_block_means():
    rng = np.random.default_rng(3)
    values = (50 + rng.standard_normal((64, 96))).astype(np.float32)
    good = rng.random(values.shape) > 0.1
    clean, _ = block_means(values, good)
    values[~good] = 1e6
    values[rng.random(values.shape) < 0.01] = 3e4
    dirty, count = block_means(values, good)
    assert np.abs(dirty - clean).max() < 0.15
    assert (count < 256).all()


def test_a_block_without_enough_pixels_is_unknown():
    good = np.ones((32, 32), bool)
    good[:16, :16] = False
    good[0, :20] = True
    means, count = block_means(np.ones((32, 32), np.float32), good)
    assert np.isnan(means[0, 0])
    assert count[0, 0] == 0
    assert means[1, 1] == 1


def test_upsampling_keeps_the_block_means():
    blocks = np.random.default_rng(5).normal(size=(2, 7, 5))
    smooth = upsample(blocks)
    assert smooth.shape == (2, 112, 80)
    np.testing.assert_allclose(smooth.reshape(2, 7, 16, 5, 16).mean(axis=(2, 4)), blocks, atol=2e-5)


def test_a_part_of_the_map_is_the_part_of_the_whole():
    blocks = np.random.default_rng(6).normal(size=(6, 9))
    part = upsample(blocks, shift=(1.5, -2.0), rows=slice(10, 40), columns=slice(33, 77))
    np.testing.assert_allclose(part, upsample(blocks, shift=(1.5, -2.0))[10:40, 33:77], atol=1e-6)


def test_a_shift_moves_the_map_towards_larger_pixels():
    centres = block_centres(40)
    bump = np.exp(-0.5 * (((centres[None, :] - 330) / 60) ** 2 + ((centres[:, None] - 290) / 60) ** 2))
    moved = np.exp(-0.5 * (((centres[None, :] - 333) / 60) ** 2 + ((centres[:, None] - 285) / 60) ** 2))
    np.testing.assert_allclose(shift_blocks(bump, (3.0, -5.0)), moved, atol=1e-3)


def test_unknown_blocks_take_the_nearest_value():
    blocks = np.array([[1.0, np.nan, np.nan], [np.nan, np.nan, 7.0]])
    np.testing.assert_array_equal(fill_nearest(blocks)[:, 2], [7.0, 7.0])
    assert fill_nearest(np.full((2, 2), np.nan)).sum() == 0
