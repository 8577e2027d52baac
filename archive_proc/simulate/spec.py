"""What is to be simulated: a night of sequences and calibrations, as values.

A sequence's files are written in its `order`, one letter a file, as in `OCS OBSTYPE LIST`: F star off the mask (FLUX),
C waffle (CENTER), O science (OBJECT), S sky with the science DIT, B sky with the DIT and ND of FLUX. What is left out
of the order is missing from the night.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from archive_proc.errors import MisuseError
from archive_proc.simulate.facts import SHORTEST_DIT_S, filter_setup

COSMICS_PER_S = 0.75
BINNINGS = (1, 2)


@dataclass(frozen=True, slots=True)
class Companion:
    """A point source beside the star."""

    separation_mas: float
    position_angle_deg: float
    """On the sky, north through east."""
    contrast: tuple[float, float]
    """Flux over the star's, each half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Star:
    """The target."""

    name: str
    ra_deg: float
    dec_deg: float
    """J2000."""
    pm_ra_mas: float = 0.0
    pm_dec_mas: float = 0.0
    """mas/yr; the first is mu_alpha cos(delta)."""
    flux_adu_s: tuple[float, float] = (1.2e7, 1.1e7)
    """Unocculted star, transmission and Strehl 1, no ND, each half, ADU/s in the whole image."""
    companions: tuple[Companion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How air and adaptive optics vary. Rms values; time constants are in `tracks`."""

    wavefront_nm: float = 98.0
    """Adaptive-optics residual: Strehl = exp(-(2 pi w / lambda)^2)."""
    wavefront_scatter: float = 0.06
    """Relative, per plane (the variance scatters twice as much)."""
    transmission_fast: float = 0.05
    transmission_slow: float = 0.05
    """Relative, per plane and over a quarter of an hour."""
    jitter_mas: float = 3.0
    """Star on the detector, per plane and axis."""
    drift_mas: float = 5.0
    """Star on the detector, over half an hour, per axis."""
    against_mask: float = 0.2
    """Fraction of that motion that the mask does not share."""
    thermal_drift: float = 1.0
    """Factor on how much the thermal background changes in a night."""
    static_nm: float = 42.0
    slow_nm: float = 11.0
    fast_nm: float = 4.0
    """Quasi-static aberrations ahead of the mask: constant, changing over half an hour, over three minutes."""
    downstream_nm: float = 8.0
    """Aberrations behind the mask, different in the two halves."""
    wind_lobes: float = 0.45
    """Relative strength of the wind-driven halo."""
    wind_position_angle_deg: float = 35.0
    seeing_arcsec: float = 0.75
    tau0_s: float = 0.0045


@dataclass(frozen=True, slots=True, kw_only=True)
class FluxFault:
    """A FLUX file that went wrong: the star faint and out of its place, for a cloud or a lost offset."""

    file: int
    """Which of the sequence's FLUX files, from 0."""
    transmission: float
    """Factor on the light of star and halo."""
    offset_mas: tuple[float, float] = (0.0, 0.0)
    """Along the detector's x and y."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceSpec:
    """One observing block of one target with one setup."""

    star: Star
    start: dt.datetime
    """UTC, first exposure."""
    filter: str = "DB_H23"
    order: str = "FCOOOCFS"
    dit_s: float = 16.0
    ndit: int = 4
    center_ndit: int = 1
    flux_dit_s: float = SHORTEST_DIT_S
    flux_ndit: int = 2
    flux_nd: str = "ND_2.0"
    sky_ndit: int = 2
    gap_s: float = 600.0
    """Idle time after each science file, for the field to turn."""
    dithers: tuple[tuple[int, int], ...] = ((0, 0), (1, 0), (1, 1), (0, 1))
    """(x, y) pixels, cycled over science files; CENTER, FLUX and SKY stand at (0, 0)."""
    continuous_waffle: bool = False
    """All C and no O, spots at half amplitude: the CENTER files are the science."""
    rot_mode: str = "PUPIL"
    """PUPIL or FIELD. In FIELD the angles are right, but the speckles keep still: the pupil is not turned."""
    weather: Weather = field(default_factory=Weather)
    ob_id: int = 2100001
    program: str = "099.C-9999(A)"
    derotator_fault_deg: float = 0.55
    derotator_fault_deg_per_hour: float = 0.30
    """In force before 2016-07-12 only."""
    star_in_sky: bool = True
    """One sky file shows a background star."""
    two_arms: bool = False
    """The IFS takes as many files in the same template (`ifs.irdifs`), which counts those of both arms."""
    tip_tilt_open: bool = False
    """The differential tip-tilt loop is open throughout; how much then moves against the mask is the weather's."""
    cosmics_per_s: float = COSMICS_PER_S
    """Cosmic rays over the whole detector."""
    new_hot_pixels: int = 0
    """Pixels that turned hot after the calibrations that this sequence will get."""
    flux_faults: tuple[FluxFault, ...] = ()
    lost: tuple[int, ...] = ()
    """Files that never came, by their place in the order, from 1: the template still counts them."""

    def __post_init__(self) -> None:
        filter_setup(self.filter)
        if not self.order or set(self.order) - set("FCOSB"):
            raise MisuseError(
                "AP-SIM-002",
                f"order {self.order!r} must be letters of F, C, O, S, B",
                subject=self.star.name,
                remedy="write one letter a file, for instance FCOOOCFS",
            )
        if self.rot_mode not in ("PUPIL", "FIELD"):
            raise MisuseError(
                "AP-SIM-002", f"rot_mode {self.rot_mode!r}", subject=self.star.name, remedy="use PUPIL or FIELD"
            )
        if any(abs(step) > 8 for pair in self.dithers for step in pair):
            raise MisuseError(
                "AP-SIM-002", "a dither beyond 8 pixels", subject=self.star.name, remedy="stay within 8 pixels"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSpec:
    """One template of daytime calibrations: `files` exposures of one kind and setup."""

    kind: str
    """DARK, DARK,BACKGROUND, FLAT,LAMP or LAMP,DISTORT."""
    filter: str
    dit_s: float
    ndit: int = 1
    files: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NightSpec:
    """Everything on disk of one night."""

    sequences: tuple[SequenceSpec, ...]
    calibrations: tuple[CalibrationSpec, ...] | None = None
    """None: what the sequences need (`needed_calibrations`)."""
    calibration_start: dt.datetime | None = None
    """None: 14:10 UTC after the first sequence."""
    compress: bool = False
    """Write `.fits.gz`."""
    distinct_planes: int | None = None
    """Render so many planes of each science setup and dither, then repeat them; None: render all."""
    binning: int = 1
    """Pixels of the files hold so many of the detector's along each side; 1 or 2."""
    whole_numbers: bool = False
    """Science planes as 16-bit integers, with `distinct_planes` only: half the bytes, noise of real size."""

    def __post_init__(self) -> None:
        if self.binning not in BINNINGS:
            raise MisuseError(
                "AP-SIM-002",
                f"binning {self.binning} destroys the optics that the recipes need",
                subject="night",
                remedy=f"use {' or '.join(map(str, BINNINGS))}",
            )


FLAT_DITS_S = (1.0, 3.0)


def needed_calibrations(sequences: tuple[SequenceSpec, ...]) -> tuple[CalibrationSpec, ...]:
    """The calibrations that the association rules of notes/archive.md 5 ask for, in a fixed order.

    Flats at two DITs with the backgrounds of the same DITs, per filter; an instrument background per filter and DIT
    where the filter is thermal; a dark per DIT.
    """
    found: dict[CalibrationSpec, None] = {}
    for one in sequences:
        for dit in FLAT_DITS_S:
            found[CalibrationSpec(kind="DARK,BACKGROUND", filter=one.filter, dit_s=dit)] = None
            found[CalibrationSpec(kind="FLAT,LAMP", filter=one.filter, dit_s=dit)] = None
    for one in sequences:
        dits = [one.dit_s] + ([one.flux_dit_s] if "F" in one.order else [])
        if filter_setup(one.filter).thermal:
            found[CalibrationSpec(kind="DARK,BACKGROUND", filter=one.filter, dit_s=one.dit_s)] = None
        for dit in dits:
            dark = CalibrationSpec(kind="DARK", filter=one.filter, dit_s=dit, ndit=3)
            # A dark knows no filter: one per DIT serves all.
            if not any(other.kind == "DARK" and other.dit_s == dit for other in found):
                found[dark] = None
    return tuple(found)
