"""Compiled loops: an image on squares of pixels, and back."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]


@njit(cache=True)
def mean_of_squares(image: Float32, good: Mask, out: Float64) -> None:  # pragma: no cover
    """Mean of the good pixels of an image (ny, nx) in squares: out (by, bx); 0 where there are none."""
    by, bx = out.shape
    high, wide = image.shape[0] // by, image.shape[1] // bx
    count = np.zeros(bx, np.int64)
    for row in range(by):
        total = out[row]
        total[:] = 0.0
        count[:] = 0
        for y in range(row * high, (row + 1) * high):
            for column in range(bx):
                for x in range(column * wide, (column + 1) * wide):
                    if good[y, x]:
                        total[column] += image[y, x]
                        count[column] += 1
        for column in range(bx):
            total[column] /= max(count[column], 1)


@njit(cache=True)
def _between(size: int, of: int, low: NDArray[np.int64], share: Float32) -> None:  # pragma: no cover
    """For each of `size` pixels that `of` squares cover: the square whose centre is before it, the next one's share.

    Beyond the outermost centres the squares there hold alone.
    """
    for i in range(size):
        place = min(max((i + 0.5) * of / size - 0.5, 0.0), of - 1.0)
        low[i] = min(int(place), max(of - 2, 0))
        share[i] = place - low[i]


@njit(cache=True)
def add_from_squares(squares: Float32, times: np.float32, image: Float32) -> None:  # pragma: no cover
    """Add `times` the values of squares (by, bx), on straight lines between their centres, to an image (ny, nx)."""
    by, bx = squares.shape
    ny, nx = image.shape
    rows, down = np.empty(ny, np.int64), np.empty(ny, np.float32)
    columns, across = np.empty(nx, np.int64), np.empty(nx, np.float32)
    _between(ny, by, rows, down)
    _between(nx, bx, columns, across)
    line = np.empty(bx + 1, np.float32)
    for y in range(ny):
        one, two, b = squares[rows[y]], squares[min(rows[y] + 1, by - 1)], down[y]
        for c in range(bx):
            line[c] = times * (one[c] + b * (two[c] - one[c]))
        line[bx] = line[bx - 1]
        to = image[y]
        for x in range(nx):
            c = columns[x]
            to[x] += line[c] + across[x] * (line[c + 1] - line[c])
