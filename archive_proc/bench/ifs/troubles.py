"""Nights that something is wrong with: what issue 5 calls bad input, and what crashes a classic pipeline.

Each is made from one good night by links to its files, of which some are left out, changed or simulated anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from archive_proc.bench.ifs.raw_set import RawFile, RawSet, read_raw_set
from archive_proc.simulate.ifs import broken
from archive_proc.simulate.ifs.night import simulate_ifs_night
from archive_proc.simulate.ifs.spec import IfsNight, scene_night

SCIENCE = "SIM-UNIFORM"
"""The scene that is judged: all lenslets see a star, two planes."""
Chosen = Callable[[RawSet], Sequence[RawFile]]
Changed = Callable[[RawFile, RawSet, Path], object]
"""(good file, all good files, file to write)."""


def plain_night(mode: str) -> IfsNight:
    """The good night: one observation of the evenly lit scene, few planes of calibrations."""
    night = scene_night(mode, ("uniform",))
    return replace(night, observations=(replace(night.observations[0], ndit=2),), lamp_ndit=1, background_ndit=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One kind of bad night."""

    name: str
    without: Chosen | None = None
    """Files that are missing."""
    changed: Chosen | None = None
    by: Changed | None = None
    """Files that are changed, and how."""
    night: Callable[[IfsNight], IfsNight] | None = None
    """Or the night is simulated anew from this spec."""
    in_table: bool = False
    """A line of the issue's table, else of its list of bad input."""

    def make(self, good: Path, to: Path, mode: str, seed: int) -> None:
        """Fill `to` with raw files; those that stay are hard links to the good night's."""
        if self.night is not None:
            simulate_ifs_night(to, self.night(plain_night(mode)), seed)
            return
        to.mkdir(parents=True)
        files = read_raw_set(good)
        missing = set() if self.without is None else {one.file_id for one in self.without(files)}
        changed = set() if self.changed is None else {one.file_id for one in self.changed(files)}
        for one in files.files:
            place = to / one.path.name
            if one.file_id in changed and self.by is not None:
                self.by(one, files, place)
            elif one.file_id not in missing:
                os.link(one.path, place)


def _types(*types: str, tech: str | None = None) -> Chosen:
    return lambda files: files.of_type(*types, tech=tech)


def _darks(short: bool) -> Chosen:
    def chosen(files: RawSet) -> Sequence[RawFile]:
        return [one for one in files.of_type("DARK", "DARK,BACKGROUND") if (one.dit_s < 5.0) == short]

    return chosen


DETECTOR_FLATS = _types("FLAT,LAMP", tech="IMAGE")
LENSLET_FLAT = _types("FLAT,LAMP", tech="IFU")
SPECPOS = _types("SPECPOS,LAMP")
LASERS = _types("WAVE,LAMP")
OBJECTS = _types("OBJECT")


def _every(files: RawSet) -> Sequence[RawFile]:
    return files.files


def _white_lamps(files: RawSet) -> Sequence[RawFile]:
    return [*SPECPOS(files), *LENSLET_FLAT(files)]


def _scaled(factor: float) -> Changed:
    return lambda one, files, to: broken.scaled(one.path, to, factor)


def _lamp_on(one: RawFile, files: RawSet, to: Path) -> None:
    broken.lamp_left_on(one.path, LENSLET_FLAT(files)[0].path, to)


TROUBLES: tuple[Trouble, ...] = (
    Trouble(name="one laser missing", night=lambda night: broken.night_without_lasers(night, "CBL6"), in_table=True),
    Trouble(name="faint lamp", changed=_white_lamps, by=_scaled(0.03), in_table=True),
    Trouble(
        name="5 % of the detector dead",
        changed=_every,
        by=lambda one, files, to: broken.dead_pixels(one.path, to, 0.05),
        in_table=True,
    ),
    Trouble(name="no detector flat", without=DETECTOR_FLATS),
    Trouble(name="no lenslet flat", without=LENSLET_FLAT),
    Trouble(name="no spectra positions", without=SPECPOS),
    Trouble(name="no laser frame", without=LASERS),
    Trouble(name="no dark of the science DIT", without=_darks(short=False)),
    Trouble(name="no dark of the lamps' DIT", without=_darks(short=True)),
    Trouble(name="faint lenslet flat", changed=LENSLET_FLAT, by=_scaled(0.03)),
    Trouble(name="faint spectra positions", changed=SPECPOS, by=_scaled(0.03)),
    Trouble(name="faint lasers", changed=LASERS, by=_scaled(0.03)),
    Trouble(name="saturated lenslet flat", changed=LENSLET_FLAT, by=_scaled(60.0)),
    Trouble(name="saturated spectra positions", changed=SPECPOS, by=_scaled(60.0)),
    Trouble(name="saturated lasers", changed=LASERS, by=_scaled(60.0)),
    Trouble(name="saturated detector flats", changed=DETECTOR_FLATS, by=_scaled(60.0)),
    Trouble(name="lasers off", night=broken.night_without_lasers),
    Trouble(
        name="laser frame of the other prism",
        changed=LASERS,
        by=lambda one, files, to: broken.claims_prism(one.path, to, "YH" if "YJ" in one.comb else "YJ"),
    ),
    Trouble(
        name="spectra positions typed as flat",
        changed=SPECPOS,
        by=lambda one, files, to: broken.mislabelled(one.path, to, "FLAT,LAMP"),
    ),
    Trouble(name="science with the lamp on", changed=OBJECTS, by=_lamp_on),
    Trouble(
        name="planes of zeros in science",
        changed=OBJECTS,
        by=lambda one, files, to: broken.planes_of_zeros(one.path, to, 0),
    ),
    Trouble(
        name="lasers all zeros",
        changed=LASERS,
        by=lambda one, files, to: broken.planes_of_zeros(one.path, to),
    ),
    Trouble(
        name="dead quadrant in science",
        changed=OBJECTS,
        by=lambda one, files, to: broken.dead_quadrant(one.path, to, 1),
    ),
    Trouble(
        name="dead quadrant in lasers",
        changed=LASERS,
        by=lambda one, files, to: broken.dead_quadrant(one.path, to, 1),
    ),
)
