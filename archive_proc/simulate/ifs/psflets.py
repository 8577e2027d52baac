"""Images of one lenslet's monochromatic light: diffraction, slit image, scatter, pixel and charge diffusion.

A pupil with a soft, slightly hexagonal edge and low aberrations that vary over the field and with the wavelength is
brought to focus by a matrix Fourier transform (Soummer et al. 2007); the intensity is widened by the image of the
BIGRE slit (Antichi et al. 2009), by charge diffusion and by the pixel, and a share is scattered with lambda^-2. Tables
hold the result at all phases of an eighth of a pixel; nothing in it is a Gaussian, a spline or a polynomial of the
field. Sums are 1 in the stamp, centroids 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import j1

from archive_proc.simulate.ifs.facts import Mode

OVERSAMPLING = 8
REACH = 9
"""Half width of a stamp, px: 19 x 19."""
STAMP = 2 * REACH + 1
FINE = 176
"""Fine samples of an image, each axis: 22 px."""
PUPIL = 48
FIELD_NODES = 12
FIELD_REACH = 76.0
"""Pitches from the field's centre to the outermost nodes, both axes."""
WAVELENGTH_NODES = 6
WORST_WAVES = 0.055
"""Aberration anywhere in the field, waves rms at 1100 nm: more would leave the range of the measured widths."""
TERMS = 7
"""Aberrations: defocus, astigmatism 0 and 45, coma x and y, trefoil, spherical."""


@dataclass(frozen=True, slots=True)
class Optics:
    """What makes one instrument's PSFlets. Aberrations in waves rms at 1100 nm."""

    constant: NDArray[np.float64]
    """(TERMS,)"""
    slope: NDArray[np.float64]
    """(TERMS, 2) per 70 pitches."""
    bow: NDArray[np.float64]
    """(TERMS, 3) per square of 70 pitches: x^2, x y, y^2."""
    chromatic_focus: float
    """Defocus per 200 nm."""
    unit_px: float
    """lambda/D at 1100 nm."""
    slit_px: tuple[float, float]
    """Radii of the slit's image, along x and y."""
    diffusion_px: float
    scatter: float
    """Share of the light in the wings at 1100 nm."""
    scatter_px: float

    def aberrations(self, x: float, y: float, wavelength_nm: float) -> NDArray[np.float64]:
        """(TERMS,) at a field position (pitches), in waves of that wavelength."""
        s, t = x / 70.0, y / 70.0
        waves = self.constant + self.slope @ np.array([s, t]) + self.bow @ np.array([s * s, s * t, t * t])
        waves[0] += self.chromatic_focus * (wavelength_nm - 1100.0) / 200.0
        return np.asarray(waves * 1100.0 / wavelength_nm)


def draw_optics(rng: np.random.Generator) -> Optics:
    """FWHM 2.1-2.5 px, noise-equivalent area 12-16 px, 1-2 % outside 11 x 13 px (notes/ifs.md 1)."""
    size = np.array([0.024, 0.020, 0.020, 0.016, 0.016, 0.010, 0.010])
    constant = size * rng.standard_normal(TERMS)
    slope = size[:, None] * 0.65 * rng.standard_normal((TERMS, 2))
    bow = size[:, None] * 0.4 * rng.standard_normal((TERMS, 3))
    s, t = (one.ravel() for one in np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5)))
    field = constant[:, None] + slope @ np.stack([s, t]) + bow @ np.stack([s * s, s * t, t * t])
    strongest = float(np.sqrt((field**2).sum(axis=0)).max())
    less = min(1.0, WORST_WAVES / strongest)
    return Optics(
        constant=less * constant,
        slope=less * slope,
        bow=less * bow,
        chromatic_focus=float(rng.uniform(-0.03, 0.03)),
        unit_px=float(rng.uniform(0.98, 1.06)),
        slit_px=(float(rng.uniform(1.09, 1.21)), float(rng.uniform(1.09, 1.21))),
        diffusion_px=float(rng.uniform(0.28, 0.36)),
        scatter=float(rng.uniform(0.16, 0.20)),
        scatter_px=float(rng.uniform(2.2, 2.5)),
    )


