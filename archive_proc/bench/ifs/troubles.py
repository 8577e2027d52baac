"""Nights that something is wrong with: what issue 5 calls bad input, and what crashes a classic pipeline.

Each is made from one good night by links to its files, of which some are left out, changed or simulated anew.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from archive_proc.bench.ifs.raw_set import RawFile, RawSet, read_raw_set
from archive_proc.errors import MisuseError
from archive_proc.simulate.ifs import broken
from archive_proc.simulate.ifs.night import simulate_ifs_night
from archive_proc.simulate.ifs.spec import IfsNight, scene_night

SCIENCE = "SIM-UNIFORM"
"""The scene that is judged: all lenslets see a star, two planes."""
Chosen = Callable[[RawSet], Sequence[RawFile]]
Changed = Callable[[RawFile, RawSet, Path], object]
"""(good file, all good files, file to write)."""
A_LENSLET_PX = (15.26, -2.93)
"""From a lenslet to the next one of its row, x and y (notes/ifs 1)."""
DAYS_TOO_OLD = 100
"""Of a calibration that no rule takes any more."""


def plain_night(mode: str) -> IfsNight:
    """The good night: one observation of the evenly lit scene, few planes of calibrations."""
    night = scene_night(mode, ("uniform",))
    return replace(night, observations=(replace(night.observations[0], ndit=2),), lamp_ndit=1, background_ndit=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One kind of bad night."""

    name: str
    says: tuple[str, ...] = ()
    """Codes that the user must be told, each; none: the night must come out right all the same."""
    without: Chosen | None = None
    """Files that are missing."""
    changed: Chosen | None = None
    by: Changed | None = None
    """Files that are changed, and how."""
    night: Callable[[IfsNight], IfsNight] | None = None
    """Or the light of the laser frame is simulated anew, by this spec of the night; its header stays."""
    through_other: str = ""
    """Or that of the changed files is, of this kind of calibration: the header says this prism, the light went through
    the other, a wheel that did not move."""
    aside: str = ""
    """Or it is, of this kind, with all spectra a lenslet aside: a lattice looks the same there."""
    of_star: bool = False
    """Science is of a star and not of the evenly lit scene: that it is named is asked, its spectra are not compared."""
    in_table: bool = False
    """A line of the issue's table, else of its list of bad input."""

    def make(self, good: Path, to: Path, mode: str, seed: int) -> None:
        """Fill `to` with raw files; those that stay are hard links to the good night's."""
        to.mkdir(parents=True)
        files = read_raw_set(good)
        missing = set() if self.without is None else {one.file_id for one in self.without(files)}
        if self.of_star:
            self._make_star(files, to, mode, seed)
            missing |= {one.file_id for one in OBJECTS(files)}
        changed = set() if self.changed is None else {one.file_id for one in self.changed(files)}
        for one in files.files:
            place = to / one.path.name
            if self.night is not None and one in LASERS(files):
                _taken_again(one, place, replace(self.night(plain_night(mode)), calibrations=("wave",)), seed)
            elif one.file_id in changed and self.through_other:
                other = replace(plain_night(_other_mode(one)), calibrations=(self.through_other,), lenslets_of=mode)
                _taken_again(one, place, other, seed)
            elif one.file_id in changed and self.aside:
                aside = replace(plain_night(mode), calibrations=(self.aside,), moved_px=A_LENSLET_PX)
                _taken_again(one, place, aside, seed)
            elif one.file_id in changed and self.by is not None:
                self.by(one, files, place)
            elif one.file_id not in missing:
                os.link(one.path, place)

    def _make_star(self, files: RawSet, to: Path, mode: str, seed: int) -> None:
        night = plain_night(mode)
        star = replace(night.observations[0], scene="star", order="CO", ndit=1, ob_name="SIM-STAR")
        with tempfile.TemporaryDirectory(dir=to.parent) as place:
            simulate_ifs_night(Path(place) / "raw", replace(night, observations=(star,), calibrations=()), seed)
            for one in read_raw_set(Path(place) / "raw").files:
                if self.by is None or one.dpr_type != "OBJECT":
                    shutil.move(one.path, to / one.path.name)
                else:
                    self.by(one, files, to / one.path.name)


