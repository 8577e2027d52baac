"""The pupil of the simulated telescope: stops, apodiser, phase maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

GRID = 128
"""Samples across the pupil diameter."""
PERIOD = 2 * GRID
"""Phase maps are made on twice the diameter, so that speckles do not sit on whole lambda/D."""

Complex = NDArray[np.complex64]
Real = NDArray[np.float32]


def pupil_coordinates() -> Real:
    """(GRID,) position across the pupil in diameters, centres of samples, -0.5 to 0.5."""
    return np.asarray((np.arange(GRID) + 0.5) / GRID - 0.5, np.float32)


@dataclass(frozen=True, slots=True)
class Stops:
    """Amplitudes on (GRID, GRID), y first."""

    entrance: Real
    """Telescope with central obstruction and spiders, times the apodiser."""
    lyot: Real
    """Lyot stop: smaller, larger obstruction, wider spiders."""


def make_stops() -> Stops:
    """Telescope, apodiser and Lyot stop. A 14 % obstruction; the stop lets 96 % of the diameter through."""
    fine = ((np.arange(4 * GRID) + 0.5) / (4 * GRID) - 0.5).astype(np.float32)
    x, y = np.meshgrid(fine, fine)
    radius = np.hypot(x, y)
    arms = np.minimum.reduce(
        [
            np.abs(x * np.cos(a) + y * np.sin(a)) + (x * np.sin(a) - y * np.cos(a) < 0)
            for a in np.radians([39.0, 141.0, 219.0, 321.0])
        ]
    )
    telescope = (radius < 0.5) & (radius > 0.07) & (arms > 0.003)
    lyot = (radius < 0.48) & (radius > 0.125) & (arms > 0.012)
    # Smooth taper towards the edge, as the APO1 apodiser: strong enough that the mask removes the core.
    apodiser = 1.0 - 0.85 * np.clip((radius - 0.07) / 0.43, 0.0, 1.0) ** 2

    def binned(field: NDArray[np.floating]) -> Real:
        return np.asarray(field.reshape(GRID, 4, GRID, 4).mean(axis=(1, 3)), np.float32)

    return Stops(binned(telescope * apodiser), binned(lyot.astype(np.float32)))


class PhaseMaps:
    """Draws random phase maps of one power law, tip and tilt removed over the pupil."""

    def __init__(self, stops: Stops, slope: float = -1.3, lowest_cycles: float = 2.0) -> None:
        cycles = np.fft.fftfreq(PERIOD, 1.0 / GRID)
        frequency = np.hypot(cycles[None, :], cycles[:, None])
        power = (frequency**2 + lowest_cycles**2) ** (slope / 2.0)
        power[0, 0] = 0.0
        # Nothing finer than 45 cycles: it would fold back into the image.
        power[frequency > 45.0] = 0.0
        self._amplitude = np.sqrt(power).astype(np.float32)
        u = pupil_coordinates()
        ones = np.ones((GRID, GRID), np.float32)
        basis = np.stack([ones, ones * u[None, :], ones * u[:, None]])
        weight = (stops.entrance * stops.lyot).ravel()
        flat = basis.reshape(3, -1)
        self._weight = weight
        self._flat = flat
        self._solve = np.linalg.inv((flat * weight) @ flat.T).astype(np.float32)

    def draw(self, rms: float, rng: np.random.Generator) -> Real:
        """(GRID, GRID) phase of this rms over the pupil, in the unit of `rms`; no piston, tip or tilt."""
        noise = rng.standard_normal((2, PERIOD, PERIOD), dtype=np.float32)
        field = fft.ifft2((noise[0] + 1j * noise[1]) * self._amplitude).real[:GRID, :GRID].astype(np.float32)
        return self._scaled(field, rms)

    def _scaled(self, field: Real, rms: float) -> Real:
        flat = field.ravel()
        moments = (self._flat * self._weight) @ flat
        flat = flat - (self._solve @ moments) @ self._flat
        spread = np.sqrt(np.sum(self._weight * flat**2) / np.sum(self._weight))
        return np.asarray((flat * (rms / spread)).reshape(GRID, GRID), np.float32)


@dataclass(frozen=True, slots=True)
class Waffle:
    """The pattern of two crossed sines on the deformable mirror."""

    cycles: float
    """Per pupil diameter: spots at this many lambda/D."""
    angle_deg: float
    """Of the first diagonal from +x."""
    phases: tuple[float, float]
    """Radians of each sine at the pupil's centre. Away from 0, spots beat with what leaks past the mask, oppositely
    on the two sides: a centre error of about 1 mas times its sine, in K, that no fit to the spots can see."""


def waffle_wavefront(waffle: Waffle, wavefront_nm: float, imbalance: tuple[float, float]) -> Real:
    """(GRID, GRID) wavefront in nm; `imbalance` scales each diagonal."""
    u = pupil_coordinates()
    x, y = np.meshgrid(u, u)
    angle = np.radians(waffle.angle_deg)
    turns = 2 * np.pi * waffle.cycles
    first = np.cos(turns * (x * np.cos(angle) + y * np.sin(angle)) + waffle.phases[0])
    second = np.cos(turns * (y * np.cos(angle) - x * np.sin(angle)) + waffle.phases[1])
    return np.asarray(wavefront_nm * ((1 + imbalance[0]) * first + (1 + imbalance[1]) * second), np.float32)
