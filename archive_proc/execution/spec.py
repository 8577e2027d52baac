"""One attempt of one process: its directory under `pending/` and `spec.json`, which tells workers what to do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from archive_proc.execution.liveness import Writer
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.processes import Process
from archive_proc.storage.layout import Layout
from archive_proc.storage.records import frames_bytes, frames_of, process_bytes, process_of

SPEC_NAME = "spec.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSpec:
    """Everything a worker needs to know about the process; nothing that could change its result but the process."""

    process: Process
    frames: tuple[RawFrame, ...]
    """Main raw frames, in order; empty when the main input is a product."""
    pixel_digests: Mapping[str, str]
    """file_id -> digest of its decoded pixels, where an earlier process read it."""
    run_id: RunId
    plan_id: PlanId
    attempt: int
    asked_by: str
    driver: Writer
    """Who made the attempt: while it lives, nobody else touches it."""


@dataclass(frozen=True, slots=True)
class AttemptDir:
    """Paths of one attempt."""

    path: Path

    @property
    def out(self) -> Path:
        """The future product directory."""
        return self.path / "out"

    @property
    def receipts(self) -> Path:
        """One file a finished chunk."""
        return self.path / "receipts"

    @property
    def marks(self) -> Path:
        """One file a task that executes at this moment; it outlives a killed worker."""
        return self.path / "marks"

    def summary(self, pass_index: int, first: int) -> Path:
        """Summary of one block."""
        return self.path / "passes" / str(pass_index) / f"{first:08d}.blocks"

    def shared(self, pass_index: int) -> Path:
        """What the reduction of a pass gave."""
        return self.path / "passes" / str(pass_index) / "shared.blocks"

    @property
    def scratch(self) -> Path:
        """Decoded planes of a row-wise master."""
        return self.path / "planes.scratch"


class _Row(msgspec.Struct):
    process: msgspec.Raw
    frames: msgspec.Raw
    pixel_digests: dict[str, str]
    run_id: str
    plan_id: str
    attempt: int
    asked_by: str
    driver: Writer


def write_spec(directory: AttemptDir, spec: AttemptSpec) -> None:
    """Write `spec.json` by one rename."""
    row = _Row(
        msgspec.Raw(process_bytes(spec.process)),
        msgspec.Raw(frames_bytes(spec.frames)),
        dict(spec.pixel_digests),
        spec.run_id,
        spec.plan_id,
        spec.attempt,
        spec.asked_by,
        spec.driver,
    )
    directory.path.mkdir(parents=True, exist_ok=True)
    temporary = directory.path / f"{SPEC_NAME}.{os.getpid()}.tmp"
    temporary.write_bytes(msgspec.json.encode(row))
    temporary.replace(directory.path / SPEC_NAME)


def read_spec(directory: AttemptDir) -> AttemptSpec:
    """Read it back. Raises OSError or msgspec.MsgspecError where there is none: an attempt without spec is void."""
    row = msgspec.json.decode((directory.path / SPEC_NAME).read_bytes(), type=_Row)
    return AttemptSpec(
        process=process_of(msgspec.json.decode(row.process)),
        frames=frames_of(row.frames),
        pixel_digests=row.pixel_digests,
        run_id=RunId(row.run_id),
        plan_id=PlanId(row.plan_id),
        attempt=row.attempt,
        asked_by=row.asked_by,
        driver=row.driver,
    )


def attempts(layout: Layout) -> dict[ProcessId, list[int]]:
    """Attempt numbers found under `pending/`, ascending."""
    found: dict[ProcessId, list[int]] = {}
    if layout.pending.is_dir():
        for entry in layout.pending.iterdir():
            process_id, dot, number = entry.name.partition(".")
            if dot and number.isdigit():
                found.setdefault(ProcessId(process_id), []).append(int(number))
    return {process_id: sorted(numbers) for process_id, numbers in sorted(found.items())}
