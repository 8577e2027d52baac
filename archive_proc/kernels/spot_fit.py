"""Spots that stand alike in all channels of a spectral cube: one fit of place, width, light (notes/ifs 1, irdis 4.3).

A pattern is one star, or four waffle spots that move outwards with wavelength about it. Fitted to lenslets as they are,
never to resampled images: a centre that is a low-order polynomial of wavelength (what the dispersion corrector leaves),
radius factor, angle and spot width for all channels; an amplitude and a sloping plane per spot and channel, eliminated
by linear least squares. Lenslets without variance have no weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from archive_proc.kernels.waffle import MAS, TELESCOPE_D

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

TERMS = 3
"""Of the centre along each axis: constant, linear, quadratic in wavelength."""
SIZE = 2 * TERMS + 5
"""Parameters: centre terms (x, y of each), radius factor and its slope, angle, width factor and its slope."""
RADIUS, ANGLE, WIDTH = 2 * TERMS, 2 * TERMS + 2, 2 * TERMS + 3
FIRST_WIDTH = 1.15
"""Of the spots, over a perfect Airy disc: the lenslets' own size, and light spread along wavelength."""
WINDOW = 2.2
"""Radius about each spot that enters the fit, lambda / D."""
MARGIN = 0.8
"""Wider by this while the place is coarse."""
LEAST_FILLED = 0.6
"""Part of a window that must lie in the field and have weight."""
MOST_STEP = np.array([1.0] * (2 * TERMS) + [0.3] * 5)
"""How far one step goes: centre (pitches), radius factor and its slope, angle (radians), width and its slope."""
CONVERGED = 2e-4
"""Pitches."""
OUTLIER = 4.0
"""Robust standard deviations beyond which a channel's own centre is left out."""


@dataclass(frozen=True, slots=True)
class SpectralOptics:
    """What a cube's spots look like."""

    wavelength_um: Float64
    """(k,)"""
    pitch_mas: float

    @property
    def lambda_d(self) -> Float64:
        """(k,) lambda / D in pitches."""
        return np.asarray(self.wavelength_um * 1e-6 / TELESCOPE_D * MAS / self.pitch_mas)

    @property
    def phase(self) -> Float64:
        """(k,) wavelength as -1 ... 1 over the band."""
        low, high = float(self.wavelength_um.min()), float(self.wavelength_um.max())
        return np.asarray(2.0 * (self.wavelength_um - low) / max(high - low, 1e-9) - 1.0)

    @property
    def powers(self) -> Float64:
        """(k, TERMS) Legendre polynomials of `phase`."""
        return np.asarray(np.polynomial.legendre.legvander(self.phase, TERMS - 1))


@dataclass(frozen=True, slots=True)
class Pattern:
    """How many spots, and which parameters are fitted."""

    spots: int
    free: Mask
    """(SIZE,)"""


FOUR = Pattern(4, np.ones(SIZE, bool))
"""Waffle spots in a square."""
ONE = Pattern(1, np.array([True] * (2 * TERMS) + [False] * 3 + [True] * 2))
"""A star."""


@dataclass(frozen=True, slots=True)
class SpotFit:
    """A pattern in one plane of k channels; pitches, coordinates of the lenslets."""

    state: Float64
    """(SIZE,)"""
    center: Float64
    """(k, 2) x, y."""
    offset: Float64
    """(k, spots, 2) how far each spot alone stands off the common model; NaN where it is lost."""
    variance: Float64
    """(k, spots, 2) of `offset`, photons and speckles under the spot; infinite where it is lost."""
    snr: Float64
    """(k, spots) amplitude over its standard error."""
    flux: Float64
    """(k, spots) integral of each spot's model, unit of the given flux; NaN where a window is not filled."""
    used: Mask
    """(k,) channels that the centre rests on."""


@dataclass(frozen=True, slots=True)
class _Windows:
    """Lenslets about each spot of each channel: (k, 4, m), padded with weight 0."""

    x: Float64
    y: Float64
    value: Float64
    weight: Float64
    """Inverse variance."""
    plane: Float64
    """(k, 4, m, 3) constant and slopes."""
    filled: Mask
    """(k, 4)"""


