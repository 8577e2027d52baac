"""Compiled loops: channels of single lenslets that stand out from what is expected of them, and the pixels behind them.

A hit that is spread over a few pixels looks like light: no pixel of it disagrees with the fit. What gives it away is
that the sky's light never falls into one lenslet alone (the PSF is two lenslets wide), nor into two channels.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from archive_proc.kernels.loops.rows import ROW
from archive_proc.kernels.microspectra import HIGH

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]

HALF = 4
"""Channels on each side that tell what is smooth."""
ALONE = 3.0
"""A lenslet's light at the PSF's peak is twice its neighbours'; more than this, up or down, is no light."""
SOME = 8
"""Lenslets that are looked at together."""
CORE = 0.25
"""Of a template's largest pixel: where the pixels of a hit that moves its channel are looked for."""


@njit(cache=True)
def _middle_of_all(values: Float32, ordered: Float32) -> None:  # pragma: no cover
    """Medians of runs of 2 HALF + 1 values of a row, the i-th run from i on: ordered[HALF, i]; `ordered` is room.

    The run's places are put in order for all runs at once, so that the compiler makes vectors of it.
    """
    size, n = ordered.shape
    for j in range(size):
        from_, to = values[j : j + n], ordered[j]
        for i in range(from_.size):
            to[i] = from_[i]
    # Bubbles: after each turn the largest that is left lies behind; half of them are enough for the middle.
    for last in range(size - 1, HALF - 1, -1):
        for j in range(last):
            one, two = ordered[j], ordered[j + 1]
            for i in range(one.size):
                low, high = min(one[i], two[i]), max(one[i], two[i])
                one[i] = low
                two[i] = high


@njit(cache=True)
def _middle_of_some(away: Float32, k: int, values: Float32) -> np.float32:  # pragma: no cover
    """Median of the values within HALF of place k of a row, the upper one of an even number; `values` is room."""
    count = 0
    for other in range(max(0, k - HALF), min(away.size, k + HALF + 1)):
        v = away[other]
        b = count
        while b > 0 and values[b - 1] > v:
            values[b] = values[b - 1]
            b -= 1
        values[b] = v
        count += 1
    middle: np.float32 = values[count // 2]
    return middle


@njit(cache=True)
def stand_outs(
    flux: Float32, expected: Float32, shape: Float32, out: Float32, moved: Float32
) -> None:  # pragma: no cover
    """What is not smooth along the channels of flux minus expected (n, m): out (n, m).

    Their difference over the common `shape` (m,), minus its running median of 2 HALF + 1 channels, times the shape.
    moved (n,): the median of that difference over the typical flux, at most 1: by how much the lenslet changed.
    """
    n, m = flux.shape
    values, mean = np.empty(2 * HALF + 1, np.float32), np.mean(shape)
    # Some lenslets in a row: what runs over their ends is not used.
    row = np.zeros(SOME * m + 2 * HALF, np.float32)
    ordered = np.empty((2 * HALF + 1, SOME * m), np.float32)
    for first in range(0, n, SOME):
        some = min(SOME, n - first)
        for lens in range(some):
            for k in range(m):
                row[lens * m + k] = (flux[first + lens, k] - expected[first + lens, k]) / shape[k]
        _middle_of_all(row, ordered)
        for lens in range(some):
            away = row[lens * m : (lens + 1) * m]
            typical = np.mean(flux[first + lens]) / mean
            change = abs(np.median(away))
            moved[first + lens] = change / typical if typical > change else np.float32(1.0)
            for k in range(m):
                if HALF <= k < m - HALF:
                    middle = ordered[HALF, lens * m + k - HALF]
                else:
                    middle = _middle_of_some(away, k, values)
                out[first + lens, k] = shape[k] * (away[k] - middle)


@njit(cache=True)
def alarms(
    away: Float32,
    variance: Float32,
    flux: Float32,
    error: Float32,
    beside: Int32,
    noise: float,
    limit: float,
    out: UInt8,
) -> int:  # pragma: no cover
    """Mark channels that stand out by `limit` sigma, and from the lenslets `beside` (n, b; -1: none): their number.

    away, variance, flux (n, m); sigma^2 = noise x variance + (error x flux)^2, error (n,), and not below the lenslet's
    own scatter.
    """
    n, m = away.shape
    pulls = np.empty(m)
    found = 0
    for lens in range(n):
        highest = 0.0
        for k in range(m):
            out[lens, k] = 0
            sigma2 = noise * variance[lens, k] + (error[lens] * flux[lens, k]) ** 2
            pulls[k] = away[lens, k] / np.sqrt(sigma2) if sigma2 > 0 else 0.0
            highest = max(highest, pulls[k])
        # Not a number: no alarm.
        if not highest > limit:
            continue
        own = max(1.0, 1.4826 * float(np.median(np.abs(pulls))))
        for k in range(m):
            if not pulls[k] > limit * own:
                continue
            alone = True
            for b in range(beside.shape[1]):
                other = beside[lens, b]
                if other >= 0 and ALONE * abs(away[other, k]) > away[lens, k]:
                    alone = False
            if alone:
                out[lens, k] = 1
                found += 1
    return found


@njit(cache=True)
def blame(
    counts: Int16,
    scale: Float32,
    x0: Int32,
    y0: Int32,
    alarm: UInt8,
    away: Float32,
    light: Float32,
    residual: Float32,
    floor: Float32,
    response: Float32,
    limit: float,
    missing: UInt8,
) -> None:  # pragma: no cover
    """Mark the pixels of channels with an alarm (n, m) that hold too much light, were it not for `away` (n, m)."""
    n, m = alarm.shape
    ny, nx = light.shape
    for lens in range(n):
        for k in range(m):
            if not alarm[lens, k]:
                continue
            core = np.float32(CORE) * np.max(counts[lens, k])
            for j in range(HIGH):
                y = y0[lens, k] + j
                if y < 0 or y >= ny:
                    continue
                for i in range(ROW):
                    x = x0[lens] + i
                    if x < 0 or x >= nx or counts[lens, k, j, i] < core:
                        continue
                    extra = np.float32(0.0)
                    for other in range(max(0, k - 2), min(m, k + 3)):
                        row = y - y0[lens, other]
                        if 0 <= row < HIGH:
                            extra += away[lens, other] * scale[lens, other] * np.float32(counts[lens, other, row, i])
                    model = max(light[y, x] - residual[y, x] - extra, np.float32(0.0))
                    if residual[y, x] + extra > limit * np.sqrt(floor[y, x] + model / response[y, x]):
                        missing[y, x] = 1
