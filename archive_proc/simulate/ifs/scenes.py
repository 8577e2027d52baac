"""What the lenslets see in each file: lamps by day, test scenes and the star by night."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate.ifs.facts import READ_S, SIZE, real_dit_s
from archive_proc.simulate.ifs.geometry import Pose
from archive_proc.simulate.ifs.instrument import Instrument, spectrum_median, stream
from archive_proc.simulate.ifs.projection import PER_NM, PIVOT_NM, Light
from archive_proc.simulate.ifs.schedule import IfsExposure
from archive_proc.simulate.ifs.spec import IfsNight
from archive_proc.simulate.ifs.spectra import air, blackbody, scaled, t_dwarf

Float = NDArray[np.float64]
COMB_SHARE = 0.02
UNIFORM_E = (2600.0, 3600.0)
"""Median electrons per bin and 32 s in `uniform`: a ridge of about 2000 ADU."""
COMB_E = 12000.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What all lenslets see: one spectrum times a weight each."""

    spectrum: Float
    """(k,) electrons per DIT."""
    weight: NDArray[np.float32]
    """(n,) or (n, k), without throughput."""
    wavelength_nm: Float
    """(k,)"""

    def light(self, instrument: Instrument, pose: Pose) -> Light:
        """On the detector."""
        weight = self.weight if self.weight.ndim == 2 else self.weight[:, None]
        flux = weight * self.spectrum[None, :] * instrument.throughput(self.wavelength_nm)
        return instrument.light(self.wavelength_nm, flux.astype(np.float32), pose)


def lamp_scene(instrument: Instrument, night: IfsNight, exposure: IfsExposure, seed: int) -> Seen:
    """Lenslet flat, spectra positions or lasers."""
    lamps, count = instrument.lamps, len(instrument.lenslets)
    level = night.lamp_level * real_dit_s(exposure.dit_s) / READ_S
    if exposure.kind == "wave":
        lasers = instrument.mode.lasers
        burning = np.array([laser.name not in night.lasers_off for laser in lasers])
        grain = stream(seed, "scene", 0).standard_normal((count, len(lasers)))
        weight = instrument.illumination(lamps.laser_slope)[:, None] * (1.0 + lamps.laser_grain * grain)
        return Seen(
            lamps.laser_e * burning * level,
            weight.astype(np.float32),
            np.array([laser.wavelength_nm for laser in lasers]),
        )
    spectrum = lamps.flat if exposure.kind == "ifu_flat" else lamps.specpos
    slope = (0.0, 0.0) if exposure.kind == "ifu_flat" else lamps.specpos_slope
    weight = instrument.illumination(slope)
    return Seen(spectrum * level, weight.astype(np.float32), instrument.bins.middle_nm)


def detector_flat(instrument: Instrument, night: IfsNight, exposure: IfsExposure) -> Light:
    """A lamp that lights the detector itself, evenly but for a slope."""
    index = next(i for i, one in enumerate(instrument.mode.lamps) if one.comb == exposure.comb)
    lamps = instrument.lamps
    at = np.linspace(-1, 1, SIZE)
    shape = 1.0 + lamps.detector_slope[0] * at[None, :] + lamps.detector_slope[1] * at[:, None]
    shape -= 0.02 * (at[None, :] ** 2 + at[:, None] ** 2)
    level = night.lamp_level * lamps.detector_e_s[index] * real_dit_s(exposure.dit_s)
    total = (level * shape).astype(np.float32)
    hue = (instrument.mode.lamps[index].wavelength_nm - PIVOT_NM) * PER_NM
    return Light(total, total * np.float32(hue))


@dataclass(frozen=True, slots=True)
class Air:
    """Air above one exposure."""

    airmass: float
    water_mm: float


def sky_electrons(instrument: Instrument, photons: Float, above: Air) -> Float:
    """(bins,) electrons behind air and passband of a source's photons per nm on the bins' fine grid."""
    bins = instrument.bins
    fine = bins.fine_nm
    passed = photons * air(fine, above.airmass, above.water_mm) * instrument.passband.at(fine)
    return np.asarray(bins.average(passed) * bins.width_nm)


def star_photons(fine_nm: Float, kelvin: float) -> Float:
    """Photons per nm of a star, mean 1 over 1000-1300 nm as the dwarfs' are."""
    return scaled(fine_nm, blackbody(fine_nm, kelvin))


def even_scene(
    instrument: Instrument, scene: str, exposure: IfsExposure, kelvin: float, airmass: float, seed: int
) -> Seen:
    """uniform, tdwarf, comb or empty."""
    rng = stream(seed, "scene", 1)
    water_mm = float(rng.uniform(1.0, 5.0))
    level = float(rng.uniform(*UNIFORM_E)) * exposure.dit_s / 32.0
    bins, count = instrument.bins, len(instrument.lenslets)
    everyone = np.ones(count, np.float32)
    if scene == "comb":
        lit = rng.permutation(count) < COMB_SHARE * count
        spectrum = instrument.lamps.flat / spectrum_median(instrument.lamps.flat, bins, instrument.passband)
        return Seen(COMB_E * exposure.dit_s / 32.0 * spectrum, lit.astype(np.float32), bins.middle_nm)
    if scene == "empty":
        return Seen(np.zeros(len(bins.middle_nm)), everyone, bins.middle_nm)
    above = Air(airmass, water_mm)
    star = sky_electrons(instrument, star_photons(bins.fine_nm, kelvin), above)
    unit = level / spectrum_median(star, bins, instrument.passband)
    if scene == "tdwarf":
        return Seen(unit * sky_electrons(instrument, t_dwarf(bins.fine_nm), above), everyone, bins.middle_nm)
    return Seen(unit * star, everyone, bins.middle_nm)


@dataclass(frozen=True, slots=True)
class SkyPlane:
    """One plane of a star's file."""

    flux: NDArray[np.float32]
    """(n, bins) electrons, throughput included."""
    sky: Mapping[str, object]
    """What `FrameTruth.sky` says of it."""
