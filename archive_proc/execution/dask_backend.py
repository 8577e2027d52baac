"""What every Dask back end does with tasks: sends ids, takes reports, holds nothing, retries nothing.

`allowed-failures` is 0: when a worker dies, Dask blames every task assigned to it; our marks on disk know which one
was executing.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import distributed
import msgspec

from archive_proc.errors import PreconditionError
from archive_proc.execution.answers import Answers, key_of
from archive_proc.execution.backends import AWAITED, Finished, JobEnd, JobNews
from archive_proc.execution.calls import Bundle
from archive_proc.execution.graphs import unfolded_at_once
from archive_proc.execution.liveness import Writer
from archive_proc.execution.packing import packed, reports_of, run_packed
from archive_proc.execution.worker_config import OTHER_CODE, WRONG_CONFIG, expect_same_code

_RESULT_TIMEOUT_S = 10.0
"""For Dask's word why there was no answer."""
CHECK_EVERY_S = 5.0
"""While nothing ends, for tasks of which only the client knows."""


class DaskBackend:
    """Tasks to a Dask client that a subclass connects in `start`."""

    isolated = True
    workers: int

    def __init__(self) -> None:
        # Any: dask ships no types.
        self._client: Any = None
        self._answers = Answers()
        self._unsent: list[tuple[Bundle, float]] = []
        self._flying: dict[int, tuple[Bundle, Any]] = {}
        """By the bundle's number, with Dask's future."""
        self._checked = 0.0
        self._open = contextlib.ExitStack()

    # Any: Dask's client.
    def _connect(self, client: Any) -> None:
        """Work with this client, whose scheduler is in this process."""
        self._open.enter_context(unfolded_at_once())
        self._client = self._open.enter_context(client)
        self._answers = Answers()
        self._scheduler().add_plugin(self._answers)

    def submit(self, bundle: Bundle, priority: float) -> None:
        """Keep it for the next `wait_any`: what is sent together costs the scheduler a third."""
        self._unsent.append((bundle, priority))

    def _send(self) -> None:
        """Send ids to workers, in order; the order of what is sent together is that of its largest priority."""
        if not self._unsent:
            return
        unsent, self._unsent = self._unsent, []
        unsent.sort(key=lambda one: -one[1])
        bundles = [bundle for bundle, _ in unsent]
        futures = self._client.map(
            self._task,
            [packed(one) for one in bundles],
            key=[key_of(one.number) for one in bundles],
            pure=False,
            retries=0,
            priority=unsent[0][1],
        )
        self._flying.update({one.number: (one, future) for one, future in zip(bundles, futures, strict=True)})

    # Any: what Dask takes as a task.
    @property
    def _task(self) -> Callable[[bytes], Any]:
        """What a worker does with a packed bundle."""
        return run_packed

    def wait_any(self, timeout_s: float) -> list[Finished]:
        """What ended; futures are released at once.

        Raises PreconditionError where a worker is not set up as the run wants (AP-RUN-046) or has other code (-050).
        """
        self._send()
        heard: list[tuple[int, bytes | None]] = []
        with contextlib.suppress(queue.Empty):
            heard.append(self._answers.heard.get(timeout=timeout_s))
            while True:
                heard.append(self._answers.heard.get_nowait())
        if not heard:
            self._look_after()
            heard = self._unheard()
        return [
            self._finished(*flying, content)
            for number, content in heard
            if (flying := self._flying.pop(number, None)) is not None
        ]

    def _unheard(self) -> list[tuple[int, bytes | None]]:
        """Tasks that the client alone knows to have ended: what the scheduler could not even read."""
        if time.monotonic() < self._checked + CHECK_EVERY_S:
            return []
        self._checked = time.monotonic()
        ended = [number for number, (_, future) in self._flying.items() if future.status != "pending"]
        heard: list[tuple[int, bytes | None]] = []
        with contextlib.suppress(queue.Empty):
            while True:
                heard.append(self._answers.heard.get_nowait())
        # Whoever did answer has been heard: the scheduler told us before it told its client.
        return heard + [(number, None) for number in ended]

    def _look_after(self) -> None:
        """Nothing ended for a while: time to see whether workers are missing."""

    # Any: Dask's future.
    def _finished(self, bundle: Bundle, future: Any, content: bytes | None) -> Finished:
        try:
            if content is None:
                future.result(timeout=_RESULT_TIMEOUT_S)
                return Finished(bundle, None, "ended without an answer")
            reports = reports_of(content)
        except ImportError as problem:
            raise PreconditionError(
                "AP-RUN-049",
                f"workers cannot import the package: {problem}",
                subject="worker",
                remedy="set slurm.python of the site to one that has archive_proc installed, as the driver's has",
            ) from problem
        except msgspec.MsgspecError as problem:
            raise PreconditionError(
                OTHER_CODE,
                f"driver and workers do not understand each other: {problem}",
                subject="worker",
                remedy="give driver and nodes one installation of archive_proc (slurm.python of the site)",
            ) from problem
        # Exception: KilledWorker, CancelledError, lost connections, time-outs of several libraries; all mean
        # that the worker gave no answer. run_bundle itself never raises.
        except (Exception, distributed.client.FutureCancelledError) as problem:
            expect_same_code()
            return Finished(bundle, None, f"{type(problem).__name__}: {problem}")
        finally:
            future.release()
        for facts in (one.failure for one in reports):
            if facts is not None and facts.code in (WRONG_CONFIG, OTHER_CODE):
                raise PreconditionError(facts.code, facts.message, subject="worker", remedy=facts.remedy)
        return Finished(bundle, reports)

    def cancel(self, bundles: Iterable[Bundle]) -> None:
        """Cancel and forget."""
        numbers = {one.number for one in bundles}
        self._unsent = [one for one in self._unsent if one[0].number not in numbers]
        gone = [flying[1] for one in numbers if (flying := self._flying.pop(one, None)) is not None]
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
        self._unsent.clear()
        self._flying.clear()
        self._open.close()
        self._client = None
