"""Plans of stand-in processes: of a semester's shape (notes/archive 9), or all alike."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from archive_proc.bench.engine.cookbook import COOKBOOK, PRODUCT, VERSION
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId, ProcessId, product_id, sha256_hex
from archive_proc.model.packed import PackedFrames, packed
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

ROOT = "bench"
RAW_NAME = "nothing.fits"
"""The one file that stands for all raw files: stand-ins read no pixels."""
FIRST_NIGHT = dt.date(2016, 4, 1)
_SIGMA = math.log(703 / 65) / 1.645
"""Planes of a sequence: log-normal through the measured median and 95 % quantile."""
_MEDIAN, LONGEST = 65, 3360
_LONGEST_FILES = 60
THE_LONGEST = "the longest"
"""Subject of a sequence of LONGEST planes, where one was asked for."""
_IRDIS_A_NIGHT, _IFS_A_NIGHT = 492 / 110, 300 / 110
_MASTERS = {
    Arm.IRDIS: ("irdis_dark", "irdis_dark", "irdis_instrument_background", "irdis_flat", "irdis_flat", "irdis_sky"),
    Arm.IFS: ("ifs_dark", "ifs_dark", "ifs_detector_flat", "ifs_spectra_positions", "ifs_wave", "ifs_lenslet_flat"),
}
_CHAINS = {
    Arm.IRDIS: ("irdis_tracks", "irdis_science", "irdis_centered"),
    Arm.IFS: ("ifs_extract", "ifs_tracks", "ifs_science", "ifs_centered"),
}
_COSTS = {one.name: one.cost for one in COOKBOOK}


@dataclass(slots=True)
class _Maker:
    """Makes processes and their frames."""

    rng: np.random.Generator
    height: int
    width: int
    rows: list[PlannedProcess] = field(default_factory=list)
    """Packed as they are made, so that what a bench measures of memory is the run's."""
    frames: PackedFrames = field(default_factory=PackedFrames)
    known: dict[ProcessId, ProcessId] = field(default_factory=dict)
    speed: float = math.inf
    """A predicted second is slept in 1/speed."""

    def raw(self, night: dt.date, arm: Arm, planes: int, files: int) -> tuple[RawFrame, ...]:
        """Files of one exposure group or sequence."""
        found = []
        for number in range(files):
            at = dt.datetime.combine(night, dt.time(3)) + dt.timedelta(seconds=30 * len(self.frames))
            share = planes // files + (number < planes % files)
            file_id = FileId(f"SPHER.{at.isoformat(timespec='milliseconds')}")
            frame = RawFrame(
                file_id=file_id,
                content_id=sha256_hex([file_id]),
                uri=f"{ROOT}/{RAW_NAME}",
                declared_bytes=4 * share * self.height * self.width,
                size_bytes=0,
                arm=arm,
                date_obs=at,
                mjd_obs=57480.0,
                mjd_end=57480.0,
                night=night,
                period_date=97,
                naxis1=self.width,
                naxis2=self.height,
                naxis3=share,
                bitpix=-32,
                dit_s=16.0,
            )
            self.frames.append(frame)
            found.append(frame)
        return tuple(found)

    def process(
        self,
        recipe: str,
        night: dt.date,
        subject: Subject,
        frames: Sequence[RawFrame],
        needs: Sequence[ProcessId],
        seconds: float | None = None,
    ) -> ProcessId:
        """A planned process with the measured cost of its recipe, or of `seconds`."""
        planes = sum(one.naxis3 or 0 for one in frames)
        cost = _COSTS[recipe]
        cpu_s = seconds if seconds is not None else cost.cpu_s + cost.cpu_s_per_plane * planes
        slept = seconds if seconds is not None else cpu_s / self.speed
        made = [product_id(one, PRODUCT) for one in needs]
        inputs = (
            *(ProcessInput("main", "file", one.file_id, one.content_id, frame_role="OBJECT") for one in frames),
            *(ProcessInput("calibration", "product", one, one) for one in made),
        )
        blank = Process(
            process_id=ProcessId(""),
            recipe=recipe,
            recipe_version=VERSION,
            preset="default",
            subject=subject,
            parameters={"seconds": slept, "values": 16, "number": len(self.rows)},
            tables_digest="0" * 64,
            inputs=inputs,
            product_types=(PRODUCT,),
            night=night.isoformat(),
            period_date=97,
        )
        made_id = process_id(ingredients(blank))
        process = replace(blank, process_id=made_id)
        predicted = Prediction(cpu_s, cost.memory_gb, sum(one.declared_bytes for one in frames), 1000, 8, planes)
        self.rows.append(packed(PlannedProcess(process, Reason.NEW, "new", predicted), self.known))
        return made_id

    def plan(self) -> Plan:
        """All of them."""
        rows = tuple(sorted(self.rows, key=lambda one: one.process.process_id))
        return Plan(plan_id(one.process for one in rows), rows, (), "2016-10-01", "1", "default", "stand-ins")


