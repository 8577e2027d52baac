"""How Dask is set up for a run, and each worker's word that it is set up so.

Settings made in the driver reach local workers, but not those of a SLURM job (notes/engine 6), and nothing tells.
So every worker process says once what it found, and one that found something else does no task.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import dask
import distributed

from archive_proc.errors import PreconditionError
from archive_proc.execution.births import note_ready
from archive_proc.execution.calls import Bundle, FailureFacts, TaskReport
from archive_proc.execution.liveness import host_name
from archive_proc.execution.threads import THREAD_VARIABLES
from archive_proc.execution.worker import run_bundle
from archive_proc.model.processes import Cause
from archive_proc.version import PACKAGE, __version__

WRONG_CONFIG = "AP-RUN-046"
OTHER_CODE = "AP-RUN-050"
CODE = "archive_proc"
"""Of what a worker finds: version and digest of the package's code."""
MEMORY_TOLERANCE = 0.01
"""Dask passes limits as text of three digits."""
WORKER_ENVIRONMENT: Mapping[str, str] = {
    **dict.fromkeys(THREAD_VARIABLES, "1"),
    # Not MALLOC_TRIM_THRESHOLD_: any value switches off glibc's adaptive threshold, so every array of a megabyte is
    # mapped and zeroed anew. On the sample nights: 19 s of system time in place of 5.
    "MALLOC_ARENA_MAX": "2",
}
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
    "distributed.admin.low-level-log-length": 50,  # of each topic and worker; answers are up to 100 kB
    "distributed.admin.tick.interval": "1s",  # looks whether the event loop is held up: fifty times a second by default
    "distributed.admin.system-monitor.interval": "5s",  # for a dashboard that we do not have
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.log-length": 10,
    "distributed.admin.tick.limit": "30s",  # silence about long GIL holders; we measure ourselves
    "distributed.nanny.pre-spawn-environ": dict(WORKER_ENVIRONMENT),
}
_OF_WORKERS = tuple(name for name in SETTINGS if name.startswith(("distributed.worker.", "distributed.comm.")))


def expected(memory_bytes: int) -> dict[str, str]:
    """What a worker must find: Dask's settings, thread variables, its memory limit."""
    return {
        **{name: str(SETTINGS[name]) for name in _OF_WORKERS},
        **WORKER_ENVIRONMENT,
        "memory_limit": str(memory_bytes),
        CODE: code_id(),
    }


def found(memory_bytes: int) -> dict[str, str]:
    """What stands in this process, under the same names."""
    return {
        **{name: str(dask.config.get(name, None)) for name in _OF_WORKERS},
        **{name: os.environ.get(name, "") for name in WORKER_ENVIRONMENT},
        "memory_limit": str(memory_bytes),
        CODE: code_id(),
    }


def difference(wanted: Mapping[str, str], here: Mapping[str, str]) -> str:
    """What differs, in words; empty where nothing does."""
    wrong = [name for name in wanted if name != "memory_limit" and here.get(name) != wanted[name]]
    limit, got = int(wanted["memory_limit"]), int(here.get("memory_limit", "0"))
    if abs(limit - got) > MEMORY_TOLERANCE * limit:
        wrong.append("memory_limit")
    return "; ".join(f"{name} is {here.get(name, '')!r}, not {wanted[name]!r}" for name in wrong)


@cache
def code_id() -> str:
    """The package of this process: as it lay on disk when this was first asked for."""
    return code_on_disk()


def code_on_disk() -> str:
    """The package as it lies on disk: `0.1.0 5f3c21aa`. Two checkouts may bear one version and compute differently.

    Its tables count: workers read them themselves.
    """
    digest = 0
    for path in sorted(one for one in PACKAGE.rglob("*") if one.suffix in (".py", ".toml")):
        digest = zlib.crc32(path.relative_to(PACKAGE).as_posix().encode() + b"\0", digest)
        digest = zlib.crc32(path.read_bytes(), digest)
    return f"{__version__} {digest:08x}"


def expect_same_code() -> None:
    """Raise PreconditionError (AP-RUN-050) where the package is no longer what this driver began with.

    For a driver that lost a worker: one that starts now has the other code, and may not even come so far as to say so.
    """
    try:
        now = code_on_disk()
    except OSError:
        return  # a file system that fails for a moment tells nothing
    if now != code_id():
        raise PreconditionError(
            OTHER_CODE,
            f"the package was changed while the run went on: it is archive_proc {now}, the run began with {code_id()}",
            subject="worker",
            remedy="give the same command again, and leave the installation alone during a run",
        )


