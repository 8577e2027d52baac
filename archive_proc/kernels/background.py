"""The thermal background of one plane, fitted together with the star's halo (notes/irdis 4.2).

A basis is a detector level per pixel and a few smooth maps of how the light above it changes. A plane is described by
a handful of coefficients; `background_of_plane` turns them back into pixels. The halo is fitted so that the maps do not
eat starlight, and is never subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.blocks import block_centres, shift_blocks, upsample

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

FIXED_TERMS = ("scale", "shift_x", "shift_y")
"""What every plane's coefficients begin with; mode coefficients follow."""
HALO_TERMS = ("r^-11/3", "r^-12", "r^-11/3 cos t", "r^-11/3 sin t", "r^-11/3 cos 2t", "r^-11/3 sin 2t")
"""Halo maps about the star, 1 at `HALO_RADIUS`; t counter-clockwise from +x. Beyond what adaptive optics controls the
halo has the slope of turbulence (Kolmogorov: phase power as f^-11/3); the steep term is the shoulder at the edge of the
controlled region, the 2t pair the wind-driven halo. A free pair of flat slopes would take thermal light for starlight
far from the star, and leave as much of the opposite sign under it."""
HALO_RADIUS = 100.0
"""Pixels; blocks nearer to the star are left out of the fit, and halo amplitudes are quoted here. Just beyond what
adaptive optics controls (20 lambda / D: 95 pixels in K), where the halo has its shoulder; from further out the fit
would have to be extrapolated too far under the star."""
SCALE_PRIOR = 5.0
MODE_PRIOR = 3.0
"""Priors are this many times the spread among the skies (notes/irdis 4.2.4)."""
REWEIGHTINGS = 3
OUTLIER_SIGMA = 4.0
HALO_MISFIT = 0.05
"""A halo of six terms is true to about this fraction of its brightness: blocks are weighted accordingly."""


@dataclass(frozen=True, slots=True)
class BackgroundBasis:
    """Detector level and modes of change of both halves; channels left, right."""

    level: Float32
    """(2, 1024, 1024) ADU per DIT, detector frame, before the flat; finite everywhere."""
    response: Float32
    """(2, 1024, 1024) flat; 0 where not lit or unknown."""
    first_mode: Float64
    """(2, by, bx) map that the scale multiplies, ADU after the flat; finite."""
    modes: Float64
    """(q, 2, by, bx), finite."""
    scale_sigma: Float64
    """(2,) spread of the scale expected between planes."""
    mode_sigma: Float64
    """(q, 2) spread of each mode's coefficient, ADU."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of a plane's coefficients, in order."""
        return (*FIXED_TERMS, *(f"mode_{index + 1}" for index in range(self.modes.shape[0])))

    def smooth(self, coefficients: Float64) -> Float64:
        """(2, by, bx) ADU after the flat that a plane has above `level`, before any shift."""
        scale = coefficients[:, 0][:, None, None] * self.first_mode
        q = self.modes.shape[0]
        weights = coefficients[:, len(FIXED_TERMS) : len(FIXED_TERMS) + q]
        change: Float64 = scale + np.einsum("cq,qcyx->cyx", weights, self.modes)
        return change


def background_of_plane(
    basis: BackgroundBasis, coefficients: Float64, *, still: Float32 | None = None, into: Float32 | None = None
) -> Float32:
    """What to subtract from one raw plane: level + response x smooth change.

    coefficients: (2, n) float64 in the order of `BackgroundBasis.terms`; surplus ones (of another basis, zero) are
    ignored. Gives (2, 1024, 1024) float32 ADU per DIT, before the flat, `into` where given. `still`: `still_light` of
    the basis, where it is at hand. The thermal pattern of a dithered plane is the pattern shifted, the detector's is
    not: so only the smooth part moves.
    """
    from archive_proc.kernels.loops.level import put_on_level

    background = np.empty_like(basis.level) if into is None else into
    change = basis.smooth(coefficients)
    for channel in range(2):
        shift = (float(coefficients[channel, 1]), float(coefficients[channel, 2]))
        upsample(change[channel] + basis.first_mode[channel], shift=shift, into=background[channel])
        unmoved = upsample(basis.first_mode[channel]) if still is None else still[channel]
        put_on_level(background[channel], unmoved, basis.response[channel], basis.level[channel])
    return background


def still_light(basis: BackgroundBasis) -> Float32:
    """(2, 1024, 1024) ADU after the flat: the basis' own light, which is part of its level."""
    return np.stack([upsample(one) for one in basis.first_mode])


def change_in_part(basis: BackgroundBasis, coefficients: Float64, channel: int, rows: slice, columns: slice) -> Float32:
    """What one half's background has above the basis' level, in some rows and columns, ADU per DIT before the flat."""
    shift = (float(coefficients[channel, 1]), float(coefficients[channel, 2]))
    moved = basis.smooth(coefficients)[channel] + basis.first_mode[channel]
    smooth = upsample(moved, shift=shift, rows=rows, columns=columns)
    smooth -= upsample(basis.first_mode[channel], rows=rows, columns=columns)
    smooth *= basis.response[channel, rows, columns]
    return smooth


