"""Which pixels stand above their neighbours more sharply than light can: one look at each bright pixel's 5 x 5."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.loops.compiling import compiled

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


@compiled
def sharp_positions(
    values: Float32, variance: Float32, good: Mask, steep: NDArray[np.float64], sigma: float, fewest: int
) -> NDArray[np.int64]:
    """Flat positions of the good pixels (n, ny, nx) that no light explains; `steep` (n) how far light may rise.

    Let near be the mean of the good ones among eight neighbours, far that of the ring of 16: sharp is what exceeds near
    by `sigma` standard deviations of the difference and by `steep` times the larger of near and far.
    """
    n, ny, nx = values.shape
    found, size = np.empty(values.size, np.int64), 0
    for plane in range(n):
        for y in range(ny):
            for x in range(nx):
                own = values[plane, y, x]
                if not good[plane, y, x] or own <= 0.0 or own * own <= sigma * sigma * variance[plane, y, x]:
                    continue
                near, n_near, far, n_far = 0.0, 0, 0.0, 0
                for dy in range(-2, 3):
                    if y + dy < 0 or y + dy >= ny:
                        continue
                    for dx in range(-2, 3):
                        if x + dx < 0 or x + dx >= nx or not good[plane, y + dy, x + dx] or (dy == 0 and dx == 0):
                            continue
                        if abs(dy) <= 1 and abs(dx) <= 1:
                            near += values[plane, y + dy, x + dx]
                            n_near += 1
                        else:
                            far += values[plane, y + dy, x + dx]
                            n_far += 1
                if n_near < fewest:
                    continue
                near /= n_near
                light = max(near, far / max(n_far, 1), 0.0)
                noise = np.sqrt(variance[plane, y, x] * (1.0 + 1.0 / n_near))
                if own - near > sigma * noise + steep[plane] * light:
                    found[size] = (plane * ny + y) * nx + x
                    size += 1
    return found[:size].copy()
