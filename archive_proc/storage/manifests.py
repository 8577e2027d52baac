"""Manifests of raw frames as Parquet: one row a frame, columns derived from `RawFrame`, immutable by content.

A manifest is named by what its frames are (DESIGN 6). Where they lie and when they were ingested stands outside the
name; ingesting the same frames from another place renews those columns of the same manifest and nothing else. Beside
its frames it keeps what each ingest that wrote it remarked: when, which paths it covered, which files it rejected.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from operator import attrgetter
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from archive_proc.errors import InputError, MisuseError
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId, ManifestId, sha256_hex
from archive_proc.model.observations import Issue
from archive_proc.storage.atomic import write_parquet
from archive_proc.storage.layout import Layout
from archive_proc.storage.remarks import OTHER_CONTENT, Remark, remark_of_json, remark_to_json, unsettled

MANIFEST_VERSION = 1
"""Version of the columns; columns are only ever added (notes/storage 4.5)."""

_DIGESTS = frozenset({"content_id", "header_sha256", "sha256"})
"""Held as 32 bytes, not as 64 letters: digests do not compress."""
_NARROW = {"period_date": pa.int16(), "period_prog": pa.int16(), "prog_type": pa.int8(), "bitpix": pa.int16()}
_KEY = b"archive_proc"
_ANEW = "to take the new one, move manifests/*.parquet and headers/ away and ingest every raw root again"


@dataclass(frozen=True, slots=True)
class MergedManifests:
    """All found manifests of an archive as one."""

    frames: tuple[RawFrame, ...]
    """One a file_id, by file_id; the first content ingested stays, see `succeeds` for which copy of it."""
    issues: tuple[Issue, ...]
    """AP-ING-010 for an id with other content; and what an ingest rejected, until a later one reads or covers it."""
    last_ingest: dt.datetime | None
    """Time of the newest ingest that found anything new, UTC: the default `as_of` of a plan."""
    open_remarks: tuple[Issue, ...] = ()
    """What ingests rejected and no later one settled, as they wrote it: see `says_more`."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One manifest as read."""

    name: str
    frames: tuple[RawFrame, ...]
    first_at: str
    """When its frames were first ingested: rewritten with other places, they keep their rank."""
    remarks: tuple[Remark, ...]
    """By time; the last is of the ingest that wrote the file."""


def manifest_id_of(frames: Iterable[RawFrame]) -> ManifestId:
    """sha256 (64 hex) of the sorted (file_id, content_id, declared size)."""
    return ManifestId(sha256_hex(sorted([frame.file_id, frame.content_id, frame.declared_bytes] for frame in frames)))


def write_manifest(
    layout: Layout,
    frames: Sequence[RawFrame],
    *,
    rejected: Sequence[Issue] = (),
    covered: Sequence[str] = (),
    at: dt.datetime | None = None,
) -> ManifestId:
    """Write what is new in one ingest, sorted by night and time; the manifest's id. Nothing said: nothing is written.

    `rejected` (issues of files that could not be used), `covered` (uris of the paths that the ingest walked: what an
    earlier one rejected below them is settled) and `at` (its time, UTC; default now) stand in the file's metadata,
    outside the id. The same ingest again leaves the file as it is. Where another ingest wrote the same frames (or,
    like this one, none), its remarks stay beside the new ones unless these cover all it covered.
    """
    manifest_id = manifest_id_of(frames)
    if not frames and not rejected and not covered:
        return manifest_id
    ordered = sorted(frames, key=lambda frame: (frame.night, frame.mjd_obs, frame.file_id))
    at = at or dt.datetime.now(dt.UTC).replace(tzinfo=None)
    path = layout.manifest(manifest_id)
    mine = Remark(at.isoformat(), tuple(sorted(covered)), tuple(rejected))
    there = _read(path) if path.exists() else None
    if there and _stands(there, ordered, mine):
        return manifest_id
    kept = [one for one in there.remarks if not mine.supersedes(one)] if there else []
    said = {
        "version": MANIFEST_VERSION,
        "first_ingested_at": min(there.first_at, mine.at) if there else mine.at,
        **remark_to_json(mine),
        "earlier": [remark_to_json(one) for one in kept],
    }
    write_parquet(frames_to_table(ordered).replace_schema_metadata({_KEY: json.dumps(said)}), path)
    return manifest_id


