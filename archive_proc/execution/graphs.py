"""Graphs of a few bundles unfolded in the scheduler's own thread.

Dask's scheduler hands every graph to another thread to be unfolded, because those of its users may take seconds. Ours
take microseconds; the way to the other thread and back cost half of what the scheduler spent on a bundle.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

from distributed import utils

_EXECUTOR = "_offload_executor"
"""Dask's own, without a public way to set it. Where a release calls it otherwise, this module does nothing."""


class _AtOnce(Executor):
    """Runs what it is given before it answers."""

    # Any: whatever the function takes and gives.
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        # Exception: whoever waits for the future is told.
        except Exception as problem:
            done.set_exception(problem)
        return done


class _Users:
    """Back ends that are open, and Dask's executor for the time after the last one."""

    lock = threading.Lock()
    count = 0
    before: Executor | None = None


@contextmanager
def unfolded_at_once() -> Iterator[None]:
    """Inside, this process's schedulers unfold graphs in their own thread. Back ends may begin and end in any order."""
    with _Users.lock:
        if not _Users.count:
            _Users.before = getattr(utils, _EXECUTOR, None)
            setattr(utils, _EXECUTOR, _AtOnce())
        _Users.count += 1
    try:
        yield
    finally:
        with _Users.lock:
            _Users.count -= 1
            if not _Users.count:
                setattr(utils, _EXECUTOR, _Users.before)
