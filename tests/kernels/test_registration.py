from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from archive_proc.kernels.registration import Patch, high_passed, register_one, register_stack
from archive_proc.kernels.stamps import Stamp, corner, cut, moved, patched

SIZE = 96
MASK = np.ones((2, SIZE, SIZE), bool)
MASK[:, :12], MASK[:, -12:], MASK[:, :, :12], MASK[:, :, -12:] = False, False, False, False


def speckles(shift, rng_seed: int = 0, noise: float = 0.0, bright: float = 1.0) -> Patch:
    """The same speckles, moved by exact Fourier phases."""
    rng = np.random.default_rng(11)
    values = []
    fy, fx = np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)[None, :]
    for _ in range(2):
        field = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 1.6, mode="wrap") * 500
        phase = np.exp(-2j * np.pi * (fx * shift[0] + fy * shift[1]))
        values.append(np.fft.ifft2(np.fft.fft2(field) * phase).real * bright)
    image = np.array(values) + np.random.default_rng(rng_seed).normal(0, 1, (2, SIZE, SIZE)) * noise
    return Patch(image.astype(np.float32), np.full((2, SIZE, SIZE), 1 / max(noise, 1) ** 2, np.float32))


def test_a_shift_is_measured_with_its_sign():
    found = register_one(speckles((0.7, -0.4), bright=1.3), speckles((0, 0)), MASK, np.zeros(2))
    assert found.good
    np.testing.assert_allclose(found.xy, [0.7, -0.4], atol=0.005)
    np.testing.assert_allclose(found.brightness, 1.3, rtol=0.01)


def test_the_error_of_the_brightness_is_its_scatter():
    reference = speckles((0, 0))
    found = [register_one(speckles((0.1, 0), 100 + seed, 60.0), reference, MASK, np.zeros(2)) for seed in range(30)]
    scatter = np.std([one.brightness for one in found], axis=0)
    np.testing.assert_allclose(np.mean([one.brightness_error for one in found], axis=0), scatter, rtol=0.4)


def test_hot_pixels_with_weight_zero_do_not_move_a_plane():
    plane = speckles((0.3, 0.2))
    plane.values[:, 40:60:3, 30:70:5] = 1e5
    plane.weight[:, 40:60:3, 30:70:5] = 0
    found = register_one(plane, speckles((0, 0)), MASK, np.zeros(2))
    np.testing.assert_allclose(found.xy, [0.3, 0.2], atol=0.005)


def test_a_stack_is_aligned_and_an_excluded_plane_feeds_nothing():
    truth = np.array([[0.0, 0.0], [0.5, -0.2], [-0.4, 0.6], [-0.1, -0.4]])
    planes = [speckles(one, seed, noise=5.0) for seed, one in enumerate(truth)]
    usable = np.array([True, True, True, True, False])
    junk = Patch(np.full((2, SIZE, SIZE), 1e4, np.float32), planes[0].weight)
    found = register_stack([*planes, junk], np.zeros((5, 2)), MASK, usable)
    shifts = np.array([one.xy for one in found.shifts[:4]])
    np.testing.assert_allclose(shifts - shifts[0], truth - truth[0], atol=0.02)
    without = register_stack(planes, np.zeros((4, 2)), MASK, usable[:4])
    np.testing.assert_array_equal(np.array([one.xy for one in without.shifts]), shifts)


def test_planes_without_any_reference_are_not_good():
    found = register_stack([speckles((0, 0))], np.zeros((1, 2)), MASK, np.zeros(1, bool))
    assert not found.shifts[0].good


def test_high_pass_takes_the_halo_away():
    y, x = np.mgrid[:SIZE, :SIZE]
    halo = (1e4 / (np.hypot(x - 48, y - 48) + 20)).astype(np.float32)
    stamp = Stamp(halo, np.ones_like(halo), 0, 0)
    patch = high_passed((stamp, stamp), (3.3, 3.5))
    ring = np.hypot(x - 48, y - 48) > 10
    assert np.abs(patch.values[0][ring & (np.hypot(x - 48, y - 48) < 40)]).max() < 5


def test_a_moved_stamp_keeps_flux_and_bad_pixels_stay_out():
    y, x = np.mgrid[:40, :40]
    star = (1000 * np.exp(-0.5 * ((x - 19.6) ** 2 + (y - 20.3) ** 2) / 2.0**2)).astype(np.float32)
    weight = np.ones_like(star)
    star_bad = star.copy()
    star_bad[5, 5], weight[5, 5] = 1e6, 0
    values, inverse = moved(star_bad, weight, (0.4, -0.3))
    expected = 1000 * np.exp(-0.5 * ((x - 20.0) ** 2 + (y - 20.0) ** 2) / 2.0**2)
    np.testing.assert_allclose(values[8:32, 8:32], expected[8:32, 8:32], atol=3)
    assert np.abs(values[inverse > 0]).max() < 1100


def test_cuts_beyond_the_array_have_no_weight():
    values, weight = np.ones((50, 50), np.float32), np.ones((50, 50), np.float32)
    stamp = cut(values, weight, -5, 30, 30)
    assert stamp.weight[:, :5].sum() == 0
    assert stamp.weight[20:].sum() == 0
    assert stamp.weight[:20, 5:].all()
    assert corner((10.4, 20.6), 8) == (6, 17)


def test_patching_fills_every_hole():
    values = np.ones((20, 20), np.float32) * 5
    weight = np.ones_like(values)
    weight[3:9, 3:9] = 0
    assert patched(values, weight)[5, 5] == pytest.approx(5)


def test_a_single_usable_plane_is_the_reference_of_the_others():
    planes = [speckles((0.0, 0.0)), speckles((0.3, -0.2))]
    found = register_stack(planes, np.zeros((2, 2)), MASK, np.array([True, False]))
    np.testing.assert_array_equal(found.shifts[0].error, 0)
    np.testing.assert_allclose(found.shifts[1].xy, [0.3, -0.2], atol=0.01)
    alone = register_stack(planes[:1], np.zeros((1, 2)), MASK, np.ones(1, bool))
    assert alone.shifts[0].good
