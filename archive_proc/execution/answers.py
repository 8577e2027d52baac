"""Answers as they arrive: workers tell the scheduler, which lives in the driver's process, and it tells the driver.

A result that stays on its worker until it is asked for costs four messages more, and is lost where the worker dies
first.
"""

from __future__ import annotations

import queue
from typing import Any

import distributed

TOPIC = "archive-proc-answers"
PREFIX = "bundle-"
"""Of keys. One prefix for all: Dask keeps an account of each that it has seen, for good."""
_ENDS = ("memory", "erred", "forgotten")
"""States after which a task will not be heard of."""


def key_of(number: int) -> str:
    """What Dask calls a bundle: unlike any other of the run, so that it never merges two attempts."""
    return f"{PREFIX}{number}"


def tell(number: int, content: bytes) -> None:
    """In a task: what a bundle's end brought, before the task itself is over."""
    # Any: dask ships no types.
    worker: Any = distributed.get_worker()
    worker.log_event(TOPIC, [number, content])


class Answers(distributed.SchedulerPlugin):
    """Hears of every bundle once: what it answered, or that it ended without a word.

    What a worker told is heard before its task ends: both come by the same stream.
    """

    name = "archive-proc-answers"

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[tuple[int, bytes | None]] = queue.SimpleQueue()
        """(bundle's number, answer); filled by the scheduler's thread, emptied by the driver's."""
        self._open: set[str] = set()
        """Keys that Dask has and of which nothing was heard."""

    # Any: as above, here and below.
    def log_event(self, topic: str, msg: Any) -> None:
        """A worker told something."""
        if topic == TOPIC:
            number, content = msg
            self._open.discard(key_of(number))
            self.heard.put((number, content))

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """A task changed its state."""
        if finish == "waiting" and isinstance(key, str) and key.startswith(PREFIX):
            self._open.add(key)
        elif finish in _ENDS and key in self._open:
            self._open.discard(key)
            self.heard.put((int(key.removeprefix(PREFIX)), None))
