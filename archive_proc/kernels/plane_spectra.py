"""Spectra of planes that were calibrated alike, robust against what no calibration knows: cosmic rays, new bad pixels.

The planes share one map of weights, made from a smooth model of their common light, so that the joint fit is set up
once (`joint_fit`). What differs from plane to plane is a few pixels: they are found against the other planes first,
against the plane's own fit afterwards, and the lenslets they touch are fitted again without them (notes/ifs 6.9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.extraction import LANES, gather_squares, subtract_model
from archive_proc.kernels.joint_fit import Equations, joint_equations, relax
from archive_proc.kernels.lenslets import Lenslets
from archive_proc.kernels.microspectra import Templates
from archive_proc.model.flags import Flag

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Flags = NDArray[np.uint16]
Mask = NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)
UInt8 = NDArray[np.uint8]

MARGIN = (5, 40)
"""Rows and columns without weight beside an image: rows of 2048 pixels would share the same few lines of the cache."""
BLOCK = 32
"""Pixels along a side of the blocks in which planes' brightness is compared."""


@dataclass(frozen=True, slots=True)
class RobustSettings:
    """How spectra are fitted and outliers found (notes/ifs 6.6, 6.9)."""

    mu: float = 0.1
    sweeps: tuple[int, ...] = (6, 4)
    """Sweeps of each round; the residual is made anew from pixels between rounds."""
    outliers: bool = True
    """False: every pixel counts but those of the mask (laser frames)."""
    model_error: float = 0.03
    """Of the brightest pixel within one: what templates are not trusted to better."""
    limits: tuple[float, float, float] = (5.0, 10.0, 2.5)
    """Sigma of an outlier; of one that takes neighbours with it; of those neighbours."""
    robust_rounds: int = 3
    most_clipped: float = 0.03
    """Share of good pixels beyond which none is taken as an outlier (notes/ifs 8)."""
    low_weight: float = 0.4
    filled: float = 0.1
    """Shares of a channel's information that are left, below which it is flagged."""
    suspect: float = 5.0
    """Sigma that the solution moved when outliers went."""
    output_columns: int = 64
    """Columns of a read-out output: noise is shared along rows by outputs of equal parity. 0: not looked for."""


@dataclass(frozen=True, slots=True)
class Exposures:
    """Planes of one DIT and one set of masters."""

    light: Float32
    """(p, ny, nx) e- per DIT, level off, response divided out."""
    floor: Float32
    """(ny, nx) e-^2 of `light` where no source light falls."""
    response: Float32
    good: Mask
    background: Float32
    """(ny, nx) e- per DIT that were taken off: what the background left over looks like."""
    saturated: Mask | None = None
    """(p, ny, nx)."""


@dataclass(frozen=True, slots=True)
class PlaneSpectra:
    """p planes, n lenslets, m channels; electrons per DIT."""

    flux: Float32
    """(p, n, m)"""
    variance: Float32
    """(p, n, m) e-^2; NaN where FILLED."""
    flags: Flags
    covariance: Float32
    """(n, LAGS, m) of the planes' common weights."""
    chi2: Float64
    """(p,) squared residual over variance, mean over lit pixels."""
    clipped: Float64
    """(p,) share of good pixels taken as outliers."""
    residual: Float64
    """(p,) rms of the residual of lit pixels over the ridge."""
    ridge: Float64
    """(p,) e-, 98th percentile of the model."""
    background: Float64
    """(p,) e-, median of what was taken off beyond the masters."""
    new_bad: int
    """Pixels that are outliers in most planes."""
    last_step: float
    equations: Equations
    unexplained: Float32
    """(ny, nx) e- per DIT, mean over the planes of what no spectrum explains; NaN where no plane's pixel counts."""


def canvas(images: NDArray[T], fill: float = 0.0) -> NDArray[T]:
    """Images (..., ny, nx) with a margin of `fill` below and to the right."""
    ny, nx = images.shape[-2:]
    out = np.full((*images.shape[:-2], ny + MARGIN[0], nx + MARGIN[1]), fill, images.dtype)
    out[..., :ny, :nx] = images
    return out


