"""One run of stand-ins, measured from inside its driver's own process: `python -m ... ORDER`, JSON on stdout.

A process of its own, so that memory and CPU are the driver's alone. Driver: the main thread. Scheduler: every other
thread, which is Dask's (its scheduler and client share the driver's process at every site).
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from archive_proc.bench.engine import cookbook
from archive_proc.bench.engine.semester import RAW_NAME, ROOT, equal_plan, semester_plan
from archive_proc.bench.run_records import seconds
from archive_proc.bench.worker_time import by_worker
from archive_proc.errors import InfraFailure
from archive_proc.execution.calls import Bundle
from archive_proc.execution.clusters import DaskLocal
from archive_proc.execution.executor import execute
from archive_proc.execution.interpreters import module_command, same_paths
from archive_proc.execution.outcome import RunOptions
from archive_proc.execution.played import DaskPlayed, PlainFutures
from archive_proc.flow.compactor import Compactor
from archive_proc.flow.running import save_plan
from archive_proc.model.events import TaskEnded
from archive_proc.model.processes import State
from archive_proc.settings import SiteProfile
from archive_proc.storage.journal import read_journal
from archive_proc.storage.layout import Layout
from archive_proc.storage.resident_memory import peak_bytes, resident_bytes

_SAMPLE_S = 0.5
_FIRST_PART = 0.2
"""Of the run, after which memory counts as settled."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    kind: str
    """semester (of a semester's shape, played, with seals and catalog), equal (all alike, played or real), plain."""
    processes: int
    workers: int
    root: str
    """An empty directory."""
    each_s: float = 1.0
    """Of equal processes."""
    speed: float = 1.0
    """A played second lasts 1/speed."""
    played: bool = True


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What it took."""

    processes: int
    done: int
    bundles: int = 0
    tasks: int = 0
    driver_s: float = 0.0
    """CPU, without the catalog's process."""
    scheduler_s: float = 0.0
    catalog_s: float = 0.0
    efficiency: float = 0.0
    """The processes' own time over the workers', from the end of each worker's first task on: start-up is apart."""
    players_busy: float = 0.0
    """Share of a core that the process took which plays the workers: near 1 it is what limits."""
    worker_s: float = 0.0
    """CPU of a worker a process, first tasks apart: what stand-ins themselves need is nothing."""
    between: float = 0.0
    """Share of the workers' time between two tasks: what they wait for the driver."""
    peak_bytes: int = 0
    catalog_peak_bytes: int = 0
    """Of the compactor, which is a process of its own."""
    growth_bytes: int = 0
    """Resident size at the end above that after a fifth of the run."""


class _Watched:
    """A back end whose start and stop are left out of the account, and whose bundles are counted."""

    isolated = True

    def __init__(self, inner: DaskLocal) -> None:
        self._inner = inner
        self.name, self.workers = inner.name, inner.workers
        self.apart_s = self.apart_main_s = 0.0
        self.bundles = self.tasks = 0
        self.wait_any, self.cancel, self.census = inner.wait_any, inner.cancel, inner.census
        self.expect, self.job_end, self.news = inner.expect, inner.job_end, inner.news

    def start(self) -> None:
        """Start it."""
        self._apart(self._inner.start)

    def stop(self) -> None:
        """Stop it."""
        self._apart(self._inner.stop)

    def submit(self, bundle: Bundle, priority: float) -> None:
        """Count and pass on."""
        self.bundles += 1
        self.tasks += len(bundle.calls)
        self._inner.submit(bundle, priority)

    def _apart(self, call: Callable[[], None]) -> None:
        every, mine = time.process_time(), time.thread_time()
        call()
        self.apart_s += time.process_time() - every
        self.apart_main_s += time.thread_time() - mine


