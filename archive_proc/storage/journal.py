"""Append-only lines with a CRC: `{"crc":"xxxxxxxx","r":{...}}` and a newline (notes/storage 4.3).

A killed writer may tear its last line. The reader rejects what fails the CRC and counts it; the next writer starts on
a fresh line, so that a torn tail never swallows the record after it.
"""

from __future__ import annotations

import errno
import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from archive_proc.model.events import EVENT_KINDS, Event
from archive_proc.model.processes import QcValue
from archive_proc.storage.numbers import finite, unfinite

FSYNC_EVERY_S = 1.0
"""An fsync a line costs 3.3 ms of wall time (notes/storage 4.3); once a second loses at most a second of diary."""

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)

_KIND_OF = {kind: word for word, kind in EVENT_KINDS.items()}


@dataclass(frozen=True, slots=True)
class Lines:
    """What a file of lines held."""

    # Any: rows of several kinds; the caller converts them to its types.
    rows: tuple[dict[str, Any], ...]
    torn: int
    """Lines that failed the CRC or were not JSON."""
    end: int
    """Byte after the last complete line: where the next reading may start."""


def encode_line(row: Mapping[str, Any]) -> bytes:
    """One line, newline included; numbers that are none as words."""
    try:
        body = _ENCODER.encode(row).encode()
    except ValueError:  # a number that is none
        body = _ENCODER.encode(finite(row)).encode()
    return b'{"crc":"%08x","r":%b}\n' % (zlib.crc32(body), body)


def decode_lines(content: bytes, start: int = 0) -> Lines:
    """The rows of `content`, which begins at byte `start` of its file. Never raises for torn lines."""
    rows: list[dict[str, Any]] = []
    torn = 0
    last = content.rfind(b"\n") + 1
    for line in content.split(b"\n"):
        if not line:
            continue
        row = _decode(line)
        if row is None:
            torn += 1
        else:
            rows.append(row)
    return Lines(tuple(rows), torn, start + last)


def _decode(line: bytes) -> dict[str, Any] | None:
    body = line[len(b'{"crc":"00000000","r":') : -1]
    try:
        if line[:8] != b'{"crc":"' or line[-1:] != b"}" or int(line[8:16], 16) != zlib.crc32(body):
            return None
        row = json.loads(body)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def read_lines(path: Path, start: int = 0) -> Lines:
    """The rows of a file from byte `start` on; no rows where the file does not exist."""
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            return decode_lines(stream.read(), start)
    except FileNotFoundError:
        return Lines((), 0, start)


class LineWriter:
    """Appends lines to one file, each by one write. One writer at a time: the holder of the driver's lease."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._synced = clock()
        self._torn = False
        self._descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR | os.O_CLOEXEC, 0o644)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            size += os.write(self._descriptor, b"\n")
        self.end = size
        """Byte after the last line written."""

    def append(self, row: Mapping[str, Any], *, durable: bool = False) -> None:
        """Write one line; `durable` forces it to disk at once, else at most a second passes."""
        line = encode_line(row)
        # A full disk may have cut the line before: a fresh line, so that no half of it hides this one.
        if self._torn:
            line = b"\n" + line
        self._torn = True
        written = os.write(self._descriptor, line)
        self.end += written
        if written != len(line):
            raise OSError(errno.ENOSPC, "journal line cut short, no room")
        self._torn = False
        if durable or self._clock() - self._synced >= FSYNC_EVERY_S:
            self.sync()

    def sync(self) -> None:
        """Force what was written to disk."""
        os.fsync(self._descriptor)
        self._synced = self._clock()

    def close(self) -> None:
        """Sync and close."""
        if self._descriptor >= 0:
            try:
                self.sync()
            finally:
                os.close(self._descriptor)
                self._descriptor = -1

    def __enter__(self) -> LineWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def event_row(event: Event, sequence: int) -> dict[str, Any]:
    """The JSON row of an event. Order rows by `n`, never by time: clocks of hosts differ."""
    body = msgspec.to_builtins(event)
    assert isinstance(body, dict)
    return {"n": sequence, "kind": _KIND_OF[type(event)], **body}


def events_of(rows: Iterable[Mapping[str, Any]]) -> tuple[tuple[Event, ...], int]:
    """The events of rows, and how many rows of a known kind lack what this package needs: another version wrote them.

    Kinds of a newer package are left out.
    """
    events: list[Event] = []
    unreadable = 0
    for row in rows:
        try:
            event = event_of(row)
        except (msgspec.ValidationError, KeyError, TypeError, ValueError):
            unreadable += 1
        else:
            events += [] if event is None else [event]
    return tuple(events), unreadable


def event_of(row: Mapping[str, Any]) -> Event | None:
    """The event of a row; None for a kind of a newer package."""
    kind = EVENT_KINDS.get(str(row.get("kind")))
    if kind is None:
        return None
    body = {key: value for key, value in row.items() if key not in ("n", "kind")}
    if "qc" in body:
        body["qc"] = [unfinite(one, QcValue) for one in body["qc"]]
    return msgspec.convert(body, kind)


@dataclass(frozen=True, slots=True)
class JournalRead:
    """Events of a journal, in their order."""

    events: tuple[Event, ...]
    torn: int
    end: int


def read_journal(path: Path, start: int = 0) -> JournalRead:
    """The events of a run's journal from byte `start` on. Torn lines are counted, never raised."""
    lines = read_lines(path, start)
    events, unreadable = events_of(lines.rows)
    return JournalRead(events, lines.torn + unreadable, lines.end)


class JournalWriter:
    """Appends events to a run's journal, numbering them."""

    def __init__(self, path: Path, *hearers: Callable[[Event, int], None]) -> None:
        """Each of the hearers is told each event that was written, and the byte after it."""
        self._next = len(read_lines(path).rows)
        self._lines = LineWriter(path)
        self._hearers = hearers

    def append(self, event: Event, *, durable: bool = False) -> None:
        """Write one event; failures should be `durable`."""
        self._lines.append(event_row(event, self._next), durable=durable)
        self._next += 1
        for heard in self._hearers:
            heard(event, self._lines.end)

    def sync(self) -> None:
        """Force what was written to disk."""
        self._lines.sync()

    def close(self) -> None:
        """Sync and close."""
        self._lines.close()

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def iter_journals(runs: Path) -> Iterator[tuple[str, Path]]:
    """(run id, journal) of every run, oldest first: run ids are time-ordered."""
    if runs.is_dir():
        for entry in sorted(runs.iterdir()):
            journal = entry / "journal.jsonl"
            if journal.is_file():
                yield entry.name, journal
