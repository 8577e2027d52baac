"""A small archive written by hand: frames, an observation, plans, journals, sealed processes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from archive_proc.flow.understanding import Understanding
from archive_proc.model.events import ProcessChanged, ProcessFailed, RunEnded, RunStarted
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId, GroupId, ObsId, PlanId, ProcessId, RunId, TargetId, digest32, product_id
from archive_proc.model.observations import (
    Association,
    ClassifiedFrame,
    ExposureGroup,
    Issue,
    Observation,
    ObservationFile,
    Refusal,
    RefusalCount,
    Target,
)
from archive_proc.model.phases import PhaseCost
from archive_proc.model.processes import (
    Cause,
    Plan,
    PlannedProcess,
    Prediction,
    Process,
    ProcessInput,
    ProductRecord,
    QcValue,
    Reason,
    Remark,
    State,
    Subject,
)
from archive_proc.model.records import Environment, ProcessRecord
from archive_proc.planning.keys import ingredients, plan_id, process_id
from archive_proc.planning.text import plan_to_json
from archive_proc.storage.journal import JournalWriter
from archive_proc.storage.layout import Layout
from archive_proc.storage.plane_figures import FIGURES_NAME, write_figures
from archive_proc.storage.records import write_record
from archive_proc.storage.seal import commit, make_seal

NIGHT = dt.date(2015, 9, 24)
PERIOD = 95
MJD = 57290.1
OBS = ObsId(digest32("obs", 1))
DARKS, SKIES, SCIENCE = (GroupId(digest32("group", one)) for one in ("dark", "sky", "science"))
STAR = TargetId(digest32("target", 1))
TABLES_DIGEST = "0" * 64


def frame(seconds: int, **given: object) -> RawFrame:
    """A raw frame so many seconds after the night's first."""
    start = dt.datetime(2015, 9, 25, 2, 24) + dt.timedelta(seconds=seconds)
    name = FileId(f"SPHER.{start.isoformat()}.000")
    facts: dict[str, object] = {
        "file_id": name,
        "content_id": digest32("content", seconds) * 2,
        "uri": f"raw/{name}.fits",
        "arm": Arm.IRDIS,
        "date_obs": start,
        "mjd_obs": MJD + seconds / 86400,
        "mjd_end": MJD + (seconds + 30) / 86400,
        "night": NIGHT,
        "period_date": PERIOD,
        "dpr_type": "OBJECT",
        "dit_s": 8.0,
        "naxis1": 2048,
        "naxis2": 1024,
        "naxis3": 4,
        "header_sha256": "ab" * 32,
    }
    return RawFrame(**{**facts, **given})  # type: ignore[arg-type]  # a test's shorthand


FRAMES = (
    frame(0, dpr_type="DARK"),
    frame(60, dpr_type="DARK"),
    frame(120, dpr_type="SKY"),
    frame(180),
    frame(240, access="private", release_date=dt.datetime(2016, 9, 25)),
)


def _group(group_id: GroupId, kind: str, role: str, frames: Sequence[RawFrame]) -> ExposureGroup:
    return ExposureGroup(
        group_id=group_id,
        arm=Arm.IRDIS,
        frame_type=kind,
        role=role,
        keys=(("dit_ms", 8000),),
        file_ids=tuple(one.file_id for one in frames),
        ob_id=200,
        night=NIGHT,
        period_date=PERIOD,
        mjd_start=frames[0].mjd_obs,
        mjd_end=frames[-1].mjd_end,
    )


