"""Which lasers burn in a frame: spots of folded cells counted, and matched with where each laser is expected."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.folding import Assignment, CellSpots, assign_spots, cell_spots, fold
from archive_proc.kernels.lattice import TilePhase
from archive_proc.kernels.spectra_positions import FOLDED, TileSpots

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

FAINTEST = 0.08
"""Of the brightest spot: what is fainter is no laser but the wings of one."""
CLEAR = 8.0
"""Scatter of a cell's values that a laser's spot stands above their median."""
_PLACE_WEIGHT = 0.1
"""A pixel away from the place that white light lets expect counts as much as this, px, in the pattern itself."""


@dataclass(frozen=True, slots=True)
class LaserPattern:
    """The lasers of one frame."""

    lasers: tuple[int, ...]
    """Positions in the mode's list of lasers, rising; empty where no laser burns."""
    tiles: tuple[TileSpots, ...]
    """One for each phase; `first` is the place of the mode's first laser, whether it burns or not."""
    rms: float
    """Median distance of the spots from the expected pattern, px."""
    away: float
    """Median distance of the pattern from where the white light lets expect it, px."""


def find_lasers(frame: Float32, good: Mask, phases: Sequence[TilePhase], offsets: Float64) -> LaserPattern:
    """The lasers in a frame (ny, nx) whose lattice is known.

    `phases` of tiles whose origins are where the first laser is expected; `offsets` (m, 2) px of the mode's lasers from
    the first. As many lasers burn as most tiles show clear spots; which ones, the pattern decides that fits best.
    """
    cells = [_spots(frame, good, phase, len(offsets) + 1) for phase in phases]
    counts = [_clear(spots, scatter) for spots, scatter in cells]
    count = min(int(np.median(counts)), len(offsets)) if counts else 0
    if not count:
        return LaserPattern((), (), np.inf, np.inf)
    best: LaserPattern | None = None
    for lasers in itertools.combinations(range(len(offsets)), count):
        found = _matched(lasers, phases, [spots for spots, _ in cells], offsets)
        # One laser alone has no pattern: only its place tells which it is.
        if best is None or _score(found) < _score(best):
            best = found
    assert best is not None
    return best


def _score(found: LaserPattern) -> float:
    return found.rms + _PLACE_WEIGHT * found.away


def _spots(frame: Float32, good: Mask, phase: TilePhase, count: int) -> tuple[CellSpots, float]:
    """The brightest spots of a tile's folded cell, places counted from its origin, and the scatter of the cell."""
    x0, y0 = (int(one) - FOLDED // 2 for one in phase.center)
    region = (slice(y0, y0 + FOLDED), slice(x0, x0 + FOLDED))
    origin = (phase.origin[0] - x0, phase.origin[1] - y0)
    cell = fold(np.ascontiguousarray(frame[region]), np.ascontiguousarray(good[region]), phase.basis, origin)
    middle = np.median(cell)
    # The darker half: lasers' wings brighten the other one.
    scatter = 1.4826 * float(np.median(np.abs(cell[cell <= middle] - middle)))
    return cell_spots(cell, phase.basis, count), scatter


def _clear(spots: CellSpots, scatter: float) -> int:
    least = max(FAINTEST * float(spots.heights[0]), CLEAR * scatter)
    return int((spots.heights > least).sum())


def _matched(
    lasers: tuple[int, ...], phases: Sequence[TilePhase], cells: Sequence[CellSpots], offsets: Float64
) -> LaserPattern:
    expected = offsets[list(lasers)]
    tiles, rms, away = [], [], []
    for phase, spots in zip(phases, cells, strict=True):
        brightest = replace(spots, places=spots.places[: len(lasers)], heights=spots.heights[: len(lasers)])
        match = assign_spots(brightest, expected - expected[0], phase.basis)
        # The lattice vector nearest to the expected place: the white light is right to a fraction of a pitch.
        step = np.asarray(match.first) - expected[0]
        whole = np.rint(np.linalg.solve(phase.basis.T, step)) @ phase.basis
        near = step - whole
        first = (phase.origin[0] + float(near[0]), phase.origin[1] + float(near[1]))
        following = float(spots.heights[len(lasers)] / max(float(spots.heights[len(lasers) - 1]), 1e-30))
        tiles.append(TileSpots(phase, first, Assignment(first, match.rms, match.runner_up), following))
        rms.append(match.rms)
        away.append(float(np.hypot(*near)))
    return LaserPattern(lasers, tuple(tiles), float(np.median(rms)), float(np.median(away)))
