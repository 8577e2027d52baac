"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq


def write_parquet(table: pa.Table, path: Path, row_group_size: int = 32_768) -> None:
    """Write a table beside its place, flush it to disk, rename it into place; the directory is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        pq.write_table(table, beside, compression="zstd", compression_level=3, row_group_size=row_group_size)
        with open(beside, "rb") as written:
            os.fsync(written.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


class GroupWriter:
    """As `write_parquet`, a table at a time: for what does not fit into memory. Renamed into place at the end."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sink = pq.ParquetWriter(self._beside, schema, compression="zstd", compression_level=3)

    def __enter__(self) -> Self:
        return self

    def write(self, table: pa.Table) -> None:
        """One more row group."""
        self._sink.write_table(table, row_group_size=max(table.num_rows, 1))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._sink.close()
            if kind is None:
                with open(self._beside, "rb") as written:
                    os.fsync(written.fileno())
                self._beside.replace(self._path)
        finally:
            self._beside.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file beside its place, flush it to disk, rename it into place; the directory is made if need be."""
    write_pieces(path, (content,))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """The same for a file that is made piece by piece."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(beside, "wb") as written:
            written.writelines(pieces)
            written.flush()
            os.fsync(written.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
