"""Local means of good pixels: what stands in for useless ones, and what smooths light for a variance.

Filled values are a model, not data: their variance is NaN and their flag FILLED (DESIGN 8).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

RADII = (2, 5, 12)
"""Half widths of the neighbourhoods tried in turn, px: 5 x 5 first, wider where no good neighbour is found."""
ENOUGH = np.float32(0.6)
"""Weight of good neighbours that makes a mean: one beside the pixel at the first radius, or several further out."""


def box_mean(values: Float32, good: Mask) -> Float32:
    """3 x 3 mean over good pixels, (..., ny, nx) float32; 0 where there are none. Bad `values` must be 0."""
    total = _box_sum(values)
    count = _box_sum(good.astype(np.float32))
    return np.asarray(total / np.maximum(count, np.float32(1.0)), np.float32)


def _box_sum(values: Float32) -> Float32:
    rows = values.copy()
    rows[..., 1:, :] += values[..., :-1, :]
    rows[..., :-1, :] += values[..., 1:, :]
    summed = rows.copy()
    summed[..., :, 1:] += rows[..., :, :-1]
    summed[..., :, :-1] += rows[..., :, 1:]
    return summed


def local_means(values: Float32, wanted: Mask, good: Mask) -> None:
    """Fill the wanted pixels of `values` (2, ny, nx), in place, with a weighted mean of good ones around them.

    Weights fall as a Gaussian of half the radius, so the nearest count most. Only the wanted pixels are computed; one
    without good neighbours within the last radius becomes 0: no light above the background.
    """
    fill_positions(values, np.flatnonzero(wanted), good)


def fill_positions(values: Float32, wanted: NDArray[np.int64], good: Mask) -> None:
    """As `local_means`, for flat positions that are not good."""
    from archive_proc.kernels.loops.fill import fill_pixels

    for radius in RADII:
        wanted = fill_pixels(values, wanted, good, _kernel(radius), radius, ENOUGH)
    values.reshape(-1)[wanted] = 0.0


@cache
def _kernel(radius: int) -> Float32:
    step = np.arange(-radius, radius + 1)
    return np.exp(-2.0 * (step[:, None] ** 2 + step**2) / radius**2).astype(np.float32)
