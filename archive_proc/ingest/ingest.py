"""One ingest: walk, scan in parallel, sort out; the same result for any order of files and any number of jobs."""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from archive_proc.errors import InputError
from archive_proc.ingest.facts import PARSER_VERSION, NotRaw, raw_frame
from archive_proc.ingest.mounts import expect_mounted, expect_still_mounted, marks
from archive_proc.ingest.scan import file_sha256, scan_header
from archive_proc.ingest.walk import Candidate, Walk, walk
from archive_proc.model.frames import RawFrame
from archive_proc.model.observations import Issue
from archive_proc.storage.headers import HeaderBatch, header_batch
from archive_proc.storage.manifests import conflict, preferred, same_content, succeeds

_CHUNK = 64
"""Files of one task: a tenth of a second of work."""
_WORTH_PROCESSES = 4 * _CHUNK
"""Fewer new files are scanned in this process: starting others costs more than it saves."""


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What one ingest found. Everything is sorted, so that equal directories give equal results."""

    frames: tuple[RawFrame, ...]
    """New or changed raw frames, one a file_id, by file_id."""
    cards: tuple[HeaderBatch, ...]
    """Every header card of `frames`, for `storage.headers.write_headers`."""
    not_raw: tuple[NotRaw, ...]
    """Files that are no raw SPHERE frames, by uri."""
    rejected: tuple[Issue, ...]
    """Raw-looking files that cannot be used; `ingest` exits 4 when there are any."""
    conflicts: tuple[Issue, ...]
    """Files whose id is known with other content (AP-ING-010): kept out, never overwriting."""
    duplicates: tuple[str, ...]
    """uris of further copies of a frame that is in `frames` or known."""
    unchanged: tuple[str, ...]
    """uris that were not read again: path, size and mtime are those of a known frame."""

    covered: tuple[str, ...]
    """uris of the paths given, for `write_manifest`."""

    @property
    def reasons(self) -> tuple[tuple[str, int], ...]:
        """How many files are not raw, by reason, most frequent first."""
        return tuple(sorted(Counter(one.why for one in self.not_raw).items(), key=lambda one: (-one[1], one[0])))


@dataclass(frozen=True, slots=True)
class _Scanned:
    frames: tuple[RawFrame, ...]
    cards: HeaderBatch
    not_raw: tuple[NotRaw, ...]
    rejected: tuple[Issue, ...]


def ingest(
    paths: Sequence[Path],
    *,
    roots: Mapping[str, Path],
    known: Mapping[str, RawFrame] | None = None,
    jobs: int = 1,
    full_digest: bool = False,
) -> IngestResult:
    """Read the headers of all raw frames below the paths.

    `known` holds the frames of earlier ingests by uri: files of the same size and mtime are not opened. One bad file
    never stops the rest. A frame whose file moved comes back with its new uri. `full_digest` reads every new file to
    its end for the sha256 of its bytes.

    Raises MisuseError AP-ING-009, AP-ING-020, AP-ING-021 (see `walk`); TemporaryError AP-ING-022 where a raw root is
    not mounted, or went while it was read: nothing of it is taken for missing.
    """
    # One batch of everything; there is always one.
    (result,) = ingest_batches(paths, roots=roots, known=known, jobs=jobs, full_digest=full_digest, files=sys.maxsize)
    return result


def ingest_batches(
    paths: Sequence[Path],
    *,
    roots: Mapping[str, Path],
    known: Mapping[str, RawFrame] | None = None,
    jobs: int = 1,
    full_digest: bool = False,
    files: int = 16_384,
) -> Iterator[IngestResult]:
    """As `ingest`, at most `files` new files at a time: 25 kB of header cards a file are held until they are written.

    What needs no reading (`unchanged`, files with foreign names) is in the first result. A batch knows the frames of
    those before it.
    """
    by_uri = dict(known or {})
    expect_mounted(paths, roots, by_uri)
    before = marks(roots)
    seen = walk(paths, roots)
    unchanged = tuple(uri for uri in sorted(seen.candidates) if _same(seen.candidates[uri], by_uri.get(uri)))
    standing = frozenset(unchanged)
    todo = [seen.candidates[uri] for uri in sorted(seen.candidates) if uri not in standing]
    for first in range(0, max(len(todo), 1), files):
        scanned = list(_scan_all(todo[first : first + files], jobs, full_digest))
        lost = any(issue.code == "AP-ING-001" for part in scanned for issue in part.rejected)
        if lost or (not first and any(one.error.code == "AP-ING-001" for one in seen.rejected.values())):
            expect_still_mounted(roots, before)
        result = _result(scanned, by_uri, standing, Walk() if first else seen, () if first else unchanged)
        yield result
        by_uri |= {frame.uri: frame for frame in result.frames}
        standing |= {frame.uri for frame in result.frames}


def _result(
    scanned: Sequence[_Scanned],
    known: Mapping[str, RawFrame],
    standing: frozenset[str],
    seen: Walk,
    unchanged: tuple[str, ...],
) -> IngestResult:
    found = [frame for part in scanned for frame in part.frames]
    chosen, conflicts, duplicates = one_each(found, known, standing)
    kept = {frame.uri for frame in chosen}
    # Cards of copies and of refused files would enter the header table under a name that is not theirs.
    cards = tuple(part.cards if len(kept) == len(found) else part.cards.only(kept) for part in scanned)
    not_raw = [*seen.not_raw.values(), *(one for part in scanned for one in part.not_raw)]
    rejected = [_issue(one.uri, one.error) for one in seen.rejected.values()]
    rejected += [issue for part in scanned for issue in part.rejected]
    return IngestResult(
        frames=chosen,
        cards=cards,
        not_raw=tuple(sorted(not_raw, key=lambda one: one.uri)),
        rejected=tuple(sorted(rejected, key=lambda issue: issue.subject_id)),
        conflicts=conflicts,
        duplicates=duplicates,
        unchanged=unchanged,
        covered=tuple(sorted(seen.covered)),
    )


def _same(candidate: Candidate, frame: RawFrame | None) -> bool:
    return (
        frame is not None
        and frame.size_bytes == candidate.size_bytes
        and frame.mtime == candidate.mtime
        and frame.parser_version == PARSER_VERSION
    )


def _scan_all(todo: Sequence[Candidate], jobs: int, full_digest: bool) -> Iterator[_Scanned]:
    chunks = [todo[first : first + _CHUNK] for first in range(0, len(todo), _CHUNK)]
    scan = partial(_scan_quietly, full_digest=full_digest)
    if jobs <= 1 or len(todo) < _WORTH_PROCESSES:
        yield from map(scan, chunks)
        return
    # Spawned, not forked: the caller may hold threads (Dask, Arrow), whose locks a fork would copy shut.
    method = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(chunks)), mp_context=method) as pool:
        yield from pool.map(scan, chunks)


def _scan_quietly(candidates: Sequence[Candidate], full_digest: bool) -> _Scanned:
    """`_scan_chunk` without the cycle collector: it makes no cycles, and a fifth of its time went into looking."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        return _scan_chunk(candidates, full_digest)
    finally:
        if enabled:
            gc.enable()