def _zernikes(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(TERMS, ...) terms of unit rms on the unit disc (Noll 1976)."""
    square = x * x + y * y
    return np.stack(
        [
            np.sqrt(3.0) * (2 * square - 1),
            np.sqrt(6.0) * (x * x - y * y),
            2 * np.sqrt(6.0) * x * y,
            np.sqrt(8.0) * (3 * square - 2) * x,
            np.sqrt(8.0) * (3 * square - 2) * y,
            np.sqrt(8.0) * (x**3 - 3 * x * y * y),
            np.sqrt(5.0) * (6 * square * square - 6 * square + 1),
        ]
    )


class _Imager:
    """Fourier kernels and transfer functions that all PSFlets of one instrument share."""

    def __init__(self, optics: Optics) -> None:
        self._optics = optics
        at = (np.arange(PUPIL) + 0.5) / PUPIL * 2.0 - 1.0
        x, y = np.meshgrid(at, at)
        angle = np.arctan2(y, x)
        radius = np.hypot(x, y) / (1.0 - 0.03 * np.cos(6 * angle))
        edge = np.clip((1.0 - radius) * PUPIL / 2.0 + 0.5, 0.0, 1.0)
        # The BIGRE mask passes the core of the lenslet's own diffraction pattern: darker towards the rim.
        taper = np.clip(1.0 - 0.55 * radius**2, 0.0, None)
        self._amplitude = edge * taper
        self._terms = _zernikes(x, y)
        self._pupil = at
        self._pixels = (np.arange(FINE) - FINE // 2) / OVERSAMPLING
        fx = fft.rfftfreq(FINE, 1.0 / OVERSAMPLING)[None, :]
        fy = fft.fftfreq(FINE, 1.0 / OVERSAMPLING)[:, None]
        self._fx, self._fy = fx, fy
        f = 2 * np.pi * np.hypot(fx * optics.slit_px[0], fy * optics.slit_px[1])
        slit = np.where(f > 0, 2 * j1(f) / np.where(f > 0, f, 1.0), 1.0)
        diffusion = 1.0 / np.cosh(np.sqrt(2.0) * np.pi * optics.diffusion_px * np.hypot(fx, fy)) ** 2
        self._transfer = slit * diffusion * np.sinc(fx) * np.sinc(fy)
        squares = (self._pixels[None, :] * 0.93) ** 2 + self._pixels[:, None] ** 2
        wings = 1.0 / (1.0 + (np.sqrt(squares) / optics.scatter_px) ** 2.9)
        radius = np.hypot(self._pixels[None, :], self._pixels[:, None])
        # Stamps must hold all of it: an edge would move centroids with the phase.
        self._taper = 0.5 + 0.5 * np.cos(np.pi * np.clip((radius - 6.5) / 2.5, 0.0, 1.0))
        self._wings = fft.rfft2(fft.ifftshift(wings / wings.sum()))

    def image(self, x: float, y: float, wavelength_nm: float) -> NDArray[np.float64]:
        """(FINE, FINE) light per pixel around the centroid; the sum over whole-pixel steps is 1 within a stamp."""
        optics = self._optics
        phase = 2 * np.pi * np.tensordot(optics.aberrations(x, y, wavelength_nm), self._terms, 1)
        field = (self._amplitude * np.exp(1j * phase)).astype(np.complex64)
        unit = optics.unit_px * wavelength_nm / 1100.0
        kernel = np.exp(-1j * np.pi * np.outer(self._pixels / unit, self._pupil)).astype(np.complex64)
        wave = kernel @ field @ kernel.T
        intensity = wave.real.astype(np.float64) ** 2 + wave.imag.astype(np.float64) ** 2
        core = fft.rfft2(fft.ifftshift(intensity / intensity.sum()))
        share = optics.scatter * (1100.0 / wavelength_nm) ** 2
        spectrum = ((1.0 - share) * core + share * self._wings) * self._transfer
        for _ in range(2):
            image = self._tapered(spectrum)
            total = image.sum()
            cx = float(image.sum(axis=0) @ self._pixels / total)
            cy = float(image.sum(axis=1) @ self._pixels / total)
            spectrum = spectrum * np.exp(2j * np.pi * (cx * self._fx + cy * self._fy))
        image = self._tapered(spectrum)
        return np.asarray(image * (OVERSAMPLING**2 / image.sum()))

    def _tapered(self, spectrum: NDArray[np.complexfloating]) -> NDArray[np.float64]:
        image = fft.fftshift(fft.irfft2(spectrum, (FINE, FINE)))
        return np.asarray(np.clip(image, 0.0, None) * self._taper)


@dataclass(frozen=True, slots=True)
class PsfletTables:
    """PSFlets of one mode on nodes of field and wavelength."""

    mode: str
    wavelength_nm: NDArray[np.float64]
    """(w,) evenly spaced."""
    field: NDArray[np.float64]
    """(f,) pitches, both axes, evenly spaced."""
    stamps: NDArray[np.float32]
    """(f * f, w, 9, 9, 19, 20): node (Y major), wavelength, phase y and x in eighths of a pixel, pixel y and x (the
    last column is 0). Phase p: the centroid stands p / 8 px beyond pixel (9, 9). Sums are 1."""

    def place(self, wavelength_nm: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(k,) lower node and (k,) weight of the upper one: PSFlets are linear between nodes."""
        step = self.wavelength_nm[1] - self.wavelength_nm[0]
        at = np.clip((wavelength_nm - self.wavelength_nm[0]) / step, 0.0, len(self.wavelength_nm) - 1.000001)
        lower = at.astype(np.int64)
        return lower, (at - lower).astype(np.float32)

    def stamp(self, node: int, wavelength_nm: float, x: float, y: float) -> tuple[int, int, NDArray[np.float64]]:
        """First row and column and (19, 19) light of a lenslet's spot at pixel position (x, y), as images have it."""
        lower, weight = self.place(np.array([wavelength_nm]))
        ix, iy = int(np.floor(x)), int(np.floor(y))
        fx, fy = (x - ix) * OVERSAMPLING, (y - iy) * OVERSAMPLING
        px, py = min(int(fx), OVERSAMPLING - 1), min(int(fy), OVERSAMPLING - 1)
        total = np.zeros((STAMP, STAMP))
        for w, share in ((lower[0], 1.0 - weight[0]), (lower[0] + 1, weight[0])):
            for a, along in ((0, 1.0 - (fy - py)), (1, fy - py)):
                for b, across in ((0, 1.0 - (fx - px)), (1, fx - px)):
                    total += share * along * across * self.stamps[node, w, py + a, px + b, :, :STAMP]
        return iy - REACH, ix - REACH, total


def phases_of(image: NDArray[np.float64]) -> NDArray[np.float32]:
    """(9, 9, 19, 20) stamps of a (FINE, FINE) image at all phases, each of sum 1."""
    middle = FINE // 2
    steps = np.arange(-REACH, REACH + 1) * OVERSAMPLING + middle
    found = np.zeros((OVERSAMPLING + 1, OVERSAMPLING + 1, STAMP, STAMP + 1), np.float32)
    for py in range(OVERSAMPLING + 1):
        rows = image[steps - py]
        for px in range(OVERSAMPLING + 1):
            stamp = rows[:, steps - px]
            found[py, px, :, :STAMP] = stamp / stamp.sum()
    return found


def make_psflets(
    mode: Mode,
    optics: Optics,
    field_nodes: int = FIELD_NODES,
    wavelength_nodes: int = WAVELENGTH_NODES,
    reach: float = FIELD_REACH,
) -> PsfletTables:
    """Tables of one mode, `reach` pitches to each side; with the usual numbers of nodes 4 s CPU and 110 MB."""
    wavelengths = np.linspace(mode.grid_nm[0], mode.grid_nm[1], wavelength_nodes)
    field = np.linspace(-reach, reach, field_nodes)
    imager = _Imager(optics)
    phases = OVERSAMPLING + 1
    stamps = np.empty((field_nodes**2, wavelength_nodes, phases, phases, STAMP, STAMP + 1), np.float32)
    for node in range(field_nodes**2):
        x, y = field[node % field_nodes], field[node // field_nodes]
        for w, wavelength in enumerate(wavelengths):
            stamps[node, w] = phases_of(imager.image(float(x), float(y), float(wavelength)))
    return PsfletTables(mode.name, wavelengths, field, stamps)


def psflet_image(optics: Optics, x: float, y: float, wavelength_nm: float) -> NDArray[np.float64]:
    """(FINE, FINE) image at a field position (pitches): truth for the bench, eighths of a pixel, centroid at 88."""
    return _Imager(optics).image(x, y, wavelength_nm)


def assign_nodes(
    tables: PsfletTables, x: NDArray[np.float64], y: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """(n,) node of each lenslet, one of the four around it, drawn with the weights of a bilinear interpolation.

    So lenslets scatter about the smooth variation by about half a node's step, 0.3 % in width: no two are equal.
    """
    step = tables.field[1] - tables.field[0]
    nodes = []
    for position in (x, y):
        at = np.clip((position - tables.field[0]) / step, 0.0, len(tables.field) - 1.000001)
        lower = np.floor(at)
        nodes.append((lower + (rng.random(len(at)) < at - lower)).astype(np.int64))
    return np.asarray(nodes[1] * len(tables.field) + nodes[0])
