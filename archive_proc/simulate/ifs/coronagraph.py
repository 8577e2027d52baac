"""From the telescope's pupil through mask and Lyot stop to the lenslets, and the halo that adaptive optics leaves.

Images are computed at the lenslets themselves, averaged over the hexagons by seven points each: the lattice is two
rectangular ones, so matrix Fourier transforms reach it without interpolation (Soummer et al. 2007, Opt. Expr. 15).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate.facts import lambda_over_d_mas
from archive_proc.simulate.ifs.facts import PITCH_MAS
from archive_proc.simulate.pupil import GRID, make_stops, pupil_coordinates

Float = NDArray[np.float64]
Real = NDArray[np.float32]
Complex = NDArray[np.complex64]

MASK_MAS = 185.0
"""Diameter."""
MASK_STEP = 1.0 / 6.0
"""Sampling of the mask plane, lambda/D."""
HEXAGON_MAS2 = PITCH_MAS**2 * math.sqrt(0.75)
"""Area of a lenslet."""
POINTS = ((0.0, 0.0), *((0.4 * math.cos(a), 0.4 * math.sin(a)) for a in np.radians([30, 90, 150, 210, 270, 330])))
"""Where a lenslet is sampled, pitches from its centre: their second moments are a hexagon's."""
CONTROL_CYCLES = 20.0
"""lambda/D: half of the actuators across the pupil."""
HALO_LOBES = 0.4


class Coronagraph:
    """Optics up to n lenslets. Intensities are shares of the unocculted star's light, per lenslet."""

    def __init__(self, q: NDArray[np.int64], r: NDArray[np.int64]) -> None:
        self.stops = make_stops()
        self._u = pupil_coordinates()
        self._r = r
        self._y = r * math.sqrt(0.75)
        self._x = q + 0.5 * r + 0.5
        self._norm = float(GRID**2 * np.sum((self.stops.entrance * self.stops.lyot).astype(np.float64) ** 2))

    def _kernel(self, at: Float) -> Complex:
        return np.asarray(np.exp(-2j * np.pi * at[:, None] * self._u[None, :]), np.complex64)

    @staticmethod
    def _wave(nm: Real, wavelength_nm: float) -> Complex:
        return np.asarray(np.exp(np.complex64(2j * np.pi / wavelength_nm) * nm), np.complex64)

    def occulted(self, upstream: Real, downstream: Real, wavelength_nm: float, miss_mas: Float) -> Complex:
        """Field behind the Lyot stop of a star that misses the mask's centre by `miss_mas` (x, y); wavefronts in nm."""
        unit = lambda_over_d_mas(wavelength_nm / 1000.0)
        tilt = (miss_mas[0] * self._u[None, :] + miss_mas[1] * self._u[:, None]) * (wavelength_nm / unit)
        field = self.stops.entrance * self._wave((upstream + tilt).astype(np.float32), wavelength_nm)
        radius = 0.5 * MASK_MAS / unit
        n = 2 * math.ceil(radius / MASK_STEP + 2)
        at = np.asarray((np.arange(n) - n / 2 + 0.5) * MASK_STEP, np.float64)
        opacity = np.clip((radius - np.hypot(at[None, :], at[:, None])) / MASK_STEP + 0.5, 0.0, 1.0).astype(np.float32)
        kernel = self._kernel(at)
        hidden = opacity * (kernel @ (field @ kernel.T))
        back = kernel.conj()
        field = field - np.float32((MASK_STEP / GRID) ** 2) * (back.T @ (hidden @ back))
        return np.asarray(field * self.stops.lyot * self._wave(downstream, wavelength_nm), np.complex64)

    def unocculted(self, wavefront: Real, wavelength_nm: float) -> Complex:
        """Field of a source clear of the mask."""
        return np.asarray(self.stops.entrance * self.stops.lyot * self._wave(wavefront, wavelength_nm), np.complex64)

    def image(self, wave: Complex, wavelength_nm: float, axis: Float, reach: float | None = None) -> Float:
        """(n,) share of the light in each lenslet; `axis` (x, y) is where the field's axis points, pitches.

        With `reach`, only lenslets within so many pitches of the axis in x and y are filled.
        """
        unit = lambda_over_d_mas(wavelength_nm / 1000.0)
        light = np.zeros(len(self._r))
        near = np.ones(len(self._r), bool)
        if reach is not None:
            near = (np.abs(self._y - axis[1]) < reach) & (np.abs(self._x - axis[0]) < reach)
        for parity in (0, 1):
            mine = near & ((self._r & 1) == parity)
            if not mine.any():
                continue
            # Rows of one parity share their columns.
            y, row = np.unique(self._y[mine], return_inverse=True)
            x, column = np.unique(self._x[mine], return_inverse=True)
            total = np.zeros((len(y), len(x)), np.float32)
            for px, py in POINTS:
                across = self._kernel((x + px - axis[0]) * (PITCH_MAS / unit))
                along = self._kernel((y + py - axis[1]) * (PITCH_MAS / unit))
                seen = (along @ wave) @ across.T
                total += seen.real**2 + seen.imag**2
            light[mine] = total[row, column]
        return light * (HEXAGON_MAS2 / unit**2 / self._norm / len(POINTS))


def halo(x_mas: Float, y_mas: Float, wavelength_nm: float, wind_deg: float, mask_mas: float | None) -> Float:
    """Share of the halo's light per mas^2 around a star at (0, 0).

    Servo lag and noise inside the control radius, a faint ring at its edge, turbulence outside, lobes along the wind.
    Sums to 1 over the plane when there is no mask.
    """
    unit = lambda_over_d_mas(wavelength_nm / 1000.0)
    rho = np.hypot(x_mas, y_mas) / unit
    lobes = 1.0 + HALO_LOBES * np.cos(2 * (np.arctan2(y_mas, x_mas) - np.radians(wind_deg))) * rho**2 / (rho**2 + 4.0)
    light = _profile(rho, lobes)
    if mask_mas is not None:
        light = light * (1.0 - np.exp(-((rho * unit / (0.55 * mask_mas)) ** 4)))
    return np.asarray(light / (_PROFILE_SUM * unit**2))


def _profile(rho: Float, lobes: Float) -> Float:
    inside = 1.0 / (1.0 + np.exp(np.clip((rho - CONTROL_CYCLES) / 0.8, -30, 30)))
    lag = (4.0 + rho**2) ** -0.7
    outside = 0.03 * (CONTROL_CYCLES / np.maximum(rho, 1.0)) ** (11.0 / 3.0)
    return np.asarray(inside * (lag * lobes + 0.01 * (rho / CONTROL_CYCLES) ** 2) + (1.0 - inside) * outside)


def _profile_sum() -> float:
    """Integral over the plane, (lambda/D)^2; the lobes add nothing."""
    rho = np.asarray((np.arange(400_000) + 0.5) / 400.0, np.float64)
    return float(np.sum(2 * np.pi * rho * _profile(rho, np.ones_like(rho))) / 400.0)


_PROFILE_SUM = _profile_sum()
