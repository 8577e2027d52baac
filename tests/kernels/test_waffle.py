from __future__ import annotations

import math

import numpy as np
import pytest

from archive_proc.kernels.stamps import Stamp
from archive_proc.kernels.waffle import WaffleOptics, find_pattern, fit_waffle, spot_positions

OPTICS = tuple(WaffleOptics(wave, 0.053, 12.25, 1.0062, math.pi / 4) for wave in (1.593, 1.667))
CENTERS = ((98.3, 95.6), (96.1, 97.2))
SIZE = 192


def scene(rng: np.random.Generator, amplitude: float = 3000.0, factor: float = 13.8, angle: float = 0.01):
    """Gaussian spots, elongated along their radius, on a sloping halo: not the model's own shape."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    stamps = []
    for half, optics in enumerate(OPTICS):
        cx, cy = CENTERS[half]
        image = 2e5 / (np.hypot(x - cx, y - cy) + 15) ** 1.5
        xs, ys = spot_positions((cx, cy), factor, angle, optics)
        for number, (sx, sy) in enumerate(zip(xs, ys, strict=True)):
            t = math.atan2(sy - cy, sx - cx)
            along = (x - sx) * math.cos(t) + (y - sy) * math.sin(t)
            across = -(x - sx) * math.sin(t) + (y - sy) * math.cos(t)
            image += amplitude * (1 + 0.1 * number) * np.exp(-0.5 * ((along / 1.8) ** 2 + (across / 1.55) ** 2))
        variance = image / 1.75 + 9
        noisy = image + rng.normal(0, 1, image.shape) * np.sqrt(variance)
        stamps.append(Stamp(noisy.astype(np.float32), (1 / variance).astype(np.float32), 0, 0))
    return stamps[0], stamps[1]


def test_the_star_is_found_from_a_first_guess_ten_pixels_off():
    stamps = scene(np.random.default_rng(1))
    for half in range(2):
        x, y = find_pattern(stamps[half], (CENTERS[half][0] + 10, CENTERS[half][1] - 8), OPTICS[half])
        assert math.hypot(x - CENTERS[half][0], y - CENTERS[half][1]) < 1.5


def test_the_centre_is_good_to_a_fiftieth_of_a_pixel():
    stamps = scene(np.random.default_rng(2))
    fit = fit_waffle(stamps, OPTICS, ((99.0, 95.0), (96.0, 98.0)))
    assert fit.good
    np.testing.assert_allclose(fit.center, CENTERS, atol=0.02)
    assert fit.radius_factor == pytest.approx(13.8, abs=0.05)
    assert (fit.error < 0.1).all()


def test_bad_pixels_under_a_spot_do_not_bias():
    left, right = scene(np.random.default_rng(3))
    xs, ys = spot_positions(CENTERS[0], 13.8, 0.01, OPTICS[0])
    column, row = round(xs[1]) + 1, round(ys[1])
    left.values[row - 1 : row + 2, column] = 30000
    left.weight[row - 1 : row + 2, column] = 0
    fit = fit_waffle((left, right), OPTICS, ((98.0, 96.0), (96.0, 97.0)))
    np.testing.assert_allclose(fit.center, CENTERS, atol=0.03)


def test_a_cosmic_ray_without_a_flag_hardly_moves_the_centre():
    left, right = scene(np.random.default_rng(4))
    xs, ys = spot_positions(CENTERS[0], 13.8, 0.01, OPTICS[0])
    left.values[round(ys[2]) + 3, round(xs[2]) - 2] += 4000
    fit = fit_waffle((left, right), OPTICS, ((98.0, 96.0), (96.0, 97.0)))
    np.testing.assert_allclose(fit.center, CENTERS, atol=0.05)


def test_without_spots_the_fit_says_so():
    rng = np.random.default_rng(5)
    stamps = scene(rng, amplitude=0.0)
    assert not fit_waffle(stamps, OPTICS, CENTERS).good


def test_left_and_right_are_not_interchangeable():
    left, right = scene(np.random.default_rng(6))
    fit = fit_waffle((right, left), (OPTICS[1], OPTICS[0]), (CENTERS[1], CENTERS[0]))
    np.testing.assert_allclose(fit.center, CENTERS[::-1], atol=0.02)
