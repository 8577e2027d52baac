"""What a process leaves behind: the record in `process.json` (DESIGN 6, Record) and the seal over its objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.phases import PhaseCost
from archive_proc.model.processes import Process, ProductRecord, QcValue, Remark

RECORD_SCHEMA = 1
"""Version of `process.json`; fields are only ever added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where code ran, as far as it could change a result or a time."""

    python: str
    packages: Mapping[str, str]
    """Distribution name -> version."""
    cpu: str
    """CPU model name."""
    blas: str
    threads: Mapping[str, str]
    """Thread-limiting environment variables that are set."""
    platform: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """Everything about one sealed process. Immutable: it lies inside the sealed directory."""

    schema_version: int = RECORD_SCHEMA
    process: Process
    """With inputs, association levels, parameters, overrides and fallbacks as planned."""
    run_id: RunId
    plan_id: PlanId
    attempt: int
    asked_by: str
    """Who asked for the run."""
    package_version: str
    code_fingerprint: str
    """sha256 over the package's source files (and the cookbook's, where it is another module)."""
    environment: Environment
    host: str
    pid: int
    job: str = ""
    """Batch job, empty on a local site."""
    started_at: str
    """ISO UTC, first task."""
    ended_at: str
    """ISO UTC, at the seal."""
    cpu_s: float
    """CPU of all tasks."""
    wall_s: float
    """Sum of the tasks' wall times."""
    peak_memory_bytes: int
    """Largest resident size of a worker during its tasks."""
    bytes_read: int
    """Decoded bytes of raw planes and products read."""
    bytes_written: int
    """Bytes of the sealed objects."""
    planes: int
    """Planes of the main input."""
    planes_used: tuple[int, ...] = ()
    """Rows of the plane table that a row-wise master used, where it did not use all; else empty."""
    tasks: int = 1
    """Tasks it took (1: all passes in one)."""
    phases: Mapping[str, PhaseCost] = field(default_factory=dict)
    """Where `wall_s` and `cpu_s` went, by `Phase`; adds up to them. Of the sealing only what was before this record."""
    planes_read: int = 0
    """Planes of the main input read, neighbours of a block counted each time they were read from disk."""
    pixel_digests: Mapping[str, str] = field(default_factory=dict)
    """file_id -> sha256 of the decoded pixels: over the concatenated sha256 of each plane's float32 little-endian
    bytes. Only of main files of which every plane was read."""
    remarks: tuple[Remark, ...] = ()
    """Coded warnings of the recipe."""
    python_warnings: tuple[str, ...] = ()
    """Texts of Python warnings raised while it ran, each once."""
    qc: tuple[QcValue, ...] = ()
    inst_filter: str = ""
    """Of its main frames; what limits of single planes may depend on."""
    products: tuple[ProductRecord, ...] = ()

    @property
    def process_id(self) -> ProcessId:
        """The process."""
        return self.process.process_id


@dataclass(frozen=True, slots=True)
class SealedObject:
    """One file under a seal."""

    name: str
    """Path inside the process directory, `/` between parts."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Seal:
    """`seal.json`: every other object of the process directory. Its presence under `products/` means done."""

    process_id: ProcessId
    attempt: int
    objects: tuple[SealedObject, ...]
    """Sorted by name."""


@dataclass(frozen=True, slots=True)
class SealProblem:
    """What verification found wrong with one object of a sealed process."""

    process_id: ProcessId
    name: str
    code: str
    problem: str
    """In words: missing, not in the seal, size, content."""
