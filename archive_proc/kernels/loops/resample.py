"""One half of one plane through a separable kernel of 8 taps: flux, variance, coverage and flags.

Input rows are cleaned once, when the kernel first reaches them, into a ring of eight rows; an output row needs the
ring and four rows of sums, all of which stay in the processor's cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.loops.compiling import compiled

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Flags = NDArray[np.uint16]

TAPS = 8
ZERO = np.float32(0.0)
ONE = np.float32(1.0)
NAN = np.float32(np.nan)


class Taps(NamedTuple):
    """The kernel along one axis: output pixel j takes input pixels first[j] + 0 ... 7."""

    first: NDArray[np.intp]
    """(n_out,), never decreasing; may lie outside the input."""
    shifted: bool
    """`first` grows by 1 from pixel to pixel: neighbours read neighbours."""
    weights: Float32
    """(8, n_out)."""
    squares: Float32
    """(8, n_out) squared weights."""
    full: Float64
    """(n_out,) sum of the squared weights."""
    heavy: Float64
    """(8, n_out) absolute weights, for the flags."""
    most: Float64
    """(8,) largest of each tap's absolute weights."""
    even: NDArray[np.bool_]
    """(8,) all absolute weights of the tap are equal (to rounding)."""
    heaviest: float
    """Largest of all."""


class Rules(NamedTuple):
    """What decides a pixel's fate (DESIGN 8)."""

    area: np.float32
    """Output pixel's area in input pixels."""
    least_energy: np.float32
    """Valid share of the kernel's energy below which a pixel is NaN."""
    flag_weight: float
    """Kernel weight above which flags spread."""
    outside: np.uint16
    low_weight: np.uint16
    """Flags beyond the input, and where too little was valid."""


@compiled
def resample_pixels(
    flux: Float32,
    variance: Float32,
    added: Float32,
    y: Taps,
    x: Taps,
    rules: Rules,
    out_flux: Float32,
    out_variance: Float32,
) -> int:
    """Fill `out_flux`, `out_variance` (size_y, size_x) float32 from arrays (ny, nx); count finite pixels.

    With s = variance + added, and w = 1 where flux f and variance are finite, else 0: value = sum(k w f) / sum(k w) x
    area, its variance sum(k^2 w s) / sum(k w)^2 x area^2; NaN where sum(k^2 w) is below the least energy. Rows are
    summed before columns, taps in rising order, float32 throughout.
    """
    ny, nx = flux.shape
    size_y, size_x = out_flux.shape
    left = max(0, -x.first[0])
    width = left + nx + max(0, x.first[size_x - 1] + TAPS - nx)
    ring = np.zeros((3, TAPS, nx), np.float32)
    sums = np.zeros((4, width), np.float32)
    found = np.empty((4, size_x), np.float32)
    finite, cleaned = 0, y.first[0]
    for j in range(size_y):
        low = y.first[j]
        for row in range(max(cleaned, low), low + TAPS):
            slot = row % TAPS
            if 0 <= row < ny:
                clean_row(flux[row], variance[row], added[row], ring[0, slot], ring[1, slot], ring[2, slot])
            else:
                for quantity in range(3):
                    fill(ring[quantity, slot], ZERO)
        cleaned = low + TAPS
        for place, quantity, weights, columns in (
            (0, 0, y.weights, x.weights),
            (1, 1, y.weights, x.weights),
            (2, 1, y.squares, x.squares),
            (3, 2, y.squares, x.squares),
        ):
            sum_rows(ring[quantity], low, weights[:, j], sums[place, left : left + nx])
            if x.shifted:
                sum_shifted(sums[place, left + x.first[0] :], columns, found[place])
            else:
                sum_columns(sums[place], left, x.first, columns, found[place])
        finite += divide_row(found, y.full[j], x.full, rules, out_flux[j], out_variance[j])
    return finite


@compiled
def clean_row(
    flux: Float32, variance: Float32, added: Float32, value: Float32, weight: Float32, spread: Float32
) -> None:
    """Flux, weight (1 or 0) and variance with what is added of one row (nx,), 0 where either is not finite."""
    for i in range(flux.size):
        good = np.isfinite(flux[i]) and np.isfinite(variance[i])
        value[i] = flux[i] if good else ZERO
        weight[i] = ONE if good else ZERO
        spread[i] = variance[i] + added[i] if good else ZERO


