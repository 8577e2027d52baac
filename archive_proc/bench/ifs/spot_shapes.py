"""PSFlets as open pipelines measure them: laser spots of a region laid over one another on a grid nine times finer.

Regions are 5 x 5, one set a laser; neighbours' spots are subtracted with the shapes of the round before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from archive_proc.bench.ifs.known import Float
from archive_proc.bench.ifs.raw_set import Float32
from archive_proc.bench.ifs.spot_places import SpotPlaces

REGIONS = 5
FINE = 9
"""Samples a pixel."""
HALF = 6
"""Half width of a PSFlet, pixels: 13 x 13."""
WIDTH = 2 * HALF + 1
CORE = 2.5
"""Radius, pixels, within which shapes are free."""
_ROUNDS = 5
_GRID = FINE * WIDTH


@dataclass(frozen=True, slots=True)
class SpotShapes:
    """Shapes by region and laser."""

    images: Float32
    """(regions, lasers, FINE * WIDTH, FINE * WIDTH), y first; sum over pixels 1 at any phase, on average."""
    region: NDArray[np.int64]
    """(l,) of each lenslet."""
    laser_nm: Float


def region_of(x: Float, y: Float, size: int = 2048) -> NDArray[np.int64]:
    """Region of places on the detector."""
    column = np.clip((x * REGIONS / size).astype(int), 0, REGIONS - 1)
    row = np.clip((y * REGIONS / size).astype(int), 0, REGIONS - 1)
    return np.asarray(row * REGIONS + column, np.int64)


def stamps(image: Float32, x: Float, y: Float) -> Float32:
    """(n, WIDTH, WIDTH) values of a fine image at the pixels around places, bilinear between fine samples.

    Places are (n,) fractions of a pixel from the middle pixel, within half a pixel.
    """
    out = np.zeros((len(x), WIDTH, WIDTH), np.float32)
    _sample(image, x, y, out)
    return out


@njit(cache=True)
def _sample(image: Float32, x: Float, y: Float, out: Float32) -> None:  # pragma: no cover
    middle = (image.shape[0] - 1) / 2.0
    for n in range(x.size):
        low_x, low_y = int(np.floor(middle - x[n] * FINE)), int(np.floor(middle - y[n] * FINE))
        part_x, part_y = middle - x[n] * FINE - low_x, middle - y[n] * FINE - low_y
        for j in range(WIDTH):
            row = low_y + FINE * (j - HALF)
            if row < 0 or row + 1 >= image.shape[0]:
                continue
            for i in range(WIDTH):
                column = low_x + FINE * (i - HALF)
                if column < 0 or column + 1 >= image.shape[1]:
                    continue
                below = image[row, column] * (1 - part_x) + image[row, column + 1] * part_x
                above = image[row + 1, column] * (1 - part_x) + image[row + 1, column + 1] * part_x
                out[n, j, i] = below * (1 - part_y) + above * part_y


def _boxes(size: int, x: Float, y: Float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Rows and columns (n, WIDTH) about places, and which places have their whole box on the detector."""
    offset = np.arange(-HALF, HALF + 1)
    xi, yi = np.rint(x).astype(int), np.rint(y).astype(int)
    inside = (xi >= HALF) & (xi < size - HALF) & (yi >= HALF) & (yi < size - HALF)
    xi, yi = np.clip(xi, HALF, size - 1 - HALF), np.clip(yi, HALF, size - 1 - HALF)
    return yi[:, None] + offset, xi[:, None] + offset, inside