class _Memory(threading.Thread):
    """Samples the resident size."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[int] = []
        self._end = threading.Event()

    def run(self) -> None:
        """Until told to end."""
        while not self._end.wait(_SAMPLE_S):
            self.samples.append(resident_bytes())

    def growth(self) -> int:
        """End it; bytes above those after the first part of the run."""
        self._end.set()
        self.join()
        settled = self.samples[int(_FIRST_PART * len(self.samples)) :]
        return settled[-1] - settled[0] if settled else 0


def measure(order: Order) -> Measured:
    """Run it in this process."""
    root = Path(order.root)
    inner = (
        DaskPlayed(order.workers, order.speed, seal=order.kind == "semester")
        if order.played
        else DaskLocal(order.workers, 2.0)
    )
    if order.kind == "plain":
        return _plain(order, inner)
    plan, frames = (
        semester_plan(order.processes) if order.kind == "semester" else equal_plan(order.processes, order.each_s)
    )
    layout = Layout(root / "archive")
    (root / "raw").mkdir(parents=True)
    (root / "raw" / RAW_NAME).touch()
    compactor = Compactor(layout)
    watched = _Watched(inner)
    options = RunOptions(
        raw_roots={ROOT: root / "raw"},
        cookbook=cookbook.MODULE,
        progress=False,
        backend=watched,
        publish=compactor if order.kind == "semester" else None,
    )
    if order.kind == "semester":
        save_plan(layout, plan)
    memory = _Memory()
    memory.start()
    every, mine = time.process_time(), time.thread_time()
    outcome = execute(plan, layout, frames, SiteProfile(name="bench", backend="local"), options)
    compactor.close()
    mine = time.thread_time() - mine - watched.apart_main_s
    every = time.process_time() - every - watched.apart_s
    peak, growth = peak_bytes(), memory.growth()  # before the journal is read for what follows
    tasks = [one for one in read_journal(layout.journal(outcome.run_id)).events if isinstance(one, TaskEnded)]
    warm = _warm(tasks, order)
    return Measured(
        processes=len(plan.processes),
        done=outcome.counts.get(State.DONE, 0),
        bundles=watched.bundles,
        tasks=watched.tasks,
        driver_s=mine,
        scheduler_s=every - mine,
        catalog_s=compactor.last.cpu_s,
        catalog_peak_bytes=compactor.last.peak_bytes,
        efficiency=warm.efficiency,
        worker_s=warm.cpu_s,
        between=warm.between,
        players_busy=inner.players_busy if isinstance(inner, DaskPlayed) else 0.0,
        peak_bytes=peak,
        growth_bytes=growth,
    )


def _plain(order: Order, inner: DaskLocal) -> Measured:
    """The same sleeps by Dask alone: no plan, no record, nothing on disk."""
    inner.start()
    every, begun = time.process_time(), time.monotonic()
    PlainFutures(inner).run(order.each_s, order.processes)
    wall_s, every = time.monotonic() - begun, time.process_time() - every
    inner.stop()
    share = order.processes * order.each_s / (order.workers * wall_s)
    return Measured(
        processes=order.processes,
        done=order.processes,
        scheduler_s=every,
        efficiency=share,
        peak_bytes=peak_bytes(),
    )


@dataclass(frozen=True, slots=True)
class _Warm:
    """Of what followed the first task of each worker."""

    efficiency: float
    cpu_s: float = 0.0
    """Of a worker a task."""
    between: float = 0.0


def _warm(tasks: list[TaskEnded], order: Order) -> _Warm:
    end = max(seconds(one.started_at) + one.wall_s for one in tasks)
    # Players share a process and need no warming up.
    workers = by_worker(tasks).values() if not order.played else ()
    held = sum(end - seconds(mine[0].started_at) - mine[0].wall_s for mine in workers)
    warm = [one for mine in workers for one in mine[1:]]
    if not warm:
        begin = min(seconds(one.started_at) for one in tasks)
        return _Warm(len(tasks) * order.each_s / order.speed / (order.workers * max(1e-9, end - begin)))
    held = max(1e-9, held)
    return _Warm(
        efficiency=len(warm) * order.each_s / held,
        cpu_s=sum(one.cpu_s for one in warm) / len(warm),
        between=1.0 - sum(one.wall_s for one in warm) / held,
    )


def measured_apart(order: Order) -> Measured:
    """The same in a process of its own. Raises InfraFailure AP-SIM-007 where it fails."""
    return apart("archive_proc.bench.engine.measuring", order, Measured)


_Found = TypeVar("_Found")


def apart(module: str, order: Order, kind: type[_Found]) -> _Found:
    """What a module that takes an order measures of it, in a process of its own. Raises InfraFailure AP-SIM-007."""
    command = module_command(module, msgspec.json.encode(order).decode())
    done = subprocess.run(command, stdout=subprocess.PIPE, env=same_paths(), check=False)
    if done.returncode:
        raise InfraFailure(
            "AP-SIM-007",
            f"exit status {done.returncode}",
            subject=f"bench engine, {order.kind}",
            remedy="read what it wrote to stderr, then run it by hand",
        )
    return msgspec.json.decode(done.stdout, type=kind)


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(measure(msgspec.json.decode(sys.argv[1], type=Order))).decode())