def understanding(**given: object) -> Understanding:
    """What the rules make of FRAMES."""
    kinds = ["IRD_DARK_RAW", "IRD_DARK_RAW", "IRD_SKY_RAW", "IRD_SCIENCE_DBI_RAW", "IRD_SCIENCE_DBI_RAW"]
    roles = ["CALIB", "CALIB", "SKY", "OBJECT", "OBJECT"]
    groups = (
        _group(DARKS, "IRD_DARK_RAW", "CALIB", FRAMES[:2]),
        _group(SKIES, "IRD_SKY_RAW", "SKY", FRAMES[2:3]),
        _group(SCIENCE, "IRD_SCIENCE_DBI_RAW", "OBJECT", FRAMES[3:]),
    )
    observation = Observation(
        obs_id=OBS, arm=Arm.IRDIS, target_id=STAR, object_raw="51 Eri", ob_id=200,
        ob_start=dt.datetime(2015, 9, 25, 2, 20), tpl_start=None, prog_id="095.C-0298(J)", night=NIGHT,
        period_date=PERIOD, setup=(("inst_filter", "DB_K12"),), mode="dual_band", reduced=True,
        files=(
            ObservationFile(FRAMES[2].file_id, "SKY", SKIES, science=False),
            *(ObservationFile(one.file_id, "OBJECT", SCIENCE, science=True) for one in FRAMES[3:]),
        ),
        mjd_start=MJD, mjd_end=MJD + 0.01, inst_filter="DB_K12", coro="N_ALC_YJH_S", rot_mode="PUPIL", dit_s=8.0,
        dit_ms=8000, ndit=4, waffle=False, rotation_deg=12.5, seeing=0.7, tau0_s=0.004, ao_open_fraction=0.0,
        complete=True, public_at=None, paired_obs_id=None,
    )  # fmt: skip
    facts: dict[str, object] = {
        "frames": FRAMES,
        "classified": tuple(ClassifiedFrame(f, k, r) for f, k, r in zip(FRAMES, kinds, roles, strict=True)),
        "groups": groups,
        "observations": (observation,),
        "targets": (Target(STAR, "51 Eri", 69.4, -2.47, ("51eri", "hd29391")),),
        "associations": (
            Association(
                consumer_group_id=SCIENCE, selector="", file_ids=(FRAMES[3].file_id,), role="dark",
                calib_group_id=DARKS, rule_id="IRD-DARK", ruleset_version="r1", level=0, dt_days=-0.002,
                method="match", n_candidates=2,
            ),
        ),
        "refusals": (Refusal(SCIENCE, "", "dark", "IRD-DARK", GroupId("f" * 32), "dit_ms", "8000", "2000", 0.3),),
        "counts": (RefusalCount(SCIENCE, "", "dark", "IRD-DARK", 7),),
        "issues": (
            Issue(
                code="AP-CAL-012", severity="warning", subject_kind="observation", subject_id=OBS, obs_id=OBS,
                message="no FLUX frames", remedy="none needed",
            ),
        ),
        "overrides": (),
        "ruleset_version": "r1",
        "as_of": "2026-11-02T00:00:00",
    }  # fmt: skip
    return Understanding(**{**facts, **given})  # type: ignore[arg-type]  # a test's shorthand


def raw_input(one: RawFrame, role: str = "CALIB") -> ProcessInput:
    """A main raw input."""
    return ProcessInput("main", "file", one.file_id, one.content_id, frame_role=role)


def process(
    recipe: str,
    subject: Subject,
    inputs: Sequence[ProcessInput],
    types: tuple[str, ...],
    *,
    version: str = "1.0.0",
    parameters: Mapping[str, float] | None = None,
) -> Process:
    """A process with its true id."""
    made = Process(
        process_id=ProcessId(""), recipe=recipe, recipe_version=version, preset="standard", subject=subject,
        parameters=dict(parameters or {"clip": 5.0}), tables_digest=TABLES_DIGEST, inputs=tuple(inputs),
        product_types=types, night=NIGHT.isoformat(), period_date=PERIOD,
    )  # fmt: skip
    fields = {name: getattr(made, name) for name in made.__slots__}
    return Process(**{**fields, "process_id": process_id(ingredients(made))})


def product_input(role: str, source: Process, product_type: str) -> ProcessInput:
    """A product as input."""
    made = product_id(source.process_id, product_type)
    return ProcessInput(role, "product", made, made, dt_days=-0.002)


@dataclass(frozen=True)
class Night:
    """The processes of one reduction of the night: dark -> sky -> cube -> centred cube."""

    dark: Process
    sky: Process
    cube: Process
    centered: Process

    @property
    def all(self) -> tuple[Process, ...]:
        """In order."""
        return (self.dark, self.sky, self.cube, self.centered)


def night(clip: float = 5.0) -> Night:
    """A reduction; `clip` is a parameter of the sky recipe, so another value changes all that follows from it."""
    observation = Subject("observation", OBS, Arm.IRDIS)
    dark = process("irdis_dark", Subject("group", DARKS, Arm.IRDIS), [raw_input(one) for one in FRAMES[:2]], ("dark",))
    sky = process(
        "irdis_sky", Subject("group", SKIES, Arm.IRDIS), [raw_input(FRAMES[2]), product_input("dark", dark, "dark")],
        ("sky_basis",), parameters={"clip": clip},
    )  # fmt: skip
    cube = process(
        "irdis_science", observation,
        [*(raw_input(one, "OBJECT") for one in FRAMES[3:]), product_input("background", sky, "sky_basis")],
        ("irdis_science_cube",),
    )  # fmt: skip
    centered = process(
        "irdis_centered", observation, [product_input("main", cube, "irdis_science_cube")], ("irdis_centered_cube",)
    )
    return Night(dark, sky, cube, centered)


def plan_of(processes: Sequence[Process], sealed: Sequence[Process] = ()) -> Plan:
    """A plan that names these processes; `sealed` ones are cached."""
    cached = {one.process_id for one in sealed}
    planned = tuple(
        PlannedProcess(
            one,
            Reason.CACHED if one.process_id in cached else Reason.NEW,
            "because",
            Prediction(cpu_s=2.0, memory_gb=0.5, bytes_in=1, bytes_out=2, inodes=18, planes=8),
        )
        for one in sorted(processes, key=lambda one: one.process_id)
    )
    return Plan(plan_id(processes), planned, (), "2026-11-02T00:00:00", "r1", "standard", "everything")


