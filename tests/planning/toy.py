"""A small instrument with made-up recipes: masters, tracks, science and centred cubes, and nights of any size."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId, GroupId, ObsId, TargetId, sha256_hex
from archive_proc.model.observations import (
    Association,
    ClassifiedFrame,
    ExposureGroup,
    Issue,
    Observation,
    ObservationFile,
    Target,
)
from archive_proc.planning.rulebook import Rulebook
from archive_proc.planning.universe import Universe
from archive_proc.recipes.recipe import (
    Cost,
    InputRole,
    ProductMain,
    RawMain,
    Recipe,
    RecipeInputs,
    RecipeResult,
    TableRead,
)

EPOCH_MJD = 57290.0


@dataclass(frozen=True)
class NoParameters:
    pass


@dataclass(frozen=True)
class TrackParameters:
    radius: float = 12.0
    terms: tuple[float, ...] = (1.0, 2.0)
    method: str = "spots"
    order: int = 2
    robust: bool = True


def close(inputs: RecipeInputs, shared: object) -> RecipeResult:
    return RecipeResult({})


def recipe(name: str, main: RawMain | ProductMain, outputs: Sequence[str], **more: object) -> Recipe:
    values: dict[str, object] = {
        "name": name,
        "version": "1.0.0",
        "arm": Arm.IRDIS,
        "subject_kind": "group",
        "main": main,
        "inputs": (),
        "outputs": tuple(outputs),
        "parameters": NoParameters,
        "tables": (TableRead("irdis.detector"),),
        "passes": (),
        "close": close,
        "cost": Cost(2.0, 0.5, 1.0, 1_000_000, 8_000_000),
    }
    return Recipe(**{**values, **more})  # type: ignore[arg-type]


DARK = recipe("toy_dark", RawMain(("DARK",)), ["dark"])
FLAT = recipe("toy_flat", RawMain(("FLAT",)), ["detector_flat", "bad_pixels"], inputs=(InputRole("dark", ("dark",)),))
SKY = recipe(
    "toy_sky",
    RawMain(("SKY",)),
    ["sky_basis"],
    inputs=(InputRole("flat", ("detector_flat",)), InputRole("dark", ("dark",), required=False)),
)
FLAT_ROLES = (
    InputRole("flat", ("detector_flat",)),
    InputRole("bad_pixels", ("bad_pixels",), association_roles=("flat",)),
)
BACKGROUND = InputRole("background", ("sky_basis", "dark"), required=False)
TRACKS = recipe(
    "toy_tracks",
    RawMain(roles=("OBJECT", "CENTER", "FLUX")),
    ["center", "photometry"],
    subject_kind="observation",
    inputs=(*FLAT_ROLES, BACKGROUND),
    parameters=TrackParameters,
    tables=(TableRead("irdis.filters", by="inst_filter"),),
    modes=("dual_band",),
)
SCIENCE = recipe(
    "toy_science",
    RawMain(roles=("SCIENCE",)),
    ["science_cube"],
    subject_kind="observation",
    inputs=(*FLAT_ROLES, BACKGROUND, InputRole("center", ("center",), source="subject")),
    modes=("dual_band",),
)
CENTERED = recipe(
    "toy_centered",
    ProductMain("science_cube"),
    ["centered_cube"],
    subject_kind="observation",
    inputs=(
        InputRole("center", ("center",), source="subject"),
        InputRole("photometry", ("photometry",), source="subject"),
    ),
    tables=(TableRead("irdis.filters", by="inst_filter"),),
    modes=("dual_band",),
)
COOKBOOK = (DARK, FLAT, SKY, TRACKS, SCIENCE, CENTERED)


def table_digest(reads: Sequence[TableRead], frame: RawFrame | None) -> str:
    return sha256_hex([[one.table, getattr(frame, one.by) if one.by and frame else None] for one in reads])


RULEBOOK = Rulebook(
    cookbook=COOKBOOK,
    finals={Arm.IRDIS: ("centered_cube",)},
    table_digest=table_digest,
    ruleset_version="toy-1",
)


@dataclass
class Night:
    """Raw frames of one night with their groups, observations and associations; grows by calls."""

    number: int = 0
    classified: list[ClassifiedFrame] = field(default_factory=list)
    groups: list[ExposureGroup] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    associations: list[Association] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    clock: float = 0.0

    @property
    def date(self) -> dt.date:
        return dt.date(2015, 9, 24) + dt.timedelta(days=self.number)

    def frame(self, frame_type: str, role: str, planes: int = 4, **facts: object) -> ClassifiedFrame:
        self.clock += 1.0 / 1440.0
        mjd = EPOCH_MJD + self.number + self.clock
        moment = dt.datetime(1858, 11, 17) + dt.timedelta(days=mjd)
        file_id = FileId(f"SPHER.{moment.isoformat(timespec='milliseconds')}")
        values: dict[str, object] = {
            "file_id": file_id,
            "content_id": sha256_hex(file_id),
            "uri": f"raw/{file_id}.fits",
            "arm": Arm.IRDIS,
            "date_obs": moment,
            "mjd_obs": mjd,
            "mjd_end": mjd + 0.5 / 1440.0,
            "night": self.date,
            "period_date": 95,
            "naxis1": 2048,
            "naxis2": 1024,
            "naxis3": planes,
            "declared_bytes": 8_388_608 * planes,
            "inst_filter": "DB_K12",
        }
        one = ClassifiedFrame(RawFrame(**{**values, **facts}), frame_type, role)  # type: ignore[arg-type]
        self.classified.append(one)
        return one

    def group(self, frame_type: str, role: str = "CALIB", n: int = 2, **facts: int) -> ExposureGroup:
        some = [self.frame(frame_type, role, **facts) for _ in range(n)]
        one = ExposureGroup(
            GroupId(sha256_hex(["group", some[0].frame.file_id])[:32]),
            Arm.IRDIS,
            frame_type,
            role,
            (("dit_ms", some[0].frame.dit_ms),),
            tuple(each.frame.file_id for each in some),
            None,
            self.date,
            95,
            some[0].frame.mjd_obs,
            some[-1].frame.mjd_end,
        )
        self.groups.append(one)
        return one

    def associate(self, consumer: ExposureGroup, role: str, calibration: ExposureGroup, **more: object) -> None:
        values: dict[str, object] = {
            "consumer_group_id": consumer.group_id,
            "selector": "",
            "file_ids": consumer.file_ids,
            "role": role,
            "calib_group_id": calibration.group_id,
            "rule_id": f"toy.{role}",
            "ruleset_version": "toy-1",
            "level": 0,
            "dt_days": calibration.mjd_mid - consumer.mjd_mid,
            "method": "match",
            "n_candidates": 1,
        }
        self.associations.append(Association(**{**values, **more}))  # type: ignore[arg-type]

    def observe(self, *groups: ExposureGroup, science: str = "OBJECT", mode: str = "dual_band") -> Observation:
        files = [
            ObservationFile(one, group.role, group.group_id, group.role == science)
            for group in groups
            for one in group.file_ids
        ]
        files.sort(key=lambda one: one.file_id)
        name = f"star {self.number}.{len(self.observations)}"
        one = Observation(
            obs_id=ObsId(sha256_hex(["obs", files[0].file_id])[:32]),
            arm=Arm.IRDIS,
            target_id=TargetId("t1"),
            object_raw=name,
            ob_id=1,
            ob_start=None,
            tpl_start=None,
            prog_id=None,
            night=self.date,
            period_date=95,
            setup=(),
            mode=mode,
            reduced=mode == "dual_band",
            files=tuple(files),
            mjd_start=groups[0].mjd_start,
            mjd_end=groups[-1].mjd_end,
            inst_filter="DB_K12",
            coro="N_ALC_YJH_S",
            rot_mode="PUPIL",
            dit_s=16.0,
            dit_ms=16000,
            ndit=4,
            waffle=science == "CENTER",
            rotation_deg=None,
            seeing=None,
            tau0_s=None,
            ao_open_fraction=None,
            complete=True,
            public_at=None,
            paired_obs_id=None,
        )
        self.observations.append(one)
        return one

    def issue(self, group: ExposureGroup, code: str, message: str, severity: str = "blocking") -> None:
        self.issues.append(
            Issue(
                code=code,
                severity=severity,
                subject_kind="group",
                subject_id=group.group_id,
                message=message,
                remedy="add frames",
                group_id=group.group_id,
            )
        )


def plain_night(number: int = 0, n_observations: int = 1, n_object: int = 3) -> Night:
    """Observations with OBJECT, CENTER, FLUX and SKY, one flat and darks of two DITs for all of them."""
    night = Night(number)
    made = []
    for _ in range(n_observations):
        flux = night.group("FLUX", "FLUX", 1, dit_ms=837)
        center = night.group("CENTER", "CENTER", 1, dit_ms=16000)
        objects = night.group("OBJECT", "OBJECT", n_object, dit_ms=16000)
        sky = night.group("SKY", "SKY", 2, dit_ms=16000)
        night.observe(flux, center, objects, sky)
        made.append((flux, center, objects, sky))
    short, long, lamp = night.group("DARK", dit_ms=837), night.group("DARK", dit_ms=16000), night.group("FLAT", n=4)
    night.associate(lamp, "dark", short)
    for flux, center, objects, sky in made:
        for one in (flux, center, objects, sky):
            night.associate(one, "flat", lamp)
        night.associate(sky, "dark", long)
        night.associate(flux, "background", short)
        night.associate(center, "background", sky)
        night.associate(objects, "background", sky)
        night.associate(objects, "center", center)
        night.associate(objects, "flux", flux)
    return night


def universe(*nights: Night) -> Universe:
    return Universe.of(
        classified=[one for night in nights for one in night.classified],
        groups=[one for night in nights for one in night.groups],
        observations=[one for night in nights for one in night.observations],
        associations=[one for night in nights for one in night.associations],
        targets=[Target(TargetId("t1"), "51 Eri", 69.4, -2.47)],
        issues=[one for night in nights for one in night.issues],
    )


def with_recipe(rulebook: Rulebook, old: Recipe, **changes: object) -> Rulebook:
    """The rulebook with one recipe changed."""
    new = replace(old, **changes)  # type: ignore[arg-type]
    return replace(rulebook, cookbook=tuple(new if one is old else one for one in rulebook.cookbook))