def _stands(there: _Part, frames: Sequence[RawFrame], remark: Remark) -> bool:
    """True when a manifest says all this already, the time aside."""
    mine = {(frame.file_id, frame.uri, frame.mtime) for frame in frames}
    same = {(frame.file_id, frame.uri, frame.mtime) for frame in there.frames} == mine
    last = there.remarks[-1]
    return same and (last.covered, last.rejected) == (remark.covered, remark.rejected)


def read_manifests(layout: Layout) -> tuple[RawFrame, ...]:
    """The frames of all found manifests, merged; see `merge_manifests` for what did not fit."""
    return merge_manifests(layout).frames


def merge_manifests(layout: Layout) -> MergedManifests:
    """Merge all found manifests; independent of the order in which the directory lists them.

    Raises InputError AP-ING-011 for a manifest that cannot be read or does not hold what its name says.
    """
    found = [_read(path) for path in layout.manifests.glob("*.parquet") if not path.name.startswith(".")]
    parts = sorted(found, key=lambda part: (part.remarks[-1].at, part.name))
    first: dict[FileId, RawFrame] = {}
    for part in sorted(found, key=lambda part: (part.first_at, part.name)):
        for frame in part.frames:
            first.setdefault(frame.file_id, frame)
    merged: dict[FileId, RawFrame] = {}
    others: list[RawFrame] = []
    for part in parts:
        for frame in part.frames:
            standing = merged.get(frame.file_id)
            if not all(same_content(one, frame) for one in (first[frame.file_id], standing) if one):
                others.append(frame)
            elif succeeds(frame, standing):
                merged[frame.file_id] = frame
    # Only the ingest that wrote a manifest last read its frames where they are said to lie.
    ingests = [
        (one, {frame.uri for frame in part.frames} if one is part.remarks[-1] else set())
        for part in parts
        for one in part.remarks
    ]
    open_remarks = unsettled(sorted(ingests, key=lambda one: one[0].at))
    clashes = [conflict(merged[frame.file_id], frame) for frame in others]
    issues = {(one.subject_id, one.code): one for one in (*clashes, *open_remarks)}
    handed = [_of_frame(one, merged) for one in issues.values()]
    return MergedManifests(
        frames=tuple(merged[file_id] for file_id in sorted(merged)),
        issues=tuple(sorted(handed, key=lambda one: (one.subject_id, one.code))),
        last_ingest=dt.datetime.fromisoformat(parts[-1].remarks[-1].at) if parts else None,
        open_remarks=open_remarks,
    )


def _of_frame(issue: Issue, frames: Mapping[FileId, RawFrame]) -> Issue:
    """A conflict at a frame's own place speaks of the frame, which cannot be read; elsewhere it only warns."""
    if issue.code != OTHER_CONTENT or issue.severity != "blocking" or issue.file_id is None:
        return issue
    frame = frames.get(issue.file_id)
    if frame is not None and frame.uri == issue.subject_id:
        return dataclasses.replace(issue, subject_id=issue.file_id)
    return dataclasses.replace(issue, severity="warning")


def says_more(merged: MergedManifests, rejected: Sequence[Issue], covered: Sequence[str]) -> bool:
    """Whether the remarks of an ingest without new frames differ from what stands: a file went bad, was mended, left.

    An ingest of which this is false, and which found no new frame, writes nothing.
    """
    mine = Remark("", tuple(covered), tuple(rejected))
    return set(rejected) != {one for one in merged.open_remarks if mine.covers(one.subject_id)}


def preferred(frame: RawFrame) -> tuple[str, bool, bool, str, str]:
    """Order in which copies of one frame are taken: with pixels before without, whole before cut, content, place."""
    return (frame.file_id, frame.pixels != "present", frame.truncated, frame.content_id, frame.uri)


