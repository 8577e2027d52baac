"""The light of one sequence on the detector, plane by plane, and what is true about each plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate import celestial
from archive_proc.simulate.facts import ANAMORPHISM, HALF, Band, filter_setup
from archive_proc.simulate.halo import HaloTemplate, halo_maps
from archive_proc.simulate.headers import WAFFLE_UM, fault
from archive_proc.simulate.optics import PATCH, WINDOW, Aberrations, Bench, Window
from archive_proc.simulate.pupil import GRID, PhaseMaps, Real, Waffle, make_stops, waffle_wavefront
from archive_proc.simulate.spec import Companion, SequenceSpec
from archive_proc.simulate.thermal import ThermalField, ThermalState, block_means, turning
from archive_proc.simulate.timeline import Exposure
from archive_proc.simulate.tracks import DRIFT_S, Tracks, draw_tracks

WAFFLE_NM_PER_UM = 400.0
"""Wavefront amplitude of one diagonal over `OCS WAFFLE AMPL`: spots of 1e-3 of the star in H."""
FAST_S = 180.0
BOILING_S = 0.01
"""Life of a residual speckle."""
SKY_STAR_FLUX = 2e-4
"""Of the target's."""


@dataclass(frozen=True, slots=True)
class PlaneTruth:
    """What is true of one plane."""

    exposure: Exposure
    plane: int
    mjd: float
    parallactic_deg: float
    """Epsilon included."""
    epsilon_deg: float
    derotation_deg: float
    center: NDArray[np.float64]
    """(2, 2) half, x and y; NaN without a star."""
    transmission: float
    core: NDArray[np.float64]
    """(2,)"""
    motion_mas: NDArray[np.float64]
    thermal: NDArray[np.float32]
    """(2, 64, 64)"""


class _HalfScene:
    """The optics of one half of one sequence."""

    def __init__(self, spec: SequenceSpec, half: int, phases: PhaseMaps, rng: np.random.Generator) -> None:
        setup = filter_setup(spec.filter)
        stops = make_stops()
        self.half = half
        self.band: Band = setup.bands[half]
        self.mask_mas = setup.mask_mas
        nominal = setup.star[half]
        self.nominal = (nominal[0] + float(rng.uniform(-2, 2)), nominal[1] + float(rng.uniform(-2, 2)))
        self.bench = Bench(self.band, setup.mask_mas, stops)
        self.template = HaloTemplate(self.band, self.nominal, setup.mask_mas)
        self.downstream = phases.draw(spec.weather.downstream_nm, rng)
        self.flux = spec.star.flux_adu_s[half]

    def strehl(self, wavefront_nm: float) -> float:
        """Of the adaptive optics' residual (Marechal)."""
        return float(np.exp(-((2e-3 * np.pi * wavefront_nm / self.band.wavelength_um) ** 2)))

    def at(self, offset_mas: NDArray[np.float64], dither: tuple[int, int]) -> tuple[float, float]:
        """Pixel of a direction `offset_mas` (detector's x and y on the sky) from the nominal star."""
        return (
            self.nominal[0] + float(offset_mas[0]) / self.band.scale_mas + dither[0],
            self.nominal[1] + float(offset_mas[1]) / (self.band.scale_mas * ANAMORPHISM) + dither[1],
        )


