"""Templates: what one unit of flux in one channel of one lenslet looks like on the detector.

A channel's template is the PSFlet averaged over wavelengths with a weight: `P(p; l, k) = sum_s w_s psf(p - X(l,
lambda_s); lambda_s) / sum_s w_s`, sum 1. The weight is that of the light (lamp or star times transmission) where it is
known. Where it is not, light follows the parabolas through neighbouring channels (`parabolas`): a channel's flux then
says how the light is spread within its neighbours too. Steps from channel to channel would do for smooth light only;
structure of four channels' period is returned 20 % too high by them. Within a channel the trace is vertical to
0.005 px, so the average is taken along y only, in the spline's coefficients: exact for the spline.

A full set has 730 000 templates. They are kept as 16-bit counts with a scale each (half the memory, error below 2e-5
of the peak), in rows of ROW columns, of which the last is empty, so that loops over a row are whole vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from archive_proc.kernels.loops.rows import ROW
from archive_proc.kernels.loops.spots import spline_weights
from archive_proc.kernels.psflets import NODES, PsfletModel

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]

WIDE = 15
"""Columns of a template; one window for all channels of a lenslet."""
HIGH = 17
"""Rows of a template, about the channel's own place."""
FULL_SCALE = 32000
"""Counts of a template's largest pixel."""
_HALF_WIDE, _HALF_HIGH = WIDE // 2, HIGH // 2
_START = 9.5
_SPAN = 16
"""Nodes along y that the steps of a channel and of its neighbours may touch together."""
_HALF_NODES = NODES // 2
_PAD = 4
"""Empty nodes at the ends of every other row or column."""
_HALF = _HALF_NODES + _PAD
_EVERY = 6
"""Channels from one made PSFlet to the next."""
_TOGETHER = 256
"""Lenslets whose coefficients are made at a time: they stay in the cache."""
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

    def part(self, some: slice) -> Templates:
        """Those of some lenslets: views."""
        return Templates(self.counts[some], self.scale[some], self.x0[some], self.y0[some])

    @property
    def values(self) -> Float32:
        """(n, m, 17, 15), sum 1: a copy twice as large as the templates, for looking at a few."""
        return np.asarray(self.counts[..., :WIDE] * self.scale[:, :, None, None], np.float32)


def empty_templates(lenslets: int, channels: int) -> Templates:
    """Room for templates."""
    return Templates(
        np.empty((lenslets, channels, HIGH, ROW), np.int16),
        np.empty((lenslets, channels), np.float32),
        np.empty(lenslets, np.int32),
        np.empty((lenslets, channels), np.int32),
    )


