"""PSFlets: the spline, its transposes, and the fit to a laser frame whose truth it cannot see."""

from __future__ import annotations

import numpy as np
import pytest
import small_spectrograph
from scipy.interpolate import BSpline

from archive_proc.kernels.dispersion import field_terms
from archive_proc.kernels.lenslets import ADJACENT, FieldStop, all_lenslets
from archive_proc.kernels.loops.spots import add_spots, gather_spots
from archive_proc.kernels.psflet_equations import Change, LaserEquations, Spots, moments, spot_image
from archive_proc.kernels.psflet_fit import FitPlan, edge_weight, fit_laser_frame, widened
from archive_proc.kernels.psflets import NODES, WINDOW, split_columns, stamp

LASERS = np.array([0.98772, 1.12371, 1.30937])
OFFSETS = np.array([[0.0, 0.0], [-0.09, 13.43], [-0.16, 28.75]])


def test_a_stamp_is_the_spline_of_its_coefficients():
    rng = np.random.default_rng(5)
    coefficients = rng.normal(size=(NODES, NODES)).astype(np.float32)
    out = np.empty((WINDOW, WINDOW), np.float32)
    x, y = 50.37, 49.81
    stamp(coefficients, x, y, out)
    knots = np.arange(NODES + 4) * 0.5 - 9.5 - 1.0
    rows = BSpline(knots, coefficients.astype(float), 3)(np.arange(round(y) - 8, round(y) + 9) - y)
    both = BSpline(knots, rows.T, 3)(np.arange(round(x) - 8, round(x) + 9) - x).T
    assert np.abs(out - both).max() < 1e-5


def test_gathering_is_the_transpose_of_adding():
    rng = np.random.default_rng(6)
    x, y, amplitude = rng.uniform(-3, 45, 7), rng.uniform(-3, 45, 7), rng.uniform(1, 2, 7)
    coefficients = rng.normal(size=(7, NODES, NODES)).astype(np.float32)
    image, other = np.zeros((43, 41), np.float32), rng.normal(size=(43, 41)).astype(np.float32)
    add_spots(image, coefficients, x, y, amplitude)
    back = np.empty((7, NODES, NODES), np.float32)
    gather_spots(other, x, y, amplitude, back)
    forward = float(np.vdot(image.astype(float), other))
    assert float(np.vdot(coefficients.astype(float), back)) == pytest.approx(forward, rel=1e-4)


def test_added_spots_are_stamps_where_they_belong():
    rng = np.random.default_rng(15)
    coefficients = rng.normal(size=(NODES, NODES)).astype(np.float32)
    image, out = np.zeros((60, 50), np.float32), np.empty((WINDOW, WINDOW), np.float32)
    x, y = np.array([24.6, 3.2]), np.array([30.4, 55.9])
    add_spots(image, split_columns(coefficients[None].repeat(2, axis=0)), x, y, np.array([2.0, 0.0]))
    stamp(coefficients, 24.6, 30.4, out)
    assert np.abs(image[22:39, 17:34] - 2.0 * out).max() < 1e-4
    assert np.abs(image).sum() == pytest.approx(float(np.abs(2.0 * out).sum()), rel=1e-4)


@pytest.fixture
def equations():
    """Equations of three lasers on a frame so small that all of it is in the direct solution."""
    rng = np.random.default_rng(2)
    lenslets = small_spectrograph.few_lenslets(4.0)
    places = small_spectrograph.detector_places(lenslets, (90.3, 88.6))[:, :, None] + OFFSETS.T[:, None, :]
    spots = Spots(lenslets.x, lenslets.y, LASERS, places, rng.uniform(0.5, 1.5, (len(lenslets), 3)))
    model = widened(small_spectrograph.round_psflets(lenslets), (0, 0, 0))
    weight = rng.uniform(0.5, 1.0, (190, 200)).astype(np.float32)
    scattered = rng.normal(size=(1, 190, 200)).astype(np.float32)
    edge, field = np.zeros(weight.shape, bool), field_terms(lenslets.x, lenslets.y)
    smooth = rng.uniform(0.0, 1.0, (NODES, NODES))
    return LaserEquations(model, spots, weight, field, edge, scattered, np.ones_like(model.terms), smooth)


def test_the_direct_solution_undoes_what_the_frame_does_to_images_that_keep_sum_and_centre(equations):
    rng = np.random.default_rng(3)
    terms = rng.normal(size=equations.model.terms.shape)
    fixed = moments().reshape(3, -1)
    flat = terms.reshape(len(terms), -1)
    flat -= flat @ fixed.T @ np.linalg.inv(fixed @ fixed.T) @ fixed
    brightness = np.zeros((3, equations.field.shape[1]))
    brightness[:, 0] = rng.normal(size=3)
    change = Change(terms, brightness, np.array([0.7]))
    seen = equations.adjoint(equations.weight * equations.forward(change))
    seen = seen.plus(Change(equations.penalty(terms), np.zeros_like(brightness), np.zeros(1)))
    back = equations.preconditioner(np.ones((len(equations.spots.x), 3))).step(seen)
    # The direct solution is damped by a thousandth of its diagonal.
    assert np.abs(back.terms - terms).max() < 0.05
    assert np.abs(np.einsum("mij,kij->km", moments(), back.terms)).max() < 1e-3
    assert back.brightness[:, 0] == pytest.approx(brightness[:, 0], abs=0.06)
    assert back.scatter == pytest.approx([0.7], abs=0.06)


