"""One drawn IFS: everything that stays the same within a night, each part from its own stream of the seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate.ifs.detector import Detector, make_detector
from archive_proc.simulate.ifs.facts import Mode, mode_named
from archive_proc.simulate.ifs.geometry import FIELD_RADIUS, Grid, Lenslets, Pose, make_grid, make_lenslets
from archive_proc.simulate.ifs.projection import PER_NM, PIVOT_NM, Halo, Light, add_halo, project
from archive_proc.simulate.ifs.psflets import Optics, PsfletTables, assign_nodes, draw_optics, make_psflets
from archive_proc.simulate.ifs.spectra import Bins, Passband, draw_passband, lamp, make_bins

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Flexure:
    """Displacement of the spectra against the calibrations' epoch, as a function of time."""

    science_mjd: float
    """From here on the telescope is turned to the sky."""
    offset: Pose
    rate: Pose
    """Per hour, in science."""

    def at(self, mjd: float) -> Pose:
        """Displacement at a time; none by day."""
        if mjd < self.science_mjd:
            return Pose()
        hours = 24.0 * (mjd - self.science_mjd)
        return self.offset.plus(Pose(self.rate.dx * hours, self.rate.dy * hours, self.rate.turn_deg * hours))


def draw_flexure(science_mjd: float, rng: np.random.Generator) -> Flexure:
    """0.03-0.2 px and up to 0.002 deg since the calibrations, drifting by up to 0.3 px/h."""
    size, direction = float(rng.uniform(0.03, 0.2)), float(rng.uniform(0.0, 2 * np.pi))
    return Flexure(
        science_mjd,
        Pose(size * np.cos(direction), size * np.sin(direction), float(rng.uniform(-0.002, 0.002))),
        Pose(float(rng.uniform(-0.2, 0.2)), float(rng.uniform(-0.2, 0.2)), float(rng.uniform(-0.001, 0.001))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamps:
    """What the calibration unit sends. Electrons are those of the nominal level."""

    flat: Float
    """(BINS,) lenslet flat, e- per bin and DIT of the shortest length in a mean lenslet."""
    specpos: Float
    """(BINS,) the same for spectra positions."""
    specpos_slope: tuple[float, float]
    """Its illumination falls off per 70 pitches along X and Y; the lenslet flat's is even."""
    laser_e: Float
    """(lasers,) per spot."""
    laser_slope: tuple[float, float]
    laser_grain: float
    """Rms of the speckle of laser light from lenslet to lenslet."""
    detector_e_s: Float
    """(lamps,) detector flats, e-/s per pixel."""
    detector_slope: tuple[float, float]
    """Across half the detector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """The instrument of one night."""

    mode: Mode
    bins: Bins
    lenslets: Lenslets
    grid: Grid
    optics: Optics
    tables: PsfletTables
    node: NDArray[np.int64]
    """(n,) PSFlet of each lenslet."""
    passband: Passband
    transmission: Float
    """(BINS,) of the passband, averaged over bins."""
    halo: Halo
    detector: Detector
    lamps: Lamps

    def light(self, wavelength_nm: Float, flux: NDArray[np.float32], flexure: Pose) -> Light:
        """Light on the detector of (n, k) electrons at k wavelengths, scattered halo included."""
        x, y = self.grid.positions(wavelength_nm, flexure)
        return add_halo(project(self.tables, self.node, x, y, wavelength_nm, flux), self.halo)

    def throughput(self, wavelength_nm: Float) -> Float:
        """(n, k) throughput of the lenslets, field stop included."""
        colour = (np.asarray(wavelength_nm) - PIVOT_NM) * PER_NM
        lenslets = self.lenslets
        return (lenslets.throughput * lenslets.stopped)[:, None] * (1.0 + lenslets.colour[:, None] * colour[None, :])

    def illumination(self, slope: tuple[float, float]) -> Float:
        """(n,) uneven light over the field, 1 at its centre."""
        return np.asarray(1.0 + (slope[0] * self.lenslets.x + slope[1] * self.lenslets.y) / FIELD_RADIUS)


STREAMS = ("lenslets", "grid", "optics", "nodes", "passband", "halo", "detector", "lamps", "flexure", "night", "scene")


def stream(seed: int, name: str, *more: int) -> np.random.Generator:
    """The generator of one part: other parts do not move when one draws more."""
    return np.random.default_rng(np.random.SeedSequence([seed, STREAMS.index(name), *more]))


def make_instrument(mode_name: str, seed: int, field_pitches: float | None = None) -> Instrument:
    """Draw an instrument; about 5 s CPU and 300 MB. `field_pitches`: see `spec.IfsNight`."""
    mode = mode_named(mode_name)
    bins = make_bins(mode)
    lenslets = make_lenslets(mode, stream(seed, "lenslets"))
    if field_pitches is not None:
        lenslets = lenslets.choose(np.hypot(lenslets.x, lenslets.y) < field_pitches)
    grid = make_grid(mode, lenslets, stream(seed, "grid"))
    optics = draw_optics(stream(seed, "optics"))
    if field_pitches is None:
        tables = make_psflets(mode, optics)
    else:
        tables = make_psflets(mode, optics, field_nodes=3, reach=field_pitches)
    passband = draw_passband(mode, stream(seed, "passband"))
    scattered = stream(seed, "halo")
    return Instrument(
        mode=mode,
        bins=bins,
        lenslets=lenslets,
        grid=grid,
        optics=optics,
        tables=tables,
        node=assign_nodes(tables, lenslets.x, lenslets.y, stream(seed, "nodes")),
        passband=passband,
        transmission=bins.average(passband.at(bins.fine_nm)),
        halo=Halo(
            share=float(scattered.uniform(0.008, 0.02)),
            radius_px=float(scattered.uniform(4.0, 7.0)),
            slope=float(scattered.uniform(2.6, 3.2)),
        ),
        detector=make_detector(stream(seed, "detector")),
        lamps=_lamps(mode, bins, passband, stream(seed, "lamps")),
    )


def _lamps(mode: Mode, bins: Bins, passband: Passband, rng: np.random.Generator) -> Lamps:
    kelvin = float(rng.uniform(2600.0, 3000.0))
    ripple = (float(rng.uniform(0.003, 0.008)), float(rng.uniform(0, 2 * np.pi)))
    spectrum = bins.average(lamp(bins.fine_nm, kelvin, ripple) * passband.at(bins.fine_nm)) * bins.width_nm
    inside = (bins.middle_nm > passband.edges_nm[0] + 20.0) & (bins.middle_nm < passband.edges_nm[1] - 20.0)
    spectrum /= np.median(spectrum[inside])
    return Lamps(
        flat=spectrum * float(rng.uniform(5500.0, 9000.0)),
        specpos=spectrum * float(rng.uniform(3500.0, 6500.0)),
        specpos_slope=(float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.05, 0.05))),
        laser_e=rng.uniform(7.5e4, 1.25e5, len(mode.lasers)),
        laser_slope=(float(rng.uniform(-0.1, 0.1)), float(rng.uniform(-0.1, 0.1))),
        laser_grain=float(rng.uniform(0.01, 0.03)),
        detector_e_s=rng.uniform(3200.0, 4400.0, len(mode.lamps)),
        detector_slope=(float(rng.uniform(-0.02, 0.02)), float(rng.uniform(-0.02, 0.02))),
    )


def spectrum_median(values: Float, bins: Bins, passband: Passband) -> float:
    """Median over the bins inside the filter's edges."""
    inside = (bins.middle_nm > passband.edges_nm[0] + 20.0) & (bins.middle_nm < passband.edges_nm[1] - 20.0)
    return float(np.median(values[inside]))
