"""What travels between driver and workers: ids and small facts, never pixels (DESIGN 3.2)."""

from __future__ import annotations

from dataclasses import dataclass, field

from archive_proc.execution.liveness import Writer
from archive_proc.model.ids import ProcessId
from archive_proc.model.phases import Phases
from archive_proc.model.processes import Cause, QcValue


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What every task of a run needs to know; the same for all of them."""

    root: str
    """The archive."""
    cookbook: str
    """Module that knows the recipes."""
    raw_roots: tuple[tuple[str, str], ...]
    """(name, directory)."""
    cache_bytes: int
    verify_full: bool
    driver: Writer
    """Workers of a dead driver stop between blocks."""
    isolated: bool
    """True in a process of its own: fatal signals may be recorded there."""
    stop_file: str = ""
    """Once it exists, tasks end between two blocks."""
    spill_bytes: int = 500_000_000
    """Row-wise masters keep decoded planes in a scratch file above this size."""
    task_limit_s: float = 0.0
    """A task that executes for longer ends its worker process, if that is its own; 0: never."""
    breaker: int = 0
    """Equal `code` signatures after which the rest of a bundle goes back unexecuted; 0: never."""


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of one process: `all`, `block` (some shards of one pass), `reduce` (a pass), `close`."""

    kind: str
    pass_index: int = -1
    first: int = 0
    """First plane of the chunk."""
    stop: int = 0

    @property
    def label(self) -> str:
        """How marks, receipts and journals name it."""
        if self.kind == "block":
            return f"block-{self.pass_index}-{self.first:08d}"
        return self.kind if self.pass_index < 0 else f"{self.kind}-{self.pass_index}"


@dataclass(frozen=True, slots=True)
class TaskCall:
    """One task of one attempt of a process."""

    process_id: ProcessId
    attempt: int
    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What a back end executes as one: tasks of one worker, in turn. One task where that lasts long enough."""

    number: int
    """Counts a run's bundles; no two have the same."""
    settings: WorkerSettings
    calls: tuple[TaskCall, ...]
    """In this order, each of another process. What becomes of one touches none of the others."""
    seconds: float = 0.0
    """Predicted, all calls."""
    memory_gb: float = 0.0
    """Of the larger worker that it needs; 0: a normal one will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureFacts:
    """Why a task failed."""

    cause: Cause
    code: str
    signature: str
    message: str
    remedy: str = ""
    subject: str = ""
    traceback: str = ""
    qc: tuple[QcValue, ...] = ()
    disk_full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStart:
    """What it took until a worker process could take its first task."""

    ready_at: str
    """ISO UTC."""
    wall_s: float
    """Since the process was made."""
    cpu_s: float
    job: str = ""
    """Its SLURM job; empty outside of one."""
    config: tuple[tuple[str, str], ...] = ()
    """What it found: Dask's settings, thread variables, memory limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """What a task gives back, about 1 kB at most (a failure's text may be longer)."""

    process_id: ProcessId
    attempt: int
    task: Task
    host: str
    pid: int
    started_at: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    resident_bytes: int = 0
    """Resident size at its end."""
    bytes_read: int = 0
    planes_read: int = 0
    phases: Phases = field(default_factory=dict)
    worker_start: WorkerStart | None = None
    """With the first report of a worker process that the back end started."""
    sealed: bool = False
    """The process is done."""
    stopped: bool = False
    """Gave up between blocks because it was told to stop, or was never begun: to be sent again."""
    failure: FailureFacts | None = None
    pixel_digests: tuple[tuple[str, str], ...] = field(default=())
    """(file_id, digest) of the raw files this process read whole; with the report that seals."""
