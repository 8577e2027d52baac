"""Cosmic rays by comparison in time: a plane against neighbours of the same dither (notes/irdis 4.1, item 4).

A filter in space alone would eat the core of the star and the waffle spots. Here a pixel must rise against its own
past and future, and more sharply than light through the telescope can.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIGMA = 6.0
"""Of the propagated variance."""
GRADIENT = 0.1
"""Share of the local gradient added to the limit: neighbours are aligned to about a tenth of a pixel."""
STARLIGHT = 0.3
"""Share of the star's own light added to the limit: speckles and transmission change by 10-20 % from plane to plane."""
GROW_SIGMA = 3.0
"""Pixels beside a hit that rise by this much belong to it."""
SHARPNESS = 2.0
"""A hit exceeds the mean of its eight neighbours by this factor; a core of light, over 2.5 px wide, does not."""


def time_reference(neighbours: Sequence[Float32]) -> tuple[Float32, float]:
    """What neighbours in time say, and its variance in units of one plane's.

    One neighbour: itself; two: the lower (a hit in one of them cannot matter); three or four: the median.
    """
    if len(neighbours) == 1:
        return neighbours[0], 1.0
    if len(neighbours) == 2:
        return np.minimum(neighbours[0], neighbours[1]), 0.68
    if len(neighbours) == 3:
        a, b, c = neighbours
        return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c)), 0.45
    a, b, c, d = neighbours[:4]
    low = np.maximum(np.minimum(a, b), np.minimum(c, d))
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    return np.asarray(np.float32(0.5) * (low + high), np.float32), 0.30


def cosmic_rays(
    plane: Float32,
    neighbours: Sequence[Float32],
    *,
    background: Float32,
    pedestal: Float32,
    read_noise: Float32,
    gain: float,
    good: Mask,
) -> Mask:
    """Pixels of one plane hit by cosmic rays, (2, ny, nx) bool; none where there are no neighbours.

    plane, neighbours: (2, ny, nx) float32 ADU per DIT; background: level without the star's light, pedestal: without
    any, ADU; read_noise: ADU; gain: e-/ADU; good: pixels judged. A smooth drift between planes is taken out as the
    median.
    """
    if not neighbours:
        return np.zeros(plane.shape, bool)
    reference, share = time_reference(neighbours)
    rise = plane - reference
    for half in range(len(rise)):
        rise[half] -= np.float32(np.median(rise[half][::8, ::8][good[half][::8, ::8]])) if good[half].any() else 0.0
    light = np.maximum(reference - pedestal, np.float32(0.0))
    variance = (light * np.float32(1.0 / gain) + read_noise**2) * np.float32(1.0 + share)
    sure = good & (rise > 0) & (rise * rise > np.float32(SIGMA**2) * variance)
    hits = np.argwhere(sure)
    if not hits.size:
        return np.zeros(plane.shape, bool)
    hits = hits[_is_hit(hits, rise, variance, reference, background, good)]
    found = np.zeros(plane.shape, bool)
    found[hits[:, 0], hits[:, 1], hits[:, 2]] = True
    _grow(found, hits, rise, variance, reference - background, good)
    return found


def _around(hits: NDArray[np.intp], shape: tuple[int, ...]) -> list[tuple[NDArray[np.intp], ...]]:
    """Indices of the eight neighbours of each hit, edges repeated."""
    half, y, x = hits.T
    return [
        (half, np.clip(y + dy, 0, shape[1] - 1), np.clip(x + dx, 0, shape[2] - 1))
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if (dy, dx) != (0, 0)
    ]


def _is_hit(
    hits: NDArray[np.intp], rise: Float32, variance: Float32, reference: Float32, background: Float32, good: Mask
) -> Mask:
    """Limit raised by the local gradient and the star's light, and sharper than a core of light."""
    around = _around(hits, rise.shape)
    inside = np.stack([good[where] for where in around])
    values = np.stack([rise[where] for where in around])
    mean = np.where(inside, values, 0.0).sum(axis=0) / np.maximum(inside.sum(axis=0), 1)
    half, y, x = hits.T
    _, ny, nx = rise.shape
    up, down = np.minimum(y + 1, ny - 1), np.maximum(y - 1, 0)
    right, left = np.minimum(x + 1, nx - 1), np.maximum(x - 1, 0)
    slope = np.hypot(
        reference[half, up, x] - reference[half, down, x], reference[half, y, right] - reference[half, y, left]
    )
    own = rise[half, y, x]
    limit = SIGMA * np.sqrt(variance[half, y, x]) + GRADIENT * 0.5 * slope
    limit += STARLIGHT * np.maximum(reference[half, y, x] - background[half, y, x], 0.0)
    return np.asarray((own > limit) & (own > SHARPNESS * mean))


def _grow(
    found: Mask, hits: NDArray[np.intp], rise: Float32, variance: Float32, starlight: Float32, good: Mask
) -> None:
    """Add the neighbours that rise with a hit, in place."""
    for where in _around(hits, rise.shape):
        limit = GROW_SIGMA * np.sqrt(variance[where]) + STARLIGHT * np.maximum(starlight[where], 0.0)
        with_it = good[where] & (rise[where] > limit)
        found[tuple(one[with_it] for one in where)] = True