def semester_plan(
    n: int, seed: int = 1, *, speed: float = math.inf, longest: bool = False, height: int = 1024, width: int = 2048
) -> tuple[Plan, Mapping[FileId, RawFrame]]:
    """At least `n` processes, night by night, as measured: masters of each arm, then chains of sequences with a tail.

    IFS spectra of CENTER and FLUX files are processes of their own. `speed`: stand-ins sleep so much shorter than
    predicted, by default not at all. `longest`: on a night in the middle one sequence of LONGEST planes. `height` and
    `width`: pixels of a plane.
    """
    maker = _Maker(np.random.default_rng(seed), height, width, speed=speed)
    for night in _nights():
        if len(maker.rows) >= n:
            return maker.plan(), maker.frames
        for arm, mean in ((Arm.IRDIS, _IRDIS_A_NIGHT), (Arm.IFS, _IFS_A_NIGHT)):
            masters: list[ProcessId] = []
            for number, recipe in enumerate(_MASTERS[arm]):
                subject = Subject("group", f"{night} {recipe} {number}", arm)
                masters.append(maker.process(recipe, night, subject, maker.raw(night, arm, 12, 4), masters[:3]))
            for number in range(max(1, round(maker.rng.normal(mean, 1.0)))):
                planes = min(LONGEST, max(2, round(_MEDIAN * math.exp(maker.rng.normal(0.0, _SIGMA)))))
                files = min(planes, max(2, round(planes / 6.5)))
                _sequence(maker, night, Subject("observation", f"{night} {arm} {number}", arm), masters, planes, files)
            if longest and arm is Arm.IRDIS and len(maker.rows) >= n // 2:
                _sequence(maker, night, Subject("observation", THE_LONGEST, arm), masters, LONGEST, _LONGEST_FILES)
                longest = False
    raise AssertionError("nights do not end")


def _sequence(
    maker: _Maker, night: dt.date, subject: Subject, masters: Sequence[ProcessId], planes: int, files: int
) -> None:
    arm = subject.arm
    science = maker.raw(night, arm, planes, files)
    around = maker.raw(night, arm, 8, 3)
    spectra = []
    if arm is Arm.IFS:
        for one in around:
            alone = Subject("frame", one.file_id, arm)
            spectra.append(maker.process("ifs_extract_frame", night, alone, [one], masters))
    before: list[ProcessId] = []
    for recipe in _CHAINS[arm]:
        frames = (*science, *around) if recipe == "irdis_tracks" else science
        before.append(maker.process(recipe, night, subject, frames, [*masters, *spectra, *before]))


def equal_plan(n: int, seconds: float) -> tuple[Plan, Mapping[FileId, RawFrame]]:
    """`n` processes of so many seconds each behind one that takes no time, ten a night; of hardly any pixels."""
    maker = _Maker(np.random.default_rng(0), 8, 8)
    nights = _nights()
    night = next(nights)
    subject = Subject("group", "first", Arm.IRDIS)
    first = maker.process("irdis_dark", night, subject, maker.raw(night, Arm.IRDIS, 1, 1), (), 0.0)
    frames = maker.raw(night, Arm.IRDIS, 4, 1)
    for number in range(n):
        night = next(nights) if number % 100 == 99 else night
        one = Subject("observation", f"sequence {number}", Arm.IRDIS)
        maker.process("irdis_science", night, one, frames, [first], seconds)
    return maker.plan(), maker.frames


def _nights() -> Iterator[dt.date]:
    night = FIRST_NIGHT
    while True:
        yield night
        night += dt.timedelta(days=1)
