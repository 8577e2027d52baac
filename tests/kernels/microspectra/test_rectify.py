"""Hexagons to squares: light is conserved, bad lenslets weigh nothing, shifts are right, noise is as claimed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from archive_proc.kernels.lenslets import FieldStop, all_lenslets
from archive_proc.kernels.rectify import STEPS, SquareGrid, correlation, rectify, square_grid
from archive_proc.model.flags import Flag

PITCH = np.sqrt(3.0)
SIZE = 61


@dataclass
class Field:
    x: np.ndarray
    y: np.ndarray
    grid: SquareGrid

    def images(self, flux, variance=None, flags=None, at=(30.0, 30.0)):
        """flux (n, k); `at`: one place or one a channel."""
        flux = np.asarray(flux, np.float32)
        variance = np.ones_like(flux) if variance is None else np.asarray(variance, np.float32)
        flags = np.zeros(flux.shape, np.uint16) if flags is None else flags
        k = flux.shape[1]
        shape = (k, SIZE, SIZE)
        out = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16)
        centers = np.broadcast_to(np.atleast_2d(at), (k, 2)).astype(float)
        rectify(self.grid, centers, (flux, variance, flags), out)
        return out

    def gaussian(self, x, y, width=2.0):
        return np.exp(-((self.x - x) ** 2 + (self.y - y) ** 2) / (2 * width**2))


@pytest.fixture(scope="module")
def field() -> Field:
    found = all_lenslets(FieldStop(-14.2, 14.2, -14.2, 14.2))
    return Field(found.x, found.y, square_grid(found.x, found.y, (PITCH, PITCH), SIZE))


def test_a_lenslet_gives_all_its_area_wherever_it_stands(field: Field):
    table = field.grid.table[:-1, :-1]
    given = table.reshape(table.shape[0] // STEPS, STEPS, table.shape[1] // STEPS, STEPS).sum(axis=(0, 2))
    assert given == pytest.approx(field.grid.hexagon, rel=1e-9)
    assert field.grid.hexagon == pytest.approx(1.5 * PITCH)


def test_sums_over_the_field_are_conserved_and_every_channel_goes_to_its_own_place(field: Field):
    flux = np.stack([field.gaussian(2.3, -1.7), 5.0 * field.gaussian(-1.1, 3.2)], axis=1)
    places = [(30.4, 29.1), (28.9, 31.3)]
    image, variance, marks = field.images(flux, at=places)
    y, x = np.mgrid[:SIZE, :SIZE]
    for channel, ((at_x, at_y), (px, py)) in enumerate(zip(places, [(2.3, -1.7), (-1.1, 3.2)], strict=True)):
        seen = np.nan_to_num(image[channel])
        assert seen.sum() == pytest.approx(float(flux[:, channel].sum()), rel=2e-3)
        assert np.sum(seen * x) / seen.sum() == pytest.approx(at_x + px * PITCH, abs=0.02)
        assert np.sum(seen * y) / seen.sum() == pytest.approx(at_y + py * PITCH, abs=0.02)
    assert np.isnan(image[0, 0, 0])
    assert marks[0, 0, 0] == Flag.OUTSIDE
    assert marks[0, 30, 30] == 0
    assert 0 < variance[0, 30, 30] < 1


def test_a_lenslet_without_variance_weighs_nothing_and_its_flag_spreads(field: Field):
    flux = np.full((len(field.x), 1), 2.0)
    variance, flags = np.ones_like(flux), np.zeros(flux.shape, np.uint16)
    bad = int(np.argmin(np.hypot(field.x, field.y)))
    flux[bad], variance[bad], flags[bad] = 1e6, np.nan, Flag.FILLED
    image, noise, marks = (one[0, 20:41, 20:41] for one in field.images(flux, variance, flags))
    assert np.nanmax(np.abs(image - 2.0 / field.grid.hexagon)) < 1e-5
    lost = np.isnan(image)
    assert lost.any(), "a pixel mostly on the bad lenslet has no value"
    assert np.isnan(noise[lost]).all()
    assert (marks[lost] == Flag.FILLED | Flag.LOW_WEIGHT).all()
    assert 3 <= (marks != 0).sum() <= 9
    assert (marks[~lost] & Flag.LOW_WEIGHT == 0).all()


def test_the_variance_is_that_of_the_weighted_mean(field: Field):
    rng = np.random.default_rng(2)
    variance = rng.uniform(0.5, 2.0, len(field.x))
    draws = rng.normal(size=(len(field.x), 600)) * np.sqrt(variance)[:, None]
    inner = slice(25, 36)
    drawn, claimed, _ = field.images(draws, np.repeat(variance[:, None], 600, axis=1))
    measured = np.var(drawn[:, inner, inner], axis=0)
    assert np.median(measured / claimed[0, inner, inner]) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("radius", [2.5, 5.0])
def test_apertures_scatter_as_variance_and_correlation_say(field: Field, radius: float):
    rng = np.random.default_rng(5)
    draws = rng.normal(size=(len(field.x), 500))
    images, claimed, _ = field.images(draws)
    shared = correlation(field.grid)
    y, x = np.mgrid[:SIZE, :SIZE]
    ratios = []
    for at_x, at_y in [(30.0, 30.0), (24.3, 33.6), (35.7, 27.2)]:
        inside = np.hypot(x - at_x, y - at_y) <= radius
        rows, columns = np.nonzero(inside)
        lag = np.abs(rows[:, None] - rows), np.abs(columns[:, None] - columns)
        near = (lag[0] < 3) & (lag[1] < 3)
        between = np.where(near, shared[np.minimum(lag[0], 2), np.minimum(lag[1], 2)], 0.0)
        sigma = np.sqrt(claimed[0][inside])
        ratios.append(images[:, inside].sum(axis=1).std() / np.sqrt(sigma @ between @ sigma))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.08)


def test_an_anamorphism_stretches_the_field_and_keeps_its_light(field: Field):
    grid = square_grid(field.x, field.y, (1.2 * PITCH, PITCH), SIZE)
    stretched = Field(field.x, field.y, grid)
    flux = field.gaussian(5.0, 3.0)[:, None]
    seen = np.nan_to_num(stretched.images(flux)[0][0])
    y, x = np.mgrid[:SIZE, :SIZE]
    assert seen.sum() == pytest.approx(float(flux.sum()), rel=2e-3)
    assert np.sum(seen * x) / seen.sum() == pytest.approx(30 + 5.0 * 1.2 * PITCH, abs=0.02)
    assert np.sum(seen * y) / seen.sum() == pytest.approx(30 + 3.0 * PITCH, abs=0.02)
