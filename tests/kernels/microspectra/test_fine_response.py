"""What the joint fit's spectra show of light finer than channels, and of an expectation that is off."""

from __future__ import annotations

import numpy as np
import pytest
import small_spectrograph

from archive_proc.kernels.common_light import BENT, HELD, MOST_BEYOND, Summed, beyond_expected, no_equations
from archive_proc.kernels.extraction import BAND, subtract_model
from archive_proc.kernels.fine_response import fine_response, finer_edges
from archive_proc.kernels.joint_fit import REACH, FitSettings, fit_spectra, joint_equations, region_resolution
from archive_proc.kernels.microspectra import Templates, build_templates

CHANNELS, PARTS, SIZE = 14, 4, 110


@pytest.fixture(scope="module")
def scene():
    """Lenslets, and templates of channels and of their parts, evenly lit."""
    lenslets = small_spectrograph.few_lenslets()
    model = small_spectrograph.round_psflets(lenslets, skew=0.1)
    first = small_spectrograph.detector_places(lenslets, (54.2, 46.7))

    def made(edges):
        steps = edges[:-1, None] + (np.arange(4) + 0.5) / 4 * np.diff(edges)[:, None]
        y = first[1][:, None, None] + (steps - 0.95)[None] * 95.0
        x = np.broadcast_to(first[0][:, None, None], y.shape)
        return build_templates(model, (lenslets.x, lenslets.y), np.stack([x, y]), steps, np.ones(steps.shape))

    edges = np.linspace(0.95, 1.10, CHANNELS + 1)
    return made(edges), made(finer_edges(edges, PARTS))


def test_parts_of_channels_are_equal_and_end_with_them():
    edges = np.array([1.0, 1.2, 1.6])
    assert finer_edges(edges, 2) == pytest.approx([1.0, 1.1, 1.2, 1.4, 1.6])


def test_light_on_one_side_of_a_channel_is_seen_where_the_response_says(scene):
    templates, parts = scene
    # One lenslet is lit, as if the band's flank stood in its seventh channel: nothing after the first part of it.
    lens = int(np.argmin(np.hypot(templates.x0 - 47.0, templates.y0[:, 0] - 38.0)))
    light = np.zeros((len(templates.x0), CHANNELS * PARTS))
    light[lens, : 6 * PARTS + 1] = 1e4
    plane = np.zeros((1, SIZE, SIZE), np.float32)
    subtract_model(parts.counts, parts.scale, parts.x0, parts.y0, -light[None].astype(np.float32), plane)
    weight = np.random.default_rng(4).uniform(0.5, 2.0, (SIZE, SIZE)).astype(np.float32)
    found = fit_spectra(plane, weight, templates, settings=FitSettings(mu=0.1, sweeps=40)).flux[0, lens]
    equations = joint_equations(weight, templates, mu=0.1)
    told = fine_response(equations, np.array([lens]), parts.part(slice(lens, lens + 1))) @ light[lens]
    assert np.abs(found - told).max() < 0.004 * told.max()
    # Channels spread evenly say something else, by more than six times that.
    evenly = region_resolution(equations, [np.array([lens])])[0]
    padded = np.pad(light[lens].reshape(CHANNELS, PARTS).sum(axis=1), REACH)
    blurred = np.array([np.nansum(evenly[k] * padded[k : k + 2 * REACH + 1]) for k in range(CHANNELS)])
    assert np.abs(found - blurred).max() > 0.024 * told.max()


def test_evenly_lit_channels_are_shown_as_the_resolution_matrix_says(scene):
    templates, parts = scene
    equations = joint_equations(np.ones((SIZE, SIZE), np.float32), templates)
    inner = np.flatnonzero((equations.information > 0.5 * equations.typical).all(axis=1))
    own = Templates(parts.counts[inner], parts.scale[inner], parts.x0[inner], parts.y0[inner])
    response = fine_response(equations, inner, own)
    even = response.reshape(CHANNELS, CHANNELS, PARTS).mean(axis=2)
    kept = region_resolution(equations, [inner])[0]
    for k in range(CHANNELS):
        for offset in range(-REACH, REACH + 1):
            if 0 <= k + offset < CHANNELS:
                assert even[k, k + offset] == pytest.approx(kept[k, REACH + offset], abs=2e-3)


def shared(true: np.ndarray, noise: float) -> Summed:
    """Equations of channels that overlap as the instrument's do."""
    row = np.exp(-0.5 * (np.arange(BAND) / 1.2) ** 2)
    row[6:] = 0.0
    normal = np.tile(row, (true.size, 1)) + 0.02 * (np.arange(BAND) == 0)
    dense = sum(
        np.diag(np.full(true.size - d, normal[0, d]), d) + (d > 0) * np.diag(np.full(true.size - d, normal[0, d]), -d)
        for d in range(6)
    )
    return Summed(normal, dense @ true, noise**2 * normal)


def held(sums: Summed, shape: np.ndarray) -> np.ndarray:
    """A spectrum fitted with its ratio to a shape held smooth, as the joint fit holds each lenslet's."""
    m = shape.size
    dense = np.zeros((m, m))
    for d in range(BAND):
        at = np.arange(m - d)
        dense[at + d, at] = dense[at, at + d] = sums.normal[: m - d, d]
    bend = np.diff(np.eye(m), n=2, axis=0) / shape
    return np.linalg.solve(dense + HELD * np.mean(np.diag(dense) * shape**2) * bend.T @ bend, sums.pull)


@pytest.fixture
def band():
    """What is expected of a band, its doubt, and by how much the light is off it: a channel deeper, the next less."""
    channel = np.arange(30)
    depth = 1.2 * np.exp(-0.5 * ((channel - 17.0) / 1.6) ** 2)
    off = np.exp(0.1 * depth * np.where(channel % 2, -1.0, 1.0))
    return np.exp(-depth), 0.1 * depth, off


def test_spectra_are_bent_less_by_a_band_that_light_has_corrected(band):
    expected, doubt, off = band
    true = np.linspace(0.9, 1.1, off.size) * expected * off
    sums = shared(true, 1e-5)
    found = beyond_expected(sums, expected, doubt)
    deep = doubt > 3.0 * BENT
    before, after = (np.abs(held(sums, shape) / true - 1.0)[deep] for shape in (expected, expected * found))
    assert after.max() < 0.5 * before.max()
    assert np.abs(found - 1.0)[doubt < 0.1 * BENT].max() < 0.02
    right = beyond_expected(shared(true / off, 1e-5), expected, doubt)
    assert right == pytest.approx(1.0, abs=0.01)


def test_noise_does_not_pass_for_what_the_light_knows_better(band):
    expected, doubt, off = band
    found = beyond_expected(shared(expected * off, 3.0), expected, doubt)
    assert found == pytest.approx(1.0, abs=0.02)
    assert (beyond_expected(no_equations(off.size), expected, doubt) == 1.0).all()
    wild = beyond_expected(shared(expected * np.where(doubt > 0.05, 30.0, 1.0), 1e-5), expected, 10.0 * doubt)
    assert wild.max() <= MOST_BEYOND
