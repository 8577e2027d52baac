"""Dask as a fast, dumb executor on one machine: worker processes of one thread, nothing held, nothing retried.

The one place that imports dask. Settings and their reasons: notes/engine 6. `allowed-failures` is 0: when a worker
dies, Dask blames every task assigned to it; our marks on disk know which one was executing.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import dask
import distributed
from distributed.core import Status

from archive_proc.errors import TemporaryError
from archive_proc.execution.backends import Finished
from archive_proc.execution.births import note_ready
from archive_proc.execution.calls import Bundle, TaskReport
from archive_proc.execution.threads import THREAD_VARIABLES
from archive_proc.execution.worker import run_bundle

START_TIMEOUT_S = 120.0
START_TRIES = 3
LOOK_EVERY_S = 5.0
"""For workers that are gone, while nothing else happens."""
_RESULT_TIMEOUT_S = 10.0
"""For fetching 1 kB. An answer that died with its worker would be waited for until Dask has run the task again."""

SETTINGS: dict[str, Any] = {
    # Any: Dask's configuration is a tree of mixed values.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 2.0,  # keeps a task waiting on a one-thread worker
    "distributed.scheduler.worker-ttl": "30 minutes",  # a recipe may hold the GIL for long
    "distributed.scheduler.no-workers-timeout": "2 hours",
    "distributed.scheduler.work-stealing": False,  # a handful of tasks in flight; nothing to balance
    "distributed.worker.memory.target": False,  # nothing is kept, so nothing to spill
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.85,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.profile.enabled": False,
    "distributed.comm.retry.count": 3,
    "distributed.admin.tick.limit": "30s",  # silence about long GIL holders; we measure ourselves
    "distributed.nanny.pre-spawn-environ": {
        **dict.fromkeys(THREAD_VARIABLES, "1"),
        # Not MALLOC_TRIM_THRESHOLD_: any value switches off glibc's adaptive threshold, so every array of a megabyte is
        # mapped and zeroed anew. On the sample nights: 19 s of system time in place of 5.
        "MALLOC_ARENA_MAX": "2",
    },
}


class DaskLocal:
    """Worker processes on this machine."""

    name = "local"
    isolated = True

    def __init__(self, workers: int, memory_per_worker_gb: float) -> None:
        self.workers = workers
        self._memory_bytes = int(memory_per_worker_gb * 1e9)
        # Any: dask ships no types.
        self._cluster: Any = None
        self._client: Any = None
        self._futures: dict[int, Any] = {}
        """By the bundle's number."""
        self._done: queue.SimpleQueue[tuple[Bundle, Any]] = queue.SimpleQueue()
        self._open = contextlib.ExitStack()
        self._looked = 0.0
        # Names of nannies without a worker: seen the last time, and those that another took the place of.
        self._gone: set[Any] = set()
        self._replaced: set[Any] = set()

    def start(self) -> None:
        """Start scheduler and workers. Raises TemporaryError (AP-RUN-030) when they do not come up in three tries."""
        for left in reversed(range(START_TRIES)):
            try:
                self._start()
                return
            except (OSError, TimeoutError, RuntimeError) as problem:
                # A worker that dies while it starts (killed, out of memory) takes the whole cluster's start with it.
                self.stop()
                if not left:
                    raise TemporaryError(
                        "AP-RUN-030",
                        f"the worker processes did not start: {problem}",
                        subject="site local",
                        remedy="try again, or run with --site serial",
                    ) from problem

    def _start(self) -> None:
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
        self._client = self._open.enter_context(client)
        self._client.register_plugin(_Worker())
        self._client.wait_for_workers(1, timeout=START_TIMEOUT_S)

    def submit(self, bundle: Bundle, priority: float) -> None:
        """Send ids to a worker. A key of its own each time: Dask must never merge two attempts."""
        future = self._client.submit(run_bundle, bundle, key=bundle.key, pure=False, retries=0, priority=priority)
        self._futures[bundle.number] = future
        future.add_done_callback(lambda done, bundle=bundle: self._done.put((bundle, done)))

    def wait_any(self, timeout_s: float) -> list[Finished]:
        """What ended; futures are released at once, so that no result lives on a worker."""
        ended: list[Finished] = []
        try:
            bundle, future = self._done.get(timeout=timeout_s)
            while True:
                if self._futures.pop(bundle.number, None) is not None:
                    ended.append(self._finished(bundle, future))
                bundle, future = self._done.get_nowait()
        except queue.Empty:
            if not ended:
                self._replace()
            return ended

    def _replace(self) -> None:
        """Start a worker in place of each one whose nanny gave up, seen so twice in a row.

        A nanny restarts a worker that dies, but one that dies while it starts (a task of it kills at once) can leave
        the nanny with nothing, for good.
        """
        if self._cluster is None or time.monotonic() < self._looked + LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        before, self._gone = (
            self._gone,
            {name for name, nanny in self._cluster.workers.items() if _gave_up(nanny) and name not in self._replaced},
        )
        if left := self._gone & before:
            self._replaced |= left
            self._cluster.scale(self.workers + len(self._replaced))

    def _finished(self, bundle: Bundle, future: Any) -> Finished:
        try:
            reports = future.result(timeout=_RESULT_TIMEOUT_S)
        # Exception: KilledWorker, CancelledError, lost connections, time-outs of several libraries; all mean
        # that the worker gave no answer. run_bundle itself never raises.
        except (Exception, distributed.client.FutureCancelledError) as problem:
            return Finished(bundle, None, f"{type(problem).__name__}: {problem}")
        finally:
            future.release()
        if not (isinstance(reports, tuple) and all(isinstance(one, TaskReport) for one in reports)):
            return Finished(bundle, None, f"no reports but {type(reports).__name__}")
        return Finished(bundle, reports)

    def cancel(self, bundles: Iterable[Bundle]) -> None:
        """Cancel and forget."""
        gone = [future for one in bundles if (future := self._futures.pop(one.number, None)) is not None]
        if gone and self._client is not None:
            self._client.cancel(gone)

    def census(self) -> Mapping[str, int]:
        """Workers by state, as the scheduler in this process knows them; empty while there is none."""
        if self._cluster is None:
            return {}
        found: Counter[str] = Counter()
        with contextlib.suppress(RuntimeError):  # a worker came or went while they were counted: next time
            for one in list(self._cluster.scheduler.workers.values()):
                state = one.status.name
                found[("busy" if one.processing else "idle") if state == "running" else state] += 1
        if (missing := self.workers - found.total()) > 0:
            found["missing"] = missing
        return found

    def stop(self) -> None:
        """Close workers and scheduler."""
        self._futures.clear()
        self._open.close()
        self._client = self._cluster = None


# Any: dask's nanny.
def _gave_up(nanny: Any) -> bool:
    """Whether it has no worker process and is not about to have one."""
    return nanny.process is None or nanny.process.status in (Status.stopped, Status.failed)


class _Worker(distributed.WorkerPlugin):
    """Run once in each worker process before its first task, also in one that replaces another.

    Unpickling it imports what tasks need, so that tasks do not pay for it. Ctrl-C reaches the whole process group;
    only the driver answers it.
    """

    name = "archive-proc-worker"

    # Any: dask's worker.
    def setup(self, worker: Any) -> None:
        note_ready()
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
