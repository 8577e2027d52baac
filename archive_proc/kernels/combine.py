"""Robust combination of planes that show the same scene: mean, temporal scatter, typical noise.

Works on stripes of rows: nothing here looks beyond the array it is given but `local_median`, which masters use once on
a whole frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

CLIP_SIGMA = 5.0
"""Planes further from the pixel's median are left out."""
PRIOR_PLANES = 10
"""The typical noise counts as this many planes in a pixel's own: few planes say little about one pixel."""
_ROWS = 256
"""Rows whose windows are sorted at a time."""
OUTPUT_COLUMNS = 64
"""Columns of one detector output."""


@dataclass(frozen=True, slots=True)
class Combined:
    """Combination of n planes, arrays (ny, nx)."""

    mean: Float32
    noise: Float32
    """Standard deviation of one plane, shrunk towards the typical one."""
    variance: Float32
    """Of `mean`: noise^2 / planes used."""
    scatter: Float32
    """Standard deviation over planes as measured; NaN with fewer than three."""
    typical_noise: float


def align_outputs(planes: Float32) -> Float32:
    """Planes (n, ny, nx) with each output's level brought to its mean over planes.

    What is removed is the change of a 64-column output between planes within this stripe (clipped mean of the
    difference to the planes' mean); the mean level stays.
    """
    if len(planes) < 2:
        return planes
    # The mean, not the median: a plane's difference to a median it takes part in is no Gaussian, and clips askew.
    middle = planes.mean(axis=0)
    aligned = planes.copy()
    shifts = np.empty(len(planes))
    for first in range(0, planes.shape[2], OUTPUT_COLUMNS):
        columns = slice(first, first + OUTPUT_COLUMNS)
        for index, plane in enumerate(planes):
            shifts[index] = clipped_mean(plane[:, columns] - middle[:, columns])
        aligned[:, :, columns] -= (shifts - shifts.mean()).astype(np.float32)[:, None, None]
    return aligned


def clipped_mean(values: Float32) -> float:
    """Mean within 3.5 robust sigma of the median; finer than a median on integer ADU."""
    middle = np.median(values)
    away = np.abs(values - middle)
    limit = 3.5 * max(1.4826 * float(np.median(away)), 0.5)
    return float(values[away <= limit].mean(dtype=np.float64))


def robust_sigma(values: Float32) -> float:
    """Standard deviation of the core of a distribution about 0, from values within 3 sigma, twice refined.

    A Gaussian cut at 3 sigma has 0.9866 of its standard deviation; a plain MAD would be quantised on integer ADU.
    """
    sigma = max(1.4826 * float(np.median(np.abs(values))), 0.5)
    for _ in range(3):
        inside = values[np.abs(values) <= 3.0 * sigma]
        sigma = max(float(np.sqrt(np.mean(np.square(inside, dtype=np.float64)))) / 0.9866, 1e-6)
    return sigma


