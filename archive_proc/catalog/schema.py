"""The documented schema: every table, column, type, unit and meaning."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from archive_proc.errors import NotFoundError
from archive_proc.storage.tables import TABLES, Column, Table


@dataclass(frozen=True, slots=True)
class SchemaLine:
    """One column of one table."""

    table: str
    column: str
    type: str
    unit: str
    meaning: str
    key: bool
    """Part of what identifies a row."""


def tables(name: str | None = None) -> tuple[Table, ...]:
    """All tables, or the one of this name. Raises NotFoundError AP-CAT-009 with the nearest names."""
    if name is None:
        return tuple(TABLES.values())
    if name not in TABLES:
        near = difflib.get_close_matches(name, TABLES, n=3, cutoff=0.5) or list(TABLES)
        raise NotFoundError(
            "AP-CAT-009",
            f"no table of this name; nearest: {', '.join(near)}",
            subject=name,
            remedy="`archive-proc schema` lists all",
        )
    return (TABLES[name],)


def schema(name: str | None = None) -> tuple[SchemaLine, ...]:
    """Every column of all tables, or of one. Raises as `tables`."""
    return tuple(_line(table, column) for table in tables(name) for column in table.columns)


def _line(table: Table, column: Column) -> SchemaLine:
    return SchemaLine(table.name, column.name, column.type, column.unit, column.meaning, column.name in table.key)
