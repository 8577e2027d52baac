"""Spectra, residual and covariance of planes that share weights: the joint fit, set up once and solved for many planes.

Setting up (own blocks, factors, blocks shared with neighbours, covariance) costs as much as solving some twenty planes;
it depends on templates and weights alone, so that all planes of one DIT and shift share it.
"""

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
    resolution_rows,
    sandwich,
    subtract_model,
    sweep,
)
from archive_proc.kernels.lenslets import OVERLAPPING, Lenslets
from archive_proc.kernels.microspectra import Templates

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]

LAGS = 7
"""Variance and covariances with the next six channels: the prior makes noise swing over five (notes/ifs 6.8)."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How spectra are fitted (notes/ifs 6.6)."""

    mu: float = 0.1
    """Strength of the smoothness prior in units of a lenslet's mean information: sets resolution, bias and noise."""
    sweeps: int = 6
    rounds: int = 2
    """The gradient is made anew from pixels between rounds."""


@dataclass(frozen=True, slots=True)
class Equations:
    """The joint fit's equations of n lenslets and m channels, for one map of weights."""

    templates: Templates
    weight: Float32
    """(ny, nx) inverse variance, 0 for bad pixels."""
    mu: float
    prior: Float64
    """(m,) expected shape of the spectra."""
    normal: Float32
    """(n, BAND, m) own blocks N_l, lower bands."""
    factor: Float32
    """(n, BAND, m) Cholesky factors of A_l."""
    strength: Float64
    """(n,) of the smoothness prior."""
    hold: Float32
    """(n, m) pull to zero of channels that are not seen."""
    cross: Float32
    first: Int16
    reach: Int16
    pairs: Int32
    back: Int32
    order: Int32
    covariance: Float32
    """(n, LAGS, m) of channels k and k + lag, if the weights are 1 / variance; NaN past the last channel."""
    typical: float
    """Information of a typical channel."""

    @property
    def place(self) -> tuple[Int16, Float32, Int32, Int32]:
        """The templates as the loops take them."""
        one = self.templates
        return one.counts, one.scale, one.x0, one.y0

    def renew(self, members: Int32) -> None:
        """Set up some lenslets again, in place, after weights of pixels under their templates were changed."""
        # A thousand at a time: what is computed in double precision stays small.
        for first in range(0, members.size, 2048):
            some = members[first : first + 2048]
            shape = (some.size, *self.normal.shape[1:])
            normal, factor = np.empty(shape), np.empty(shape)
            normal_blocks(*self.place, self.weight, some, normal)
            strength, hold = np.empty(some.size), np.empty((some.size, shape[2]))
            factorise(normal, self.mu, self.typical, self.prior, factor, strength, hold)
            covariance = np.empty((some.size, LAGS, shape[2]))
            sandwich(normal, factor, covariance)
            self.normal[some], self.factor[some] = normal, factor
            self.strength[some], self.hold[some], self.covariance[some] = strength, hold, covariance
            cross_blocks(*self.place, self.weight, some, self.pairs, self.first, self.reach, self.cross)


