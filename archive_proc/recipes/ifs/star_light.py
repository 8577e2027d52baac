"""The unocculted star of one FLUX plane: its image with the star on the middle pixel, and its light in an aperture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.rectify import correlation
from archive_proc.recipes.ifs.neutral_density import nd_transmission
from archive_proc.recipes.ifs.squares import LAGS, Planes
from archive_proc.recipes.ifs.track_looks import Field, StarSeen

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

PSF_SIZE = 80
APERTURE = 10.0
"""Pixels, 75 mas: two to three lambda / D."""
ANNULUS = (32.0, 39.0)
"""Pixels: local zero beyond the halo's bright part."""
LEAST_VALID = 0.9
"""Part of the aperture that must have values."""


@dataclass(frozen=True, slots=True)
class StarLight:
    """A star in k channels, corrected for the neutral density."""

    image: Float32
    """(k, PSF_SIZE, PSF_SIZE) adu/s, star on pixel PSF_SIZE // 2; NaN where nothing is known."""
    weight: Float32
    """(k, PSF_SIZE, PSF_SIZE) inverse variance; 0 where nothing is known."""
    flux: Float64
    """(k,) adu/s within `APERTURE`, zero from the annulus; NaN where too little of it has values."""
    error: Float64
    """(k,) from the variance and the correlation of pixels."""


def nd_filter_of(attrs: Mapping[str, Any]) -> str | None:
    """The neutral density filter that a product of spectra was taken with."""
    if "nd_filter" in attrs:
        return attrs["nd_filter"] or None
    setup = json.loads(str(attrs.get("setup") or "{}"))
    found: str | None = setup.get("nd_filter")
    return found


def light_of(field: Field, spectra: Planes, star: StarSeen, attrs: Mapping[str, Any]) -> StarLight:
    """Resample once with the star on the middle pixel of every channel, cut out, sum up."""
    wavelength = field.optics.wavelength_um
    channels = np.arange(wavelength.size)
    middle = field.scale.middle
    flux, variance, _ = field.images(spectra, channels, middle - field.pitch_px * star.center)
    inner = slice(middle - PSF_SIZE // 2, middle + PSF_SIZE // 2)
    through = nd_transmission(nd_filter_of(attrs), wavelength)
    image = (flux[:, inner, inner] / through[:, None, None]).astype(np.float32)
    spread = (variance[:, inner, inner] / through[:, None, None] ** 2).astype(np.float32)
    good = np.isfinite(image) & np.isfinite(spread) & (spread > 0)
    weight = np.where(good, 1.0 / np.where(good, spread, 1.0), 0.0).astype(np.float32)
    image = np.where(good, image, np.float32(np.nan))
    shared = correlation(field.grid, LAGS)
    factor = float(shared[0, 0] + 2.0 * shared[0, 1:].sum() + 2.0 * shared[1:, 0].sum() + 4.0 * shared[1:, 1:].sum())
    found = [_aperture(one, noise, factor) for one, noise in zip(image, np.where(good, spread, 0.0), strict=True)]
    return StarLight(image, weight, np.array([one for one, _ in found]), np.array([one for _, one in found]))


def _aperture(image: Float32, variance: Float32, correlated: float) -> tuple[float, float]:
    """Flux and its error; pixels without a value take that of the pixel opposite, or of their ring."""
    y, x = np.mgrid[:PSF_SIZE, :PSF_SIZE] - PSF_SIZE // 2
    radius = np.hypot(x, y)
    known = np.isfinite(image)
    # A pixel on the rim counts in part.
    share = np.clip(APERTURE + 0.5 - radius, 0.0, 1.0)
    if (share * known).sum() < LEAST_VALID * share.sum():
        return float("nan"), float("nan")
    ring = known & (radius >= ANNULUS[0]) & (radius <= ANNULUS[1])
    zero = float(np.median(image[ring])) if ring.sum() > 50 else 0.0
    values = np.where(known, image - zero, 0.0)
    for row, column in zip(*np.nonzero(~known & (share > 0)), strict=True):
        opposite = PSF_SIZE - row, PSF_SIZE - column
        alike = known & (np.abs(radius - radius[row, column]) < 0.7)
        if opposite[0] < PSF_SIZE and opposite[1] < PSF_SIZE and known[opposite]:
            values[row, column] = image[opposite] - zero
        elif alike.any():
            values[row, column] = float(image[alike].mean()) - zero
    return float((share * values).sum()), float(np.sqrt(correlated * (share**2 * variance).sum()))