def _types(*types: str, tech: str | None = None) -> Chosen:
    return lambda files: files.of_type(*types, tech=tech)


def _darks(short: bool) -> Chosen:
    return lambda files: [one for one in DARKS(files) if (one.dit_s < 5.0) == short]


DARKS = _types("DARK", "DARK,BACKGROUND")
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


def _other_mode(one: RawFile) -> str:
    return "YH" if "YJ" in one.comb else "YJ"


def _claims_other_prism(one: RawFile, files: RawSet, to: Path) -> None:
    broken.claims_prism(one.path, to, _other_mode(one))


def _taken_again(one: RawFile, to: Path, night: IfsNight, seed: int) -> None:
    """The file with the light of the only calibration of a night."""
    with tempfile.TemporaryDirectory(dir=to.parent.parent) as place:
        simulate_ifs_night(Path(place) / "raw", replace(night, observations=()), seed)
        (other,) = (Path(place) / "raw").iterdir()
        broken.light_of(one.path, other, to)


def _quadrant(one: RawFile, files: RawSet, to: Path) -> None:
    broken.dead_quadrant(one.path, to, 1)


def _zeros(one: RawFile, files: RawSet, to: Path) -> None:
    broken.planes_of_zeros(one.path, to)


def _too_old(one: RawFile, files: RawSet, to: Path) -> None:
    broken.taken_earlier(one.path, to, DAYS_TOO_OLD)


