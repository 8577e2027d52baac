"""One raw plane to flux, variance and flags in a single sweep of rows (see `kernels.calibrate` for the formulae).

Every step of the sweep is a short loop over one row, whose operands lie in the processor's first cache. A row's
variance needs the rows beside it, so it follows one row behind.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.loops.compiling import compiled

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Flags = NDArray[np.uint16]
Mask = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

GOOD, USELESS, OUTSIDE = np.uint8(0), np.uint8(1), np.uint8(2)
"""What becomes of a pixel: measured, filled from its neighbours, never lit."""
CELL = 4
"""Pixels along a side of the cells whose mean light is summed up."""
ZERO = np.float32(0.0)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
NAN = np.float32(np.nan)


class Masters(NamedTuple):
    """What planes of one DIT share, halves (2, ny, nx)."""

    pedestal: Float32
    """ADU."""
    response: Float32
    read_noise: Float32
    """ADU."""
    flags: Flags


class Numbers(NamedTuple):
    """Scalars of a plane."""

    per_dit: np.float32
    """1/s."""
    per_gain: np.float32
    """ADU/e-."""
    soft: np.float32
    hard: np.float32
    """ADU above the pedestal."""
    curvature: Float32
    """(2,) 1/ADU, the non-linearity of each half."""


class Bits(NamedTuple):
    """Flags by meaning (model.flags)."""

    outside: np.uint16
    useless: np.uint16
    """Any of these in the masters' flags: no value."""
    useless_in_plane: np.uint16
    """Any of these in the plane's flags: no value."""
    soft: np.uint16
    hard: np.uint16
    cosmic: np.uint16
    filled: np.uint16
    always: np.uint16
    """Added to every lit pixel."""


@compiled
def calibrate_rows(
    raw: Float32,
    level: Float32,
    offsets: Float32,
    cosmic: Mask,
    masters: Masters,
    numbers: Numbers,
    bits: Bits,
    flux: Float32,
    variance: Float32,
    flags: Flags,
    good: Mask,
) -> NDArray[np.int64]:
    """Fill `flux` ADU/s, `variance`, `flags`, `good`, all (2, ny, nx); give the flat positions of the useless pixels.

    raw (ny, 2 nx) and level (2, ny, nx): ADU per DIT; offsets (2, 2, nx): ADU of each column of both vertical halves;
    cosmic (2, ny, nx), or empty where nothing was looked for. Useless pixels have flux 0 (to be filled) and variance
    NaN, those outside NaN in both.
    """
    _, ny, nx = level.shape
    curved = numbers.curvature[0] != ZERO or numbers.curvature[1] != ZERO
    residual, count = np.empty((3, nx), np.float32), np.empty((3, nx), np.float32)
    scale, fate = np.empty((2, nx), np.float32), np.empty((2, nx), np.uint8)
    none, total, number = np.zeros(nx, np.float32), np.zeros(nx + 2, np.float32), np.zeros(nx + 2, np.float32)
    found, n = np.empty(65_536, np.int64), 0
    for half in range(2):
        for y in range(ny + 1):
            if y < ny:
                now, here = residual[y % 3], fate[y % 2]
                its_level, its_flags = level[half, y], flags[half, y]
                pedestal, response = masters.pedestal[half, y], masters.response[half, y]
                part = 0 if y < ny // 2 else 1
                subtract(raw[y, half * nx : (half + 1) * nx], its_level, offsets[half, part], now)
                limit_flags(now, its_level, pedestal, masters.flags[half, y], numbers, bits, its_flags)
                if cosmic.size:
                    mark(cosmic[half, y], bits.outside, bits.cosmic, its_flags)
                judge(now, response, masters.flags[half, y], its_flags, bits, here)
                if curved:
                    straighten(now, its_level, pedestal, numbers.curvature[half])
                divide(numbers.per_dit, response, scale[y % 2])
                settle(now, scale[y % 2], here, flux[half, y])
                keep_good(here, now, count[y % 3], good[half, y])
                finish_flags(here, bits, its_flags)
                for x in range(nx):
                    if here[x] == USELESS:
                        if n == found.size:
                            found = longer(found)
                        found[n] = (half * ny + y) * nx + x
                        n += 1
            if y > 0:
                before = y - 1
                above, below = before > 0, y < ny
                sum_three(
                    residual[before % 3],
                    residual[(before - 1) % 3] if above else none,
                    residual[y % 3] if below else none,
                    total[1 : nx + 1],
                )
                sum_three(
                    count[before % 3],
                    count[(before - 1) % 3] if above else none,
                    count[y % 3] if below else none,
                    number[1 : nx + 1],
                )
                spread(
                    total, number, level[half, before], masters.pedestal[half, before],
                    masters.read_noise[half, before], scale[before % 2], fate[before % 2], numbers.per_gain,
                    variance[half, before],
                )  # fmt: skip
    return found[:n]


