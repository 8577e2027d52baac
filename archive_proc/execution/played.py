"""The real scheduler with workers that only play: what hundreds of workers ask of driver and scheduler (bench engine).

    python -m archive_proc.execution.played ADDRESS N

is N workers in one process. A played task sleeps and reports what a real one would; it can leave a sealed directory
without pixels behind, for the catalog to read. One process that plays a thousand workers uses up a core: what it
measures of efficiency is a floor.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dask
import distributed
import psutil

from archive_proc.execution.answers import tell
from archive_proc.execution.calls import TaskCall, TaskReport
from archive_proc.execution.clusters import START_TIMEOUT_S, DaskLocal
from archive_proc.execution.dask_backend import DaskBackend
from archive_proc.execution.environment import environment
from archive_proc.execution.interpreters import module_command, same_paths
from archive_proc.execution.liveness import host_name
from archive_proc.execution.meters import utc_now
from archive_proc.execution.open_files import allow_files
from archive_proc.execution.packing import bundle_of, packed
from archive_proc.execution.spec import AttemptDir, read_spec
from archive_proc.execution.worker_config import SETTINGS
from archive_proc.model.phases import Phase, PhaseCost
from archive_proc.model.processes import ProductRecord, QcValue
from archive_proc.model.records import ProcessRecord
from archive_proc.storage.layout import Layout
from archive_proc.storage.records import RECORD_NAME, write_record
from archive_proc.storage.seal import make_seal, remove_tree
from archive_proc.version import __version__

_FILES = 2
"""A played worker has twice as many files open as a driver has for it, in the process that plays all."""
_AT_ONCE = 50
"""Workers that start at the same time."""
_PHASES = (Phase.TASK, Phase.RAW, Phase.READ, Phase.CALIBRATIONS, Phase.BLOCK, Phase.REDUCE, Phase.WRITE, Phase.SEAL)


class DaskPlayed(DaskLocal):
    """Scheduler and client as on one machine; workers in one process of their own that only play."""

    name = "played"

    def __init__(self, workers: int, speed: float, *, seal: bool) -> None:
        super().__init__(workers, 0.0)
        self._speed, self._seal = speed, seal
        self.players_busy = 0.0
        """Share of a core that the process took which plays, from when all workers were there until it was ended."""
        self._all_there = (0.0, 0.0)

    def _start(self) -> None:
        allow_files(_FILES * self.workers)
        self._open.enter_context(dask.config.set(SETTINGS))
        self._cluster = self._open.enter_context(
            distributed.LocalCluster(  # type: ignore[no-untyped-call]  # dask ships no types
                n_workers=0,
                processes=False,
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                host="127.0.0.1",
                protocol="tcp",
                silence_logs=logging.CRITICAL,
            )
        )
        address = self._cluster.scheduler_address
        command = module_command("archive_proc.execution.played", address, str(self.workers))
        players = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=same_paths())
        self._open.callback(self._end, players)
        client = distributed.Client(self._cluster, set_as_default=False)  # type: ignore[no-untyped-call]  # as above
        self._connect(client)
        self._client.wait_for_workers(self.workers, timeout=START_TIMEOUT_S + self.workers)
        self._all_there = (_cpu_s(players.pid), time.monotonic())

    def _end(self, players: subprocess.Popen[bytes]) -> None:
        cpu_s, since = self._all_there
        if since:
            self.players_busy = (_cpu_s(players.pid) - cpu_s) / (time.monotonic() - since)
        players.terminate()
        players.wait()

    # Any: as every Dask back end.
    @property
    def _task(self) -> Callable[[bytes], Any]:
        """What a player does."""
        return partial(play, speed=self._speed, seal=self._seal)


def _cpu_s(pid: int) -> float:
    """That a process has used; 0 where it is gone."""
    with contextlib.suppress(psutil.Error):
        spent = psutil.Process(pid).cpu_times()
        return float(spent.user + spent.system)
    return 0.0


class PlainFutures:
    """Dask without us: every process a future of its own, all at once; for comparison."""

    def __init__(self, backend: DaskBackend) -> None:
        self._backend = backend

    def run(self, seconds: float, n: int) -> None:
        """Sleep `n` times so long."""
        # Any: dask ships no types.
        client: Any = self._backend.client
        futures = client.map(_sleep, [seconds] * n, key=[f"plain-{one}" for one in range(n)], pure=False)
        client.gather(futures)


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


async def play(content: bytes, speed: float, seal: bool) -> None:
    """Take as long as predicted, divided by `speed`, and say that it is done."""
    bundle, begun = bundle_of(content), dt.datetime.now(dt.UTC)
    await asyncio.sleep(bundle.seconds / speed)
    layout = Layout(Path(bundle.settings.root))
    each = bundle.seconds / len(bundle.calls) / speed
    starts = [
        (begun + dt.timedelta(seconds=each * at)).isoformat(timespec="milliseconds") for at in range(len(bundle.calls))
    ]
    each_call = zip(bundle.calls, starts, strict=True)
    tell(bundle.number, packed(tuple(_played(layout, call, start, each, seal) for call, start in each_call)))


def _played(layout: Layout, call: TaskCall, start: str, seconds: float, seal: bool) -> TaskReport:
    ends = call.task.kind in ("all", "close")
    if ends and seal:
        _leave_sealed(layout, call, seconds)
    return TaskReport(
        process_id=call.process_id,
        attempt=call.attempt,
        task=call.task,
        host=host_name(),
        pid=os.getpid(),
        started_at=start,
        wall_s=seconds,
        cpu_s=seconds,
        peak_memory_bytes=10**9,
        resident_bytes=10**8,
        bytes_read=10**8,
        planes_read=16,
        phases={one.value: PhaseCost(seconds / len(_PHASES), seconds / len(_PHASES)) for one in _PHASES},
        sealed=ends,
        pixel_digests=(),
    )


def _leave_sealed(layout: Layout, call: TaskCall, seconds: float) -> None:
    """A record and a seal by one rename, nothing forced to disk."""
    directory = AttemptDir(layout.pending_dir(call.process_id, call.attempt))
    spec = read_spec(directory)
    process = spec.process
    made = tuple(ProductRecord(one, (16,), "float32", 1000, "0" * 64) for one in process.product_types)
    record = ProcessRecord(
        process=process,
        run_id=spec.run_id,
        plan_id=spec.plan_id,
        attempt=spec.attempt,
        asked_by=spec.asked_by,
        package_version=__version__,
        code_fingerprint="0" * 64,
        environment=environment(),
        host=host_name(),
        pid=os.getpid(),
        started_at=utc_now(),
        ended_at=utc_now(),
        cpu_s=seconds,
        wall_s=seconds,
        peak_memory_bytes=10**9,
        bytes_read=10**8,
        bytes_written=10**6,
        planes=sum(frame.n_planes for frame in spec.frames),
        qc=tuple(QcValue(one, "level", 1.0, "adu") for one in process.product_types),
        products=made,
    )
    directory.out.mkdir()
    write_record(directory.out / RECORD_NAME, record)
    make_seal(directory.out, process.process_id, spec.attempt, {}, (RECORD_NAME,))
    destination = layout.product_dir(process.process_id)
    destination.parent.mkdir(parents=True, exist_ok=True)
    directory.out.rename(destination)
    remove_tree(directory.path)


async def _workers(address: str, n: int) -> None:
    """N workers of one thread in this process, until it is told to end."""
    # Any: dask ships no types.
    worker: Callable[..., Any] = distributed.Worker
    async with contextlib.AsyncExitStack() as stack:
        for first in range(0, n, _AT_ONCE):
            group = [
                worker(address, nthreads=1, name=f"player-{one}", dashboard=False, memory_limit=0)
                for one in range(first, min(n, first + _AT_ONCE))
            ]
            await asyncio.gather(*(stack.enter_async_context(one) for one in group))
        await asyncio.Event().wait()


def main() -> None:
    """See the module."""
    with dask.config.set(SETTINGS):
        asyncio.run(_workers(sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    main()
