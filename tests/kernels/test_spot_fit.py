"""Waffle spots and stars of a spectral cube: the centre is right in every channel, and its error is honest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from archive_proc.kernels.lenslets import FieldStop, all_lenslets
from archive_proc.kernels.rectify import rectify, square_grid
from archive_proc.kernels.spot_fit import FIRST_WIDTH, ONE, SIZE, WIDTH, SpectralOptics, fit_spots
from archive_proc.kernels.waffle_cube import find_spots, fit_cube_waffle

PITCH_MAS = 12.92
FACTOR = 13.72
OPTICS = SpectralOptics(np.linspace(0.96, 1.33, 12), PITCH_MAS)
PIXELS = 290


@dataclass
class Scene:
    """Lenslets and a star whose place drifts with wavelength; Gaussian spots, which are not the fit's own shape."""

    places: np.ndarray
    star: np.ndarray
    """(k, 2) pitches."""
    angle: float

    def spots(self, amplitude=100.0):
        light = np.zeros((self.places.shape[1], len(self.star)))
        for turn in self.angle + np.arange(4) * np.pi / 2:
            light += self.gaussian(FACTOR * np.array([np.cos(turn), np.sin(turn)]), amplitude)
        return light

    def gaussian(self, offset, amplitude):
        at = self.star + np.asarray(offset) * OPTICS.lambda_d[:, None]
        away = self.places[:, :, None] - at.T[:, None, :]
        return amplitude * np.exp(-0.5 * (away**2).sum(axis=0) / (0.5 * OPTICS.lambda_d) ** 2)

    def noisy(self, light, rng, read=4.0):
        variance = light + read**2
        return (light + rng.normal(size=light.shape) * np.sqrt(variance)).astype(np.float32), variance.astype(
            np.float32
        )


@pytest.fixture(scope="module")
def scene() -> Scene:
    found = all_lenslets(FieldStop(-48.0, 48.0, -48.0, 48.0))
    drift = OPTICS.phase[:, None] * [0.06, -0.03] + OPTICS.phase[:, None] ** 2 * [0.0, 0.02]
    return Scene(np.stack([found.x, found.y]), np.array([1.3, -0.7]) + drift, np.radians(57.0))


def start(scene: Scene):
    return float(scene.star[0, 0] + 0.4), float(scene.star[0, 1] - 0.3), scene.angle + 0.02


def test_the_centre_is_right_in_every_channel_to_a_tenth_of_a_mas(scene: Scene):
    rng = np.random.default_rng(1)
    fit = fit_cube_waffle(scene.places, scene.noisy(scene.spots(2000.0), rng), OPTICS, start(scene))
    assert fit is not None
    assert np.abs((fit.center - scene.star) * PITCH_MAS).max() < 0.1
    assert fit.radius_factor == pytest.approx(FACTOR, abs=0.02)
    assert fit.angle == pytest.approx(scene.angle, abs=1e-3)
    assert fit.used.sum() >= 11


def test_the_error_quoted_is_that_of_repeated_draws(scene: Scene):
    rng = np.random.default_rng(2)
    light = scene.spots(60.0)
    fits = [fit_cube_waffle(scene.places, scene.noisy(light, rng), OPTICS, start(scene)) for _ in range(8)]
    found = np.array([fit.center - scene.star for fit in fits if fit is not None])
    quoted = np.array([fit.error for fit in fits if fit is not None])
    assert len(found) == 8
    assert 0.5 < np.sqrt(np.mean(quoted**2)) / np.sqrt(np.mean(found**2)) < 2.5


def test_a_channel_with_another_centre_is_left_out(scene: Scene):
    light = scene.spots(2000.0)
    moved = Scene(scene.places, scene.star + 0.8, scene.angle)
    light[:, 4] = moved.spots(2000.0)[:, 4]
    fit = fit_cube_waffle(scene.places, scene.noisy(light, np.random.default_rng(3)), OPTICS, start(scene))
    assert fit is not None
    assert not fit.used[4]
    assert np.abs((fit.center - scene.star) * PITCH_MAS).max() < 0.2


def test_lenslets_without_variance_under_a_spot_do_not_move_the_centre(scene: Scene):
    flux, variance = scene.noisy(scene.spots(2000.0), np.random.default_rng(4))
    rng = np.random.default_rng(5)
    bad = rng.random(flux.shape) < 0.03
    flux[bad], variance[bad] = 1e5, np.nan
    fit = fit_cube_waffle(scene.places, (flux, variance), OPTICS, start(scene))
    assert fit is not None
    assert np.abs((fit.center - scene.star) * PITCH_MAS).max() < 0.2


@pytest.mark.parametrize("what", ["noise", "nothing"])
def test_without_spots_there_is_no_centre(scene: Scene, what: str):
    empty = np.zeros((scene.places.shape[1], len(scene.star)))
    flux, variance = scene.noisy(empty, np.random.default_rng(6))
    if what == "nothing":
        variance[:] = np.nan
    assert fit_cube_waffle(scene.places, (flux, variance), OPTICS, start(scene)) is None


def test_the_pattern_is_found_at_any_angle_beside_a_brighter_source(scene: Scene):
    light = scene.spots(300.0) + scene.gaussian([9.0, -17.0], 6000.0)
    flux, variance = scene.noisy(light, np.random.default_rng(7))
    grid = square_grid(scene.places[0], scene.places[1], (3**0.5, 3**0.5), PIXELS)
    shape = (len(scene.star), PIXELS, PIXELS)
    images = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16)
    rectify(grid, np.full((len(scene.star), 2), 145.0), (flux, variance, np.zeros(flux.shape, np.uint16)), images)
    x, y, angle = find_spots(images[0][::3], OPTICS.lambda_d[::3] * 3**0.5, (145.0, 145.0))
    assert np.hypot(x - 145 - 3**0.5 * 1.3, y - 145 + 3**0.5 * 0.7) < 1.5
    assert np.degrees(angle) == pytest.approx(57.0, abs=1.6)


def test_a_star_is_placed_and_weighed(scene: Scene):
    light = scene.gaussian([0.0, 0.0], 3000.0)
    state = np.zeros(SIZE)
    state[:2], state[WIDTH] = scene.star[0] + [0.5, -0.4], FIRST_WIDTH
    fit = fit_spots(scene.places, scene.noisy(light, np.random.default_rng(8)), OPTICS, ONE, state)
    assert fit is not None
    assert np.abs((fit.center - scene.star) * PITCH_MAS).max() < 0.2
    assert fit.state[6:9] == pytest.approx(0.0)
