"""Templates and the joint fit, against dense linear algebra on a small detector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import small_spectrograph

from archive_proc.kernels.common_light import (
    Known,
    agreement,
    common_spectrum,
    features_in,
    no_equations,
    summed,
)
from archive_proc.kernels.extraction import BAND, normal_blocks, seen_shares, subtract_model
from archive_proc.kernels.joint_fit import LAGS, REACH, FitSettings, fit_spectra, joint_equations, region_resolution
from archive_proc.kernels.loops.banded import HOLD, UNSEEN, factorise
from archive_proc.kernels.microspectra import build_templates
from archive_proc.kernels.psflets import WINDOW, stamp
from archive_proc.kernels.spectra_shift import whole_lenslets

CHANNELS = 14
SIZE = 110


@pytest.fixture(scope="module")
def scene():
    lenslets = small_spectrograph.few_lenslets()
    model = small_spectrograph.round_psflets(lenslets, skew=0.1)
    edges = np.linspace(0.95, 1.10, CHANNELS + 1)
    steps = edges[:-1, None] + (np.arange(4) + 0.5) / 4 * np.diff(edges)[:, None]
    first = small_spectrograph.detector_places(lenslets, (54.2, 46.7))
    y = first[1][:, None, None] + (steps - 0.95)[None] * 95.0
    x = np.broadcast_to(first[0][:, None, None], y.shape) - (steps - 0.95)[None]
    templates = build_templates(model, (lenslets.x, lenslets.y), np.stack([x, y]), steps, np.ones(steps.shape))
    return lenslets, model, (x, y), templates


def dense(templates) -> np.ndarray:
    """(pixels, lenslets * channels)"""
    n, m = templates.values.shape[:2]
    out = np.zeros((SIZE, SIZE, n * m))
    for lens in range(n):
        for k in range(m):
            for j in range(templates.values.shape[2]):
                for i in range(templates.values.shape[3]):
                    row, column = templates.y0[lens, k] + j, templates.x0[lens] + i
                    if 0 <= row < SIZE and 0 <= column < SIZE:
                        out[row, column, lens * m + k] = templates.values[lens, k, j, i]
    return out.reshape(SIZE * SIZE, n * m)


def test_light_that_bends_within_channels_comes_back_as_each_channels_flux(scene):
    lenslets, model, (x, y), steps_only = scene
    # Eight times finer than the channels: what a ripple of five channels' period really throws on the detector.
    fine = np.linspace(0.95, 1.10, 8 * CHANNELS + 1)
    middle = 0.5 * (fine[1:] + fine[:-1])
    first = small_spectrograph.detector_places(lenslets, (54.2, 46.7))
    py = first[1][:, None, None] + (middle[:, None] - 0.95)[None] * 95.0
    px = np.broadcast_to(first[0][:, None, None], py.shape) - (middle[:, None] - 0.95)[None]
    place = (lenslets.x, lenslets.y)
    truth = build_templates(model, place, np.stack([px, py]), middle[:, None], np.ones((middle.size, 1)))
    light = 1e4 * (1.0 + 0.5 * np.cos(2 * np.pi * (np.arange(middle.size) + 0.5) / 40.0 + 0.4))
    plane = np.zeros((1, SIZE, SIZE), np.float32)
    seen = np.broadcast_to(-light, (1, len(lenslets), light.size)).astype(np.float32)
    subtract_model(truth.counts, truth.scale, truth.x0, truth.y0, seen, plane)
    expected = light.reshape(CHANNELS, 8).sum(axis=1)
    wavelengths = np.linspace(0.95, 1.10, CHANNELS + 1)
    inside = wavelengths[:-1, None] + (np.arange(4) + 0.5) / 4 * np.diff(wavelengths)[:, None]
    bent = build_templates(model, place, np.stack([x, y]), inside)
    assert bent.values.sum(axis=(2, 3)) == pytest.approx(1.0, abs=1e-5)
    weight = np.ones((SIZE, SIZE), np.float32)
    away = []
    for templates in (steps_only, bent):
        found = fit_spectra(plane, weight, templates, settings=FitSettings(mu=1e-3, sweeps=60))
        relative = np.median(found.flux[0], axis=0) / expected - 1.0
        away.append(float(np.sqrt(np.mean(relative[3:-3] ** 2))))
    assert away[1] < min(0.02, 0.4 * away[0])


def test_lenslets_tell_together_what_each_must_be_held_from(scene):
    templates = scene[3]
    n = len(templates.x0)
    shape = 0.03 + np.exp(-0.5 * ((np.arange(CHANNELS) - 5.3) / 1.1) ** 2)
    light = np.linspace(2e4, 6e4, n)
    truth = light[:, None] * shape / shape.sum()
    plane = np.zeros((1, SIZE, SIZE), np.float32)
    subtract_model(
        templates.counts, templates.scale, templates.x0, templates.y0, -truth[None].astype(np.float32), plane
    )
    weight = (1.0 / (50.0 + np.maximum(plane[0], 0.0))).astype(np.float32)
    noisy = plane + (np.random.default_rng(3).standard_normal(plane.shape) / np.sqrt(weight)).astype(np.float32)
    found = fit_spectra(noisy, weight, templates, settings=FitSettings(mu=0.1, sweeps=20)).flux[0].astype(np.float64)
    equations = joint_equations(weight, templates, mu=0.1)
    # Three frames alike: 66 lenslets.
    members, total = np.tile(np.arange(n), 3), np.tile(found.sum(axis=1), 3)
    sums = summed(equations, members, np.tile(found / found.sum(axis=1, keepdims=True), (3, 1)), total)
    common = common_spectrum([sums, no_equations(CHANNELS)])
    assert common is not None
    of_each = found.mean(axis=0) / found.mean(axis=0).max()
    true = shape / shape.max()
    bright = true > 0.15
    assert np.abs(common - true)[bright].max() < 0.3 * np.abs(of_each - true)[bright].max()
    assert common_spectrum([no_equations(CHANNELS)]) is None
    assert common_spectrum([replace(sums, noise=1e4 * sums.noise)]) is None


@pytest.mark.parametrize("moved", [-0.3, 0.12])
def test_light_that_stands_beside_its_templates_is_common_at_its_own_wavelengths(moved: float):
    lenslets = small_spectrograph.few_lenslets()
    model = small_spectrograph.round_psflets(lenslets)
    edges = np.linspace(0.95, 1.10, CHANNELS + 1)
    steps = edges[:-1, None] + (np.arange(4) + 0.5) / 4 * np.diff(edges)[:, None]
    first = small_spectrograph.detector_places(lenslets, (54.2, 46.7))
    y = first[1][:, None, None] + (steps - 0.95)[None] * 95.0
    x = np.broadcast_to(first[0][:, None, None], y.shape)
    there, here = (
        build_templates(model, (lenslets.x, lenslets.y), np.stack([x, y + dy]), steps) for dy in (moved, 0.0)
    )
    n = len(lenslets)
    true = 0.1 + np.exp(-0.5 * ((np.arange(CHANNELS) - 6.3) / 1.6) ** 2)
    truth = np.broadcast_to(5e4 * true / true.sum(), (1, n, CHANNELS)).astype(np.float32)
    plane = np.zeros((1, SIZE, SIZE), np.float32)
    subtract_model(there.counts, there.scale, there.x0, there.y0, -truth, plane)
    weight = (1.0 / (50.0 + np.maximum(plane[0], 0.0))).astype(np.float32)
    found = fit_spectra(plane, weight, here, settings=FitSettings(mu=0.1, sweeps=20)).flux[0].astype(np.float64)
    shapes = np.tile(found / found.sum(axis=1, keepdims=True), (3, 1))
    sums = summed(joint_equations(weight, here), np.tile(np.arange(n), 3), shapes, np.tile(found.sum(axis=1), 3))
    px_per_channel = 95.0 * (edges[1] - edges[0])
    inner = slice(2, -2)
    away = []
    for ends in (None, np.arange(CHANNELS + 1) - moved / px_per_channel):
        common = common_spectrum([sums], Known(ends))
        assert common is not None
        away.append(np.abs(common / common[inner].sum() - true / true[inner].sum())[inner].max())
    assert away[1] < 0.25 * away[0]


def test_what_is_known_of_light_before_sharpens_it_and_what_is_wrong_agrees_less(scene):
    templates = scene[3]
    n = len(templates.x0)
    edges = np.linspace(0.95, 1.10, CHANNELS + 1)
    lines = features_in(edges, [(1.0181, 1.0292)])
    assert lines.sum() == pytest.approx(1.0)
    band = np.where(np.arange(CHANNELS) > 2, 1.0, 0.05)
    true = band * (1.0 + 0.2 * np.sin(np.arange(CHANNELS) / 4.0)) - 0.5 * lines[:, 0]
    truth = np.broadcast_to(5e4 * true / true.sum(), (1, n, CHANNELS)).astype(np.float32)
    plane = np.zeros((1, SIZE, SIZE), np.float32)
    subtract_model(templates.counts, templates.scale, templates.x0, templates.y0, -truth, plane)
    weight = (1.0 / (50.0 + np.maximum(plane[0], 0.0))).astype(np.float32)
    found = fit_spectra(plane, weight, templates, settings=FitSettings(mu=0.1, sweeps=20)).flux[0].astype(np.float64)
    shapes = np.tile(found / found.sum(axis=1, keepdims=True), (3, 1))
    sums = [summed(joint_equations(weight, templates), np.tile(np.arange(n), 3), shapes, np.ones(3 * n) * 5e4)]
    away = []
    for known in (Known(), Known(shape=band), Known(shape=band, features=lines)):
        common = common_spectrum(sums, known)
        assert common is not None
        away.append(np.abs(common / common.sum() - true / true.sum()).max())
    assert away[2] < 0.4 * away[0]
    assert away[2] < 0.5 * away[1]
    wrong = Known(shape=band[::-1].copy())
    assert agreement(sums, Known(shape=band)) > agreement(sums) > agreement(sums, wrong)


def test_a_template_is_the_mean_of_its_steps_stamps(scene):
    lenslets, model, (x, y), templates = scene
    assert templates.values.sum(axis=(2, 3)) == pytest.approx(1.0, abs=1e-5)
    shape = np.empty((WINDOW, WINDOW), np.float32)
    coefficients = model.coefficients(lenslets.x, lenslets.y, 1.0)
    for lens, k in ((0, 3), (5, 9)):
        image = np.zeros((SIZE + 40, SIZE + 40))
        for step in range(4):
            px, py = x[lens, k].mean(), y[lens, k, step]
            stamp(coefficients[lens], px, py, shape)
            x0, y0 = int(np.floor(px + 0.5)) - 8 + 20, int(np.floor(py + 0.5)) - 8 + 20
            image[y0 : y0 + WINDOW, x0 : x0 + WINDOW] += shape / 4
        row, column = templates.y0[lens, k] + 20, templates.x0[lens] + 20
        cut = image[row : row + 17, column : column + 15]
        assert np.abs(cut / cut.sum() - templates.values[lens, k]).max() < 2e-4


@pytest.fixture(scope="module")
def solved(scene):
    """Three planes of noisy data, solved by sweeps and by dense algebra with the same prior."""
    lenslets, _, _, templates = scene
    rng = np.random.default_rng(21)
    n, m = len(lenslets), CHANNELS
    matrix = dense(templates)
    truth = rng.uniform(500, 1500, (n, m, 3)).cumsum(axis=1) / 4
    weight = (rng.uniform(0.5, 2.0, (SIZE, SIZE)) * (rng.random((SIZE, SIZE)) > 0.03) / 100).astype(np.float32)
    image = (matrix @ truth.reshape(n * m, 3)).reshape(SIZE, SIZE, 3)
    # In order, as recipes give it: another layout would be compiled for alone.
    data = np.ascontiguousarray(np.moveaxis(image + rng.normal(0, 10, image.shape), 2, 0), np.float32)

    prior = np.linspace(1.0, 2.0, m)
    found = fit_spectra(data, weight, templates, prior, FitSettings(sweeps=12))
    normal = np.empty((n, m, BAND))
    normal_blocks(
        templates.counts, templates.scale, templates.x0, templates.y0, weight, np.arange(n, dtype=np.int32), normal
    )
    return matrix, weight, data, normal, prior, found


def seen(templates, weight):
    out = np.empty(templates.scale.shape, np.float32)
    members = np.arange(len(out), dtype=np.int32)
    seen_shares(templates.counts, templates.scale, templates.x0, templates.y0, weight, members, out)
    return out


def prior_matrix(m, strength, prior):
    bend = np.zeros((m - 2, m))
    for k in range(m - 2):
        bend[k, k : k + 3] = np.array([1.0, -2.0, 1.0]) / prior[k : k + 3]
    return strength * bend.T @ bend


def test_sweeps_reach_the_joint_weighted_least_squares_solution(solved, scene):
    matrix, weight, data, normal, prior, found = solved
    n, m = normal.shape[:2]
    strength = 0.1 * (normal[:, :, 0] * prior**2).mean(axis=1)
    sigma = np.sqrt(found.covariance[:, 0])
    shares = seen(scene[3], weight)
    left = matrix.T @ (weight.reshape(-1, 1) * matrix)
    for lens in range(n):
        some = slice(lens * m, (lens + 1) * m)
        left[some, some] += prior_matrix(m, strength[lens], prior)
        held = shares[lens] < UNSEEN
        left[some, some][held, held] += HOLD * np.median(normal[:, :, 0].mean(axis=1))
    right = matrix.T @ (weight.reshape(-1, 1) * data.reshape(3, -1).T)
    joint = np.moveaxis(np.linalg.solve(left, right).reshape(n, m, 3), 2, 0)
    inside = (normal[:, :, 0] > 0.3 * np.median(normal[:, :, 0])).all(axis=1)
    assert inside.sum() > 5
    assert np.abs((found.flux[:, inside] - joint[:, inside]) / sigma[inside]).max() < 0.05
    assert found.last_step < 0.01
    model = (matrix @ found.flux.reshape(3, n * m).T).T.reshape(3, SIZE, SIZE)
    assert np.abs(data - model - found.residual).max() < 0.01


def test_blocks_are_those_of_the_dense_matrix(solved):
    matrix, weight, _, normal, *_ = solved
    n, m = normal.shape[:2]
    full = matrix.T @ (weight.reshape(-1, 1) * matrix)
    for lens in (0, n // 2):
        own = full[lens * m : (lens + 1) * m, lens * m : (lens + 1) * m]
        for d in range(BAND):
            assert normal[lens, : m - d, d] == pytest.approx(np.diag(own, -d), rel=1e-4, abs=1e-9)


def test_the_claimed_variance_is_the_sandwich(solved):
    _, _, _, normal, prior, found = solved
    m = normal.shape[1]
    strength, covariance = 0.1 * (normal[:, :, 0] * prior**2).mean(axis=1), found.covariance
    lens = int(np.argmax(normal[:, :, 0].min(axis=1)))
    own = sum(np.diag(normal[lens, : m - d, d], -d) for d in range(BAND))
    own = own + np.tril(own, -1).T
    inverse = np.linalg.inv(own + prior_matrix(m, strength[lens], prior))
    expected = inverse @ own @ inverse
    for lag in range(LAGS):
        assert covariance[lens, lag, : m - lag] == pytest.approx(np.diag(expected, -lag), rel=1e-3)


def test_a_lenslet_that_only_its_wings_show_has_finite_factors():
    """Cut to the band, the matrix of channels that all see the same wing is no longer positive definite."""
    channels = 39
    normal = np.zeros((2, channels, BAND))
    normal[0, :, 0] = 1.0
    for d in range(BAND):
        normal[1, : channels - d, d] = 1e-4
    seen = np.ones((2, channels), np.float32)
    seen[1] = 1e-4
    factor, covariance = np.empty((2, channels, BAND), np.float32), np.empty((2, LAGS, channels), np.float32)
    strength, hold = np.empty(2), np.empty((2, channels), np.float32)
    factorise(normal, seen, 0.1, 1.0, np.ones(channels), np.zeros(2), factor, strength, hold, covariance)
    assert strength == pytest.approx([0.1, 1e-5])
    assert (hold[0] == 0).all()
    assert np.isfinite(factor).all()
    assert np.abs(factor[1, :, 1:]).max() < 1.0
    assert np.isfinite(covariance[:, 0]).all()


def test_a_star_whose_photons_are_its_noise_keeps_its_light(scene):
    """Little information is no reason to hold a channel: in a bright core it is as small as beyond the detector."""
    lenslets, _, _, templates = scene
    matrix = dense(templates)
    near = np.exp(-(lenslets.x**2 + lenslets.y**2) / 0.2)
    truth = 4e5 * near[:, None] * np.ones(CHANNELS)
    image = (matrix @ truth.ravel()).reshape(SIZE, SIZE).astype(np.float32)
    found = fit_spectra(image[None], 1.0 / (100.0 + image), templates)
    information = found.information.mean(axis=1)
    core = int(np.argmax(near))
    assert information[core] < UNSEEN * np.median(information)
    assert found.flux[0, core, 3:-3] == pytest.approx(truth[core, 3:-3], rel=1e-3)


def test_what_is_seen_of_a_template_does_not_depend_on_weights(scene):
    templates = scene[3]
    weight = np.random.default_rng(2).uniform(1e-6, 1.0, (SIZE, SIZE)).astype(np.float32)
    shares = seen(templates, weight)
    assert shares == pytest.approx(seen(templates, np.ones_like(weight)), abs=1e-6)
    inside = int(np.argmax(shares.min(axis=1)))
    assert shares[inside] == pytest.approx(1.0, abs=1e-5)
    y, x = templates.y0[inside, 9] + 8, templates.x0[inside] + 7
    weight[y - 8 : y + 9, x - 7 : x + 9] = 0.0
    assert seen(templates, weight)[inside, 9] == 0.0


def test_a_bright_lenslet_is_as_whole_as_others_and_a_cut_one_is_not(scene):
    templates = scene[3]
    weight = np.ones((SIZE, SIZE), np.float32)
    inside = int(np.argmax(seen(templates, weight).min(axis=1)))
    y, x = templates.y0[inside], templates.x0[inside]
    # A star's core: photons leave a hundredth of the weight.
    weight[y.min() : y.max() + WINDOW, x : x + WINDOW] = 0.01
    equations = joint_equations(weight, templates)
    assert (equations.information[inside] < 0.1 * np.median(equations.information, axis=0)).any()
    assert inside in whole_lenslets(equations)
    weight[y[9] : y[9] + WINDOW, x : x + WINDOW] = 0.0
    assert inside not in whole_lenslets(joint_equations(weight, templates))


def test_more_planes_than_lanes_are_refused(scene):
    templates = scene[3]
    with pytest.raises(ValueError, match="9 planes"):
        fit_spectra(np.zeros((9, 4, 4), np.float32), np.ones((4, 4), np.float32), templates)


def test_the_resolution_that_is_kept_shows_an_even_spectrum_as_it_is(scene):
    templates = scene[3]
    equations = joint_equations(np.ones((SIZE, SIZE), np.float32), templates)
    inner = np.flatnonzero((equations.information > 0.5 * equations.typical).all(axis=1))
    found = region_resolution(equations, [inner])[0]
    assert found.shape == (CHANNELS, 2 * REACH + 1)
    middle = slice(REACH - 2, CHANNELS - REACH + 2)
    assert np.nansum(found[middle], axis=1) == pytest.approx(1.0, abs=0.005)
    near = region_resolution(equations, [inner], half=4)[0]
    np.testing.assert_array_equal(near, found[:, REACH - 4 : REACH + 5])
