"""The lenslets: integer places on the hexagonal array, the stop that says which see light, who stands beside whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Mask = NDArray[np.bool_]

ROW_STEP = float(np.sqrt(0.75))
"""Rows of the array are this many pitches apart."""
OVERLAPPING = ((1, -1), (-1, 2), (-2, 3))
"""Steps (q, r) to lenslets whose spectra overlap with one's own: the columns 5.09 px beside, the spectrum above."""
ADJACENT = ((1, 0), (0, 1), (-1, 1), (-1, 0), (0, -1), (1, -1))
"""Steps to the six lenslets that touch."""


@dataclass(frozen=True, slots=True)
class FieldStop:
    """Edges of the rectangular stop in pitches from the field's centre."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    offset: float = 0.5
    """x of lenslet (0, 0)."""

    def inside(self, q: Int32, r: Int32) -> Mask:
        """Which lenslets see light."""
        x, y = self.places(q, r)
        return (x > self.x_low) & (x < self.x_high) & (y > self.y_low) & (y < self.y_high)

    def places(self, q: Int32, r: Int32) -> tuple[Float64, Float64]:
        """X and y of lenslets, pitches, oriented as the rectified cube."""
        return np.asarray(q + r / 2.0 + self.offset), np.asarray(r * ROW_STEP, np.float64)


@dataclass(frozen=True, slots=True)
class Lenslets:
    """n lenslets."""

    q: Int32
    r: Int32
    x: Float64
    """(n,) pitches from the field's centre."""
    y: Float64

    def __len__(self) -> int:
        return int(self.q.size)

    def choose(self, which: Mask) -> Lenslets:
        """Those for which `which` is true."""
        return Lenslets(self.q[which], self.r[which], self.x[which], self.y[which])

    def steps(self, offsets: tuple[tuple[int, int], ...]) -> Int32:
        """(n, len(offsets)) position of the lenslet (q, r) + offset in this list, -1 where it is not in it."""
        low_q, low_r = int(self.q.min()) - 8, int(self.r.min()) - 8
        table = np.full((int(self.q.max()) - low_q + 9, int(self.r.max()) - low_r + 9), -1, np.int32)
        table[self.q - low_q, self.r - low_r] = np.arange(len(self), dtype=np.int32)
        return np.stack([table[self.q - low_q + dq, self.r - low_r + dr] for dq, dr in offsets], axis=1)


def all_lenslets(stop: FieldStop, reach: int = 160) -> Lenslets:
    """Every lenslet inside the stop, ordered by r, then q."""
    steps = np.arange(-reach, reach + 1, dtype=np.int32)
    r, q = np.repeat(steps, steps.size), np.tile(steps, steps.size)
    kept = stop.inside(q, r)
    x, y = stop.places(q[kept], r[kept])
    return Lenslets(q[kept], r[kept], x, y)


@dataclass(frozen=True, slots=True)
class Labels:
    """Which lenslet is which."""

    step: tuple[int, int]
    """To be added to provisional (q, r)."""
    margin: float
    """By how many nodes the best step beats the second."""
    agreement: float
    """Share of the nodes near the stop's edges that agree with it."""


def find_labels(q: Int32, r: Int32, light: Float64, stop: FieldStop, reach: int = 5) -> Labels:
    """Place a provisionally numbered lattice against the field stop.

    `light` (n,) light of the nodes relative to their bright neighbourhood, NaN where not measured. Steps of up to
    `reach` are tried; the score counts nodes, lit ones inside plus dark ones outside.
    """
    known = np.isfinite(light)
    q, r, lit = q[known], r[known], np.clip(light[known], 0.0, 1.0)
    scores = {}
    for dq in range(-reach, reach + 1):
        for dr in range(-reach, reach + 1):
            inside = stop.inside(q + dq, r + dr)
            scores[dq, dr] = float(np.where(inside, lit, 1.0 - lit).sum())
    ranked = sorted(scores, key=lambda one: -scores[one])
    best, second = ranked[0], ranked[1]
    return Labels(best, scores[best] - scores[second], scores[best] / max(int(known.sum()), 1))
