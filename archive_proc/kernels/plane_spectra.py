"""Spectra of planes that were calibrated alike, robust against what no calibration knows: cosmic rays, new bad pixels.

The planes share one map of weights, made from a smooth model of their common light, so that the joint fit is set up
once (`joint_fit`). What differs from plane to plane is a few pixels: they are found against the other planes first,
against the plane's own fit afterwards, and the lenslets they touch are fitted again without them (notes/ifs 6.9).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.exposures import Exposures, PlaneSpectra, RobustSettings, room_for_results
from archive_proc.kernels.extraction import gather_squares, gather_variances
from archive_proc.kernels.joint_fit import joint_equations, relax
from archive_proc.kernels.microspectra import Templates
from archive_proc.kernels.plane_light import BLOCK, brightness, left_background
from archive_proc.kernels.struck import Struck, changed_windows, touched_by
from archive_proc.model.flags import Flag

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]
Places = NDArray[np.intp]

BESIDE = 1e-5
"""Share of a channel's information on pixels of hits that says they are within some three pixels of it."""
FEW, TOGETHER = 4, 2
"""Planes that are fitted together: all of a few, else two. Four take an eighth less time a plane than two do, but each
needs a residual of its own, and many planes fill the memory themselves."""


def plane_spectra(
    exposures: Exposures,
    templates: Templates,
    settings: RobustSettings | None = None,
    prior: Float64 | None = None,
    chosen: Places | None = None,
    beside: Int32 | None = None,
) -> PlaneSpectra:
    """Spectra in all planes, with variances and flags of each plane's own.

    All lenslets of the `templates` are fitted; those of the `chosen` are returned (all if None). `prior` (m,) expected
    shape; `beside` (n, b) the lenslets that touch each on the sky, -1 where there is none (None: none touch).
    `exposures.light` is worked on in place and ends as what is returned. Raises ValueError without a plane.
    """
    settings = settings or RobustSettings()
    if not len(exposures.light):
        raise ValueError("no plane")
    if chosen is None:
        chosen = np.arange(len(templates.x0))
    if beside is None:
        beside = np.empty((len(templates.x0), 0), np.int32)
    shard = _Shard(exposures, settings, chosen, beside)
    shard.compare_planes()
    shard.set_up(templates, prior)
    if shard.planes > 1:
        shard.fit_common()
    for first in range(0, shard.planes, shard.together):
        shard.fit(slice(first, min(first + shard.together, shard.planes)))
    return shard.result()


