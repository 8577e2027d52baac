"""Throughput of lenslets from spectra of a lamp that all of them see (notes/ifs 6.10)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

CORE = 0.15
"""Channels with less of the lamp's brightest one are left out: filter edges move with a lenslet's wavelengths."""
OUTLIER = 5.0
"""Robust sigma beyond which a channel has no say in its lenslet's throughput."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Of n lenslets, from m channels."""

    throughput: Float64
    """(n,) median 1; NaN where too few channels were seen."""
    variance: Float64
    """(n,) from the spectra's noise."""
    lamp: Float64
    """(m,) median spectrum, the unit of the light."""
    core: NDArray[np.bool_]
    """(m,) channels that were compared."""


def lenslet_throughput(light: Float64, variance: Float64, correlation: Float32) -> Throughput:
    """Light of every lenslet in the core channels over that of the median lenslet.

    `light`, `variance` (n, m), NaN where not measured; `correlation` (lags, m, n) of a channel's noise with redder
    ones. Channels of a lenslet that disagree with its others (bad pixels) are left out, with their share of the lamp.
    """
    lamp = np.nanmedian(light, axis=0)
    core = np.nan_to_num(lamp) > CORE * np.nanmax(lamp)
    # The first and last core channels sit on the filter's flanks.
    edges = np.flatnonzero(core)
    if edges.size > 4:
        core[edges[[0, -1]]] = False
    ratio = light[:, core] / lamp[core]
    middle = np.nanmedian(ratio, axis=1, keepdims=True)
    # Lenslets share the channels' pattern (positions, PSFlets): what is left is their own scatter.
    away = ratio - middle - np.nanmedian(ratio - middle, axis=0)
    sigma = 1.4826 * np.nanmedian(np.abs(away))
    kept = np.isfinite(away) & (np.abs(away) < OUTLIER * max(float(sigma), 1e-6))
    weight = np.where(kept, lamp[core], 0.0)
    total = weight.sum(axis=1)
    few = kept.sum(axis=1) < kept.shape[1] / 3
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(kept, light[:, core], 0.0).sum(axis=1) / total
        spread = _variance_of_sum(np.where(kept, variance[:, core], 0.0), correlation[:, core]) / total**2
    found[few], spread[few] = np.nan, np.nan
    scale = float(np.nanmedian(found))
    return Throughput(found / scale, spread / scale**2, lamp * scale, core)


def local_scatter(throughput: Float64, beside: NDArray[np.int32]) -> float:
    """Robust standard deviation of single lenslets' throughput (n,), relative; NaN where none has a neighbour.

    Each is held against the mean of those that touch it, `beside` (n, b) of them, -1 where there is none: what changes
    slowly over the field is the lamp's illumination, or the detector's response, of which its own flat tells nothing on
    such scales. NaN throughputs have no say.
    """
    known = (beside >= 0) & np.isfinite(throughput)[beside]
    count = known.sum(axis=1)
    around = np.where(known, throughput[beside], 0.0).sum(axis=1) / np.maximum(count, 1)
    use = np.isfinite(throughput) & (count > 0)
    if not use.any():
        return float("nan")
    # A mean of so many has scatter of its own.
    away = np.abs(throughput[use] / around[use] - 1.0) / np.sqrt(1.0 + 1.0 / count[use])
    return 1.4826 * float(np.median(away))


def _variance_of_sum(variance: Float64, correlation: Float32) -> Float64:
    """(n,) of the sum over channels."""
    sigma = np.sqrt(variance)
    total = variance.sum(axis=1)
    for lag, one in enumerate(correlation, start=1):
        pairs = sigma[:, :-lag] * sigma[:, lag:] * np.nan_to_num(one[: sigma.shape[1] - lag].T)
        total = total + 2.0 * pairs.sum(axis=1)
    return np.asarray(np.maximum(total, 0.0))
