"""Laser spots of all lenslets, found as open pipelines do: centroids about expected places, one cubic a laser.

Peers are treated kindly: they are told which lenslets there are, and where their spots lie to within a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.ifs.known import Float, Known
from archive_proc.bench.ifs.raw_set import Float32

_ROUNDS = 4
_WINDOW = 2
"""Half width of the centroid's window, pixels: neighbours' spots are 5 away."""


@dataclass(frozen=True, slots=True)
class SpotPlaces:
    """Where l lenslets' light of each laser falls."""

    laser_nm: Float
    x: Float
    y: Float
    """(l, lasers) by the cubic of the field, pixels."""

    def terms(self) -> Float:
        """(lasers, lasers) inverse of the powers of ln wavelength at the lasers."""
        return np.linalg.inv(np.vander(np.log(self.laser_nm / 1100.0), increasing=True))

    def at(self, wavelength_nm: Float, shift: tuple[float, float] = (0.0, 0.0)) -> tuple[Float, Float]:
        """(l, k) x and y: a polynomial of ln wavelength through the lasers."""
        powers = np.vander(np.log(np.atleast_1d(wavelength_nm) / 1100.0), len(self.laser_nm), increasing=True)
        law = powers @ self.terms()
        return self.x @ law.T + shift[0], self.y @ law.T + shift[1]


def cubic_terms(x: Float, y: Float) -> Float:
    """(l, 10) third-order terms of the field."""
    u, v = x / 70.0, y / 70.0
    return np.stack([u**i * v**j for i in range(4) for j in range(4 - i)], axis=1)


def rough_places(known: Known) -> tuple[Float, Float]:
    """(l, lasers): truth as a plane of the field, rounded to whole pixels at its centre."""
    plane = np.stack([np.ones(len(known.x)), known.x, known.y], axis=1)
    fit = [np.linalg.lstsq(plane, one, rcond=None)[0] for one in (known.x_laser, known.y_laser)]
    for one in fit:
        one[0] = np.rint(one[0])
    return plane @ fit[0], plane @ fit[1]


def find_spots(image: Float32, bad: NDArray[np.bool_], known: Known) -> SpotPlaces:
    """Spots in a laser frame after background; `bad` pixels are left out of the centroids."""
    x, y = rough_places(known)
    light = np.where(bad, 0.0, image).astype(np.float64)
    field = cubic_terms(known.x, known.y)
    for _ in range(_ROUNDS):
        for laser in range(x.shape[1]):
            dx, dy = _centroids(light, x[:, laser], y[:, laser])
            for axis, step in ((x, dx), (y, dy)):
                measured = axis[:, laser] + step
                axis[:, laser] = field @ _robust(field, measured)
    return SpotPlaces(known.laser_nm, x, y)


def _robust(field: Float, values: Float) -> Float:
    good = np.isfinite(values)
    for _ in range(5):
        fit = np.linalg.lstsq(field[good], values[good], rcond=None)[0]
        left = values - field @ fit
        sigma = 1.4826 * np.median(np.abs(left[good]))
        good = np.isfinite(values) & (np.abs(left) < 4.0 * sigma)
    return np.asarray(fit)


def _centroids(light: Float, x: Float, y: Float) -> tuple[Float, Float]:
    """Offsets of the light's centroid from expected places, weighted by a Gaussian about them; NaN outside."""
    size = len(light)
    xi, yi = np.rint(x).astype(int), np.rint(y).astype(int)
    inside = (xi > _WINDOW) & (xi < size - 1 - _WINDOW) & (yi > _WINDOW) & (yi < size - 1 - _WINDOW)
    offset = np.arange(-_WINDOW, _WINDOW + 1)
    rows = np.clip(yi[:, None] + offset, 0, size - 1)
    columns = np.clip(xi[:, None] + offset, 0, size - 1)
    box = light[rows[:, :, None], columns[:, None, :]]
    px, py = columns[:, None, :] - x[:, None, None], rows[:, :, None] - y[:, None, None]
    # A Gaussian of the spot's own width halves the offset that is found: hence the factor.
    box = np.clip(box, 0.0, None) * np.exp(-0.5 * (px**2 + py**2) / 1.2**2)
    total = box.sum(axis=(1, 2))
    fine = inside & (total > 0)
    total = np.where(fine, total, 1.0)
    dx, dy = 1.7 * (box * px).sum(axis=(1, 2)) / total, 1.7 * (box * py).sum(axis=(1, 2)) / total
    return np.where(fine, dx, np.nan), np.where(fine, dy, np.nan)
