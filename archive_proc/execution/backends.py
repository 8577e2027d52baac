"""Where bundles of tasks run: a few methods. What must outlive a process is ours, so a back end may be dumb.

`serial` runs tasks in the driver's own process, one at a time; `clusters.py` and `slurm.py` have Dask's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from archive_proc.execution.calls import Bundle, TaskReport
from archive_proc.execution.liveness import Writer

AWAITED = "awaited"
"""State of a worker that is wanted and not there: it waits in a queue and costs nothing."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A bundle that came back, or did not."""

    bundle: Bundle
    reports: tuple[TaskReport, ...] | None
    """One a call, in their order; None when the worker vanished: the disk tells what happened, not the back end."""
    lost: str = ""
    """What the back end says about a lost bundle."""


@dataclass(frozen=True, slots=True)
class JobEnd:
    """What a site says about a job that ended."""

    job: str
    state: str
    """SLURM's word: TIMEOUT, NODE_FAIL, PREEMPTED, OUT_OF_MEMORY, CANCELLED, FAILED, COMPLETED; GONE when it says
    nothing any more."""
    reason: str = ""
    signal: int = 0
    """That ended it, 0 where none did."""


@dataclass(frozen=True, slots=True)
class JobNews:
    """A job was submitted or ended; for the journal."""

    job: str
    state: str
    reason: str = ""
    replaces: str = ""


class Backend(Protocol):
    """Executes bundles. Promises nothing about order; may lose a bundle, never invents one."""

    @property
    def name(self) -> str:
        """As in a site profile."""

    @property
    def workers(self) -> int:
        """Bundles it executes at once."""

    @property
    def isolated(self) -> bool:
        """Whether tasks run in processes of their own."""

    def start(self) -> None:
        """Get ready. Raises TemporaryError when it cannot be had now."""

    def submit(self, bundle: Bundle, priority: float) -> None:
        """Take a bundle; larger priorities first."""

    def wait_any(self, timeout_s: float) -> list[Finished]:
        """Bundles that ended since the last call; waits for the first at most `timeout_s`.

        Raises TemporaryError or PreconditionError when no task will ever end here.
        """

    def cancel(self, bundles: Iterable[Bundle]) -> None:
        """Forget bundles that have not started; running ones may go on."""

    def census(self) -> Mapping[str, int]:
        """Workers by state: `busy`, `idle`, `paused`, `awaited`, ...; for people, read now and then."""

    def expect(self, tasks: int) -> None:
        """Hear how many tasks may still be in flight at once from now on: what is not needed for them is given back."""

    def job_end(self, writer: Writer) -> JobEnd | None:
        """How the job of a worker ended; None while it lives, and where there are no jobs."""

    def news(self) -> list[JobNews]:
        """What happened to jobs since the last call."""

    def stop(self) -> None:
        """Give everything back. Harmless twice."""


class SerialBackend:
    """One task after the other, in this process."""

    name = "serial"
    workers = 1
    isolated = False

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._queue: deque[Bundle] = deque()

    def start(self) -> None:
        """Nothing to get."""

    def submit(self, bundle: Bundle, priority: float) -> None:
        """Queue it; the driver submits in order of priority."""
        self._queue.append(bundle)

    def wait_any(self, timeout_s: float) -> list[Finished]:
        """Run the next bundle to its end."""
        # numpy, zarr and the recipes: only when there is work
        from threadpoolctl import threadpool_limits

        from archive_proc.execution.worker import run_bundle

        if not self._queue:
            return []
        bundle = self._queue.popleft()
        # The caller's process (a notebook) may have loaded BLAS with all cores. Sums in another order differ in the
        # last bit, so a task has one thread here as on any worker, and the caller gets its threads back.
        with threadpool_limits(limits=1):
            return [Finished(bundle, run_bundle(bundle, self._should_stop))]

    def cancel(self, bundles: Iterable[Bundle]) -> None:
        """Forget queued bundles."""
        gone = {one.number for one in bundles}
        self._queue = deque(one for one in self._queue if one.number not in gone)

    def census(self) -> Mapping[str, int]:
        """One: the process that asks."""
        return {"busy": 1}

    def expect(self, tasks: int) -> None:
        """Nothing to give back."""

    def job_end(self, writer: Writer) -> JobEnd | None:
        """There are no jobs."""
        return None

    def news(self) -> list[JobNews]:
        """There are no jobs."""
        return []

    def stop(self) -> None:
        """Forget all."""
        self._queue.clear()
