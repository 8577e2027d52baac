"""Cosmic rays by comparison in time: a plane against neighbours of the same dither (notes/irdis 4.1, item 4).

A filter in space alone would eat the core of the star and the waffle spots. Here a pixel must rise against its own
past and future, and more sharply than light through the telescope can.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Place = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]
"""Half, y, x."""

SIGMA = 6.0
"""Of the propagated variance."""
GRADIENT = 0.1
"""Share of the local gradient added to the limit: neighbours are aligned to about a tenth of a pixel."""
STARLIGHT = 0.3
"""Share of the star's own light added to the limit: speckles and transmission change by 10-20 % from plane to plane."""
SHARES = {1: 1.0, 2: 0.68, 3: 0.45, 4: 0.30}
"""Variance of the reference over one plane's, by number of neighbours."""
ENOUGH = 2
"""Witnesses in a plane's own block that make others needless: of two, a hit in one of them cannot matter. Those of
other blocks would be read a third time at the ends of chunks."""
MOST = 4
"""Witnesses of a plane at most."""
GROW_SIGMA = 3.0
"""Pixels beside a hit that rise by this much belong to it."""
SHARPNESS = 2.0
"""A hit exceeds the mean of its eight neighbours by this factor; a core of light, over 2.5 px wide, does not."""


def chosen_witnesses(plane: int, alike: Iterable[int], own: Container[int]) -> list[int]:
    """The planes that a plane is compared with, in order: the nearest `MOST` of its own block; where that holds fewer
    than `ENOUGH`, up to two before and two after it wherever they are.

    plane: its number on the frame axis; alike: others of the same dither and DIT; own: the planes of its block. Blocks
    are the same whatever the chunks, and so is the choice.
    """
    others = sorted(one for one in alike if one != plane)
    within = [one for one in others if one in own]
    if len(within) >= ENOUGH:
        return sorted(sorted(within, key=lambda one: (abs(one - plane), one))[:MOST])
    return [*[one for one in others if one < plane][-2:], *[one for one in others if one > plane][:2]]


def time_reference(neighbours: Sequence[Float32]) -> Float32:
    """What neighbours in time say.

    One neighbour: itself; two: the lower (a hit in one of them cannot matter); three or four: the median.
    """
    if len(neighbours) == 1:
        return neighbours[0]
    if len(neighbours) == 2:
        return np.minimum(neighbours[0], neighbours[1])
    if len(neighbours) == 3:
        a, b, c = neighbours
        return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    a, b, c, d = neighbours[:4]
    low = np.maximum(np.minimum(a, b), np.minimum(c, d))
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    return np.asarray(np.float32(0.5) * (low + high), np.float32)


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What a plane is compared with; arrays (2, ny, nx) float32, ADU per DIT, or planes of the detector (ny, 2 nx)."""

    neighbours: Sequence[Float32]
    """One to four planes, (ny, 2 nx)."""
    background: Float32
    """Level without the star's light."""
    pedestal: Float32
    """Level without any light."""
    read_noise: Float32
    gain: float
    """e-/ADU."""
    good: Mask
    """(2, ny, nx) pixels judged."""

    @property
    def noise_share(self) -> np.float32:
        """Variance of plane minus reference over that of one plane."""
        return np.float32(1.0 + SHARES[len(self.neighbours)])

    def at(self, where: Place) -> tuple[Float32, Float32]:
        """Reference and the variance of a difference to it, ADU^2, at some places (half, y, x)."""
        half, y, x = where
        nx = self.pedestal.shape[2]
        reference = time_reference([one[y, x + half * nx] for one in self.neighbours])
        light = np.maximum(reference - self.pedestal[where], np.float32(0.0))
        variance = (light * np.float32(1.0 / self.gain) + self.read_noise[where] ** 2) * self.noise_share
        return reference, variance