def joint_equations(
    weight: Float32, templates: Templates, lenslets: Lenslets, *, mu: float = 0.1, prior: Float64 | None = None
) -> Equations:
    """Set up the fit of `lenslets` with these templates and weights; `prior` (m,) positive, flat if None."""
    n, m = templates.y0.shape
    pairs = lenslets.steps(OVERLAPPING)
    steps = pairs.shape[1]
    back = np.full_like(pairs, -1)
    for step in range(steps):
        there = np.flatnonzero(pairs[:, step] >= 0)
        back[pairs[there, step], step] = there
    everyone = np.arange(n, dtype=np.int32)
    sample = everyone[:: max(n // 400, 1)]
    blocks = np.empty((sample.size, BAND, m))
    normal_blocks(templates.counts, templates.scale, templates.x0, templates.y0, weight, sample, blocks)
    found = Equations(
        templates,
        weight,
        mu,
        np.ones(m) if prior is None else np.asarray(prior, np.float64),
        normal=np.empty((n, BAND, m), np.float32),
        factor=np.empty((n, BAND, m), np.float32),
        strength=np.empty(n),
        hold=np.empty((n, m), np.float32),
        # Only what neighbours share is written, so that most of this is never touched.
        cross=np.empty((steps, n, m, WIDTH), np.float32),
        first=np.zeros((steps, n, m), np.int16),
        reach=np.zeros((steps, n, m), np.int16),
        pairs=pairs,
        back=back,
        # Neighbours on the detector follow each other, so that what they share stays in the cache.
        order=np.lexsort((templates.y0[:, m // 2], templates.x0 // 8)).astype(np.int32),
        covariance=np.empty((n, LAGS, m), np.float32),
        typical=float(np.median(blocks[:, 0].mean(axis=1))),
    )
    found.renew(everyone)
    return found


def relax(equations: Equations, residual: Float32, flux: Float32, sweeps: int) -> float:
    """Improve `flux` (n, m, LANES) in place, given `residual` (p, ny, nx) of data minus its model.

    The residual is not brought up to date (`refresh_residual`). Returns the last sweep's root mean square step in
    claimed sigma.
    """
    left = np.zeros_like(flux)
    gradient(*equations.place, equations.weight, residual, left)
    sigma = np.sqrt(np.maximum(equations.covariance[:, 0], np.float32(1e-30)))
    last = np.inf
    for _ in range(sweeps):
        last = sweep(
            equations.normal,
            equations.factor,
            equations.strength,
            equations.hold,
            equations.prior,
            equations.cross,
            equations.first,
            equations.reach,
            equations.pairs,
            equations.back,
            equations.order,
            left,
            flux,
            sigma,
        )
    return float(last)


def region_resolution(equations: Equations, regions: list[NDArray[np.intp]], half: int = 4) -> Float32:
    """(regions, m, 2 half + 1) mean resolution matrix of some lenslets of each region, about the diagonal."""
    m = equations.normal.shape[2]
    found = np.full((len(regions), m, 2 * half + 1), np.nan, np.float32)
    for number, members in enumerate(regions):
        if members.size:
            rows = np.empty((members.size, m, 2 * half + 1))
            normal = equations.normal[members].astype(np.float64)
            resolution_rows(normal, equations.factor[members].astype(np.float64), rows)
            found[number] = rows.mean(axis=0)
    return found


@dataclass(frozen=True, slots=True)
class Spectra:
    """n lenslets, m channels, p planes."""

    flux: Float32
    """(n, m, p), the unit of the data."""
    covariance: Float32
    """(n, LAGS, m): of channels k and k + lag, for weights that are 1 / variance; NaN past the last channel."""
    residual: Float32
    """(p, ny, nx) data minus model."""
    information: Float32
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

    `data` (p, ny, nx) float32, background off; `weight` (ny, nx) inverse variance, 0 for bad pixels, the same for all
    planes; `templates` of the same `lenslets`; `prior` (m,) expected shape of the spectra, positive (flat if None).
    Raises ValueError for more planes than are solved together.
    """
    settings = settings or FitSettings()
    planes = len(data)
    if planes > LANES:
        raise ValueError(f"{planes} planes, {LANES} at most are solved together")
    equations = joint_equations(weight, templates, lenslets, mu=settings.mu, prior=prior)
    residual = np.array(data, np.float32)
    flux = np.zeros((*templates.y0.shape, LANES), np.float32)
    last = np.inf
    for _ in range(settings.rounds):
        last = relax(equations, residual, flux, settings.sweeps)
        residual[:] = data
        subtract_model(*equations.place, flux, residual)
    found = equations.normal[:, 0].copy()
    return Spectra(flux[:, :, :planes], equations.covariance, residual, found, last)
