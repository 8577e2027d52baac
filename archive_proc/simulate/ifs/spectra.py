"""Spectra of stars, dwarfs, lamps; transmission of instrument and air. All finer than the spectrograph resolves.

Shapes are written from scratch as sums of bands and lines: they need the structure of the real ones (steep flanks,
narrow lines, deep bands), not their values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from archive_proc.simulate.ifs.air_depth import DEPTH, DRY_NM, FIRST_NM
from archive_proc.simulate.ifs.facts import Mode

Float = NDArray[np.float64]
BINS = 128
FINE_NM = 0.1
"""Step of line-by-line spectra before they are averaged over bins."""


@dataclass(frozen=True, slots=True)
class Bins:
    """The simulation's wavelength bins, of equal ratio: about a third of a pixel each."""

    edges_nm: Float
    """(BINS + 1,)"""

    @property
    def middle_nm(self) -> Float:
        """(BINS,)"""
        return 0.5 * (self.edges_nm[1:] + self.edges_nm[:-1])

    @property
    def width_nm(self) -> Float:
        """(BINS,)"""
        return np.diff(self.edges_nm)

    @property
    def fine_nm(self) -> Float:
        """(m,) wavelengths FINE_NM apart across all bins."""
        return np.arange(self.edges_nm[0], self.edges_nm[-1], FINE_NM) + 0.5 * FINE_NM

    def average(self, fine: Float) -> Float:
        """(BINS,) mean over each bin of a spectrum on `fine_nm`."""
        which = np.clip(np.searchsorted(self.edges_nm, self.fine_nm, side="right") - 1, 0, BINS - 1)
        return np.bincount(which, fine, BINS) / np.bincount(which, minlength=BINS)


def make_bins(mode: Mode) -> Bins:
    """Bins over the mode's range."""
    return Bins(np.geomspace(mode.grid_nm[0], mode.grid_nm[1], BINS + 1))


def blackbody(wavelength_nm: Float, kelvin: float) -> Float:
    """Photons per nm, mean 1 over these wavelengths (Planck)."""
    photons = wavelength_nm**-4.0 / np.expm1(1.438777e7 / (wavelength_nm * kelvin))
    return np.asarray(photons / photons.mean())


def _band(at: Float, centre: float, left: float, right: float) -> Float:
    return np.asarray(np.exp(-0.5 * ((at - centre) / np.where(at < centre, left, right)) ** 2))


POTASSIUM_NM = (1169.0, 1177.3, 1243.2, 1252.2)


def t_dwarf(wavelength_nm: Float) -> Float:
    """Photons per nm of a methane dwarf, mean 1 over 1000-1300 nm: peaks at 1075, 1270, 1580 nm, little between."""
    at = wavelength_nm
    flux = 0.018 + 0.30 * _band(at, 985.0, 25.0, 18.0) + 0.62 * _band(at, 1076.0, 34.0, 20.0)
    flux = flux + 1.0 * _band(at, 1272.0, 18.0, 24.0) + 0.30 * _band(at, 1238.0, 16.0, 14.0)
    flux = flux + 0.50 * _band(at, 1583.0, 34.0, 22.0) + 0.10 * _band(at, 1660.0, 18.0, 30.0)
    for line in POTASSIUM_NM:
        flux = flux * (1.0 - 0.35 * _band(at, line, 2.4, 2.4))
    return scaled(at, flux)


def l_dwarf(wavelength_nm: Float) -> Float:
    """Photons per nm of a dusty dwarf, mean 1 over 1000-1300 nm: red, with FeH, VO, water and potassium."""
    at = wavelength_nm
    flux = (at / 1150.0) ** 1.4
    flux = flux * (1.0 - 0.30 * _band(at, 993.0, 4.0, 14.0)) * (1.0 - 0.12 * _band(at, 1060.0, 16.0, 16.0))
    flux = flux * (1.0 - 0.38 * _band(at, 1145.0, 24.0, 30.0)) * (1.0 - 0.62 * _band(at, 1415.0, 55.0, 60.0))
    flux = flux * (1.0 - 0.15 * _band(at, 1198.0, 3.5, 10.0))
    for line in POTASSIUM_NM:
        flux = flux * (1.0 - 0.22 * _band(at, line, 2.2, 2.2))
    return scaled(at, flux)