def _scan_chunk(candidates: Sequence[Candidate], full_digest: bool) -> _Scanned:
    frames: list[RawFrame] = []
    headers = []
    not_raw: list[NotRaw] = []
    rejected: list[Issue] = []
    for candidate in candidates:
        try:
            scan = scan_header(candidate.path)
            found = raw_frame(scan, uri=candidate.uri)
            if full_digest and isinstance(found, RawFrame):
                found = replace(found, sha256=file_sha256(candidate.path))
        except InputError as error:
            rejected.append(_issue(candidate.uri, error))
            continue
        except OSError as error:
            # A disk that fails or a file that goes while it is read: one file's trouble, not the ingest's.
            rejected.append(_issue(candidate.uri, _failing(candidate.path, error)))
            continue
        if isinstance(found, NotRaw):
            not_raw.append(found)
            continue
        frames.append(found)
        headers.append((found.file_id, found.uri, found.period_date, scan.cards))
    return _Scanned(tuple(frames), header_batch(headers), tuple(not_raw), tuple(rejected))


def _failing(path: Path, error: OSError) -> InputError:
    return InputError(
        "AP-ING-001",
        f"file cannot be read ({error.strerror or error})",
        subject=str(path),
        remedy="look after the disk or the mount, then ingest again",
    )


def _issue(uri: str, error: InputError) -> Issue:
    return Issue(
        code=error.code,
        severity="warning",
        subject_kind="file",
        subject_id=uri,
        message=error.message,
        remedy=error.remedy,
    )


def one_each(
    frames: Iterable[RawFrame], known: Mapping[str, RawFrame], standing: frozenset[str]
) -> tuple[tuple[RawFrame, ...], tuple[Issue, ...], tuple[str, ...]]:
    """One frame an id: what is known stays; among new ones the choice does not depend on their order.

    `standing` are the uris whose files are where they were: a copy beside one of them is a duplicate, while a frame
    whose known place is empty, or was not looked at, has moved. A whole copy always takes the place of a cut one, a
    cut one never that of a whole one elsewhere (`succeeds`). A place belongs to the frame that was ingested from it
    until that one is found elsewhere.
    """
    by_id = {frame.file_id: frame for frame in known.values()}
    chosen: dict[str, RawFrame] = {}
    conflicts: list[Issue] = []
    duplicates: list[str] = []
    for frame in sorted(frames, key=preferred):
        holder = chosen.get(frame.file_id) or by_id.get(frame.file_id)
        if holder is not None and not same_content(holder, frame):
            conflicts.append(conflict(holder, frame))
        elif holder is None or (frame.file_id not in chosen and _takes_over(frame, holder, standing)):
            chosen[frame.file_id] = frame
        else:
            duplicates.append(frame.uri)
    for frame in list(chosen.values()):
        before = known.get(frame.uri, frame)
        there = before.file_id != frame.file_id and by_id[before.file_id].uri == frame.uri
        if there and before.file_id not in chosen:
            conflicts.append(conflict(before, frame))
            del chosen[frame.file_id]
    return (
        tuple(chosen[file_id] for file_id in sorted(chosen)),
        tuple(sorted(conflicts, key=lambda issue: issue.subject_id)),
        tuple(sorted(duplicates)),
    )


def _takes_over(frame: RawFrame, holder: RawFrame, standing: frozenset[str]) -> bool:
    """Whether a known frame is now this copy of it."""
    if holder.uri in standing:
        return holder.truncated and not frame.truncated
    return succeeds(frame, holder)
