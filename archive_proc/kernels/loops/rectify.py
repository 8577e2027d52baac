"""Hexagons onto squares: areas of overlap, and one plane of lenslets spread over its images, channel by channel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.loops.compiling import compiled

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Flags = NDArray[np.uint16]

TOTAL, USED, VALUE, NOISE = 0, 1, 2, 3


@compiled
def _clip(polygon: Float64, count: int, axis: int, limit: float, keep_above: bool, out: Float64) -> int:
    """Cut a convex polygon (count, 2) at a line parallel to an axis; number of corners left."""
    made = 0
    for index in range(count):
        following = (index + 1) % count
        a, b = polygon[index, axis], polygon[following, axis]
        inside_a = a >= limit if keep_above else a <= limit
        inside_b = b >= limit if keep_above else b <= limit
        if inside_a:
            out[made, 0], out[made, 1] = polygon[index, 0], polygon[index, 1]
            made += 1
        if inside_a != inside_b:
            t = (limit - a) / (b - a)
            for side in range(2):
                out[made, side] = polygon[index, side] + t * (polygon[following, side] - polygon[index, side])
            made += 1
    return made


@compiled
def fill_overlaps(hexagon: Float64, at: Float64, out: Float64) -> None:
    """Area that a convex polygon (6, 2) about the origin shares with a unit square centred on (at[i], at[j]).

    Fills `out` (n, n), y first.
    """
    first, second = np.empty((16, 2)), np.empty((16, 2))
    for j in range(at.size):
        for i in range(at.size):
            first[:6] = hexagon
            count = _clip(first, 6, 0, at[i] - 0.5, True, second)
            count = _clip(second, count, 0, at[i] + 0.5, False, first)
            count = _clip(first, count, 1, at[j] - 0.5, True, second)
            count = _clip(second, count, 1, at[j] + 0.5, False, first)
            twice = 0.0
            for k in range(count):
                following = (k + 1) % count
                twice += first[k, 0] * first[following, 1] - first[following, 0] * first[k, 1]
            out[j, i] = abs(twice) / 2.0


@compiled
def _area(table: Float64, row: int, column: int, share_y: float, share_x: float) -> float:
    """The table between its nodes, bilinear: sums over pixels stay exactly those of the nodes."""
    low = table[row, column] * (1.0 - share_x) + table[row, column + 1] * share_x
    high = table[row + 1, column] * (1.0 - share_x) + table[row + 1, column + 1] * share_x
    return float(low * (1.0 - share_y) + high * share_y)


@compiled
def spread(
    places: Float64,
    centers: Float64,
    table: Float64,
    reach: Float64,
    steps: int,
    given: tuple[Float32, Float32, Flags],
    rules: tuple[float, float, float, float, int, int],
    out: tuple[Float32, Float32, Flags],
) -> None:
    """One plane onto squares.

    places (2, n): x and y of the lenslets, pixels from the point that `centers` (k, 2; x, y) places in each channel;
    table: areas at offsets of 1 / steps pixel, middle node for none; reach (2,): beyond it along x, y nothing overlaps.
    given: flux, variance, flags (k, n); out: the same (k, size, size). rules: hexagon's area, share that must carry a
    value, share above which flags spread, coverage below which a pixel is outside, flags for outside and for too
    little.
    """
    flux, variance, flags = given
    hexagon, covered, flag_share, least, outside, lacking = rules
    size = out[0].shape[1]
    middle = (table.shape[0] - 1) // 2
    sums = np.empty((size * size, 4))
    for channel in range(flux.shape[0]):
        sums[:] = 0.0
        marks = out[2][channel].reshape(-1)
        marks[:] = 0
        for turn in range(2):
            for lens in range(places.shape[1]):
                mark = flags[channel, lens]
                if turn == 1 and mark == 0:
                    continue
                x, y = places[0, lens] + centers[channel, 0], places[1, lens] + centers[channel, 1]
                value, noise = flux[channel, lens], variance[channel, lens]
                known = np.isfinite(value) and np.isfinite(noise)
                x0, x1 = max(0, int(np.ceil(x - reach[0]))), min(size - 1, int(np.floor(x + reach[0])))
                y0, y1 = max(0, int(np.ceil(y - reach[1]))), min(size - 1, int(np.floor(y + reach[1])))
                from_x, from_y = (x0 - x) * steps + middle, (y0 - y) * steps + middle
                column, row = int(np.floor(from_x)), int(np.floor(from_y))
                share_x, share_y = from_x - column, from_y - row
                for j in range(y1 - y0 + 1):
                    for i in range(x1 - x0 + 1):
                        area = _area(table, row + j * steps, column + i * steps, share_y, share_x)
                        pixel = (y0 + j) * size + x0 + i
                        if turn == 1:
                            if area > flag_share * sums[pixel, TOTAL]:
                                marks[pixel] |= mark
                            continue
                        sums[pixel, TOTAL] += area
                        if known:
                            sums[pixel, USED] += area
                            sums[pixel, VALUE] += area * value
                            sums[pixel, NOISE] += area * area * noise
        values, noises = out[0][channel].reshape(-1), out[1][channel].reshape(-1)
        for pixel in range(size * size):
            total, used = sums[pixel, TOTAL], sums[pixel, USED]
            if total >= least and used >= covered * total:
                values[pixel] = sums[pixel, VALUE] / (used * hexagon)
                noises[pixel] = sums[pixel, NOISE] / (used * hexagon) ** 2
                continue
            values[pixel] = np.nan
            noises[pixel] = np.nan
            if total >= least:
                marks[pixel] |= lacking
            else:
                marks[pixel] = outside