def succeeds(frame: RawFrame, standing: RawFrame | None) -> bool:
    """Whether a copy found later takes the place of the one that stands: not where it is cut and the other is whole,
    nor where nothing but a manifest speaks of it and the other is a file.

    At its own place a frame is what lies there now, cut or not.
    """
    return standing is None or frame.uri == standing.uri or preferred(frame)[:3] <= preferred(standing)[:3]


def same_content(one: RawFrame, other: RawFrame) -> bool:
    """True for two copies of one frame: one content id, and no two DATASUMs that contradict each other."""
    sums = {frame.datasum for frame in (one, other)} - {None}
    return one.content_id == other.content_id and len(sums) < 2


def conflict(standing: RawFrame, other: RawFrame) -> Issue:
    """The issue of a file whose id belongs to other content; blocking where it lies in the first one's own place.

    Its subject is the file's uri, its `file_id` the frame that stands.
    """
    then, now = (f"content {one.content_id[:12]}" for one in (standing, other))
    if standing.content_id == other.content_id:
        then, now = (f"DATASUM {one.datasum}" for one in (standing, other))
    if standing.uri == other.uri:
        held = "other content" if standing.file_id == other.file_id else other.file_id
        severity = "blocking"
        message = (
            f"{standing.file_id} was ingested from {other.uri}, which holds {held} now ({then} before, {now} now): "
            "the frame is left out"
        )
        remedy = f"put the first file back and ingest its directory again; {_ANEW}"
    else:
        severity = "warning"
        message = (
            f"{other.file_id} is known with other content: {standing.uri} has {then}, this file {now}; "
            "the first one stays"
        )
        remedy = f"remove the wrong file; {_ANEW} without the first"
    return Issue(
        code=OTHER_CONTENT,
        severity=severity,
        subject_kind="file",
        subject_id=other.uri,
        message=message,
        remedy=remedy,
        file_id=standing.file_id,
    )


def frame_schema() -> pa.Schema:
    """Arrow columns of `RawFrame`, one a field, derived from its annotations."""
    return pa.schema([pa.field(column.name, column.arrow, nullable=column.optional) for column in _columns()])


def frames_to_table(frames: Sequence[RawFrame]) -> pa.Table:
    """One row a frame, in the order given."""
    arrays = []
    for column in _columns():
        values = list(map(attrgetter(column.name), frames))
        arrays.append(pa.array(column.pack(values), column.arrow))
    return pa.Table.from_arrays(arrays, schema=frame_schema())


def table_to_frames(table: pa.Table) -> tuple[RawFrame, ...]:
    """The frames of a table; columns it lacks (older manifests) take the field's default, further ones are ignored.

    Raises InputError AP-ING-011 where a column without default is missing.
    """
    frames = tuple(map(object.__new__, repeat(RawFrame, table.num_rows)))
    for column in _columns():
        if column.name in table.column_names:
            values = column.unpack(table[column.name].cast(column.arrow).combine_chunks())
        elif column.required:
            raise _unreadable("table of raw frames", f"column {column.name} is missing")
        else:
            values = [column.default] * len(frames)
        # By column, each slot filled by its own descriptor: calling the class sets a hundred slots a frame through
        # `object.__setattr__`, three times as slow, and `RawFrame` has nothing to do after that.
        deque(map(vars(RawFrame)[column.name].__set__, frames, values), maxlen=0)
    return frames


Values = list[Any]  # Any: one column of any field type


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    arrow: pa.DataType
    optional: bool
    required: bool
    default: object
    pack: Callable[[Values], Values]
    unpack: Callable[[pa.Array], Values]


@cache
def _columns() -> tuple[_Column, ...]:
    hints = get_type_hints(RawFrame)
    return tuple(_column(one, hints[one.name]) for one in dataclasses.fields(RawFrame))


def _column(one: dataclasses.Field[Any], hint: Any) -> _Column:  # Any: an annotation, and a field of any type
    optional = get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint)
    kind = next(arg for arg in get_args(hint) if arg is not NoneType) if optional else hint
    kind = getattr(kind, "__supertype__", kind)
    required = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
    arrow, pack, unpack = _FORMS[get_origin(kind) or kind]
    if one.name in _DIGESTS:
        arrow, pack, unpack = pa.binary(), _digest_bytes, _digest_text
    return _Column(one.name, _NARROW.get(one.name, arrow), optional, required, one.default, pack, unpack)


