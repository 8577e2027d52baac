"""Compiled kernels: the time to make them, or to load them, is not the recipe's work."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from archive_proc.model.phases import Phase, PhaseClock

_LOCK, _COMPILE = "numba:compiler_lock", "numba:compile"
"""The lock is held while numba loads a kernel from its cache or compiles it; compiling, inside, takes it many times."""


def import_libraries(cookbook: ModuleType) -> None:
    """Import what the recipes of a cookbook will: its `LIBRARIES`, where it names any."""
    for name in getattr(cookbook, "LIBRARIES", ()):
        importlib.import_module(name)


@contextlib.contextmanager
def compiling_apart(clock: PhaseClock) -> Iterator[Callable[[], None]]:
    """While inside, what numba does before a kernel runs belongs to `Phase.START`, and to `Phase.COMPILE` where it
    compiles.

    Gives what lets go of all that compiling left behind, as is done at the end: errors that numba met on its way stand
    in circles with the frames that called the kernel, and hold their arrays (0.6 GB of an extraction) until Python's
    collector happens to look. Nothing to do where no kernel was compiled, and where no recipe has imported numba: it is
    not imported for this.
    """
    if "numba" not in sys.modules:
        yield lambda: None
        return
    from numba.core import event

    turns: list[tuple[Phase, AbstractContextManager[None]]] = []
    compiled: list[str] = []

    def let_go() -> None:
        if compiled:
            compiled.clear()
            with clock(Phase.COMPILE):
                gc.collect()

    # Any: numba ships no types.
    class Turns(event.Listener):
        def on_start(self, happening: Any) -> None:
            compiles = happening.kind == _COMPILE or any(phase is Phase.COMPILE for phase, _ in turns)
            phase = Phase.COMPILE if compiles else Phase.START
            if compiles:
                compiled.append(happening.kind)
            turns.append((phase, clock(phase)))
            turns[-1][1].__enter__()

        def on_end(self, happening: Any) -> None:
            if turns:
                turns.pop()[1].__exit__(None, None, None)

    listener = Turns()
    with contextlib.ExitStack() as installed:
        for kind in (_LOCK, _COMPILE):
            installed.enter_context(event.install_listener(kind, listener))
        try:
            yield let_go
        finally:
            let_go()
