"""Block means of a half and the way back: smooth maps from block means.

Everything thermal that varies is smooth over more than 30 pixels (notes/irdis 4.2), so it is fitted on means over
16 x 16 pixels. Going back, the interpolation is scaled so that the block means of what comes out are those that
went in.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy  # its subpackages load when first used: the planner imports recipes without computing
from numpy.typing import NDArray

BLOCK = 16
"""Pixels along one side of a block."""
HALF = 1024
"""Pixels along one side of a half."""
CLIP_SIGMA = 3.5
"""Pixels further from the mean of their block (in its own standard deviations) are left out once."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]


def block_means(values: Float32, good: Mask) -> tuple[Float64, Float64]:
    """Clipped means over blocks of good pixels, and how many pixels entered each.

    values, good: (..., ny, nx), ny and nx multiples of `BLOCK`. Gives (..., ny/16, nx/16) float64 means in the unit of
    `values`, NaN where a block has fewer than an eighth of its pixels, and float64 counts.
    One clip from the median of row means: it cannot be moved by a single cosmic ray as the mean can.
    """
    *lead, ny, nx = values.shape
    shape = (*lead, ny // BLOCK, BLOCK, nx // BLOCK, BLOCK)
    weight = good.reshape(shape).astype(np.float32)
    cells = np.where(good, values, np.float32(0)).reshape(shape)
    row_n = weight.sum(axis=-1)
    row_sum = cells.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = np.where(row_n > 0, row_sum / row_n, np.nan)
    centre = _median_of_rows(rows)[..., :, None, :, None]
    away = (cells - centre) * weight
    count = weight.sum(axis=(-3, -1))
    spread = _robust_spread(away, weight, count)
    np.abs(away, out=away)
    weight *= away <= (CLIP_SIGMA * spread)[..., :, None, :, None]
    kept = weight.sum(axis=(-3, -1), dtype=np.float64)
    total = np.einsum("...aibj,...aibj->...ab", cells, weight, optimize=False).astype(np.float64)
    few = kept < BLOCK * BLOCK / 8
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(few, np.nan, total / kept)
    return means, np.where(few, 0.0, kept)


def _median_of_rows(rows: Float32) -> Float32:
    """Median over the 16 rows of each block; 0 where no row has a good pixel."""
    filled = np.sort(rows, axis=-2)  # NaN sorts last
    n = np.isfinite(rows).sum(axis=-2, keepdims=True)
    lower = np.take_along_axis(filled, np.maximum((n - 1) // 2, 0), axis=-2)
    upper = np.take_along_axis(filled, np.minimum(n // 2, BLOCK - 1), axis=-2)
    middle: Float32 = np.where(n > 0, 0.5 * (lower + upper), np.float32(0)).squeeze(-2)
    return middle


def _robust_spread(away: Float32, weight: Float32, count: Float32) -> Float32:
    """Standard deviation of the good pixels of each block, tails cut once at three times the mean deviation's."""
    n = np.maximum(count, 1.0)
    mean_deviation = np.abs(away).sum(axis=(-3, -1)) / n
    # 1.2533: standard deviation over mean absolute deviation of a Gaussian.
    limit = (3.0 * 1.2533 * mean_deviation)[..., :, None, :, None]
    inside = np.abs(away) <= limit
    kept = np.maximum((weight * inside).sum(axis=(-3, -1)), 1.0)
    squares = np.where(inside, away, np.float32(0))
    spread: Float32 = np.sqrt(np.einsum("...aibj,...aibj->...ab", squares, squares, optimize=False) / kept)
    return spread


def fill_nearest(blocks: Float64) -> Float64:
    """Blocks (..., by, bx) with each NaN replaced by the nearest finite block of its own map; 0 where there is none."""
    flat = blocks.reshape(-1, *blocks.shape[-2:])
    out = np.empty_like(flat)
    for one, target in zip(flat, out, strict=True):
        missing = ~np.isfinite(one)
        if missing.all():
            target[:] = 0.0
        elif missing.any():
            nearest = scipy.ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
            target[:] = one[tuple(nearest)]
        else:
            target[:] = one
    return out.reshape(blocks.shape)


@lru_cache(maxsize=512)
def _upsampling(n_blocks: int, shift: float) -> Float32:
    matrix = _cubic(n_blocks, shift) @ _mean_preserving(n_blocks)
    out = matrix.astype(np.float32)
    out.setflags(write=False)
    return out


@lru_cache(maxsize=4)
def _mean_preserving(n_blocks: int) -> Float64:
    still = _cubic(n_blocks, 0.0)
    inverse: Float64 = np.linalg.inv(still.reshape(n_blocks, BLOCK, n_blocks).mean(axis=1))
    return inverse


def _cubic(n_blocks: int, shift: float) -> Float64:
    """Keys' cubic convolution (a = -1/2; Keys 1981, IEEE ASSP 29) from block centres to pixels, edges repeated."""
    pixels = np.arange(n_blocks * BLOCK, dtype=np.float64)
    at = (pixels - shift + 0.5) / BLOCK - 0.5
    base = np.floor(at).astype(np.int64)
    matrix = np.zeros((pixels.size, n_blocks))
    rows = np.arange(pixels.size)
    for step in (-1, 0, 1, 2):
        distance = np.abs(at - (base + step))
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1.0
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4.0 * distance + 2.0
        weight = np.where(distance <= 1.0, near, np.where(distance < 2.0, far, 0.0))
        np.add.at(matrix, (rows, np.clip(base + step, 0, n_blocks - 1)), weight)
    return matrix


def upsample(
    blocks: Float64,
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    rows: slice = slice(None),
    columns: slice = slice(None),
    into: Float32 | None = None,
) -> Float32:
    """A smooth map from finite block values by two matrix products.

    blocks: (..., by, bx) finite. Gives (..., 16 by, 16 bx) float32 in the same unit, moved by `shift` = (x, y) pixels,
    or only its `rows` and `columns`; `into` where given. Without shift the block means of the result equal `blocks`.
    """
    up_y = _upsampling(blocks.shape[-2], float(shift[1]))[rows]
    up_x = _upsampling(blocks.shape[-1], float(shift[0]))[columns]
    out: Float32 = np.matmul(up_y @ blocks.astype(np.float32), up_x.T, out=into)
    return out


def shift_blocks(blocks: Float64, shift: tuple[float, float]) -> Float64:
    """Block means of the smooth map through `blocks` (..., by, bx; finite) after a move by `shift` = (x, y) pixels."""
    if shift == (0.0, 0.0):
        return blocks
    down_y = _upsampling(blocks.shape[-2], float(shift[1])).reshape(blocks.shape[-2], BLOCK, -1).mean(axis=1)
    down_x = _upsampling(blocks.shape[-1], float(shift[0])).reshape(blocks.shape[-1], BLOCK, -1).mean(axis=1)
    out: Float64 = down_y.astype(np.float64) @ blocks @ down_x.astype(np.float64).T
    return out


def block_centres(n_blocks: int = HALF // BLOCK) -> Float64:
    """(n,) 0-based pixel coordinate of each block's middle along one axis."""
    centres: Float64 = (np.arange(n_blocks, dtype=np.float64) + 0.5) * BLOCK - 0.5
    return centres
