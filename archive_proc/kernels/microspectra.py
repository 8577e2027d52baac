"""Templates: what one unit of flux in one channel of one lenslet looks like on the detector.

A channel's template is the PSFlet averaged over the channel's wavelengths with a weight (lamp or star times
transmission): `P(p; l, k) = sum_s w_s psf(p - X(l, lambda_s); lambda_s) / sum_s w_s`, sum 1. Within a channel the trace
is vertical to 0.005 px, so the average is taken along y only, in the spline's coefficients: exact for the spline.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from archive_proc.kernels.psflets import NODES, PsfletModel, spline_weights

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]

WIDE = 15
"""Columns of a template; one window for all channels of a lenslet."""
HIGH = 17
"""Rows of a template, about the channel's own place."""
_HALF_WIDE, _HALF_HIGH = WIDE // 2, HIGH // 2
_START = 9.5
_SPAN = 12
"""Nodes along y that the steps of a channel may touch together."""


@dataclass(frozen=True, slots=True)
class Templates:
    """Of n lenslets and m channels."""

    values: Float32
    """(n, m, 17 rows, 15 columns), sum 1."""
    x0: Int32
    """(n,) first column; may lie outside the detector."""
    y0: Int32
    """(n, m) first row."""


@njit(cache=True)
def _fill(
    colours: Float32,
    colour: Float64,
    weight: Float64,
    x: Float64,
    y: Float64,
    x0: Int32,
    y0: Int32,
    out: Float32,
) -> None:  # pragma: no cover
    """Templates of some lenslets.

    colours (n, c, nodes, nodes): coefficients of powers of the colour coordinate; colour (m,): that coordinate at the
    channels; weight (m, s) of the steps; x (n, m), y (n, m, s) positions.
    """
    n, powers = colours.shape[:2]
    m, steps = weight.shape
    image = np.empty((NODES, NODES), np.float32)
    wide = np.empty((NODES, WIDE), np.float32)
    along = np.empty(_SPAN)
    for lens in range(n):
        for k in range(m):
            u = 1.0
            for p in range(powers):
                for a in range(NODES):
                    for b in range(NODES):
                        if p == 0:
                            image[a, b] = colours[lens, 0, a, b]
                        else:
                            image[a, b] += np.float32(u) * colours[lens, p, a, b]
                u *= colour[k]
            t = (_START + x0[lens] - x[lens, k]) * 2.0
            node = int(np.floor(t))
            a0, a1, a2, a3 = spline_weights(t - node)
            node -= 1
            for r in range(NODES):
                for i in range(WIDE):
                    c = node + 2 * i
                    value = np.float32(0.0)
                    if c >= 0 and c + 3 < NODES:
                        value = np.float32(
                            a0 * image[r, c] + a1 * image[r, c + 1] + a2 * image[r, c + 2] + a3 * image[r, c + 3]
                        )
                    wide[r, i] = value
            along[:] = 0.0
            lowest = NODES
            for s in range(steps):
                t = (_START + y0[lens, k] - y[lens, k, s]) * 2.0
                lowest = min(lowest, int(np.floor(t)) - 1)
            total = 0.0
            for s in range(steps):
                t = (_START + y0[lens, k] - y[lens, k, s]) * 2.0
                first = int(np.floor(t))
                four = spline_weights(t - first)
                for j in range(4):
                    place = first - 1 + j - lowest
                    if place < _SPAN:
                        along[place] += weight[k, s] * four[j]
            for j in range(HIGH):
                for i in range(WIDE):
                    value = np.float32(0.0)
                    for p in range(_SPAN):
                        r = lowest + 2 * j + p
                        if r >= 0 and r < NODES and along[p] != 0.0:
                            value += np.float32(along[p]) * wide[r, i]
                    out[lens, k, j, i] = value
                    total += float(value)
            if total > 0:
                scale = np.float32(1.0 / total)
                for j in range(HIGH):
                    for i in range(WIDE):
                        out[lens, k, j, i] *= scale


def build_templates(
    model: PsfletModel,
    lenslets: tuple[Float64, Float64],
    positions: Float64,
    wavelengths: Float64,
    weight: Float64,
) -> Templates:
    """Templates of all channels of n lenslets.

    `lenslets` x and y (n,), pitches; `positions` (2, n, m, s) detector x and y of the steps' wavelengths; `wavelengths`
    (m, s) um; `weight` (m, s) relative flux density of the steps, which the template averages over.
    """
    n, m, _ = positions.shape[1:]
    weight = weight / weight.sum(axis=1, keepdims=True)
    x = np.einsum("nms,ms->nm", positions[0], weight)
    y = np.einsum("nms,ms->nm", positions[1], weight)
    x0 = (np.floor(x.mean(axis=1) + 0.5) - _HALF_WIDE).astype(np.int32)
    y0 = (np.floor(y + 0.5) - _HALF_HIGH).astype(np.int32)
    colour = np.sum(model.colour(wavelengths) * weight, axis=1)
    values = np.empty((n, m, HIGH, WIDE), np.float32)
    for first in range(0, n, 512):
        some = slice(first, min(first + 512, n))
        colours = model.by_power(lenslets[0][some], lenslets[1][some])
        _fill(colours, colour, weight, x[some], positions[1, some], x0[some], y0[some], values[some])
    return Templates(values, x0, y0)