class _Shard:
    """The work on one set of planes, step by step."""

    def __init__(self, exposures: Exposures, settings: RobustSettings, chosen: Places, beside: Int32) -> None:
        self.settings, self.chosen, self.beside = settings, chosen, beside
        self.light, self.floor, self.response = exposures.light, exposures.floor, exposures.response
        self.background = exposures.background
        self.planes = len(self.light)
        self.together = self.planes if self.planes <= FEW else TOGETHER
        self.good = exposures.good.view(np.uint8)
        self.kept = self.good
        self.fixed: tuple[Places, ...] = exposures.saturated or (np.empty(0, np.intp),) * self.planes
        self.hits: list[Places] = list(self.fixed)
        self.n_good = max(int(self.good.sum()), 1)
        self.level = float(np.median(self.floor[::3, ::3]))
        self.room = np.empty((self.together, *self.light.shape[1:]), np.float32)
        self.unexplained = np.zeros(self.light.shape[1:], np.float32)
        self.count = np.zeros(self.light.shape[1:], np.uint8)
        self.missing = np.zeros(self.light.shape[1:], np.uint8)
        self.last_step = 0.0
        self.shape: Float32 | None = None
        self.rough = np.empty(0, np.float32)

    def compare_planes(self) -> None:
        """The planes' common light, and what stands out of it in single planes; then the smooth model of weights."""
        from archive_proc.kernels.loops.medians import along_median, common_light
        from archive_proc.kernels.loops.touched import outlying, witnessed

        settings, light = self.settings, self.light
        if self.planes > 1:
            self.ratio = brightness(light, self.good, self.floor)
            self.clean, scatter = np.empty_like(light[0]), np.empty_like(light[0])
            common_light(light, self.floor, self.ratio, self.clean, scatter)
            marks = np.empty_like(self.good)
            for plane in range(self.planes if settings.outliers else 0):
                known = (self.clean, scatter, self.floor, self.good, self.ratio[plane], self.planes - 1)
                witnessed(light[plane], *known, settings.limits, marks)
                self.hits[plane] = np.union1d(np.flatnonzero(marks), self.fixed[plane])
        else:
            self.ratio = np.ones((1, -(-light.shape[1] // BLOCK), -(-light.shape[2] // BLOCK)), np.float32)
            self.clean = light[0]
        self.times = np.median(self.ratio.reshape(self.planes, -1), axis=1)
        self.smooth = np.empty_like(self.clean)
        along_median(self.clean, self.good, 3, self.smooth)
        if self.planes == 1 and settings.outliers:
            # Nothing but the plane itself: only what towers over its surroundings along the trace is taken out.
            marks = np.empty_like(self.good)
            away = light[0] - self.smooth
            outlying(light[0], away, self.floor, self.response, self.good, 1.0, 1.0, settings.limits, marks)
            self.hits = [np.union1d(np.flatnonzero((marks > 0) & (away > 0)), self.fixed[0])]

    def set_up(self, templates: Templates, prior: Float64 | None) -> None:
        """Weights from the smooth model, and the equations that all planes share."""
        from archive_proc.kernels.loops.touched import mark_windows

        inverse = np.maximum(self.smooth, np.float32(0.0))
        inverse /= self.response
        inverse += self.floor
        if self.settings.even_error:
            bright = float(np.percentile(self.clean[::3, ::3][self.good[::3, ::3] > 0], 98.0))
            inverse += np.float32((self.settings.even_error * max(bright, 0.0)) ** 2)
        np.divide(np.float32(1.0), inverse, out=inverse)
        weight = np.where(self.good > 0, inverse, np.float32(0.0))
        self.equations = joint_equations(weight, templates, mu=self.settings.mu, prior=prior)
        self.dark = self.good.copy()
        mark_windows(templates.x0, templates.y0, self.dark)
        n, m = templates.y0.shape
        self.flux, self.variance, self.flags = room_for_results(self.light, (self.planes, self.chosen.size, m))
        self.chi2, self.clipped = np.zeros(self.planes), np.zeros(self.planes)
        self.left_over, self.residual, self.ridge = np.zeros((3, self.planes))
        whole = np.empty((1, n, m), np.float32)
        gather_squares(*self.equations.place, inverse[None], whole)
        self.whole = np.maximum(whole[0], np.float32(1e-30))
        self._release_changed()
        self.expected = [self._expected(plane, places) for plane, places in enumerate(self.hits)]
        del self.smooth
        self.new_bad = 0
        self.fresh = np.zeros((n, m), bool)
        self.doubtful = np.zeros((n, m), bool)
        self.share = self.equations.information / self.whole

    def _release_changed(self) -> None:
        """A star that moved is no hit: the plane's own fit alone can tell what is wrong with its light."""
        for plane, fixed in enumerate(self.fixed):
            own = np.setdiff1d(self.hits[plane], fixed)
            moved = changed_windows(self.equations, own, self.clean)
            if moved is None:
                continue
            self.hits[plane] = np.union1d(own[~moved.reshape(-1)[own]], fixed)
            if self.planes == 2:
                # The lower of two planes here, their mean there: that is no light of any star.
                rows, columns = np.nonzero(moved)
                ratio = self.ratio[:, rows // BLOCK, columns // BLOCK]
                self.clean[rows, columns] = (self.light[:, rows, columns] / ratio).mean(axis=0)

    def fit_common(self) -> None:
        """Fit the planes' common light, and take pixels that disagree with it out of the equations of all planes.

        These are new bad pixels: hits of single planes were left out of the common light.
        """
        from archive_proc.kernels.loops.hits import blame

        equations, settings = self.equations, self.settings
        flux = np.zeros((1, *self.share.shape), np.float32)
        residual = self.room[:1]
        residual[0] = self.clean
        self.last_step = relax(equations, residual, flux, settings.common_sweeps, settings.enough)
        # The middle of p planes has less noise than one, and the model's error does not go down with it.
        noise = max(0.25, 1.57 / self.planes) if self.planes > 2 else 1.0 / self.planes
        if settings.outliers:
            self.missing[:] = 0
            struck, share = self._fit_without(self.clean, residual[0], flux, np.empty(0, np.intp), noise)
            if share > settings.most_clipped:
                self.clipped[:] = share
            else:
                alarm, away = self._stand_outs(flux[0], struck.variance, noise, settings.stand_out)
                sky = (self.floor, self.response, settings.limits[2] * float(np.sqrt(noise)))
                blame(*equations.place, alarm, away, self.clean, residual[0], *sky, self.missing)
                struck.follow(self.missing, residual[0], flux)
                again, _ = self._stand_outs(flux[0], struck.variance, noise, settings.suspect)
                self.doubtful = (again > 0) & (alarm > 0).any(axis=1, keepdims=True)
                self._leave_out(residual[0])
        self.common = flux
        np.subtract(self.clean, residual[0], out=self.clean)

    def _leave_out(self, residual: Float32) -> None:
        """Pixels that are missing from the common light have no weight in any plane."""
        equations = self.equations
        bad = self.missing.astype(bool)
        lost, pull = touched_by(equations, self.missing, residual)
        equations.weight[bad] = 0.0
        equations.renew(np.flatnonzero((lost.max(axis=1) > 1e-3) | (pull > 0.2)).astype(np.int32))
        self.new_bad = int(bad.sum())
        self.kept = np.where(bad, np.uint8(0), self.good)
        share = equations.information / self.whole
        self.fresh = self.share - share > 0.05 * self.share
        self.share = share

    def fit(self, some: slice) -> None:
        """Fit some planes together; find outliers in each; fit again what they touch."""
        equations, settings = self.equations, self.settings
        light = self.light[some]
        flux = np.zeros((len(light), *self.share.shape), np.float32)
        residual = self.room[: len(light)]
        changes = []
        for index, plane in enumerate(range(some.start, some.stop)):
            if self.planes > 1:
                times = np.float32(self.times[plane])
                np.multiply(self.common[0], times, out=flux[index])
                np.multiply(self.clean, times, out=residual[index])
                np.subtract(light[index], residual[index], out=residual[index])
            else:
                residual[index] = light[index]
            # What other planes say stands in for missing pixels until the fit is there that they can be judged by.
            places = self.hits[plane]
            changes.append(light[index].reshape(-1)[places] - self.expected[plane])
            residual[index].reshape(-1)[places] -= changes[-1]
        if self.planes == 1:
            # The sweeps of the second round go on from those of the first.
            relax(equations, residual, flux, settings.common_sweeps, settings.rough_enough)
        self._take_background_off(light, residual, some)
        self._take_rows_off(light, residual)
        last = relax(equations, residual, flux, settings.sweeps, settings.enough)
        self.last_step = max(self.last_step, last)
        for index, plane in enumerate(range(some.start, some.stop)):
            residual[index].reshape(-1)[self.hits[plane]] += changes[index]
            self._judge(plane, light[index], residual[index], flux[index : index + 1])

    def _expected(self, plane: int, places: Places) -> Float32:
        """What pixels would hold by the other planes, or by their surroundings along the trace."""
        rows, columns = np.divmod(places, self.light.shape[2])
        source = self.clean if self.planes > 1 else self.smooth
        return np.asarray(source.reshape(-1)[places] * self.ratio[plane, rows // BLOCK, columns // BLOCK], np.float32)

    def _take_background_off(self, light: Float32, residual: Float32, some: slice) -> None:
        """What is left of the background: its own shape times a plane, fitted where no spectrum's window reaches."""
        from archive_proc.kernels.loops.touched import subtract_sloping

        for index, plane in enumerate(range(some.start, some.stop)):
            shares = left_background(residual[index], self.dark, self.background, self.response)
            shape = (self.background, self.response, shares)
            self.left_over[plane] = subtract_sloping(*shape, light[index], residual[index])

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

    def _fit_without(
        self, light: Float32, residual: Float32, flux: Float32, fixed: Places, noise: float
    ) -> tuple[Struck, float]:
        """Find what disagrees with the fit, fit the lenslets that it touches again without it, in rounds.

        `missing` holds what is known to disagree, and in the end all that does; nothing where that is too much. Returns
        the fit without it, and the largest share of missing pixels that was met.
        """
        from archive_proc.kernels.loops.touched import outlying

        settings, missing = self.settings, self.missing
        struck = Struck(self.equations, settings.touched_sweeps)
        most = 0.0
        for number in range(settings.robust_rounds if settings.outliers else 1):
            if settings.outliers and (number > 0 or not missing.any()):
                arguments = (noise, settings.model_error, settings.limits, missing)
                outlying(light, residual, self.floor, self.response, self.kept, *arguments)
                # Saturated pixels have no say whatever the fit thinks of them.
                missing.reshape(-1)[fixed] = 1
            share = (np.count_nonzero(missing) - fixed.size) / self.n_good
            most = max(most, share)
            if share > settings.most_clipped:
                # The model is wrong, not the pixels: all of them count, and the residual says so.
                missing[:] = 0
                missing.reshape(-1)[fixed] = 1
            if not struck.follow(missing, residual, flux) or share > settings.most_clipped:
                break
        return struck, most

    def _stand_outs(
        self, flux: Float32, variance: Float32, noise: float, limit: float, expected: Float32 | None = None
    ) -> tuple[UInt8, Float32]:
        """Channels (n, m) of single lenslets with light that other planes do not `expect`; and how much of it.

        None: light that the lenslet's other channels do not let expect. Variance is `noise` times the one given.
        """
        from archive_proc.kernels.loops.hits import alarms, stand_outs

        away, alarm = np.empty_like(flux), np.empty(flux.shape, np.uint8)
        moved = np.empty(len(flux), np.float32)
        nothing = np.zeros_like(flux) if expected is None else expected
        if self.shape is None:
            self.shape = _typical(flux[self.chosen])
        stand_outs(flux, nothing, self.shape, away, moved)
        if expected is None:
            moved[:] = self.settings.rough
        else:
            # A lenslet whose light changed does not do so alike in all channels: the core of a star, speckles.
            np.maximum(np.float32(0.3) * moved, np.float32(self.settings.change), out=moved)
        alarms(away, variance, flux, moved, self.beside, noise, limit, alarm)
        self.rough = moved
        return alarm, away

    def _judge(self, plane: int, light: Float32, residual: Float32, flux: Float32) -> None:
        """Outliers, variance and flags of a plane."""
        from archive_proc.kernels.loops.hits import blame

        equations, settings = self.equations, self.settings
        n, m = self.share.shape
        first = flux[0].copy()
        self.missing[:] = 0
        self.missing.reshape(-1)[self.hits[plane]] = 1
        struck, clipped = self._fit_without(light, residual, flux, self.fixed[plane], 1.0)
        if clipped <= settings.most_clipped:
            count = int(np.count_nonzero(self.missing)) - self.fixed[plane].size + self.new_bad
            clipped = max(count, 0) / self.n_good
        alarm = away = None
        # Of two planes the mean is what is expected: half of what one of them has too much, with half of the variance.
        noise, whole = (0.5, 2.0) if self.planes == 2 else (1.0, 1.0)
        expected = np.float32(self.times[plane]) * self.common[0] if self.planes > 1 else None
        if settings.outliers and clipped <= settings.most_clipped:
            alarm, away = self._stand_outs(flux[0], struck.variance, noise, settings.stand_out, expected)
            if not alarm.any():
                alarm = None
            else:
                away *= np.float32(whole)
                sky = (self.floor, self.response, settings.limits[2])
                blame(*equations.place, alarm, away, light, residual, *sky, self.missing)
                struck.follow(self.missing, residual, flux)
        self.clipped[plane] = max(self.clipped[plane], clipped) if clipped > settings.most_clipped else clipped
        scale = np.empty((n, m), np.float32)
        gather_variances(*equations.place, light, residual, self.floor, self.response, equations.weight, scale)
        variance, lost = struck.variance, self._lost_to(self.missing, residual)
        variance *= scale / np.maximum(equations.information, np.float32(1e-30))
        share = self.share * (1.0 - lost)
        flags = np.zeros((n, m), np.uint16)
        flags[share < settings.low_weight] |= np.uint16(Flag.LOW_WEIGHT)
        flags[share < settings.filled] |= np.uint16(Flag.FILLED)
        flags[self.fresh] |= np.uint16(Flag.NEW_BAD)
        flags[self.doubtful] |= np.uint16(Flag.SUSPECT)
        hit = lost > 0.05
        if self.fixed[plane].size:
            fixed = np.zeros_like(self.missing)
            fixed.reshape(-1)[self.fixed[plane]] = 1
            full = self._lost_to(fixed, residual) > 0.05
            flags[full] |= np.uint16(Flag.SATURATED)
            hit &= ~full
        flags[hit] |= np.uint16(Flag.COSMIC)
        moved = np.abs(flux[0] - first) > settings.suspect * np.sqrt(np.maximum(variance, 0.0))
        flags[moved & (lost > 0.02)] |= np.uint16(Flag.SUSPECT)
        if alarm is not None:
            again, away = self._stand_outs(flux[0], variance, noise, settings.suspect, expected)
            flags[(again > 0) & alarm.any(axis=1, keepdims=True)] |= np.uint16(Flag.SUSPECT)
        if away is not None:
            near = np.nonzero((lost > BESIDE) & ((flags & int(Flag.SATURATED)) == 0).all(axis=1, keepdims=True))
            doubt = noise * variance[near] + (self.rough[near[0]] * flux[0][near]) ** 2
            beyond = away[near] > settings.beside_hit * np.sqrt(doubt)
            flags[near[0][beyond], near[1][beyond]] |= np.uint16(Flag.SUSPECT)
        variance[share < settings.filled] = np.nan
        self._measure(plane, light, residual)
        self.flux[plane], self.variance[plane] = flux[0, self.chosen], variance[self.chosen]
        self.flags[plane] = flags[self.chosen]

    def _measure(self, plane: int, light: Float32, residual: Float32) -> None:
        """Figures of a plane, and its share in what no spectrum explains."""
        from archive_proc.kernels.loops.touched import chi_square

        arguments = (self.equations.weight, self.missing, self.level)
        self.chi2[plane], rms, _ = chi_square(light, residual, self.floor, self.response, *arguments)
        model = light[::3, ::3] - residual[::3, ::3]
        self.ridge[plane] = float(np.percentile(model[self.good[::3, ::3] > 0], 98.0))
        self.residual[plane] = rms / max(self.ridge[plane], 1e-3)
        np.add(self.unexplained, residual, out=self.unexplained, where=self.missing == 0)
        self.count += self.missing == 0

    def _lost_to(self, missing: UInt8, residual: Float32) -> Float32:
        """(n, m) share of each channel's information that some pixels hold."""
        return touched_by(self.equations, missing, residual)[0]

    def result(self) -> PlaneSpectra:
        """What was found."""
        del self.room, self.clean
        seen = (self.kept > 0) & (self.count > 0)
        mean = np.where(seen, self.unexplained / np.maximum(self.count, 1).astype(np.float32), np.float32(np.nan))
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
            self.new_bad,
            self.last_step,
            self.equations,
            mean,
        )


def _typical(flux: Float32) -> Float32:
    """(m,) shape of the brightest of the spectra (n, m), mean 1; at least a twentieth of that everywhere."""
    total = flux.sum(axis=1)
    bright = flux[total >= 0.3 * np.percentile(total, 99.0)]
    found = np.median(bright / np.maximum(bright.mean(axis=1, keepdims=True), np.float32(1e-3)), axis=0)
    return np.asarray(np.maximum(found, 0.05), np.float32)
