"""Relative flux of planes with an honest error (notes/irdis 4.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

SPOT_NOISE = 0.04
"""Fractional error of one plane's mean of four fitted waffle spots: each interferes with the speckle under it."""

WAFFLE_NOISE = 0.012
"""Of the amplitude of all fine structure, spots included, beside photon noise (notes/irdis 4.5 a)."""
SPECKLE_NOISE_H, SPECKLE_NOISE_K = 0.021, 0.055
"""The same without spots, in H and in K (notes/irdis 4.5 b): speckles change with the aberrations behind them."""


def speckle_noise(wavelength_um: float) -> float:
    """Fractional error of the amplitude of speckles in one plane beside photon noise.

    In H and shorter 0.021, in K 0.055: coronagraphic speckles of one wavefront are fainter in K against what changes.
    """
    return SPECKLE_NOISE_K if wavelength_um > 1.9 else SPECKLE_NOISE_H


@dataclass(frozen=True, slots=True)
class RelativeFlux:
    """Factors of planes: divide by them to correct."""

    factor: Float64
    """(n, 2), median 1 over the usable planes."""
    error: Float64
    """(n, 2)."""


def unidentified(n: int, expected_scatter: float) -> RelativeFlux:
    """No estimator is to be trusted: factor 1 and the scatter to be expected as its error."""
    return RelativeFlux(np.ones((n, 2)), np.full((n, 2), expected_scatter))


def shrunk(
    estimates: Float64, usable: NDArray[np.bool_], noise: float, expected_scatter: float, *, prior_planes: float = 0.0
) -> RelativeFlux:
    """Factors from estimates (n, 2) of fractional error `noise`, drawn towards 1 by what their scatter can be trusted.

    Factor 1 + beta (b - 1), beta = signal variance over signal and noise variance; the signal's is that of the usable
    planes' scatter less the noise; the expected scatter counts as `prior_planes` more, since few planes tell their own
    variance badly. A plane without an estimate keeps factor 1 and the expected scatter.
    """
    found = usable[:, None] & np.isfinite(estimates) & (estimates > 0)
    factor = np.ones_like(estimates)
    error = np.full_like(estimates, expected_scatter)
    for half in range(estimates.shape[1]):
        members = estimates[found[:, half], half]
        if members.size == 0:
            continue
        relative = estimates[:, half] / np.median(members)
        expected = expected_scatter**2 + noise**2
        variance = expected
        if members.size > 2:
            seen = float(np.var(relative[found[:, half]]))
            variance = (members.size * seen + prior_planes * expected) / (members.size + prior_planes)
        beta = max(0.0, 1.0 - noise**2 / variance) if variance > 0 else 0.0
        known = np.isfinite(relative) & (relative > 0)
        factor[known, half] = 1.0 + beta * (relative[known] - 1.0)
        # Posterior of a Gaussian signal and Gaussian noise.
        error[known, half] = noise * np.sqrt(beta) if beta > 0 else np.sqrt(variance)
        factor[:, half] /= np.median(factor[found[:, half], half])
    return RelativeFlux(factor, error)
