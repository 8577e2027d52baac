"""The centre of symmetry of a halo, and sources that do not belong to the star."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.point_sources import clear_of_sources
from archive_proc.kernels.registration import Patch
from archive_proc.kernels.symmetry import symmetric_centre

SIZE = 220
STAR = (112.3, 106.8)
Y, X = np.mgrid[:SIZE, :SIZE]


def spot(x: float, y: float, amplitude: float) -> np.ndarray:
    return amplitude * np.exp(-0.5 * ((X - x) ** 2 + (Y - y) ** 2) / 1.7**2)


def halo(rng: np.random.Generator, speckles: int = 60) -> np.ndarray:
    """Light about the star, speckles in unequal pairs."""
    image = 100.0 / (1.0 + np.hypot(X - STAR[0], Y - STAR[1]) / 15.0) ** 2
    for _ in range(speckles):
        x, y, bright = rng.uniform(-60, 60), rng.uniform(-60, 60), rng.exponential(15.0)
        image += spot(STAR[0] + x, STAR[1] + y, bright) + spot(STAR[0] - x, STAR[1] - y, 0.6 * bright)
    return image


def test_a_halo_with_a_companion_is_centred_to_half_a_pixel():
    rng = np.random.default_rng(1)
    image = halo(rng) + spot(140.0, 70.0, 500.0) + rng.normal(0, 2.0, (SIZE, SIZE))
    image[:, 190:] = np.nan
    found = symmetric_centre(image[None].astype(np.float32), (110.0, 110.0))
    assert found == pytest.approx(STAR, abs=0.5)


@pytest.mark.parametrize("level", [0.0, 300.0])
def test_an_even_field_has_no_centre(level: float):
    noise = np.random.default_rng(2).normal(level, 5.0, (3, SIZE, SIZE))
    assert symmetric_centre(noise.astype(np.float32), (110.0, 110.0)) is None


def test_nothing_known_is_no_centre():
    assert symmetric_centre(np.full((2, SIZE, SIZE), np.nan, np.float32), (110.0, 110.0)) is None


def test_a_companion_is_left_out_wherever_it_was_and_speckles_stay():
    rng = np.random.default_rng(3)
    fine = rng.normal(0.0, 3.0, (SIZE, SIZE))
    weight = np.ones((1, SIZE, SIZE), np.float32)
    places = [(150.0, 120.0), (148.0, 128.0)]
    patches = [Patch((fine + spot(*one, 200.0))[None].astype(np.float32), weight) for one in places]
    clear = clear_of_sources(patches, [STAR], [4.0])[0]
    for x, y in places:
        assert not clear[np.hypot(X - x, Y - y) < 4.0].any()
    assert clear.mean() > 0.97
