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


@compiled
def take_off(raw: Float32, level: Float32, offsets: Float32, out: Float32) -> None:
    """Fill `out` (2, ny, nx) with raw (ny, 2 nx) - level (2, ny, nx) - offsets (2, 2, nx) of both vertical halves."""
    _, ny, nx = out.shape
    for half in range(2):
        for y in range(ny):
            part = 0 if y < ny // 2 else 1
            subtract_row(raw[y, half * nx : (half + 1) * nx], level[half, y], offsets[half, part], out[half, y])


@compiled
def subtract_row(raw: Float32, level: Float32, offsets: Float32, out: Float32) -> None:
    """One row of it."""
    for i in range(out.size):
        out[i] = (raw[i] - level[i]) - offsets[i]