class SequenceScene:
    """Renders the planes of one sequence, in order of time."""

    def __init__(
        self,
        spec: SequenceSpec,
        exposures: tuple[Exposure, ...],
        thermal: tuple[ThermalField, ThermalField],
        rng: np.random.Generator,
    ) -> None:
        self.spec = spec
        self._rng = rng
        self._thermal = thermal
        self._phases = PhaseMaps(make_stops())
        self._halves = tuple(_HalfScene(spec, half, self._phases, rng) for half in range(2))
        self._times = np.concatenate([one.mid_mjd for one in exposures]) * 86400.0
        dits = np.concatenate([np.full(one.ndit, one.dit_s) for one in exposures])
        self._tracks: Tracks = draw_tracks(self._times, dits, spec.weather, rng)
        self._first = dict(
            zip((one.file_id for one in exposures), np.cumsum([0, *(one.ndit for one in exposures[:-1])]), strict=True)
        )
        self._static = self._phases.draw(spec.weather.static_nm, rng)
        self._evolving = (self._phases.draw(1.0, rng), self._phases.draw(1.0, rng))
        self._evolved_to = float(self._times[0])
        self._waffle = Waffle(
            cycles=float(rng.uniform(13.7, 14.3)),
            angle_deg=45.0 + float(rng.uniform(-0.6, 0.6)),
            phases=(float(rng.uniform(-0.25, 0.25)), float(rng.uniform(-0.25, 0.25))),
        )
        angle = float(rng.uniform(0.0, 2 * np.pi))
        self._flux_offset_mas = float(rng.uniform(430, 520)) * np.array([np.cos(angle), np.sin(angle)])
        self._turn_phase = float(rng.uniform(0.0, 360.0))
        acquisitions = [one.file_id for one in exposures if one.letter == "F"]
        self._faults = {acquisitions[one.file]: one for one in spec.flux_faults}
        skies = [one.file_id for one in exposures if one.letter == "S"]
        self._starry_sky = skies[int(rng.integers(len(skies)))] if skies and spec.star_in_sky else ""

    @property
    def strehl0(self) -> tuple[float, float]:
        """Strehl at the nominal residual."""
        left, right = (one.strehl(self.spec.weather.wavefront_nm) for one in self._halves)
        return left, right

    def render(self, exposure: Exposure, plane: int) -> tuple[Real, PlaneTruth]:
        """Light of one plane, (1024, 2048) ADU per DIT before the detector's response, and its truth."""
        row = int(self._first[exposure.file_id]) + plane
        mjd = float(exposure.mid_mjd[plane])
        truth = self._truth(exposure, plane, row, mjd)
        scene = np.empty((HALF, 2 * HALF), np.float32)
        seen = self._aberrations(exposure, row) if exposure.letter in "FCO" else None
        boil = self._rng.standard_normal((2, GRID, GRID), dtype=np.float32)
        noise = (boil[0] + 1j * boil[1]).astype(np.complex64)
        for half in self._halves:
            image = scene[:, half.half * HALF : (half.half + 1) * HALF]
            image[...] = self._background(exposure, half, row, mjd)
            truth.thermal[half.half] = block_means(image)
            if seen is not None:
                self._starlight(image, exposure, half, row, truth, seen, noise)
            elif exposure.file_id == self._starry_sky:
                self._passing_star(image, exposure, half)
        return scene, truth

    def thermal(self, exposure: Exposure, plane: int) -> Real:
        """Thermal background of one plane alone, (1024, 2048) ADU per DIT before the response."""
        row = int(self._first[exposure.file_id]) + plane
        mjd = float(exposure.mid_mjd[plane])
        return np.concatenate([self._background(exposure, half, row, mjd) for half in self._halves], axis=1)

    def _truth(self, exposure: Exposure, plane: int, row: int, mjd: float) -> PlaneTruth:
        star = self.spec.star
        place = celestial.apparent_place(star.ra_deg, star.dec_deg, star.pm_ra_mas, star.pm_dec_mas, mjd)
        epsilon = fault(mjd, self.spec)
        parallactic = celestial.pointing(place, mjd).parallactic_deg
        center, core = np.full((2, 2), np.nan), np.full(2, np.nan)
        fault_here = self._faults.get(exposure.file_id)
        transmission = float(self._tracks.transmission[row]) * (fault_here.transmission if fault_here else 1.0)
        if exposure.letter in "FCO":
            for half in self._halves:
                center[half.half] = half.at(self._star_mas(exposure, row), exposure.dither)
                core[half.half] = transmission * half.strehl(self._tracks.wavefront_nm[row])
        return PlaneTruth(
            exposure=exposure,
            plane=plane,
            mjd=mjd,
            parallactic_deg=parallactic + epsilon,
            epsilon_deg=epsilon,
            derotation_deg=celestial.derotation_deg(parallactic, epsilon, pupil_tracking=self.spec.rot_mode == "PUPIL"),
            center=center,
            transmission=transmission,
            core=core,
            motion_mas=self._tracks.motion_mas[row],
            thermal=np.empty((2, 64, 64), np.float32),
        )

    def _star_mas(self, exposure: Exposure, row: int) -> NDArray[np.float64]:
        motion = self._tracks.motion_mas[row]
        if exposure.letter != "F":
            return np.asarray(motion)
        lost = self._faults[exposure.file_id].offset_mas if exposure.file_id in self._faults else (0.0, 0.0)
        return np.asarray(motion + self._flux_offset_mas + np.array(lost))

    def _aberrations(self, exposure: Exposure, row: int) -> Real:
        """Wavefront ahead of the mask, nm; quasi-static parts walk on to this plane's time."""
        now = float(self._times[row])
        weather = self.spec.weather
        walked = []
        for field, tau in zip(self._evolving, (DRIFT_S, FAST_S), strict=True):
            memory = float(np.exp(-max(now - self._evolved_to, 0.0) / tau))
            fresh = self._phases.draw(1.0, self._rng)
            walked.append((memory * field + np.sqrt(1.0 - memory * memory) * fresh).astype(np.float32))
        self._evolving, self._evolved_to = (walked[0], walked[1]), now
        total = self._static + np.float32(weather.slow_nm) * walked[0] + np.float32(weather.fast_nm) * walked[1]
        if exposure.letter == "C":
            amplitude = WAFFLE_UM * WAFFLE_NM_PER_UM * (0.5 if self.spec.continuous_waffle else 1.0)
            first, second = self._tracks.ghosts[row]
            total = total + waffle_wavefront(self._waffle, amplitude, (float(first), float(second)))
        return np.asarray(total, np.float32)

    def _background(self, exposure: Exposure, half: _HalfScene, row: int, mjd: float) -> Real:
        return self._thermal[half.half].render(
            self._thermal_state(half.half, row, mjd), exposure.dit_s, exposure.dither
        )

    def _thermal_state(self, half: int, row: int, mjd: float) -> ThermalState:
        star = self.spec.star
        seen = celestial.pointing(
            celestial.apparent_place(star.ra_deg, star.dec_deg, star.pm_ra_mas, star.pm_dec_mas, mjd), mjd
        )
        turn = turning(
            celestial.derotator_deg(seen.altitude_deg, fault(mjd, self.spec)), seen.parallactic_deg, self._turn_phase
        )
        return ThermalState(np.concatenate([self._tracks.thermal[row, half], turn]).astype(np.float32))

    def _starlight(
        self,
        image: Real,
        exposure: Exposure,
        half: _HalfScene,
        row: int,
        truth: PlaneTruth,
        upstream: Real,
        noise: NDArray[np.complex64],
    ) -> None:
        """Add the star, its halo and its companions, in place."""
        flux = half.flux * exposure.dit_s * half.band.nd_transmission(exposure.nd_filter)
        transmission = truth.transmission
        strehl = half.strehl(self._tracks.wavefront_nm[row])
        star = (float(truth.center[half.half, 0]), float(truth.center[half.half, 1]))
        seen = Aberrations(upstream, half.downstream)
        window = Window.around(*star, WINDOW)
        self._halo(image, exposure, half, row, star, flux * transmission * (1.0 - strehl), truth.derotation_deg)
        rows, columns = window.slices
        strength = min(0.6, (BOILING_S / exposure.dit_s) ** 0.5)
        image_grain = half.bench.grain(window, star, noise)
        # Only the light above the background boils; the background was put there first and is smooth.
        thermal = self._background(exposure, half, row, truth.mjd)[rows, columns]
        halo = image[rows, columns] - thermal
        image[rows, columns] += np.float32(strength) * (window.inside(image_grain) - 1.0) * halo
        coherent = np.float32(flux * transmission * strehl)
        waves = half.bench.open_waves(seen)
        if exposure.letter == "F":
            image[rows, columns] += coherent * window.inside(half.bench.unocculted(window, star, waves))
            return
        shared = (1.0 - self.spec.weather.against_mask) * truth.motion_mas
        mask = half.at(shared, exposure.dither)
        image[rows, columns] += coherent * window.inside(half.bench.occulted(window, star, mask, seen))
        for one in self.spec.star.companions:
            self._companion(image, exposure, half, one, star, truth.plane, float(coherent), waves)

    def _halo(
        self,
        image: Real,
        exposure: Exposure,
        half: _HalfScene,
        row: int,
        star: tuple[float, float],
        flux: float,
        derotation_deg: float,
    ) -> None:
        inside, outside = self._tracks.halo[row]
        # A direction at position angle p lies p - D counter-clockwise from +y, that is at 90 + p - D from +x.
        wind = np.radians(2 * (90.0 + self.spec.weather.wind_position_angle_deg - derotation_deg))
        lobes = self.spec.weather.wind_lobes
        weights = flux * np.array([1 + inside, 1 + outside, lobes * np.cos(wind), lobes * np.sin(wind)])
        if exposure.letter != "F":
            image += half.template.render(star, weights)
            return
        at = np.arange(HALF, dtype=np.float64)
        maps = halo_maps(half.band, at - star[0], at - star[1], None)
        image += np.tensordot(weights.astype(np.float32), maps, 1)

    def _companion(
        self,
        image: Real,
        exposure: Exposure,
        half: _HalfScene,
        companion: Companion,
        star: tuple[float, float],
        plane: int,
        star_flux: float,
        waves: tuple[NDArray[np.complex64], ...],
    ) -> None:
        """Add a companion smeared by the field's rotation within the DIT, in place."""
        middle = float(exposure.mid_mjd[plane])
        ends = [self._derotation(middle + side * 0.5 * exposure.dit_s / 86400.0) for side in (-1.0, 1.0)]
        swing = (ends[1] - ends[0] + 180.0) % 360.0 - 180.0
        arc = abs(np.radians(swing)) * companion.separation_mas / half.band.scale_mas
        steps = max(1, int(np.ceil(arc / 0.5)))
        share = np.float32(star_flux * companion.contrast[half.half] / steps)
        for step in range(steps):
            angle = ends[0] + swing * (step + 0.5) / steps
            turn = np.radians(companion.position_angle_deg - angle)
            x = star[0] - companion.separation_mas * np.sin(turn) / half.band.scale_mas
            y = star[1] + companion.separation_mas * np.cos(turn) / (half.band.scale_mas * ANAMORPHISM)
            window = Window.around(x, y, PATCH)
            rows, columns = window.slices
            if rows.stop > rows.start and columns.stop > columns.start:
                spot = half.bench.unocculted(window, (x, y), waves)
                image[rows, columns] += share * window.inside(spot)

    def _derotation(self, mjd: float) -> float:
        star = self.spec.star
        place = celestial.apparent_place(star.ra_deg, star.dec_deg, star.pm_ra_mas, star.pm_dec_mas, mjd)
        return celestial.derotation_deg(
            celestial.pointing(place, mjd).parallactic_deg,
            fault(mjd, self.spec),
            pupil_tracking=self.spec.rot_mode == "PUPIL",
        )

    def _passing_star(self, image: Real, exposure: Exposure, half: _HalfScene) -> None:
        """A background star that happened to be in the sky field, in place."""
        at = half.at(np.array([1900.0, -1300.0]), exposure.dither)
        window = Window.around(*at, PATCH)
        blank = np.zeros((GRID, GRID), np.float32)
        waves = half.bench.open_waves(Aberrations(self._static, blank))
        flux = np.float32(SKY_STAR_FLUX * half.flux * exposure.dit_s)
        rows, columns = window.slices
        image[rows, columns] += flux * window.inside(half.bench.unocculted(window, at, waves))