def combine_planes(planes: Float32) -> Combined:
    """Robust mean over planes (n, ny, nx) of one scene, any unit.

    One plane: itself, noise from neighbouring columns. Two: their mean, the lower one where they differ by 8 sigma
    (cosmic rays add). More: mean within 5 sigma of the median, sigma the larger of the typical noise and the pixel's
    own robust scatter, so that a noisy pixel keeps its planes.
    """
    n = len(planes)
    if n == 1:
        steps = np.diff(planes[0], axis=1) / np.float32(np.sqrt(2.0))
        typical = robust_sigma(steps - np.float32(np.median(steps)))
        noise = np.full(planes.shape[1:], typical, np.float32)
        return Combined(planes[0].copy(), noise, noise**2, np.full_like(noise, np.nan), typical)
    if n == 2:
        difference = planes[1] - planes[0]
        typical = robust_sigma(difference - np.float32(clipped_mean(difference))) / np.sqrt(2.0)
        apart = np.abs(difference) > 8.0 * np.sqrt(2.0) * typical
        used = np.where(apart, np.float32(1.0), np.float32(2.0)).astype(np.float32)
        mean = np.where(apart, np.minimum(planes[0], planes[1]), 0.5 * (planes[0] + planes[1])).astype(np.float32)
        scatter = np.abs(difference) * np.float32(np.sqrt(0.5))
        own = np.where(apart, np.float32(typical) ** 2, scatter**2).astype(np.float32)
        noise = _shrunk(own, used - 1.0, typical)
        return Combined(mean, noise, (noise**2 / used).astype(np.float32), np.full_like(noise, np.nan), typical)
    middle = np.median(planes, axis=0).astype(np.float32)
    away = np.abs(planes - middle)
    spread = np.float32(1.4826) * np.median(away, axis=0).astype(np.float32)
    # A median of absolute deviations of few planes is low: the factor is n / (n - 0.8) (Croux & Rousseeuw 1992).
    spread *= np.float32(n / (n - 0.8))
    typical = robust_sigma((planes - planes.mean(axis=0)).ravel()) * float(np.sqrt(n / (n - 1.0)))
    keep = away <= CLIP_SIGMA * np.maximum(spread, np.float32(typical))
    used = keep.sum(axis=0, dtype=np.float32)
    mean = np.where(keep, planes, 0.0).sum(axis=0, dtype=np.float32) / used
    squares = np.where(keep, (planes - mean) ** 2, 0.0).sum(axis=0, dtype=np.float32)
    own = squares / np.maximum(used - 1.0, 1.0)
    noise = _shrunk(own, used - 1.0, typical)
    scatter = np.sqrt(((planes - planes.mean(axis=0)) ** 2).sum(axis=0, dtype=np.float32) / np.float32(n - 1))
    return Combined(mean.astype(np.float32), noise, (noise**2 / used).astype(np.float32), scatter, float(typical))


def _shrunk(own_variance: Float32, freedom: Float32, typical: float) -> Float32:
    """Noise per pixel: its own variance with its degrees of freedom, the typical one as `PRIOR_PLANES` more."""
    pooled = (PRIOR_PLANES * typical**2 + freedom * own_variance) / (PRIOR_PLANES + freedom)
    noise: Float32 = np.sqrt(pooled).astype(np.float32)
    return noise


def local_median(values: Float32, size: int = 9) -> Float32:
    """Median of row medians over size x size pixels, (..., ny, nx); NaN is left out, edges are repeated.

    Separable, so three times quicker than a full median filter and as blind to single pixels; used once a master.
    """
    half, ny = size // 2, values.shape[-2]
    across = [(0, 0)] * (values.ndim - 1) + [(half, half)]
    down = [(0, 0)] * (values.ndim - 2) + [(half, half), (0, 0)]
    windows = np.lib.stride_tricks.sliding_window_view
    # Some rows at a time: all windows of a whole frame fill twenty times its memory.
    some = [slice(first, min(first + _ROWS, ny)) for first in range(0, ny, _ROWS)]
    rows = np.concatenate(
        [_nan_median(windows(np.pad(values[..., one, :], across, mode="edge"), size, axis=-1)) for one in some], axis=-2
    )
    padded = np.pad(rows, down, mode="edge")
    return np.concatenate(
        [_nan_median(windows(padded[..., one.start : one.stop + 2 * half, :], size, axis=-2)) for one in some], axis=-2
    )


def _nan_median(windows: Float32) -> Float32:
    """Median over the last axis without NaN; NaN where nothing is left."""
    ordered = np.sort(windows, axis=-1)
    count = np.isfinite(ordered).sum(axis=-1)
    if bool((count == windows.shape[-1]).all()):
        middle: Float32 = ordered[..., windows.shape[-1] // 2]
        return middle
    where = np.maximum(count - 1, 0)[..., None]
    low = np.take_along_axis(ordered, where // 2, axis=-1)[..., 0]
    high = np.take_along_axis(ordered, (where + 1) // 2, axis=-1)[..., 0]
    return np.where(count > 0, 0.5 * (low + high), np.nan).astype(np.float32)