def spot_places(state: Float64, optics: SpectralOptics, spots: int) -> tuple[Float64, Float64]:
    """x, y (k, spots) in pitches."""
    center = optics.powers @ state[: 2 * TERMS].reshape(TERMS, 2)
    radius = (state[RADIUS] + state[RADIUS + 1] * optics.phase) * optics.lambda_d
    turn = state[ANGLE] + np.arange(spots) * np.pi / 2
    return (
        center[:, :1] + radius[:, None] * np.cos(turn)[None, :],
        center[:, 1:] + radius[:, None] * np.sin(turn)[None, :],
    )


def _windows(
    places: Float64, spectra: tuple[Float32, Float32], state: Float64, optics: SpectralOptics, spots: int, reach: float
) -> _Windows:
    flux, variance = spectra
    at_x, at_y = spot_places(state, optics, spots)
    radius = reach * optics.lambda_d
    most = int(np.ceil(1.25 * np.pi * float(radius.max()) ** 2 / np.sqrt(0.75))) + 8
    tree = scipy.spatial.cKDTree(places.T)
    shape = (*at_x.shape, most)
    index = np.zeros(shape, np.int64)
    there = np.zeros(shape, bool)
    for channel in range(at_x.shape[0]):
        found = tree.query_ball_point(np.stack([at_x[channel], at_y[channel]], 1), radius[channel], return_sorted=True)
        for spot, members in enumerate(found):
            index[channel, spot, : len(members)] = members
            there[channel, spot, : len(members)] = True
    channels = np.arange(at_x.shape[0])[:, None, None]
    value, spread = flux[index, channels].astype(np.float64), variance[index, channels].astype(np.float64)
    good = there & np.isfinite(value) & np.isfinite(spread) & (spread > 0)
    x, y = places[0][index], places[1][index]
    plane = np.stack([np.ones(shape), x - at_x[..., None], y - at_y[..., None]], axis=-1)
    area = np.pi * radius**2 / np.sqrt(0.75)
    filled = good.sum(axis=2) >= LEAST_FILLED * area[:, None]
    weight = np.where(good & filled[..., None], 1.0 / np.where(good, spread, 1.0), 0.0)
    return _Windows(x, y, np.where(good, value, 0.0), weight, plane, filled)


_AIRY_AT = np.linspace(0.0, 30.0, 6001)
_AIRY = (2.0 * scipy.special.j1(np.maximum(_AIRY_AT, 1e-6)) / np.maximum(_AIRY_AT, 1e-6)) ** 2
_AIRY_SLOPE = np.gradient(_AIRY, _AIRY_AT)


def _width(state: Float64, optics: SpectralOptics) -> Float64:
    """(k,) of the spots, pitches: lambda / D times a factor."""
    return np.asarray(optics.lambda_d * np.clip(state[WIDTH] + state[WIDTH + 1] * optics.phase, 0.5, 3.0))


def _distance(windows: _Windows, state: Float64, optics: SpectralOptics) -> tuple[Float64, Float64, Float64]:
    """x, y (k, spots, m) of the lenslets from their spot, and the Airy disc's argument there."""
    at_x, at_y = spot_places(state, optics, windows.x.shape[1])
    dx, dy = windows.x - at_x[..., None], windows.y - at_y[..., None]
    return dx, dy, np.hypot(dx, dy) * (np.pi / _width(state, optics))[:, None, None]


def _shape(windows: _Windows, state: Float64, optics: SpectralOptics) -> Float64:
    """(k, spots, m) unit-peak spot over the lenslets: an Airy disc of fitted width."""
    return np.asarray(np.interp(_distance(windows, state, optics)[2], _AIRY_AT, _AIRY, right=0.0))


def _slopes(windows: _Windows, state: Float64, optics: SpectralOptics) -> Float64:
    """(3, k, 4, m) change of `_shape` with the spot's x, its y, and the width factor."""
    dx, dy, v = _distance(windows, state, optics)
    slope = np.interp(v, _AIRY_AT, _AIRY_SLOPE, right=0.0)
    width = _width(state, optics)[:, None, None]
    outward = -slope * (np.pi / width) / np.maximum(v * width / np.pi, 1e-9)
    return np.stack([outward * dx, outward * dy, -slope * v / width * optics.lambda_d[:, None, None]])


