"""A command of the user's, run when a run ends or a recipe is paused: a mail, a message, the next job.

It is started as it was given, word by word, by no shell: nothing in a run's words can become a command. What happened
is in environment variables. Whatever becomes of it is a warning; a run is never the worse for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from archive_proc.errors import printable
from archive_proc.model.events import Event, RecipePaused
from archive_proc.model.processes import State

PATIENCE_S = 60.0
"""A command that takes longer is ended."""
_SAID = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a command is told."""

    root: Path
    """Of the archive."""
    state: str
    """ended, stopped, paused, or refused (nothing was begun)."""
    run_id: str = ""
    plan_id: str = ""
    site: str = ""
    reason: str = ""
    """Why it stopped, what was paused, or what refused it."""
    exit_status: int | None = None
    """Of the whole command; None while it goes on."""
    counts: Mapping[State, int] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The same in one line."""
        counts = ", ".join(f"{number} {state.value}" for state, number in self.counts.items() if number)
        parts = [f"run:{self.run_id[:12]} {self.state}" if self.run_id else f"run {self.state}", self.reason, counts]
        return printable(": ".join(one for one in parts if one)).replace("\n", " ")

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables; a number for each state that a process may have."""
        told = {
            "ARCHIVE_PROC_HOME": str(self.root),
            "ARCHIVE_PROC_RUN_ID": self.run_id,
            "ARCHIVE_PROC_PLAN_ID": self.plan_id,
            "ARCHIVE_PROC_SITE": self.site,
            "ARCHIVE_PROC_STATE": self.state,
            "ARCHIVE_PROC_REASON": printable(self.reason),
            "ARCHIVE_PROC_EXIT": "" if self.exit_status is None else str(self.exit_status),
            "ARCHIVE_PROC_LINE": self.line,
            "ARCHIVE_PROC_PROCESSES": str(sum(self.counts.values())),
        }
        return told | {f"ARCHIVE_PROC_{state.value.upper()}": str(self.counts.get(state, 0)) for state in State}


def notify(command: Sequence[str], notice: Notice, patience_s: float = PATIENCE_S) -> str:
    """Run the command; empty, or the warning that it did not do well."""
    # A file, no pipe: a child that it leaves behind would hold a pipe open.
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                list(command),
                env={**os.environ, **notice.variables},
                cwd=notice.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for the run
            )
        except (OSError, ValueError, IndexError) as error:
            return _warning(command, f"could not be started: {error}")
        try:
            status = process.wait(patience_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return _warning(command, f"took longer than {patience_s:g} s and was ended")
        if not status:
            return ""
        said.seek(0)
        words = printable(said.read().decode(errors="replace").strip())[-_SAID:].replace("\n", " ")
        return _warning(command, f"left with {status}{f': {words}' if words else ''}")


def _warning(command: Sequence[str], what: str) -> str:
    named = printable(command[0]) if command else ""
    return f"warning AP-RUN-070: the command to notify, {named!r}, {what} -> give it by hand; the run is as it is"


@dataclass(slots=True)
class PauseNotifier:
    """Notifies of paused recipes beside the work."""

    command: Sequence[str]
    notice: Callable[[str], Notice]
    """Of what was paused."""
    _threads: list[threading.Thread] = field(default_factory=list)

    def heard(self, event: Event, end: int) -> None:
        """An event was written."""
        if self.command and isinstance(event, RecipePaused):
            notice = self.notice(f"{event.recipe} failed {event.failures} times with {event.signature}")
            thread = threading.Thread(target=self._tell, args=(notice,), name="notify", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _tell(self, notice: Notice) -> None:
        if warning := notify(self.command, notice):
            print(warning, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Wait for what was begun."""
        for thread in self._threads:
            thread.join(PATIENCE_S)
