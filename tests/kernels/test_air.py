"""Strength and place of the air's water are read off a blurred spectrum, and nothing is read off one without it."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.air import Air, Window, fit_air
from archive_proc.kernels.fine_response import finer_edges

HALF = 4
PARTS = 4


def air() -> Air:
    table = load_tables().air
    return Air(table.first_edge_um, table.step_um, np.array(table.depth.water), np.array(table.depth.dry))


def edges_of(mode: str) -> np.ndarray:
    return np.array(load_tables().ifs.channels(mode).edges_um)


def window_of(mode: str) -> Window:
    band = load_tables().air.band_of(mode)
    return Window(band.from_um, band.to_um, band.degree, band.lines_um)


ROW = np.array([0.0, -0.06, 0.03, 0.29, 0.48, 0.29, 0.03, -0.06, 0.0])


def blur(m: int) -> np.ndarray:
    """(m, m PARTS) about a channel and a half wide, with the undershoot of a smoothness prior.

    Light of a part of a channel is shared with the neighbour that it stands beside.
    """
    middle = (np.arange(m * PARTS) + 0.5) / PARTS - 0.5
    profile = np.interp(np.arange(m)[:, None] - middle, np.arange(-HALF, HALF + 1), ROW, left=0.0, right=0.0)
    return profile / ROW.sum()


def seen(parts: np.ndarray) -> np.ndarray:
    return blur(parts.size // PARTS) @ parts


def star(edges_um: np.ndarray) -> np.ndarray:
    return 1e6 * np.diff(edges_um) * (0.5 * (edges_um[1:] + edges_um[:-1]) / 1.1) ** -2.0


def parts_of(edges_um: np.ndarray) -> np.ndarray:
    return finer_edges(edges_um, PARTS)


@pytest.mark.parametrize("mode", ["YJ", "YJH"])
def test_strength_and_place_of_the_water_are_found(mode: str) -> None:
    edges = edges_of(mode)
    fine = parts_of(edges)
    light = seen(star(fine) * air().transmission(fine, 1.7, 1.2, moved_um=0.0006))
    found = fit_air(light, blur(edges.size - 1), edges, air(), 1.2, window_of(mode))
    assert found is not None
    assert found.strength == pytest.approx(1.7, abs=0.03)
    assert found.moved_um == pytest.approx(0.0006, abs=1.5e-4)
    assert found.residual < 0.1 * found.without


@pytest.mark.parametrize("mode", ["YJ", "YJH"])
def test_the_place_does_not_depend_on_where_in_its_channels_a_band_lies(mode: str) -> None:
    """Light as fine as the table; blurred from channel to channel it would be a tenth of a pixel off, 2 nm in YH."""
    edges = edges_of(mode)
    width = edges[1] - edges[0]
    for phase in (0.0, 0.25, 0.5, 0.75):
        moved = edges + phase * width
        table = 1e-3 * np.arange(890, 1760)
        fine = star(table) * air().transmission(table, 1.7, 1.2, moved_um=0.0006)
        parts = parts_of(moved)
        cumulated = np.interp(parts, table, np.concatenate([[0.0], np.cumsum(fine)]))
        found = fit_air(seen(np.diff(cumulated)), blur(edges.size - 1), moved, air(), 1.2, window_of(mode))
        assert found is not None
        assert found.moved_um == pytest.approx(0.0006, abs=2e-4)


@pytest.mark.parametrize("mode", ["YJ", "YJH"])
def test_hydrogen_of_an_a_star_is_not_taken_for_water(mode: str) -> None:
    """Paschen gamma, 1 nm wide, and delta and beta beyond the band; with fringes of the filter."""
    edges = edges_of(mode)
    parts = parts_of(edges)
    fine = np.arange(edges[0], edges[-1], 1e-4) + 5e-5
    which = np.searchsorted(parts, fine) - 1
    rng = np.random.default_rng(5)
    for _ in range(20):
        hydrogen, wave = np.ones(fine.size), 1.0 + 0.01 * np.cos(2 * np.pi * 1.21 / (0.02 * fine) + rng.uniform(0, 6.3))
        for line in (1.0052, 1.0941, 1.2822):
            hydrogen -= 1e-3 / (0.0017 * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((fine - line) / 0.0017) ** 2)
        own = np.bincount(which, hydrogen * wave) / np.bincount(which)
        light = seen(star(parts) * own * air().transmission(parts, 1.7, 1.2))
        found = fit_air(light, blur(edges.size - 1), edges, air(), 1.2, window_of(mode))
        assert found is not None
        assert found.strength == pytest.approx(1.7, abs=0.08)
        assert found.moved_um == pytest.approx(0.0, abs=6e-4)
        assert found.residual < load_tables().air.band_of(mode).worst_residual


def test_a_spectrum_that_no_air_bent_shows_none() -> None:
    edges = edges_of("YJ")
    found = fit_air(seen(star(parts_of(edges))), blur(edges.size - 1), edges, air(), 1.2, window_of("YJ"))
    assert found is None or found.without < 5.0 * found.residual


def test_bands_of_another_gas_leave_a_residual() -> None:
    edges = edges_of("YJ")
    parts = parts_of(edges)
    middle = 0.5 * (parts[1:] + parts[:-1])
    other = star(parts) * (1.0 - 0.3 * np.exp(-0.5 * ((middle - 1.15) / 0.012) ** 2))
    found = fit_air(seen(other), blur(edges.size - 1), edges, air(), 1.2, window_of("YJ"))
    assert found is None or found.residual > load_tables().air.band_of("YJ").worst_residual


def test_transmission_is_a_mean_over_channels_and_holds_beyond_the_table() -> None:
    one = Air(1.0, 0.001, np.array([0.0, np.log(2.0), 0.0]), np.zeros(3))
    found = one.transmission(np.array([0.99, 1.0, 1.002, 1.003, 1.01]), 1.0, 1.0)
    np.testing.assert_allclose(found, [1.0, 0.75, 1.0, 1.0], rtol=1e-9)
    np.testing.assert_allclose(one.transmission(np.array([1.0, 1.001]), 1.0, 1.0, moved_um=0.001), [0.5])


def test_noise_without_a_star_is_no_failure() -> None:
    edges = edges_of("YJ")
    noise = np.random.default_rng(3).normal(0.0, 1.0, edges.size - 1)
    found = fit_air(noise, blur(edges.size - 1), edges, air(), 1.2, window_of("YJ"))
    assert found is None or found.residual > load_tables().air.band_of("YJ").worst_residual
    assert fit_air(np.zeros(edges.size - 1), blur(edges.size - 1), edges, air(), 1.2, window_of("YJ")) is None
