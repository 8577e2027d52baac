"""What a catalog table is: columns with type, unit and meaning, read from one line of text each.

The lines stand in `frame_tables.py` and `process_tables.py`; `tables.py` lists every table once. A line is
`name  type  unit  meaning`, unit `-` where there is none, so that the schema can be read as the table it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

PERIOD_COLUMN = "period_date"
"""The column that cuts a table into parts, ESO period of the night."""

_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "json": pa.string(),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    # Figures of single planes: millions of rows, and no figure is good to seven digits.
    "float32": pa.float32(),
    "float64": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    # sha256 as 32 bytes: as hex text the products table would be a quarter larger.
    "digest": pa.binary(),
    "text[]": pa.list_(pa.string()),
    "int32[]": pa.list_(pa.int32()),
    "float64[]": pa.list_(pa.float64()),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a catalog table."""

    name: str
    type: str
    """text, json, bool, int8 ... int64, float32, float64, date, timestamp (UTC, us), digest (32 bytes), `[]`: lists."""
    unit: str
    """UDUNITS spelling; empty where there is none."""
    meaning: str

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type that rows are cast to."""
        return _TYPES[self.type]


@dataclass(frozen=True)
class Table:
    """One catalog table. Columns are only ever added, at the end; `version` counts the additions."""

    name: str
    title: str
    """What a row is."""
    key: tuple[str, ...]
    """Columns that identify a row; never NULL."""
    sort: tuple[str, ...]
    """Order of rows in a part, so that statistics of row groups prune."""
    columns: tuple[Column, ...]
    by_period: bool = False
    """True: one Parquet file an ESO period."""
    version: int = 1

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """Arrow schema with unit and meaning on every field and the table's version in every part."""
        fields = [
            pa.field(one.name, one.arrow_type, metadata={"unit": one.unit, "meaning": one.meaning})
            for one in self.columns
        ]
        return pa.schema(fields, metadata={"archive_proc.table": self.name, "archive_proc.version": str(self.version)})

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(one.name for one in self.columns)


def define(
    name: str,
    title: str,
    columns: str,
    *,
    key: str,
    sort: str = "",
    by_period: bool = False,
    version: int = 1,
) -> Table:
    """A table from its text, one column a line. ValueError names the first line that is not of the form."""
    found = tuple(_column(line) for line in columns.strip().splitlines() if line.strip())
    table = Table(name, title, tuple(key.split()), tuple((sort or key).split()), found, by_period, version)
    known = set(table.names)
    asked = {*table.key, *table.sort, *({PERIOD_COLUMN} if by_period else set())}
    if len(known) != len(found) or asked - known:
        raise ValueError(f"table {name}: a column is named twice, or {sorted(asked - known)} is missing")
    return table


def _column(line: str) -> Column:
    parts = line.split(maxsplit=3)
    if len(parts) != 4 or parts[1] not in _TYPES:
        raise ValueError(f"not `name type unit meaning`: {line.strip()!r}")
    name, kind, unit, meaning = parts
    return Column(name, kind, "" if unit == "-" else unit, meaning)
