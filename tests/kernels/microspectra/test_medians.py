"""Medians of whole rows are those of single pixels."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.loops.hits import HALF, stand_outs
from archive_proc.kernels.loops.medians import along_median, common_light
from archive_proc.kernels.plane_light import BLOCK


def test_running_median_takes_good_pixels_alone() -> None:
    random = np.random.default_rng(3)
    image = random.normal(size=(23, 307)).astype(np.float32)
    good = (random.random(image.shape) > 0.05).astype(np.uint8)
    good[:, 11] = 0
    good[9:18, 31] = 0
    out = np.empty_like(image)
    along_median(image, good, 3, out)
    for y in range(23):
        some = slice(max(0, y - 3), y + 4)
        for x in range(307):
            values = image[some, x][good[some, x] > 0]
            # Without a good pixel: the row before, and zero before the first.
            expected = np.median(values) if values.size else out[y - 1, x] if y else 0.0
            assert out[y, x] == np.float32(expected)


@pytest.mark.parametrize("planes", [3, 4, 7, 16])
def test_common_light_is_the_median_of_planes_at_equal_brightness(planes: int) -> None:
    random = np.random.default_rng(5)
    light = random.normal(100.0, 10.0, (planes, 41, 301)).astype(np.float32)
    ratio = random.uniform(0.5, 2.0, (planes, -(-41 // BLOCK), -(-301 // BLOCK))).astype(np.float32)
    clean, scatter = np.empty((2, 41, 301), np.float32)
    common_light(light, np.ones((41, 301), np.float32), ratio, clean, scatter)
    full = np.repeat(np.repeat(ratio, BLOCK, axis=1), BLOCK, axis=2)[:, :41, :301]
    ordered = np.sort(light / full, axis=0)
    np.testing.assert_array_equal(clean, np.median(ordered, axis=0))
    inner = (ordered[3 * planes // 4] - ordered[planes // 4]) / np.float32(1.35) if planes > 3 else 0.0 * clean
    np.testing.assert_allclose(scatter, inner, rtol=1e-6)


def test_of_two_planes_the_lower_one_counts_where_they_disagree() -> None:
    light = np.full((2, 5, 37), 10.0, np.float32)
    light[1, 2, 30] = 500.0
    light[0, 3, 4] = 14.0
    clean, scatter = np.empty((2, 5, 37), np.float32)
    common_light(light, np.ones((5, 37), np.float32), np.ones((2, 1, 2), np.float32), clean, scatter)
    assert clean[2, 30] == 10.0
    assert clean[3, 4] == 12.0
    assert not scatter.any()


def test_stand_outs_are_what_no_running_median_explains() -> None:
    random = np.random.default_rng(7)
    flux, expected = random.normal(50.0, 5.0, (2, 13, 21)).astype(np.float32)
    shape = random.uniform(0.5, 1.5, 21).astype(np.float32)
    out, moved = np.empty_like(flux), np.empty(13, np.float32)
    stand_outs(flux, expected, shape, out, moved)
    away = (flux - expected) / shape
    for k in range(21):
        some = np.sort(away[:, max(0, k - HALF) : k + HALF + 1], axis=1)
        np.testing.assert_array_equal(out[:, k], shape[k] * (away[:, k] - some[:, some.shape[1] // 2]))
    typical = flux.mean(axis=1) / shape.mean()
    np.testing.assert_allclose(moved, np.abs(np.median(away, axis=1)) / typical, rtol=1e-5)
