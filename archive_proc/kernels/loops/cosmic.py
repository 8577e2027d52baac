"""Where a plane rises above its neighbours in time by more than noise allows (see `kernels.cosmic`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.loops.compiling import compiled

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

ZERO = np.float32(0.0)
HALF = np.float32(0.5)


class Neighbours(NamedTuple):
    """Planes of the detector (ny, 2 nx) ADU per DIT; the first `n` count."""

    n: int
    a: Float32
    b: Float32
    c: Float32
    d: Float32


@compiled
def rising_pixels(
    plane: Float32,
    near: Neighbours,
    drift: Float32,
    pedestal: Float32,
    read_noise: Float32,
    good: Mask,
    per_gain: np.float32,
    noise_share: np.float32,
    square_limit: np.float32,
) -> NDArray[np.int64]:
    """Flat positions in (2, ny, nx), rising, of good pixels with rise^2 > `square_limit` x variance.

    plane (ny, 2 nx); drift (2,) ADU is taken off the rise of each half; pedestal, read_noise, good (2, ny, nx).
    variance = (max(reference - pedestal, 0) x per_gain + read_noise^2) x noise_share.
    """
    _, ny, nx = pedestal.shape
    reference, sure = np.empty(nx, np.float32), np.empty(nx, np.bool_)
    found, n = np.empty(4096, np.int64), 0
    for half in range(2):
        first, stop = half * nx, half * nx + nx
        for y in range(ny):
            a, b, c, d = near.a[y, first:stop], near.b[y, first:stop], near.c[y, first:stop], near.d[y, first:stop]
            if near.n == 1:
                take(a, reference)
            elif near.n == 2:
                take_lower(a, b, reference)
            elif near.n == 3:
                take_middle(a, b, c, reference)
            else:
                take_middle_two(a, b, c, d, reference)
            any_sure = compare(
                plane[y, first:stop], reference, drift[half], pedestal[half, y], read_noise[half, y], good[half, y],
                per_gain, noise_share, square_limit, sure,
            )  # fmt: skip
            if not any_sure:
                continue
            for x in range(nx):
                if sure[x]:
                    if n == found.size:
                        found = longer(found)
                    found[n] = (half * ny + y) * nx + x
                    n += 1
    return found[:n]


@compiled
def lower(a: np.float32, b: np.float32) -> np.float32:
    """The lesser; NaN where either is."""
    return a if (a < b) | np.isnan(a) else b


@compiled
def higher(a: np.float32, b: np.float32) -> np.float32:
    """The greater; NaN where either is."""
    return a if (a > b) | np.isnan(a) else b


@compiled
def take(a: Float32, out: Float32) -> None:
    """One neighbour: itself."""
    for i in range(out.size):
        out[i] = a[i]


@compiled
def take_lower(a: Float32, b: Float32, out: Float32) -> None:
    """Two: the lower."""
    for i in range(out.size):
        out[i] = lower(a[i], b[i])


@compiled
def take_middle(a: Float32, b: Float32, c: Float32, out: Float32) -> None:
    """Three: the median."""
    for i in range(out.size):
        out[i] = higher(lower(a[i], b[i]), lower(higher(a[i], b[i]), c[i]))


@compiled
def take_middle_two(a: Float32, b: Float32, c: Float32, d: Float32, out: Float32) -> None:
    """Four: the mean of the middle two."""
    for i in range(out.size):
        low = higher(lower(a[i], b[i]), lower(c[i], d[i]))
        high = lower(higher(a[i], b[i]), higher(c[i], d[i]))
        out[i] = HALF * (low + high)


@compiled
def compare(
    plane: Float32,
    reference: Float32,
    drift: np.float32,
    pedestal: Float32,
    read_noise: Float32,
    good: Mask,
    per_gain: np.float32,
    noise_share: np.float32,
    square_limit: np.float32,
    out: Mask,
) -> bool:
    """One row: which pixels rise for sure; whether any does."""
    n = 0
    for i in range(out.size):
        rise = (plane[i] - reference[i]) - drift
        light = higher(reference[i] - pedestal[i], ZERO)
        variance = (light * per_gain + read_noise[i] * read_noise[i]) * noise_share
        out[i] = good[i] & (rise > ZERO) & (rise * rise > square_limit * variance)
        n += out[i]
    return n > 0


@compiled
def longer(found: NDArray[np.int64]) -> NDArray[np.int64]:
    """A copy with twice the room."""
    out = np.empty(2 * found.size, np.int64)
    for i in range(found.size):
        out[i] = found[i]
    return out
