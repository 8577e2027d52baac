"""The star behind the mask from four waffle spots (notes/irdis 4.3).

One fit for both halves: a centre each, one radius factor, angle and spot width for all; an amplitude and a sloping
plane per spot, eliminated by linear least squares. The spots' shape is an Airy disc summed over the filter's band, at
radius and size proportional to the wavelength, so they are elongated as the real ones. The anamorphism is in the model;
the frame is never resampled, and bad pixels have weight zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from archive_proc.kernels.stamps import Stamp, patched

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

TELESCOPE_D = 8.0
"""m; the diameter that radius factors in the literature refer to (vlt-sphere)."""
FIRST_FACTOR = 14.0
"""Spot radius in lambda / D: 13.72 to 14.2 in the literature; fitted."""
BAND_STEPS = 5
WINDOW_RADIUS = 8.0
"""Pixels about each spot that enter the fit."""
SEARCH = 16
"""Pixels about the first guess that are searched for the four-spot pattern."""
REACH = np.array([6.0, 6.0, 6.0, 6.0, 1.5, np.radians(3.0), 0.6])
"""How far one pass may go from its start: centres (pixels), radius factor, angle, spot width."""
MAS = 180.0 / np.pi * 3600e3
"""mas per radian."""


@dataclass(frozen=True, slots=True)
class WaffleOptics:
    """What a half's spots look like."""

    wavelength_um: float
    bandwidth_um: float
    pixel_scale_mas: float
    """Along x."""
    anamorphism_y: float
    """Sky over detector along y."""
    orientation: float
    """Position angle of the first spot, counter-clockwise from +x, radians: pi/4 for `x`, 0 for `+`."""

    @property
    def lambda_d(self) -> float:
        """Lambda / D at the central wavelength, in pixels along x."""
        return self.wavelength_um * 1e-6 / TELESCOPE_D * MAS / self.pixel_scale_mas


@dataclass(frozen=True, slots=True)
class WaffleFit:
    """Centres of both halves from one CENTER plane; pixels of the stamps' halves."""

    center: Float64
    """(2, 2) half, (x, y)."""
    error: Float64
    """(2, 2) standard error from the disagreement of the diagonals: two numbers, so pool it over planes."""
    amplitudes: Float64
    """(2, 4) peak of each spot, ADU per DIT."""
    flux: Float64
    """(2, 4) integral of each spot's model, ADU per DIT."""
    closure_mas: Float64
    """(2,) distance of the two diagonals' midpoints."""
    radius_factor: float
    """lambda / D."""
    angle: float
    """radians against the nominal orientation."""
    good: bool
    """False when fewer than three spots of a half were significant."""


def spot_positions(
    center: tuple[float, float], factor: float, angle: float, optics: WaffleOptics
) -> tuple[Float64, Float64]:
    """x, y (4,) of the spots on the detector."""
    angles = optics.orientation + angle + np.arange(4) * (np.pi / 2)
    radius = factor * optics.lambda_d
    return center[0] + radius * np.cos(angles), center[1] + radius * np.sin(angles) / optics.anamorphism_y


def find_pattern(stamp: Stamp, guess: tuple[float, float], optics: WaffleOptics) -> tuple[float, float]:
    """Coarse centre: where four bright spots stand in a square, within `SEARCH` pixels of `guess`.

    The score is the sum of the square roots of the spots' local contrast, so four fair spots beat one bright speckle.
    """
    filled = patched(stamp.values, stamp.weight)
    sharp = scipy.ndimage.gaussian_filter(filled, 0.45 * optics.lambda_d) - scipy.ndimage.gaussian_filter(
        filled, 1.6 * optics.lambda_d
    )
    grid = np.arange(-SEARCH, SEARCH + 0.1, 1.0)
    dy, dx = np.meshgrid(grid, grid, indexing="ij")
    x, y = spot_positions(guess, FIRST_FACTOR, 0.0, optics)
    score = np.zeros_like(dx)
    for sx, sy in zip(x, y, strict=True):
        seen = scipy.ndimage.map_coordinates(sharp, [dy + sy - stamp.y0, dx + sx - stamp.x0], order=1, mode="constant")
        score += np.sqrt(np.maximum(seen, 0.0))
    peak = np.unravel_index(int(np.argmax(score)), score.shape)
    return guess[0] + float(dx[peak]), guess[1] + float(dy[peak])


@dataclass(frozen=True, slots=True)
class _Window:
    """Pixels of one spot of one half."""

    half: int
    spot: int
    x: Float64
    y: Float64
    value: Float64
    root_weight: Float64
    plane: Float64
    """(m, 3) constant and slopes."""


