"""What journals say: the state of each run, the last word about each process, every attempt that failed.

Folding events one by one gives the same facts whether a journal is read at once or in pieces, so a compaction during a
run and a rebuild afterwards agree.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from archive_proc.model.events import Event, ProcessChanged, ProcessFailed, RunEnded, RunStarted
from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.processes import QcValue, State
from archive_proc.storage.journal import decode_lines, events_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run, as far as its journal was read."""

    run_id: RunId
    plan_id: PlanId | None = None
    site: str | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    """When it ended last; kept while a resumed run goes on, so that what it made current stays so."""
    state: str = "running"
    counts: Mapping[str, int] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    torn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """The last word of the journals about a process that is not sealed."""

    run_id: RunId
    state: State
    at: dt.datetime | None
    attempt: int = 0
    cause: str | None = None
    code: str | None = None
    message: str | None = None
    qc: tuple[QcValue, ...] = ()
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAttempt:
    """An attempt that did not end in a product."""

    process_id: ProcessId
    run_id: RunId
    attempt: int
    state: State
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    host: str | None
    cpu_s: float
    wall_s: float
    peak_memory_bytes: int
    cause: str | None = None
    code: str | None = None
    message: str | None = None
    signature: str | None = None


@dataclass(slots=True)
class JournalFacts:
    """Facts of journals read from some offset on, and where to go on reading."""

    runs: dict[RunId, RunFacts] = field(default_factory=dict)
    started: set[RunId] = field(default_factory=set)
    """Runs whose start was among the events read."""
    ended: set[RunId] = field(default_factory=set)
    """Runs whose end was among the events read."""
    words: dict[ProcessId, Word] = field(default_factory=dict)
    attempts: list[FailedAttempt] = field(default_factory=list)
    offsets: dict[RunId, int] = field(default_factory=dict)
    crcs: dict[RunId, int] = field(default_factory=dict)
    """CRC-32 of everything up to the offset."""
    altered: bool = False
    """What was read before is no longer what stands there: a crash took lines back, a disk flipped a bit."""


def read_journals(
    journals: Iterable[tuple[str, Path]],
    known: Mapping[RunId, RunFacts],
    offsets: Mapping[RunId, int],
    crcs: Mapping[RunId, int],
    *,
    again: bool,
) -> JournalFacts:
    """Facts of everything that stands in the journals (oldest run first) behind these offsets.

    `again`: what was read before, with these `crcs`, is looked at once more.
    """
    facts = JournalFacts(runs=dict(known), offsets=dict(offsets), crcs=dict(crcs))
    for name, path in journals:
        run_id = RunId(name)
        start = facts.offsets.get(run_id, 0)
        with path.open("rb") as stream:
            before = stream.read(start) if again or run_id not in facts.crcs else b""
            if start > stream.seek(0, os.SEEK_END):
                facts.altered = True
                continue
            stream.seek(start)
            content = stream.read()
        crc = zlib.crc32(before)
        if before and facts.crcs.setdefault(run_id, crc) != crc:
            facts.altered = True
            continue
        # A tail without newline may still be in the writing: it is left for the next reading.
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and run_id in facts.runs:
            continue
        lines = decode_lines(whole, start)
        run = facts.runs.get(run_id, RunFacts(run_id=run_id))
        events, unreadable = events_of(lines.rows)
        facts.runs[run_id] = dataclasses.replace(run, torn=run.torn + lines.torn + unreadable)
        facts.offsets[run_id] = lines.end
        facts.crcs[run_id] = zlib.crc32(whole, facts.crcs.get(run_id, 0))
        for event in events:
            _fold(facts, run_id, event)
    return facts


def _fold(facts: JournalFacts, run_id: RunId, event: Event) -> None:
    run = facts.runs[run_id]
    match event:
        case RunStarted():
            facts.started.add(run_id)
            facts.runs[run_id] = dataclasses.replace(
                run,
                plan_id=event.plan_id,
                site=event.site,
                started_at=run.started_at or moment(event.at),
                state="running",
                config=dict(event.config),
            )
        case RunEnded():
            facts.ended.add(run_id)
            facts.runs[run_id] = dataclasses.replace(
                run, finished_at=moment(event.at), state="ended", counts=dict(event.counts)
            )
        case ProcessChanged():
            _fold_change(facts, run_id, event)
        case ProcessFailed():
            _fold_failure(facts, run_id, event)


def _fold_change(facts: JournalFacts, run_id: RunId, event: ProcessChanged) -> None:
    if event.state.is_failure and event.state is not State.LOST:
        # The failure stands in a line of its own, with cause and code.
        return
    note = event.note or (f"waits for proc:{event.blocked_by[:12]}" if event.blocked_by else "")
    facts.words[event.process_id] = Word(
        run_id=run_id, state=event.state, at=moment(event.at), attempt=event.attempt, message=note or None
    )
    if event.attempt and event.state in (State.LOST, State.CANCELLED):
        facts.attempts.append(
            FailedAttempt(
                process_id=event.process_id,
                run_id=run_id,
                attempt=event.attempt,
                state=event.state,
                started_at=None,
                ended_at=moment(event.at),
                host=event.host or None,
                cpu_s=event.cpu_s,
                wall_s=event.wall_s,
                peak_memory_bytes=event.peak_memory_bytes,
                message=event.note or None,
            )
        )


def _fold_failure(facts: JournalFacts, run_id: RunId, event: ProcessFailed) -> None:
    facts.words[event.process_id] = Word(
        run_id=run_id,
        state=event.state,
        at=moment(event.at),
        attempt=event.attempt,
        cause=event.cause.value,
        code=event.code,
        message=event.account,
        qc=event.qc,
        remedy=event.remedy,
    )
    if event.earlier_run is None:
        facts.attempts.append(
            FailedAttempt(
                process_id=event.process_id,
                run_id=run_id,
                attempt=event.attempt,
                state=State.FAILED,
                started_at=moment(event.started_at),
                ended_at=moment(event.at),
                host=event.host or None,
                cpu_s=event.cpu_s,
                wall_s=event.wall_s,
                peak_memory_bytes=event.peak_memory_bytes,
                cause=event.cause.value,
                code=event.code,
                message=event.account,
                signature=event.signature,
            )
        )


@lru_cache(maxsize=256)
def moment(text: str | None) -> dt.datetime | None:
    """ISO text as a naive UTC time; None where there is none.

    >>> moment("2015-09-25T08:46:06+02:00")
    datetime.datetime(2015, 9, 25, 6, 46, 6)
    """
    if not text:
        return None
    found = dt.datetime.fromisoformat(text)
    return found.astimezone(dt.UTC).replace(tzinfo=None) if found.tzinfo else found
