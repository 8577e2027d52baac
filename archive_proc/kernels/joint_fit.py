"""Spectra, residual and covariance of planes that share weights: the joint fit as one call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.extraction import (
    BAND,
    LANES,
    WIDTH,
    cross_blocks,
    factorise,
    gradient,
    normal_blocks,
    sandwich,
    subtract_model,
    sweep,
)
from archive_proc.kernels.lenslets import OVERLAPPING, Lenslets
from archive_proc.kernels.microspectra import Templates

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

LAGS = 4
"""Variance and covariances with the next three channels."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How spectra are fitted (notes/ifs 6.6)."""

    mu: float = 0.1
    """Strength of the smoothness prior in units of a lenslet's mean information: sets resolution, bias and noise."""
    sweeps: int = 6
    rounds: int = 2
    """The gradient is made anew from pixels between rounds."""


@dataclass(frozen=True, slots=True)
class Spectra:
    """n lenslets, m channels, p planes."""

    flux: Float32
    """(n, m, p), the unit of the data."""
    covariance: Float64
    """(n, LAGS, m): of channels k and k + lag, for weights that are 1 / variance; NaN past the last channel."""
    residual: Float32
    """(ny, nx, p) data minus model."""
    information: Float64
    """(n, m) sum of weight times template squared: 0 where a channel is not seen."""
    last_step: float
    """Root mean square of the last sweep's steps in claimed sigma."""


def fit_spectra(
    data: Float32,
    weight: Float32,
    templates: Templates,
    lenslets: Lenslets,
    prior: Float64 | None = None,
    settings: FitSettings | None = None,
) -> Spectra:
    """Fit all lenslets of up to eight planes at once.

    `data` (ny, nx, p) float32, background off; `weight` (ny, nx) inverse variance, 0 for bad pixels, the same for all
    planes; `templates` of the same `lenslets`; `prior` (m,) expected shape of the spectra, positive (flat if None).
    Raises ValueError for more planes than are solved together.
    """
    settings = settings or FitSettings()
    n, m = templates.y0.shape
    planes = data.shape[2]
    if planes > LANES:
        raise ValueError(f"{planes} planes, {LANES} at most are solved together")
    shape = np.ones(m) if prior is None else np.asarray(prior, np.float64)
    place = (templates.values, templates.x0, templates.y0)
    normal = np.empty((n, BAND, m))
    normal_blocks(*place, weight, normal)
    factor, strength = np.empty_like(normal), np.empty(n)
    factorise(normal, settings.mu, shape, factor, strength)
    covariance = np.empty((n, LAGS, m))
    sandwich(normal, factor, covariance)
    sigma = np.sqrt(np.maximum(covariance[:, 0], 1e-30)).astype(np.float32)
    pairs = lenslets.steps(OVERLAPPING)
    cross, first = np.empty((n, pairs.shape[1], m, WIDTH), np.float32), np.zeros((n, pairs.shape[1], m), np.int16)
    cross_blocks(*place, weight, pairs, first, cross)
    back = np.full_like(pairs, -1)
    for step in range(pairs.shape[1]):
        there = np.flatnonzero(pairs[:, step] >= 0)
        back[pairs[there, step], step] = there
    # Neighbours on the detector follow each other, so that what they share stays in the cache.
    order = np.lexsort((templates.y0[:, m // 2], templates.x0 // 8)).astype(np.int32)
    blocks = (normal.astype(np.float32), factor.astype(np.float32), strength, shape, cross, first, pairs, back, order)
    lanes = np.zeros((*data.shape[:2], LANES), np.float32)
    lanes[:, :, :planes] = data
    residual = lanes.copy()
    flux, left = np.zeros((n, m, LANES), np.float32), np.empty((n, m, LANES), np.float32)
    last = np.inf
    for _ in range(settings.rounds):
        gradient(*place, weight, residual, left)
        for _ in range(settings.sweeps):
            last = sweep(*blocks, left, flux, sigma)
        residual[:] = lanes
        subtract_model(*place, flux, residual)
    return Spectra(flux[:, :, :planes], covariance, residual[:, :, :planes], normal[:, 0].copy(), float(last))