@compiled
def subtract(raw: Float32, level: Float32, offsets: Float32, out: Float32) -> None:
    """Plane minus level and output offset."""
    for i in range(out.size):
        out[i] = (raw[i] - level[i]) - offsets[i]


@compiled
def limit_flags(
    residual: Float32, level: Float32, pedestal: Float32, static: Flags, numbers: Numbers, bits: Bits, out: Flags
) -> None:
    """The masters' flags, and those of too high a charge."""
    for i in range(out.size):
        charge = residual[i] + (level[i] - pedestal[i])
        flag = static[i] | bits.soft if charge > numbers.soft else static[i]
        out[i] = flag | bits.hard if charge > numbers.hard else flag


@compiled
def mark(hit: Mask, outside: np.uint16, cosmic: np.uint16, flags: Flags) -> None:
    """Flag the hits of the lit field."""
    for i in range(flags.size):
        if hit[i] and flags[i] & outside == 0:
            flags[i] |= cosmic


@compiled
def judge(residual: Float32, response: Float32, static: Flags, flags: Flags, bits: Bits, out: Bytes) -> None:
    """GOOD, USELESS or OUTSIDE."""
    for i in range(out.size):
        useless = (static[i] & bits.useless != 0) | (flags[i] & bits.useless_in_plane != 0)
        useless |= ~(np.isfinite(residual[i]) & (response[i] > ZERO))
        fate = USELESS if useless else GOOD
        out[i] = OUTSIDE if flags[i] & bits.outside != 0 else fate


@compiled
def straighten(residual: Float32, level: Float32, pedestal: Float32, slope: np.float32) -> None:
    """Undo the non-linearity, in place."""
    for i in range(residual.size):
        residual[i] = residual[i] * (ONE + slope * (residual[i] + TWO * (level[i] - pedestal[i])))


@compiled
def divide(per_dit: np.float32, response: Float32, out: Float32) -> None:
    """1/s over the response."""
    for i in range(out.size):
        out[i] = per_dit / response[i]


@compiled
def settle(residual: Float32, scale: Float32, fate: Bytes, out: Float32) -> None:
    """Flux of the good pixels, 0 of the useless ones, NaN outside."""
    for i in range(out.size):
        value = residual[i] * scale[i]
        value = ZERO if fate[i] == USELESS else value
        out[i] = NAN if fate[i] == OUTSIDE else value


@compiled
def keep_good(fate: Bytes, residual: Float32, count: Float32, good: Mask) -> None:
    """Residual and number of the good pixels, 0 elsewhere."""
    for i in range(count.size):
        good[i] = fate[i] == GOOD
        count[i] = ONE if fate[i] == GOOD else ZERO
        residual[i] = residual[i] if fate[i] == GOOD else ZERO


@compiled
def finish_flags(fate: Bytes, bits: Bits, flags: Flags) -> None:
    """Flag what will be filled, and what every lit pixel has."""
    for i in range(flags.size):
        flag = flags[i] | bits.filled if fate[i] == USELESS else flags[i]
        flags[i] = flag | bits.always if fate[i] != OUTSIDE else flag


@compiled
def sum_three(row: Float32, above: Float32, below: Float32, out: Float32) -> None:
    """A row and the two beside it."""
    for i in range(out.size):
        out[i] = row[i] + above[i] + below[i]


@compiled
def spread(
    total: Float32,
    number: Float32,
    level: Float32,
    pedestal: Float32,
    noise: Float32,
    scale: Float32,
    fate: Bytes,
    per_gain: np.float32,
    out: Float32,
) -> None:
    """Variance from the level's light and the 3 x 3 mean of the residual; total, number have a 0 on both ends."""
    for i in range(out.size):
        around = number[i + 1] + number[i] + number[i + 2]
        mean = (total[i + 1] + total[i] + total[i + 2]) / (around if around > ONE else ONE)
        light = (level[i] - pedestal[i]) + mean
        light = ZERO if light < ZERO else light
        value = (light * per_gain + noise[i] * noise[i]) * (scale[i] * scale[i])
        out[i] = value if fate[i] == GOOD else NAN


@compiled
def longer(found: NDArray[np.int64]) -> NDArray[np.int64]:
    """A copy with twice the room."""
    out = np.empty(2 * found.size, np.int64)
    for i in range(found.size):
        out[i] = found[i]
    return out


@compiled
def add_cells(flux: Float32, light: Float64) -> None:
    """Add to `light` (2, ny / 4, nx / 4) the means of `flux` (2, ny, nx) over cells of 4 x 4 pixels, NaN as 0."""
    halves, rows, columns = light.shape
    for half in range(halves):
        for row in range(rows):
            for column in range(columns):
                total = 0.0
                for y in range(CELL * row, CELL * row + CELL):
                    part = 0.0
                    for x in range(CELL * column, CELL * column + CELL):
                        value = flux[half, y, x]
                        part += 0.0 if np.isnan(value) else np.float64(value)
                    total += part
                light[half, row, column] += total / (CELL * CELL)
