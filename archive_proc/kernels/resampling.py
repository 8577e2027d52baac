"""One interpolation of a plane: sub-pixel shift and anamorphism together, with weights, variance and flags.

Lanczos of order 4, separable, so any shift and scale is exact to the kernel; the sums over pixels are compiled
(`loops.resample`). Rules of DESIGN 8: `value = sum(k w v) / sum(k w)`, w = 1 where the variance
is finite and 0 elsewhere; NaN where less than 70 % of the kernel's energy was valid; a flag spreads where its kernel
weight exceeds 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from archive_proc.model.flags import Flag

if TYPE_CHECKING:  # importing numba takes time that planning need not pay
    from archive_proc.kernels.loops.resample import Taps

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Flags = NDArray[np.uint16]

ORDER = 4
"""Lobes of the Lanczos kernel on each side: 8 taps."""
LEAST_ENERGY = 0.7
"""Valid share of the kernel's energy (sum of squares) below which a pixel is NaN."""
FLAG_WEIGHT = 0.05
"""Kernel weight above which a pixel's flags spread."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Kernel along one axis: output pixel j takes input pixels first[j] ... first[j] + 7 with these weights."""

    first: NDArray[np.intp]
    """(n_out,) first input pixel, never decreasing; may lie outside."""
    weights: Float64
    """(n_out, 8), sum 1."""

    def taps(self) -> Taps:
        """The same for the compiled loops, one row a tap."""
        from archive_proc.kernels.loops.resample import Taps

        weights = np.ascontiguousarray(self.weights.T)
        heavy = np.abs(weights)
        return Taps(
            first=self.first,
            shifted=bool((np.diff(self.first) == 1).all()),
            weights=weights.astype(np.float32),
            squares=(weights**2).astype(np.float32),
            full=(self.weights**2).sum(axis=1),
            heavy=heavy,
            most=heavy.max(axis=1),
            even=np.ptp(heavy, axis=1) <= 1e-12,
            heaviest=float(heavy.max()),
        )