def _as_is(values: Values) -> Values:
    return values


def _digest_bytes(values: Values) -> Values:
    return [None if value is None else bytes.fromhex(value) for value in values]


def _digest_text(array: pa.Array) -> Values:
    return [None if value is None else value.hex() for value in array.to_pylist()]


def _text(array: pa.Array) -> Values:
    """Through the dictionary: a column of 32 000 rows has a handful of words, each of them one object."""
    coded = array.dictionary_encode()
    return _decoded(coded, coded.dictionary.to_pylist())


def _decoded(coded: pa.DictionaryArray, words: Values) -> Values:
    words = [*words, None]
    return [words[code] for code in coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).tolist()]


def _arm(array: pa.Array) -> Values:
    arms = {arm.value: arm for arm in Arm}
    return [arms[value] for value in _text(array)]


def _numbers(array: pa.Array) -> Values:
    # As words: files of a sequence share most of their numbers, and a million equal ones are a million objects.
    coded = array.dictionary_encode()
    return _decoded(coded, coded.dictionary.to_numpy(zero_copy_only=False).tolist())


def _flags(array: pa.Array) -> Values:
    return [None if value is None else bool(value) for value in array.to_pylist()]


def _instants(array: pa.Array) -> Values:
    coded = array.dictionary_encode()
    return _decoded(coded, coded.dictionary.to_numpy(zero_copy_only=False).astype("datetime64[us]").tolist())


def _days(array: pa.Array) -> Values:
    values: Values = array.to_numpy(zero_copy_only=False).astype("datetime64[D]").tolist()
    return values


def _texts(array: pa.Array) -> Values:
    return [tuple(value) for value in array.to_pylist()]


_FORMS: dict[Any, tuple[pa.DataType, Callable[[Values], Values], Callable[[pa.Array], Values]]] = {
    str: (pa.string(), _as_is, _text),
    Arm: (pa.string(), _as_is, _arm),
    int: (pa.int64(), _as_is, _numbers),
    float: (pa.float64(), _as_is, _numbers),
    bool: (pa.bool_(), _as_is, _flags),
    dt.datetime: (pa.timestamp("us"), _as_is, _instants),
    dt.date: (pa.date32(), _as_is, _days),
    tuple: (pa.list_(pa.string()), _as_is, _texts),
}
"""Field type: Arrow type, Python values to what Arrow takes, Arrow array to Python values."""


def _read(path: Path) -> _Part:
    try:
        table = pq.read_table(path)
        said = json.loads((table.schema.metadata or {})[_KEY])
        version = int(said.get("version", MANIFEST_VERSION))
        remarks = tuple(remark_of_json(one) for one in (*said.get("earlier", ()), said))
        first_at = said.get("first_ingested_at", remarks[0].at)
    except (pa.ArrowInvalid, OSError, KeyError, ValueError, TypeError) as error:
        raise _unreadable(str(path), f"cannot be read ({error})") from error
    expect_version(version, path.name)
    frames = table_to_frames(table)
    if manifest_id_of(frames) != path.stem:
        raise _unreadable(str(path), f"holds the manifest {manifest_id_of(frames)[:12]}, not what its name says")
    return _Part(path.stem, frames, first_at, remarks)


def expect_version(version: int, name: str) -> None:
    """Raise MisuseError AP-ING-012 for a manifest that a newer package wrote."""
    if version > MANIFEST_VERSION:
        raise MisuseError(
            "AP-ING-012",
            f"manifest of version {version}, this package reads up to {MANIFEST_VERSION}",
            subject=name,
            remedy="use the archive_proc release that ingested it, or a newer one",
        )


def _unreadable(subject: str, why: str) -> InputError:
    return InputError("AP-ING-011", why, subject=subject, remedy="move the file away and ingest its raw files again")