@compiled
def sum_rows(ring: Float32, low: int, weights: Float32, out: Float32) -> None:
    """out[i] = sum over taps of weights[tap] x ring[(low + tap) % 8, i]; the ring is (8, nx)."""
    row0, row1, row2, row3 = ring[low % TAPS], ring[(low + 1) % TAPS], ring[(low + 2) % TAPS], ring[(low + 3) % TAPS]
    row4, row5, row6, row7 = (
        ring[(low + 4) % TAPS],
        ring[(low + 5) % TAPS],
        ring[(low + 6) % TAPS],
        ring[(low + 7) % TAPS],
    )
    for i in range(out.size):
        total = ZERO + weights[0] * row0[i]
        total += weights[1] * row1[i]
        total += weights[2] * row2[i]
        total += weights[3] * row3[i]
        total += weights[4] * row4[i]
        total += weights[5] * row5[i]
        total += weights[6] * row6[i]
        total += weights[7] * row7[i]
        out[i] = total


@compiled
def sum_shifted(row: Float32, weights: Float32, out: Float32) -> None:
    """out[i] = sum over taps of weights[tap, i] x row[i + tap]."""
    for i in range(out.size):
        total = ZERO + weights[0, i] * row[i]
        total += weights[1, i] * row[i + 1]
        total += weights[2, i] * row[i + 2]
        total += weights[3, i] * row[i + 3]
        total += weights[4, i] * row[i + 4]
        total += weights[5, i] * row[i + 5]
        total += weights[6, i] * row[i + 6]
        total += weights[7, i] * row[i + 7]
        out[i] = total


@compiled
def sum_columns(row: Float32, left: int, first: NDArray[np.intp], weights: Float32, out: Float32) -> None:
    """out[i] = sum over taps of weights[tap, i] x row[left + first[i] + tap]."""
    for i in range(out.size):
        total = ZERO
        for tap in range(TAPS):
            total += weights[tap, i] * row[left + first[i] + tap]
        out[i] = total


@compiled
def divide_row(found: Float32, full_y: float, full_x: Float64, rules: Rules, flux: Float32, variance: Float32) -> int:
    """One output row from its sums (value, weight, energy, spread; size_x); the number of finite pixels."""
    finite = 0
    for i in range(flux.size):
        low = found[2, i] < rules.least_energy * np.float32(full_y * full_x[i])
        # NaN before the division: where nothing is valid, the kernel's sum is rounding noise.
        norm = NAN if low else rules.area / found[1, i]
        flux[i] = found[0, i] * norm
        variance[i] = found[3, i] * (norm * norm)
        finite += np.isfinite(flux[i])
    return finite


@compiled
def spread_flags(flags: Flags, y: Taps, x: Taps, rules: Rules, flux: Float32, out: Flags) -> None:
    """Fill `out` (size_y, size_x) with the flags of all input pixels whose kernel weight exceeds the rules' limit.

    Beyond the input everything is `outside`; where `flux` (the resampled one) is NaN and no flag says `outside`, the
    flag is `low_weight`.
    """
    ny, nx = flags.shape
    size_y, size_x = out.shape
    left = max(0, -x.first[0])
    row = np.empty(left + nx + max(0, x.first[size_x - 1] + TAPS - nx), np.uint16)
    fill(row, rules.outside)
    for j in range(size_y):
        target = out[j]
        fill(target, np.uint16(0))
        for tap_y in range(TAPS):
            weight_y = y.heavy[tap_y, j]
            if not weight_y * x.heaviest > rules.flag_weight:
                continue
            at = y.first[j] + tap_y
            if 0 <= at < ny:
                copy(flags[at], row[left : left + nx])
            else:
                fill(row[left : left + nx], rules.outside)
            for tap_x in range(TAPS):
                if not weight_y * x.most[tap_x] > rules.flag_weight:
                    continue
                if x.shifted and x.even[tap_x]:
                    or_shifted(row[left + x.first[0] + tap_x :], target)
                    continue
                for i in range(size_x):
                    if weight_y * x.heavy[tap_x, i] > rules.flag_weight:
                        target[i] |= row[left + x.first[i] + tap_x]
        for i in range(size_x):
            if np.isnan(flux[j, i]) and target[i] & rules.outside == 0:
                target[i] |= rules.low_weight


@compiled
def fill(row: NDArray[Any], value: Any) -> None:
    """row[i] = value."""
    for i in range(row.size):
        row[i] = value


@compiled
def copy(row: Flags, out: Flags) -> None:
    """out[i] = row[i]."""
    for i in range(out.size):
        out[i] = row[i]


@compiled
def or_shifted(row: Flags, out: Flags) -> None:
    """out[i] |= row[i]."""
    for i in range(out.size):
        out[i] |= row[i]
