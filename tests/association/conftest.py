"""A night of header facts, built frame by frame."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from archive_proc.association.associate import Associations, associate
from archive_proc.association.classify import classify
from archive_proc.association.group import group
from archive_proc.association.observe import observations
from archive_proc.instruments.tables import Tables, load_tables
from archive_proc.model.decisions import CalibrationDecisions
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId, GroupId
from archive_proc.model.observations import Association, ClassifiedFrame, ExposureGroup, Issue, Observation

MJD_ZERO = dt.datetime(1858, 11, 17)
GENERIC_OB = 200313600
EVENING = dt.datetime(2016, 9, 15, 23, 0, 0)

Facts = object


class Frames:
    """Makes raw frames: kinds of frames with the setup they really have; anything can be overridden."""

    def make(self, when: dt.datetime, dpr_type: str, **facts: Facts) -> RawFrame:
        days = (when - MJD_ZERO) / dt.timedelta(days=1)
        dit = facts.get("dit_s", 16.0)
        values: dict[str, object] = {
            "file_id": FileId(f"SPHER.{when.isoformat(timespec='milliseconds')}"),
            "content_id": f"{abs(hash((when, dpr_type))):064x}"[:64],
            "uri": f"raw/{when.isoformat()}.fits",
            "arm": Arm.IRDIS,
            "dpr_catg": "CALIB",
            "dpr_type": dpr_type,
            "dpr_tech": "IMAGE",
            "date_obs": when,
            "mjd_obs": days,
            "mjd_end": days + 32 / 86400,
            "night": (when - dt.timedelta(hours=16)).date(),
            "period_date": 97,
            "dit_s": dit,
            "dit_ms": None if dit is None else round(1000 * float(str(dit))),
            "ndit": 2,
            "naxis1": 2048,
            "naxis2": 1024,
            "naxis3": 2,
            "inst_filter": "DB_H23",
            "nd_filter": "OPEN",
            "ob_id": GENERIC_OB,
            "prog_id": "60.A-9255(A)",
            "tpl_start": when - dt.timedelta(seconds=20),
        }
        if facts.get("arm") is Arm.IFS:
            values |= {"ifs_comb": "OBS_YJ", "dpr_tech": "IFU", "inst_filter": "BB_H", "naxis2": 2048}
        return RawFrame(**(values | facts))  # type: ignore[arg-type]  # values are the dataclass's own, by name

    def star(self, when: dt.datetime, dpr_type: str, **facts: Facts) -> RawFrame:
        """A frame of a science sequence on beta Pictoris."""
        tech = "IFU" if facts.get("arm") is Arm.IFS else "IMAGE,DUAL,CORONOGRAPHY"
        given: dict[str, object] = {
            "dpr_catg": "SCIENCE",
            "dpr_tech": tech,
            "coro_ir": "N_ALC_YJH_S",
            "rot_mode": "PUPIL",
            "object_raw": "bet Pic",
            "ra_deg": 86.8212,
            "dec_deg": -51.0665,
            "ob_id": 1158220,
            "ob_start": EVENING - dt.timedelta(minutes=9),
            "tpl_start": EVENING - dt.timedelta(minutes=1),
            "tpl_id": "SPHERE_irdis_dbi_obs",
            "prog_id": "097.C-0865(A)",
        }
        return self.make(when, dpr_type, **(given | facts))

    def sequence(self, start: dt.datetime = EVENING, kinds: str = "FCOOOCFS", **facts: Facts) -> list[RawFrame]:
        """A template: one letter a file, two minutes apart."""
        words = {"F": "OBJECT,FLUX", "C": "OBJECT,CENTER", "O": "OBJECT", "S": "SKY"}
        flux = {"dit_s": 0.837464, "nd_filter": "ND_2.0"}
        frames = []
        for at, kind in enumerate(kinds):
            own: dict[str, object] = {"tpl_expno": at + 1, "tpl_nexp": len(kinds)} | (flux if kind == "F" else {})
            frames.append(self.star(start + dt.timedelta(minutes=2 * at), words[kind], **(own | facts)))
        return frames

    def morning(self, after: dt.timedelta = dt.timedelta(hours=12), **facts: Facts) -> list[RawFrame]:
        """Day calibrations: darks of two DITs, flats of two DITs with their darks, an internal background."""
        start = EVENING + after
        kinds: list[tuple[str, dict[str, object]]] = [
            ("DARK", {"dit_s": 16.0}),
            ("DARK", {"dit_s": 0.837464}),
            ("DARK", {"dit_s": 1.0}),
            ("DARK", {"dit_s": 3.0}),
            ("FLAT,LAMP", {"dit_s": 1.0}),
            ("FLAT,LAMP", {"dit_s": 3.0}),
            ("DARK,BACKGROUND", {"dit_s": 16.0}),
        ]
        return [
            self.make(start + dt.timedelta(minutes=3 * at), name, **(own | facts))
            for at, (name, own) in enumerate(kinds)
        ]


@dataclass(frozen=True)
class Understood:
    """What the rules make of some frames."""

    frames: tuple[RawFrame, ...]
    classified: tuple[ClassifiedFrame, ...]
    groups: tuple[ExposureGroup, ...]
    observations: tuple[Observation, ...]
    found: Associations
    issues: tuple[Issue, ...]

    def codes(self) -> set[str]:
        return {one.code for one in self.issues}

    def group_of(self, frame: RawFrame) -> ExposureGroup:
        return next(one for one in self.groups if frame.file_id in one.file_ids)

    def serving(self, frame: RawFrame, role: str) -> list[Association]:
        wanted = self.group_of(frame).group_id
        return [
            one
            for one in self.found.chosen
            if one.consumer_group_id == wanted and one.role == role and frame.file_id in one.file_ids
        ]

    def chosen(self, frame: RawFrame, role: str) -> list[str]:
        """Frame types of the groups that serve a frame in a role."""
        kinds = {one.group_id: one.frame_type for one in self.groups}
        return [kinds[one.calib_group_id] for one in self.serving(frame, role)]


@pytest.fixture(scope="session")
def tables() -> Tables:
    return load_tables()


@pytest.fixture(scope="session")
def make() -> Frames:
    return Frames()


Understand = Callable[..., Understood]


@pytest.fixture(scope="session")
def understand(tables: Tables) -> Understand:
    def all_steps(
        frames: Sequence[RawFrame],
        decisions: CalibrationDecisions | None = None,
        refused: frozenset[GroupId] = frozenset(),
        tables: Tables = tables,
    ) -> Understood:
        quarantined = decisions.quarantined if decisions else frozenset()
        classified, first = classify(frames, tables)
        groups = group(classified, tables, quarantined)
        found, second = observations(classified, groups, tables, quarantined)
        chosen = associate(groups, found, frames, tables, decisions, refused)
        issues = (*first, *second, *chosen.issues)
        return Understood(tuple(frames), classified, groups, found, chosen, issues)

    return all_steps