def _chain(state: Float64, optics: SpectralOptics, spots: int) -> Float64:
    """(k, spots, 3, SIZE) change of each spot's x, y and width factor with the parameters."""
    k = optics.wavelength_um.size
    out = np.zeros((k, spots, 3, state.size))
    turn = state[ANGLE] + np.arange(spots) * np.pi / 2
    radius = (state[RADIUS] + state[RADIUS + 1] * optics.phase) * optics.lambda_d
    for axis, (along, across) in enumerate(((np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn)))):
        for term in range(TERMS):
            out[:, :, axis, 2 * term + axis] = optics.powers[:, term, None]
        out[:, :, axis, RADIUS] = optics.lambda_d[:, None] * along
        out[:, :, axis, RADIUS + 1] = (optics.lambda_d * optics.phase)[:, None] * along
        out[:, :, axis, ANGLE] = radius[:, None] * across
    out[:, :, 2, WIDTH] = 1.0
    out[:, :, 2, WIDTH + 1] = optics.phase[:, None]
    return out


def _linear(windows: _Windows, shape: Float64) -> tuple[Float64, Float64, Float64]:
    """Terms (k, spots, 4), residual (k, spots, m), variance of the amplitude (k, spots)."""
    design = np.concatenate([shape[..., None], windows.plane], axis=-1)
    weighted = design * windows.weight[..., None]
    normal = np.einsum("kspi,kspj->ksij", weighted, design)
    right = np.einsum("kspi,ksp->ksi", weighted, windows.value)
    inverse = _inverse(normal)
    terms = np.einsum("ksij,ksj->ksi", inverse, right)
    residual = windows.value - np.einsum("kspi,ksi->ksp", design, terms)
    return terms, residual, inverse[..., 0, 0]


def fit_spots(
    places: Float64,
    spectra: tuple[Float32, Float32],
    optics: SpectralOptics,
    pattern: Pattern,
    start: Float64,
    *,
    trusted: Mask | None = None,
) -> SpotFit | None:
    """Fit a pattern in all channels together; None where too few windows lie in the field.

    places: (2, n) x, y of the lenslets, pitches; spectra: flux and variance (n, k), variance NaN has no weight; start:
    (SIZE,) coarse parameters; trusted: (k,) channels that may speak, all by default. Windows are set anew about each
    result; from the second pass on weights include the speckles' own scatter in each window, and channels that disagree
    are left out.
    """
    state = np.array(start, np.float64)
    allowed = np.ones(optics.wavelength_um.size, bool) if trusted is None else trusted
    used = allowed.copy()
    windows: _Windows | None = None
    for turn in range(4):
        windows = _windows(places, spectra, state, optics, pattern.spots, WINDOW + MARGIN * (turn == 0))
        if (windows.filled & used[:, None]).sum() < pattern.spots * TERMS:
            return None
        if turn:
            windows = _with_speckle_noise(windows, state, optics)
        weighted = replace(windows, weight=windows.weight * used[:, None, None])
        state = _minimised(weighted, state, optics, pattern)
        if turn in (1, 2):
            used = allowed & _agreeing(windows, state, optics)
    if windows is None or not np.isfinite(state).all():
        return None
    offset, variance, snr = _offsets(windows, state, optics)
    terms, _, _ = _linear(windows, _shape(windows, state, optics))
    # Integral of (2 J1(v) / v)^2 over the plane is 4 pi, v = pi r / width; one lenslet covers sqrt(3) / 2 pitches^2.
    disc = 4.0 / np.pi * _width(state, optics) ** 2 / np.sqrt(0.75)
    flux = np.where(windows.filled, terms[..., 0] * disc[:, None], np.nan)
    center = optics.powers @ state[: 2 * TERMS].reshape(TERMS, 2)
    return SpotFit(state, center, offset, variance, snr, flux, used)


