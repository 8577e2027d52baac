"""Lattice, labels, folded cells, dispersion: which spectrum is which, and where."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.dispersion import Dispersion, field_terms, fit_field
from archive_proc.kernels.folding import assign_spots, cell_spots, fold
from archive_proc.kernels.lattice import TILE, tile_phases
from archive_proc.kernels.lenslets import ADJACENT, OVERLAPPING, FieldStop, all_lenslets, find_labels
from archive_proc.kernels.spectra_positions import laser_tiles, locate_spectra

BASIS = np.array([[15.26, -2.93], [10.17, 11.76]])
STOP = FieldStop(-68.75, 73.25, -63.6, 61.9)


def dots(size, origin, basis, sigma=1.2):
    """Gaussians on a lattice."""
    y, x = np.mgrid[:size, :size].astype(float)
    u, v = np.linalg.solve(basis.T, np.stack([x.ravel() - origin[0], y.ravel() - origin[1]]))
    image = np.zeros(size * size)
    for a in (0, 1):
        for b in (0, 1):
            p = basis.T @ np.stack([u - np.floor(u) - a, v - np.floor(v) - b])
            image += np.exp(-(p**2).sum(axis=0) / (2 * sigma**2))
    return image.reshape(size, size).astype(np.float32)


@pytest.mark.parametrize(("scale", "turn"), [(1.0, 0.0), (1.006, 0.4), (0.994, -0.6)])
def test_a_tiles_lattice_is_found_by_its_phase(scale, turn):
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    basis = scale * BASIS @ np.array([[c, s], [-s, c]])
    (found,) = tile_phases(dots(TILE, (101.3, 77.8), basis), BASIS)
    assert np.abs(found.basis - basis).max() < 2e-3
    steps = np.linalg.solve(basis.T, np.array(found.origin) - (101.3, 77.8))
    assert np.abs(basis.T @ (steps - np.rint(steps))).max() < 0.02
    assert found.quality > 50


def test_noise_alone_has_no_lattice():
    noise = np.random.default_rng(3).normal(size=(TILE, TILE)).astype(np.float32)
    assert tile_phases(noise, BASIS)[0].quality < 10


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_lasers_are_told_apart_by_their_gaps_not_by_their_brightness(order):
    expected = np.array([[0.0, 0.0], [-0.09, 13.43], [-0.16, 28.75]])
    heights = np.array([1.0, 0.8, 0.6])[list(order)]
    first = (40.4, 52.7)
    image = sum(
        h * dots(128, (first[0] + dx, first[1] + dy), BASIS) for h, (dx, dy) in zip(heights, expected, strict=True)
    )
    cell = fold(image, np.ones((128, 128), bool), BASIS, (10.0, 20.0))
    found = assign_spots(cell_spots(cell, BASIS, 3), expected, BASIS)
    away = np.linalg.solve(BASIS.T, np.add(found.first, (10.0, 20.0)) - np.array(first))
    assert np.abs(BASIS.T @ (away - np.rint(away))).max() < 0.15
    assert found.rms < 0.2 < 0.8 < found.runner_up


def test_bad_pixels_do_not_enter_a_folded_cell():
    image = dots(128, (40.0, 50.0), BASIS)
    good = np.random.default_rng(1).random((128, 128)) > 0.05
    spoilt = np.where(good, image, 1e6).astype(np.float32)
    assert fold(spoilt, good, BASIS, (0.0, 0.0)).max() < 2.0


@pytest.mark.parametrize("step", [(0, 0), (1, 0), (-2, 3), (4, -5)])
def test_labels_follow_from_the_edges_of_the_field_stop(step):
    rng = np.random.default_rng(8)
    everyone = all_lenslets(FieldStop(-80, 80, -75, 75))
    x, y = np.array([[1033.5], [1009.3]]) + BASIS.T @ np.stack([everyone.q, everyone.r])
    seen = everyone.choose((x > 3) & (x < 2044) & (y > 20) & (y < 2028))
    light = np.where(STOP.inside(seen.q, seen.r), 1.0, 0.0) + rng.normal(0, 0.2, len(seen))
    light[rng.random(len(seen)) < 0.02] = np.nan
    found = find_labels(seen.q - step[0], seen.r - step[1], light, STOP)
    assert found.step == step
    assert found.margin > 35


def test_a_field_without_edges_has_no_certain_labels():
    inner = all_lenslets(FieldStop(-40, 40, -40, 40))
    found = find_labels(inner.q, inner.r, np.ones(len(inner)), STOP)
    assert found.margin < 1


def test_neighbours_are_found_and_missing_ones_said():
    lenslets = all_lenslets(FieldStop(-3.2, 3.2, -2.2, 2.2))
    steps = lenslets.steps((*ADJACENT, *OVERLAPPING))
    for index, (dq, dr) in enumerate((*ADJACENT, *OVERLAPPING)):
        there = steps[:, index] >= 0
        assert (lenslets.q[steps[there, index]] - lenslets.q[there] == dq).all()
        assert (lenslets.r[steps[there, index]] - lenslets.r[there] == dr).all()
    assert (steps < 0).any()


def test_the_field_fit_leaves_out_what_does_not_belong():
    rng = np.random.default_rng(4)
    lenslets = all_lenslets(FieldStop(-40, 40, -40, 40))
    truth = 5.0 + 0.2 * lenslets.x + 1e-5 * lenslets.y**3
    value = truth + rng.normal(0, 0.01, len(lenslets))
    wrong = rng.random(len(lenslets)) < 0.05
    value[wrong] += 3.0
    value[0] = np.nan
    coefficients, kept = fit_field(lenslets.x, lenslets.y, value)
    assert not kept[wrong].any()
    assert not kept[0]
    assert kept[~wrong].mean() > 0.98
    assert np.abs(field_terms(lenslets.x, lenslets.y) @ coefficients - truth).max() < 0.01


def test_positions_are_a_polynomial_of_field_and_log_wavelength():
    coefficients = np.zeros((2, 10, 3))
    coefficients[0, 0], coefficients[1, 0] = (100.0, 0.5, 0.0), (200.0, 90.0, 11.0)
    found = Dispersion(coefficients).positions(np.zeros(1), np.zeros(1), np.array([1.1, 1.2]))
    u = np.log(1.2 / 1.1)
    assert found[:, 0, 0] == pytest.approx([100.0, 200.0])
    assert found[:, 0, 1] == pytest.approx([100.0 + 0.5 * u, 200.0 + 90.0 * u + 11.0 * u**2])


@pytest.mark.slow
def test_a_moved_and_distorted_field_gets_the_right_labels():
    """White lamp and lasers of a coarse detector, moved against the nominal place, bent to the third order."""
    expected = np.array([[0.0, 0.0], [-0.09, 13.43], [-0.16, 28.75]])
    stop = FieldStop(-39.3, 41.2, -37.4, 35.6)
    lenslets = all_lenslets(stop)
    u, v = lenslets.x / 40, lenslets.y / 40
    first = np.array([[640.4], [620.7]]) + BASIS.T @ np.stack([lenslets.q, lenslets.r])
    first += 0.3 * np.stack([u * v, v**2 - u]) + 0.1 * np.stack([u**3, v**3])
    size = 1280
    white, laser = np.zeros((size, size)), np.zeros((size, size))
    grid = np.arange(-4, 5)
    for x, y in first.T:
        for image, ys, bright in ((white, np.arange(-3, 33, 0.5), 60.0), (laser, expected[:, 1], 1000.0)):
            for dy in ys:
                x0, y0 = round(x), round(y + dy)
                if 5 < x0 < size - 6 and 5 < y0 < size - 6:
                    spot = np.exp(-((y0 + grid - y - dy) ** 2) / 2)[:, None] * np.exp(-((x0 + grid - x) ** 2) / 2)
                    image[y0 - 4 : y0 + 5, x0 - 4 : x0 + 5] += bright * spot
    good = np.random.default_rng(11).random((size, size)) > 0.01
    white, laser = (np.where(good, one, 5e4).astype(np.float32) for one in (white, laser))
    filled = np.where(good, white, np.median(white)).astype(np.float32)
    tiles = laser_tiles(laser, good, tile_phases(filled, BASIS), expected)
    found = locate_spectra(tiles, white, good, (640.4 + 20.0, 620.7 - 18.0), stop)
    assert found.labels.margin > 20
    assert found.agreeing > 0.9
    assert found.residual < 0.1
    inside = (first > 250).all(axis=0) & (first < 1030).all(axis=0)
    assert np.abs(found.places(lenslets) - first)[:, inside].max() < 0.15
    assert max(one.next_height for one in tiles) < 0.3