TROUBLES: tuple[Trouble, ...] = (
    Trouble(
        name="one laser missing",
        says=("AP-IFS-031",),
        night=lambda night: broken.night_without_lasers(night, "CBL6"),
        in_table=True,
    ),
    Trouble(
        name="faint lamp", says=("AP-IFS-011", "AP-IFS-062"), changed=_white_lamps, by=_scaled(0.03), in_table=True
    ),
    Trouble(
        name="5 % of the detector dead",
        says=("AP-QCL-002",),
        changed=_every,
        by=lambda one, files, to: broken.dead_pixels(one.path, to, 0.05),
        in_table=True,
    ),
    Trouble(name="no detector flat", says=("AP-CAL-009",), without=DETECTOR_FLATS),
    Trouble(name="no lenslet flat", says=("AP-CAL-008",), without=LENSLET_FLAT),
    Trouble(name="no spectra positions", without=SPECPOS),
    Trouble(name="no laser frame", says=("AP-CAL-006",), without=LASERS),
    Trouble(name="no laser frame within 90 days", says=("AP-CAL-006",), changed=LASERS, by=_too_old),
    Trouble(name="no dark", says=("AP-CAL-001", "AP-CAL-002"), without=DARKS),
    Trouble(name="no dark of the science DIT", says=("AP-CAL-001",), without=_darks(short=False)),
    Trouble(name="no dark of the lamps' DIT", says=("AP-CAL-002",), without=_darks(short=True)),
    Trouble(name="faint darks", says=("AP-IFS-004",), changed=DARKS, by=_scaled(0.03)),
    Trouble(name="faint detector flats", says=("AP-QCL-002",), changed=DETECTOR_FLATS, by=_scaled(0.03)),
    Trouble(name="faint lenslet flat", says=("AP-IFS-062",), changed=LENSLET_FLAT, by=_scaled(0.03)),
    Trouble(name="faint spectra positions", says=("AP-IFS-011",), changed=SPECPOS, by=_scaled(0.03)),
    Trouble(name="faint lasers", says=("AP-IFS-040",), changed=LASERS, by=_scaled(0.03)),
    Trouble(name="saturated darks", says=("AP-IFS-004",), changed=DARKS, by=_scaled(1e6)),
    Trouble(name="saturated detector flats", says=("AP-IFS-008",), changed=DETECTOR_FLATS, by=_scaled(60.0)),
    Trouble(name="saturated lenslet flat", says=("AP-IFS-062",), changed=LENSLET_FLAT, by=_scaled(60.0)),
    Trouble(name="saturated spectra positions", says=("AP-IFS-012",), changed=SPECPOS, by=_scaled(60.0)),
    Trouble(name="saturated lasers", says=("AP-IFS-032",), changed=LASERS, by=_scaled(60.0)),
    Trouble(name="lasers off", says=("AP-IFS-030",), night=broken.night_without_lasers),
    Trouble(
        name="detector flats of the other prism", says=("AP-CAL-009",), changed=DETECTOR_FLATS, by=_claims_other_prism
    ),
    Trouble(name="lenslet flat of the other prism", says=("AP-CAL-008",), changed=LENSLET_FLAT, by=_claims_other_prism),
    Trouble(name="spectra positions of the other prism", says=("AP-CAL-009",), changed=SPECPOS, by=_claims_other_prism),
    Trouble(name="laser frame of the other prism", says=("AP-CAL-006",), changed=LASERS, by=_claims_other_prism),
    Trouble(
        name="lenslet flat through the other prism",
        says=("AP-IFS-071",),
        changed=LENSLET_FLAT,
        through_other="ifu_flat",
    ),
    Trouble(name="lenslet flat a lenslet aside", says=("AP-IFS-072",), changed=LENSLET_FLAT, aside="ifu_flat"),
    Trouble(
        name="spectra positions through the other prism", says=("AP-IFS-033",), changed=SPECPOS, through_other="specpos"
    ),
    Trouble(name="lasers through the other prism", says=("AP-IFS-032",), changed=LASERS, through_other="wave"),
    Trouble(
        name="spectra positions typed as flat",
        says=("AP-IFS-073",),
        changed=SPECPOS,
        by=lambda one, files, to: broken.mislabelled(one.path, to, "FLAT,LAMP"),
    ),
    Trouble(name="science with the lamp on", says=("AP-IFS-070",), of_star=True, by=_lamp_on),
    Trouble(name="darks with the lamp on", says=("AP-IFS-004",), changed=DARKS, by=_lamp_on),
    Trouble(
        name="planes of zeros in science",
        says=("AP-IFS-069",),
        changed=OBJECTS,
        by=lambda one, files, to: broken.planes_of_zeros(one.path, to, 0),
    ),
    Trouble(name="all of science zeros", says=("AP-IFS-069",), changed=OBJECTS, by=_zeros),
    Trouble(name="lasers all zeros", says=("AP-IFS-030",), changed=LASERS, by=_zeros),
    Trouble(name="lenslet flat all zeros", says=("AP-IFS-069",), changed=LENSLET_FLAT, by=_zeros),
    Trouble(name="dead quadrant in science", says=("AP-IFS-065",), changed=OBJECTS, by=_quadrant),
    Trouble(name="dead quadrant in lasers", says=("AP-IFS-034",), changed=LASERS, by=_quadrant),
    Trouble(name="dead quadrant in lenslet flat", says=("AP-IFS-063",), changed=LENSLET_FLAT, by=_quadrant),
    Trouble(name="dead quadrant in every file", says=("AP-IFS-009",), changed=_every, by=_quadrant),
)
"""Those of the table first, then bad input: missing, faint, saturated, of the other prism, wrongly typed, broken."""


def chosen_troubles(which: str) -> tuple[Trouble, ...]:
    """`none`, those of the issue's `table`, `all`, or names with commas.

    Raises MisuseError AP-CLI-007 naming those there are.
    """
    if which in ("none", "table", "all"):
        return tuple(one for one in TROUBLES if which == "all" or (which == "table" and one.in_table))
    wanted = [one.strip() for one in which.split(",") if one.strip()]
    unknown = sorted(set(wanted) - {one.name for one in TROUBLES})
    if unknown or not wanted:
        raise MisuseError(
            "AP-CLI-007",
            "no such bad night",
            subject=f"--bad-nights {unknown[0] if unknown else which!r}",
            remedy=f"use none, table, all, or some of: {', '.join(one.name for one in TROUBLES)}",
        )
    return tuple(one for one in TROUBLES if one.name in wanted)
