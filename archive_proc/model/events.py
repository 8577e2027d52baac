"""Lines of a run's journal: what the driver saw, in the order it saw it.

Products are the record of success; the journal is the record of failures, attempts and times. The compactor turns
both into the catalog.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.phases import PhaseCost
from archive_proc.model.processes import Cause, QcValue, State

_LONG_ID = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")
_SHORTENED = r"\1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """First line of a run."""

    run_id: RunId
    plan_id: PlanId
    at: str
    """ISO UTC."""
    site: str
    backend: str
    workers: int
    asked_by: str
    package_version: str
    host: str
    pid: int
    processes: int
    """Processes in the plan."""
    cached: int = 0
    """Of these, sealed before (or not needed): they have no lines of their own."""
    config: Mapping[str, str] = field(default_factory=dict)
    """Resolved settings of the site, as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessChanged:
    """A process entered a state. The last line about a process is its state in this run."""

    process_id: ProcessId
    state: State
    at: str
    attempt: int = 0
    """0 where nothing was tried (cached, blocked)."""
    host: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    """All three: sums (peak: maximum) over the attempt's tasks; only on done."""
    tasks: int = 0
    blocked_by: ProcessId | None = None
    """The failed process at the root, for state blocked."""
    note: str = ""
    recipe: str = ""
    planes: int = 0
    predicted_s: float = 0.0
    """CPU seconds. These three repeat the plan, so that a journal can be added up without it; empty in older ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFailed:
    """One attempt of a process failed."""

    process_id: ProcessId
    recipe: str
    attempt: int
    at: str
    cause: Cause
    code: str
    """AP-..., or the exception's name for causes `code`."""
    signature: str
    """Equal for equal failures: what the breaker counts and triage groups by."""
    message: str
    remedy: str = ""
    subject: str = ""
    traceback: str = ""
    """Last lines, paths inside the package only."""
    task: str = ""
    """Which task of it: `all`, `block detect 48`, `reduce detect`, `close`."""
    host: str = ""
    pid: int = 0
    final: bool = True
    """False when it will be tried again in this run."""
    started_at: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    qc: tuple[QcValue, ...] = ()
    """What was measured and refused it (cause data)."""
    earlier_run: RunId | None = None
    """Set when it was not tried again because this failure stands from that run."""
    poison: bool = False
    """It killed a worker at each of its tries: quarantined until `run --retry`, whatever the cause."""

    @property
    def state(self) -> State:
        """What the process is after it, where it is final."""
        return State.QUARANTINED if self.poison else State.FAILED

    @property
    def account(self) -> str:
        """What failed and how, in one line: the message speaks of the subject (a file, a product, an observation)."""
        return f"{_LONG_ID.sub(_SHORTENED, self.subject)}: {self.message}" if self.subject else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReady:
    """A worker process that the back end started gave its first answer."""

    at: str
    host: str
    pid: int
    ready_at: str
    """ISO UTC: when it could take its first task."""
    wall_s: float
    """From its birth to `ready_at`."""
    cpu_s: float
    job: str = ""
    """Its SLURM job; empty outside of one."""
    config: Mapping[str, str] = field(default_factory=dict)
    """How it found itself set up: Dask's settings, thread variables, memory limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobChanged:
    """A worker job of the site was submitted or ended."""

    at: str
    job: str
    """SLURM's number."""
    state: str
    """`submitted`, else how SLURM says it ended: COMPLETED, TIMEOUT, NODE_FAIL, CANCELLED, ..."""
    reason: str = ""
    """SLURM's reason, and what this run makes of it."""
    replaces: str = ""
    """The job that had ended and is replaced by this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnded:
    """A task gave its answer, whatever it was; of a task whose worker vanished there is none."""

    process_id: ProcessId
    recipe: str
    attempt: int
    at: str
    task: str
    """`all`, `block-0-00000048`, `reduce-0`, `close`, ..."""
    host: str
    pid: int
    started_at: str
    """ISO UTC."""
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    """Largest resident size of the worker during the task."""
    resident_bytes: int
    """At its end."""
    bytes_read: int = 0
    planes_read: int = 0
    phases: Mapping[str, PhaseCost] = field(default_factory=dict)
    """Adds up to `wall_s` and `cpu_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipePaused:
    """The breaker opened: what this recipe has not begun is blocked."""

    recipe: str
    signature: str
    process_id: ProcessId
    """The one whose failure was one too many."""
    failures: int
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """Last line of a run that ended (a killed run has none)."""

    run_id: RunId
    at: str
    counts: Mapping[str, int]
    """State -> processes; adds up to the plan."""
    stopped: str = ""
    """Empty when it went to its end; else why not: SIGINT, SIGTERM, cancelled, disk full, max failures."""
    wall_s: float = 0.0
    note: str = ""
    """Why the catalog could not be published, where it could not."""


Event: TypeAlias = (
    RunStarted | ProcessChanged | ProcessFailed | WorkerReady | JobChanged | TaskEnded | RecipePaused | RunEnded
)
EVENT_KINDS: Mapping[str, type[Event]] = {
    "run_started": RunStarted,
    "process_changed": ProcessChanged,
    "process_failed": ProcessFailed,
    "worker_ready": WorkerReady,
    "job_changed": JobChanged,
    "task_ended": TaskEnded,
    "recipe_paused": RecipePaused,
    "run_ended": RunEnded,
}
"""The word a line carries -> its type."""
