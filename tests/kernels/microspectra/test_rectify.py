"""Hexagons to squares: light is conserved, bad lenslets weigh nothing, shifts go where they should."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.lenslets import FieldStop, all_lenslets
from archive_proc.kernels.rectify import overlap_areas, rectified

PITCH = np.sqrt(3.0)
SIZE = 61
OUTSIDE = 1


@pytest.fixture(scope="module")
def lenslets():
    return all_lenslets(FieldStop(-14.2, 14.2, -14.2, 14.2))


def areas_at(lenslets, x=30.0, y=30.0):
    return overlap_areas((lenslets.x, lenslets.y), PITCH, SIZE, (x, y))


def test_every_lenslet_gives_all_its_area(lenslets):
    areas = areas_at(lenslets)
    given = np.bincount(areas.lenslet, areas.area, len(lenslets))
    assert given == pytest.approx(areas.hexagon, rel=1e-9)
    covered = np.add.reduceat(areas.area, areas.start[:-1][np.diff(areas.start) > 0])
    assert covered.max() == pytest.approx(1.0, abs=1e-9)


def gaussian(lenslets, x, y, width=2.0):
    return np.exp(-((lenslets.x - x) ** 2 + (lenslets.y - y) ** 2) / (2 * width**2)).astype(np.float32)


def test_sums_over_the_field_are_conserved_and_a_source_stays_in_its_place(lenslets):
    flux = gaussian(lenslets, 2.3, -1.7)
    ones, flags = np.ones(len(lenslets), np.float32), np.zeros(len(lenslets), np.uint16)
    image, variance, marks = rectified(areas_at(lenslets, 30.4, 29.1), flux, ones, flags, OUTSIDE)
    assert np.nansum(image) == pytest.approx(float(flux.sum()), rel=2e-3)
    y, x = np.mgrid[:SIZE, :SIZE]
    seen = np.nan_to_num(image)
    assert np.sum(seen * x) / seen.sum() == pytest.approx(30.4 + 2.3 * PITCH, abs=0.02)
    assert np.sum(seen * y) / seen.sum() == pytest.approx(29.1 - 1.7 * PITCH, abs=0.02)
    assert np.isnan(image[0, 0])
    assert marks[0, 0] == OUTSIDE
    assert marks[30, 30] == 0
    assert 0 < variance[30, 30] < 1


def test_a_lenslet_without_variance_weighs_nothing_and_its_flag_spreads(lenslets):
    flux = np.full(len(lenslets), 2.0, np.float32)
    variance, flags = np.ones(len(lenslets), np.float32), np.zeros(len(lenslets), np.uint16)
    bad = int(np.argmin(np.hypot(lenslets.x, lenslets.y)))
    flux[bad], variance[bad], flags[bad] = 1e6, np.nan, 256
    areas = areas_at(lenslets)
    image, _, marks = rectified(areas, flux, variance, flags, OUTSIDE)
    per_pixel = 2.0 / areas.hexagon
    inner = image[20:40, 20:40]
    assert np.nanmax(np.abs(inner - per_pixel)) < 1e-5
    assert np.isnan(inner).any(), "a pixel mostly on the bad lenslet has no value"
    assert (marks[20:40, 20:40] == 256)[np.isnan(inner)].all()


def test_the_variance_is_that_of_the_weighted_mean(lenslets):
    rng = np.random.default_rng(2)
    areas = areas_at(lenslets)
    variance = rng.uniform(0.5, 2.0, len(lenslets)).astype(np.float32)
    flags = np.zeros(len(lenslets), np.uint16)
    drawn = []
    for _ in range(400):
        flux = (rng.normal(size=len(lenslets)) * np.sqrt(variance)).astype(np.float32)
        image, claimed, _ = rectified(areas, flux, variance, flags, OUTSIDE)
        drawn.append(image[25:36, 25:36])
    measured = np.var(drawn, axis=0)
    assert np.median(measured / claimed[25:36, 25:36]) == pytest.approx(1.0, abs=0.05)
