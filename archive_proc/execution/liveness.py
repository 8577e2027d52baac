"""Who wrote this, and does it still live: a process named by host, boot, pid and start time.

The start time tells a pid from its reuse; a zombie counts as dead (where process 1 does not reap, a killed driver
stays one for ever).
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Writer:
    """One operating-system process."""

    host: str
    boot_id: str
    """Empty where the system has none to tell."""
    pid: int
    started: str
    """Start time in the kernel's own count; empty where it cannot be read."""
    job: str = ""
    """The SLURM job it runs in; empty outside of one."""


@cache
def host_name() -> str:
    """Name of this machine."""
    return socket.gethostname()


@cache
def boot_id() -> str:
    """The kernel's id of this boot."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def this_writer() -> Writer:
    """The process that asks."""
    # What SLURM calls the job of this very process: a fact about it, as its pid is, and no setting.
    return replace(writer_of(os.getpid()), job=os.environ.get("SLURM_JOB_ID", ""))


def writer_of(pid: int) -> Writer:
    """A process of this host."""
    return Writer(host_name(), boot_id(), pid, _state(pid)[1])


def _state(pid: int) -> tuple[str, str]:
    """(state letter, start time) of a pid; empty where there is none. The name in parentheses may hold blanks."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return _portable_state(pid)


def _portable_state(pid: int) -> tuple[str, str]:
    # Without /proc (macOS): psutil, whose import costs too much for the usual case.
    if Path("/proc/self/stat").exists():
        return "", ""
    import psutil

    try:
        process = psutil.Process(pid)
        return ("Z" if process.status() == psutil.STATUS_ZOMBIE else "S"), f"{process.create_time():.2f}"
    except psutil.Error:
        return "", ""


def alive(writer: Writer) -> bool | None:
    """Whether it lives; None where this host cannot tell (another host)."""
    if writer.host != host_name():
        return None
    if writer.boot_id != boot_id():
        return False
    state, started = _state(writer.pid)
    return bool(state) and state not in "ZX" and started == writer.started
