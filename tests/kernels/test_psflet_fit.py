"""Pieces of the laser frame's fit that need no frame: throughputs beside the edge, scattered light, field terms."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.psflet_equations import Spots
from archive_proc.kernels.psflet_fit import _brighten, _level
from archive_proc.kernels.psflets import HALF, NODES, PsfletModel, field_degrees, orthonormal_field
from archive_proc.kernels.scattered import spread_light, take_scattered_off


def test_a_lenslet_of_which_only_wings_are_seen_shines_as_the_others_do() -> None:
    x, y = (one.ravel().astype(float) for one in np.meshgrid(np.arange(-5, 6), np.arange(-5, 6)))
    n = x.size
    spots = Spots(x, y, np.array([0.99, 1.12]), np.zeros((2, n, 2)), np.full((n, 2), 1e5))
    found = np.zeros((n, 2, 6))
    found[..., 3] = 1e-6
    # One is off the detector: its wings say little, and wrong. One at the stop's edge is dark. One is unseen.
    found[7, :, 0], found[7, :, 3] = -1.0, 0.5**2
    found[3, :, 0] = -0.99
    found[9] = np.nan
    lonely = np.arange(n) < 4
    brighter, throughput = _brighten(spots, found, lonely)
    assert throughput[[7, 9]] == pytest.approx(1.0, abs=0.03)
    assert throughput[3] == 0.0
    assert brighter.amplitude[7] == pytest.approx(1e5, rel=0.03)


def test_scattered_light_falls_with_the_cube_of_the_distance_and_is_all_there() -> None:
    image = np.zeros((512, 512), np.float32)
    image[256:264, 256:264] = 1000.0
    halo = spread_light(image)
    assert halo.sum() == pytest.approx(image.sum(), rel=0.02)
    middle = 259.5
    near, far = (float(halo[260, round(middle) + step]) for step in (30, 60))
    assert near / far == pytest.approx(8.0, rel=0.15)


def test_what_falls_into_a_psflets_window_is_not_called_scattered() -> None:
    image = np.zeros((256, 256), np.float32)
    image[130, 121] = 1.0
    halo = spread_light(image)
    middle = halo[130 - HALF + 4 : 131 + HALF - 4, 121 - HALF + 4 : 122 + HALF - 4]
    assert middle.sum() < 0.005
    assert halo[130 - HALF : 131 + HALF, 121 - HALF : 122 + HALF].sum() < 0.1
    assert halo.sum() == pytest.approx(1.0, rel=0.01)


def test_the_level_that_a_dark_left_is_not_taken_for_scattered_light() -> None:
    rng = np.random.default_rng(7)
    lit = np.zeros((256, 256), np.float32)
    lit[:, 64:192] = rng.uniform(0.0, 600.0, (256, 128))
    halo = spread_light(lit)
    dark = np.ones(lit.shape, bool)
    dark[:, 64 - HALF : 192 + HALF] = False
    noise = np.full(lit.shape, 100.0, np.float32)
    seen = np.float32(0.7) + np.float32(0.01) * halo + rng.normal(0.0, 10.0, lit.shape).astype(np.float32)
    seen[::16, ::16] = 5e3
    assert _level(seen, dark, noise, halo) == pytest.approx(0.7, abs=0.3)
    nothing = np.zeros(lit.shape, bool)
    assert _level(seen, nothing, noise, halo) == 0.0


def test_scattered_light_comes_off_whatever_bad_pixels_say() -> None:
    rng = np.random.default_rng(3)
    light = rng.uniform(50.0, 150.0, (256, 256)).astype(np.float32)
    seen = light + np.float32(0.01) * spread_light(light)
    good = np.ones(light.shape, bool)
    good[40, 50] = False
    seen[40, 50] = 6e4
    take_scattered_off(seen, 0.01, good)
    assert np.abs(seen - light)[good].max() < 0.05
    untouched = seen.copy()
    take_scattered_off(seen, 0.0)
    assert np.array_equal(seen, untouched)


@pytest.mark.parametrize("degree", [3, 6])
def test_field_polynomials_of_any_degree_are_orthonormal(degree: int) -> None:
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-70, 70, (2, 2000))
    turn = orthonormal_field(x, y, degree)
    model = PsfletModel(np.zeros((1, NODES, NODES)), np.zeros((1, 2), np.int64), (0.9, 1.3), turn)
    terms = model.field(x, y)
    assert terms.shape[1] == len(field_degrees(degree)) == (degree + 1) * (degree + 2) // 2
    assert terms.T @ terms / 2000 == pytest.approx(np.eye(len(turn)), abs=1e-6)
