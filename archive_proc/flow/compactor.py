"""The compactor of a large run, in a process of its own: the driver's memory stays what its plan takes.

    python -m archive_proc.flow.compactor ROOT PID

publishes once for each line on stdin and answers with a line on stdout. What it reads and writes is whole tables:
several kilobytes a process while it works. It ends with its stdin, and with its driver, PID: a killed driver's
compactor must not write beside the next driver's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from archive_proc.errors import ArchiveProcError
from archive_proc.execution.interpreters import module_command, same_paths
from archive_proc.flow.publish import publish
from archive_proc.storage.layout import Layout
from archive_proc.storage.resident_memory import peak_bytes

APART_FROM = 2000
"""Processes to run from which on starting another interpreter (a second of CPU) is nothing."""
SHOWN = 200
"""Bytes of a line that is no answer."""
_PR_SET_PDEATHSIG = 1


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """How it went."""

    error: str = ""
    """Empty: published."""
    errno: int = 0
    """Of an error of the system: a full disk must be known as one."""
    cpu_s: float = 0.0
    """Of the process since its start."""
    peak_bytes: int = 0
    """Largest resident size so far."""


class Compactor:
    """Publishes when called, in a process that starts with the first call."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._child: subprocess.Popen[bytes] | None = None
        self.last = Answer()
        """Of the last call."""

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._child.pid if self._child is not None else None

    def __call__(self) -> None:
        """Publish what is new. Raises OSError where that fails, also where the process is gone or its stdout holds
        what is no answer: the next call starts another.
        """
        if self._child is None:
            command = module_command(__name__, str(self._layout.root.resolve()), str(os.getpid()))
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=same_paths())
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        line = b""
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(b"publish\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        if not line:
            status = self._child.wait()
            self.close()
            raise OSError(f"the compactor's process ended with status {status}")
        try:
            self.last = msgspec.json.decode(line, type=Answer)
        except msgspec.MsgspecError as problem:
            self.close()  # which answer belongs to which call is lost
            raise OSError(f"the compactor's process wrote {line[:SHOWN]!r} where its answer belongs") from problem
        if self.last.error:
            raise OSError(self.last.errno, self.last.error) if self.last.errno else OSError(self.last.error)

    def close(self) -> None:
        """End the process. Harmless twice."""
        child, self._child = self._child, None
        if child is not None:
            child.communicate()  # whatever it still says: it may be amid a publication


def _answered(layout: Layout) -> Answer:
    error, errno = "", 0
    try:
        publish(layout)
    except OSError as problem:
        error, errno = problem.strerror or str(problem), problem.errno or 0
    except ArchiveProcError as problem:
        error = problem.line
        # What a full disk made of it is known by its cause.
        errno = next((one.errno or 0 for one in _causes(problem) if isinstance(one, OSError)), 0)
    return Answer(error, errno, time.process_time(), peak_bytes())


def _causes(problem: BaseException) -> Iterator[BaseException]:
    cause = problem.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _end_with(driver: int) -> None:
    """Be killed when the driver dies. Ctrl-C reaches the whole process group; only the driver answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != driver:
        sys.exit(1)  # it died before we asked for that


def main() -> None:
    """See the module."""
    root, driver = sys.argv[1:]
    _end_with(int(driver))
    layout = Layout(Path(root))
    for _ in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(_answered(layout)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
