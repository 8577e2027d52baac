"""Templates: what one unit of flux in one channel of one lenslet looks like on the detector.

A channel's template is the PSFlet averaged over the channel's wavelengths with a weight (lamp or star times
transmission): `P(p; l, k) = sum_s w_s psf(p - X(l, lambda_s); lambda_s) / sum_s w_s`, sum 1. Within a channel the trace
is vertical to 0.005 px, so the average is taken along y only, in the spline's coefficients: exact for the spline.

A full set has 730 000 templates. They are kept as 16-bit counts with a scale each (half the memory, error below 2e-5
of the peak), in rows of 16 columns so that loops over a row are whole vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from archive_proc.kernels.loops.spots import spline_weights
from archive_proc.kernels.psflets import NODES, PsfletModel

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]

WIDE = 15
"""Columns of a template; one window for all channels of a lenslet."""
ROW = 16
"""Columns it is kept in: the last is empty."""
HIGH = 17
"""Rows of a template, about the channel's own place."""
FULL_SCALE = 32000
"""Counts of a template's largest pixel."""
_HALF_WIDE, _HALF_HIGH = WIDE // 2, HIGH // 2
_START = 9.5
_SPAN = 12
"""Nodes along y that the steps of a channel may touch together."""
_HALF_NODES = NODES // 2
_FAST = {"reassoc", "contract"}


@dataclass(frozen=True, slots=True)
class Templates:
    """Of n lenslets and m channels."""

    counts: Int16
    """(n, m, 17 rows, 16 columns); times `scale` they sum to 1."""
    scale: Float32
    """(n, m) one count, of one unit of flux."""
    x0: Int32
    """(n,) first column; may lie outside the detector."""
    y0: Int32
    """(n, m) first row."""

    @property
    def values(self) -> Float32:
        """(n, m, 17, 15), sum 1: a copy twice as large as the templates, for looking at a few."""
        return np.asarray(self.counts[..., :WIDE] * self.scale[:, :, None, None], np.float32)


@njit(cache=True, fastmath=_FAST)
def _fill(
    colours: Float32,
    colour: Float64,
    weight: Float64,
    x: Float64,
    y: Float64,
    x0: Int32,
    y0: Int32,
    counts: Int16,
    scale: Float32,
) -> None:  # pragma: no cover
    """Templates of some lenslets.

    colours (n, c, nodes, nodes): coefficients of powers of the colour coordinate, in each row the even columns before
    the odd ones; colour (m,): that coordinate at the channels; weight (m, s) of the steps; x (n, m), y (n, m, s)
    positions. Loops run to lengths read off arrays: one of known length is unrolled before it is vectorised.
    """
    n, powers = colours.shape[:2]
    m, steps = weight.shape
    image = np.empty((NODES, NODES), np.float32)
    high = np.empty(NODES, np.float32)
    along = np.empty(_SPAN, np.float32)
    # Columns past the last node stay zero.
    even, odd = np.zeros(2 * NODES, np.float32), np.zeros(2 * NODES, np.float32)
    out = np.zeros((HIGH, ROW), np.float32)
    for lens in range(n):
        for k in range(m):
            target = image.reshape(-1)
            for p in range(powers):
                u = np.float32(colour[k] ** p)
                source = colours[lens, p].reshape(-1)
                if p == 0:
                    for c in range(source.size):
                        target[c] = source[c]
                else:
                    for c in range(source.size):
                        target[c] += u * source[c]
            along[:] = 0.0
            lowest = NODES
            for s in range(steps):
                t = (_START + y0[lens, k] - y[lens, k, s]) * 2.0
                lowest = min(lowest, int(np.floor(t)) - 1)
            last = 0
            for s in range(steps):
                t = (_START + y0[lens, k] - y[lens, k, s]) * 2.0
                first = int(np.floor(t))
                four = spline_weights(t - first)
                for j in range(4):
                    place = first - 1 + j - lowest
                    if place < _SPAN:
                        along[place] += np.float32(weight[k, s] * four[j])
                        last = max(last, place)
            t = (_START + x0[lens] - x[lens, k]) * 2.0
            node = int(np.floor(t))
            b0, b1, b2, b3 = spline_weights(t - node)
            w0, w1, w2, w3 = np.float32(b0), np.float32(b1), np.float32(b2), np.float32(b3)
            node = max(node - 1, 0)
            c0 = node // 2
            largest = np.float32(0.0)
            for j in range(HIGH):
                high[:] = 0.0
                for p in range(last + 1):
                    r = lowest + 2 * j + p
                    if 0 <= r < NODES:
                        w, source = along[p], image[r]
                        for c in range(source.size):
                            high[c] += w * source[c]
                even[:_HALF_NODES], odd[:_HALF_NODES] = high[:_HALF_NODES], high[_HALF_NODES:]
                line = out[j]
                if node % 2 == 0:
                    one, two = even[c0:], odd[c0:]
                    three, four_ = even[c0 + 1 :], odd[c0 + 1 :]
                else:
                    one, two = odd[c0:], even[c0 + 1 :]
                    three, four_ = odd[c0 + 1 :], even[c0 + 2 :]
                for i in range(line.size):
                    line[i] = w0 * one[i] + w1 * two[i] + w2 * three[i] + w3 * four_[i]
                line[WIDE] = 0.0
                for i in range(line.size):
                    largest = max(largest, abs(line[i]))
            if largest <= 0:
                counts[lens, k] = 0
                scale[lens, k] = 0.0
                continue
            factor = np.float32(FULL_SCALE) / largest
            counted = 0
            source, kept = out.reshape(-1), counts[lens, k].reshape(-1)
            for i in range(source.size):
                rounded = np.int32(np.rint(source[i] * factor))
                kept[i] = rounded
                counted += int(rounded)
            scale[lens, k] = 1.0 / counted if counted > 0 else 0.0


def build_templates(
    model: PsfletModel,
    lenslets: tuple[Float64, Float64],
    positions: Float64,
    wavelengths: Float64,
    weight: Float64,
    windows: Templates | None = None,
) -> Templates:
    """Templates of all channels of n lenslets.

    `lenslets` x and y (n,), pitches; `positions` (2, n, m, s) detector x and y of the steps' wavelengths; `wavelengths`
    (m, s) um; `weight` (m, s) relative flux density of the steps, which the template averages over. `windows`:
    templates of the same lenslets some tenths of a pixel away, whose windows are kept so that both can be compared.
    """
    n, m, _ = positions.shape[1:]
    weight = weight / weight.sum(axis=1, keepdims=True)
    x = np.einsum("nms,ms->nm", positions[0], weight)
    y = np.einsum("nms,ms->nm", positions[1], weight)
    x0 = (np.floor(x.mean(axis=1) + 0.5) - _HALF_WIDE).astype(np.int32)
    y0 = (np.floor(y + 0.5) - _HALF_HIGH).astype(np.int32)
    if windows is not None:
        x0, y0 = windows.x0, windows.y0
    colour = np.sum(model.colour(wavelengths) * weight, axis=1)
    counts, scale = np.empty((n, m, HIGH, ROW), np.int16), np.empty((n, m), np.float32)
    for first in range(0, n, 512):
        some = slice(first, min(first + 512, n))
        colours = model.by_power(lenslets[0][some], lenslets[1][some])
        parted = np.concatenate([colours[..., 0::2], colours[..., 1::2]], axis=3)
        _fill(parted, colour, weight, x[some], positions[1, some], x0[some], y0[some], counts[some], scale[some])
    return Templates(counts, scale, x0, y0)
