"""What a lamp adds between DITs, without its shape, is the response of the pixels."""

from __future__ import annotations

import numpy as np
import pytest

from archive_proc.kernels.pixel_response import lamp_shape, light_between, line_residual

SHAPE = (256, 320)


def lamp() -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / 256.0
    return (1000.0 * (1.0 - 0.2 * (x - 0.6) ** 2 + 0.15 * y - 0.1 * x * y)).astype(np.float32)


def test_what_is_the_same_at_both_dits_drops_out() -> None:
    rng = np.random.default_rng(1)
    pedestal = rng.uniform(0.0, 50.0, SHAPE).astype(np.float32)
    ones = np.ones(SHAPE, np.float32)
    slope, variance = light_between([pedestal + 2 * lamp(), pedestal + 10 * lamp()], [ones, 3 * ones], [2.0, 10.0])
    assert slope == pytest.approx(lamp(), rel=1e-5)
    assert variance == pytest.approx(4.0 / 64.0)


def test_one_dit_gives_no_slope() -> None:
    with pytest.raises(ValueError, match="two DITs"):
        light_between([lamp(), lamp()], [lamp(), lamp()], [2.0, 2.0])


def test_pixels_off_the_straight_line_stand_out_where_three_dits_show_them() -> None:
    rng = np.random.default_rng(2)
    dits = np.array([1.0, 2.0, 4.0])
    levels = [np.float32(dit) * lamp() + rng.normal(0.0, 5.0, SHAPE).astype(np.float32) for dit in dits]
    levels[1][30, 40] += 300.0
    variances = [np.full(SHAPE, 25.0, np.float32)] * 3
    slope, _ = light_between(levels, variances, dits)
    chi = line_residual(levels, variances, dits, slope)
    assert chi[30, 40] > 20.0
    assert np.sqrt(np.mean(np.delete(chi.ravel(), 30 * SHAPE[1] + 40) ** 2)) == pytest.approx(1.0, abs=0.02)
    assert np.isnan(line_residual(levels[:2], variances[:2], dits[:2], slope)).all()


def test_the_lamps_shape_is_found_to_a_tenth_of_a_per_cent_whatever_pixels_do() -> None:
    rng = np.random.default_rng(3)
    response = 1.0 + 0.012 * rng.standard_normal(SHAPE)
    response.ravel()[rng.choice(response.size, response.size // 100, replace=False)] = 0.1
    response[40:60, 100:120] = 0.0
    found = lamp_shape((lamp() * response).astype(np.float32))
    error = found.shape / lamp() - 1.0
    assert np.std(error[32:-32, 32:-32]) < 1e-3
    assert np.abs(error).max() < 1e-2
    assert 0.7 < found.faintest < 1.0


def test_a_dead_quadrant_takes_its_neighbours_shape_and_bends_no_one_elses() -> None:
    image = lamp()
    image[:128, :160] = 0.0
    found = lamp_shape(image)
    assert np.isfinite(found.shape).all()
    assert (found.shape > 300.0).all()
    away = (slice(192, None), slice(None))
    assert found.shape[away] == pytest.approx(lamp()[away], rel=5e-3)
