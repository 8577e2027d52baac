"""Figures of masters and planes, where their truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.figures import by_output, jumps, noise_ratio, plane_slope


def test_each_output_has_its_own_median() -> None:
    values = np.repeat(np.arange(4, dtype=np.float32), 64)[None, :] + np.zeros((37, 1), np.float32)
    values[8] = 1e6
    values[:, 64:128] = np.nan
    np.testing.assert_array_equal(by_output(values), [0.0, np.nan, 2.0, 3.0])


def test_slope_of_a_response_is_that_of_its_large_scales() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:512, :512]
    response = (1.0 + 0.1 * x / 480 - 0.05 * y / 480 + rng.normal(0, 0.05, x.shape)).astype(np.float32)
    response[:, 400:] = np.nan
    # Block centres of what is lit are 32 * 11 pixels apart along x, 32 * 15 along y.
    assert plane_slope(response) == pytest.approx(0.1 * 352 / 480 + 0.05, abs=0.01)
    assert np.isnan(plane_slope(np.full((512, 512), np.nan, np.float32)))


@pytest.mark.parametrize("truth", [1.0, 1.3, 0.7])
def test_noise_is_compared_with_what_the_variance_claims(truth: float) -> None:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:1024, :1024]
    sigma = 1.0 + 0.5 * np.sin(x / 90.0) ** 2
    halo = 3e4 / (1.0 + np.hypot(x - 480, y - 520)) ** 1.5
    flux = (halo + truth * rng.normal(0, sigma)).astype(np.float32)
    shared = np.full(sigma.shape, 0.25, np.float32)
    variance = (sigma**2).astype(np.float32) - shared
    flux[:, 900:] = np.nan
    flux[::7, ::5] += 300.0
    variance[::7, ::5] = np.nan
    assert noise_ratio(flux, variance, shared, (480.0, 520.0)) == pytest.approx(truth, rel=0.02)
    assert np.isnan(noise_ratio(flux[:64, :64], variance[:64, :64], shared[:64, :64], (32.0, 32.0)))


def test_a_jump_is_against_the_neighbours_in_time_and_they_do_not_jump_with_it() -> None:
    xy = np.stack([0.01 * np.arange(9.0), np.zeros(9)], axis=1)
    xy[4] += 3.0, 4.0
    xy[6] = np.nan
    trusted = np.ones(9, bool)
    found = jumps(xy, trusted)
    assert found[4] == pytest.approx(5.0, abs=0.05)
    assert np.nanmax(np.delete(found, 4)) < 0.1
    assert np.isnan(found[6])
    # What nobody trusts is judged, and judges nobody.
    trusted[4] = False
    assert jumps(xy, trusted)[4] == pytest.approx(5.0, abs=0.05)
    assert np.isnan(jumps(xy[:2], np.ones(2, bool))).all()