def plane_spectra(
    exposures: Exposures,
    templates: Templates,
    lenslets: Lenslets,
    settings: RobustSettings | None = None,
    prior: Float64 | None = None,
) -> PlaneSpectra:
    """Spectra of all lenslets in all planes, with variances and flags of each plane's own.

    `templates` of the same `lenslets`; `prior` (m,) expected shape. Raises ValueError without a plane.
    """
    settings = settings or RobustSettings()
    if not len(exposures.light):
        raise ValueError("no plane")
    shard = _Shard(exposures, settings)
    shard.compare_planes()
    shard.set_up(templates, lenslets, prior)
    for first in range(0, shard.planes, LANES):
        shard.fit(slice(first, min(first + LANES, shard.planes)))
    return shard.result()


class _Shard:
    """The work on one set of planes, step by step."""

    def __init__(self, exposures: Exposures, settings: RobustSettings) -> None:
        self.settings = settings
        self.light = canvas(exposures.light)
        self.planes = len(self.light)
        self.floor = canvas(exposures.floor, 1.0)
        self.response = canvas(exposures.response, 1.0)
        self.good = canvas(exposures.good.astype(np.uint8))
        self.background = exposures.background
        shape = self.light.shape
        self.fixed: UInt8 = (
            np.zeros(shape, np.uint8) if exposures.saturated is None else canvas(exposures.saturated.astype(np.uint8))
        )
        self.missing = self.fixed.copy()
        self.unexplained = np.zeros(shape[1:], np.float32)
        self.n_good = max(int(self.good.sum()), 1)

    def compare_planes(self) -> None:
        """The planes' common light, and what stands out of it in single planes; then the smooth model of weights."""
        from archive_proc.kernels.loops.touched import along_median, outlying, witnessed

        settings, light = self.settings, self.light
        if self.planes > 1:
            self.ratio = _brightness(light, self.good, self.floor)
            self.clean = np.empty_like(light[0])
            hits = np.empty_like(self.missing)
            witnessed(light, self.floor, self.good, self.ratio, settings.limits, self.clean, hits)
            if settings.outliers:
                self.missing |= hits
        else:
            self.ratio = np.ones((1, -(-light.shape[1] // BLOCK), -(-light.shape[2] // BLOCK)), np.float32)
            self.clean = light[0].copy()
        self.smooth = np.empty_like(self.clean)
        along_median(self.clean, self.good, 3, self.smooth)
        if self.planes == 1 and settings.outliers:
            # Nothing but the plane itself: only what towers over its surroundings along the trace is taken out.
            hits = np.empty_like(self.missing[0])
            away = light[0] - self.smooth
            outlying(light[0], away, self.floor, self.response, self.good, 1.0, settings.limits, hits)
            self.missing[0] |= hits & (away > 0)

    def set_up(self, templates: Templates, lenslets: Lenslets, prior: Float64 | None) -> None:
        """Weights from the smooth model, and the equations that all planes share."""
        variance = self.floor + np.maximum(self.smooth, 0.0) / self.response
        self.inverse = (1.0 / variance).astype(np.float32)
        weight = np.where(self.good > 0, self.inverse, np.float32(0.0))
        self.equations = joint_equations(weight, templates, lenslets, mu=self.settings.mu, prior=prior)
        n, m = templates.y0.shape
        self.flux = np.empty((self.planes, n, m), np.float32)
        self.variance = np.empty_like(self.flux)
        self.flags = np.zeros(self.flux.shape, np.uint16)
        self.chi2, self.clipped = np.zeros(self.planes), np.zeros(self.planes)
        self.left_over, self.residual, self.ridge = np.zeros((3, self.planes))
        whole = np.empty((n, m, 1), np.float32)
        self.inverse[:, -MARGIN[1] :] = 0.0
        gather_squares(*self.equations.place, self.inverse[None], whole)
        own = self.equations.normal[:, 0]
        self.share = np.where(whole[:, :, 0] > 0, own / np.maximum(whole[:, :, 0], 1e-30), 0.0)
        self.last_step = 0.0

    def fit(self, some: slice) -> None:
        """Fit up to eight planes; find outliers in each; fit again what they touch."""
        equations, settings = self.equations, self.settings
        light = self.light[some]
        fillers = self._impute(light, some)
        residual = light.copy()
        n, m = self.flux.shape[1:]
        flux = np.zeros((n, m, LANES), np.float32)
        for number, sweeps in enumerate(settings.sweeps):
            self.last_step = relax(equations, residual, flux, sweeps)
            residual[:] = light
            subtract_model(*equations.place, flux, residual)
            if number == 0:
                self._take_rows_off(light, residual)
        for index, (places, values) in enumerate(fillers):
            # The pixels' own values come back, with weight zero, so that they can be judged by the fit.
            change = values - light[index].reshape(-1)[places]
            light[index].reshape(-1)[places] += change
            residual[index].reshape(-1)[places] += change
        first = flux.copy()
        lost, variance = self._without_outliers(light, residual, flux, some)
        for missing, plane in zip(self.missing[some], residual, strict=True):
            np.add(self.unexplained, plane, out=self.unexplained, where=missing == 0)
        self._judge(light, residual, flux, first, lost, variance, some)

    def _impute(self, light: Float32, some: slice) -> list[tuple[NDArray[np.intp], Float32]]:
        """Put what other planes say into missing pixels; returns places and own values of each plane."""
        found = []
        for index, plane in enumerate(range(some.start, some.stop)):
            flat = light[index].reshape(-1)
            places = np.flatnonzero(self.missing[plane])
            own = flat[places].copy()
            rows, columns = np.divmod(places, light.shape[2])
            source = self.clean if self.planes > 1 else self.smooth
            flat[places] = source.reshape(-1)[places] * self.ratio[plane, rows // BLOCK, columns // BLOCK]
            found.append((places, own))
        return found

    def _take_rows_off(self, light: Float32, residual: Float32) -> None:
        """Noise that read-out outputs share along rows."""
        from archive_proc.kernels.loops.touched import row_offsets, subtract_rows

        width = self.settings.output_columns
        if not width:
            return
        offsets = np.empty((light.shape[1], 2))
        for index in range(len(light)):
            row_offsets(light[index], residual[index], self.floor, self.response, self.good, width, offsets)
            subtract_rows(offsets, width, light[index])
            subtract_rows(offsets, width, residual[index])

    def _without_outliers(
        self, light: Float32, residual: Float32, flux: Float32, some: slice
    ) -> tuple[Float32, dict[tuple[int, int], Float32]]:
        """Lost information (p, n, m), and the variance of every lenslet fitted again by (plane in batch, lenslet)."""
        from archive_proc.kernels.loops.touched import fit_touched, outlying, touched_lenslets

        equations, settings = self.equations, self.settings
        n, m = self.flux.shape[1:]
        lost = np.zeros((len(light), n, m), np.float32)
        pull = np.empty(n, np.float32)
        variances: dict[tuple[int, int], Float32] = {}
        rounds = settings.robust_rounds if settings.outliers else int(self.fixed[some].any())
        for index, plane in enumerate(range(some.start, some.stop)):
            missing = self.missing[plane]
            for number in range(rounds):
                if (settings.outliers and number > 0) or not missing.any():
                    outlying(
                        light[index],
                        residual[index],
                        self.floor,
                        self.response,
                        self.good,
                        settings.model_error,
                        settings.limits,
                        missing,
                    )
                    missing |= self.fixed[plane]
                share = float((missing & ~self.fixed[plane] & self.good).sum()) / self.n_good
                self.clipped[plane] = max(self.clipped[plane], share)
                if share > settings.most_clipped:
                    # The model is wrong, not the pixels: the fit stands as it is, and its residual says so.
                    missing[:] = self.fixed[plane]
                    break
                touched_lenslets(
                    *equations.place, equations.weight, missing, residual[index], equations.normal, lost[index], pull
                )
                members = np.flatnonzero((lost[index].max(axis=1) > 0.005) | (pull > 0.1)).astype(np.int32)
                found = np.empty((members.size, m), np.float32)
                fit_touched(
                    *equations.place,
                    equations.weight,
                    missing,
                    members,
                    equations.strength,
                    equations.hold,
                    equations.prior,
                    4,
                    index,
                    residual[index],
                    flux,
                    found,
                )
                for row, lens in enumerate(members):
                    variances[index, int(lens)] = found[row]
            if self.clipped[plane] <= settings.most_clipped:
                self.clipped[plane] = float((missing & ~self.fixed[plane] & self.good).sum()) / self.n_good
        return lost, variances

    def _judge(
        self,
        light: Float32,
        residual: Float32,
        flux: Float32,
        first: Float32,
        lost: Float32,
        variances: dict[tuple[int, int], Float32],
        some: slice,
    ) -> None:
        """Variance and flags of each plane."""
        from archive_proc.kernels.loops.touched import chi_square, plane_variances

        equations, settings = self.equations, self.settings
        n, m = self.flux.shape[1:]
        images = np.empty_like(light)
        plane_variances(light, residual, self.floor, self.response, equations.weight, images)
        scale = np.empty((n, m, len(light)), np.float32)
        gather_squares(*equations.place, images, scale)
        scale /= np.maximum(equations.normal[:, 0], 1e-30)[:, :, None]
        level = float(np.median(self.floor))
        for index, plane in enumerate(range(some.start, some.stop)):
            self.flux[plane] = flux[:, :, index]
            variance = equations.covariance[:, 0].copy()
            for (of, lens), found in variances.items():
                if of == index:
                    variance[lens] = found
            variance *= scale[:, :, index]
            flags = self.flags[plane]
            share = self.share * (1.0 - lost[index])
            flags[share < settings.low_weight] |= np.uint16(Flag.LOW_WEIGHT)
            flags[share < settings.filled] |= np.uint16(Flag.FILLED)
            hit = lost[index] > 0.05
            if self.fixed[plane].any():
                full = self._lost_to(self.fixed[plane], residual[index]) > 0.05
                flags[full] |= np.uint16(Flag.SATURATED)
                hit &= ~full
            flags[hit] |= np.uint16(Flag.COSMIC)
            moved = np.abs(flux[:, :, index] - first[:, :, index]) > settings.suspect * np.sqrt(variance)
            flags[moved & (lost[index] > 0.02)] |= np.uint16(Flag.SUSPECT)
            variance[share < settings.filled] = np.nan
            self.variance[plane] = variance
            self.chi2[plane], rms, _ = chi_square(
                light[index],
                residual[index],
                self.floor,
                self.response,
                equations.weight,
                self.missing[plane],
                level,
            )
            model = light[index, ::3, ::3] - residual[index, ::3, ::3]
            self.ridge[plane] = float(np.percentile(model[self.good[::3, ::3] > 0], 98.0))
            self.residual[plane] = rms / max(self.ridge[plane], 1e-3)

    def _lost_to(self, missing: UInt8, residual: Float32) -> Float32:
        from archive_proc.kernels.loops.touched import touched_lenslets

        equations = self.equations
        lost, pull = np.empty(self.flux.shape[1:], np.float32), np.empty(self.flux.shape[1], np.float32)
        touched_lenslets(*equations.place, equations.weight, missing, residual, equations.normal, lost, pull)
        return lost

    def result(self) -> PlaneSpectra:
        """What was found."""
        often = (self.missing & ~self.fixed).sum(axis=0, dtype=np.int32)
        count = self.planes - self.missing.sum(axis=0, dtype=np.int32)
        seen = (self.good > 0) & (count > 0)
        mean = np.where(seen, self.unexplained / np.maximum(count, 1).astype(np.float32), np.float32(np.nan))
        return PlaneSpectra(
            self.flux,
            self.variance,
            self.flags,
            self.equations.covariance,
            self.chi2,
            self.clipped,
            self.residual,
            self.ridge,
            self.left_over,
            int((often * 2 > self.planes).sum()) if self.planes > 2 else 0,
            self.last_step,
            self.equations,
            mean[: -MARGIN[0], : -MARGIN[1]],
        )


def _brightness(light: Float32, good: UInt8, floor: Float32) -> Float32:
    """(p, by, bx) light of each plane over that of the median plane, in blocks; 1 where there is next to none."""
    p, ny, nx = light.shape
    by, bx = -(-ny // BLOCK), -(-nx // BLOCK)
    full = np.zeros((p, by * BLOCK, bx * BLOCK), np.float32)
    full[:, :ny, :nx] = np.where(good > 0, light, np.float32(0.0))
    # The middle of column sums: a hit changes one of a block's columns.
    columns = full.reshape(p, by, BLOCK, bx, BLOCK).sum(axis=2)
    sums = np.median(columns, axis=3)
    typical = np.median(sums, axis=0)
    noise = np.sqrt(BLOCK * float(np.median(floor)))
    return np.where(typical > 5.0 * noise, np.clip(sums / np.maximum(typical, 1e-3), 0.05, 20.0), 1.0).astype(
        np.float32
    )
