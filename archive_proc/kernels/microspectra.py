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

from archive_proc.kernels.loops.rows import ROW, count_rows, largest_in_rows, mix_rows
from archive_proc.kernels.loops.spots import spline_weights
from archive_proc.kernels.psflets import NODES, PsfletModel

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

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
_LINE_ROWS = _HALF_NODES + 2 * _PAD
"""Of every other row of nodes, brought to columns of pixels."""
_SIZE = HIGH * ROW
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
    colours: Float32,
    lens: int,
    powers: Float32,
    t: float,
    room: tuple[Int64, Float32, Int64, Float32],
    lines: Float32,
    at: int,
) -> None:  # pragma: no cover
    """One lenslet's coefficients at one wavelength, brought to columns of pixels: `lines` from `at` on.

    colours (powers x n x nodes x 2 x _HALF) without axes: even and odd columns; `powers` of the colour coordinate; `t`
    place of the window's first pixel, nodes. Even rows of nodes first, odd ones behind, `_PAD` empty ones before and
    behind either. `room`: places of the powers, an image, room for four places and weights.
    """
    starts, image, four, shares = room
    rows = image.size // ROW
    mix_rows(colours[lens * image.size :], starts, powers, powers.size, ROW, image, 0, rows)
    node = int(np.floor(t))
    b0, b1, b2, b3 = spline_weights(t - node)
    shares[0], shares[1], shares[2], shares[3] = b0, b1, b2, b3
    node = max(node - 1, 0)
    c0 = node // 2
    one = c0 if node % 2 == 0 else _HALF + c0
    two = _HALF + c0 if node % 2 == 0 else c0 + 1
    for odd in range(2):
        first = 2 * _HALF * odd
        four[0], four[1], four[2], four[3] = first + one, first + two, first + one + 1, first + two + 1
        to = at + (odd * _LINE_ROWS + _PAD) * ROW
        mix_rows(image, four, shares, 4, 4 * _HALF, lines, to, _HALF_NODES)
        for r in range(_HALF_NODES):
            lines[to + r * ROW + WIDE] = 0.0


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
    before, of its own and of the one behind; x (n, m), y (n, m, s) positions.
    """
    n, m = y0.shape
    steps = weight.shape[2]
    every = colours.reshape(-1)
    size = _LINE_ROWS * 2 * ROW
    lines, line = np.zeros(nodes.size * size, np.float32), np.empty(size, np.float32)
    firsts, fours = np.empty((m, steps), np.int64), np.empty((m, steps, 4))
    along, along_at = np.empty(_SPAN, np.float32), np.empty(_SPAN, np.int64)
    out, three = np.empty(_SIZE, np.float32), np.empty(3, np.int64)
    powers = np.empty((nodes.size, colours.shape[0]), np.float32)
    starts = np.empty(colours.shape[0], np.int64)
    for p in range(starts.size):
        starts[p] = p * n * colours.shape[2]
        for q in range(nodes.size):
            powers[q, p] = colour[nodes[q]] ** p
    room = (starts, np.empty(colours.shape[2], np.float32), np.empty(4, np.int64), np.empty(4, np.float32))
    kept = counts.reshape(-1)
    for lens in range(n):
        # A step lies between the same nodes for every channel it has a share in: windows begin on whole pixels.
        for j in range(m):
            for s in range(steps):
                t = (_START - y[lens, j, s]) * 2.0
                firsts[j, s] = int(np.floor(t))
                fours[j, s, 0], fours[j, s, 1], fours[j, s, 2], fours[j, s, 3] = spline_weights(t - firsts[j, s])
        for q in range(nodes.size):
            t = (_START + x0[lens] - x[lens, nodes[q]]) * 2.0
            _line_up(every, lens, powers[q], t, room, lines, q * size)
        for k in range(m):
            three[0], three[1], three[2] = near[k, 0] * size, near[k, 1] * size, near[k, 2] * size
            mix_rows(lines, three, share[k], 3, ROW, line, 0, 2 * _LINE_ROWS)
            along[:] = 0.0
            shift = 2 * y0[lens, k]
            lowest = NODES
            before, behind = max(k - 1, 0), min(k + 2, m)
            for j in range(before, behind):
                for s in range(steps):
                    if weight[k, j - k + 1, s] != 0.0:
                        lowest = min(lowest, firsts[j, s] + shift - 1)
            lowest = max(lowest, -2 * _PAD)
            last = -1
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
            used = 0
            for p in range(last + 1):
                r = lowest + p + 2 * _PAD
                if r // 2 + HIGH <= _LINE_ROWS:
                    along[used], along_at[used] = along[p], ((r % 2) * _LINE_ROWS + r // 2) * ROW
                    used += 1
            mix_rows(line, along_at, along, used, ROW, out, 0, HIGH)
            largest = largest_in_rows(out, 0, HIGH)
            if largest <= 0:
                counts[lens, k] = 0
                scale[lens, k] = 0.0
                continue
            counted = count_rows(out, 0, np.float32(FULL_SCALE) / largest, kept, (lens * m + k) * _SIZE, HIGH)
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
