"""Commands as processes of their own, forked from a server that has loaded everything: imports are paid once.

A campaign gives hundreds of commands of which half of the CPU would be imports. What is forked is the command line's
own `main`, in a session of its own; it can be killed like any process. Commands that need another loader (a preloaded
library) are started afresh.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from archive_proc.bench.kill_points import arm_from_environment
from archive_proc.bench.shifted_clock import shift_from_environment
from archive_proc.execution.interpreters import module_command, same_paths
from archive_proc.execution.threads import limit_environment

PRELOADED = (
    "archive_proc.flow.running",
    "archive_proc.flow.intake",
    "archive_proc.execution.worker",
    "archive_proc.catalog.verify",
    "archive_proc.catalog.query",
    "archive_proc.catalog.standing",
    # Loaded at the first look at a table, with pandas: half of the CPU of a command that finds nothing to do.
    "pyarrow.dataset",
    "archive_proc.bench.faults.kernels_loaded",
)
"""Not the command line: it may be the main module, which every child runs again under another name, with a warning
where it is loaded already."""
PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that ended."""

    status: int
    """Negative: killed by that signal."""
    out: str
    err: str
    wall_s: float

    @property
    def said(self) -> str:
        """Exit status, and the first error code it printed."""
        words = (self.err + "\n" + self.out).replace(":", " ").split()
        code = next((one for one in words if one.startswith("AP-") and len(one) == 10), "")
        return f"exit {self.status}" + (f" {code}" if code else "")


class Child:
    """A command that runs."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        self._began = time.monotonic()
        self._place = tempfile.TemporaryDirectory(prefix="archive-proc-command-")
        self._out, self._err = Path(self._place.name, "out"), Path(self._place.name, "err")
        self._forked: ForkServerProcess | None = None
        self._started: subprocess.Popen[bytes] | None = None
        if "LD_PRELOAD" in environment:
            with self._out.open("wb") as out, self._err.open("wb") as err:
                self._started = subprocess.Popen(
                    module_command("archive_proc.cli.main", *words),
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                    env={**same_paths(), **environment},
                )
        else:
            given = (list(words), dict(environment), str(self._out), str(self._err))
            self._forked = _server().Process(target=_command, args=given)
            self._forked.start()

    @property
    def pid(self) -> int:
        """Of the command itself."""
        found = self._forked.pid if self._forked is not None else self._started.pid if self._started else None
        assert found is not None
        return found

    def poll(self) -> int | None:
        """Exit status, None while it runs."""
        return self._forked.exitcode if self._forked is not None else self._started.poll() if self._started else None

    def finish(self) -> Ended:
        """Wait for its end. Raises TimeoutError for one that hangs."""
        if self._forked is not None:
            self._forked.join(PATIENCE_S)
        elif self._started is not None:
            self._started.wait(PATIENCE_S)
        status = self.poll()
        if status is None:
            raise TimeoutError(f"a command still runs after {PATIENCE_S:.0f} s: pid {self.pid}")
        wall = time.monotonic() - self._began
        ended = Ended(status=status, out=_text(self._out), err=_text(self._err), wall_s=wall)
        self._place.cleanup()
        return ended


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    limit_environment()  # before the server loads numpy
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _command(words: list[str], environment: dict[str, str], out: str, err: str) -> None:
    """In the child: the command line, as if it had been started."""
    os.setsid()
    os.environ.update(environment)
    for path, number in ((out, 1), (err, 2)):
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = ["archive-proc", *words]
    # Whatever was loaded before, here or in the server: the environment of this very command counts.
    arm_from_environment()
    shift_from_environment()
    from importlib import import_module

    # The layer above: called as a user calls it, by name.
    import_module("archive_proc.cli.main").main()
