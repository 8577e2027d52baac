"""Manifests of raw frames as Parquet: one row a frame, columns derived from `RawFrame`, immutable by content.

A manifest is named by what its frames are (DESIGN 6). Where they lie and when they were ingested stands outside the
name; ingesting the same frames from another place renews those columns of the same manifest and nothing else.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from archive_proc.errors import InputError
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId, ManifestId, sha256_hex
from archive_proc.model.observations import Issue
from archive_proc.storage.atomic import write_parquet
from archive_proc.storage.layout import Layout

MANIFEST_VERSION = 1
"""Version of the columns; columns are only ever added (notes/storage 4.5)."""

_DIGESTS = frozenset({"content_id", "header_sha256", "sha256"})
"""Held as 32 bytes, not as 64 letters: digests do not compress."""
_NARROW = {"period_date": pa.int16(), "period_prog": pa.int16(), "prog_type": pa.int8(), "bitpix": pa.int16()}
_KEY = b"archive_proc"


@dataclass(frozen=True, slots=True)
class MergedManifests:
    """All found manifests of an archive as one."""

    frames: tuple[RawFrame, ...]
    """One a file_id, by file_id; the first content ingested stays, the newest ingest says where it lies."""
    issues: tuple[Issue, ...]
    """AP-ING-010 for an id with other content; and what an ingest rejected, until a later one reads or covers it."""
    last_ingest: dt.datetime | None
    """Time of the newest ingest, UTC: the default `as_of` of a plan."""


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
    """Write what one ingest found, sorted by night and time; the manifest's id. Nothing found: nothing is written.

    `rejected` (issues of files that could not be used), `covered` (uris of the paths that the ingest walked: what an
    earlier one rejected below them is settled) and `at` (its time, UTC; default now) stand in the file's metadata,
    outside the id. The same ingest again leaves the file as it is.
    """
    manifest_id = manifest_id_of(frames)
    if not frames and not rejected:
        return manifest_id
    ordered = sorted(frames, key=lambda frame: (frame.night, frame.mjd_obs, frame.file_id))
    at = at or dt.datetime.now(dt.UTC).replace(tzinfo=None)
    path = layout.manifest(manifest_id)
    remarks = {
        "version": MANIFEST_VERSION,
        "ingested_at": at.isoformat(),
        "covered": sorted(covered),
        "rejected": [dataclasses.asdict(issue) for issue in rejected],
    }
    if path.exists() and _stands(path, ordered, remarks):
        return manifest_id
    table = frames_to_table(ordered).replace_schema_metadata({_KEY: json.dumps(remarks)})
    write_parquet(table, path)
    return manifest_id


def _stands(path: Path, frames: Sequence[RawFrame], remarks: dict[str, Any]) -> bool:  # Any: JSON
    """True when a manifest says all this already, the time aside."""
    there, said = _read(path)
    same = {(frame.file_id, frame.uri, frame.mtime) for frame in there} == {
        (frame.file_id, frame.uri, frame.mtime) for frame in frames
    }
    return same and all(said.get(key) == remarks[key] for key in ("covered", "rejected"))


def read_manifests(layout: Layout) -> tuple[RawFrame, ...]:
    """The frames of all found manifests, merged; see `merge_manifests` for what did not fit."""
    return merge_manifests(layout).frames


def merge_manifests(layout: Layout) -> MergedManifests:
    """Merge all found manifests; independent of the order in which the directory lists them.

    Raises InputError AP-ING-011 for a manifest that cannot be read or does not hold what its name says.
    """
    parts = sorted(
        ((*_read(path), path.stem) for path in layout.manifests.glob("*.parquet") if not path.name.startswith(".")),
        key=lambda part: (part[1]["ingested_at"], part[2]),
    )
    merged: dict[FileId, RawFrame] = {}
    issues: dict[tuple[str, str], Issue] = {}
    for frames, _, _ in parts:
        for frame in frames:
            standing = merged.get(frame.file_id)
            if standing is None or same_content(standing, frame):
                merged[frame.file_id] = frame
            else:
                found = conflict(standing, frame)
                issues[found.subject_id, found.code] = found
    readable = {frame.uri for frame in merged.values()}
    for number, (_, remarks, _) in enumerate(parts):
        later = [uri for _, said, _ in parts[number + 1 :] for uri in said.get("covered", ())]
        for row in remarks["rejected"]:
            issue = Issue(**row)
            read_since = issue.code != "AP-ING-010" and issue.subject_id in readable
            if not read_since and not any(_below(issue.subject_id, uri) for uri in later):
                issues[issue.subject_id, issue.code] = issue
    return MergedManifests(
        frames=tuple(merged[file_id] for file_id in sorted(merged)),
        issues=tuple(issues[key] for key in sorted(issues)),
        last_ingest=dt.datetime.fromisoformat(parts[-1][1]["ingested_at"]) if parts else None,
    )


def _below(uri: str, directory: str) -> bool:
    return uri == directory or uri.startswith(f"{directory}/")


def preferred(frame: RawFrame) -> tuple[str, bool, str, str]:
    """Order in which copies of one frame are taken: whole before cut, then by content and place."""
    return (frame.file_id, frame.truncated, frame.content_id, frame.uri)


def same_content(one: RawFrame, other: RawFrame) -> bool:
    """True for two copies of one frame: one content id, and no two DATASUMs that contradict each other."""
    sums = {frame.datasum for frame in (one, other)} - {None}
    return one.content_id == other.content_id and len(sums) < 2


def conflict(standing: RawFrame, other: RawFrame) -> Issue:
    """The issue of a file whose id belongs to other content."""
    ids = f"{standing.content_id[:12]}, this file {other.content_id[:12]}"
    if standing.content_id == other.content_id:
        ids = f"DATASUM {standing.datasum}, this file {other.datasum}"
    return Issue(
        code="AP-ING-010",
        severity="warning",
        subject_kind="file",
        subject_id=other.uri,
        message=(f"{other.file_id} is known with other content: {standing.uri} has {ids}; the first one stays"),
        remedy="remove the wrong file; if the archive reissued the frame, quarantine the old one in overrides/",
        file_id=other.file_id,
    )


def frame_schema() -> pa.Schema:
    """Arrow columns of `RawFrame`, one a field, derived from its annotations."""
    return pa.schema([pa.field(column.name, column.arrow, nullable=column.optional) for column in _columns()])


def frames_to_table(frames: Sequence[RawFrame]) -> pa.Table:
    """One row a frame, in the order given."""
    arrays = []
    for column in _columns():
        values = [getattr(frame, column.name) for frame in frames]
        arrays.append(pa.array(column.pack(values), column.arrow))
    return pa.Table.from_arrays(arrays, schema=frame_schema())


def table_to_frames(table: pa.Table) -> tuple[RawFrame, ...]:
    """The frames of a table; columns it lacks (older manifests) take the field's default, further ones are ignored.

    Raises InputError AP-ING-011 where a column without default is missing.
    """
    names, columns = [], []
    for column in _columns():
        if column.name in table.column_names:
            names.append(column.name)
            columns.append(column.unpack(table[column.name].cast(column.arrow).combine_chunks()))
        elif column.required:
            raise _unreadable("table of raw frames", f"column {column.name} is missing")
    return tuple(RawFrame(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))


Values = list[Any]  # Any: one column of any field type


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    arrow: pa.DataType
    optional: bool
    required: bool
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
    return _Column(one.name, _NARROW.get(one.name, arrow), optional, required, pack, unpack)


def _as_is(values: Values) -> Values:
    return values


def _digest_bytes(values: Values) -> Values:
    return [None if value is None else bytes.fromhex(value) for value in values]


def _digest_text(array: pa.Array) -> Values:
    return [None if value is None else value.hex() for value in array.to_pylist()]


def _text(array: pa.Array) -> Values:
    """Through the dictionary: a column of 32 000 rows has a handful of words."""
    coded = array.dictionary_encode()
    words = [*coded.dictionary.to_pylist(), None]
    return [words[code] for code in coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).tolist()]


def _arm(array: pa.Array) -> Values:
    arms = {arm.value: arm for arm in Arm}
    return [arms[value] for value in _text(array)]


def _numbers(array: pa.Array) -> Values:
    values: Values = array.fill_null(0).to_numpy(zero_copy_only=False).tolist()
    if array.null_count:
        for row in np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)).tolist():
            values[row] = None
    return values


def _flags(array: pa.Array) -> Values:
    return [None if value is None else bool(value) for value in array.to_pylist()]


def _instants(array: pa.Array) -> Values:
    values: Values = array.to_numpy(zero_copy_only=False).astype("datetime64[us]").tolist()
    return values


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


def _read(path: Path) -> tuple[tuple[RawFrame, ...], dict[str, Any]]:  # Any: JSON
    try:
        table = pq.read_table(path)
        remarks = json.loads((table.schema.metadata or {})[_KEY])
    except (pa.ArrowInvalid, OSError, KeyError, ValueError) as error:
        raise _unreadable(str(path), f"cannot be read ({error})") from error
    frames = table_to_frames(table)
    if manifest_id_of(frames) != path.stem:
        raise _unreadable(str(path), f"holds the manifest {manifest_id_of(frames)[:12]}, not what its name says")
    return frames, remarks


def _unreadable(subject: str, why: str) -> InputError:
    return InputError("AP-ING-011", why, subject=subject, remedy="move the file away and ingest its raw files again")
