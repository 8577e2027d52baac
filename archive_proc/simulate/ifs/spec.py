"""What is to be simulated with the IFS: a night of scenes and their calibrations, as values."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from archive_proc.errors import MisuseError
from archive_proc.simulate.ifs.facts import READ_S, mode_named

SCENES = ("star", "disc", "uniform", "tdwarf", "comb", "empty")
"""star: behind the coronagraph, with companions; disc: the same with a ring of dust; uniform: all lenslets see a star;
tdwarf: all see a methane dwarf; comb: 2 % of the lenslets see the lamp; empty: no light."""

CALIBRATIONS = ("dark", "background", "detector_flat", "ifu_flat", "specpos", "wave")


@dataclass(frozen=True, slots=True)
class IfsCompanion:
    """A point source beside the star."""

    separation_mas: float
    position_angle_deg: float
    """On the sky, north through east."""
    contrast: float
    """Photons over the star's, mean over 1.0-1.3 um."""
    kind: str
    """T or L (`spectra`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IfsTarget:
    """The star of one observation."""

    name: str
    ra_deg: float
    dec_deg: float
    """J2000."""
    pm_ra_mas: float = 0.0
    pm_dec_mas: float = 0.0
    kelvin: float = 7500.0
    electrons_s: float = 5.0e7
    """Unocculted, no ND, all wavelengths and lenslets together."""
    companions: tuple[IfsCompanion, ...] = (
        IfsCompanion(350.0, 115.0, 3e-4, "T"),
        IfsCompanion(560.0, 247.0, 3e-3, "L"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IfsObservation:
    """One observing block: one scene.

    Letters of `order`, one a file: F star off the mask, C waffle, O science, S sky.
    """

    scene: str
    target: IfsTarget
    order: str = "FCOO"
    dit_s: float = 32.0
    ndit: int = 2
    flux_dit_s: float = READ_S
    flux_ndit: int = 2
    center_ndit: int = 1
    sky_ndit: int = 2
    flux_nd: str = "ND_1.0"
    gap_s: float = 300.0
    """Idle time after each O file of a star, for the field to turn."""
    ob_id: int = 2200001
    ob_name: str = ""
    """Empty: target and mode."""
    program: str = "099.C-9999(B)"
    start: dt.datetime | None = None
    """UTC, of the first exposure; None: after the observation before."""

    def __post_init__(self) -> None:
        if self.scene not in SCENES:
            raise MisuseError(
                "AP-SIM-002", f"scene {self.scene!r}", subject=self.target.name, remedy=f"use {', '.join(SCENES)}"
            )
        if not self.order or set(self.order) - set("FCOS"):
            raise MisuseError(
                "AP-SIM-002", f"order {self.order!r}", subject=self.target.name, remedy="write letters of F, C, O, S"
            )
        if self.scene not in ("star", "disc") and set(self.order) != {"O"}:
            raise MisuseError(
                "AP-SIM-002", f"scene {self.scene} has O files only", subject=self.target.name, remedy="order O"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class IfsNight:
    """Everything on disk of one night in one mode: calibrations in the evening before, then science."""

    mode: str
    observations: tuple[IfsObservation, ...]
    start: dt.datetime = dt.datetime(2017, 5, 15, 4, 49, 0)
    """UTC, first exposure of science; calibrations begin 9.6 h earlier."""
    lamp_ndit: int = 2
    """NDIT of lenslet flat, spectra positions, lasers."""
    background_ndit: int = 4
    flat_dits_s: tuple[float, float] = (2.0, 10.0)
    calibrations: tuple[str, ...] = CALIBRATIONS
    """Kinds that were taken; what is left out is missing."""
    dits_without_background_s: tuple[float, ...] = ()
    lasers_off: tuple[str, ...] = ()
    """Names (CBL1) of lasers that do not burn."""
    lasers_claimed: bool = True
    """Whether the header says that those burn."""
    lamp_level: float = 1.0
    """Factor on the lamps' light: 0.02 is faint, 40 saturates."""
    lenslets_of: str = ""
    """Mode that the lenslets' throughputs are drawn in, empty: the night's own. For a frame of another mode that the
    instrument of a night takes: its lenslets stay."""
    moved_px: tuple[float, float] = (0.0, 0.0)
    """By which all spectra stand off their places of this seed, x and y."""
    field_pitches: float | None = None
    """Only lenslets so near to the field's centre exist: a night of a few seconds for tests."""
    compress: bool = False
    """Write `.fits.gz`."""

    def __post_init__(self) -> None:
        mode = mode_named(self.mode)
        unknown = [one for one in self.calibrations if one not in CALIBRATIONS]
        unknown += [one for one in self.lasers_off if one not in {laser.name for laser in mode.lasers}]
        if unknown:
            raise MisuseError(
                "AP-SIM-002",
                f"unknown calibration or laser {unknown[0]!r}",
                subject=self.mode,
                remedy=f"use {', '.join(CALIBRATIONS)}; {', '.join(laser.name for laser in mode.lasers)}",
            )


def scene_night(mode: str, scenes: tuple[str, ...] = ("star", "uniform", "comb")) -> IfsNight:
    """A night with these scenes, each an observing block. Few planes: 8 of science for the default."""
    observations = []
    for number, scene in enumerate(scenes, start=1):
        with_star = scene in ("star", "disc")
        observations.append(
            IfsObservation(
                scene=scene,
                target=IfsTarget(name=f"SIM-{scene.upper()}", ra_deg=226.4, dec_deg=-40.0),
                order="FCOO" if with_star else "O",
                ndit=1 if scene == "comb" else (2 if with_star else 3),
                ob_id=2200000 + number,
            )
        )
    return IfsNight(mode=mode, observations=tuple(observations))
