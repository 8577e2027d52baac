"""Small cut-outs: moved by a fraction of a pixel, and the sums of a weighted fit over their pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.loops.compiling import compiled

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

TAPS = 8
BASIS = 5
"""Model, constant, slope along x, slope along y, data."""


@compiled
def move_good(
    values: Float32,
    weight: Float32,
    first: tuple[int, int],
    kernels: Float64,
    least: float,
    out: Float32,
    valid: Float32,
) -> None:
    """Fill `out` with the good pixels (weight > 0) of `values` (n, n) moved; `valid` with 1 where enough was.

    Output pixel (y, x) takes input pixels first + (y, x) + 0 ... 7 with kernels[0] along y and kernels[1] along x,
    (2, 8). sum(k v) / sum(k) over good pixels; not valid where sum(k), or sum(k^2) over that of the pixels inside, is
    below `least`.
    """
    n = values.shape[0]
    squares = kernels * kernels
    rows, whole = np.zeros((3, n, n)), np.zeros((2, n))
    for y in range(n):
        for tap in range(TAPS):
            at = y + first[0] + tap
            if 0 <= at < n:
                add_good(values[at], weight[at], kernels[0, tap], squares[0, tap], rows[0, y], rows[1, y], rows[2, y])
                whole[0, y] += squares[0, tap]
            if 0 <= y + first[1] + tap < n:
                whole[1, y] += squares[1, tap]
    total, norm, energy = np.empty(n), np.empty(n), np.empty(n)
    for y in range(n):
        for x in range(n):
            total[x] = norm[x] = energy[x] = 0.0
        for tap in range(TAPS):
            shift = first[1] + tap
            low, high = max(0, -shift), min(n, n - shift)
            if low < high:
                add_times(rows[0, y, low + shift : high + shift], kernels[1, tap], total[low:high])
                add_times(rows[1, y, low + shift : high + shift], kernels[1, tap], norm[low:high])
                add_times(rows[2, y, low + shift : high + shift], squares[1, tap], energy[low:high])
        for x in range(n):
            fine = energy[x] >= least * (whole[0, y] * whole[1, x]) and norm[x] > least
            out[y, x] = total[x] / norm[x] if fine else 0.0
            valid[y, x] = 1.0 if fine else 0.0


@compiled
def add_good(
    values: Float32, weight: Float32, kernel: float, square: float, total: Float64, norm: Float64, energy: Float64
) -> None:
    """Add one row of good pixels, its number of them, and their energy."""
    for x in range(values.size):
        good = weight[x] > 0.0
        total[x] += kernel * values[x] if good else 0.0
        norm[x] += kernel if good else 0.0
        energy[x] += square if good else 0.0


@compiled
def add_times(row: Float64, factor: float, out: Float64) -> None:
    """Add factor x row."""
    for x in range(out.size):
        out[x] += factor * row[x]


@compiled
def fit_sums(
    images: Float32, where: NDArray[np.intp], value: Float64, photon: Float64, change: Float64, factor: float
) -> Float64:
    """(5, 5) sums of w a b over pixels, a and b of: model, 1, two slopes, data; w = 1 / (photon + factor x change).

    images (3, n): model and slopes; `where` (m,) the pixels of them that count; value, photon, change (m,).
    """
    sums = np.zeros((BASIS, BASIS))
    for i in range(where.size):
        at = where[i]
        w = 1.0 / (photon[i] + factor * change[i])
        model, along_x, along_y, data = (
            np.float64(images[0, at]),
            np.float64(images[1, at]),
            np.float64(images[2, at]),
            value[i],
        )
        sums[0, 0] += w * model * model
        sums[0, 1] += w * model
        sums[0, 2] += w * model * along_x
        sums[0, 3] += w * model * along_y
        sums[0, 4] += w * model * data
        sums[1, 1] += w
        sums[1, 2] += w * along_x
        sums[1, 3] += w * along_y
        sums[1, 4] += w * data
        sums[2, 2] += w * along_x * along_x
        sums[2, 3] += w * along_x * along_y
        sums[2, 4] += w * along_x * data
        sums[3, 3] += w * along_y * along_y
        sums[3, 4] += w * along_y * data
        sums[4, 4] += w * data * data
    for a in range(BASIS):
        for b in range(a):
            sums[a, b] = sums[b, a]
    return sums
