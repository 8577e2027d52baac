"""From hexagons to squares: one flux-conserving resampling by areas of overlap (notes/ifs 6.10).

`q_p = sum_l a_pl w_l f_l / sum_l a_pl w_l` times pixel area over hexagon area, a_pl the area that lenslet l and pixel p
share, w_l = 0 where the lenslet's variance is NaN. A shift of the field goes into the areas, so that a centred cube is
resampled once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
UInt16 = NDArray[np.uint16]

HEXAGON_AREA = float(np.sqrt(0.75))
"""Of a lenslet, in squares of the pitch."""
COVERED = 0.7
"""Share of a pixel's lenslet area that must carry a value."""
FLAG_SHARE = 0.05
"""A flag spreads to pixels in which its lenslets have more than this share."""


@njit(cache=True)
def _clip(polygon: Float64, count: int, axis: int, limit: float, keep_above: bool, out: Float64) -> int:
    """Cut a convex polygon (count, 2) at a line parallel to an axis; number of corners left."""  # pragma: no cover
    made = 0
    for index in range(count):
        ax, ay = polygon[index, 0], polygon[index, 1]
        bx, by = polygon[(index + 1) % count, 0], polygon[(index + 1) % count, 1]
        a = ax if axis == 0 else ay
        b = bx if axis == 0 else by
        inside_a = a >= limit if keep_above else a <= limit
        inside_b = b >= limit if keep_above else b <= limit
        if inside_a:
            out[made, 0], out[made, 1] = ax, ay
            made += 1
        if inside_a != inside_b:
            t = (limit - a) / (b - a)
            out[made, 0], out[made, 1] = ax + t * (bx - ax), ay + t * (by - ay)
            made += 1
    return made


@njit(cache=True)
def _area(polygon: Float64, count: int) -> float:  # pragma: no cover
    total = 0.0
    for index in range(count):
        following = (index + 1) % count
        total += polygon[index, 0] * polygon[following, 1] - polygon[following, 0] * polygon[index, 1]
    return abs(total) / 2.0


@njit(cache=True)
def _overlaps(
    x: Float64, y: Float64, hexagon: Float64, size: int, lens_of: Int32, pixel_of: Int32, area_of: Float64
) -> int:  # pragma: no cover
    """Lenslet, pixel and area of all overlaps; x, y (n,) pixels; hexagon (6, 2) pixels about the centre."""
    first = np.empty((16, 2))
    second = np.empty((16, 2))
    reach = 0.0
    for k in range(6):
        reach = max(reach, abs(hexagon[k, 0]), abs(hexagon[k, 1]))
    made = 0
    for lens in range(x.size):
        x0, x1 = int(np.floor(x[lens] - reach + 0.5)), int(np.floor(x[lens] + reach + 0.5))
        y0, y1 = int(np.floor(y[lens] - reach + 0.5)), int(np.floor(y[lens] + reach + 0.5))
        for row in range(max(0, y0), min(size - 1, y1) + 1):
            for column in range(max(0, x0), min(size - 1, x1) + 1):
                for k in range(6):
                    first[k, 0], first[k, 1] = x[lens] + hexagon[k, 0], y[lens] + hexagon[k, 1]
                count = _clip(first, 6, 0, column - 0.5, True, second)
                count = _clip(second, count, 0, column + 0.5, False, first)
                count = _clip(first, count, 1, row - 0.5, True, second)
                count = _clip(second, count, 1, row + 0.5, False, first)
                area = _area(first, count) if count > 2 else 0.0
                if area > 1e-9:
                    lens_of[made], pixel_of[made], area_of[made] = lens, row * size + column, area
                    made += 1
    return made


@dataclass(frozen=True, slots=True)
class Areas:
    """Overlaps, ordered by pixel."""

    start: Int32
    """(size * size + 1,) first overlap of each pixel."""
    lenslet: Int32
    area: Float64
    """Shared area over the area of a pixel."""
    hexagon: float
    """Area of a lenslet, pixels."""
    size: int


def overlap_areas(lenslets: tuple[Float64, Float64], pitch: float, size: int, center: tuple[float, float]) -> Areas:
    """Areas that lenslets and pixels share.

    `lenslets` x and y (n,), pitches; `pitch` in pixels of the square grid; `center` pixel (x, y, 0-based) of the
    field's centre, or of whatever point the lenslets' coordinates are counted from.
    """
    angles = np.deg2rad(30.0 + 60.0 * np.arange(6))
    hexagon = pitch / np.sqrt(3.0) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    x, y = center[0] + pitch * np.asarray(lenslets[0]), center[1] + pitch * np.asarray(lenslets[1])
    most = int(np.ceil(pitch * 1.2 + 2)) ** 2 * x.size
    lens, pixel = np.empty(most, np.int32), np.empty(most, np.int32)
    area = np.empty(most)
    made = _overlaps(x, y, hexagon, size, lens, pixel, area)
    order = np.argsort(pixel[:made], kind="stable")
    start = np.searchsorted(pixel[:made][order], np.arange(size * size + 1)).astype(np.int32)
    return Areas(start, lens[:made][order], area[:made][order], HEXAGON_AREA * pitch**2, size)


@njit(cache=True)
def _resample(
    start: Int32,
    lenslet: Int32,
    area: Float64,
    hexagon: float,
    flux: Float32,
    variance: Float32,
    flags: UInt16,
    out: Float32,
    out_variance: Float32,
    out_flags: UInt16,
    outside: int,
) -> None:  # pragma: no cover
    pixels = start.size - 1
    for p in range(pixels):
        total = used = value = noise = 0.0
        for index in range(start[p], start[p + 1]):
            total += area[index]
        if total < 0.5:
            out[p] = np.nan
            out_variance[p] = np.nan
            out_flags[p] = outside
            continue
        mask = 0
        for index in range(start[p], start[p + 1]):
            lens, a = lenslet[index], area[index]
            if a > FLAG_SHARE * total:
                mask |= flags[lens]
            if np.isfinite(variance[lens]) and np.isfinite(flux[lens]):
                used += a
                value += a * flux[lens]
                noise += a * a * variance[lens]
        out_flags[p] = mask
        if used < COVERED * total:
            out[p] = np.nan
            out_variance[p] = np.nan
        else:
            out[p] = value / used / hexagon
            out_variance[p] = noise / (used * hexagon) ** 2


def rectified(
    areas: Areas, flux: Float32, variance: Float32, flags: UInt16, outside: int
) -> tuple[Float32, Float32, UInt16]:
    """One image from lenslets: flux, variance, flags (size, size).

    `flux`, `variance` (n,) per lenslet, variance NaN is weight zero; `outside` flags pixels the field does not cover.
    Sums over the field are conserved: values are per pixel.
    """
    pixels = areas.size**2
    out, out_variance = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    out_flags = np.empty(pixels, np.uint16)
    _resample(
        areas.start,
        areas.lenslet,
        areas.area,
        areas.hexagon,
        flux,
        variance,
        flags,
        out,
        out_variance,
        out_flags,
        outside,
    )
    shape = (areas.size, areas.size)
    return out.reshape(shape), out_variance.reshape(shape), out_flags.reshape(shape)
