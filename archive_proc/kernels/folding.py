"""One cell for a whole region: a frame averaged modulo its lattice, and the spots that show in it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

CELL = 64
"""Samples along each axis of a folded cell."""
SPOT_RADIUS = 1.8
BLANK_RADIUS = 3.0


@njit(cache=True)
def _fold(image: Float32, good: NDArray[np.bool_], inverse: Float64, origin: Float64, out: Float64) -> None:
    """Sums and weights (2, CELL, CELL) of pixels at their place modulo the lattice."""  # pragma: no cover
    ny, nx = image.shape
    for j in range(ny):
        for i in range(nx):
            if not good[j, i]:
                continue
            dx, dy = i - origin[0], j - origin[1]
            u = (inverse[0, 0] * dx + inverse[0, 1] * dy) % 1.0 * CELL
            v = (inverse[1, 0] * dx + inverse[1, 1] * dy) % 1.0 * CELL
            iu, iv = int(u), int(v)
            fu, fv = u - iu, v - iv
            for a in range(2):
                for b in range(2):
                    w = (fu if a else 1.0 - fu) * (fv if b else 1.0 - fv)
                    out[0, (iu + a) % CELL, (iv + b) % CELL] += w * image[j, i]
                    out[1, (iu + a) % CELL, (iv + b) % CELL] += w


def fold(image: Float32, good: NDArray[np.bool_], basis: Float64, origin: tuple[float, float]) -> Float64:
    """(CELL, CELL) mean of a region modulo its lattice: axis 0 along the first row of `basis`, axis 1 along the second.

    `basis` (2, 2) rows are lattice steps, px; `origin` the lattice point at index (0, 0), px in the region.
    """
    sums = np.zeros((2, CELL, CELL))
    _fold(image, good, np.ascontiguousarray(np.linalg.inv(np.asarray(basis).T)), np.asarray(origin, np.float64), sums)
    return np.asarray(sums[0] / np.maximum(sums[1], 1e-9))


@dataclass(frozen=True, slots=True)
class CellSpots:
    """The brightest spots of a folded cell."""

    places: Float64
    """(n, 2) x, y from the cell's origin, px, modulo the lattice."""
    heights: Float64
    """(n,) above the cell's median, brightest first."""


def cell_spots(cell: Float64, basis: Float64, count: int) -> CellSpots:
    """The `count` brightest maxima of a cell, each with its light's centre."""
    left = cell - np.median(cell)
    grid = np.arange(CELL) / CELL
    u, v = np.meshgrid(grid, grid, indexing="ij")
    places, heights = [], []
    for _ in range(count):
        i, j = np.unravel_index(int(np.argmax(left)), left.shape)
        du, dv = (u - i / CELL + 0.5) % 1.0 - 0.5, (v - j / CELL + 0.5) % 1.0 - 0.5
        dx, dy = basis[0, 0] * du + basis[1, 0] * dv, basis[0, 1] * du + basis[1, 1] * dv
        near = np.hypot(dx, dy) < SPOT_RADIUS
        light = np.clip(left[near], 0.0, None)
        shift = np.array([np.sum(light * dx[near]), np.sum(light * dy[near])]) / max(float(light.sum()), 1e-30)
        places.append(np.array([i, j]) / CELL @ basis + shift)
        heights.append(float(left[i, j]))
        left[np.hypot(dx, dy) < BLANK_RADIUS] = -np.inf
    return CellSpots(np.array(places), np.array(heights))


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which spot is which laser."""

    first: tuple[float, float]
    """x, y of the first laser from the cell's origin, px, modulo the lattice."""
    rms: float
    """Distance of the spots from the expected pattern, px."""
    runner_up: float
    """The same for the next best assignment."""


def assign_spots(spots: CellSpots, expected: Float64, basis: Float64) -> Assignment:
    """Match the brightest spots with the lasers' expected offsets from the first, (n, 2) px, modulo the lattice.

    All orders are tried: gaps along the dispersion differ by more than a pixel, cyclic ones included.
    """
    wanted = len(expected)
    inverse = np.linalg.inv(basis)
    found: list[tuple[float, tuple[float, float]]] = []
    for order in itertools.permutations(range(wanted)):
        shifted = spots.places[list(order)] - expected
        away = (shifted - shifted[0]) @ inverse
        away = (away - np.rint(away)) @ basis
        middle = away.mean(axis=0)
        rms = float(np.sqrt(np.mean(np.sum((away - middle) ** 2, axis=1))))
        first = shifted[0] + middle
        found.append((rms, (float(first[0]), float(first[1]))))
    found.sort()
    return Assignment(found[0][1], found[0][0], found[1][0] if len(found) > 1 else np.inf)
