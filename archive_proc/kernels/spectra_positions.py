"""Where every lenslet's spots fall: lattice phases of tiles, numbered outwards from a nominal place, lasers matched.

Nothing is detected one by one, so nothing can slip by a lenslet: each tile's lattice is known modulo itself, steps
between tiles are whole, and the count against the field stop (`lenslets.find_labels`) fixes the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.dispersion import field_terms, fit_field
from archive_proc.kernels.folding import Assignment, assign_spots, cell_spots, fold
from archive_proc.kernels.lattice import TilePhase
from archive_proc.kernels.lenslets import FieldStop, Labels, Lenslets, all_lenslets, find_labels

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

FOLDED = 256
"""Side of the region folded about a tile's middle, px."""
STRETCH = 1.5
"""Slope of a node's vote with its relative light, about one half."""
CELL_PX = 256
"""Side of the cells that light is compared in."""
_TRACE = (2, 28)
"""Rows above the first laser that a spectrum is looked for in, px."""


class Tile(Protocol):
    """A tile whose lattice is known modulo itself."""

    @property
    def phase(self) -> TilePhase:
        """Its lattice."""

    @property
    def first(self) -> tuple[float, float]:
        """x, y of one first-laser spot near the tile's middle, px, seen or expected."""


@dataclass(frozen=True, slots=True)
class WhiteTile:
    """The first laser's place in one tile as white light alone lets expect it."""

    phase: TilePhase
    first: tuple[float, float]
    """x, y, px: a lattice point of the white light and the mode's nominal step from it to the first laser."""


def white_tiles(phases: Sequence[TilePhase], step: tuple[float, float]) -> tuple[WhiteTile, ...]:
    """Tiles of a white-lamp frame; `step` x, y from the white light's lattice point to the first laser, px."""
    return tuple(WhiteTile(one, (one.origin[0] + step[0], one.origin[1] + step[1])) for one in phases)


@dataclass(frozen=True, slots=True)
class TileSpots:
    """The lasers in one tile."""

    phase: TilePhase
    first: tuple[float, float]
    """x, y of one first-laser spot near the tile's middle, px."""
    assignment: Assignment
    next_height: float
    """Brightness of the next spot after the lasers over that of the faintest laser: lasers count themselves."""


