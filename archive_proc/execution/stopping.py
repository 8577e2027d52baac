"""SIGINT, SIGTERM, `cancel`: stop submitting, let running tasks end for a while, then end them between two blocks."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

STOP_NAME = "stop"
"""File of a run's directory that asks its driver to stop: `cancel` makes it."""
DISK_FULL = "disk full"
"""The reason that is no signal of the user: there is no room for more."""
ROOT_GONE = "a raw root is gone: mount it again"
"""Another: what is left would fail file by file."""


class Stopper:
    """Why and since when a run is stopping. As a context manager it answers the signals (main thread only)."""

    def __init__(self, stop_file: Path, grace_s: float, driver_file: Path | None = None) -> None:
        """`stop_file` asks this run to stop, `driver_file` whatever its driver does; workers see the first only."""
        self.reason = ""
        self._since = 0.0
        self._file = stop_file
        self._asks = [stop_file, *([driver_file] if driver_file is not None else [])]
        self._grace_s = grace_s
        # Any: what signal.signal gives back.
        self._before: dict[signal.Signals, Any] = {}

    def ask(self, reason: str) -> None:
        """Stop for a reason; asked twice, at once."""
        if self.reason:
            self._grace_s = 0.0
        else:
            self.reason, self._since = reason, time.monotonic()

    def look(self) -> None:
        """Somebody else may have asked by making the stop file (`archive-proc cancel`): workers see it, too."""
        if not self.reason and any(one.exists() for one in self._asks):
            self.ask("cancelled")

    @property
    def stopping(self) -> bool:
        """No new tasks."""
        return bool(self.reason)

    @property
    def now(self) -> bool:
        """The grace is over: running tasks end between two blocks."""
        return self.stopping and time.monotonic() - self._since >= self._grace_s

    def tell_workers(self) -> None:
        """Once the grace is over, let tasks in other processes know."""
        if self.now and not self._file.exists():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch()

    def _answer(self, number: int, frame: FrameType | None) -> None:
        self.ask(signal.Signals(number).name)

    def __enter__(self) -> Stopper:
        self._file.unlink(missing_ok=True)
        if threading.current_thread() is threading.main_thread():
            self._before = {one: signal.signal(one, self._answer) for one in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._file.unlink(missing_ok=True)
