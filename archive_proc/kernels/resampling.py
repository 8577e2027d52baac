"""One interpolation of a plane: sub-pixel shift and anamorphism together, with weights, variance and flags.

Lanczos of order 4, separable: rows and columns are each a sparse matrix, so a plane costs a few sparse products and
any shift and scale is exact to the kernel. Rules of DESIGN 8: `value = sum(k w v) / sum(k w)`, w = 1 where the variance
is finite and 0 elsewhere; NaN where less than 70 % of the kernel's energy was valid; a flag spreads where its kernel
weight exceeds 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from archive_proc.model.flags import Flag

if TYPE_CHECKING:  # importing scipy.sparse takes time that planning need not pay
    from scipy.sparse import csr_array

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
    """(n_out,) first input pixel, may lie outside."""
    weights: Float64
    """(n_out, 8), sum 1."""
    n_in: int

    def matrix(self, power: int = 1) -> csr_array:
        """(n_out, n_in) float32, the weights to a power; taps outside the input are dropped."""
        from scipy.sparse import csr_array

        n_out, taps = self.weights.shape
        columns = self.first[:, None] + np.arange(taps)
        inside = (columns >= 0) & (columns < self.n_in)
        rows = np.broadcast_to(np.arange(n_out)[:, None], columns.shape)
        values = (self.weights**power).astype(np.float32)
        return csr_array((values[inside], (rows[inside], columns[inside])), shape=(n_out, self.n_in))


def lanczos_axis(positions: Float64, n_in: int) -> Axis:
    """Kernel that reads an axis of `n_in` pixels at these positions (n_out,), 0-based pixels of the input."""
    first = np.floor(positions).astype(np.intp) - (ORDER - 1)
    distance = positions[:, None] - (first[:, None] + np.arange(2 * ORDER))
    weights = np.sinc(distance) * np.sinc(distance / ORDER)
    return Axis(first, weights / weights.sum(axis=1, keepdims=True), n_in)


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

    def axes(self, star_x: float, star_y: float, shape: tuple[int, int]) -> tuple[Axis, Axis]:
        """Kernels along y and x for a star at (star_x, star_y) of an input of `shape` (ny, nx)."""
        steps = np.arange(self.size, dtype=np.float64) - self.size // 2
        return (
            lanczos_axis(star_y + self.step_y * steps, shape[0]),
            lanczos_axis(star_x + self.step_x * steps, shape[1]),
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


def shared_noise(stars: Float64, placement: Placement, shape: tuple[int, int]) -> SharedNoise:
    """Split noise that is white and fixed on the detector into what planes share and what differs between them.

    `stars` (n, 2) x and y of the star in planes of an input of `shape`. The variance of the mean of n planes is
    (n own + n (n - 1) common) / n^2: with own - common counted as noise of the plane, variance / n + common is exact.
    """
    chosen = stars[np.unique(np.linspace(0, len(stars) - 1, min(PAIRED_PLANES, len(stars))).round().astype(np.intp))]
    rows = np.linspace(0, placement.size - 1, PAIRED_ROWS).astype(np.intp)
    n = len(chosen)
    along_x, along_y = [], []
    for x, y in chosen:
        axis_y, axis_x = placement.axes(float(x), float(y), shape)
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


def resample_half(
    flux: Float32, variance: Float32, flags: Flags, star: tuple[float, float], placement: Placement
) -> Resampled:
    """Resample one half (ny, nx) so that the star comes to the middle pixel, in one interpolation.

    Pixels whose `variance` or `flux` is not finite have weight 0. Variance is propagated with the squared kernel and
    assumes independent input pixels; `correlation` says how far output pixels are not, and `shared_noise` how much of
    what planes share stays shared.
    """
    along_y, along_x = placement.axes(*star, flux.shape)
    valid = np.isfinite(variance) & np.isfinite(flux)
    one = valid.astype(np.float32)
    total = _apply(along_y, along_x, one, 1)
    energy = _apply(along_y, along_x, one, 2)
    value = _apply(along_y, along_x, np.where(valid, flux, np.float32(0.0)), 1)
    spread = _apply(along_y, along_x, np.where(valid, variance, np.float32(0.0)), 2)
    full = (along_y.weights**2).sum(axis=1)[:, None] * (along_x.weights**2).sum(axis=1)
    low = energy < np.float32(LEAST_ENERGY) * full.astype(np.float32)
    # NaN before the division: where nothing is valid, the kernel's sum is rounding noise.
    total[low] = np.nan
    norm = np.float32(placement.area) / total
    value *= norm
    spread *= norm * norm
    found = _spread_flags(along_y, along_x, flags)
    found[low & ((found & int(Flag.OUTSIDE)) == 0)] |= int(Flag.LOW_WEIGHT)
    return Resampled(value, spread, found)


def _apply(along_y: Axis, along_x: Axis, image: Float32, power: int) -> Float32:
    """Both kernels (to a power) on one image: (size_y, size_x) float32."""
    rows = along_y.matrix(power) @ image
    return np.ascontiguousarray((along_x.matrix(power) @ np.ascontiguousarray(rows.T)).T)


def _spread_flags(along_y: Axis, along_x: Axis, flags: Flags) -> Flags:
    """Flags of all input pixels whose weight exceeds `FLAG_WEIGHT`; beyond the input everything is OUTSIDE.

    Works through pairs of taps; where a pair is heavy for whole rows, as it is when columns are only shifted, rows are
    taken whole.
    """
    taps = along_x.weights.shape[1]
    margin = 2 * ORDER
    padded = np.pad(flags, margin, constant_values=int(Flag.OUTSIDE))
    last_y, last_x = padded.shape[0] - 1, padded.shape[1] - 1
    found = np.zeros((len(along_y.first), len(along_x.first)), np.uint16)
    weight_y, weight_x = np.abs(along_y.weights), np.abs(along_x.weights)
    columns = [np.clip(along_x.first + tap + margin, 0, last_x) for tap in range(taps)]
    for tap_y in range(taps):
        rows = np.flatnonzero(weight_y[:, tap_y] * weight_x.max() > FLAG_WEIGHT)
        if not rows.size:
            continue
        row_flags = padded[np.clip(along_y.first[rows] + tap_y + margin, 0, last_y)]
        if not row_flags.any():
            continue
        for tap_x in range(taps):
            least, most = float(weight_x[:, tap_x].min()), float(weight_x[:, tap_x].max())
            some = np.flatnonzero(weight_y[rows, tap_y] * most > FLAG_WEIGHT)
            if not some.size:
                continue
            taken = np.take(row_flags[some], columns[tap_x], axis=1)
            if most - least > 1e-12:
                heavy = weight_y[rows[some], tap_y][:, None] * weight_x[:, tap_x] > FLAG_WEIGHT
                taken = np.where(heavy, taken, np.uint16(0))
            found[rows[some]] |= taken
    return found


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
