"""Named moments at which a process of a run kills itself, so that faults hit exactly where notes/storage 2.6 looks.

A point wraps one function where it is looked up. It is armed by an environment variable, once in every process of a
run: in commands before they begin, in workers when they load the stand-in cookbook. It strikes once in a whole
campaign step: whoever makes the flag file dies.
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "ARCHIVE_PROC_KILL_AT"
"""`<point>:<number of the call>:<flag file>`."""

# Any: wrapped functions take and give what they like.
Wrapped = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class KillPoint:
    """A moment: before or after one function is called, or half-way in what it writes."""

    module: str
    """Where the name is looked up."""
    name: str
    """Function, or Class.method."""
    when: str
    """`before`, `after`, or `half`: half of the bytes it should write are written, without the rename that follows."""
    means: str
    compacts: bool = False
    """It strikes the compactor."""


POINTS: Mapping[str, KillPoint] = {
    "spec": KillPoint("archive_proc.execution.attempting", "write_spec", "before", "attempt without its spec"),
    "created": KillPoint("archive_proc.execution.worker", "_Work._create", "after", "metadata made, no planes yet"),
    "planes": KillPoint("archive_proc.execution.worker", "write_planes", "before", "before the planes of a block"),
    "shard": KillPoint("archive_proc.storage.products", "write_object", "after", "a shard written, of several"),
    "receipt": KillPoint("archive_proc.execution.worker", "write_receipt", "before", "chunk done, no receipt"),
    "chunks": KillPoint("archive_proc.execution.worker", "write_receipt", "after", "between two chunks"),
    "reduced": KillPoint("archive_proc.execution.worker", "write_blocks", "after", "a summary written, no receipt"),
    "closing": KillPoint("archive_proc.execution.closing", "write_arrays", "after", "half-way in closing"),
    "record": KillPoint("archive_proc.execution.closing", "write_record", "half", "half-way in process.json"),
    "seal": KillPoint("archive_proc.storage.seal", "_write_durably", "half", "half-way in seal.json"),
    "sealed": KillPoint("archive_proc.execution.closing", "commit", "before", "sealed, not forced to disk"),
    "rename": KillPoint("archive_proc.storage.seal", "fsync_tree", "after", "sealed, not renamed"),
    "renamed": KillPoint("archive_proc.execution.closing", "commit", "after", "renamed, pending left over"),
    "done": KillPoint("archive_proc.execution.ledger", "Ledger.done", "before", "sealed, not in the journal"),
    "journal": KillPoint("archive_proc.storage.journal", "LineWriter.append", "half", "half-way in a journal line"),
    "plan": KillPoint("archive_proc.flow.running", "write_pieces", "before", "before the plan is saved"),
    "round": KillPoint("archive_proc.flow.running", "_execute", "after", "between two rounds, the next not planned"),
    "run": KillPoint("archive_proc.execution.executor", "write_run", "after", "run.json, no journal"),
    "lease": KillPoint("archive_proc.execution.lock", "os.link", "after", "lease taken, its temporary name left"),
    "table": KillPoint(
        "archive_proc.storage.snapshots", "_write_table", "after", "some tables of a snapshot written", compacts=True
    ),
    "manifest": KillPoint(
        "archive_proc.storage.snapshots", "_sync_directory", "before", "snapshot half synced", compacts=True
    ),
    "link": KillPoint("archive_proc.storage.snapshots", "_point", "before", "snapshot whole, not named", compacts=True),
    "symlink": KillPoint(
        "archive_proc.storage.snapshots", "_rename_link", "before", "between symlink and rename", compacts=True
    ),
    "dropped": KillPoint(
        "archive_proc.storage.snapshots", "_drop_old", "before", "named, old snapshots not dropped", compacts=True
    ),
}


_armed: dict[str, Wrapped] = {}
"""What the environment asked for -> the function wrapped for it, in this process: calls are counted once."""


def arm_from_environment() -> None:
    """Wrap the functions that the environment names, to die at or to refuse from; harmless twice."""
    for variable, wrap in ((VARIABLE, arm), (REFUSE, refuse)):
        asked = os.environ.get(variable)
        if asked and f"{variable}={asked}" not in _armed:
            name, number, flag = asked.split(":", 2)
            _armed[f"{variable}={asked}"] = wrap(POINTS[name], int(number), Path(flag))


REFUSE = "ARCHIVE_PROC_REFUSE_AT"
"""`<point>:<number of the call>:<flag file>`: a quota that is used up, where no real one can be had."""
REFUSED_AT = ("spec", "planes", "receipt", "reduced", "closing", "record", "seal", "journal", "plan", "run", "table")


def refuse(point: KillPoint, number: int, flag: Path) -> Wrapped:
    """Wrap the point's function: from its `number`-th call on it raises EDQUOT; the flag says that it did."""
    owner, last = _owner(point)
    real: Wrapped = getattr(owner, last)
    calls = 0

    @functools.wraps(real)
    def wrapped(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < number:
            return real(*given, **named)
        flag.touch()
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    setattr(owner, last, wrapped)
    return wrapped


def _owner(point: KillPoint) -> tuple[Any, str]:
    owner: Any = importlib.import_module(point.module)
    *inside, last = point.name.split(".")
    for one in inside:
        owner = getattr(owner, one)
    return owner, last


def arm(point: KillPoint, number: int, flag: Path) -> Wrapped:
    """Wrap the point's function: its `number`-th call in this process (from 1) is the last thing it does."""
    owner, last = _owner(point)
    real: Wrapped = getattr(owner, last)
    calls = 0

    @functools.wraps(real)
    def wrapped(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != number or not _first(flag):
            return real(*given, **named)
        if point.when == "half":
            _HALVES[point.name](*given, **named)
        elif point.when == "after":
            real(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(owner, last, wrapped)
    return wrapped


def _first(flag: Path) -> bool:
    """Whether nobody died before: one strike a step."""
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True


def _half_record(path: Path, record: Any) -> None:
    from archive_proc.storage.records import record_bytes

    content = record_bytes(record)
    path.write_bytes(content[: len(content) // 2])


def _half_file(path: Path, content: bytes) -> None:
    path.with_name(path.name + ".tmp").write_bytes(content[: len(content) // 2])


def _half_line(writer: Any, row: Mapping[str, Any], **named: bool) -> None:
    from archive_proc.storage.journal import encode_line

    line = encode_line(row)
    os.write(writer._descriptor, line[: len(line) // 2])


_HALVES: Mapping[str, Wrapped] = {
    "write_record": _half_record,
    "_write_durably": _half_file,
    "LineWriter.append": _half_line,
}