def _minimised(windows: _Windows, state: Float64, optics: SpectralOptics, pattern: Pattern) -> Float64:
    """Gauss-Newton with eliminated linear terms and weights that fall beyond three sigma (soft L1)."""
    root = np.sqrt(windows.weight)
    for _ in range(8):
        shape = _shape(windows, state, optics)
        terms, residual, _ = _linear(windows, shape)
        bent = root / (1.0 + (residual * root / 3.0) ** 2) ** 0.25
        design = np.concatenate([shape[..., None], windows.plane], axis=-1) * bent[..., None]
        changes = _slopes(windows, state, optics) * terms[None, ..., :1]
        target = np.concatenate([changes, residual[None]]) * bent
        inverse = _inverse(np.einsum("kspi,kspj->ksij", design, design))
        mixed = np.einsum("kspi,aksp->ksai", design, target)
        gram = np.einsum("aksp,bksp->ksab", target, target, optimize=True)
        gram -= np.einsum("ksai,ksij,ksbj->ksab", mixed, inverse, mixed, optimize=True)
        chain = _chain(state, optics, pattern.spots)[..., pattern.free]
        matrix = np.einsum("ksap,ksab,ksbq->pq", chain, gram[..., :3, :3], chain, optimize=True)
        right = np.einsum("ksap,ksa->p", chain, gram[..., :3, 3], optimize=True)
        scale = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
        step = np.zeros(SIZE)
        step[pattern.free] = np.linalg.lstsq(matrix / np.outer(scale, scale), right / scale, rcond=1e-8)[0] / scale
        step = np.clip(step, -MOST_STEP, MOST_STEP)
        state = state + step
        if np.abs(step[: 2 * TERMS]).max() < CONVERGED:
            break
    return state


def _inverse(normal: Float64) -> Float64:
    """Of the last two axes; a spot without weight gives nothing but large numbers, no error."""
    scale = np.trace(normal, axis1=-2, axis2=-1)[..., None, None]
    return np.asarray(np.linalg.inv(normal + (1e-12 * scale + 1e-300) * np.eye(normal.shape[-1])))


def _with_speckle_noise(windows: _Windows, state: Float64, optics: SpectralOptics) -> _Windows:
    """Weights that include what the model leaves in each window: speckles are no photon noise."""
    _, residual, _ = _linear(windows, _shape(windows, state, optics))
    good = windows.weight > 0
    left = np.where(good, residual, np.nan)
    variance = np.where(good, 1.0 / np.where(good, windows.weight, 1.0), np.nan)
    extra = np.zeros(windows.filled.shape)
    seen = good.any(axis=2)
    middle = np.nanmedian(np.abs(left[seen]), axis=1)
    extra[seen] = np.maximum((1.4826 * middle) ** 2 - np.nanmedian(variance[seen], axis=1), 0.0)
    total = np.where(good, variance + extra[..., None], 1.0)
    return replace(windows, weight=np.where(good, 1.0 / total, 0.0))


def _offsets(windows: _Windows, state: Float64, optics: SpectralOptics) -> tuple[Float64, Float64, Float64]:
    """Offset (k, spots, 2) of each spot from the common model, its formal variance, and amplitude over error."""
    shape = _shape(windows, state, optics)
    terms, _, variance = _linear(windows, shape)
    moved = np.moveaxis(_slopes(windows, state, optics)[:2], 0, -1)
    design = np.concatenate([shape[..., None], moved, windows.plane], axis=-1)
    weighted = design * windows.weight[..., None]
    normal = np.einsum("kspi,kspj->ksij", weighted, design)
    inverse = _inverse(normal)
    full = np.einsum("ksij,kspj,ksp->ksi", inverse, weighted, windows.value, optimize=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        offset = full[..., 1:3] / terms[..., :1]
        spread = inverse[..., [1, 2], [1, 2]] / terms[..., :1] ** 2
        snr = terms[..., 0] / np.sqrt(variance)
    lost = ~((windows.weight > 0).any(axis=2) & (terms[..., 0] > 0))
    offset[lost], spread[lost], snr[lost] = np.nan, np.inf, 0.0
    return offset, spread, snr


def mean_offsets(offset: Float64, variance: Float64) -> tuple[Float64, Float64]:
    """(k, 2) mean of the spots' offsets in each channel, NaN where one is lost, and its variance."""
    return offset.mean(axis=1), variance.mean(axis=1) / offset.shape[1]


def _agreeing(windows: _Windows, state: Float64, optics: SpectralOptics) -> Mask:
    """(k,) channels whose own centre agrees with the common one."""
    center, variance = mean_offsets(*_offsets(windows, state, optics)[:2])
    with np.errstate(invalid="ignore"):
        away = np.hypot(*center.T) / np.sqrt(2.0)
        photon = np.sqrt(variance.mean(axis=1))
    known = np.isfinite(away) & np.isfinite(photon)
    if known.sum() < 2 * TERMS:
        return np.ones(known.size, bool)
    typical = max(1.4826 * float(np.median(away[known])), 1e-6)
    return np.asarray(known & (away <= OUTLIER * np.hypot(typical, photon)))
