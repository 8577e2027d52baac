"""One interpolation: position, flux, variance, weights and flags."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from archive_proc.kernels.resampling import Axis, Placement, correlation, lanczos_axis, resample_half, shared_noise
from archive_proc.model.flags import Flag

N = 128
GRID = Placement(size=N, step_x=1.0, step_y=1.0 / 1.0062)
STAR = (57.37, 66.81)
OUT, FILLED, LOW = int(Flag.OUTSIDE), int(Flag.FILLED), int(Flag.LOW_WEIGHT)


def scene(shift: tuple[float, float] = (20.0, -15.0)) -> np.ndarray:
    """A star of FWHM 3.6 px, round on the sky, at this sky offset (px of x) from STAR."""
    y, x = np.mgrid[:N, :N]
    dx, dy = x - STAR[0] - shift[0], (y - STAR[1]) * 1.0062 - shift[1]
    return (500.0 * np.exp(-(dx**2 + dy**2) / (2 * 1.53**2))).astype(np.float32)


def clean(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.ones_like(image), np.zeros(image.shape, np.uint16)


def test_star_comes_to_the_middle_pixel_and_the_field_is_square() -> None:
    image = scene()
    done = resample_half(image, *clean(image), STAR, GRID)
    y, x = np.mgrid[:N, :N]
    expected = 500.0 * np.exp(-((x - 64.0 - 20.0) ** 2 + (y - 64.0 + 15.0) ** 2) / (2 * 1.53**2)) / 1.0062
    inside = np.isfinite(done.flux)
    assert np.abs(done.flux - expected)[inside].max() < 2.0
    assert np.nansum(done.flux) == pytest.approx(float(image.sum()), rel=1e-3)


def test_whole_pixel_shift_changes_no_value() -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(0.0, 1.0, (N, N)).astype(np.float32)
    done = resample_half(image, *clean(image), (60.0, 70.0), Placement(size=N))
    assert done.flux[10:100, 10:100] == pytest.approx(image[16:106, 6:96], abs=1e-5)
    assert done.variance[10:100, 10:100] == pytest.approx(np.ones((90, 90)), abs=1e-5)


def test_variance_is_that_of_the_noise_and_the_correlation_that_of_neighbours() -> None:
    rng = np.random.default_rng(2)
    pulls, along_x, along_y = [], [], []
    for _ in range(4):
        noise = rng.normal(0.0, 2.0, (N, N)).astype(np.float32)
        done = resample_half(noise, np.full_like(noise, 4.0), clean(noise)[1], STAR, GRID)
        inner = done.flux[20:110, 20:110]
        pulls.append(np.std(inner / np.sqrt(done.variance[20:110, 20:110])))
        along_x.append(np.mean(inner[:, 1:] * inner[:, :-1]) / np.mean(inner**2))
        along_y.append(np.mean(inner[1:] * inner[:-1]) / np.mean(inner**2))
    along = GRID.axes(*STAR)
    expected = correlation(
        (replace(along[0], first=along[0].first[20:110], weights=along[0].weights[20:110]), along[1])
    )
    assert np.mean(pulls) == pytest.approx(1.0, abs=0.02)
    assert expected[0, 0] == pytest.approx(1.0)
    assert np.mean(along_x) == pytest.approx(float(expected[0, 1]), abs=0.02)
    assert np.mean(along_y) == pytest.approx(float(expected[1, 0]), abs=0.02)


def test_variance_that_is_added_counts_as_the_planes_own_and_gives_no_pixel_weight() -> None:
    rng = np.random.default_rng(9)
    image, flags = rng.normal(0.0, 1.0, (N, N)).astype(np.float32), np.zeros((N, N), np.uint16)
    own = rng.uniform(1.0, 2.0, (N, N)).astype(np.float32)
    more = rng.uniform(0.5, 3.0, (N, N)).astype(np.float32)
    own[40, 50] = np.nan
    apart = resample_half(image, own, flags, STAR, GRID, added=more)
    together = resample_half(image, own + more, flags, STAR, GRID)
    np.testing.assert_array_equal(apart.variance, together.variance)
    np.testing.assert_array_equal(apart.flux, together.flux)
    assert np.nanmedian(apart.variance / resample_half(image, own, flags, STAR, GRID).variance) > 1.5


def test_a_pixel_without_weight_leaves_no_trace_in_value_and_a_hole_where_it_matters() -> None:
    image = np.full((N, N), 5.0, np.float32)
    variance, flags = clean(image)
    image[70, 60], variance[70, 60], flags[70, 60] = 9999.0, np.nan, FILLED | int(Flag.HOT)
    done = resample_half(image, variance, flags, (60.0, 70.0), Placement(size=N))
    assert np.isnan(done.flux[64, 64])
    assert done.flags[64, 64] == FILLED | int(Flag.HOT) | LOW
    rest = np.isfinite(done.flux)
    assert np.abs(done.flux[rest] - 5.0).max() < 1e-4
    half = resample_half(image, variance, flags, (60.5, 70.5), Placement(size=N))
    assert np.isfinite(half.flux).sum() > rest.sum() - 200
    assert (half.flags[62:66, 62:66] & FILLED != 0).sum() >= 4
    assert half.flags[100, 100] == 0


def test_beyond_the_input_is_outside_and_nan() -> None:
    image = scene()
    variance, flags = clean(image)
    image[:, :10], variance[:, :10], flags[:, :10] = np.nan, np.nan, OUT
    done = resample_half(image, variance, flags, STAR, GRID)
    lost = np.isnan(done.flux)
    assert lost[:, 120 + 14 :].all()
    assert ((done.flags[lost] & (OUT | LOW)) != 0).all()
    assert done.flags[0, 0] & OUT


def test_kernel_reads_a_line_exactly_between_pixels() -> None:
    axis = lanczos_axis(np.array([10.25, 11.5]))
    line = np.arange(40.0)
    read = [weights @ line[first : first + 8] for first, weights in zip(axis.first, axis.weights, strict=True)]
    assert read == pytest.approx([10.25, 11.5], abs=0.03)


def test_noise_fixed_on_the_detector_is_shared_as_far_as_planes_read_the_same_pixels() -> None:
    rng = np.random.default_rng(5)
    stars = np.array([[57.1, 66.2], [57.4, 66.9], [58.2, 66.4], [58.3, 67.6], [57.9, 67.1]])
    split = shared_noise(stars, GRID)
    stacks, planes = [], []
    for _ in range(12):
        noise = rng.normal(0.0, 1.0, (N, N)).astype(np.float32)
        moved = [resample_half(noise, *clean(noise), (x, y), GRID).flux[24:104, 24:104] for x, y in stars]
        stacks.append(np.var(np.mean(moved, axis=0)))
        planes.append(np.mean(np.var(moved, axis=(1, 2))))
    # Output pixels are 1 / 1.0062 of an input pixel high, and their flux with them.
    assert split.own / 1.0062**2 == pytest.approx(np.mean(planes), rel=0.03)
    expected = (split.own - split.common) / len(stars) + split.common
    assert expected / 1.0062**2 == pytest.approx(np.mean(stacks), rel=0.04)
    assert 0.1 < split.share < 0.6


def test_planes_that_do_not_move_share_all_of_it() -> None:
    assert shared_noise(np.repeat([STAR], 7, axis=0), GRID).share == pytest.approx(1.0)
    assert shared_noise(np.array([STAR]), GRID).share == 1.0


@pytest.mark.parametrize(("star", "step_x"), [((28.3, 19.6), 1.0), ((31.0, 3.0), 1.0), ((28.3, 19.6), 0.97)])
def test_compiled_sums_are_those_of_the_formula(star: tuple[float, float], step_x: float) -> None:
    rng = np.random.default_rng(7)
    flux = rng.normal(0.0, 3.0, (44, 60)).astype(np.float32)
    variance = rng.uniform(1.0, 2.0, flux.shape).astype(np.float32)
    flags = np.where(rng.random(flux.shape) < 0.05, FILLED, 0).astype(np.uint16)
    variance[(flags != 0) | (rng.random(flux.shape) < 0.1)] = np.nan
    grid = Placement(size=48, step_x=step_x, step_y=1.0 / 1.0062)
    done = resample_half(flux, variance, flags, star, grid)
    ky, kx = (dense(axis, n) for axis, n in zip(grid.axes(*star), flux.shape, strict=True))
    good = np.isfinite(variance)
    norm = ky @ good @ kx.T
    energy = ky**2 @ good @ (kx**2).T
    full = np.outer(*((axis.weights**2).sum(axis=1) for axis in grid.axes(*star)))
    lost = energy < 0.7 * full
    assert np.array_equal(np.isnan(done.flux), lost)
    assert done.finite == (~lost).sum() > 1000
    norm[lost] = np.nan
    expected = ky @ np.where(good, flux, 0.0) @ kx.T / norm * grid.area
    assert done.flux[~lost] == pytest.approx(expected[~lost], abs=2e-4)
    spread = ky**2 @ np.where(good, variance, 0.0) @ (kx**2).T / norm**2 * grid.area**2
    assert done.variance[~lost] == pytest.approx(spread[~lost], rel=1e-4)
    heavy = np.einsum("jy,ix,yx->ji", np.abs(ky) > 0, np.abs(kx) > 0, flags, dtype=np.int64) > 0
    assert not (done.flags & FILLED)[~heavy].any()


def dense(axis: Axis, n_in: int) -> np.ndarray:
    """(n_out, n_in) the kernel as a matrix; taps beyond the input are dropped."""
    matrix = np.zeros((len(axis.first), n_in + 400))
    for row, (first, weights) in enumerate(zip(axis.first, axis.weights, strict=True)):
        matrix[row, 200 + first : 208 + first] = weights
    return matrix[:, 200 : 200 + n_in]