def laser_tiles(frame: Float32, good: Mask, phases: Sequence[TilePhase], expected: Float64) -> tuple[TileSpots, ...]:
    """The lasers' spots in every tile; `expected` (m, 2) offsets of the lasers from the first, px."""
    found = []
    for phase in phases:
        x0, y0 = (int(one) - FOLDED // 2 for one in phase.center)
        region = (slice(y0, y0 + FOLDED), slice(x0, x0 + FOLDED))
        origin = (phase.origin[0] - x0, phase.origin[1] - y0)
        cell = fold(np.ascontiguousarray(frame[region]), np.ascontiguousarray(good[region]), phase.basis, origin)
        spots = cell_spots(cell, phase.basis, len(expected) + 1)
        lasers = type(spots)(spots.places[:-1], spots.heights[:-1])
        match = assign_spots(lasers, expected, phase.basis)
        first = (phase.origin[0] + match.first[0], phase.origin[1] + match.first[1])
        found.append(TileSpots(phase, first, match, float(spots.heights[-1] / max(spots.heights[-2], 1e-30))))
    return tuple(found)


def number_tiles(tiles: Sequence[Tile], nominal: tuple[float, float]) -> Int:
    """(tiles, 2) provisional q and r of each tile's spot: whole steps from `nominal`, the place of lenslet (0, 0).

    Each tile is counted from the numbered one nearest to it, with the mean of both lattices.
    """
    centers = np.array([one.phase.center for one in tiles])
    firsts = np.array([one.first for one in tiles])
    middle = int(np.argmin(np.hypot(*(centers - centers.mean(axis=0)).T)))
    numbers = np.zeros((len(tiles), 2), np.int64)
    numbers[middle] = np.rint(np.linalg.solve(tiles[middle].phase.basis.T, firsts[middle] - np.asarray(nominal)))
    done = [middle]
    for index in np.argsort(np.hypot(*(centers - centers[middle]).T), kind="stable"):
        if index == middle:
            continue
        near = min(done, key=lambda other: float(np.hypot(*(centers[other] - centers[index]))))
        basis = (tiles[index].phase.basis + tiles[near].phase.basis) / 2
        numbers[index] = numbers[near] + np.rint(np.linalg.solve(basis.T, firsts[index] - firsts[near])).astype(int)
        done.append(int(index))
    return numbers


@dataclass(frozen=True, slots=True)
class SpectraPositions:
    """Where the first laser of every lenslet falls."""

    coefficients: Float64
    """(2, field terms) x and y, px."""
    labels: Labels
    agreeing: float
    """Share of the tiles that the smooth map kept."""
    residual: float
    """Root mean square distance of those from it, px."""
    numbers: Int
    """(tiles, 2) q and r of each tile's spot."""

    def places(self, lenslets: Lenslets) -> Float64:
        """(2, n) px."""
        return np.asarray((field_terms(lenslets.x, lenslets.y) @ self.coefficients.T).T)


def locate_spectra(
    tiles: Sequence[Tile],
    white: Float32,
    good: Mask,
    nominal: tuple[float, float],
    stop: FieldStop,
) -> SpectraPositions:
    """The labelled map: tiles numbered, counted against the field stop in a white-lamp frame, and made smooth.

    `white` (ny, nx), background off; `nominal` place of lenslet (0, 0)'s first laser, right to some five lenslets.
    """
    numbers = number_tiles(tiles, nominal)
    firsts = np.array([one.first for one in tiles]).T
    trial, _, _ = _smooth(numbers, firsts, stop)
    wide = FieldStop(stop.x_low - 12, stop.x_high + 12, stop.y_low - 12, stop.y_high + 12, stop.offset)
    nodes = all_lenslets(wide)
    x, y = (field_terms(nodes.x, nodes.y) @ trial.T).T
    seen = (x > 3) & (x < white.shape[1] - 4) & (y > 2) & (y < white.shape[0] - _TRACE[1] - 4)
    nodes = nodes.choose(seen)
    light = relative_light(trace_light(white, good, x[seen], y[seen]), x[seen], y[seen])
    # A node is lit, dark, or cut by the stop: what lies between is stretched, so that uneven light does not count.
    labels = find_labels(nodes.q, nodes.r, STRETCH * (light - 0.5) + 0.5, stop)
    numbers = numbers + np.array(labels.step)
    coefficients, kept, residual = _smooth(numbers, firsts, stop)
    return SpectraPositions(coefficients, labels, kept, residual, numbers)


def relative_light(light: Float64, x: Float64, y: Float64) -> Float64:
    """(n,) light of nodes at x, y (px) over that of the lit ones around them: cells of CELL_PX, three cells wide.

    Where fewer than half of a cell's surroundings are lit, as outside the field, the whole detector's lit nodes count.
    """
    known = np.isfinite(light)
    if not known.any():
        return light
    everywhere = max(float(np.percentile(light[known], 60.0)), 1e-30)
    column, row = (np.asarray(at // CELL_PX, np.int64) for at in (x, y))
    found = np.full(light.shape, everywhere)
    for j in np.unique(row):
        for i in np.unique(column[row == j]):
            near = known & (np.abs(row - j) <= 1) & (np.abs(column - i) <= 1)
            middle = float(np.percentile(light[near], 75.0)) if near.any() else 0.0
            if middle > 0.3 * everywhere:
                found[(row == j) & (column == i)] = middle
    return np.asarray(light / found)


def _smooth(numbers: Int, firsts: Float64, stop: FieldStop) -> tuple[Float64, float, float]:
    q, r = numbers.T.astype(np.int32)
    x, y = stop.places(q, r)
    terms = field_terms(x, y)
    coefficients, kept = [], np.ones(len(q), bool)
    for axis in (0, 1):
        one, near = fit_field(x, y, firsts[axis])
        coefficients.append(one)
        kept &= near
    found = np.array(coefficients)
    away = firsts - (terms @ found.T).T
    residual = float(np.sqrt(np.mean(np.sum(away[:, kept] ** 2, axis=0)))) if kept.any() else np.inf
    return found, float(kept.mean()), residual


def trace_light(white: Float32, good: Mask, x: Float64, y: Float64) -> Float64:
    """(n,) median light on the nodes' traces, three columns wide; NaN where bad pixels leave too few."""
    values = _trace_values(white, good, x, y).reshape(len(x), -1)
    few = np.isfinite(values).sum(axis=1) < values.shape[1] // 3
    values[few] = 0.0
    return np.where(few, np.nan, np.nanmedian(values, axis=1))


def trace_evenness(white: Float32, good: Mask, x: Float64, y: Float64) -> float:
    """How even light is along the typical trace: its faintest quarter over its brightest tenth, rows of three columns.

    White light fills its trace; lasers leave most of it dark. NaN without a trace.
    """
    if not len(x):
        return float("nan")
    values = _trace_values(white, good, x, y)
    known = np.isfinite(values)
    rows = np.where(known, values, 0.0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    low, high = np.percentile(rows, (25.0, 90.0), axis=1)
    lit = high > 0
    return float(np.median(low[lit] / high[lit])) if lit.any() else float("nan")


def _trace_values(white: Float32, good: Mask, x: Float64, y: Float64) -> Float64:
    """(n, rows, 3) pixels of the nodes' traces, all inside the frame; NaN where bad."""
    rows = np.rint(y).astype(int)[:, None] + np.arange(*_TRACE)
    columns = np.rint(x).astype(int)[:, None] + np.arange(-1, 2)
    where = (rows[:, :, None], columns[:, None, :])
    return np.where(good[where], white[where], np.nan).astype(np.float64)
