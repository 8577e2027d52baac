"""Spectra, residual and covariance of planes that share weights: the joint fit, set up once and solved for many planes.

Setting up (own blocks, factors, covariance) costs as much as solving a few planes; it depends on templates and weights
alone, so that all planes of one DIT and shift share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.extraction import BAND, LANES, RELAXATION, normal_blocks, seen_shares, sweep
from archive_proc.kernels.loops.banded import UNSEEN, factorise, resolution_rows
from archive_proc.kernels.microspectra import Templates

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]

LAGS = 7
"""Variance and covariances with the next six channels: the prior makes noise swing over five (notes/ifs 6.8)."""

REACH = 8
"""Channels on either side for which the resolution matrix is kept. The prior makes it swing far: four channels hold
97.5 % of the light of an even spectrum, six hold it to 0.3 %, eight to 0.1 %."""

_TURN_ROWS = 40
"""Lenslets whose spectra stand within so many rows of each other, about a spectrum's length, take turns along x."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How spectra are fitted (notes/ifs 6.6)."""

    mu: float = 0.1
    """Strength of the smoothness prior: sets resolution, bias and noise. In units of a lenslet's mean information on
    what is held smooth: its spectrum over the prior's shape."""
    sweeps: int = 8


@dataclass(frozen=True, slots=True)
class Equations:
    """The joint fit's equations of some of n lenslets (all, as a rule) with m channels, for one map of weights."""

    templates: Templates
    weight: Float32
    """(ny, nx) inverse variance, 0 for bad pixels."""
    members: Int32
    """(i,) the lenslets; rows of what follows are theirs."""
    order: Int32
    """(i,) rows in the order in which lenslets take turns."""
    mu: float
    prior: Float64
    """(m,) expected shape of the spectra."""
    information: Float32
    """(i, m) sum of weight times template squared: 0 where a channel is not seen."""
    factor: Float32
    """(i, m, BAND) Cholesky factors of A_l, pivots inverted."""
    strength: Float64
    """(i,) of the smoothness prior."""
    hold: Float32
    """(i, m) pull to zero of channels that are not seen."""
    covariance: Float32
    """(i, LAGS, m) of channels k and k + lag, if the weights are 1 / variance; NaN past the last channel."""
    typical: float
    """Information of a typical channel."""

    @property
    def place(self) -> tuple[Int16, Float32, Int32, Int32]:
        """The templates as the loops take them."""
        one = self.templates
        return one.counts, one.scale, one.x0, one.y0

    def shares(self) -> Float32:
        """(i, m) of each template squared, what lies on pixels that count: 1 for whole ones, however bright."""
        return _seen(self.place, self.weight, self.members, np.ones(self.information.shape, bool))

    def renew(self, rows: Int32) -> None:
        """Set up some lenslets again, in place, after weights of pixels under their templates were changed."""
        made = _made(self.templates, self.weight, self.members[rows], self.mu, self.typical, self.prior, None)
        self.information[rows], self.factor[rows], self.strength[rows], self.hold[rows], self.covariance[rows] = made

    @contextmanager
    def without(self, missing: NDArray[np.intp], members: Int32) -> Iterator[Equations]:
        """Of some lenslets, with weight zero on missing pixels (flat places) and the prior as strong as it is here.

        Only for equations of all lenslets. Their weights are shared, and as they were when the context ends.
        """
        weight = self.weight.reshape(-1)
        before = weight[missing]
        weight[missing] = 0.0
        try:
            made = _made(
                self.templates, self.weight, members, self.mu, self.typical, self.prior, self.strength[members]
            )
            order = np.arange(members.size, dtype=np.int32)
            yield Equations(
                self.templates, self.weight, members, order, self.mu, self.prior, *made, typical=self.typical
            )
        finally:
            weight[missing] = before


def _made(
    templates: Templates,
    weight: Float32,
    members: Int32,
    mu: float,
    typical: float,
    prior: Float64,
    strength: Float64 | None,
) -> tuple[Float32, Float32, Float64, Float32, Float32]:
    """Information, factor, strength, hold and covariance."""
    n, m = members.size, templates.scale.shape[1]
    factor, covariance = np.empty((n, m, BAND), np.float32), np.empty((n, LAGS, m), np.float32)
    information, hold = np.empty((2, n, m), np.float32)
    found = np.empty(n)
    given = np.zeros(n) if strength is None else strength
    place = (templates.counts, templates.scale, templates.x0, templates.y0)
    # Some at a time: what is computed in double precision stays small.
    for first in range(0, n, 2048):
        some = slice(first, first + 2048)
        normal = np.empty((members[some].size, m, BAND))
        normal_blocks(*place, weight, members[some], normal)
        information[some] = normal[:, :, 0]
        seen = _seen(place, weight, members[some], normal[:, :, 0] < UNSEEN * typical)
        kept = (factor[some], found[some], hold[some], covariance[some])
        factorise(normal, seen, mu, typical, prior, given[some], *kept)
    return information, factor, found, hold, covariance


