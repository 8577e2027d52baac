"""From hexagons to squares: one flux-conserving resampling by areas of overlap (notes/ifs 6.10).

`q_p = sum_l a_pl w_l f_l / sum_l a_pl w_l` times pixel area over hexagon area, a_pl the area that lenslet l and pixel p
share, w_l = 0 where the lenslet's variance is NaN. Where the field stands goes into the areas, channel by channel, so
that a centred cube is resampled once. The lattice is regular: areas come from one table of offsets, so that moving the
field costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.model.flags import Flag

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Flags = NDArray[np.uint16]

HEXAGON_AREA = float(np.sqrt(0.75))
"""Of a lenslet, in squares of the pitch."""
COVERED = 0.7
"""Share of a pixel's lenslet area that must carry a value (DESIGN 8)."""
FLAG_SHARE = 0.05
"""A flag spreads to pixels in which its lenslets have more than this share (DESIGN 8)."""
LEAST_COVERAGE = 0.5
"""Pixels of which lenslets cover less lie outside the field."""
STEPS = 32
"""Nodes of the table of areas per pixel: between them areas are right to 3e-4 of a pixel, their sums exactly."""


@dataclass(frozen=True, slots=True)
class SquareGrid:
    """How the lenslets of a field lie on square pixels."""

    places: Float64
    """(2, n) x and y of the lenslets, pixels from the point their coordinates are counted from."""
    size: int
    """Pixels along each side."""
    hexagon: float
    """Area of a lenslet, pixels."""
    table: Float64
    """(m, m) area that a lenslet shares with a pixel `STEPS` nodes a pixel off, pixels; no offset in the middle."""
    reach: Float64
    """(2,) offsets along x and y beyond which nothing is shared, pixels."""


def square_grid(lenslet_x: Float64, lenslet_y: Float64, pitch: tuple[float, float], size: int) -> SquareGrid:
    """The grid for lenslets at (n,) pitches.

    pitch: square pixels per pitch along x and along y; they differ where an anamorphism is undone.
    """
    from archive_proc.kernels.loops.rectify import fill_overlaps

    stretch = np.array(pitch, np.float64)
    angles = np.deg2rad(30.0 + 60.0 * np.arange(6))
    hexagon = stretch / np.sqrt(3.0) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    reach = np.abs(hexagon).max(axis=0) + 0.5
    half = int(np.ceil((reach.max() + 1.0) * STEPS))
    table = np.empty((2 * half + 1, 2 * half + 1))
    fill_overlaps(hexagon, np.arange(-half, half + 1) / STEPS, table)
    places = np.stack([np.asarray(lenslet_x, np.float64), np.asarray(lenslet_y, np.float64)]) * stretch[:, None]
    return SquareGrid(places, size, HEXAGON_AREA * float(stretch.prod()), table, reach)


def rectify(
    grid: SquareGrid,
    centers: Float64,
    spectra: tuple[Float32, Float32, Flags],
    into: tuple[Float32, Float32, Flags],
) -> None:
    """One plane of lenslets as images.

    centers: (k, 2) pixel (x, y, 0-based) on which the lenslets' origin stands in each channel; spectra: flux, variance
    and flags (n, k), variance NaN is weight zero; into: the same (k, size, size), filled. Sums of flux over the field
    are conserved. A pixel is NaN and LOW_WEIGHT where lenslets without a value have more than 30 % of it, OUTSIDE where
    lenslets cover less than half of it.
    """
    from archive_proc.kernels.loops.rectify import spread

    flux, variance, flags = spectra
    rules = (grid.hexagon, COVERED, FLAG_SHARE, LEAST_COVERAGE, int(Flag.OUTSIDE), int(Flag.LOW_WEIGHT))
    by_channel = (
        np.ascontiguousarray(flux.T, np.float32),
        np.ascontiguousarray(variance.T, np.float32),
        np.ascontiguousarray(flags.T, np.uint16),
    )
    at = np.ascontiguousarray(centers, np.float64)
    spread(grid.places, at, grid.table, grid.reach, STEPS, by_channel, rules, into)


def correlation(grid: SquareGrid, lags: int = 3) -> Float64:
    """(lags, lags) correlation of pixels dy, dx = 0 ... lags - 1 apart where all lenslets have one variance.

    Mean covariance over mean variance, over all places of the lattice against the pixels; it is even in dy and in dx.
    """
    products = np.zeros((lags, lags))
    rows, columns = grid.table.shape
    for dy in range(lags):
        for dx in range(lags):
            moved = grid.table[dy * STEPS :, dx * STEPS :]
            products[dy, dx] = float((grid.table[: rows - dy * STEPS, : columns - dx * STEPS] * moved).sum())
    return np.asarray(products / products[0, 0])