@njit(cache=True, fastmath=_FAST)
def _line_up(
    colours: Float32, lens: int, colour: float, t: float, image: Float32, lines: Float32
) -> None:  # pragma: no cover
    """One lenslet's coefficients at one wavelength, brought to columns of pixels: lines (2, rows, ROW).

    colours (powers, n, nodes x 2 x _HALF): even and odd columns; `t` place of the window's first pixel, nodes.
    lines[0] holds even rows of nodes, lines[1] odd ones, `_PAD` empty ones before and behind; image (..) is room.
    """
    half = _HALF
    for p in range(colours.shape[0]):
        u = np.float32(colour**p)
        source = colours[p, lens]
        if p == 0:
            for c in range(source.size):
                image[c] = source[c]
        else:
            for c in range(source.size):
                image[c] += u * source[c]
    node = int(np.floor(t))
    b0, b1, b2, b3 = spline_weights(t - node)
    w0, w1, w2, w3 = np.float32(b0), np.float32(b1), np.float32(b2), np.float32(b3)
    node = max(node - 1, 0)
    c0 = node // 2
    one = c0 if node % 2 == 0 else half + c0
    two = half + c0 if node % 2 == 0 else c0 + 1
    for r in range(image.size // (2 * half)):
        row = image[2 * half * r : 2 * half * (r + 1)]
        line = lines[r % 2, _PAD + r // 2]
        first, second, third, fourth = row[one:], row[two:], row[one + 1 :], row[two + 1 :]
        for i in range(line.size):
            line[i] = w0 * first[i] + w1 * second[i] + w2 * third[i] + w3 * fourth[i]
        line[WIDE] = 0.0


@njit(cache=True, fastmath=_FAST)
def _fill(
    colours: Float32,
    colour: Float64,
    nodes: Int32,
    near: Int32,
    share: Float32,
    weight: Float64,
    x: Float64,
    y: Float64,
    x0: Int32,
    y0: Int32,
    counts: Int16,
    scale: Float32,
) -> None:  # pragma: no cover
    """Templates of some lenslets.

    colours (powers, n, ..): coefficients of powers of the colour coordinate (`_line_up`); colour (m,): that
    coordinate at the channels; `nodes`, `near`, `share` of `_between`; weight (m, 3, s) of the steps of the channel
    before, of its own and of the one behind; x (n, m), y (n, m, s) positions. Loops run to lengths read off arrays: one
    of known length is unrolled before it is vectorised.
    """
    n, m = y0.shape
    steps = weight.shape[2]
    image = np.empty(colours.shape[2], np.float32)
    lines = np.zeros((nodes.size, 2, _HALF_NODES + 2 * _PAD, ROW), np.float32)
    line = np.empty(lines[0].size, np.float32)
    firsts, fours = np.empty((m, steps), np.int64), np.empty((m, steps, 4))
    along = np.empty(_SPAN, np.float32)
    out, tallest = np.empty(HIGH * ROW, np.float32), np.empty(ROW, np.float32)
    rows = (_HALF_NODES + 2 * _PAD) * ROW
    # Reshaped here, once: it is a call that costs as much as a template's sums.
    flat = lines.reshape(nodes.size, -1)
    for lens in range(n):
        kept_of = counts[lens].reshape(m, -1)
        # A step lies between the same nodes for every channel it has a share in: windows begin on whole pixels.
        for j in range(m):
            for s in range(steps):
                t = (_START - y[lens, j, s]) * 2.0
                firsts[j, s] = int(np.floor(t))
                fours[j, s, 0], fours[j, s, 1], fours[j, s, 2], fours[j, s, 3] = spline_weights(t - firsts[j, s])
        for q in range(nodes.size):
            k = nodes[q]
            _line_up(colours, lens, colour[k], (_START + x0[lens] - x[lens, k]) * 2.0, image, lines[q])
        for k in range(m):
            one, two, three = flat[near[k, 0]], flat[near[k, 1]], flat[near[k, 2]]
            s0, s1, s2 = share[k, 0], share[k, 1], share[k, 2]
            for c in range(line.size):
                line[c] = s0 * one[c] + s1 * two[c] + s2 * three[c]
            along[:] = 0.0
            shift = 2 * y0[lens, k]
            lowest = NODES
            before, behind = max(k - 1, 0), min(k + 2, m)
            for j in range(before, behind):
                for s in range(steps):
                    if weight[k, j - k + 1, s] != 0.0:
                        lowest = min(lowest, firsts[j, s] + shift - 1)
            lowest = max(lowest, -2 * _PAD)
            last = 0
            for j in range(before, behind):
                for s in range(steps):
                    w = weight[k, j - k + 1, s]
                    if w == 0.0:
                        continue
                    first = firsts[j, s] + shift
                    for c in range(4):
                        place = first - 1 + c - lowest
                        if 0 <= place < _SPAN:
                            along[place] += np.float32(w * fours[j, s, c])
                            last = max(last, place)
            out[:] = 0.0
            for p in range(last + 1):
                r = lowest + p + 2 * _PAD
                start = (r % 2) * rows + (r // 2) * ROW
                if r // 2 + HIGH <= _HALF_NODES + 2 * _PAD:
                    amount, source = along[p], line[start : start + out.size]
                    for i in range(source.size):
                        out[i] += amount * source[i]
            # Column by column first: the largest of one long row would be looked for number by number.
            tallest[:] = 0.0
            for start in range(0, out.size, ROW):
                row = out[start : start + ROW]
                for i in range(tallest.size):
                    tallest[i] = max(tallest[i], abs(row[i]))
            largest = np.float32(0.0)
            for i in range(tallest.size):
                largest = max(largest, tallest[i])
            if largest <= 0:
                counts[lens, k] = 0
                scale[lens, k] = 0.0
                continue
            factor = np.float32(FULL_SCALE) / largest
            counted = np.int32(0)
            kept = kept_of[k]
            for i in range(out.size):
                rounded = np.int32(np.rint(out[i] * factor))
                kept[i] = rounded
                counted += rounded
            scale[lens, k] = 1.0 / counted if counted > 0 else 0.0


@lru_cache(maxsize=8)
def _between(colours: tuple[float, ...]) -> tuple[Int32, Int32, Float32]:
    """Channels whose PSFlets are made, and how every channel's follows from three of them.

    Place and colour are smooth along the channels, but where the colour coordinate is held constant: parabolas through
    every sixth channel of each stretch. Returns channels (q,), positions among them (m, 3), shares (m, 3).
    """
    colour = np.array(colours)
    held = np.abs(colour) >= 1.0
    edges = np.flatnonzero(np.diff(np.where(held, np.sign(colour), 0.0))) + 1
    nodes: list[int] = []
    near, share = np.zeros((colour.size, 3), np.int32), np.zeros((colour.size, 3), np.float32)
    for part in np.split(np.arange(colour.size), edges):
        count = min(part.size, max(3, -(-(part.size - 1) // _EVERY) + 1))
        own = part[0] + np.round(np.linspace(0, part.size - 1, count)).astype(int)
        for k in part:
            first = int(np.clip(np.searchsorted(own, k) - 1, 0, max(own.size - 3, 0)))
            three = own[first : first + 3]
            for number, node in enumerate(three):
                others = np.delete(three, number)
                near[k, number] = len(nodes) + first + number
                share[k, number] = np.prod((k - others) / (node - others))
        nodes += own.tolist()
    return np.array(nodes, np.int32), near, share


def parabolas(channels: int, steps: int) -> Float64:
    """(m, 3, s) spread of one unit of flux in each channel over the steps of the one before, its own, the one behind.

    Through the fluxes of each three neighbours goes one parabola that keeps the flux of all three (Colella & Woodward
    1984); its middle part is the light inside the middle one. Sum 1, for the neighbours 0.
    """
    inside = (np.arange(steps) + 0.5) / steps - 0.5
    bent = inside**2 - np.mean(inside**2)
    found = np.zeros((channels, 3, steps))
    found[:, 0], found[:, 1], found[:, 2] = 0.5 * (inside + bent), 1.0 - bent, 0.5 * (bent - inside)
    # Beyond the first and the last channel the light is what it is in them.
    found[0, 1] += 0.5 * (bent - inside)
    found[-1, 1] += 0.5 * (bent + inside)
    found[0, 0] = found[-1, 2] = 0.0
    return found / steps


def build_templates(
    model: PsfletModel,
    lenslets: tuple[Float64, Float64],
    positions: Float64,
    wavelengths: Float64,
    weight: Float64 | None = None,
    windows: Templates | None = None,
    out: Templates | None = None,
) -> Templates:
    """Templates of all channels of n lenslets.

    `lenslets` x and y (n,), pitches; `positions` (2, n, m, s) detector x and y of the steps' wavelengths; `wavelengths`
    (m, s) um; `weight` (m, s) relative flux density of the steps, which the template averages over; None: `parabolas`.
    `windows`: templates of the same lenslets some tenths of a pixel away, whose windows are kept so that both can be
    compared.
    `out`: where they are made. Raises ValueError where a channel lies below the one before it.
    """
    n, m, _ = positions.shape[1:]
    spread = parabolas(*wavelengths.shape)
    if weight is not None:
        spread = np.zeros_like(spread)
        spread[:, 1] = weight / weight.sum(axis=1, keepdims=True)
    own = np.full(wavelengths.shape, 1.0 / wavelengths.shape[1]) if weight is None else spread[:, 1]
    x = np.einsum("nms,ms->nm", positions[0], own)
    y = np.einsum("nms,ms->nm", positions[1], own)
    made = empty_templates(n, m) if out is None else out
    x0, y0 = made.x0, made.y0
    x0[:] = np.floor(x.mean(axis=1) + 0.5) - _HALF_WIDE if windows is None else windows.x0
    y0[:] = np.floor(y + 0.5) - _HALF_HIGH if windows is None else windows.y0
    colour = np.sum(model.colour(wavelengths) * own, axis=1)
    if (np.diff(y0, axis=1) < 0).any():
        raise ValueError("channels must follow each other along y")
    between = _between(tuple(colour.tolist()))
    parted = _parted(model)
    field = model.field(*lenslets).astype(np.float32)
    room = np.empty(len(parted) * min(n, _TOGETHER) * parted.shape[2], np.float32)
    for first in range(0, n, _TOGETHER):
        some = slice(first, min(first + _TOGETHER, n))
        here = made.part(some)
        size = (len(parted), len(here.x0), parted.shape[2])
        colours = room[: math.prod(size)].reshape(size)
        np.matmul(field[some], parted, out=colours)
        y = positions[1, some]
        _fill(colours, colour, *between, spread, x[some], y, here.x0, here.y0, here.counts, here.scale)
    return made


def _parted(model: PsfletModel) -> Float32:
    """(powers, field terms, nodes x 2 x _HALF) coefficients with even columns first and odd ones behind, padded."""
    images = np.stack(model.by_power())
    out = np.zeros((*images.shape[:3], 2, _HALF), np.float32)
    out[..., 0, :_HALF_NODES], out[..., 1, :_HALF_NODES] = images[..., 0::2], images[..., 1::2]
    return out.reshape(*images.shape[:2], -1)
