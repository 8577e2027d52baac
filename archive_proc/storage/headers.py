"""Every card of every raw header: a long table (key, file, value) in parts by ESO period.

A part is written once by one ingest and named after its period and manifest (`period=95.<manifest id>.parquet`), so
that two ingests never rewrite each other's and a reader takes `period=*.parquet`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from archive_proc.model.calendar import night_of, period_of
from archive_proc.model.cards import Card
from archive_proc.model.frames import HeaderCard
from archive_proc.model.ids import FileId, ManifestId
from archive_proc.storage.atomic import GroupWriter
from archive_proc.storage.layout import Layout

HEADER_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False, metadata={"description": "keyword without HIERARCH ESO"}),
        pa.field("file_id", pa.string(), nullable=False, metadata={"description": "canonical archive name"}),
        pa.field(
            "position", pa.int32(), nullable=False, metadata={"description": "card's place in the header, from 0"}
        ),
        pa.field("value", pa.string(), nullable=False, metadata={"description": "value as text, as the header has it"}),
        pa.field("comment", pa.string(), nullable=False, metadata={"description": "text after the slash"}),
    ]
)
"""Columns of `headers/period=*.parquet`."""
ROW_GROUP = 122_880
"""Rows of a row group: a header's cards are found by reading one key's groups."""


@dataclass(frozen=True, slots=True)
class HeaderBatch:
    """The cards of some headers as one Arrow table: what an ingest's workers hand over."""

    # Arrow ships no types; columns are those of HEADER_SCHEMA (texts by code), and `uri`, `period`.
    table: pa.Table

    def only(self, uris: Iterable[str]) -> HeaderBatch:
        """The cards of the headers that were read from these uris."""
        wanted = pa.array(sorted(uris), pa.string())
        return HeaderBatch(self.table.filter(pc.is_in(self.table["uri"].cast(pa.string()), value_set=wanted)))


def header_batch(headers: Iterable[tuple[FileId, str, int, Sequence[Card]]]) -> HeaderBatch:
    """A batch of (file_id, uri, ESO period, cards); blank cards are left out."""
    ids: list[str] = []
    uris: list[str] = []
    periods: list[int] = []
    counts: list[int] = []
    cards: list[Card] = []
    for file_id, uri, period, given in headers:
        cards.extend(given)
        counts.append(len(given))
        ids.append(file_id)
        uris.append(uri)
        periods.append(period)
    # The scanner gives equal cards as one object: nine in ten rows need no text of their own.
    _, first, code = np.unique(
        np.fromiter(map(id, cards), np.int64, len(cards)), return_index=True, return_inverse=True
    )
    distinct = [cards[row] for row in first.tolist()]
    file = pa.array(np.repeat(np.arange(len(ids), dtype=np.int32), counts))
    card = pa.array(code.astype(np.int32))
    columns = {
        "key": _coded(card, [one.key for one in distinct]),
        "file_id": _coded(file, ids),
        "position": pa.array(np.concatenate([np.empty(0, np.int32), *(np.arange(n, dtype=np.int32) for n in counts)])),
        "value": _coded(card, [one.value for one in distinct]),
        "comment": _coded(card, [one.comment for one in distinct]),
        "uri": _coded(file, uris),
        "period": pa.array(np.repeat(np.array(periods, np.int16), counts)),
    }
    table = pa.table(columns)
    # Told by the distinct cards: most headers have no blank one.
    return HeaderBatch(table if all(one.key for one in distinct) else table.filter(pc.not_equal(table["key"], "")))


def _coded(codes: pa.Array, words: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(codes, pa.array(words, pa.string()))


def long_table(batches: Iterable[HeaderBatch]) -> pa.Table:
    """The cards of some batches by key, file and place, texts by code; `uri` and `period` stay beside them."""
    whole = pa.concat_tables([batch.table for batch in batches]).unify_dictionaries().combine_chunks()
    # Sorted by the ranks of the few thousand different texts: millions of strings need no comparing.
    order = np.lexsort((whole["position"].to_numpy(), _ranks(whole["file_id"]), _ranks(whole["key"])))
    return whole.take(pa.array(order))


def _ranks(coded: pa.ChunkedArray) -> NDArray[np.int32]:
    chunk = coded.combine_chunks() if coded.num_chunks != 1 else coded.chunk(0)
    rank = np.empty(len(chunk.dictionary), np.int32)
    rank[pc.array_sort_indices(chunk.dictionary).to_numpy()] = np.arange(len(rank), dtype=np.int32)
    return np.asarray(rank[chunk.indices.to_numpy()])


def write_groups(rows: pa.Table, path: Path) -> None:
    """Write rows in the form of `HEADER_SCHEMA`, a row group at a time: a semester's texts in full would be 0.5 GB."""
    with GroupWriter(path, HEADER_SCHEMA) as sink:
        for first in range(0, max(rows.num_rows, 1), ROW_GROUP):
            sink.write(rows.slice(first, ROW_GROUP).select(HEADER_SCHEMA.names).cast(HEADER_SCHEMA))


def write_headers(layout: Layout, batches: Sequence[HeaderBatch], manifest_id: ManifestId) -> tuple[str, ...]:
    """Write the cards of one ingest; the names of the parts written, one a period. Writing twice is harmless."""
    if not batches:
        return ()
    whole = long_table(batches)
    written = []
    for period in sorted(value for value in pc.unique(whole["period"]).to_pylist() if value is not None):
        path = part_path(layout, period, manifest_id)
        write_groups(whole.filter(pc.equal(whole["period"], period)), path)
        written.append(path.name)
    return tuple(written)


def part_path(layout: Layout, period: int, manifest_id: ManifestId) -> Path:
    """Where the cards of one period of one ingest stand."""
    path = layout.header_part(period)
    return path.with_name(f"{path.stem}.{manifest_id[:16]}.parquet")


def read_header(layout: Layout, file_id: FileId) -> tuple[HeaderCard, ...]:
    """All cards of one raw header in their order; empty when its header was never ingested."""
    start = dt.datetime.fromisoformat(file_id.removeprefix("SPHER."))
    path = layout.header_part(period_of(night_of(start)))
    likely = sorted(path.parent.glob(f"{path.stem}.*parquet"))
    # A header whose DATE-OBS is not that of its name lies with another period.
    others = sorted(set(path.parent.glob("period=*.parquet")) - set(likely))
    wanted = [("file_id", "=", file_id)]
    for part in (*likely, *others):
        table = pq.read_table(part, filters=wanted)
        if table.num_rows:
            rows = table.sort_by("position").to_pydict()
            return tuple(
                HeaderCard(file_id, *row)
                for row in zip(rows["position"], rows["key"], rows["value"], rows["comment"], strict=True)
            )
    return ()