def scaled(at: Float, flux: Float) -> Float:
    """A spectrum divided by its mean over 1000-1300 nm."""
    inside = (at > 1000.0) & (at < 1300.0)
    return np.asarray(flux / flux[inside].mean())


@dataclass(frozen=True, slots=True)
class Passband:
    """Transmission of telescope, filter, prism and detector: the same for lamp and sky."""

    edges_nm: tuple[float, float]
    edge_width_nm: tuple[float, float]
    """Scale of the logistic cut-on and cut-off."""
    tilt: float
    """Relative rise over the band."""
    fringes: tuple[tuple[float, float, float], ...]
    """(amplitude, period in nm at 1100 nm, phase)."""

    def at(self, wavelength_nm: Float) -> Float:
        """Relative transmission, about 1 at the middle of the band."""
        blue = 1.0 / (1.0 + np.exp(-(wavelength_nm - self.edges_nm[0]) / self.edge_width_nm[0]))
        red = 1.0 / (1.0 + np.exp((wavelength_nm - self.edges_nm[1]) / self.edge_width_nm[1]))
        middle = 0.5 * (self.edges_nm[0] + self.edges_nm[1])
        total = blue * red * (1.0 + self.tilt * (wavelength_nm - middle) / (self.edges_nm[1] - self.edges_nm[0]))
        for amplitude, period, phase in self.fringes:
            # Fringes are even in 1 / wavelength.
            total *= 1.0 + amplitude * np.cos(2 * np.pi * 1100.0**2 / (period * wavelength_nm) + phase)
        return np.asarray(total)


def draw_passband(mode: Mode, rng: np.random.Generator) -> Passband:
    """Edges within 1.5 nm, fringes of 0.4-1.5 % with periods of 7 to 40 nm (a resolution element is 20-40 nm)."""
    return Passband(
        edges_nm=(mode.edges_nm[0] + float(rng.uniform(-1.5, 1.5)), mode.edges_nm[1] + float(rng.uniform(-1.5, 1.5))),
        edge_width_nm=(float(rng.uniform(1.6, 2.6)), float(rng.uniform(1.6, 2.6))),
        tilt=float(rng.uniform(-0.15, 0.25)),
        fringes=tuple(
            (float(rng.uniform(0.004, 0.015)), float(rng.uniform(low, high)), float(rng.uniform(0, 2 * np.pi)))
            for low, high in ((7, 10), (10, 16), (16, 25), (25, 40))
        ),
    )


LINES = 10
"""Steps of FINE_NM a nanometre, each a line of its own strength."""
SCATTER = 1.2
"""Of the logarithm of the lines' strengths."""


def air(wavelength_nm: Float, airmass: float, water_mm: float) -> Float:
    """Transmission of the air over Paranal on a grid of FINE_NM, with bands where nature has them (`air_depth`).

    The lines are the same for every seed: they are nature's. Within each nanometre stand the same ten strengths in
    another order, so that a band is as deep as its table says.
    """
    strength = np.exp(SCATTER * norm.ppf((np.arange(LINES) + 0.5) / LINES))
    strength /= strength.mean()
    depth = np.asarray(DEPTH, np.float64)
    middle = FIRST_NM + np.arange(depth.size) + 0.5
    dry = np.logical_or.reduce([(middle > low) & (middle < high) for low, high in DRY_NM])
    order = np.random.default_rng(19700101).permuted(np.tile(strength, (depth.size, 1)), axis=1)
    lines = 0.03 * 0.2 + (depth * np.where(dry, 1.0, water_mm / 2.5))[:, None] * order
    whole = FIRST_NM + (np.arange(lines.size) + 0.5) * FINE_NM
    # Lines are some tenths of a nanometre wide.
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2)
    transmission = np.convolve(np.exp(-airmass * lines.ravel()), kernel / kernel.sum(), mode="same")
    return np.interp(wavelength_nm, whole, transmission)


def lamp(wavelength_nm: Float, kelvin: float, ripple: tuple[float, float]) -> Float:
    """Photons per nm of the calibration lamp behind its sphere: a filament with a weak wave (amplitude, phase)."""
    wave = 1.0 + ripple[0] * np.sin(wavelength_nm / 17.0 + ripple[1])
    return blackbody(wavelength_nm, kelvin) * wave
