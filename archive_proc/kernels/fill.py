"""Local means of good pixels: what stands in for useless ones, and what smooths light for a variance.

Filled values are a model, not data: their variance is NaN and their flag FILLED (DESIGN 8).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

RADII = (2, 5, 12)
"""Half widths of the neighbourhoods tried in turn, px: 5 x 5 first, wider where no good neighbour is found."""


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

    Weights fall as a Gaussian of half the radius, so the nearest count most. Values that are not `good` must be 0. Only
    the wanted pixels are computed; one without good neighbours within the last radius becomes 0: no light above the
    background.
    """
    left = np.flatnonzero(wanted)
    for radius in RADII:
        if not left.size:
            break
        filled, found = _means_at(values, good, left, radius)
        np.put(values, left[found], filled[found])
        left = left[~found]
    np.put(values, left, 0.0)


def _means_at(values: Float32, good: Mask, where: NDArray[np.intp], radius: int) -> tuple[Float32, Mask]:
    """Weighted means at flat positions, and where enough good neighbours stood behind them."""
    _, ny, nx = values.shape
    margin = ((0, 0), (radius, radius), (radius, radius))
    padded, allowed = np.pad(values, margin).ravel(), np.pad(good, margin).ravel()
    width = nx + 2 * radius
    half, rest = np.divmod(where, ny * nx)
    y, x = np.divmod(rest, nx)
    place = (half * (ny + 2 * radius) + y + radius) * width + x + radius
    total = np.zeros(len(where), np.float32)
    weight = np.zeros(len(where), np.float32)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            kernel = np.float32(np.exp(-2.0 * (dx * dx + dy * dy) / radius**2))
            near = place + (dy * width + dx)
            use = allowed[near]
            total += kernel * np.where(use, padded[near], np.float32(0.0))
            weight += kernel * use
    # One neighbour beside the pixel at the first radius, or several further out.
    found = weight >= np.float32(0.6)
    return np.asarray(total / np.maximum(weight, np.float32(1e-20)), np.float32), found
