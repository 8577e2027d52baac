"""Coherent light: from the pupil through the mask and the Lyot stop to the detector, by matrix Fourier transforms.

Images are computed on the detector's own pixels (Soummer et al. 2007, Optics Express 15, 15935): plate scale,
anamorphism, wavelength and sub-pixel position enter the transform, nothing is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate.facts import ANAMORPHISM, HALF, Band, lambda_over_d_mas
from archive_proc.simulate.pupil import GRID, Complex, Real, Stops, pupil_coordinates

WINDOW = 112
"""Half width of the coherent image, pixels: beyond it only the halo is left."""
PATCH = 24
"""Half width of a companion's image, pixels."""
MASK_STEP = 1.0 / 6.0
"""Sampling of the mask plane, lambda/D."""


@dataclass(frozen=True, slots=True)
class Window:
    """A square cut-out of a half."""

    x0: int
    y0: int
    size: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """(rows, columns) within the half, cut at its edges."""
        return (
            slice(max(self.y0, 0), min(self.y0 + self.size, HALF)),
            slice(max(self.x0, 0), min(self.x0 + self.size, HALF)),
        )

    def inside(self, image: Real) -> Real:
        """The part of a (size, size) image that falls on the half."""
        rows, columns = self.slices
        return image[rows.start - self.y0 : rows.stop - self.y0, columns.start - self.x0 : columns.stop - self.x0]

    @staticmethod
    def around(x: float, y: float, half_width: int) -> Window:
        """The window whose middle is nearest to (x, y)."""
        return Window(round(x) - half_width, round(y) - half_width, 2 * half_width)


@dataclass(frozen=True, slots=True)
class Aberrations:
    """Wavefront errors of one plane, nm on (GRID, GRID)."""

    upstream: Real
    """Ahead of the mask, waffle included."""
    downstream: Real
    """Behind the mask, of this half."""


class Bench:
    """The optics of one half. Intensities are fractions of the unocculted star's flux, per pixel."""

    def __init__(self, band: Band, mask_mas: float, stops: Stops, n_wavelengths: int | None = None) -> None:
        if n_wavelengths is None:
            # Spots at 14 lambda/D must stretch, not split.
            n_wavelengths = 3 if band.width_um / band.wavelength_um < 0.07 else 9
        steps = (np.arange(n_wavelengths) + 0.5) / n_wavelengths - 0.5
        self.wavelengths_um = tuple(float(one) for one in band.wavelength_um + band.width_um * steps)
        self._band = band
        self._stops = stops
        self._u = pupil_coordinates()
        off_axis = stops.entrance * stops.lyot
        self._norm = float(GRID**2 * np.sum(off_axis.astype(np.float64) ** 2))
        self._masks = tuple(self._mask(wavelength, mask_mas) for wavelength in self.wavelengths_um)

    def _mask(self, wavelength_um: float, mask_mas: float) -> tuple[Complex, Real]:
        """Transform to the mask plane (n, GRID) and the mask's opacity (n, n)."""
        radius = 0.5 * mask_mas / lambda_over_d_mas(wavelength_um)
        n = 2 * int(np.ceil(radius / MASK_STEP) + 2)
        at = (np.arange(n) - n / 2 + 0.5) * MASK_STEP
        opacity = np.clip((radius - np.hypot(at[None, :], at[:, None])) / MASK_STEP + 0.5, 0.0, 1.0)
        return self._kernel(at), opacity.astype(np.float32)

    def _kernel(self, at: NDArray[np.floating]) -> Complex:
        """(n, GRID) Fourier kernel to positions `at`, lambda/D."""
        return np.asarray(np.exp(-2j * np.pi * at[:, None].astype(np.float64) * self._u[None, :]), np.complex64)

    def _wave(self, nm: Real, wavelength_um: float) -> Complex:
        phase = nm * np.float32(2e-3 * np.pi / wavelength_um)
        wave = np.empty(phase.shape, np.complex64)
        np.cos(phase, out=wave.real)
        np.sin(phase, out=wave.imag)
        return wave

    def _image(self, field: Complex, window: Window, axis: tuple[float, float], wavelength_um: float) -> Real:
        """|E|^2 on the window's pixels; `axis` is the optical axis (x, y) in pixels of the half."""
        unit = lambda_over_d_mas(wavelength_um)
        step_x, step_y = self._band.scale_mas / unit, ANAMORPHISM * self._band.scale_mas / unit
        pixels = np.arange(window.size)
        across = self._kernel((window.x0 + pixels - axis[0]) * step_x)
        along = self._kernel((window.y0 + pixels - axis[1]) * step_y)
        image = along @ (field @ across.T)
        intensity = image.real**2 + image.imag**2
        intensity *= np.float32(step_x * step_y / self._norm)
        return np.asarray(intensity, np.float32)

    def occulted(self, window: Window, star: tuple[float, float], mask: tuple[float, float], seen: Aberrations) -> Real:
        """The star at `star` behind a mask at `mask` (pixels of the half); (size, size) float32."""
        total = np.zeros((window.size, window.size), np.float32)
        miss_x = (star[0] - mask[0]) * self._band.scale_mas
        miss_y = (star[1] - mask[1]) * self._band.scale_mas * ANAMORPHISM
        for wavelength, (kernel, opacity) in zip(self.wavelengths_um, self._masks, strict=True):
            # A tilt of t lambda/D is t waves across the diameter.
            unit = lambda_over_d_mas(wavelength)
            tilt = (miss_x / unit * self._u[None, :] + miss_y / unit * self._u[:, None]) * (1e3 * wavelength)
            field = self._stops.entrance * self._wave(seen.upstream + tilt.astype(np.float32), wavelength)
            hidden = opacity * (kernel @ (field @ kernel.T))
            back = kernel.conj()
            field = field - np.float32((MASK_STEP / GRID) ** 2) * (back.T @ (hidden @ back))
            field *= self._stops.lyot * self._wave(seen.downstream, wavelength)
            total += self._image(np.asarray(field, np.complex64), window, mask, wavelength)
        return total / np.float32(len(self.wavelengths_um))

    def open_waves(self, seen: Aberrations) -> tuple[Complex, ...]:
        """Pupil fields of a source off the mask, one a wavelength: for `unocculted`."""
        stop = self._stops.entrance * self._stops.lyot
        return tuple(stop * self._wave(seen.upstream + seen.downstream, one) for one in self.wavelengths_um)

    def unocculted(self, window: Window, at: tuple[float, float], waves: tuple[Complex, ...]) -> Real:
        """A source of flux 1 at `at` (pixels of the half), clear of the mask; (size, size) float32."""
        total = np.zeros((window.size, window.size), np.float32)
        for wavelength, field in zip(self.wavelengths_um, waves, strict=True):
            total += self._image(field, window, at, wavelength)
        return total / np.float32(len(self.wavelengths_um))

    def grain(self, window: Window, axis: tuple[float, float], noise: Complex) -> Real:
        """Fully developed speckle of mean 1, of the size of lambda/D: what boiling air leaves in one instant.

        `noise` is (GRID, GRID) complex white noise, the same in both halves.
        """
        image = self._image(self._stops.lyot * noise, window, axis, self._band.wavelength_um)
        return image / np.float32(image.mean())
