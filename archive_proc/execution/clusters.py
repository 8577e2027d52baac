"""Dask as a fast, dumb executor on one machine: worker processes of one thread, nothing held, nothing retried.

Settings and their reasons: `worker_config.py`.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import dask
import distributed
from distributed.core import Status

from archive_proc.errors import TemporaryError
from archive_proc.execution.backends import AWAITED
from archive_proc.execution.dask_backend import DaskBackend
from archive_proc.execution.open_files import allow_files
from archive_proc.execution.worker_config import SETTINGS, WorkerSetup, expect_same_code, expected

START_TIMEOUT_S = 120.0
START_TRIES = 3
LOOK_EVERY_S = 5.0
"""For workers that are gone, while nothing else happens."""
_KILL_EVERY_S = 0.5
"""While a cluster closes."""


class DaskLocal(DaskBackend):
    """Worker processes on this machine."""

    name = "local"

    def __init__(self, workers: int, memory_per_worker_gb: float) -> None:
        super().__init__()
        self.workers = workers
        self._memory_bytes = int(memory_per_worker_gb * 1e9)
        # Any: dask ships no types.
        self._cluster: Any = None
        self._looked = 0.0
        # Names of nannies without a worker: seen the last time, and those that another took the place of.
        self._gone: set[Any] = set()
        self._replaced: set[Any] = set()

    def start(self) -> None:
        """Start scheduler and workers.

        Raises TemporaryError (AP-RUN-030) when they do not come up in three tries, PreconditionError (AP-RUN-050) when
        they cannot because the package was changed meanwhile.
        """
        for left in reversed(range(START_TRIES)):
            try:
                self._start()
                return
            # Exception: Dask raises what went wrong in a worker as no more than that.
            except Exception as problem:
                # A worker that dies while it starts (killed, out of memory) takes the whole cluster's start with it.
                self.stop()
                expect_same_code()
                if not isinstance(problem, OSError | TimeoutError | RuntimeError):
                    raise
                if not left:
                    raise TemporaryError(
                        "AP-RUN-030",
                        f"the worker processes did not start: {problem}",
                        subject="site local",
                        remedy="try again, or run with --site serial",
                    ) from problem

    def _start(self) -> None:
        allow_files(self.workers)
        scratch = tempfile.mkdtemp(prefix="archive-proc-dask-")
        self._open.callback(shutil.rmtree, scratch, ignore_errors=True)
        self._open.enter_context(dask.config.set(SETTINGS))
        self._cluster = self._open.enter_context(
            distributed.LocalCluster(  # type: ignore[no-untyped-call]  # dask ships no types
                n_workers=self.workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=self._memory_bytes or None,
                # No dashboard; what remains of the scheduler's HTTP server takes any free port of loopback.
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                host="127.0.0.1",
                local_directory=scratch,
                silence_logs=logging.CRITICAL,
            )
        )
        client = distributed.Client(self._cluster, set_as_default=False)  # type: ignore[no-untyped-call]  # as above
        self._connect(client)
        self._client.register_plugin(WorkerSetup(expected(self._memory_bytes)))
        self._client.wait_for_workers(1, timeout=START_TIMEOUT_S)

    def _look_after(self) -> None:
        """Start a worker in place of each one whose nanny gave up, seen so twice in a row.

        A nanny restarts a worker that dies, but one that dies while it starts (a task of it kills at once) can leave
        the nanny with nothing, for good.
        """
        if self._cluster is None or time.monotonic() < self._looked + LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        if self.census().get(AWAITED):
            expect_same_code()
        before, self._gone = (
            self._gone,
            {name for name, nanny in self._cluster.workers.items() if _gave_up(nanny) and name not in self._replaced},
        )
        if left := self._gone & before:
            self._replaced |= left
            self._cluster.scale(self.workers + len(self._replaced))

    # Any: as above.
    def _scheduler(self) -> Any:
        return None if self._cluster is None else self._cluster.scheduler

    def stop(self) -> None:
        """Close workers and scheduler."""
        with _none_starts(self._cluster):
            super().stop()
        self._cluster = None


# Any: dask's cluster, or None.
@contextmanager
def _none_starts(cluster: Any) -> Iterator[None]:
    """Inside, workers that are starting are killed: a nanny that closes waits for its worker to be up first, and one
    that cannot start (its package was changed) says so after half a minute, or never.
    """
    closed = threading.Event()

    def kill() -> None:
        while not closed.wait(_KILL_EVERY_S):
            for nanny in list(cluster.workers.values()):
                process = nanny.process
                if process is not None and process.status == Status.starting and process.pid:
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)

    if cluster is None:
        yield
        return
    killer = threading.Thread(target=kill, name="driver-killer", daemon=True)
    killer.start()
    try:
        yield
    finally:
        closed.set()
        killer.join()


# Any: dask's nanny.
def _gave_up(nanny: Any) -> bool:
    """Whether it has no worker process and is not about to have one."""
    return nanny.process is None or nanny.process.status in (Status.stopped, Status.failed)
