"""The driver's lease `locks/driver.json`: one writer of catalog and journals at a time.

Made by `link`, so it appears whole or not at all; renewed by a heartbeat; taken over when its holder is dead: same
host, and boot or process gone; or another host, and no heartbeat for ten minutes, or for two beats where SLURM no more
lists the job it ran in. How old a heartbeat is, is read off two files of one file system, never off the clocks of two
hosts: a clock that is an hour off takes nothing over.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import msgspec

from archive_proc.errors import LockedError
from archive_proc.execution.liveness import Writer, alive, host_name, this_writer
from archive_proc.execution.slurm_queries import listed
from archive_proc.model.ids import canonical_json
from archive_proc.storage.layout import Layout

HEARTBEAT_S = 30.0
STALE_AFTER_S = 600.0
RUNS = "run "
"""How the purpose of a lease begins whose holder plans and runs."""


@dataclass(frozen=True, slots=True)
class Holder:
    """What stands in `locks/driver.json`."""

    token: str
    """Made anew for every lease."""
    purpose: str
    """What it is held for: `run 0192...`, `ingest`."""
    writer: Writer
    since: str
    heartbeat: str
    """ISO UTC by the holder's clock, for people; the age of the lease is that of its file."""

    @property
    def elsewhere(self) -> bool:
        """Whether it runs on another host, where only the heartbeat tells that it lives."""
        return self.writer.host != host_name()


class Lease:
    """A held lease. Use as a context manager, or `release` it."""

    def __init__(self, path: Path, holder: Holder) -> None:
        self._path = path
        self._holder = holder
        self._successor: Holder | None = None
        """Who took the lease over, because this driver was taken for dead."""
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._keep, name="driver-lease", daemon=True)
        self._beat.start()

    @property
    def holder(self) -> Holder:
        """What was written."""
        return self._holder

    @property
    def stop_file(self) -> Path:
        """Once it exists, whoever holds the lease is asked to stop: there may be no run yet whose file would tell."""
        return _stop_file(self._path, self._holder)

    def _keep(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):
                self.renew()

    def renew(self) -> None:
        """Write the heartbeat, unless somebody else took the lease over."""
        current = read_holder(self._path)
        if current is None:
            return
        if current.token == self._holder.token:
            _write(self._path, replace(self._holder, heartbeat=_now().isoformat()))
        else:
            self._successor = current

    def expect_held(self) -> None:
        """Raise LockedError (AP-RUN-001) once another driver took over: this one was suspended, or its host was."""
        if self._successor is not None:
            raise _locked(self._successor)

    def release(self) -> None:
        """Give it back; harmless twice."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._beat.join()
        _beside(self._path, self._holder).unlink(missing_ok=True)
        self.stop_file.unlink(missing_ok=True)
        current = read_holder(self._path)
        if current is not None and current.token == self._holder.token:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def acquire(layout: Layout, purpose: str) -> Lease:
    """Take the lease.

    Raises LockedError (AP-RUN-001) naming holder, host, pid and since when another writer lives.
    """
    path = layout.driver_lock
    path.parent.mkdir(parents=True, exist_ok=True)
    now = _now().isoformat()
    holder = Holder(uuid.uuid4().hex, purpose, this_writer(), now, now)
    with _one_at_a_time(path.with_suffix(".taking")):
        current = read_holder(path)
        if current is not None and not stale(path, current):
            raise _locked(current)
        path.unlink(missing_ok=True)
        fresh = _beside(path, holder)
        try:
            fresh.write_bytes(_text(holder))
            os.link(fresh, path)
        except (FileExistsError, FileNotFoundError):  # another host was faster, and may have swept our file away
            found = read_holder(path)
            raise _locked(found or holder) from None
        finally:
            fresh.unlink(missing_ok=True)
        ours = _stop_file(path, holder)  # whoever has seen the link may ask us already
        for ending in ("tmp", "stop"):  # of drivers killed while they took or renewed the lease, or were to stop
            for left in path.parent.glob(f"{path.name}.*.{ending}"):
                if left != ours:
                    left.unlink(missing_ok=True)
    return Lease(path, holder)


def holder_of(layout: Layout) -> Holder | None:
    """The living holder of the lease, None when nobody holds it."""
    current = read_holder(layout.driver_lock)
    return None if current is None or stale(layout.driver_lock, current) else current


def ask_to_stop(layout: Layout) -> Holder | None:
    """Ask the living driver that works on runs, or plans one, to stop; who it is, None where there is none."""
    holder = holder_of(layout)
    if holder is None or not holder.purpose.startswith(RUNS):
        return None
    _stop_file(layout.driver_lock, holder).touch()
    return holder


def driver_of(layout: Layout, host: str, pid: int) -> Holder | None:
    """The holder of the lease where it is this driver and lives: what tells a run that works from one that was killed.

    A driver of another host counts as living until its heartbeat has been silent for ten minutes.
    """
    holder = holder_of(layout)
    return holder if holder is not None and (holder.writer.host, holder.writer.pid) == (host, pid) else None


def silence_s(layout: Layout) -> float | None:
    """Seconds since the last heartbeat of the lease, by the file system's clock; None where that cannot be told."""
    return _silence_s(layout.driver_lock)


def stale(path: Path, holder: Holder) -> bool:
    """Whether the holder of the lease at `path` is dead: see the module's docstring."""
    living = alive(holder.writer)
    if living is not None:
        return not living
    limit = STALE_AFTER_S
    if holder.writer.job:
        among = listed(holder.writer.job)
        if among:
            return False
        # Not on SLURM's word alone: another cluster that shares the archive knows nothing of this one's jobs.
        limit = 2 * HEARTBEAT_S if among is False else limit
    silence = _silence_s(path)
    return silence is not None and silence > limit  # where it cannot be told, nothing is taken over


def _silence_s(path: Path) -> float | None:
    probe = path.with_name(f"{path.name}.{uuid.uuid4().hex}.now")
    try:
        beat = path.stat().st_mtime
        probe.touch()
        return probe.stat().st_mtime - beat
    except OSError:
        return None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def read_holder(path: Path) -> Holder | None:
    """Who holds it, dead or alive; None where there is no readable lease."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.MsgspecError):
        return None


def _locked(holder: Holder) -> LockedError:
    return LockedError(
        "AP-RUN-001",
        f"held for `{holder.purpose}` by pid {holder.writer.pid} on {holder.writer.host} since {holder.since}",
        subject="archive",
        remedy="wait for it, or archive-proc cancel",
    )


def _text(holder: Holder) -> bytes:
    return canonical_json(msgspec.to_builtins(holder)) + b"\n"


def _write(path: Path, holder: Holder) -> None:
    temporary = _beside(path, holder)
    temporary.write_bytes(_text(holder))
    temporary.replace(path)


def _beside(path: Path, holder: Holder) -> Path:
    return path.with_name(f"{path.name}.{holder.token}.tmp")


def _stop_file(path: Path, holder: Holder) -> Path:
    return path.with_name(f"{path.name}.{holder.token}.stop")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Two drivers of one host judge a stale lease one after the other.

    Without this the second could remove the lease that the first has just taken. Hosts that share the archive over a
    network rely on `link` alone: `flock` is not trusted there.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
