"""Calibration of planes on small arrays whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_proc.errors import DataFailure
from archive_proc.kernels.calibrate import (
    Detector,
    DetectorLevel,
    calibrate_plane,
    common_variance,
    detector_level,
    join_halves,
    output_offsets,
    split_halves,
    unlit_pixels,
)
from archive_proc.model.flags import Flag

NY, NX = 64, 128
OUT, DEAD, HOT, FILLED, COSMIC = (int(one) for one in (Flag.OUTSIDE, Flag.DEAD, Flag.HOT, Flag.FILLED, Flag.COSMIC))


def level_at(dit_s: float, value: float, variance: float = 1.0) -> DetectorLevel:
    shape = (3, 5)
    return DetectorLevel(
        dit_s,
        np.full(shape, value, np.float32),
        np.full(shape, variance, np.float32),
        np.full(shape, 2.5, np.float32),
        np.zeros(shape, np.uint16),
    )


def detector(**changes: object) -> Detector:
    shape = (2, NY, NX)
    flags = np.zeros(shape, np.uint16)
    flags[:, :8] = flags[:, -8:] = OUT
    response = np.where(flags == OUT, np.nan, 0.8).astype(np.float32)
    made = Detector(
        dit_s=16.0,
        gain=1.75,
        pedestal=np.full(shape, 10.0, np.float32),
        read_noise=np.full(shape, 2.5, np.float32),
        response=response,
        response_variance=np.full(shape, 1e-4, np.float32),
        flags=flags,
        unlit=unlit_pixels(flags),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 7))
def test_halves_split_and_join(n: int, ny: int, nx: int) -> None:
    raw = np.arange(n * ny * 2 * nx).reshape(n, ny, 2 * nx)
    halves = split_halves(raw)
    assert halves.shape == (n, 2, ny, nx)
    assert np.array_equal(halves[:, 0], raw[:, :, :nx])
    assert np.array_equal(join_halves(halves), raw)


def test_level_of_the_same_dit_is_taken_as_it_is() -> None:
    found = detector_level(16.0, [level_at(2.0, 5.0), level_at(16.01, 9.0)])
    assert found.method == "match"
    assert float(found.level[0, 0]) == 9.0


def test_level_of_a_missing_dit_is_pedestal_and_rate_with_its_variance() -> None:
    darks = [level_at(2.0, 10.0 + 2.0 * 0.7), level_at(10.0, 10.0 + 10.0 * 0.7, 4.0)]
    found = detector_level(4.0, darks)
    assert found.method == "rate_from_other_dits"
    assert float(found.level[0, 0]) == pytest.approx(12.8, abs=1e-5)
    # Linear interpolation a quarter of the way: (3/4)^2 x 1 + (1/4)^2 x 4.
    assert float(found.variance[0, 0]) == pytest.approx(0.5625 + 0.25, rel=1e-5)
    with pytest.raises(DataFailure, match="AP-IRD-001"):
        detector_level(4.0, [level_at(2.0, 1.0), level_at(2.0, 1.0)])


def test_output_offsets_are_seen_by_unlit_pixels_finer_than_an_adu() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(0.0, 2.0, (2, 2, 2)).astype(np.float32)
    plane = rng.normal(0.0, 2.5, (2, NY, NX)) + np.repeat(np.repeat(truth, NY // 2, axis=1), 64, axis=2)
    plane[:, 8:-8] += 500.0
    plane[0, 0, 3] = 40_000.0
    found = output_offsets(np.round(plane).astype(np.float32), detector().unlit)
    assert np.abs(found - truth).max() < 4.0 * 2.5 / np.sqrt(512)


def test_outputs_with_few_unlit_pixels_are_left_alone() -> None:
    flags = np.zeros((2, NY, NX), np.uint16)
    flags[:, :3, :] = OUT
    assert unlit_pixels(flags).sections == ()
    flags[:, :8] = OUT | int(Flag.EDGE)
    assert unlit_pixels(flags).sections == ()


def test_light_is_recovered_in_adu_per_second_with_honest_variance() -> None:
    rng = np.random.default_rng(7)
    one = detector()
    lit = np.isfinite(one.response)
    light = np.where(lit, 0.8 * (20.0 + 3.0) * 16.0, 0.0)
    electrons = rng.poisson(light * 1.75, (20, 2, NY, NX))
    raw = (electrons / 1.75 + 10.0 + rng.normal(0.0, 2.5, electrons.shape)).astype(np.float32)
    level = np.where(lit, 10.0 + 0.8 * 20.0 * 16.0, 10.0).astype(np.float32)
    planes = [calibrate_plane(join_halves(plane), level, one) for plane in raw]
    flux = np.stack([plane.flux for plane in planes])
    assert np.isnan(flux[:, ~lit]).all()
    assert flux[:, lit].mean() == pytest.approx(3.0, abs=0.03)
    pull = (flux - 3.0)[:, lit] / np.sqrt(np.stack([plane.variance for plane in planes])[:, lit])
    assert np.std(pull) == pytest.approx(1.0, abs=0.03)
    assert all(int(plane.flags[0, 0, 0]) == OUT for plane in planes)


def test_a_useless_pixel_gets_its_neighbours_mean_and_no_weight() -> None:
    one = detector()
    one.flags[0, 30, 50] |= DEAD
    one.flags[0, 40, 60] |= int(Flag.SUSPECT)
    ramp = np.broadcast_to(np.arange(NX, dtype=np.float32), (2, NY, NX))
    raw = 10.0 + 0.8 * 16.0 * ramp
    raw = np.where(np.isfinite(one.response), raw, 10.0).astype(np.float32)
    raw[0, 30, 50] = -300.0
    cosmic = np.zeros((2, NY, NX), bool)
    cosmic[1, 20, 70] = True
    raw[1, 20, 70] += 5000.0
    done = calibrate_plane(join_halves(raw), one.pedestal, one, cosmic)
    assert done.flux[0, 30, 50] == pytest.approx(50.0, abs=1e-2)
    assert done.flux[1, 20, 70] == pytest.approx(70.0, abs=1e-2)
    assert np.isnan(done.variance[0, 30, 50])
    assert np.isnan(done.variance[1, 20, 70])
    assert int(done.flags[0, 30, 50]) == DEAD | FILLED
    assert int(done.flags[1, 20, 70]) == COSMIC | FILLED
    assert np.isfinite(done.variance[0, 40, 60])
    assert not done.flags[0, 40, 60] & FILLED


def test_soft_and_hard_limits_flag_and_only_the_hard_one_fills() -> None:
    one = detector()
    raw = np.full((2, NY, NX), 10.0, np.float32)
    raw[0, 30, 30], raw[0, 40, 40] = 25_000.0, 41_000.0
    done = calibrate_plane(join_halves(raw), one.pedestal, one)
    assert int(done.flags[0, 30, 30]) == int(Flag.NONLINEAR)
    assert done.flux[0, 30, 30] > 1000.0
    assert int(done.flags[0, 40, 40]) == int(Flag.NONLINEAR | Flag.SATURATED | Flag.FILLED)


def test_a_pixel_turned_hot_is_new_bad_and_a_star_is_not() -> None:
    one = replace(detector(), lambda_d=(3.4, 3.6))
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:NY, :NX]
    star = 3000.0 * np.exp(-((x - 40.4) ** 2 + (y - 30.7) ** 2) / (2 * 1.45**2))
    light = np.where(np.isfinite(one.response), star, 0.0)
    raw = (10.0 + light + rng.normal(0.0, 2.5, light.shape)).astype(np.float32)
    raw[0, 20, 90] += 60.0
    raw[1, 45, 20] += 2000.0
    done = calibrate_plane(join_halves(raw), one.pedestal, one)
    found = np.argwhere((done.flags & int(Flag.NEW_BAD)) != 0)
    assert found.tolist() == [[0, 20, 90], [1, 45, 20]]
    assert (done.flags[0, 20, 90] & FILLED) != 0
    assert np.isnan(done.variance[1, 45, 20])
    assert abs(done.flux[1, 45, 20]) < 1.0
    unasked = calibrate_plane(join_halves(raw), one.pedestal, detector())
    assert not ((unasked.flags & int(Flag.NEW_BAD)) != 0).any()


def test_nonlinearity_is_undone_above_a_background() -> None:
    one = replace(detector(), nonlinearity=(5e-7, 5e-7))
    true = np.where(np.isfinite(one.response), 4000.0, 0.0)
    background = np.where(np.isfinite(one.response), 500.0, 0.0)

    def measured(light: np.ndarray) -> np.ndarray:
        return light * (1.0 - 5e-7 * light)

    raw = (10.0 + measured(true + background)).astype(np.float32)
    level = (10.0 + measured(background)).astype(np.float32)
    done = calibrate_plane(join_halves(raw), level, one)
    assert np.nanmedian(done.flux) * 0.8 * 16.0 == pytest.approx(4000.0, rel=1e-4)


def test_common_variance_holds_the_levels_and_the_flats_share() -> None:
    one = detector()
    found = common_variance(np.full((2, NY, NX), 8.0, np.float32), np.full((2, NY, NX), 4.0, np.float32), one)
    expected = 4.0 / (0.8 * 16.0) ** 2 + 1e-4 * (8.0 / 0.8) ** 2
    assert found[0, 30, 30] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(found[0, 0, 0])


def test_noise_is_read_off_the_unlit_pixels_where_no_dark_tells() -> None:
    rng = np.random.default_rng(8)
    one = replace(detector(), unlit_level_variance=(1.5, 1.5), read_noise=np.full((2, NY, NX), 9.0, np.float32))
    raw = (10.0 + rng.normal(0.0, np.hypot(2.5, 1.5**0.5), (2, NY, NX))).astype(np.float32)
    done = calibrate_plane(join_halves(raw), one.pedestal, one)
    assert np.nanmedian(done.variance) * (0.8 * 16.0) ** 2 == pytest.approx(2.5**2, rel=0.15)
