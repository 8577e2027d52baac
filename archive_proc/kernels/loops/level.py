"""The level under a plane: smooth change through the flat, on top of the master's own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.loops.compiling import compiled

Float32 = NDArray[np.float32]


@compiled
def put_on_level(smooth: Float32, still: Float32, response: Float32, level: Float32) -> None:
    """Turn `smooth` into level + response x (smooth - still); four arrays (ny, nx) float32."""
    for y in range(smooth.shape[0]):
        add_row(still[y], response[y], level[y], smooth[y])


@compiled
def add_row(still: Float32, response: Float32, level: Float32, out: Float32) -> None:
    """One row of it."""
    for i in range(out.size):
        out[i] = (out[i] - still[i]) * response[i] + level[i]