def cosmic_rays(plane: Float32, witnesses: Witnesses) -> Mask:
    """Pixels of one plane (ny, 2 nx) hit by cosmic rays, (2, ny, nx) bool; none where there are no neighbours.

    A smooth drift between planes is taken out as the median.
    """
    from archive_proc.kernels.loops.cosmic import Neighbours, rising_pixels

    found = np.zeros(witnesses.pedestal.shape, bool)
    if not witnesses.neighbours:
        return found
    near = [*witnesses.neighbours[:4], *[plane] * (4 - len(witnesses.neighbours))]
    drift = _drift(plane, witnesses)
    rising = rising_pixels(
        plane,
        Neighbours(len(witnesses.neighbours), *near),
        drift,
        witnesses.pedestal,
        witnesses.read_noise,
        witnesses.good,
        np.float32(1.0 / witnesses.gain),
        witnesses.noise_share,
        np.float32(SIGMA**2),
    )
    if not rising.size:
        return found
    compared = _Compared(plane, drift, witnesses)
    hits = np.stack(np.unravel_index(rising, found.shape))
    hits = hits[:, _is_hit(hits, compared)]
    found[tuple(hits)] = True
    _grow(found, hits, compared)
    return found


def _drift(plane: Float32, witnesses: Witnesses) -> Float32:
    """(2,) median change of each half since the reference, on every eighth row and column."""
    nx = witnesses.pedestal.shape[2]
    drift = np.zeros(2, np.float32)
    for half in range(2):
        some = (slice(None, None, 8), slice(half * nx, (half + 1) * nx, 8))
        if witnesses.good[half].any():
            change = plane[some] - time_reference([one[some] for one in witnesses.neighbours])
            drift[half] = np.median(change[witnesses.good[half][::8, ::8]])
    return drift


@dataclass(frozen=True, slots=True)
class _Compared:
    """A plane against its witnesses, looked at in a few places only."""

    plane: Float32
    drift: Float32
    witnesses: Witnesses

    def rise(self, where: Place) -> Float32:
        """ADU above the reference."""
        half, y, x = where
        reference, _ = self.witnesses.at(where)
        value = self.plane[y, x + half * self.witnesses.pedestal.shape[2]]
        return np.asarray((value - reference) - self.drift[half], np.float32)


def _around(hits: NDArray[np.intp], shape: tuple[int, ...]) -> list[Place]:
    """Indices of the eight neighbours of each hit, edges repeated."""
    half, y, x = hits
    return [
        (half, np.clip(y + dy, 0, shape[1] - 1), np.clip(x + dx, 0, shape[2] - 1))
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if (dy, dx) != (0, 0)
    ]


def _is_hit(hits: NDArray[np.intp], compared: _Compared) -> Mask:
    """Limit raised by the local gradient and the star's light, and sharper than a core of light."""
    witnesses = compared.witnesses
    around = _around(hits, witnesses.pedestal.shape)
    inside = np.stack([witnesses.good[where] for where in around])
    values = np.stack([compared.rise(where) for where in around])
    mean = np.where(inside, values, 0.0).sum(axis=0) / np.maximum(inside.sum(axis=0), 1)
    half, y, x = hits
    _, ny, nx = witnesses.pedestal.shape
    up, down = np.minimum(y + 1, ny - 1), np.maximum(y - 1, 0)
    right, left = np.minimum(x + 1, nx - 1), np.maximum(x - 1, 0)
    sides = [witnesses.at((half, *side))[0] for side in ((up, x), (down, x), (y, right), (y, left))]
    slope = np.hypot(sides[0] - sides[1], sides[2] - sides[3])
    reference, variance = witnesses.at((half, y, x))
    limit = SIGMA * np.sqrt(variance) + GRADIENT * 0.5 * slope
    limit += STARLIGHT * np.maximum(reference - witnesses.background[half, y, x], 0.0)
    own = compared.rise((half, y, x))
    return np.asarray((own > limit) & (own > SHARPNESS * mean))


def _grow(found: Mask, hits: NDArray[np.intp], compared: _Compared) -> None:
    """Add the neighbours that rise with a hit, in place."""
    witnesses = compared.witnesses
    for where in _around(hits, found.shape):
        reference, variance = witnesses.at(where)
        limit = GROW_SIGMA * np.sqrt(variance)
        limit = limit + STARLIGHT * np.maximum(reference - witnesses.background[where], 0.0)
        with_it = witnesses.good[where] & (compared.rise(where) > limit)
        found[tuple(one[with_it] for one in where)] = True
