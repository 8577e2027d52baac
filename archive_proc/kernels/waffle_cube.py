"""The star behind the mask from the four waffle spots of a spectral cube (notes/ifs 1, irdis 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from archive_proc.kernels.spot_fit import (
    ANGLE,
    FIRST_WIDTH,
    FOUR,
    RADIUS,
    SIZE,
    TERMS,
    WIDTH,
    SpectralOptics,
    SpotFit,
    fit_spots,
    mean_offsets,
    spot_places,
)
from archive_proc.kernels.waffle import FIRST_FACTOR

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

SPOTS = 4
SEARCH = 16.0
"""Pixels about the first guess that are searched for the pattern."""
SEARCH_STEP = 2.0
"""Pixels: half of what a spot is wide; the fit finds the rest."""
ANGLE_STEP = np.radians(1.5)
SIGNIFICANT = 5.0
"""Standard errors that a spot's amplitude must reach, over all channels."""
LEAST_CHANNELS = 6


@dataclass(frozen=True, slots=True)
class CubeWaffle:
    """The star in one CENTER plane of k channels; pitches, coordinates of the lenslets."""

    center: Float64
    """(k, 2) x, y."""
    error: Float64
    """(2,) standard error: photons, and how far the two diagonals disagree over the whole cube."""
    closure: Float64
    """(k,) distance of the two diagonals' midpoints in each channel; NaN where a spot is lost."""
    flux: Float64
    """(k,) mean integral of the four spots, unit of the given flux; NaN where a spot is lost."""
    spots: Float64
    """(k, 4, 2) places of the spots."""
    radius_factor: float
    """lambda / D at the middle of the band."""
    angle: float
    """Of the first spot, counter-clockwise from +x, radians, 0 to pi / 2."""
    used: Mask
    """(k,) channels that the centre rests on."""


def find_spots(images: Float32, lambda_d: Float64, guess: tuple[float, float]) -> tuple[float, float, float]:
    """Where four spots stand in a square in all channels alike: x, y (pixels) and angle of the first (0 to pi / 2).

    images: (k, size, size) square pixels, NaN where nothing is known; lambda_d: (k,) pixels. Every angle is tried. The
    score is the sum of the square roots of local contrasts in units of each image's own scatter, so that four fair
    spots beat one bright speckle or companion, and no channel rules.
    """
    grid = np.arange(-SEARCH, SEARCH + 0.1, SEARCH_STEP)
    dy, dx = np.meshgrid(grid, grid, indexing="ij")
    angles = np.arange(0.0, np.pi / 2 - 1e-9, ANGLE_STEP)
    score = np.zeros((angles.size, *dx.shape))
    for image, scale in zip(images, lambda_d, strict=True):
        filled = np.nan_to_num(image)
        sharp = scipy.ndimage.gaussian_filter(filled, 0.4 * scale) - scipy.ndimage.gaussian_filter(filled, 1.5 * scale)
        typical = 1.4826 * float(np.median(np.abs(sharp[np.isfinite(image)]))) if np.isfinite(image).any() else 0.0
        if typical <= 0.0:
            continue
        root = np.sqrt(np.clip(sharp / typical, 0.0, 400.0))
        for place, angle in enumerate(angles):
            for spot in range(SPOTS):
                turn = angle + spot * np.pi / 2
                at = [
                    guess[1] + dy + FIRST_FACTOR * scale * np.sin(turn),
                    guess[0] + dx + FIRST_FACTOR * scale * np.cos(turn),
                ]
                score[place] += scipy.ndimage.map_coordinates(root, at, order=1, mode="constant")
    best = np.unravel_index(int(np.argmax(score)), score.shape)
    return guess[0] + float(dx[best[1:]]), guess[1] + float(dy[best[1:]]), float(angles[best[0]])


def fit_cube_waffle(
    places: Float64,
    spectra: tuple[Float32, Float32],
    optics: SpectralOptics,
    start: tuple[float, float, float],
) -> CubeWaffle | None:
    """Fit the four spots of all channels together; None when fewer than three are significant or channels disagree.

    places: (2, n) x, y of the lenslets, pitches; spectra: flux and variance (n, k), variance NaN has no weight; start:
    coarse x, y (pitches) and angle (radians).
    """
    state = np.zeros(SIZE)
    state[:2] = start[:2]
    state[RADIUS], state[ANGLE], state[WIDTH] = FIRST_FACTOR, start[2], FIRST_WIDTH
    fit = fit_spots(places, spectra, optics, FOUR, state)
    if fit is None:
        return None
    midpoints = 0.5 * (fit.offset[:, :2] + fit.offset[:, 2:])
    apart = midpoints[:, 0] - midpoints[:, 1]
    closure = np.hypot(*apart.T)
    whole = fit.used & np.isfinite(closure)
    significant = np.sqrt((np.where(fit.used[:, None], fit.snr, 0.0) ** 2).sum(axis=0)) > SIGNIFICANT
    if significant.sum() < 3 or whole.sum() < LEAST_CHANNELS:
        return None
    x, y = spot_places(fit.state, optics, SPOTS)
    return CubeWaffle(
        center=fit.center,
        error=_error(fit, apart, whole),
        closure=closure,
        flux=fit.flux.mean(axis=1),
        spots=np.stack([x, y], axis=-1),
        radius_factor=float(fit.state[RADIUS]),
        angle=float(np.mod(fit.state[ANGLE], np.pi / 2)),
        used=fit.used,
    )


def _error(fit: SpotFit, apart: Float64, whole: Mask) -> Float64:
    """(2,) standard error of the centre.

    Speckles move outwards as spots do, so what they do to a centre is nearly the same in all channels: half the
    distance of the diagonals' midpoints, averaged over the cube and shared by the axes (as in `waffle`), beside
    photons.
    """
    weight = 1.0 / np.maximum(fit.variance[whole].mean(axis=(1, 2)), 1e-12)
    mean = weight @ apart[whole] / weight.sum()
    photon = 1.0 / (1.0 / mean_offsets(fit.offset, fit.variance)[1][whole]).sum(axis=0)
    return np.asarray(np.hypot(np.hypot(*mean) / np.sqrt(8.0), np.sqrt(TERMS * photon)))
