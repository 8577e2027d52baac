"""What stands in for a useless pixel: the weighted mean of good ones around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.loops.compiling import compiled

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

ZERO = np.float32(0.0)


@compiled
def fill_pixels(
    values: Float32, wanted: NDArray[np.int64], good: Mask, kernel: Float32, radius: int, least: np.float32
) -> NDArray[np.int64]:
    """Weighted means of good pixels around the wanted flat positions of `values` (n, ny, nx), in place.

    kernel (2 radius + 1, 2 radius + 1) float32; positions whose good neighbours weigh less than `least` are left as
    they are and given back.
    """
    _, ny, nx = values.shape
    left, n = np.empty(wanted.size, np.int64), 0
    for position in wanted:
        half, rest = divmod(position, ny * nx)
        y, x = divmod(rest, nx)
        total, weight = ZERO, ZERO
        for dy in range(-radius, radius + 1):
            if y + dy < 0 or y + dy >= ny:
                continue
            for dx in range(-radius, radius + 1):
                if 0 <= x + dx < nx and good[half, y + dy, x + dx]:
                    total += kernel[dy + radius, dx + radius] * values[half, y + dy, x + dx]
                    weight += kernel[dy + radius, dx + radius]
        if weight >= least:
            values[half, y, x] = total / weight
        else:
            left[n] = position
            n += 1
    return left[:n]