def fit_waffle(
    stamps: tuple[Stamp, Stamp], optics: tuple[WaffleOptics, WaffleOptics], start: tuple[tuple[float, float], ...]
) -> WaffleFit:
    """Fit the four spots of both halves together.

    `start`: coarse centres (x, y) in pixels of the halves. Two passes: windows are set anew about the first result, and
    weights then include the speckles' own scatter in each window; loss soft-L1 at 3 sigma.
    """
    state = np.array([*start[0], *start[1], FIRST_FACTOR, 0.0, 1.15])
    windows: list[_Window] = []
    for turn in range(3):
        windows = _windows(stamps, optics, state, WINDOW_RADIUS + 2.0 * (turn == 0))
        if turn:
            windows = [_with_speckle_noise(one, state, optics) for one in windows]
        if len(windows) < 6:
            break
        found = scipy.optimize.least_squares(
            _residuals, state, args=(windows, optics), loss="soft_l1", f_scale=3.0, method="trf",
            x_scale=np.array([1.0, 1.0, 1.0, 1.0, 0.3, 0.02, 0.1]),
            bounds=(state - REACH, state + REACH),
            max_nfev=40, xtol=1e-7, ftol=1e-7,
        )  # fmt: skip
        state = found.x
        state[6] = np.clip(state[6], 0.8, 1.6)
    return _judge(windows, state, optics)


def _windows(
    stamps: tuple[Stamp, Stamp], optics: tuple[WaffleOptics, WaffleOptics], state: Float64, radius: float
) -> list[_Window]:
    windows = []
    for half in range(2):
        stamp = stamps[half]
        xs, ys = spot_positions((state[2 * half], state[2 * half + 1]), state[4], state[5], optics[half])
        for spot in range(4):
            left, low = int(np.floor(xs[spot] - radius)), int(np.floor(ys[spot] - radius))
            y, x = np.mgrid[low : low + int(2 * radius) + 3, left : left + int(2 * radius) + 3]
            inside = (np.hypot(x - xs[spot], y - ys[spot]) <= radius) & (x >= stamp.x0) & (y >= stamp.y0)
            inside &= (x < stamp.x0 + stamp.values.shape[1]) & (y < stamp.y0 + stamp.values.shape[0])
            x, y = x[inside], y[inside]
            weight = stamp.weight[y - stamp.y0, x - stamp.x0]
            good = weight > 0
            if good.sum() < 0.6 * np.pi * radius**2:
                continue
            x, y, weight = x[good], y[good], weight[good]
            plane = np.stack([np.ones(x.size), x - xs[spot], y - ys[spot]], axis=1)
            value = stamp.values[y - stamp.y0, x - stamp.x0].astype(np.float64)
            windows.append(
                _Window(half, spot, x.astype(float), y.astype(float), value, np.sqrt(weight, dtype=float), plane)
            )
    return windows


def _model(window: _Window, state: Float64, optics: WaffleOptics) -> Float64:
    """Unit-peak (per wavelength) spot over the window's pixels."""
    center = (state[2 * window.half], state[2 * window.half + 1])
    steps = (np.arange(BAND_STEPS) + 0.5) / BAND_STEPS - 0.5
    relative = 1.0 + steps * optics.bandwidth_um / optics.wavelength_um
    out = np.zeros(window.x.size)
    for scale in relative:
        xs, ys = spot_positions(center, state[4] * scale, state[5], optics)
        dx = window.x - xs[window.spot]
        dy = (window.y - ys[window.spot]) * optics.anamorphism_y
        v = np.pi * np.hypot(dx, dy) / (optics.lambda_d * scale * state[6])
        v = np.maximum(v, 1e-6)
        out += (2.0 * scipy.special.j1(v) / v) ** 2
    return out / BAND_STEPS


def _linear(window: _Window, state: Float64, optics: WaffleOptics) -> tuple[Float64, Float64, Float64]:
    """Amplitude and plane (4,), weighted residual, and the spot's shape."""
    shape = _model(window, state, optics)
    design = np.column_stack([shape, window.plane])
    weighted = design * window.root_weight[:, None]
    target = window.value * window.root_weight
    normal = weighted.T @ weighted
    terms = np.linalg.solve(normal + 1e-12 * np.trace(normal) * np.eye(4), weighted.T @ target)
    return terms, target - weighted @ terms, shape


def _residuals(state: Float64, windows: list[_Window], optics: tuple[WaffleOptics, WaffleOptics]) -> Float64:
    return np.concatenate([_linear(one, state, optics[one.half])[1] for one in windows])


