"""What a task costs, what it says, and the mark it leaves while it executes."""

from __future__ import annotations

import contextlib
import datetime as dt
import faulthandler
import logging
import resource
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from archive_proc.execution.calls import Task
from archive_proc.execution.liveness import Writer, this_writer
from archive_proc.execution.receipts import Meters
from archive_proc.execution.spec import AttemptDir
from archive_proc.model.phases import PhaseClock
from archive_proc.storage.resident_memory import forget_peak, give_back, peak_bytes


def utc_now() -> str:
    """ISO UTC to the millisecond, with offset."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


class Gauge:
    """Wall and CPU time by phase, peak memory and bytes read of one task."""

    def __init__(self) -> None:
        give_back()
        forget_peak()
        self.started_at = utc_now()
        self.bytes_read = 0
        self.planes_read = 0
        self.clock = PhaseClock(lambda: (time.monotonic(), _cpu_s()))

    def read(self) -> Meters:
        """Since it was made."""
        phases = self.clock.costs()
        return Meters(
            wall_s=round(sum(one.wall_s for one in phases.values()), 4),
            cpu_s=round(sum(one.cpu_s for one in phases.values()), 4),
            peak_memory_bytes=peak_bytes(),
            bytes_read=self.bytes_read,
            planes_read=self.planes_read,
            tasks=1,
            started_at=self.started_at,
            phases=phases,
        )


def _cpu_s() -> float:
    # Children too: `gzip -dc` unpacks .Z files.
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class _Keeper(logging.Handler):
    """Keeps formatted lines."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{utc_now()} {self.format(record)}")


class Sayings:
    """What was said so far while a task runs."""

    def __init__(self, caught: Sequence[warnings.WarningMessage], keeper: _Keeper) -> None:
        self._caught, self._keeper = caught, keeper

    @property
    def log(self) -> tuple[str, ...]:
        """Log lines of the package."""
        return tuple(self._keeper.lines)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Texts of Python warnings, each once."""
        return tuple(dict.fromkeys(f"{one.category.__name__}: {one.message}" for one in self._caught))


@contextlib.contextmanager
def listening() -> Iterator[Sayings]:
    """Collect log lines of the package and Python warnings of whatever runs inside."""
    keeper = _Keeper()
    logger = logging.getLogger("archive_proc")
    level = logger.level
    logger.addHandler(keeper)
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            yield Sayings(caught, keeper)
    finally:
        logger.removeHandler(keeper)
        logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class Mark:
    """A task that executes, or did when its process was killed."""

    task: Task
    writer: Writer


@contextlib.contextmanager
def marked(directory: AttemptDir, task: Task, *, isolated: bool, limit_s: float = 0.0) -> Iterator[None]:
    """Leave a mark while a task executes; a fatal signal leaves its traceback beside it (isolated processes).

    So does a task that executes for longer than `limit_s`, and with that its process ends: a thread of C does it, also
    where Python's lock is held or a system call never returns.
    """
    directory.marks.mkdir(exist_ok=True)  # no parents: an attempt that was moved away is not ours any more
    mark = directory.marks / f"{task.label}.json"
    fault = directory.marks / f"{task.label}.fault"
    mark.write_bytes(msgspec.json.encode(Mark(task, this_writer())))
    stream = fault.open("w") if isolated else None
    if stream is not None:
        faulthandler.enable(stream, all_threads=False)
        if limit_s:
            faulthandler.dump_traceback_later(limit_s, exit=True, file=stream)
    try:
        yield
    finally:
        if stream is not None:
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()
            stream.close()
            fault.unlink(missing_ok=True)
        mark.unlink(missing_ok=True)


def read_mark(directory: AttemptDir, task: Task) -> tuple[Mark | None, str]:
    """The mark of a task that did not report, and the fault text it left."""
    path = directory.marks / f"{task.label}.json"
    try:
        mark = msgspec.json.decode(path.read_bytes(), type=Mark)
    except (OSError, msgspec.MsgspecError):
        return None, ""
    fault = directory.marks / f"{task.label}.fault"
    return mark, fault.read_text().strip() if fault.is_file() else ""


def marks(directory: AttemptDir) -> tuple[Mark, ...]:
    """Every readable mark of an attempt."""
    found: list[Mark] = []
    for path in sorted(directory.marks.glob("*.json")) if directory.marks.is_dir() else ():
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            found.append(msgspec.json.decode(path.read_bytes(), type=Mark))
    return tuple(found)