def measure_shapes(image: Float32, bad: NDArray[np.bool_], places: SpotPlaces) -> SpotShapes:
    """Shapes from a laser frame (2048, 2048) after background, any unit."""
    size, lasers = len(image), places.x.shape[1]
    region = region_of(places.x[:, 0], places.y[:, 0])
    yy, xx = np.mgrid[:_GRID, :_GRID] - (_GRID - 1) / 2.0
    first = np.exp(-0.5 * (xx**2 + yy**2) / (1.0 * FINE) ** 2).astype(np.float32)
    shapes = np.broadcast_to(first * FINE**2 / first.sum(), (REGIONS**2, lasers, _GRID, _GRID)).copy()
    good = ~bad
    boxes = [_boxes(size, places.x[:, laser], places.y[:, laser]) for laser in range(lasers)]
    amplitude = np.zeros((len(places.x), lasers))
    for _ in range(_ROUNDS):
        left = image.astype(np.float64)
        now = np.zeros((lasers, len(places.x), WIDTH, WIDTH), np.float32)
        for laser in range(lasers):
            for part in range(REGIONS**2):
                own = np.flatnonzero(region == part)
                dx, dy = (axis[own, laser] - np.rint(axis[own, laser]) for axis in (places.x, places.y))
                now[laser, own] = stamps(shapes[part, laser], dx, dy)
            rows, columns, _ = boxes[laser]
            if not amplitude[:, laser].any():
                core = slice(HALF - 1, HALF + 2)
                box = (image * good)[rows[:, core, None], columns[:, None, core]]
                amplitude[:, laser] = box.sum(axis=(1, 2)) / 0.7
            weighted = now[laser] * amplitude[:, laser, None, None]
            np.subtract.at(left, (rows[:, :, None], columns[:, None, :]), weighted)
        for laser in range(lasers):
            rows, columns, inside = boxes[laser]
            own_light = left[rows[:, :, None], columns[:, None, :]] + now[laser] * amplitude[:, laser, None, None]
            usable = good[rows[:, :, None], columns[:, None, :]]
            near = slice(HALF - 3, HALF + 4)
            p, d, w = now[laser][:, near, near], own_light[:, near, near], usable[:, near, near]
            amplitude[:, laser] = (p * d * w).sum(axis=(1, 2)) / np.maximum((p * p * w).sum(axis=(1, 2)), 1e-9)
            lit = inside & (amplitude[:, laser] > 0.3 * np.median(amplitude[:, laser]))
            for part in range(REGIONS**2):
                own = np.flatnonzero(lit & (region == part))
                if len(own) > 30:
                    fraction = (places.x[own, laser], places.y[own, laser])
                    shapes[part, laser] = _laid_over(
                        own_light[own] / amplitude[own, laser, None, None], usable[own], fraction
                    )
    return SpotShapes(shapes.astype(np.float32), region, places.laser_nm)


def _laid_over(light: Float, usable: NDArray[np.bool_], places: tuple[Float, Float]) -> Float32:
    """Fine image: mean of all samples in each of its cells; empty cells take their neighbours' mean."""
    steps = np.arange(-HALF, HALF + 1)
    middle = (_GRID - 1) / 2.0
    fine = []
    for axis in places:
        fraction = axis - np.rint(axis)
        fine.append(np.rint(middle + FINE * (steps[None, :] - fraction[:, None])).astype(int))
    columns, rows = fine
    inside = ((rows >= 0) & (rows < _GRID))[:, :, None] & ((columns >= 0) & (columns < _GRID))[:, None, :] & usable
    cell = (rows[:, :, None] * _GRID + columns[:, None, :])[inside]
    count = np.bincount(cell, minlength=_GRID**2).astype(np.float64)
    total = np.bincount(cell, light[inside], minlength=_GRID**2)
    for _ in range(3):
        count2, total2 = count.reshape(_GRID, _GRID), total.reshape(_GRID, _GRID)
        empty = count2 == 0
        if not empty.any():
            break
        around_count, around = np.zeros_like(count2), np.zeros_like(total2)
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            around_count += np.roll(count2, (dy, dx), (0, 1))
            around += np.roll(total2, (dy, dx), (0, 1))
        count = np.where(empty, around_count, count2).reshape(-1)
        total = np.where(empty, around, total2).reshape(-1)
    mean = np.where(count > 0, total / np.maximum(count, 1.0), 0.0).reshape(_GRID, _GRID)
    mean = _round_wings(mean)
    return np.asarray(mean * FINE**2 / mean.sum(), np.float32)


def _round_wings(mean: Float) -> Float:
    """The same, never negative and with wings of one value a ring: a regular lattice of spots does not tell a ghost
    from more light in the neighbour, so that wings free in angle grow without bound (notes/ifs 6.4).
    """
    yy, xx = np.mgrid[:_GRID, :_GRID] - (_GRID - 1) / 2.0
    radius = np.hypot(xx, yy) / FINE
    ring = np.minimum((3.0 * radius).astype(int), 3 * HALF)
    medians = np.array([np.median(mean[ring == one]) for one in range(3 * HALF + 1)])
    wings = np.clip(medians, 0.0, None)[ring]
    wings[radius > HALF] = 0.0
    share = np.clip((radius - CORE) / 0.5, 0.0, 1.0)
    return np.asarray(np.clip(mean * (1.0 - share) + wings * share, 0.0, None))