def _with_speckle_noise(window: _Window, state: Float64, optics: tuple[WaffleOptics, WaffleOptics]) -> _Window:
    """The window with weights that include what the model leaves: speckles are no photon noise."""
    _, residual, _ = _linear(window, state, optics[window.half])
    left = residual / window.root_weight
    excess = (1.4826 * float(np.median(np.abs(left)))) ** 2
    photon = 1.0 / window.root_weight**2
    extra = max(excess - float(np.median(photon)), 0.0)
    return _Window(
        window.half, window.spot, window.x, window.y, window.value, 1.0 / np.sqrt(photon + extra), window.plane
    )


def _judge(windows: list[_Window], state: Float64, optics: tuple[WaffleOptics, WaffleOptics]) -> WaffleFit:
    """Spot by spot: amplitude, offset from the common model; from these the error and the closure."""
    amplitudes, flux = np.full((2, 4), np.nan), np.full((2, 4), np.nan)
    offsets = np.full((2, 4, 2), np.nan)
    significant = np.zeros((2, 4), bool)
    for one in windows:
        lens = optics[one.half]
        terms, residual, shape = _linear(one, state, lens)
        noise = max(float(np.sqrt(np.mean(residual**2))), 1.0)
        design = np.column_stack([shape, one.plane]) * one.root_weight[:, None]
        sigma = noise * float(np.sqrt(np.linalg.pinv(design.T @ design)[0, 0]))
        amplitudes[one.half, one.spot] = terms[0]
        # Integral of (2 J1(v) / v)^2 over the plane is 4 pi; v = pi r / (lambda/D width).
        disc = 4.0 / np.pi * (lens.lambda_d * state[6]) ** 2 / lens.anamorphism_y
        flux[one.half, one.spot] = terms[0] * disc
        significant[one.half, one.spot] = terms[0] > 5.0 * sigma
        offsets[one.half, one.spot] = _offset(one, state, lens, terms[0])
    closure = np.full(2, np.nan)
    error = np.full((2, 2), np.nan)
    for half in range(2):
        scale = np.array([1.0, optics[half].anamorphism_y]) * optics[half].pixel_scale_mas
        midpoints = 0.5 * (offsets[half, :2] + offsets[half, 2:])
        closure[half] = float(np.hypot(*((midpoints[0] - midpoints[1]) * scale)))
        error[half] = _center_error(offsets[half], optics[half].orientation + state[5], closure[half] / scale)
    enough = bool((significant.sum(axis=1) >= 3).all())
    center = state[:4].reshape(2, 2).copy()
    return WaffleFit(center, error, amplitudes, flux, closure, float(state[4]), float(state[5]), enough)


def _center_error(offsets: Float64, first_angle: float, closure: Float64) -> Float64:
    """(2,) standard error of a centre from how the spots disagree.

    closure: (2,) pixels. Light of a pure phase is symmetric about the star, so the speckles under opposite spots move
    them in opposite ways: the disagreement of single spots overstates the error some four times, that of the diagonals'
    midpoints is a fair sample of it (the centre is the mean of two midpoints: half their distance, shared by the axes).
    Where a spot is missing, from single spots; radius and angle of this half do not count.
    """
    if np.isfinite(closure).all():
        return np.asarray(closure / np.sqrt(8.0), np.float64)
    seen = np.isfinite(offsets).all(axis=1)
    if seen.sum() < 3:
        return np.full(2, np.nan)
    angles = (first_angle + np.arange(4) * (np.pi / 2))[seen]
    n = angles.size
    constant = np.repeat(np.eye(2)[None], n, axis=0)
    radial = np.stack([np.cos(angles), np.sin(angles)], axis=1)[:, :, None]
    turn = np.stack([-np.sin(angles), np.cos(angles)], axis=1)[:, :, None]
    design = np.concatenate([constant, radial, turn], axis=2).reshape(2 * n, 4)
    terms, *_ = np.linalg.lstsq(design, offsets[seen].reshape(-1), rcond=None)
    left = offsets[seen].reshape(-1) - design @ terms
    return np.full(2, float(np.sqrt((left**2).sum() / (2 * n - 4) / n)))


def _offset(window: _Window, state: Float64, optics: WaffleOptics, amplitude: float) -> Float64:
    """(2,) x, y by which this spot alone stands off the common model, pixels, to first order."""
    step = 0.05
    slopes = []
    for axis in range(2):
        ahead, behind = state.copy(), state.copy()
        ahead[2 * window.half + axis] += step
        behind[2 * window.half + axis] -= step
        slopes.append((_model(window, ahead, optics) - _model(window, behind, optics)) / (2 * step))
    shape = _model(window, state, optics)
    design = np.column_stack([shape, *slopes, window.plane]) * window.root_weight[:, None]
    terms, *_ = np.linalg.lstsq(design, window.value * window.root_weight, rcond=None)
    if amplitude <= 0:
        return np.full(2, np.nan)
    offset: Float64 = np.clip(terms[1:3] / amplitude, -3.0, 3.0)
    return offset
