"""A wall clock that steps in the midst of a run: the seam of `bench faults`.

A preloaded library can shift the clock of a whole process, but where it steps while threads wait on the monotonic clock
they spin. So a step is made where the package reads the wall clock: every such place is listed, and a test holds the
list against the package's source.
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

VARIABLE = "ARCHIVE_PROC_CLOCK"
"""Names a file that holds the shift in seconds, read at every look at the clock."""
TEXTS = (
    "archive_proc.execution.meters",
    "archive_proc.execution.retrying",
    "archive_proc.execution.ledger",
    "archive_proc.execution.executor",
    "archive_proc.execution.closing",
)
"""Modules that look `utc_now` up: records and journals."""
READERS = frozenset(
    {
        "archive_proc/execution/meters.py",
        "archive_proc/execution/lock.py",
        "archive_proc/execution/births.py",
        "archive_proc/execution/played.py",
        "archive_proc/execution/worker_config.py",
        "archive_proc/storage/clock_skew.py",
        "archive_proc/storage/runs.py",
        "archive_proc/storage/snapshots.py",
        "archive_proc/storage/manifests.py",
        "archive_proc/flow/detaching.py",
        "archive_proc/flow/intake.py",
        "archive_proc/flow/run_states.py",
        "archive_proc/flow/status.py",
        "archive_proc/flow/status_text.py",
        "archive_proc/flow/run_report.py",
        "archive_proc/cli/main.py",
    }
)
"""Files of the package that read the wall clock. Not shifted: an ingest's own time (kept later than the one before),
how long a worker took to start, when its job ends, what a person is shown, and names of files."""


_shifted: set[str] = set()
"""Files whose shift this process follows."""


def shift_from_environment() -> None:
    """Step the clock as the environment asks, in this very process; harmless twice."""
    named = os.environ.get(VARIABLE)
    if not named or named in _shifted:
        return
    _shifted.add(named)
    file = Path(named)
    for module in TEXTS:
        _wrap(
            module, "utc_now", lambda text: _later(dt.datetime.fromisoformat(text), file).isoformat("T", "milliseconds")
        )
    _wrap("archive_proc.execution.lock", "_now", lambda moment: _later(moment, file))
    runs = importlib.import_module("archive_proc.storage.runs")
    vars(runs)["time"] = SimpleNamespace(time=lambda: time.time() + _seconds(file))
    publish = importlib.import_module("archive_proc.flow.publish")
    real = vars(publish)["publish_snapshot"]

    @functools.wraps(real)
    # Any: the arguments of publish_snapshot.
    def published(*given: Any, **named: Any) -> Any:
        return real(*given, **named, now=_later(dt.datetime.now(dt.UTC), file).replace(tzinfo=None))

    vars(publish)["publish_snapshot"] = published


def _seconds(file: Path) -> float:
    return float(file.read_text() or 0)


def _later(moment: dt.datetime, file: Path) -> dt.datetime:
    return moment + dt.timedelta(seconds=_seconds(file))


# Any: text or time, as the wrapped function gives it.
def _wrap(module: str, name: str, change: Callable[[Any], Any]) -> None:
    owner = importlib.import_module(module)
    real = vars(owner)[name]
    vars(owner)[name] = functools.wraps(real)(lambda: change(real()))