def lanczos_axis(positions: Float64) -> Axis:
    """Kernel that reads an axis at these positions (n_out,), rising, 0-based pixels of the input."""
    first = np.floor(positions).astype(np.intp) - (ORDER - 1)
    distance = positions[:, None] - (first[:, None] + np.arange(2 * ORDER))
    weights = np.sinc(distance) * np.sinc(distance / ORDER)
    return Axis(first, weights / weights.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a half's star goes: output size, and how far apart output pixels lie in the input."""

    size: int = 1024
    """Output pixels along each side; the star comes to index size // 2."""
    step_x: float = 1.0
    """Input pixels per output pixel along x: 1 / anamorphism."""
    step_y: float = 1.0

    @property
    def area(self) -> float:
        """Output pixel's area in input pixels: values are multiplied by it, so that sums over the field stay."""
        return self.step_x * self.step_y

    def axes(self, star_x: float, star_y: float) -> tuple[Axis, Axis]:
        """Kernels along y and x for a star at (star_x, star_y) of the input."""
        steps = np.arange(self.size, dtype=np.float64) - self.size // 2
        return (
            lanczos_axis(star_y + self.step_y * steps),
            lanczos_axis(star_x + self.step_x * steps),
        )


@dataclass(frozen=True, slots=True)
class SharedNoise:
    """What becomes of noise that sits still on the detector while the star moves across it, per output pixel of 1.

    Planes at other dithers and jitters read other pixels with other weights, so only a part of it is common to them.
    """

    own: float
    """Mean over planes of the kernel's energy: the variance such noise of variance 1 has in one plane."""
    common: float
    """Mean over pairs of planes of their kernels' overlap: the variance that a stack of all planes keeps."""

    @property
    def share(self) -> float:
        """The part of one plane's variance that is common, 0 to 1."""
        return self.common / self.own


PAIRED_PLANES = 64
"""Planes, evenly chosen, whose pairs stand for all: the mean overlap of 2000 pairs is known to a percent."""
PAIRED_ROWS = 32
"""Output rows looked at: the anamorphism takes the kernel's phase through all values along y."""


def shared_noise(stars: Float64, placement: Placement) -> SharedNoise:
    """Split noise that is white and fixed on the detector into what planes share and what differs between them.

    `stars` (n, 2) x and y of the star in planes. The variance of the mean of n planes is
    (n own + n (n - 1) common) / n^2: with own - common counted as noise of the plane, variance / n + common is exact.
    """
    chosen = stars[np.unique(np.linspace(0, len(stars) - 1, min(PAIRED_PLANES, len(stars))).round().astype(np.intp))]
    rows = np.linspace(0, placement.size - 1, PAIRED_ROWS).astype(np.intp)
    n = len(chosen)
    along_x, along_y = [], []
    for x, y in chosen:
        axis_y, axis_x = placement.axes(float(x), float(y))
        along_x.append((axis_x.first[:1], axis_x.weights[:1]))
        along_y.append((axis_y.first[rows], axis_y.weights[rows]))
    overlap = _overlaps(along_x).mean(axis=2) * _overlaps(along_y).mean(axis=2)
    own = float(np.trace(overlap)) / n
    if n == 1:
        return SharedNoise(own, own)
    common = (float(overlap.sum()) - n * own) / (n * (n - 1))
    return SharedNoise(own, min(max(common, 0.0), own))


def _overlaps(kernels: list[tuple[NDArray[np.intp], Float64]]) -> Float64:
    """(n, n, rows) sum of products of two planes' weights on the same input pixel."""
    first = np.stack([one for one, _ in kernels])
    weights = np.stack([one for _, one in kernels])
    taps = weights.shape[2]
    offset = first[:, None] - first[None, :]
    found = np.zeros(offset.shape)
    for tap in range(taps):
        other = tap + offset
        inside = (other >= 0) & (other < taps)
        taken = np.take_along_axis(
            np.broadcast_to(weights[None], (*offset.shape, taps)), np.clip(other, 0, taps - 1)[..., None], axis=3
        )[..., 0]
        found += np.where(inside, weights[:, None, :, tap] * taken, 0.0)
    return found


@dataclass(frozen=True, slots=True)
class Resampled:
    """One half, (size, size)."""

    flux: Float32
    """Input unit; NaN where too little of the kernel was valid."""
    variance: Float32
    flags: Flags
    """Spread; OUTSIDE or LOW_WEIGHT wherever flux is NaN."""
    finite: int
    """Pixels whose flux is finite."""


def resample_half(
    flux: Float32,
    variance: Float32,
    flags: Flags,
    star: tuple[float, float],
    placement: Placement,
    *,
    added: Float32 | None = None,
    into: tuple[Float32, Float32, Flags] | None = None,
) -> Resampled:
    """Resample one half (ny, nx) so that the star comes to the middle pixel, in one interpolation.

    Pixels whose `variance` or `flux` is not finite have weight 0. Variance is propagated with the squared kernel and
    assumes independent input pixels; `correlation` says how far output pixels are not, and `shared_noise` how much of
    what planes share stays shared. `added` (ny, nx), finite: variance to be added to the plane's own. `into`: flux,
    variance and flags (size, size) to be filled, else new arrays.
    """
    from archive_proc.kernels.loops.resample import Rules, resample_pixels, spread_flags

    y, x = (axis.taps() for axis in placement.axes(*star))
    if into is None:
        shape = (placement.size, placement.size)
        into = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16)
    out_flux, out_variance, out_flags = into
    rules = Rules(
        area=np.float32(placement.area),
        least_energy=np.float32(LEAST_ENERGY),
        flag_weight=FLAG_WEIGHT,
        outside=np.uint16(Flag.OUTSIDE),
        low_weight=np.uint16(Flag.LOW_WEIGHT),
    )
    more = np.zeros_like(variance) if added is None else added
    finite = resample_pixels(flux, variance, more, y, x, rules, out_flux, out_variance)
    spread_flags(flags, y, x, rules, out_flux, out_flags)
    return Resampled(out_flux, out_variance, out_flags, int(finite))


def correlation(axes: tuple[Axis, Axis], lags: int = 4) -> Float32:
    """Correlation of output pixels (dy, dx) = 0 ... lags - 1 apart for independent input: (lags, lags) float32.

    Mean over the axes' pixels of the kernel's overlap with its neighbour's; the (0, 0) element is 1. The variance of a
    sum over many pixels is the sum of variances times the sum of the correlation over positive and negative lags.
    """
    along = []
    for axis in axes:
        norm = (axis.weights**2).sum(axis=1)
        values = [1.0]
        for lag in range(1, lags):
            offset = axis.first[lag:] - axis.first[:-lag]
            overlap = np.zeros(len(offset))
            taps = axis.weights.shape[1]
            for tap in range(taps):
                other = tap - offset
                inside = (other >= 0) & (other < taps)
                rows = np.flatnonzero(inside)
                overlap[rows] += axis.weights[rows, tap] * axis.weights[rows + lag, other[rows]]
            values.append(float(np.mean(overlap / np.sqrt(norm[lag:] * norm[:-lag]))))
        along.append(np.array(values))
    return np.outer(along[0], along[1]).astype(np.float32)