JOB_BEGAN = "ARCHIVE_PROC_JOB_BEGAN"
"""Variable of a worker's job: when it began, Unix seconds by the node's clock. A restarted worker is as old as it."""
RETIRED_PAUSE_S = 0.2
CLOSE_AFTER_S = 0.5
"""Between a retiring worker's last report and its end, so that the report arrives."""
# State of the worker process, on purpose: what it found when it started, and itself once it is to end.
_REFUSAL: Final[list[FailureFacts]] = []
_RETIRING: Final[list[Any]] = []


@dataclass(frozen=True)
class WorkerSetup(distributed.WorkerPlugin):
    """Run once in each worker process before its first task, also in one that replaces another.

    Unpickling it imports what tasks need, so that tasks do not pay for it. Ctrl-C reaches the whole process group;
    only the driver answers it.
    """

    wanted: Mapping[str, str]
    lifetime_s: int = 0
    """Age of its job at which a worker ends, between two tasks; 0: never. Dask's own `--lifetime` ends it within one,
    and lets its successor begin that task while the thread still works on it."""
    stagger_s: int = 0
    """Give or take, so that not all workers are away at once."""
    name: str = "archive-proc-worker"

    # Any: dask's worker.
    def setup(self, worker: Any) -> None:
        """Note that the process is ready, what it found, and whether that is what the run wants."""
        here = found(worker.memory_manager.memory_limit or 0)
        _REFUSAL[:] = [facts for facts in [refusal(self.wanted, here)] if facts is not None]
        note_ready(here)
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self.lifetime_s:
            now = time.time()
            age = now - float(os.environ.get(JOB_BEGAN, now))
            stagger = int.from_bytes(os.urandom(2)) / 2**15 - 1.0
            worker.loop.call_later(max(1.0, self.lifetime_s + stagger * self.stagger_s - age), _retire, worker)


def refusal(wanted: Mapping[str, str], here: Mapping[str, str]) -> FailureFacts | None:
    """Why a worker that finds this does no task of a run that wants that; None where it may."""
    if here.get(CODE) != wanted.get(CODE):
        return FailureFacts(
            cause=Cause.CONFIG,
            code=OTHER_CODE,
            signature=OTHER_CODE,
            message=f"a worker on {host_name()} has archive_proc {here.get(CODE)}, the driver {wanted.get(CODE)}",
            remedy="give driver and nodes one installation (slurm.python of the site), and leave it alone during a run",
        )
    if text := difference(wanted, here):
        return FailureFacts(
            cause=Cause.CONFIG,
            code=WRONG_CONFIG,
            signature=WRONG_CONFIG,
            message=f"a worker on {host_name()} is not set up as this run wants: {text}",
            remedy="look for DASK_ variables and module lines in the site's prologue that undo dask.yaml of the run",
        )
    return None


# Any: dask's worker.
def _retire(worker: Any) -> None:
    """Take no further task; end now, or once the one at work is done."""
    _RETIRING[:] = [worker]
    if not worker.state.executing:
        _close_soon(worker)


def _close_soon(worker: Any) -> None:
    worker.loop.call_later(CLOSE_AFTER_S, worker.close_gracefully, reason="its job is old enough")


def run_checked(bundle: Bundle) -> tuple[TaskReport, ...]:
    """`run_bundle` in a worker that is set up as the run wants; else reports that say what differs.

    A worker that is to end does nothing more: its tasks are sent again.
    """
    if _RETIRING:
        time.sleep(RETIRED_PAUSE_S)  # or the driver would send them here again and again until it is gone
        return _unexecuted(bundle, None)
    if _REFUSAL:
        return _unexecuted(bundle, _REFUSAL[0])
    reports = run_bundle(bundle)
    for worker in _RETIRING:  # while it worked
        worker.loop.add_callback(_close_soon, worker)
    return reports


def _unexecuted(bundle: Bundle, failure: FailureFacts | None) -> tuple[TaskReport, ...]:
    """Reports of tasks that were not begun: to be sent again, or why none ever is here."""
    return tuple(
        TaskReport(
            process_id=call.process_id,
            attempt=call.attempt,
            task=call.task,
            host=host_name(),
            pid=os.getpid(),
            stopped=failure is None,
            failure=failure,
        )
        for call in bundle.calls
    )
