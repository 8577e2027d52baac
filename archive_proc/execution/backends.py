"""Where tasks run: five methods. Everything that must outlive a process is ours, so a back end may be dumb.

`serial` runs tasks in the driver's own process, one at a time; `clusters.py` has Dask's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from archive_proc.execution.calls import TaskCall, TaskReport


@dataclass(frozen=True, slots=True)
class Finished:
    """A task that came back, or did not."""

    call: TaskCall
    report: TaskReport | None
    """None when the worker vanished: the disk tells what happened, not the back end."""
    lost: str = ""
    """What the back end says about a lost task."""


class Backend(Protocol):
    """Executes tasks. Promises nothing about order; may lose a task, never invents one."""

    @property
    def name(self) -> str:
        """As in a site profile."""

    @property
    def workers(self) -> int:
        """Tasks it executes at once."""

    @property
    def isolated(self) -> bool:
        """Whether tasks run in processes of their own."""

    def start(self) -> None:
        """Get ready. Raises TemporaryError when it cannot be had now."""

    def submit(self, call: TaskCall, priority: float) -> None:
        """Take a task; larger priorities first."""

    def wait_any(self, timeout_s: float) -> list[Finished]:
        """Tasks that ended since the last call; waits for the first at most `timeout_s`."""

    def cancel(self, calls: Iterable[TaskCall]) -> None:
        """Forget tasks that have not started; running ones may go on."""

    def stop(self) -> None:
        """Give everything back. Harmless twice."""


class SerialBackend:
    """One task after the other, in this process."""

    name = "serial"
    workers = 1
    isolated = False

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._queue: deque[TaskCall] = deque()

    def start(self) -> None:
        """Nothing to get."""

    def submit(self, call: TaskCall, priority: float) -> None:
        """Queue it; the driver submits in order of priority."""
        self._queue.append(call)

    def wait_any(self, timeout_s: float) -> list[Finished]:
        """Run the next task to its end."""
        # numpy, zarr and the recipes: only when there is work
        from threadpoolctl import threadpool_limits

        from archive_proc.execution.worker import run_task

        if not self._queue:
            return []
        call = self._queue.popleft()
        # The caller's process (a notebook) may have loaded BLAS with all cores. Sums in another order differ in the
        # last bit, so a task has one thread here as on any worker, and the caller gets its threads back.
        with threadpool_limits(limits=1):
            return [Finished(call, run_task(call, self._should_stop))]

    def cancel(self, calls: Iterable[TaskCall]) -> None:
        """Forget queued tasks."""
        gone = set(calls)
        self._queue = deque(one for one in self._queue if one not in gone)

    def stop(self) -> None:
        """Forget all."""
        self._queue.clear()
