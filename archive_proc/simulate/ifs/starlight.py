"""One star's observation as the lenslets see it: speckles, halo, waffle spots, companions, a ring of dust."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate import celestial
from archive_proc.simulate.facts import FILTERS, PUPIL_OFFSET_DEG, TRUE_NORTH_DEG
from archive_proc.simulate.ifs.coronagraph import HEXAGON_MAS2, MASK_MAS, POINTS, Coronagraph, halo
from archive_proc.simulate.ifs.facts import IFS_OFFSET_DEG, PITCH_MAS, WAFFLE_AXES_DEG, WAFFLE_CYCLES
from archive_proc.simulate.ifs.instrument import Instrument
from archive_proc.simulate.ifs.scenes import Air, SkyPlane, sky_electrons, star_photons
from archive_proc.simulate.ifs.schedule import IfsExposure
from archive_proc.simulate.ifs.spec import IfsCompanion, IfsObservation
from archive_proc.simulate.ifs.spectra import l_dwarf, t_dwarf
from archive_proc.simulate.pupil import PhaseMaps, Real, Waffle, waffle_wavefront

Float = NDArray[np.float64]

IMAGES = 64
"""Wavelengths at which images are computed; bins between them are interpolated."""
STATIC_NM = (32.0, 46.0)
SLOW_NM, FAST_NM, DOWNSTREAM_NM, CHROMATIC_NM = 10.0, 5.0, 8.0, 3.0
"""Aberrations, rms: turning over in SLOW_S; of one plane; behind the mask; per 200 nm of wavelength."""
SLOW_S = 5400.0
WAFFLE_NM = 32.0
"""Amplitude of one diagonal."""
JITTER_MAS, DRIFT_MAS = 1.5, 4.0
"""Star against mask, per plane; star and mask against the lenslets, over an hour."""
PATCH = 16.0
"""Half width of the computed image of a companion's core, pitches."""
RING_MAS, RING_WIDTH_MAS, RING_INCLINATION_DEG, RING_PA_DEG, RING_SHARE = 430.0, 45.0, 62.0, 35.0, 2e-2
"""The ring of dust: radius, width, inclination, position angle of its long axis, light over the star's."""


def derotation_deg(parallactic_deg: float) -> float:
    """Position angle on the sky of the rectified image's +Y axis, deg (DESIGN 8), after 2016-07-12."""
    return parallactic_deg + PUPIL_OFFSET_DEG + IFS_OFFSET_DEG + TRUE_NORTH_DEG


def nd_transmission(name: str, wavelength_nm: Float) -> Float:
    """Transmission behind `INS4 FILT2 NAME`, between the values known for the IRDIS bands."""
    bands = [band for one in ("DB_Y23", "DB_J23", "DB_H23") for band in FILTERS[one].bands]
    at = [1000.0 * band.wavelength_um for band in bands]
    return np.exp(np.interp(wavelength_nm, at, np.log([band.nd_transmission(name) for band in bands])))


@dataclass(frozen=True, slots=True)
class _Moment:
    """What the air and the optics are like in one plane."""

    upstream: Real
    transmission: float
    wavefront_nm: float
    star: Float
    """(x, y) pitches from the field's centre."""
    miss_mas: Float
    derotation_deg: float
    electrons: Float
    """(bins,) of the unocculted star behind the neutral density."""
    above: Air