@dataclass
class Archive:
    """An archive on disk, written to step by step."""

    layout: Layout
    clock: dt.datetime = field(default=dt.datetime(2026, 11, 2, 12))

    def tick(self) -> str:
        """The next second."""
        self.clock += dt.timedelta(seconds=1)
        return self.clock.isoformat()

    def save(self, plan: Plan) -> None:
        """Save a plan."""
        self.layout.plans.mkdir(parents=True, exist_ok=True)
        self.layout.plan(plan.plan_id).write_bytes(plan_to_json(plan))

    def start(self, run: str, plan: Plan) -> RunId:
        """Start a run."""
        self.save(plan)
        run_id = RunId(run)
        self.journal(
            run_id,
            RunStarted(
                run_id=run_id, plan_id=plan.plan_id, at=self.tick(), site="local", backend="serial", workers=1,
                asked_by="pd", package_version="0.1.0", host="here", pid=1, processes=len(plan.processes),
                config={"threads": "1"},
            ),
        )  # fmt: skip
        return run_id

    def journal(self, run_id: RunId, *events: object) -> None:
        """Append events."""
        with JournalWriter(self.layout.journal(run_id)) as writer:
            for one in events:
                writer.append(one)  # type: ignore[arg-type]  # events only

    def end(self, run_id: RunId, **counts: int) -> None:
        """End a run."""
        self.journal(run_id, RunEnded(run_id=run_id, at=self.tick(), counts=counts))

    def seal(self, run_id: RunId, one: Process, *, told: bool = True) -> None:
        """Seal a process, as a worker does; `told`: the driver lived to write it down."""
        out = self.layout.pending_dir(one.process_id, 1) / "out"
        for made in one.product_types:
            (out / "product.zarr" / made).mkdir(parents=True)
            (out / "product.zarr" / made / "zarr.json").write_text(f'"{one.process_id} {made}"')
        (out / "log.txt").write_text("done\n")
        if "irdis_science_cube" in one.product_types:
            write_figures(out / FIGURES_NAME, figures([1.0, 70.0]))
        write_record(out / "process.json", record(run_id, one, self.tick()))
        commit(out, self.layout.product_dir(one.process_id), make_seal(out, one.process_id, 1, {}, ()))
        if told:
            self.journal(run_id, ProcessChanged(process_id=one.process_id, state=State.DONE, at=self.tick(), attempt=1))

    def fail(self, run_id: RunId, one: Process, cause: Cause = Cause.DATA, *, final: bool = True) -> None:
        """Fail a process."""
        self.journal(
            run_id,
            ProcessFailed(
                process_id=one.process_id, recipe=one.recipe, attempt=1, at=self.tick(), cause=cause, code="AP-IRD-007",
                signature="s1", message="too few unsaturated planes", remedy="exclude it", final=final, host="here",
                qc=(QcValue(one.product_types[0], "n_good", 1.0, "1", "refuse", 3.0),), cpu_s=1.5,
            ),
        )  # fmt: skip

    def block(self, run_id: RunId, one: Process, by: Process) -> None:
        """Block a process."""
        self.journal(
            run_id,
            ProcessChanged(process_id=one.process_id, state=State.BLOCKED, at=self.tick(), blocked_by=by.process_id),
        )


def figures(jumps: Sequence[float]) -> dict[str, np.ndarray]:
    """Figures of planes of one file: jumps of the star (mas) in the right half; the fourth plane is excluded."""
    n = len(jumps)
    return {
        "file_id": np.array([FRAMES[3].file_id] * n, object),
        "plane": np.arange(n, dtype=np.int32),
        "frame_type": np.array(["OBJECT"] * n),
        "time": MJD + np.arange(n) / 1440,
        "dit_s": np.full(n, 16.0),
        "usable": np.arange(n) != 3,
        "center_jump": np.stack([np.zeros(n), np.array(jumps)], axis=1),
    }


def record(run_id: RunId, one: Process, at: str) -> ProcessRecord:
    """The record of a sealed process."""
    return ProcessRecord(
        process=one, run_id=run_id, plan_id=PlanId("p"), attempt=1, asked_by="pd", package_version="0.1.0",
        code_fingerprint="c" * 64,
        environment=Environment(
            python="3.11.9", packages={"numpy": "2.4"}, cpu="x", blas="openblas", threads={}, platform="linux"
        ),
        host="here", pid=1, started_at=at, ended_at=at, cpu_s=3.0, wall_s=4.0, peak_memory_bytes=200_000_000,
        bytes_read=100, bytes_written=50, planes=8, planes_read=8,
        phases={"read": PhaseCost(1.0, 0.5), "block": PhaseCost(3.0, 2.5)},
        remarks=(Remark("AP-IRD-001", "two planes left out"),),
        qc=(QcValue(one.product_types[0], "rms", float("nan"), "adu"), QcValue(one.product_types[0], "n", 7.0, "1")),
        products=tuple(
            ProductRecord(made, (1024, 1024), "float32", 123, digest32("object", one.process_id, made) * 2)
            for made in one.product_types
        ),
    )  # fmt: skip


def archive(root: Path) -> Archive:
    """An empty archive."""
    return Archive(Layout(root))
