"""Compiled loops: medians of planes and of rows, for all columns of some rows at once.

A median pixel by pixel jumps at every comparison. Here whole rows are compared with each other, place by place, which
the compiler makes vectors of: five to ten times as fast, and the numbers are the same.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from archive_proc.kernels.plane_light import BLOCK

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

TOGETHER = 8 * BLOCK
"""Columns that are put in order at a time: their rows stay in the nearest cache."""


@njit(cache=True)
def _order(rows: Float32, n: int, least: int) -> None:  # pragma: no cover
    """Put the values of the first n columns of rows (p, ..) in order, in place, from row `least` on.

    Whole rows are compared with each other, so that the compiler makes vectors of it.
    """
    # Bubbles: after each turn the largest that is left lies behind.
    for last in range(rows.shape[0] - 1, max(least, 1) - 1, -1):
        for j in range(last):
            one, two = rows[j, :n], rows[j + 1, :n]
            for i in range(one.size):
                low, high = min(one[i], two[i]), max(one[i], two[i])
                one[i] = low
                two[i] = high


@njit(cache=True)
def common_light(
    planes: Float32, floor: Float32, ratio: Float32, clean: Float32, scatter: Float32
) -> None:  # pragma: no cover
    """Median of planes (p, ny, nx) at ratio 1, pixel by pixel, and the planes' own scatter about it: (ny, nx) each.

    `ratio` (p, by, bx) brightness of a plane over the typical one in blocks of BLOCK px; `floor` (ny, nx) variance
    without source light. Of two planes the lower one where they disagree; scatter is known of four and more, else 0.
    """
    p, ny, nx = planes.shape
    room = np.empty((p, TOGETHER), np.float32)
    for y in range(ny):
        for left in range(0, nx, TOGETHER):
            n = min(TOGETHER, nx - left)
            for a in range(p):
                for start in range(0, n, BLOCK):
                    stop = min(start + BLOCK, n)
                    from_, to = planes[a, y, left + start : left + stop], room[a, start:stop]
                    r = ratio[a, y // BLOCK, (left + start) // BLOCK]
                    for i in range(from_.size):
                        to[i] = from_[i] / r
            _order(room, n, 0)
            middle, own = clean[y, left : left + n], scatter[y, left : left + n]
            if p > 2:
                below, above = room[(p - 1) // 2, :n], room[p // 2, :n]
                for i in range(middle.size):
                    middle[i] = above[i] if p % 2 else np.float32(0.5) * (below[i] + above[i])
            else:
                for i in range(middle.size):
                    one, two = room[0, i], room[1, i]
                    mean = np.float32(0.5) * (one + two)
                    apart = (two - one) ** 2 > 50.0 * (floor[y, left + i] + max(mean, np.float32(0.0)))
                    middle[i] = one if apart else mean
            # Half the range of the inner half: 1.35 sigma of a normal distribution.
            low, high = room[p // 4, :n], room[(3 * p) // 4, :n]
            for i in range(own.size):
                own[i] = (high[i] - low[i]) / np.float32(1.35) if p > 3 else np.float32(0.0)


@njit(cache=True)
def middle_plane(planes: Float32, out: Float32) -> None:  # pragma: no cover
    """Median of planes (p, ny, nx), pixel by pixel: out (ny, nx)."""
    p, ny, nx = planes.shape
    room = np.empty((p, TOGETHER), np.float32)
    for y in range(ny):
        for left in range(0, nx, TOGETHER):
            n = min(TOGETHER, nx - left)
            for a in range(p):
                from_, to = planes[a, y, left : left + n], room[a]
                for i in range(from_.size):
                    to[i] = from_[i]
            _order(room, n, (p - 1) // 2)
            below, above, middle = room[(p - 1) // 2, :n], room[p // 2, :n], out[y, left : left + n]
            for i in range(middle.size):
                middle[i] = np.float32(0.5) * (below[i] + above[i])


@njit(cache=True)
def _middle_of_rows(image: Float32, y: int, half: int, rows: Float32, out: Float32) -> None:  # pragma: no cover
    """Median of rows y - half to y + half, all of them: out (nx,); `rows` (2 half + 1, columns) is room."""
    size, wide = rows.shape
    for left in range(0, out.size, wide):
        n = min(wide, out.size - left)
        for j in range(size):
            from_, to = image[y - half + j, left : left + n], rows[j]
            for i in range(from_.size):
                to[i] = from_[i]
        _order(rows, n, half)
        from_, to = rows[half, :n], out[left : left + n]
        for i in range(from_.size):
            to[i] = from_[i]


@njit(cache=True)
def along_median(image: Float32, good: UInt8, half: int, out: Float32) -> None:  # pragma: no cover
    """Running median of good pixels along y over 2 half + 1 rows; the nearest row's value where there are none."""
    ny, nx = image.shape
    values = np.empty(2 * half + 1, np.float32)
    rows, known = np.empty((2 * half + 1, TOGETHER), np.float32), np.empty(nx, np.uint8)
    for y in range(ny):
        inside = y >= half and y + half < ny
        if inside:
            _middle_of_rows(image, y, half, rows, out[y])
            known[:] = 0
            for yy in range(y - half, y + half + 1):
                own = good[yy]
                for x in range(own.size):
                    known[x] += np.uint8(own[x] > 0)
        for x in range(nx):
            if inside and known[x] == values.size:
                continue
            count = 0
            for yy in range(max(0, y - half), min(ny, y + half + 1)):
                if good[yy, x]:
                    v = image[yy, x]
                    b = count
                    while b > 0 and values[b - 1] > v:
                        values[b] = values[b - 1]
                        b -= 1
                    values[b] = v
                    count += 1
            if count == 0:
                out[y, x] = out[y - 1, x] if y > 0 else np.float32(0.0)
            elif count % 2:
                out[y, x] = values[count // 2]
            else:
                out[y, x] = np.float32(0.5) * (values[count // 2 - 1] + values[count // 2])
