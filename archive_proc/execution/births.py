"""What it costs until a worker process can take its first task: interpreter, imports, connecting."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import psutil

from archive_proc.execution.calls import WorkerStart
from archive_proc.execution.liveness import this_writer
from archive_proc.execution.meters import utc_now

# State of the worker process, on purpose: a process is born once, and its first report tells.
_UNTOLD: Final[list[WorkerStart]] = []


def note_ready(config: Mapping[str, str]) -> None:
    """Note that a process that a back end made can take its first task from now on, and how it is set up."""
    born = psutil.Process().create_time()
    _UNTOLD[:] = [
        WorkerStart(
            ready_at=utc_now(),
            wall_s=round(max(0.0, time.time() - born), 3),
            cpu_s=time.process_time(),
            job=this_writer().job,
            config=tuple(sorted(config.items())),
        )
    ]


def first_answer() -> WorkerStart | None:
    """What `note_ready` noted, once; None ever after, and in a process that no back end made."""
    return _UNTOLD.pop() if _UNTOLD else None