@dataclass(frozen=True, slots=True)
class BlockPlane:
    """One half of a plane as block means above the basis' level, flat-divided."""

    values: Float64
    """(by, bx) ADU, NaN where unknown."""
    sigma: Float64
    """(by, bx) standard error of `values`, ADU."""
    star: tuple[float, float]
    """x, y of the star in pixels of the half; the halo is centred on it."""
    left_out: Mask
    """(by, bx) blocks that must not enter (waffle spots, ghosts)."""


@dataclass(frozen=True, slots=True)
class BackgroundFit:
    """The background of one half of one plane."""

    coefficients: Float64
    """(n_terms,) as `BackgroundBasis.terms`."""
    halo: Float64
    """(6,) ADU at `HALO_RADIUS`, `HALO_TERMS`."""
    chi2: float
    """Reduced chi squared over the blocks kept."""
    error: float
    """Standard error of the subtracted background averaged within `HALO_RADIUS` of the star, ADU."""


def halo_maps(star: tuple[float, float], shape: tuple[int, int]) -> tuple[Float64, Float64]:
    """(6, by, bx) halo terms about `star`, 1 at `HALO_RADIUS`, and (by, bx) the radius in pixels."""
    y, x = np.meshgrid(block_centres(shape[0]) - star[1], block_centres(shape[1]) - star[0], indexing="ij")
    radius = np.hypot(x, y)
    angle = np.arctan2(y, x)
    reduced = np.maximum(radius, 0.5 * HALO_RADIUS) / HALO_RADIUS
    turbulent = reduced ** (-11.0 / 3.0)
    turning = [turn(order * angle) * turbulent for order in (1, 2) for turn in (np.cos, np.sin)]
    return np.stack([turbulent, reduced**-12.0, *turning]), radius


def fit_background(
    basis: BackgroundBasis, channel: int, plane: BlockPlane, shift: tuple[float, float]
) -> BackgroundFit:
    """Maximum a posteriori background and halo of one half.

    `shift`: (x, y) pixels of the plane's dither against the basis' own. Gaussian priors on scale and modes, none on the
    halo; blocks within `HALO_RADIUS` of the star are left out; three reweightings drop blocks beyond four sigma
    (companions, field stars, ghosts). Normal equations in float64.
    """
    q = basis.modes.shape[0]
    first = shift_blocks(basis.first_mode[channel], shift)
    maps = [first, *(shift_blocks(basis.modes[index, channel], shift) for index in range(q))]
    halo, radius = halo_maps(plane.star, plane.values.shape)
    data = plane.values - (first - basis.first_mode[channel])
    usable = np.isfinite(data) & ~plane.left_out & (radius >= HALO_RADIUS) & (plane.sigma > 0)
    design = np.stack([*maps, *halo])[:, usable].T
    observed = data[usable]
    prior = np.concatenate([
        [SCALE_PRIOR * basis.scale_sigma[channel]], MODE_PRIOR * basis.mode_sigma[:, channel],
    ])  # fmt: skip
    precision = np.zeros(design.shape[1])
    precision[: q + 1] = 1.0 / np.maximum(prior, 1e-12) ** 2
    solution, chi2, covariance = _reweighted(design, observed, plane.sigma[usable], precision, q + 1)
    coefficients = np.concatenate([solution[:1], shift, solution[1 : q + 1]])
    near = radius < HALO_RADIUS
    mean = np.array([one[near].mean() if near.any() else 0.0 for one in maps])
    error = float(np.sqrt(max(mean @ covariance[: q + 1, : q + 1] @ mean, 0.0)))
    return BackgroundFit(coefficients, solution[q + 1 :], chi2, error)


def _reweighted(
    design: Float64, observed: Float64, sigma: Float64, precision: Float64, n_thermal: int
) -> tuple[Float64, float, Float64]:
    """Solution, reduced chi squared and covariance (scaled by chi squared where the model does not fit)."""
    n = design.shape[1]
    solution = np.zeros(n)
    covariance = np.diag(1.0 / np.maximum(precision, 1e-12))
    chi2 = float("nan")
    if observed.size < 2 * n:
        return solution, chi2, covariance
    kept = np.ones(observed.size)
    error: Float64 = sigma
    noise = 1.0
    for _ in range(REWEIGHTINGS + 1):
        weight = kept / error**2 / noise**2
        # The fit's own scatter scales the data's weight against the prior, or a star whose halo is no sum of six terms
        # would drag the thermal modes with it.
        normal = (design.T * weight) @ design + np.diag(precision)
        covariance = np.asarray(np.linalg.pinv(normal, hermitian=True), np.float64)
        solution = covariance @ (design.T @ (weight * observed))
        residual = observed - design @ solution
        light = np.abs(design[:, n_thermal:] @ solution[n_thermal:])
        error = np.hypot(sigma, HALO_MISFIT * light)
        pull = residual / error
        spread = 1.4826 * float(np.median(np.abs(pull - np.median(pull))))
        noise = max(spread, 1.0)
        kept = (np.abs(pull) <= OUTLIER_SIGMA * noise).astype(np.float64)
        chi2 = float((kept * pull**2).sum() / max(kept.sum() - n, 1.0))
    return solution, chi2, covariance