def _seen(
    place: tuple[Int16, Float32, Int32, Int32], weight: Float32, members: Int32, poor: NDArray[np.bool_]
) -> Float32:
    """(i, m) share of each template squared on pixels that count; 1 for lenslets without a `poor` channel (i, m)."""
    seen = np.ones(poor.shape, np.float32)
    asked = np.flatnonzero(poor.any(axis=1))
    some = np.empty((asked.size, poor.shape[1]), np.float32)
    seen_shares(*place, weight, members[asked], some)
    seen[asked] = some
    return seen


def joint_equations(
    weight: Float32, templates: Templates, *, mu: float = 0.1, prior: Float64 | None = None
) -> Equations:
    """Set up the fit of all lenslets with these templates and weights; `prior` (m,) positive, flat if None."""
    n, m = templates.y0.shape
    everyone = np.arange(n, dtype=np.int32)
    sample = everyone[:: max(n // 400, 1)]
    blocks = np.empty((sample.size, m, BAND))
    normal_blocks(templates.counts, templates.scale, templates.x0, templates.y0, weight, sample, blocks)
    typical = float(np.median(blocks[:, :, 0].mean(axis=1)))
    shape = np.ones(m) if prior is None else np.asarray(prior, np.float64)
    # Neighbours along a row follow each other: their windows lie in the same lines of the cache, a row's length apart,
    # of which there is room for few.
    order = np.lexsort((templates.x0, templates.y0[:, m // 2] // _TURN_ROWS)).astype(np.int32)
    made = _made(templates, weight, everyone, mu, typical, shape, None)
    return Equations(templates, weight, everyone, order, mu, shape, *made, typical=typical)


def relax(equations: Equations, residual: Float32, flux: Float32, sweeps: int, enough: float = 0.0) -> float:
    """Improve `flux` (p, n, m) in place, and with it `residual` (p, ny, nx) of data minus its model.

    By so many sweeps, or fewer: the one whose root mean square step is below `enough` is the last. Returns that sweep's
    step, in claimed sigma.
    """
    sigma = np.sqrt(np.maximum(equations.covariance[:, 0], np.float32(1e-30)))
    members = equations.members[equations.order]
    last = np.inf

    for _ in range(sweeps):
        last = sweep(
            *equations.place,
            equations.weight,
            members,
            equations.order,
            equations.factor,
            equations.strength,
            equations.hold,
            equations.prior,
            RELAXATION,
            residual,
            flux,
            sigma,
        )
        if last < enough:
            break
    return float(last)


def correlations(covariance: Float32) -> Float32:
    """(LAGS - 1, m, n) correlation of a channel's noise with that of redder ones; NaN past the last channel."""
    n, lags, m = covariance.shape
    out = np.full((lags - 1, m, n), np.nan, np.float32)
    sigma = np.sqrt(np.maximum(covariance[:, 0], 1e-30))
    for lag in range(1, lags):
        out[lag - 1, : m - lag] = (covariance[:, lag, : m - lag] / (sigma[:, : m - lag] * sigma[:, lag:])).T
    return out


def region_resolution(equations: Equations, regions: list[NDArray[np.intp]], half: int = REACH) -> Float32:
    """(regions, m, 2 half + 1) mean resolution matrix of some lenslets of each region, about the diagonal.

    `equations` of all lenslets.
    """
    m = equations.hold.shape[1]
    found = np.full((len(regions), m, 2 * half + 1), np.nan, np.float32)
    for number, members in enumerate(regions):
        if members.size:
            normal, rows = np.empty((members.size, m, BAND)), np.empty((members.size, m, 2 * half + 1))
            normal_blocks(*equations.place, equations.weight, members.astype(np.int32), normal)
            resolution_rows(normal, equations.factor[members], rows)
            found[number] = rows.mean(axis=0)
    return found


@dataclass(frozen=True, slots=True)
class Spectra:
    """n lenslets, m channels, p planes."""

    flux: Float32
    """(p, n, m), the unit of the data."""
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
    prior: Float64 | None = None,
    settings: FitSettings | None = None,
) -> Spectra:
    """Fit all lenslets of up to eight planes at once.

    `data` (p, ny, nx) float32, background off; `weight` (ny, nx) inverse variance, 0 for bad pixels, the same for all
    planes; `prior` (m,) expected shape of the spectra, positive (flat if None). Raises ValueError for more planes than
    are solved together.
    """
    settings = settings or FitSettings()
    planes = len(data)
    if planes > LANES:
        raise ValueError(f"{planes} planes, {LANES} at most are solved together")
    equations = joint_equations(weight, templates, mu=settings.mu, prior=prior)
    residual = np.array(data, np.float32, order="C")
    flux = np.zeros((planes, *templates.y0.shape), np.float32)
    last = relax(equations, residual, flux, settings.sweeps)
    return Spectra(flux, equations.covariance, residual, equations.information, last)
