"""PSFlets: the light of one lenslet at one wavelength on the detector, measured on laser frames.

An effective PSF (Anderson & King 2000, PASP 112, 1360): it contains the pixel's response and is sampled, never
integrated again. It is a bicubic B-spline with nodes every half pixel whose coefficients are polynomials of the field
and of wavelength. One common image for the whole field and all lasers, with bound deviations, is what tells a wing from
the neighbour's light: the next lenslet's spot of another laser stands five pixels away, always at the same place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.dispersion import DEGREE, field_terms

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)

HALF = 8
"""Pixels on each side of the one under the spot: a narrower window loses wings that neighbours then take over."""
WINDOW = 2 * HALF + 1
NODES = 40
"""Spline nodes along a side, half a pixel apart."""
START = 9.5
"""Offset of the first node from the PSFlet's centre, px."""
_SPLIT = np.concatenate([np.arange(0, NODES, 2), np.arange(1, NODES, 2)])


def split_columns(images: NDArray[Number]) -> NDArray[Number]:
    """Images (..., nodes, nodes) with even columns first and odd ones behind, as loops over spots take them."""
    return np.ascontiguousarray(images[..., _SPLIT])


def joined_columns(images: NDArray[Number]) -> NDArray[Number]:
    """The inverse of `split_columns`."""
    out = np.empty_like(images)
    out[..., _SPLIT] = images
    return out


def stamp(coefficients: Float32, x: float, y: float, out: Float32) -> None:
    """Fill (17, 17) with the PSFlet of (nodes, nodes) `coefficients` (rows y) centred at (x, y)."""
    from archive_proc.kernels.loops import spots

    spots.stamp(split_columns(np.asarray(coefficients, np.float32)), x, y, out)


@dataclass(frozen=True, slots=True)
class PsfletModel:
    """Coefficients over field and wavelength."""

    terms: Float64
    """(n_terms, nodes, nodes) coefficient images."""
    powers: NDArray[np.int64]
    """(n_terms, 2) column of the orthonormal field polynomials and power of the colour coordinate."""
    colour_um: tuple[float, float]
    """Wavelengths, um, at which the colour coordinate is -1 and +1; it is held constant outside."""
    orthonormal: Float64
    """(field terms, field terms) turns `field_terms` into polynomials that are orthonormal over the lenslets."""

    def colour(self, wavelength: Float64) -> Float64:
        """The colour coordinate of wavelengths in um."""
        low, high = self.colour_um
        return np.asarray(np.clip(2.0 * (np.asarray(wavelength, np.float64) - low) / (high - low) - 1.0, -1.0, 1.0))

    def field(self, x: Float64, y: Float64) -> Float64:
        """(n, field terms) orthonormal polynomials of lenslets at (x, y) pitches."""
        return np.asarray(field_terms(x, y, _degree(len(self.orthonormal))) @ self.orthonormal)

    def design(self, x: Float64, y: Float64, wavelength: float) -> Float32:
        """(n, n_terms) weights of the terms for lenslets at (x, y) pitches."""
        u = float(self.colour(np.array(wavelength)))
        chosen = self.field(x, y)[:, self.powers[:, 0]]
        return np.asarray(chosen * u ** self.powers[:, 1][None, :], np.float32)

    def coefficients(self, x: Float64, y: Float64, wavelength: float) -> Float32:
        """(n, nodes, nodes) float32 coefficient images of lenslets at one wavelength."""
        flat = self.terms.reshape(len(self.terms), -1).astype(np.float32)
        return np.asarray(self.design(x, y, wavelength) @ flat).reshape(-1, NODES, NODES)

    def by_power(self) -> tuple[Float32, ...]:
        """For each power of the colour coordinate: (field terms, nodes, nodes) coefficient images, zero where none is.

        Of lenslets: `field` @ them.
        """
        highest = int(self.powers[:, 1].max())
        out = np.zeros((highest + 1, len(self.orthonormal), NODES, NODES), np.float32)
        for (term, power), image in zip(self.powers, self.terms, strict=True):
            out[power, term] += image
        return tuple(out)


def _powers(degree: int) -> list[int]:
    """Total degree of the columns of `field_terms`."""
    return [i + j for i in range(degree + 1) for j in range(degree + 1 - i)]


def _degree(terms: int) -> int:
    """Of the field polynomials that have so many terms."""
    return round(float(np.sqrt(2.0 * terms + 0.25)) - 1.5)


def orthonormal_field(x: Float64, y: Float64, degree: int = DEGREE) -> Float64:
    """The matrix that makes `field_terms` orthonormal over these lenslets (mean square 1, first column 1)."""
    order = np.argsort(_powers(degree), kind="stable")
    terms = field_terms(x, y, degree)[:, order]
    _, upper = np.linalg.qr(terms / np.sqrt(len(x)))
    upper *= np.sign(np.diag(upper))[:, None]
    turned = np.zeros((terms.shape[1], terms.shape[1]))
    turned[order] = np.linalg.inv(upper)
    return turned


def field_degrees(degree: int = DEGREE) -> NDArray[np.int64]:
    """Total degree of the orthonormal polynomials' columns."""
    return np.sort(_powers(degree))
