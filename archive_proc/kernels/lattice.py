"""Where the lenslets' spectra lie: phase of the hexagonal lattice in tiles of a white-lamp frame, joined to one map.

The lattice is periodic, so its position is found by Fourier phase, without thresholds or detections; which lenslet is
which follows from the field stop, whose edges are straight in lattice coordinates. Lattice coordinates: integers
(q, r); a lenslet stands at X = q + r / 2, Y = r sqrt(3) / 2 lenslet pitches from the field's centre, X and Y being the
axes of the rectified cube; on the detector q steps by about (15.26, -2.93) px and r by (10.17, 11.76) px.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

TILE = 512
STEP = 256
SEARCH_LENGTH = 0.02
"""Relative range of the reciprocal vectors' length that is searched."""
SEARCH_ANGLE_DEG = 1.2


@dataclass(frozen=True, slots=True)
class TilePhase:
    """The lattice in one tile."""

    center: tuple[float, float]
    """Detector x, y of the tile's middle, px."""
    basis: Float64
    """(2, 2) detector steps of q and r (rows), px."""
    origin: tuple[float, float]
    """A lattice point near the middle: x, y, px; which one is open."""
    quality: float
    """Weakest fundamental amplitude over the noise amplitude beside the peaks."""


def reciprocal(basis: Float64) -> Float64:
    """(2, 2) rows b1, b2 with a_i . b_j = delta_ij, 1/px."""
    return np.asarray(np.linalg.inv(basis).T, np.float64)


def _tile_transform(tile: Float32, fx: Float64, fy: Float64) -> NDArray[np.complex128]:
    """Fourier sums of a windowed tile at the frequencies fy x fx, phase counted from the tile's middle."""
    ny, nx = tile.shape
    x = np.arange(nx) - (nx - 1) / 2
    y = np.arange(ny) - (ny - 1) / 2
    ex = np.exp(-2j * np.pi * np.outer(x, fx))
    ey = np.exp(-2j * np.pi * np.outer(fy, y))
    return np.asarray(ey @ (tile.astype(np.float64) @ ex))


def _peak(tile: Float32, guess: Float64) -> tuple[Float64, complex, float]:
    """Frequency, amplitude of the strongest wave near `guess`, and the typical amplitude around it."""
    length = float(np.hypot(*guess))
    reach = max(SEARCH_LENGTH * length, np.deg2rad(SEARCH_ANGLE_DEG) * length)
    best = np.asarray(guess, np.float64)
    step = 0.25 / max(tile.shape)
    half = int(np.ceil(reach / step))
    floor = 0.0
    for turn in range(3):
        offsets = np.arange(-half, half + 1) * step
        amplitude = np.abs(_tile_transform(tile, best[0] + offsets, best[1] + offsets))
        iy, ix = np.unravel_index(int(np.argmax(amplitude)), amplitude.shape)
        if turn == 0:
            # Noise beside the peak: the window's main lobe is 4 / size wide, so look at twice that distance.
            wide = 8.0 / max(tile.shape) + np.arange(0, 24) * 0.5 / max(tile.shape)
            ring = np.abs(_tile_transform(tile, best[0] + offsets[ix] + wide, best[1] + offsets[iy] + wide))
            floor = float(np.median(ring))
        best = best + np.array([offsets[ix], offsets[iy]])
        half, step = 3, step / 3
    # Parabola through the last grid.
    fine = step * 3
    offsets = np.array([-fine, 0.0, fine])
    power = np.abs(_tile_transform(tile, best[0] + offsets, best[1] + offsets))
    for axis, line in ((0, power[1]), (1, power[:, 1])):
        curve = line[0] - 2 * line[1] + line[2]
        if curve < 0:
            best[axis] += fine * float(np.clip(0.5 * (line[0] - line[2]) / curve, -1, 1))
    value = complex(_tile_transform(tile, best[:1], best[1:])[0, 0])
    return best, value, floor


def pitch_and_angle(basis: Float64) -> tuple[float, float]:
    """Pitch, px, of the regular lattice with the area of this basis (2, 2), and the angle of its first row, degree."""
    area = abs(float(np.linalg.det(basis)))
    return float(np.sqrt(area / np.sqrt(0.75))), float(np.degrees(np.arctan2(basis[0][1], basis[0][0])))


def tile_phases(image: Float32, basis: Float64) -> tuple[TilePhase, ...]:
    """The lattice in overlapping tiles of a white-lamp frame.

    `image` (ny, nx) float32, background off, bad pixels filled, bright ones clipped; `basis` (2, 2) the expected
    detector steps of q and r, right to 1 %.
    """
    window = np.hanning(TILE + 2)[1:-1].astype(np.float32)
    window2 = window[:, None] * window[None, :]
    expected = reciprocal(np.asarray(basis, np.float64))
    found = []
    ny, nx = image.shape
    for y0 in range(0, ny - TILE + 1, STEP):
        for x0 in range(0, nx - TILE + 1, STEP):
            tile = image[y0 : y0 + TILE, x0 : x0 + TILE]
            tile = (tile - np.float32(tile.mean())) * window2
            waves, phases, quality = [], [], np.inf
            for one in expected:
                wave, value, floor = _peak(tile, one)
                waves.append(wave)
                phases.append(np.angle(value))
                quality = min(quality, abs(value) / max(floor, 1e-30))
            own = np.linalg.inv(np.array(waves)).T
            # Light sits where both waves crest: b_i . p = -phase_i / 2 pi from the middle.
            shift = np.linalg.solve(np.array(waves), -np.array(phases) / (2 * np.pi))
            middle = (x0 + (TILE - 1) / 2, y0 + (TILE - 1) / 2)
            found.append(TilePhase(middle, own, (middle[0] + shift[0], middle[1] + shift[1]), float(quality)))
    return tuple(found)
