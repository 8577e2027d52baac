"""Spectra of planes that were calibrated alike, robust against what no calibration knows: cosmic rays, new bad pixels.

The planes share one map of weights, made from a smooth model of their common light, so that the joint fit is set up
once (`joint_fit`). What differs from plane to plane is a few pixels: they are found against the other planes first,
against the plane's own fit afterwards, and the lenslets they touch are fitted again without them (notes/ifs 6.9).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.exposures import MARGIN, Exposures, PlaneSpectra, RobustSettings, canvas
from archive_proc.kernels.extraction import LANES, gather_squares, subtract_model
from archive_proc.kernels.joint_fit import joint_equations, relax
from archive_proc.kernels.lenslets import Lenslets
from archive_proc.kernels.microspectra import Templates
from archive_proc.kernels.plane_light import BLOCK, brightness, left_background
from archive_proc.model.flags import Flag

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
UInt8 = NDArray[np.uint8]


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
    shard.fit_common()
    for first in range(0, shard.planes, LANES):
        shard.fit(slice(first, min(first + LANES, shard.planes)))
    return shard.result()


class _Shard:
    """The work on one set of planes, step by step."""

    def __init__(self, exposures: Exposures, settings: RobustSettings) -> None:
        self.settings = settings
        self.light = exposures.light if exposures.margined else canvas(exposures.light)
        self.planes = len(self.light)
        self.floor = canvas(exposures.floor, 1.0)
        self.response = canvas(exposures.response, 1.0)
        self.good = canvas(exposures.good.astype(np.uint8))
        self.background = canvas(exposures.background)
        self.missing: UInt8 = np.zeros(self.light.shape, np.uint8)
        self.unexplained = np.zeros(self.light.shape[1:], np.float32)
        self.fixed = exposures.saturated or (np.empty(0, np.intp),) * self.planes
        if exposures.saturated and not exposures.margined:
            nx = exposures.light.shape[2]
            self.fixed = tuple(one // nx * self.light.shape[2] + one % nx for one in exposures.saturated)
        for plane, places in enumerate(self.fixed):
            self.missing[plane].reshape(-1)[places] = 1
        self.n_good = max(int(self.good.sum()), 1)

    def compare_planes(self) -> None:
        """The planes' common light, and what stands out of it in single planes; then the smooth model of weights."""
        from archive_proc.kernels.loops.touched import along_median, outlying, witnessed

        settings, light = self.settings, self.light
        if self.planes > 1:
            self.ratio = brightness(light, self.good, self.floor)
            self.clean = np.empty_like(light[0])
            witnessed(light, self.floor, self.good, self.ratio, settings.limits, self.clean, self.missing)
            if not settings.outliers:
                self.missing[:] = 0
            for plane, places in enumerate(self.fixed):
                self.missing[plane].reshape(-1)[places] = 1
        else:
            self.ratio = np.ones((1, -(-light.shape[1] // BLOCK), -(-light.shape[2] // BLOCK)), np.float32)
            self.clean = light[0].copy()
        self.times = np.median(self.ratio.reshape(self.planes, -1), axis=1)
        self.smooth = np.empty_like(self.clean)
        along_median(self.clean, self.good, 3, self.smooth)
        if self.planes == 1 and settings.outliers:
            # Nothing but the plane itself: only what towers over its surroundings along the trace is taken out.
            hits = np.empty_like(self.missing[0])
            away = light[0] - self.smooth
            outlying(light[0], away, self.floor, self.response, self.good, 1.0, 1.0, settings.limits, hits)
            self.missing[0] |= hits & (away > 0)

    def set_up(self, templates: Templates, lenslets: Lenslets, prior: Float64 | None) -> None:
        """Weights from the smooth model, and the equations that all planes share."""
        from archive_proc.kernels.loops.touched import mark_windows

        variance = self.floor + np.maximum(self.smooth, 0.0) / self.response
        self.inverse = (1.0 / variance).astype(np.float32)
        weight = np.where(self.good > 0, self.inverse, np.float32(0.0))
        self.equations = joint_equations(weight, templates, lenslets, mu=self.settings.mu, prior=prior)
        self.dark = self.good.copy()
        mark_windows(templates.x0, templates.y0, self.dark)
        n, m = templates.y0.shape
        self.flux = np.empty((self.planes, n, m), np.float32)
        self.variance = np.empty_like(self.flux)
        self.flags = np.zeros(self.flux.shape, np.uint16)
        self.chi2, self.clipped = np.zeros(self.planes), np.zeros(self.planes)
        self.left_over, self.residual, self.ridge = np.zeros((3, self.planes))
        whole = np.empty((n, m, 1), np.float32)
        self.inverse[:, -MARGIN[1] :] = 0.0
        gather_squares(*self.equations.place, self.inverse[None], whole)
        self.whole = np.maximum(whole[:, :, 0], np.float32(1e-30))
        self.new_bad = np.zeros_like(self.good)
        self.first_share = self.equations.normal[:, 0] / self.whole
        self.last_step = 0.0

    def fit_common(self) -> None:
        """Fit the planes' common light, and take pixels that disagree with it out of the equations of all planes.

        Of several planes these are new bad pixels: hits of single planes were left out of the common light.
        """
        from archive_proc.kernels.loops.touched import outlying, touched_lenslets

        equations, settings = self.equations, self.settings
        light = self.clean[None].copy()
        if self.planes == 1:
            light[0][self.missing[0] > 0] = self.smooth[self.missing[0] > 0]
        n, m = self.flux.shape[1:]
        flux = np.zeros((n, m, 1), np.float32)
        residual = light.copy()
        for sweeps in settings.common_sweeps:
            self.last_step = relax(equations, residual, flux, sweeps)
            residual[:] = light
            subtract_model(*equations.place, flux, residual)
        lost, pull = np.empty((n, m), np.float32), np.empty(n, np.float32)
        # The middle of p planes has less noise than one, and the model's error does not go down with it.
        noise = np.float32(max(0.25, 1.57 / self.planes) if self.planes > 2 else 1.0 / self.planes)
        for _ in range(settings.robust_rounds - 1 if settings.outliers else 0):
            found = np.empty_like(self.good)
            arguments = (settings.model_error, settings.limits, found)
            count = outlying(light[0], residual[0], self.floor, self.response, self.good, float(noise), *arguments)
            if count > settings.most_clipped * self.n_good:
                # The model is wrong, not the pixels: the fit stands as it is, and its residual says so.
                self.clipped[:] = count / self.n_good
                self.new_bad[:] = 0
                break
            changed = found ^ self.new_bad
            if not changed.any():
                break
            self.new_bad = found
            touched_lenslets(*equations.place, self.inverse, changed, residual[0], equations.normal, lost, pull)
            equations.weight[:] = np.where((self.good > 0) & (found == 0), self.inverse, np.float32(0.0))
            equations.renew(np.flatnonzero((lost.max(axis=1) > 0) | (pull > 0)).astype(np.int32))
            self.last_step = relax(equations, residual, flux, 4)
            residual[:] = light
            subtract_model(*equations.place, flux, residual)
        self.common, self.common_model = flux, light[0] - residual[0]
        self.share = equations.normal[:, 0] / self.whole
        self.kept = ((self.good > 0) & (self.new_bad == 0)).astype(np.uint8)

    def fit(self, some: slice) -> None:
        """Fit up to eight planes; find outliers in each; fit again what they touch."""
        equations, settings = self.equations, self.settings
        light = self.light[some]
        fillers = self._impute(light, some)
        n, m = self.flux.shape[1:]
        flux = np.zeros((n, m, LANES), np.float32)
        residual = np.empty_like(light)
        for index, plane in enumerate(range(some.start, some.stop)):
            times = self.times[plane]
            flux[:, :, index] = times * self.common[:, :, 0]
            np.subtract(light[index], times * self.common_model, out=residual[index])
        self._take_background_off(light, residual, some)
        self._take_rows_off(light, residual)
        step = 0.0
        for sweeps in settings.sweeps:
            step = relax(equations, residual, flux, sweeps)
            residual[:] = light
            subtract_model(*equations.place, flux, residual)
        self.last_step = max(self.last_step, step)
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

    def _take_background_off(self, light: Float32, residual: Float32, some: slice) -> None:
        """What is left of the background: its own shape times a plane, fitted where no spectrum's window reaches."""
        for index, plane in enumerate(range(some.start, some.stop)):
            left = left_background(residual[index], self.dark, self.background)
            light[index] -= left
            residual[index] -= left
            self.left_over[plane] = float(np.median(left[::16, ::16]))

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
        rounds = settings.robust_rounds if settings.outliers else 1
        for index, plane in enumerate(range(some.start, some.stop)):
            missing = self.missing[plane]
            for number in range(rounds):
                if settings.outliers and (number > 0 or not missing.any()):
                    outlying(
                        light[index],
                        residual[index],
                        self.floor,
                        self.response,
                        self.kept,
                        1.0,
                        settings.model_error,
                        settings.limits,
                        missing,
                    )
                    self._keep_fixed(plane)
                share = (np.count_nonzero(missing) - self.fixed[plane].size) / self.n_good
                self.clipped[plane] = max(self.clipped[plane], share)
                if share > settings.most_clipped:
                    # The model is wrong, not the pixels: the fit stands as it is, and its residual says so.
                    missing[:] = 0
                    self._keep_fixed(plane)
                    break
                if not missing.any():
                    break
                touched_lenslets(
                    *equations.place, equations.weight, missing, residual[index], equations.normal, lost[index], pull
                )
                members = np.flatnonzero((lost[index].max(axis=1) > 0.01) | (pull > 0.2)).astype(np.int32)
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
                count = int(np.count_nonzero(missing)) - self.fixed[plane].size + int(np.count_nonzero(self.new_bad))
                self.clipped[plane] = float(np.maximum(count, 0)) / self.n_good
        return lost, variances

    def _keep_fixed(self, plane: int) -> None:
        """Saturated pixels have no say whatever the fit thinks of them."""
        self.missing[plane].reshape(-1)[self.fixed[plane]] = 1

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
        scale = np.empty((n, m, len(light)), np.float32)
        images = np.empty((min(len(light), 4), *light.shape[1:]), np.float32)
        for start in range(0, len(light), len(images)):
            few = slice(start, min(start + len(images), len(light)))
            here = images[: few.stop - few.start]
            plane_variances(light[few], residual[few], self.floor, self.response, equations.weight, here)
            part = np.empty((n, m, len(here)), np.float32)
            gather_squares(*equations.place, here, part)
            scale[:, :, few] = part
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
            fresh = (self.first_share - self.share > 0.05 * self.first_share) & (self.first_share > 0)
            flags[fresh] |= np.uint16(Flag.NEW_BAD if self.planes > 1 else Flag.COSMIC)
            hit = lost[index] > 0.05
            if self.fixed[plane].size:
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

    def _lost_to(self, places: NDArray[np.intp], residual: Float32) -> Float32:
        from archive_proc.kernels.loops.touched import touched_lenslets

        equations = self.equations
        missing = np.zeros(residual.shape, np.uint8)
        missing.reshape(-1)[places] = 1
        lost, pull = np.empty(self.flux.shape[1:], np.float32), np.empty(self.flux.shape[1], np.float32)
        touched_lenslets(*equations.place, equations.weight, missing, residual, equations.normal, lost, pull)
        return lost

    def result(self) -> PlaneSpectra:
        """What was found."""
        count = self.planes - self.missing.sum(axis=0, dtype=np.int32)
        seen = (self.kept > 0) & (count > 0)
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
            int(self.new_bad.sum()),
            self.last_step,
            self.equations,
            mean[: -MARGIN[0], : -MARGIN[1]],
        )
