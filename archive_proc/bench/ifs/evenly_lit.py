"""Figures of evenly lit scenes: bias of channels and band, noise, honesty of the claimed errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.ifs.compared import Compared
from archive_proc.bench.ifs.known import Float

SUMMED = 4
"""Channels in a sum of which the claimed error is tested."""
PIXELS_SUMMED = 4.0
"""Pixels along the dispersion in a sum of which the noise is tested."""


def robust_std(values: Float) -> float | None:
    """Standard deviation from the median absolute deviation; None for fewer than ten finite values."""
    known = values[np.isfinite(values)]
    if known.size < 10:
        return None
    return float(1.482602 * np.median(np.abs(known - np.median(known))))


def channel_bias(one: Compared) -> Float:
    """(k,) median over lenslets and planes of found minus true over the median truth; NaN outside the core."""
    bias = np.full(len(one.core), np.nan)
    for k in np.flatnonzero(one.core):
        truth = one.truth[:, one.scored, k]
        error = one.found[:, one.scored, k] - truth
        bias[k] = np.nanmedian(error) / np.median(truth)
    return bias


def rms_and_worst(bias: Float) -> tuple[float | None, float | None]:
    """Over the finite channels, in per cent."""
    known = bias[np.isfinite(bias)]
    if not known.size:
        return None, None
    return 100.0 * float(np.sqrt(np.mean(known**2))), 100.0 * float(np.max(np.abs(known)))


def band_flux(one: Compared) -> tuple[float | None, float | None]:
    """Bias (median) and scatter over lenslets of the sum over core channels against the truth, per cent."""
    ratio = _sum(one.found, one.core) / _sum(one.truth, one.core) - 1.0
    ratio = ratio[:, one.scored]
    known = ratio[np.isfinite(ratio)]
    scatter = robust_std(known)
    return (100.0 * float(np.median(known)), 100.0 * scatter) if scatter is not None else (None, None)


def _sum(values: Float, core: NDArray[np.bool_]) -> Float:
    return np.asarray(values[:, :, core].sum(axis=2))


def _windows(core: NDArray[np.bool_], width: int) -> list[NDArray[np.intp]]:
    """Runs of `width` adjoining core channels that do not overlap."""
    inside = np.flatnonzero(core)
    runs = np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1)
    return [run[i : i + width] for run in runs for i in range(0, len(run) - width + 1, width)]


def _differences(one: Compared, windows: list[NDArray[np.intp]]) -> tuple[Float, NDArray[np.bool_]]:
    """(n - 1, l, w) differences of consecutive planes' sums, truth's own taken out, and which hold no flag."""
    error = one.found - one.truth
    sums = np.stack([error[:, :, run].sum(axis=2) for run in windows], axis=2)
    clean = np.stack([~one.flagged[:, :, run].any(axis=2) for run in windows], axis=2) & one.scored[None, :, None]
    return np.diff(sums, axis=0), clean[1:] & clean[:-1]


def _pulls(one: Compared, windows: list[NDArray[np.intp]], variances: Float) -> float | None:
    """Robust width of the differences over the square root of summed variances (n, l, w)."""
    if len(one.found) < 2 or not windows:
        return None
    difference, clean = _differences(one, windows)
    sigma = np.sqrt(variances[1:] + variances[:-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return robust_std((difference / sigma)[clean])


def noise_over_limit(one: Compared, *, pixels: float | None = None) -> float | None:
    """Scatter between planes over the photon limit: single channels, or sums of about `pixels` along the dispersion."""
    width = 1
    if pixels is not None:
        width = max(1, round(pixels / float(np.median(one.height[one.core]))))
    windows = _windows(one.core, width)
    if not windows:
        return None
    return _pulls(one, windows, np.stack([(one.limit[:, :, run] ** 2).sum(axis=2) for run in windows], axis=2))


def measured_over_claimed(one: Compared, correlation: Float | None, width: int | None) -> float | None:
    """Scatter between planes over the claimed sigma of sums of `width` channels; None: the whole core.

    `correlation` (lags, k, l) of a channel's noise with the one 1, 2, ... redder, None: none is claimed.
    """
    windows = [np.flatnonzero(one.core)] if width is None else _windows(one.core, width)
    if not windows:
        return None
    return _pulls(one, windows, np.stack([summed_variance(one.sigma, correlation, run) for run in windows], axis=2))


def summed_variance(sigma: Float, correlation: Float | None, run: NDArray[np.intp]) -> Float:
    """(n, l) variance of the sum over channels `run` (ascending) with the claimed correlations."""
    total = (sigma[:, :, run] ** 2).sum(axis=2)
    if correlation is None:
        return np.asarray(total)
    place = {int(k): i for i, k in enumerate(run)}
    for lag in range(1, len(correlation) + 1):
        for k in run:
            if int(k) + lag in place:
                total = total + 2.0 * correlation[lag - 1, k] * sigma[:, :, k] * sigma[:, :, k + lag]
    return np.asarray(total)
