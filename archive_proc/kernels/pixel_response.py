"""Response of every pixel: the light a lamp adds between DITs, its large-scale shape divided out (notes/ifs 6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

BLOCK = 32
"""Pixels along a side of the blocks whose medians give the lamp's shape."""
DEGREE = 3
"""Of the polynomial through the block medians; what it leaves is smoothed."""
SMOOTH_BLOCKS = 1.5
"""Gaussian over block medians: their noise, 0.05 % for pixels that differ by 1.2 %, must not enter the shape."""
DARK_BLOCK = 0.1
"""A block below this share of the median block shows no lamp: its place takes its neighbours' shape."""


def light_between(levels: Sequence[Float32], variances: Sequence[Float32], dits_s: Float64) -> tuple[Float32, Float32]:
    """Slope of levels (ny, nx) ADU against DIT, ADU/s, and its variance: no dark is needed, what is constant drops out.

    Least squares with equal weights; raises ValueError with fewer than two different DITs.
    """
    away = np.asarray(dits_s, np.float64) - float(np.mean(dits_s))
    if float(np.ptp(away)) <= 0.0:
        raise ValueError("a slope needs two DITs")
    weights = away / float(np.sum(away**2))
    slope = np.zeros(levels[0].shape, np.float32)
    variance = np.zeros_like(slope)
    for weight, level, spread in zip(weights, levels, variances, strict=True):
        slope += np.float32(weight) * level
        variance += np.float32(weight**2) * spread
    return slope, variance


def line_residual(levels: Sequence[Float32], variances: Sequence[Float32], dits_s: Float64, slope: Float32) -> Float32:
    """Root of reduced chi squared of the straight line through three or more levels; NaN with two."""
    n = len(levels)
    if n < 3:
        return np.full(slope.shape, np.nan, np.float32)
    away = np.asarray(dits_s, np.float64) - float(np.mean(dits_s))
    middle = np.mean(levels, axis=0, dtype=np.float32)
    total = np.zeros_like(slope)
    for at, level, spread in zip(away, levels, variances, strict=True):
        total += np.square(level - middle - np.float32(at) * slope) / spread
    return np.asarray(np.sqrt(total / np.float32(n - 2)), np.float32)


@dataclass(frozen=True, slots=True)
class LampShape:
    """The lamp's large-scale shape."""

    shape: Float32
    """(ny, nx) in the unit of the image."""
    faintest: float
    """5th percentile of the blocks over their median."""


def lamp_shape(image: Float32) -> LampShape:
    """The smooth shape of a lamp's light (ny, nx): medians of 32 x 32 blocks (sides are multiples), made smooth.

    Dead pixels do not count; blocks that are mostly dead take the shape of their neighbours.
    """
    from scipy import ndimage

    ny, nx = image.shape
    blocks = np.median(
        image.reshape(ny // BLOCK, BLOCK, nx // BLOCK, BLOCK).swapaxes(1, 2).reshape(ny // BLOCK, nx // BLOCK, -1),
        axis=2,
    ).astype(np.float64)
    middle = float(np.median(blocks))
    faintest = float(np.percentile(blocks, 5.0) / middle) if middle > 0 else 0.0
    lit = blocks > DARK_BLOCK * middle
    if not lit.any():
        return LampShape(np.full(image.shape, middle, np.float32), faintest)
    at_y, at_x = (_centred(BLOCK * np.arange(n, dtype=np.float64) + (BLOCK - 1) / 2, n * BLOCK) for n in blocks.shape)
    terms = _powers(at_y, at_x)
    degree = terms.shape[0] if int(lit.sum()) > 2 * terms.shape[0] else 1
    coefficients = np.asarray(np.linalg.lstsq(terms[:degree, lit].T, blocks[lit], rcond=None)[0], np.float64)
    # What the polynomial leaves is small and smooth: at the edges and over dead blocks it goes to zero.
    left = np.where(lit, blocks - np.einsum("t,tyx->yx", coefficients, terms[:degree]), 0.0)
    weight = ndimage.gaussian_filter(lit.astype(np.float64), SMOOTH_BLOCKS, mode="nearest")
    smooth = ndimage.gaussian_filter(left, SMOOTH_BLOCKS, mode="nearest") / np.maximum(weight, 0.1)
    fine = ndimage.zoom(smooth, BLOCK, order=3, mode="nearest", grid_mode=True)
    at_y, at_x = (_centred(np.arange(n, dtype=np.float64), n) for n in (ny, nx))
    # Some rows at a time: all terms of all pixels would take more memory than everything else here.
    for first in range(0, ny, BLOCK):
        rows = slice(first, first + BLOCK)
        fine[rows] += np.einsum("t,tyx->yx", coefficients, _powers(at_y[rows], at_x)[:degree])
    return LampShape(np.asarray(fine, np.float32), faintest)


def _centred(at: Float64, length: int) -> Float64:
    """Pixel positions along an axis on the range -1 to 1."""
    return np.asarray((2.0 * at - (length - 1)) / length, np.float64)


def _powers(y: Float64, x: Float64) -> Float64:
    """(terms, ny, nx) products of powers of two axes, total degree up to DEGREE, the constant first."""
    powers = [(i, j) for total in range(DEGREE + 1) for i in range(total + 1) for j in (total - i,)]
    return np.stack([np.outer(y**i, x**j) for i, j in powers])
