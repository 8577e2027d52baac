"""Figures of rectified cubes: claimed errors of aperture sums, where the star is and is said to be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.ifs.evenly_lit import robust_std
from archive_proc.bench.ifs.known import Float
from archive_proc.simulate.facts import lambda_over_d_mas
from archive_proc.simulate.ifs.facts import PITCH_MAS

APERTURE_PX = 3.0
STEP_PX = 8
"""Between the centres of apertures."""
CORE = 0.42
"""Width (sigma) of an Airy disc's core, lambda / D: the weight of the centroid that finds it."""
BRIGHT = 0.3
"""Of the brightest bin's light: fainter ones say nothing of a core."""


def aperture_pulls(
    flux: NDArray[np.float32],
    variance: NDArray[np.float32],
    clean: NDArray[np.bool_],
    correlation: NDArray[np.float32],
) -> Float:
    """Differences of aperture sums between consecutive planes over the claimed sigma; (n, ny, nx) of one channel.

    The variance of a sum is the sum over pairs of pixels of sigma x sigma x `correlation` (|dy|, |dx|). Only apertures
    without any pixel that is not `clean`.
    """
    reach = int(APERTURE_PX)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = np.hypot(y, x) <= APERTURE_PX
    dy, dx = y[inside], x[inside]
    related = _related(correlation, dy[:, None] - dy, dx[:, None] - dx)
    ny, nx = flux.shape[1:]
    at_y, at_x = np.mgrid[reach : ny - reach : STEP_PX, reach : nx - reach : STEP_PX]
    rows, columns = at_y.ravel()[:, None] + dy, at_x.ravel()[:, None] + dx
    pulls = []
    for first, second in zip(range(len(flux) - 1), range(1, len(flux)), strict=True):
        whole = (clean[first] & clean[second])[rows, columns].all(axis=1)
        r, c = rows[whole], columns[whole]
        total = (flux[second] - flux[first])[r, c].sum(axis=1, dtype=np.float64)
        claimed = np.zeros(len(r))
        for plane in (first, second):
            sigma = np.sqrt(variance[plane][r, c].astype(np.float64))
            claimed += np.einsum("ai,ij,aj->a", sigma, related, sigma)
        pulls.append(total / np.sqrt(claimed))
    return np.concatenate(pulls) if pulls else np.empty(0)


def _related(correlation: NDArray[np.float32], lag_y: NDArray[np.int64], lag_x: NDArray[np.int64]) -> Float:
    row, column = np.abs(lag_y), np.abs(lag_x)
    ny, nx = correlation.shape
    values = correlation[np.minimum(row, ny - 1), np.minimum(column, nx - 1)]
    return np.where((row < ny) & (column < nx), values, 0.0).astype(np.float64)


def pulls_width(pulls: list[Float]) -> float | None:
    """Robust width of the pulls of all channels, each about its own median; None without any."""
    centred = [one - np.median(one) for one in pulls if len(one)]
    return robust_std(np.concatenate(centred)) if centred else None


def core_of(x: Float, y: Float, light: Float, wavelength_nm: Float, start: Float) -> Float:
    """(2,) where the core of a star's noise-free light (lenslets, bins) stands, pitches; mean of the bright bins.

    A centroid weighted by a Gaussian of the core's own width about itself. It is the place that an image shows: with a
    tilted wavefront all images of a night, spots and companions too, stand off the place that the star was given.
    """
    total = light.sum(axis=0)
    bright = np.flatnonzero(total > BRIGHT * total.max())
    found = np.empty((bright.size, 2))
    for place, channel in enumerate(bright):
        width = CORE * lambda_over_d_mas(wavelength_nm[channel] / 1000.0) / PITCH_MAS
        at = np.array(start, np.float64)
        for _ in range(30):
            weight = light[:, channel] * np.exp(-0.5 * ((x - at[0]) ** 2 + (y - at[1]) ** 2) / width**2)
            # Light times a weight of its own shape is half as wide: a whole step is twice the centroid's.
            at += 2.0 * (np.array([weight @ x, weight @ y]) / weight.sum() - at)
        found[place] = at
    return np.asarray(found.mean(axis=0))


def centring_error_mas(found: Float, true: Float) -> float | None:
    """Root mean square distance (n, k, 2) of found star places from the true (n, 2), mas, over planes and channels.

    None where there is no plane, or one of them has no finite place in any channel: not found is not well centred.
    """
    distance = np.hypot(found[..., 0] - true[:, None, 0], found[..., 1] - true[:, None, 1])
    if not distance.size or not np.isfinite(distance).any(axis=1).all():
        return None
    return float(np.sqrt(np.nanmean(distance**2)))


def centring_pull(found: Float, true: Float, quoted: Float) -> float | None:
    """Root mean square of found (n, k, 2) less true (n, 2) over the quoted error (n, k, 2); None as above."""
    if centring_error_mas(found, true) is None:
        return None
    pulls = (found - true[:, None]) / quoted
    return float(np.sqrt(np.nanmean(pulls**2)))
