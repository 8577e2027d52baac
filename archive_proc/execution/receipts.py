"""Receipts: what one finished chunk left on disk, so that nobody needs to do it again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from archive_proc.execution.calls import Task, TaskReport
from archive_proc.execution.spec import AttemptDir
from archive_proc.model.phases import Phases, summed
from archive_proc.model.records import SealedObject
from archive_proc.storage.objects import BlockDigest, hashed


@dataclass(frozen=True, slots=True)
class PlaneDigest:
    """sha256 of one decoded raw plane, float32 little-endian."""

    file: int
    """Position among the main files."""
    plane: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileStamp:
    """How a raw file looked when it was read: another stamp, perhaps other pixels."""

    file: int
    """Position among the main files."""
    stamp: str
    """`planes.stamp_of`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """What tasks cost; adds up over a process."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    bytes_read: int = 0
    planes_read: int = 0
    tasks: int = 0
    started_at: str = ""
    phases: Phases = field(default_factory=dict)

    @staticmethod
    def of(report: TaskReport) -> Meters:
        """What one task cost."""
        return Meters(
            wall_s=report.wall_s,
            cpu_s=report.cpu_s,
            peak_memory_bytes=report.peak_memory_bytes,
            bytes_read=report.bytes_read,
            planes_read=report.planes_read,
            tasks=1,
            started_at=report.started_at,
            phases=report.phases,
        )

    def plus(self, other: Meters) -> Meters:
        """Sums; the larger peak; the earlier start."""
        starts = [one for one in (self.started_at, other.started_at) if one]
        return Meters(
            wall_s=self.wall_s + other.wall_s,
            cpu_s=self.cpu_s + other.cpu_s,
            peak_memory_bytes=max(self.peak_memory_bytes, other.peak_memory_bytes),
            bytes_read=self.bytes_read + other.bytes_read,
            planes_read=self.planes_read + other.planes_read,
            tasks=self.tasks + other.tasks,
            started_at=min(starts, default=""),
            phases=summed(self.phases, other.phases),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One finished task of a chunked process."""

    task: Task
    kept: tuple[SealedObject, ...] = ()
    """Summaries and shared values, names relative to the attempt."""
    objects: tuple[SealedObject, ...] = ()
    """Shards written, names relative to `out/`."""
    block_digests: tuple[BlockDigest, ...] = ()
    plane_digests: tuple[PlaneDigest, ...] = ()
    file_stamps: tuple[FileStamp, ...] = ()
    meters: Meters = Meters()
    warnings: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    host: str = ""
    pid: int = 0


def write_receipt(directory: AttemptDir, receipt: Receipt) -> None:
    """Write by temporary name, fsync, rename: a receipt is there whole or not at all."""
    directory.receipts.mkdir(parents=True, exist_ok=True)
    path = directory.receipts / f"{receipt.task.label}.json"
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(msgspec.json.encode(receipt))
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def read_receipts(directory: AttemptDir) -> tuple[Receipt, ...]:
    """All readable receipts, in order of pass and plane."""
    found: list[Receipt] = []
    if directory.receipts.is_dir():
        for path in sorted(directory.receipts.glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Receipt))
            except (OSError, msgspec.MsgspecError):
                continue  # cut short by a crash of the machine, or an older package's: its chunk is done again
    return tuple(sorted(found, key=lambda one: (one.task.pass_index, one.task.first, one.task.kind)))


def receipt_of(directory: AttemptDir, task: Task) -> Receipt | None:
    """The receipt of a task that ended, if all that it names is there; None otherwise."""
    try:
        found = msgspec.json.decode((directory.receipts / f"{task.label}.json").read_bytes(), type=Receipt)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.task == task and holds(directory, found) else None


def holds(directory: AttemptDir, receipt: Receipt) -> bool:
    """Whether everything the receipt names is still there, bit by bit."""
    return _all_there(directory.path, receipt.kept) and _all_there(directory.out, receipt.objects)


def _all_there(base: Path, objects: Iterable[SealedObject]) -> bool:
    try:
        return all(hashed(base, one.name) == one for one in objects)
    except OSError:
        return False


def drop_receipt(directory: AttemptDir, receipt: Receipt) -> None:
    """Forget a chunk that must be done again."""
    (directory.receipts / f"{receipt.task.label}.json").unlink(missing_ok=True)
