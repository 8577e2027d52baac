"""Where each lenslet's light of each wavelength falls on the detector: one smooth model over field and wavelength."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

FIELD_SCALE = 70.0
"""Lenslet pitches that coordinates are divided by before powers are taken."""
REFERENCE_UM = 1.1
DEGREE = 3


def field_terms(x: Float64, y: Float64, degree: int = DEGREE) -> Float64:
    """(n, terms) products of powers of lenslet coordinates (pitches), total degree up to `degree`."""
    u, v = np.asarray(x) / FIELD_SCALE, np.asarray(y) / FIELD_SCALE
    return np.stack([u**i * v**j for i in range(degree + 1) for j in range(degree + 1 - i)], axis=-1)


def wavelength_terms(wavelength: Float64, order: int) -> Float64:
    """(m, order + 1) powers of ln(wavelength / 1.1 um)."""
    u = np.log(np.asarray(wavelength, np.float64) / REFERENCE_UM)
    return np.stack([u**m for m in range(order + 1)], axis=-1)


@dataclass(frozen=True, slots=True)
class Dispersion:
    """X(h, lambda), Y(h, lambda): polynomials of degree 3 in the field, of order `order` in ln wavelength."""

    coefficients: Float64
    """(2 axes x and y, field terms, order + 1) px."""

    def positions(self, x: Float64, y: Float64, wavelength: Float64) -> Float64:
        """(2, n, m) detector x and y, px: n lenslets at (x, y) pitches, m wavelengths in um."""
        field = field_terms(x, y)
        colour = wavelength_terms(wavelength, self.coefficients.shape[2] - 1)
        return np.asarray(field @ self.coefficients @ colour.T, np.float64)


def fit_field(
    x: Float64, y: Float64, value: Float64, *, rounds: int = 4, clip: float = 4.0
) -> tuple[Float64, NDArray[np.bool_]]:
    """Robust field polynomial through values of lenslets: (terms,) coefficients and (n,) bool of those kept."""
    terms = field_terms(x, y)
    keep = np.isfinite(value)
    coefficients: Float64 = np.zeros(terms.shape[1])
    for _ in range(rounds):
        coefficients = np.asarray(np.linalg.lstsq(terms[keep], value[keep], rcond=None)[0], np.float64)
        residual = value - terms @ coefficients
        sigma = max(1.4826 * float(np.median(np.abs(residual[keep]))), 1e-4)
        keep = np.isfinite(value) & (np.abs(residual) < clip * sigma)
    return coefficients, keep


def laser_positions(found: Float64, lasers: tuple[int, ...], offsets: Float64) -> Float64:
    """(2, field terms, m) positions of all m lasers of a mode from those of the k that burn, (2, field terms, k) px.

    `lasers` (k,) which burn; `offsets` (m, 2) the mode's nominal places from the first laser: its prism's law. Two
    lasers give that law a scale and an offset that vary over the field, one an offset; k = m changes nothing.
    """
    out = np.empty((*found.shape[:2], len(offsets)))
    out[:, :, list(lasers)] = found
    first, last = lasers[0], lasers[-1]
    for one in sorted(set(range(len(offsets))) - set(lasers)):
        if first == last:
            out[:, :, one] = found[:, :, 0]
            out[:, 0, one] += offsets[one] - offsets[first]
            continue
        # Between the two nearest that burn, or beyond them.
        pairs = [(a, b) for a in lasers for b in lasers if a < b]
        a, b = min(pairs, key=lambda pair: (abs(pair[0] - one) + abs(pair[1] - one), pair))
        share = (offsets[one, 1] - offsets[a, 1]) / (offsets[b, 1] - offsets[a, 1])
        out[:, :, one] = out[:, :, a] + share * (out[:, :, b] - out[:, :, a])
        out[:, 0, one] += offsets[one] - offsets[a] - share * (offsets[b] - offsets[a])
    return out


def exact_law(positions: Float64, wavelengths: Float64) -> Dispersion:
    """The dispersion of order m - 1 in ln wavelength through the positions (2, field terms, m) of m lasers, um."""
    turn = np.linalg.inv(wavelength_terms(wavelengths, len(wavelengths) - 1))
    return Dispersion(np.asarray(positions @ turn.T, np.float64))


def lenslet_offsets(away: Float64, clip: float = 6.0) -> Float64:
    """(2, n) px by which each lenslet's light stands off the smooth map, from that of m lasers' spots (2, n, m).

    What the lasers agree on is the lenslet's own; their mean is drawn towards zero by the share of it that is noise,
    which their differences tell. Zero where a laser is missing (NaN) or a spot is beyond `clip` robust deviations, and
    for a single laser, which cannot tell its noise.
    """
    count = away.shape[2]
    if count < 2:
        return np.zeros(away.shape[:2])
    known: NDArray[np.bool_] = np.asarray(np.isfinite(away).all(axis=(0, 2)))
    out = np.zeros(away.shape[:2])
    if not known.any():
        return out
    width = 1.4826 * np.median(np.abs(away[:, known]), axis=(1, 2))
    known[known] = (np.abs(away[:, known]) < clip * width[:, None, None]).all(axis=(0, 2))
    for axis in (0, 1):
        one = away[axis, known]
        mean = one.mean(axis=1)
        noise = float(np.sum((one - mean[:, None]) ** 2) / max(one.size - len(one), 1)) / count
        total = float(np.mean(mean**2))
        out[axis, known] = mean * max(0.0, 1.0 - noise / max(total, 1e-30))
    return out
