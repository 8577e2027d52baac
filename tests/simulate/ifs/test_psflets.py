"""Simulated PSFlets: known sum and place, measured sizes, and no shape that a fit would use."""

import numpy as np
import pytest

from archive_proc.simulate.ifs.facts import MODES
from archive_proc.simulate.ifs.projection import Halo, Light, add_halo, project
from archive_proc.simulate.ifs.psflets import (
    OVERSAMPLING,
    STAMP,
    assign_nodes,
    draw_optics,
    make_psflets,
    phases_of,
    psflet_image,
)


@pytest.fixture(scope="module")
def tables():
    return make_psflets(MODES["YJ"], draw_optics(np.random.default_rng(4)), field_nodes=2, wavelength_nodes=3)


def light_of(tables, x, y, wavelength, electrons, node=1):
    return project(
        tables,
        np.array([node]),
        np.array([[x]]),
        np.array([[y]]),
        np.array([wavelength]),
        np.array([[electrons]], np.float32),
    )


@pytest.mark.parametrize("at", [(1000.0, 700.0), (1000.37, 700.81), (64.499, 2000.501), (1500.93, 33.06)])
def test_a_spot_holds_its_electrons_and_stands_where_truth_says(tables, at):
    image = light_of(tables, *at, 1123.71, 1e5).total.astype(float)
    assert image.sum() == pytest.approx(1e5, rel=1e-5)
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    assert (image * x).sum() / image.sum() == pytest.approx(at[0], abs=2e-3)
    assert (image * y).sum() / image.sum() == pytest.approx(at[1], abs=2e-3)


def test_light_is_what_the_tables_say_pixel_by_pixel(tables):
    image = light_of(tables, 300.3, 411.7, 1050.0, 1000.0, node=2).total
    row, column, stamp = tables.stamp(2, 1050.0, 300.3, 411.7)
    assert np.allclose(image[row : row + STAMP, column : column + STAMP], 1000 * stamp, atol=1e-3)


def test_colour_weighs_the_light(tables):
    light = light_of(tables, 500.0, 500.0, 1250.0, 100.0)
    assert np.allclose(light.coloured, 0.5 * light.total)


def test_light_beyond_the_edge_is_lost(tables):
    assert light_of(tables, -3.0, 900.0, 1100.0, 1000.0).total.sum() < 200.0
    assert light_of(tables, -60.0, 900.0, 1100.0, 1000.0).total.sum() == 0.0


def _fwhm(profile):
    above = np.nonzero(profile > 0.5 * profile.max())[0]
    first, last = above[0], above[-1]
    half = 0.5 * profile.max()
    before = (profile[first] - half) / (profile[first] - profile[first - 1])
    after = (profile[last] - half) / (profile[last] - profile[last + 1])
    return (last - first + before + after) / OVERSAMPLING


@pytest.mark.parametrize("seed", range(4))
def test_sizes_are_those_measured_and_vary_over_field_and_wavelength(seed):
    optics = draw_optics(np.random.default_rng(seed))
    images = [
        psflet_image(optics, x, y, wavelength)
        for x, y in ((0, 0), (-60, -55), (60, 50))
        for wavelength in (960.0, 1340.0)
    ]
    stamps = [phases_of(image)[:-1, :-1, :, :STAMP].astype(float) for image in images]
    widths = np.array([(_fwhm(image[88]), _fwhm(image[:, 88])) for image in images])
    areas = np.array([np.mean(1.0 / (stamp**2).sum(axis=(2, 3))) for stamp in stamps])
    outside = np.array([1.0 - stamp[0, 0, 3:16, 4:15].sum() for stamp in stamps])
    assert 2.1 < widths.min() < widths.max() < 2.62
    assert 12.0 < areas.min() < areas.max() < 16.6
    assert 0.008 < outside.min() < outside.max() < 0.02
    assert np.ptp(widths) > 0.05


def test_a_psflet_is_no_gaussian():
    image = psflet_image(draw_optics(np.random.default_rng(0)), 30.0, -20.0, 1100.0)
    offset = (np.arange(len(image)) - 88) / OVERSAMPLING
    sigma2 = _fwhm(image[88]) ** 2 / 5.545
    gaussian = np.exp(-0.5 * (offset[None, :] ** 2 + offset[:, None] ** 2) / sigma2) / (2 * np.pi * sigma2)
    assert np.abs(image - gaussian).max() > 0.08 * image.max()
    assert image[88 + 5 * OVERSAMPLING, 88] > 50 * gaussian[88 + 5 * OVERSAMPLING, 88]


def test_lenslets_take_nodes_near_them(tables):
    x = np.array([-75.9, 75.9, 75.9, 0.0])
    y = np.array([-75.9, -75.9, 75.9, 75.9])
    nodes = [assign_nodes(tables, x, y, np.random.default_rng(seed)).tolist() for seed in range(40)]
    assert {tuple(one[:3]) for one in nodes} == {(0, 1, 3)}
    assert {one[3] for one in nodes} == {2, 3}


def test_the_halo_adds_its_share_far_from_the_light():
    total = np.zeros((2048, 2048), np.float32)
    total[1000:1010, 1000:1010] = 1000.0
    spread = add_halo(Light(total, 0.5 * total), Halo(0.015, 5.0, 2.8))
    assert spread.total.sum() == pytest.approx(1.015e5, rel=1e-3)
    assert np.allclose(spread.coloured, 0.5 * spread.total, atol=1e-2)
    assert 0.005 < spread.total[1004, 1050] < 0.5
    assert add_halo(Light(total, total), Halo(0.0, 5.0, 2.8)).total is total
