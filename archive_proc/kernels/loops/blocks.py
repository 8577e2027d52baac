"""Clipped means over blocks of 16 x 16 pixels (see `kernels.blocks` for what they are)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.loops.compiling import compiled

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLOCK = 16


@compiled
def block_means_of(
    values: Float32, factor: Float32, good: Mask, clip: float, cut: float, least: float, means: Float64, counts: Float64
) -> None:
    """Fill `means` and `counts` (n, ny / 16, nx / 16) from values x factor where good, all (n, ny, nx).

    Pixels further than `clip` standard deviations from the median of the block's row means are left out; the deviation
    is that of pixels within `cut` mean absolute deviations. Blocks that keep fewer than `least` pixels: NaN and 0.
    Products are float32, sums float64.
    """
    n, by, bx = means.shape
    some, rows = np.empty(BLOCK * BLOCK, np.float64), np.empty(BLOCK, np.float64)
    for one in range(n):
        for block_y in range(by):
            for block_x in range(bx):
                size, n_rows = 0, 0
                for y in range(BLOCK * block_y, BLOCK * block_y + BLOCK):
                    before, total = size, 0.0
                    for x in range(BLOCK * block_x, BLOCK * block_x + BLOCK):
                        value = values[one, y, x] * factor[one, y, x]
                        if good[one, y, x] and not np.isnan(value):
                            some[size] = value
                            total += value
                            size += 1
                    if size > before:
                        rows[n_rows] = total / (size - before)
                        n_rows += 1
                mean, kept = clipped(some[:size], middle(rows[:n_rows]), clip, cut)
                means[one, block_y, block_x] = mean if kept >= least else np.nan
                counts[one, block_y, block_x] = kept if kept >= least else 0.0


@compiled
def middle(rows: Float64) -> float:
    """Median of a few values, which are put in order; 0 of none."""
    n = rows.size
    for i in range(1, n):
        value, at = rows[i], i
        while at > 0 and rows[at - 1] > value:
            rows[at] = rows[at - 1]
            at -= 1
        rows[at] = value
    return 0.5 * (rows[(n - 1) // 2] + rows[n // 2]) if n > 0 else 0.0


@compiled
def clipped(some: Float64, centre: float, clip: float, cut: float) -> tuple[float, float]:
    """Mean of what is near `centre`, and how many that are."""
    n = some.size
    deviation = 0.0
    for i in range(n):
        deviation += abs(some[i] - centre)
    limit = cut * deviation / max(n, 1)
    squares, inside = 0.0, 0
    for i in range(n):
        away = abs(some[i] - centre)
        if away <= limit:
            squares += away * away
            inside += 1
    limit = clip * math.sqrt(squares / max(inside, 1))
    total, kept = 0.0, 0
    for i in range(n):
        if abs(some[i] - centre) <= limit:
            total += some[i]
            kept += 1
    return (total / kept if kept > 0 else np.nan), float(kept)