class StarScene:
    """The same aberrations in all files of an observation, evolving with time."""

    def __init__(self, observation: IfsObservation, instrument: Instrument, rng: np.random.Generator) -> None:
        self.observation = observation
        self.instrument = instrument
        lenslets = instrument.lenslets
        self._lenslets = np.stack([lenslets.x, lenslets.y], axis=1)
        self._optics = Coronagraph(lenslets.q, lenslets.r)
        self._maps = PhaseMaps(self._optics.stops)
        self._static = self._maps.draw(float(rng.uniform(*STATIC_NM)), rng)
        self._slow = (self._maps.draw(SLOW_NM, rng), self._maps.draw(SLOW_NM, rng))
        self._downstream = self._maps.draw(DOWNSTREAM_NM, rng)
        self._chromatic = self._maps.draw(CHROMATIC_NM, rng)
        self._waffle_phases = (float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.6, 0.6)))
        self._centre = rng.uniform(-3.0, 3.0, 2)
        self._wind_deg = float(rng.uniform(0.0, 180.0))
        self._wavefront_nm = float(rng.uniform(88.0, 108.0))
        self._water_mm = float(rng.uniform(1.0, 5.0))
        self._turns = rng.uniform(0.0, 2 * np.pi, 4)
        self._rng = rng
        self._passed = instrument.throughput(instrument.bins.middle_nm)
        self._images_nm = np.linspace(*instrument.mode.grid_nm, IMAGES)

    def render(self, exposure: IfsExposure, plane: int) -> SkyPlane:
        """What the lenslets see in one plane, and what is true of it. Call in order of time."""
        now = self._moment(exposure, float(exposure.mid_mjd[plane]))
        off_mask = exposure.kind == "F"
        light = self._in_bins(self._star(now, off_mask=off_mask)) * now.electrons
        companions: list[dict[str, object]] = []
        if not off_mask:
            for one in self.observation.target.companions:
                added, row = self._companion(one, now)
                light += added
                companions.append(row)
            if self.observation.scene == "disc":
                light += self._ring(now)[:, None] * now.electrons
        return SkyPlane(
            (light * self._passed).astype(np.float32),
            {
                "derotation": now.derotation_deg,
                "star_x": float(now.star[0]),
                "star_y": float(now.star[1]),
                "transmission": now.transmission,
                "wavefront_nm": now.wavefront_nm,
                "star_electrons": _digits(now.electrons),
                "companions": companions,
            },
        )

    def _moment(self, exposure: IfsExposure, mjd: float) -> _Moment:
        star = self.observation.target
        place = celestial.apparent_place(star.ra_deg, star.dec_deg, star.pm_ra_mas, star.pm_dec_mas, mjd)
        seen = celestial.pointing(place, mjd)
        seconds = 86400.0 * (mjd - exposure.mjd // 1)
        slow = 2 * np.pi * seconds / SLOW_S
        upstream = self._static + self._maps.draw(FAST_NM, self._rng)
        upstream = upstream + np.float32(np.cos(slow + self._turns[0])) * self._slow[0]
        upstream = upstream + np.float32(np.sin(slow + self._turns[0])) * self._slow[1]
        if exposure.kind == "C":
            # 45 deg from the axes of `+`, counter-clockwise from +X of the rectified image: published reductions look
            # for the spots there in cubes of the ESO pipeline and of charis-dep alike.
            axes = WAFFLE_AXES_DEG + 45.0
            imbalance = (float(self._rng.normal(0.0, 0.02)), float(self._rng.normal(0.0, 0.02)))
            waffle = Waffle(WAFFLE_CYCLES, axes, self._waffle_phases)
            upstream = upstream + waffle_wavefront(waffle, WAFFLE_NM, imbalance)
        drift = DRIFT_MAS / PITCH_MAS * np.sin(2 * np.pi * seconds / 3600.0 + self._turns[1:3])
        miss = self._rng.normal(0.0, JITTER_MAS, 2)
        transmission = float(np.exp(0.05 * np.sin(slow + self._turns[3]) + 0.02 * self._rng.standard_normal()))
        above = Air(seen.airmass, self._water_mm)
        shape = sky_electrons(self.instrument, star_photons(self.instrument.bins.fine_nm, star.kelvin), above)
        electrons = shape * (star.electrons_s * exposure.dit_s * transmission / shape.sum())
        if exposure.nd_filter != "OPEN":
            electrons = electrons * nd_transmission(exposure.nd_filter, self.instrument.bins.middle_nm)
        return _Moment(
            upstream=np.asarray(upstream, np.float32),
            transmission=transmission,
            wavefront_nm=self._wavefront_nm * float(np.exp(0.05 * self._rng.standard_normal())),
            star=self._centre + drift + miss / PITCH_MAS,
            miss_mas=miss,
            derotation_deg=derotation_deg(seen.parallactic_deg),
            electrons=electrons,
            above=above,
        )

    def _upstream(self, now: _Moment, wavelength_nm: float) -> Real:
        return now.upstream + np.float32((wavelength_nm - 1100.0) / 200.0) * self._chromatic

    def _star(self, now: _Moment, *, off_mask: bool) -> Float:
        """(n, IMAGES) share of the star's light in each lenslet."""
        shares = np.empty((len(self._lenslets), IMAGES))
        axis = now.star - now.miss_mas / PITCH_MAS
        for k, wavelength in enumerate(self._images_nm):
            upstream = self._upstream(now, float(wavelength))
            if off_mask:
                wave = self._optics.unocculted(upstream + self._downstream, float(wavelength))
                core = self._optics.image(wave, float(wavelength), now.star)
            else:
                wave = self._optics.occulted(upstream, self._downstream, float(wavelength), now.miss_mas)
                core = self._optics.image(wave, float(wavelength), axis)
            strehl = _strehl(now.wavefront_nm, float(wavelength))
            around = self._halo(now.star, float(wavelength), None if off_mask else MASK_MAS)
            shares[:, k] = strehl * core + (1.0 - strehl) * around
        return shares

    def _halo(self, star: Float, wavelength_nm: float, mask_mas: float | None) -> Float:
        offset = (self._lenslets - star) * PITCH_MAS
        return halo(offset[:, 0], offset[:, 1], wavelength_nm, self._wind_deg, mask_mas) * HEXAGON_MAS2

    def _in_bins(self, shares: Float) -> Float:
        """(n, bins) from (n, IMAGES), linear in wavelength."""
        step = self._images_nm[1] - self._images_nm[0]
        at = np.clip((self.instrument.bins.middle_nm - self._images_nm[0]) / step, 0.0, IMAGES - 1.000001)
        lower = at.astype(int)
        return np.asarray(shares[:, lower] * (1.0 - (at - lower)) + shares[:, lower + 1] * (at - lower))

    def _place(self, separation_mas: float, position_angle_deg: float, now: _Moment) -> Float:
        """(x, y) in pitches of a source beside the star."""
        turn = math.radians(position_angle_deg - now.derotation_deg)
        return now.star + separation_mas / PITCH_MAS * np.array([-math.sin(turn), math.cos(turn)])

    def _companion(self, one: IfsCompanion, now: _Moment) -> tuple[Float, dict[str, object]]:
        """(n, bins) electrons before the lenslets' throughput, and the row of truth."""
        at = self._place(one.separation_mas, one.position_angle_deg, now)
        instrument, fine = self.instrument, self.instrument.bins.fine_nm
        own = sky_electrons(instrument, t_dwarf(fine) if one.kind == "T" else l_dwarf(fine), now.above)
        star = sky_electrons(instrument, star_photons(fine, self.observation.target.kelvin), now.above)
        electrons = one.contrast * now.electrons * own / np.maximum(star, 1e-12 * star.max())
        shares = np.zeros((len(self._lenslets), IMAGES))
        for k, wavelength in enumerate(self._images_nm):
            wave = self._optics.unocculted(self._upstream(now, float(wavelength)) + self._downstream, float(wavelength))
            strehl = _strehl(now.wavefront_nm, float(wavelength))
            shares[:, k] = strehl * self._optics.image(wave, float(wavelength), at, PATCH)
            shares[:, k] += (1.0 - strehl) * self._halo(at, float(wavelength), None)
        light = self._in_bins(shares) * electrons
        return light, {
            "kind": one.kind,
            "contrast": one.contrast,
            "separation_mas": one.separation_mas,
            "position_angle_deg": one.position_angle_deg,
            "x": float(at[0]),
            "y": float(at[1]),
            "electrons": _digits(electrons),
            "electrons_in_lenslets": _digits(light.sum(axis=0)),
        }

    def _ring(self, now: _Moment) -> Float:
        """(n,) share of the star's light that the ring sends each lenslet, whatever the wavelength."""
        total = np.zeros(len(self._lenslets))
        for point in POINTS:
            x, y = ((self._lenslets + np.array(point) - now.star) * PITCH_MAS).T
            total += ring(x, y, now.derotation_deg)
        return np.asarray(RING_SHARE * total / total.sum())


def ring(x_mas: Float, y_mas: Float, derotation_deg: float) -> Float:
    """Brightness of the ring of dust at places of the rectified image about the star, 1 on its mean crest.

    Its near side, 90 deg from RING_PA_DEG towards growing position angles, scatters half more light, its far side half.
    """
    # Position angle on the sky: counter-clockwise from +Y, plus D.
    angle = np.arctan2(-x_mas, y_mas) + np.radians(derotation_deg - RING_PA_DEG)
    radius = np.hypot(x_mas, y_mas)
    along, across = radius * np.cos(angle), radius * np.sin(angle) / math.cos(math.radians(RING_INCLINATION_DEG))
    true = np.hypot(along, across)
    phase = 1.0 + 0.5 * across / np.maximum(true, 1.0)
    crest = np.exp(-0.5 * ((true - RING_MAS) / RING_WIDTH_MAS) ** 2)
    return np.asarray(phase * crest * (radius > 0.5 * MASK_MAS))


def _strehl(wavefront_nm: float, wavelength_nm: float) -> float:
    return math.exp(-((2 * math.pi * wavefront_nm / wavelength_nm) ** 2))


def _digits(values: Float) -> list[float]:
    return [float(f"{one:.6g}") for one in values]
