"""A found manifest outside any archive: `manifest.parquet` and `headers.parquet` of a directory without pixels.

The manifest has the columns of the archive's own (`frames_to_table`; uris relative to the directory), the header table
those of `headers/period=*.parquet`. `ingest DIR` takes them in place of walking the directory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from archive_proc.errors import InputError
from archive_proc.model.cards import Card
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, ManifestId
from archive_proc.storage.atomic import GroupWriter, write_parquet
from archive_proc.storage.headers import (
    HEADER_SCHEMA,
    HeaderBatch,
    header_batch,
    long_table,
    part_path,
    write_groups,
)
from archive_proc.storage.layout import Layout
from archive_proc.storage.manifests import MANIFEST_VERSION, expect_version, frames_to_table, table_to_frames

MANIFEST = "manifest.parquet"
HEADERS = "headers.parquet"
_KEY = b"archive_proc"
_BATCH = 4096
"""Headers held as cards at a time."""


class FoundWriter:
    """Collects frames with their cards, then writes both tables: `with FoundWriter(directory) as sink: ...`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._frames: list[RawFrame] = []
        self._headers: list[tuple[FileId, str, int, Sequence[Card]]] = []
        self._batches: list[HeaderBatch] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._close()

    def add(self, frame: RawFrame, cards: Sequence[Card]) -> None:
        """A frame and its header."""
        self._frames.append(frame)
        self._headers.append((frame.file_id, frame.uri, frame.period_date, cards))
        if len(self._headers) >= _BATCH:
            self._flush()

    def add_copy(self, frame: RawFrame) -> None:
        """A further copy of a frame, at another place: a row of the manifest only."""
        self._frames.append(frame)

    def _flush(self) -> None:
        self._batches.append(header_batch(self._headers))
        self._headers = []

    def _close(self) -> None:
        self._flush()
        ordered = sorted(self._frames, key=lambda one: (one.night, one.mjd_obs, one.file_id, one.uri))
        said = {"version": MANIFEST_VERSION, "kind": "found"}
        table = frames_to_table(ordered).replace_schema_metadata({_KEY: json.dumps(said)})
        write_parquet(table, self.directory / MANIFEST)
        write_groups(long_table(self._batches), self.directory / HEADERS)


def is_found(directory: Path) -> bool:
    """Whether a directory holds a manifest in place of files."""
    return (directory / MANIFEST).is_file()


def read_found(directory: Path, below: str) -> tuple[RawFrame, ...]:
    """The rows of a directory's manifest; `below` is the directory's own uri, which stands before theirs.

    Raises InputError AP-ING-050 where a table is missing, cannot be read or is none of raw frames, MisuseError
    AP-ING-012 where a newer package wrote it.
    """
    path = directory / MANIFEST
    try:
        table = pq.read_table(path)
        said = json.loads((table.schema.metadata or {})[_KEY])
        version, kind = int(said["version"]), said["kind"]
    except (pa.ArrowInvalid, OSError, KeyError, ValueError, TypeError) as error:
        raise _wrong(path, f"cannot be read as a manifest of raw frames ({error})") from error
    expect_version(version, path.name)
    if kind != "found":
        raise _wrong(path, f"is of kind {str(kind)[:40]}, not found")
    try:
        uris = table["uri"].to_pylist()
        for one in uris:
            if one.startswith("/") or ".." in one.split("/") or not one.isprintable():
                raise _wrong(path, f"names a file outside its directory ({one[:60]!r})")
        placed = pa.array([f"{below}/{one}" for one in uris], pa.string())
        return table_to_frames(table.set_column(table.column_names.index("uri"), "uri", placed))
    except (pa.ArrowInvalid, AttributeError, ValueError, TypeError, KeyError) as error:
        raise _wrong(path, f"does not hold raw frames ({error})") from error


def take_headers(directory: Path, layout: Layout, manifest_id: ManifestId, periods: Mapping[FileId, int]) -> None:
    """Copy the cards of these files (with the ESO period of each) into the archive's header table.

    A row group is held at a time. Raises InputError AP-ING-050 where the table cannot be read or lacks a file.
    """
    path = directory / HEADERS
    if not periods:
        return
    seen: set[str] = set()
    try:
        with ExitStack() as stack:
            source = pq.ParquetFile(path, read_dictionary=HEADER_SCHEMA.names)
            parts: dict[int, GroupWriter] = {}
            for number in range(source.num_row_groups):
                group = source.read_row_group(number, columns=HEADER_SCHEMA.names).unify_dictionaries()
                for period, rows in _by_period(group, periods, seen):
                    if period not in parts:
                        target = part_path(layout, period, manifest_id)
                        parts[period] = stack.enter_context(GroupWriter(target, HEADER_SCHEMA))
                    parts[period].write(rows.cast(HEADER_SCHEMA))
            lacking = sorted(periods.keys() - seen)
            if lacking:
                raise _wrong(path, f"has no card of {len(lacking)} files of the manifest, first {lacking[0]}")
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, KeyError) as error:
        raise _wrong(path, f"cannot be read as a table of header cards ({error})") from error


def _by_period(group: pa.Table, periods: Mapping[FileId, int], seen: set[str]) -> Iterator[tuple[int, pa.Table]]:
    """The rows of a group that are wanted, by period. Told by the few thousand file ids, not by each row."""
    column = group["file_id"].combine_chunks()
    column = column if isinstance(column, pa.DictionaryArray) else column.chunk(0)
    names = column.dictionary.to_pylist()
    seen.update(one for one in names if one in periods)
    of_name = np.array([periods.get(FileId(one), -1) for one in names], np.int32)
    of_row = of_name[column.indices.to_numpy()]
    found = np.unique(of_row)
    for period in found[found >= 0].tolist():
        yield period, group if len(found) == 1 else group.filter(pa.array(of_row == period))


def _wrong(path: Path, why: str) -> InputError:
    return InputError(
        "AP-ING-050",
        why,
        subject=str(path),
        remedy="write the directory again, or move the manifest away and ingest files",
    )
