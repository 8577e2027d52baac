"""Block means of a half and the way back: smooth maps from block means.

Everything thermal that varies is smooth over more than 30 pixels (notes/irdis 4.2), so it is fitted on means over
16 x 16 pixels. Going back, the interpolation is scaled so that the block means of what comes out are those that
went in.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeVar

import numpy as np
import scipy  # its subpackages load when first used: the planner imports recipes without computing
from numpy.typing import NDArray

BLOCK = 16
"""Pixels along one side of a block."""
HALF = 1024
"""Pixels along one side of a half."""
CLIP_SIGMA = 3.5
"""Pixels further from the mean of their block (in its own standard deviations) are left out once."""

LEAST = BLOCK * BLOCK / 8
"""Pixels that make a mean."""
GAUSSIAN = 1.2533
"""Standard deviation over mean absolute deviation of a Gaussian; tails are cut once at three of these."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
AnyArray = TypeVar("AnyArray", Float32, Mask)


def block_means(values: Float32, good: Mask, factor: Float32 | None = None) -> tuple[Float64, Float64]:
    """Clipped means over blocks of good pixels, and how many pixels entered each.

    values, good: (..., ny, nx), ny and nx multiples of `BLOCK`; `factor`, as values, multiplies them. Gives
    (..., ny/16, nx/16) float64 means in the unit of `values`, NaN where a block has fewer than an eighth of its pixels,
    and float64 counts. NaN is never good. One clip from the median of row means: it cannot be moved by a single cosmic
    ray as the mean can.
    """
    from archive_proc.kernels.loops.blocks import block_means_of

    *lead, ny, nx = values.shape
    shape = (math.prod(lead), ny, nx)
    means, counts = (np.empty((shape[0], ny // BLOCK, nx // BLOCK)) for _ in range(2))
    scale = np.ones(shape, np.float32) if factor is None else _whole(factor).reshape(shape)
    cut = 3.0 * GAUSSIAN
    block_means_of(
        _whole(values).reshape(shape), scale, _whole(good).reshape(shape), CLIP_SIGMA, cut, LEAST, means, counts
    )
    return means.reshape(*lead, *means.shape[1:]), counts.reshape(*lead, *means.shape[1:])


def _whole(array: AnyArray) -> AnyArray:
    """Writable and in one piece: for other arrays the loops would be compiled anew."""
    return np.require(array, requirements=("C", "W"))


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
