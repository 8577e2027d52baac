"""What a run is asked, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archive_proc.execution.backends import Backend
from archive_proc.execution.cookbooks import DEFAULT_COOKBOOK
from archive_proc.execution.stopping import DISK_FULL, ROOT_GONE
from archive_proc.model.events import ProcessFailed
from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.processes import State

EXIT_DONE, EXIT_FAILED, EXIT_PRECONDITION, EXIT_TEMPORARY = 0, 3, 5, 75
_STOP_EXITS = {
    "SIGINT": 130,
    "cancelled": 130,
    "SIGTERM": 143,
    DISK_FULL: EXIT_PRECONDITION,
    ROOT_GONE: EXIT_TEMPORARY,
}


@dataclass(frozen=True, slots=True)
class EarlierFailure:
    """A `data` or `code` failure of an earlier run that stands: its process is not tried again."""

    run_id: RunId
    failure: ProcessFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run a plan; nothing of it can change a result."""

    raw_roots: Mapping[str, Path] = field(default_factory=dict)
    pixel_digests: Mapping[str, str] = field(default_factory=dict)
    """file_id -> digest of its decoded pixels, from the records of earlier processes."""
    earlier_failures: Mapping[ProcessId, EarlierFailure] = field(default_factory=dict)
    """Not tried again; empty with `--retry`."""
    cookbook: str = DEFAULT_COOKBOOK
    asked_by: str = ""
    run_id: RunId | None = None
    """A run to be continued; None: a new one."""
    chunk_planes: int | None = None
    """Overrules the site's `chunk_gb` (tests, bench)."""
    max_failures: int | None = None
    """Stop after so many failed processes."""
    publish: Callable[[], None] | None = None
    """Called every minute and at the end, with everything journalled so far on disk: the compactor. OSError and
    ArchiveProcError of it are noted; they end no run."""
    publish_every_s: float = 60.0
    progress: bool = True
    back_off_s: float = 2.0
    """Before the first retry of an `infra` failure; doubles."""
    backend: Backend | None = None
    """In place of the site's (bench, tests)."""
    stop_grace_s: float = 10.0
    """After a stop signal running tasks may end for so long; then they end between two blocks."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended."""

    run_id: RunId
    plan_id: PlanId
    counts: Mapping[State, int]
    """Adds up to the plan."""
    failures: tuple[ProcessFailed, ...]
    """The last failure of every failed process, root causes in the order they happened."""
    blocked: Mapping[ProcessId, ProcessId]
    """Blocked process -> the failed (or missing) one at its root."""
    stopped: str = ""
    """Empty when it went to its end, else why not."""
    pixel_digests: Mapping[str, str] = field(default_factory=dict)
    """file_id -> digest, of raw files read whole in this run."""
    catalog_behind: bool = False
    """The last publishing failed: the catalog lacks what this run did until the next one publishes it."""
    note: str = ""
    """Why the catalog could not be published, the first time it failed; empty when it always could."""

    @property
    def exit_status(self) -> int:
        """0 all done, 3 some failed or blocked, 5 disk full, 75 catalog behind or root gone, 130 and 143 stopped."""
        if self.stopped in _STOP_EXITS:
            return _STOP_EXITS[self.stopped]
        bad = sum(
            count for one, count in self.counts.items() if one.is_failure or one in (State.BLOCKED, State.CANCELLED)
        )
        if bad:
            return EXIT_FAILED
        return EXIT_TEMPORARY if self.catalog_behind else EXIT_DONE
