"""What every Dask back end does with tasks: sends ids, takes reports, holds nothing, retries nothing.

`allowed-failures` is 0: when a worker dies, Dask blames every task assigned to it; our marks on disk know which one
was executing.
"""

from __future__ import annotations

import contextlib
import queue
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import distributed

from archive_proc.errors import PreconditionError
from archive_proc.execution.backends import AWAITED, Finished, JobEnd, JobNews
from archive_proc.execution.calls import Bundle
from archive_proc.execution.liveness import Writer
from archive_proc.execution.packing import packed, reports_of, run_packed
from archive_proc.execution.worker_config import WRONG_CONFIG

_RESULT_TIMEOUT_S = 10.0
"""For fetching 1 kB. An answer that died with its worker would be waited for until Dask has run the task again."""


class DaskBackend:
    """Tasks to a Dask client that a subclass connects in `start`."""

    isolated = True
    workers: int

    def __init__(self) -> None:
        # Any: dask ships no types.
        self._client: Any = None
        self._futures: dict[int, Any] = {}
        """By the bundle's number."""
        self._done: queue.SimpleQueue[tuple[Bundle, Any]] = queue.SimpleQueue()
        self._open = contextlib.ExitStack()

    def submit(self, bundle: Bundle, priority: float) -> None:
        """Send ids to a worker. A key of its own each time: Dask must never merge two attempts."""
        what = packed(bundle)
        future = self._client.submit(run_packed, what, key=bundle.key, pure=False, retries=0, priority=priority)
        self._watch(bundle, future)

    def _watch(self, bundle: Bundle, future: Any) -> None:
        self._futures[bundle.number] = future
        future.add_done_callback(lambda done, bundle=bundle: self._done.put((bundle, done)))

    def wait_any(self, timeout_s: float) -> list[Finished]:
        """What ended; futures are released at once, so that no result lives on a worker.

        Raises PreconditionError (AP-RUN-046) when a worker is not set up as the run wants.
        """
        ended: list[tuple[Bundle, Any]] = []
        with contextlib.suppress(queue.Empty):
            ended.append(self._done.get(timeout=timeout_s))
            while True:
                ended.append(self._done.get_nowait())
        if not ended:
            self._look_after()
        mine = [(bundle, future) for bundle, future in ended if self._futures.pop(bundle.number, None) is not None]
        told = self._fetched([future for _, future in mine])
        return [self._finished(bundle, future, told) for bundle, future in mine]

    def _fetched(self, futures: list[Any]) -> dict[str, Any]:
        """Key -> answer, fetched together: a round trip costs more than what it brings. The rest is asked for alone."""
        good = [one for one in futures if one.status == "finished"]
        if len(good) < 2:
            return {}
        try:
            answers = self._client.sync(self._client._gather, good, callback_timeout=_RESULT_TIMEOUT_S)
        # Exception: as below; a worker died meanwhile.
        except Exception:
            return {}
        return {one.key: answer for one, answer in zip(good, answers, strict=True)}

    def _look_after(self) -> None:
        """Nothing ended for a while: time to see whether workers are missing."""

    def _finished(self, bundle: Bundle, future: Any, told: Mapping[str, Any]) -> Finished:
        try:
            content = told[future.key] if future.key in told else future.result(timeout=_RESULT_TIMEOUT_S)
            reports = reports_of(content)
        except ImportError as problem:
            raise PreconditionError(
                "AP-RUN-049",
                f"workers cannot import the package: {problem}",
                subject="worker",
                remedy="set slurm.python of the site to one that has archive_proc installed, as the driver's has",
            ) from problem
        # Exception: KilledWorker, CancelledError, lost connections, time-outs of several libraries; all mean
        # that the worker gave no answer. run_bundle itself never raises.
        except (Exception, distributed.client.FutureCancelledError) as problem:
            return Finished(bundle, None, f"{type(problem).__name__}: {problem}")
        finally:
            future.release()
        for facts in (one.failure for one in reports):
            if facts is not None and facts.code == WRONG_CONFIG:
                raise PreconditionError(facts.code, facts.message, subject="worker", remedy=facts.remedy)
        return Finished(bundle, reports)

    def cancel(self, bundles: Iterable[Bundle]) -> None:
        """Cancel and forget."""
        gone = [future for one in bundles if (future := self._futures.pop(one.number, None)) is not None]
        if gone and self._client is not None:
            self._client.cancel(gone)

    @property
    def client(self) -> Any:
        """Dask's own, for comparisons."""
        return self._client

    # Any: dask's scheduler, in this process.
    def _scheduler(self) -> Any:
        """None while there is none."""
        return None

    def census(self) -> Mapping[str, int]:
        """Workers by state, as the scheduler in this process knows them; empty while there is none."""
        scheduler = self._scheduler()
        if scheduler is None:
            return {}
        found: Counter[str] = Counter()
        with contextlib.suppress(RuntimeError):  # a worker came or went while they were counted: next time
            for one in list(scheduler.workers.values()):
                state = "starting" if one.status.name == "init" else one.status.name
                found[("busy" if one.processing else "idle") if state == "running" else state] += 1
        if (missing := self.workers - found.total()) > 0:
            found[AWAITED] = missing
        return found

    def expect(self, tasks: int) -> None:
        """Workers of one machine cost nothing while they wait."""

    def job_end(self, writer: Writer) -> JobEnd | None:
        """There are no jobs."""
        return None

    def news(self) -> list[JobNews]:
        """There are no jobs."""
        return []

    def stop(self) -> None:
        """Close workers and scheduler."""
        self._futures.clear()
        self._open.close()
        self._client = None