def test_no_step_changes_an_image_s_sum_or_centre(equations):
    image = spot_image(equations.model, equations.spots, equations.weight.shape)
    found = equations.solve(1.3 * image, np.ones((len(equations.spots.x), 3)), 3)
    assert np.abs(np.einsum("mij,kij->km", moments(), found.terms)).max() < 1e-3
    state = Change(equations.model.terms + found.terms, found.brightness, found.scatter)
    left = 1.3 * image - equations.forward(state)
    assert np.sum(left**2) < 0.05 * np.sum((0.3 * image) ** 2)


def lopsided(dx, dy):
    """A PSFlet that is no spline, with a wide wing on its right."""
    core = np.exp(-(np.hypot(dx / (1.0 + 0.1 * np.tanh(dx)), dy) ** 2) / 1.9) / 5.97
    return core + 4e-4 * np.exp(-((dx - 3.0) ** 2 + dy**2) / 18.0)


@pytest.fixture(scope="module")
def laser_frame():
    """A laser frame of a lopsided PSFlet that is no spline, of lenslets that differ, with dead pixels."""
    rng = np.random.default_rng(7)
    lenslets = all_lenslets(FieldStop(-6.2, 6.2, -5.7, 5.7))
    first = small_spectrograph.detector_places(lenslets, (130.3, 118.6))
    places = first[:, :, None] + OFFSETS.T[:, None, :]
    throughput = rng.normal(1.0, 0.013, len(lenslets))
    size = 280
    image = np.zeros((size, size))
    brightness = np.array([1.2e5, 1.0e5, 0.8e5])
    for laser in range(3):
        for lens in range(len(lenslets)):
            x, y = places[:, lens, laser]
            x0, y0 = round(x), round(y)
            yy, xx = np.mgrid[y0 - 10 : y0 + 11, x0 - 10 : x0 + 11]
            dx, dy = xx - x, yy - y
            shape = lopsided(dx, dy)
            image[y0 - 10 : y0 + 11, x0 - 10 : x0 + 11] += brightness[laser] * throughput[lens] * shape
    good = rng.random(image.shape) > 0.005
    data = rng.poisson(np.maximum(image, 0)).astype(float) + rng.normal(0, 10.0, image.shape)
    data[~good] = 3e4
    return lenslets, places, throughput, data.astype(np.float32), good


@pytest.mark.slow
def test_psflets_places_and_throughputs_are_measured_from_a_laser_frame(laser_frame):
    lenslets, places, throughput, data, good = laser_frame
    rng = np.random.default_rng(9)
    start = places + rng.normal(0, 0.1, 2)[:, None, None]
    spots = Spots(lenslets.x, lenslets.y, LASERS, start, np.full((len(lenslets), 3), 1e5))
    lonely = (lenslets.steps(ADJACENT) < 0).any(axis=1)
    # A third of these lenslets stand at the edge, a hundredth of a real frame's: here nobody outvotes them.
    plan = FitPlan(iterations=(6, 6, 6, 8), degrees=((0,), (0, 0, 0), (0, 0, 0), (0, 0, 0)), edge=1.0)
    found = fit_laser_frame(data, good, np.full(data.shape, 100.0, np.float32), spots, lonely, plan)
    assert 0.9 < found.chi < 1.15
    # One PSFlet may be centred as it likes: the spots' places agree with the truth but for one common shift a laser.
    away = found.spots.places - places
    assert np.abs(away - np.median(away, axis=1, keepdims=True)).max() < 0.02
    ratio = found.throughput / throughput
    inner = ~lonely
    assert np.std(ratio[inner] / np.median(ratio[inner])) < 0.006
    # The right wing, which hides under the neighbours' spots, is seen at the edge of the field.
    shape = np.empty((WINDOW, WINDOW), np.float32)
    stamp(found.model.coefficients(np.zeros(1), np.zeros(1), float(LASERS[1]))[0], 100.0, 100.0, shape)
    assert shape.sum() == pytest.approx(1.0, abs=0.01)
    shift = np.median(away[:, :, 1], axis=1)
    dx, dy = np.meshgrid(np.arange(-8, 9) + shift[0], np.arange(-8, 9) + shift[1])
    truth = lopsided(dx, dy)
    truth /= truth.sum()
    for columns in (slice(3, 6), slice(11, 14)):
        assert float(shape[:, columns].sum()) == pytest.approx(float(truth[:, columns].sum()), abs=0.0015)


def test_the_edge_is_trusted_beyond_its_noise_as_far_as_the_model_is_wrong_elsewhere():
    plan = FitPlan()
    assert edge_weight(plan, 0.98) == 1.0
    assert 1.0 < edge_weight(plan, 1.02) < 2.0
    assert edge_weight(plan, 1.31) == edge_weight(plan, 3.0) == plan.edge
    assert edge_weight(FitPlan(edge=1.0), 1.31) == 1.0


def test_a_wider_model_keeps_what_it_had():
    lenslets = small_spectrograph.few_lenslets()
    model = small_spectrograph.round_psflets(lenslets)
    wide = widened(model, (2, 1))
    before = model.coefficients(lenslets.x, lenslets.y, 1.2)
    assert np.abs(wide.coefficients(lenslets.x, lenslets.y, 1.2) - before).max() < 1e-6
    assert len(wide.terms) == 6 + 3
