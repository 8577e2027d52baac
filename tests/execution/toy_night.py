"""A small night for the toy cookbook: raw files, frames and plans."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from archive_proc.execution.outcome import RunOptions
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId, ProcessId, digest32, product_id
from archive_proc.model.processes import (
    Plan,
    PlannedProcess,
    Prediction,
    Process,
    ProcessInput,
    Reason,
    Subject,
)
from archive_proc.planning.keys import ingredients, plan_id, process_id
from archive_proc.settings import SiteProfile
from archive_proc.storage.layout import Layout

HEIGHT, WIDTH = 8, 16
ROOT = "night"


def frame_of(path: Path, number: int, planes: int) -> RawFrame:
    at = dt.datetime(2015, 9, 25, 3, 0, number)
    return RawFrame(
        file_id=FileId(f"SPHER.2015-09-25T03:00:{number:02d}.000"),
        content_id=digest32("content", number) * 2,
        uri=f"{ROOT}/{path.name}",
        declared_bytes=4 * planes * HEIGHT * WIDTH,
        size_bytes=path.stat().st_size,
        arm=Arm.IRDIS,
        date_obs=at,
        mjd_obs=57290.125 + number / 86400,
        mjd_end=57290.125 + (number + 1) / 86400,
        night=dt.date(2015, 9, 24),
        period_date=95,
        naxis1=WIDTH,
        naxis2=HEIGHT,
        naxis3=planes,
        bitpix=-32,
        dit_s=1.0,
    )


def write_raw(directory: Path, counts: Sequence[int], seed: int = 5) -> tuple[RawFrame, ...]:
    """One big-endian file of planes for each count."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    frames = []
    for number, planes in enumerate(counts):
        path = directory / f"{number:02d}.raw"
        rng.normal(100 + number, 5, (planes, HEIGHT, WIDTH)).astype(">f4").tofile(path)
        frames.append(frame_of(path, number, planes))
    return tuple(frames)


def process(
    recipe: str,
    mains: Sequence[ProcessInput],
    others: Sequence[ProcessInput] = (),
    product: str = "",
    subject: str = "s",
    excluded: tuple[tuple[int, int], ...] = (),
    **parameters: object,
) -> Process:
    filled = {"behave": "", "gain": 1.5, "apertures": (1.0, 2.0), **parameters}
    inputs = (*mains, *others)
    made = Process(
        process_id=ProcessId(""),
        recipe=recipe,
        recipe_version="1.0.0",
        preset="default",
        subject=Subject("observation", subject, Arm.IRDIS),
        parameters=filled,
        excluded_planes=excluded,
        tables_digest=digest32("tables", subject) * 2,  # equal inputs of two subjects are two processes here
        inputs=inputs,
        product_types=(product or recipe,),
        night="2015-09-24",
        period_date=95,
    )
    return replace(made, process_id=process_id(ingredients(made)))


def raw_input(frame: RawFrame) -> ProcessInput:
    return ProcessInput("main", "file", frame.file_id, frame.content_id, frame_role="OBJECT")


def product_input(role: str, source: Process) -> ProcessInput:
    made = product_id(source.process_id, source.product_types[0])
    return ProcessInput(role, "product", made, made)


def plan_of(*processes: Process) -> Plan:
    prediction = Prediction(0.1, 0.1, 1000, 1000, 10, 10)
    planned = tuple(
        PlannedProcess(one, Reason.NEW, "new", prediction) for one in sorted(processes, key=lambda one: one.process_id)
    )
    return Plan(plan_id(one.process for one in planned), planned, (), "2015-09-26", "1", "default", "all")


@dataclass(frozen=True)
class Night:
    layout: Layout
    frames: Mapping[FileId, RawFrame]
    plan: Plan
    dark: Process
    cube: Process
    centered: Process
    raw: Path

    def options(self, **more: object) -> RunOptions:
        given = {"progress": False, "cookbook": "toy_recipes", "back_off_s": 0.05, "stop_grace_s": 0.3, **more}
        return RunOptions(raw_roots={ROOT: self.raw}, **given)


def night(
    tmp_path: Path, *, darks: Sequence[int] = (3, 4), science: Sequence[int] = (20, 7, 30, 5), **parameters: object
) -> Night:
    """Two darks, one observation of 62 planes in four files, its cube and centred cube."""
    raw = tmp_path / "raw"
    if not raw.exists():
        write_raw(raw, (*darks, *science))
    frames = tuple(
        frame_of(raw / f"{number:02d}.raw", number, planes) for number, planes in enumerate((*darks, *science))
    )
    dark = process("toy_dark", [raw_input(one) for one in frames[: len(darks)]], subject="d")
    cube = process(
        "toy_cube",
        [raw_input(one) for one in frames[len(darks) :]],
        [product_input("dark", dark)],
        subject="o",
        excluded=((0, 3), (1, 6)),
        **parameters,
    )
    centered = process("toy_centered", [product_input("main", cube)], subject="o")
    return Night(
        Layout(tmp_path / "archive"),
        {one.file_id: one for one in frames},
        plan_of(dark, cube, centered),
        dark,
        cube,
        centered,
        raw,
    )


def site(**more: object) -> SiteProfile:
    return SiteProfile(**{"name": "test", "backend": "serial", "memory_per_worker_gb": 2.0, **more})
