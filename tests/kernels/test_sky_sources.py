from __future__ import annotations

import numpy as np

from archive_proc.kernels.sky_sources import bridged, find_sources, hidden_blocks, hidden_pixels, reach

LAMBDA_D = (3.4, 3.5)


def sky(rng: np.random.Generator, shape: tuple[int, int] = (64, 256)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    arc = 200 * np.exp(-0.5 * ((np.hypot(x - 40, y - 300) - 280) / 30) ** 2)
    light = np.stack([arc + 300, arc + 100])
    return (light + rng.normal(0, 1, light.shape) * np.sqrt(light / 1.75 + 9)).astype(np.float32)


def star(at: tuple[float, float], peak: float, shape: tuple[int, int] = (64, 256)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (peak * np.exp(-0.5 * ((x - at[0]) ** 2 + (y - at[1]) ** 2) / 1.6**2)).astype(np.float32)


def test_a_star_is_found_and_noise_and_the_arc_are_not():
    light = sky(np.random.default_rng(1))
    good = np.ones(light.shape, bool)
    assert len(find_sources(light, good, gain=1.75, read_noise=3.0)) == 0
    light[1] += star((100.3, 40.6), 300.0)
    found = find_sources(light, good, gain=1.75, read_noise=3.0)
    assert len(found) == 1
    assert found[0, 0] == 1
    np.testing.assert_allclose(found[0, 1:3], (40.6, 100.3), atol=1.0)


def test_a_hot_pixel_and_a_cosmic_ray_are_no_stars():
    light = sky(np.random.default_rng(2))
    light[0, 30, 30] += 5000
    light[0, 12, 80:84] += 2000
    assert len(find_sources(light, np.ones(light.shape, bool), gain=1.75, read_noise=3.0)) == 0


def test_what_a_source_hides_grows_with_its_light():
    sources = np.array([[0, 40.0, 60.0, 30.0], [1, 40.0, 60.0, 3000.0]])
    radius = reach(sources[:, 3], LAMBDA_D, np.array([0, 1]))
    assert radius[0] < radius[1] < 60
    pixels = hidden_pixels(sources, LAMBDA_D, slice(32, 96), 128)
    assert pixels[0, 8, 60]
    assert pixels[0].sum() < pixels[1].sum()
    assert not pixels[0, 8, 120]
    blocks = hidden_blocks(sources, LAMBDA_D, 8)
    assert blocks[0, 2, 3]
    assert not blocks[0, 7, 7]


def test_hidden_blocks_are_bridged_from_those_around_them():
    y, x = np.mgrid[:64, :64]
    blocks = np.stack([100.0 + x + 2 * y] * 2)
    hidden = np.zeros(blocks.shape, bool)
    hidden[0, 30:34, 20:24] = True
    damaged = np.where(hidden, np.nan, blocks)
    damaged[:, 0] = np.nan
    found = bridged(damaged, hidden)
    np.testing.assert_allclose(found[0, 30:34, 20:24], blocks[0, 30:34, 20:24], atol=2.5)
    assert np.isnan(found[:, 0]).all()
