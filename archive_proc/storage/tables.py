"""The catalog's schema: every table once, and the one cast that rows pass before they are written.

Columns stand documented in `frame_tables.py` and `process_tables.py`. Columns are only added, nullable, never renamed
or retyped (notes/storage 4.5): the same column as integer in one part and text in another is no error to a reader, it
silently becomes text everywhere. So the cast refuses instead of guessing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from archive_proc.errors import InputError
from archive_proc.storage.frame_tables import FRAME_TABLES
from archive_proc.storage.process_tables import PROCESS_TABLES
from archive_proc.storage.table_form import PERIOD_COLUMN, Column, Table

__all__ = [
    "PERIOD_COLUMN", "TABLES", "Column", "Table", "cast", "empty", "table_from_columns", "table_from_rows",
    "typed_columns", "typed_rows",
]  # fmt: skip

TABLES: Mapping[str, Table] = MappingProxyType({one.name: one for one in (*FRAME_TABLES, *PROCESS_TABLES)})
"""By name, in the order of the schema listing."""


def empty(table: Table) -> pa.Table:
    """The table with no row."""
    return table.arrow_schema.empty_table()


def table_from_rows(table: Table, rows: Iterable[Mapping[str, object]]) -> pa.Table:
    """Rows by column name, cast and sorted; names left out are NULL.

    Raises InputError AP-STO-501 for an unknown column or a value of another kind.
    """
    return _in_order(table, typed_rows(table, rows))


def typed_rows(table: Table, rows: Iterable[Mapping[str, object]]) -> pa.Table:
    """The same in no order, for those that will be joined with others before they are sorted."""
    alike: dict[tuple[str, ...], list[Mapping[str, object]]] = {}
    for row in rows:
        alike.setdefault(tuple(row), []).append(row)
    # Column by column for all rows that name the same ones: to look every name up in every row took twice as long.
    found = [
        typed_columns(table, dict(zip(names, zip(*(row.values() for row in some), strict=True), strict=True)))
        for names, some in alike.items()
    ]
    return pa.concat_tables(found) if found else empty(table)


def table_from_columns(table: Table, columns: Mapping[str, Sequence[object]]) -> pa.Table:
    """Columns of equal length, cast and sorted as rows are; names left out are NULL. For what has a million rows.

    Raises InputError AP-STO-501 as `table_from_rows`.
    """
    return _in_order(table, typed_columns(table, columns))


def typed_columns(table: Table, columns: Mapping[str, Sequence[object]]) -> pa.Table:
    """The same in the order given."""
    unknown = sorted(set(columns) - set(table.names))
    if unknown:
        raise _refused(table, unknown[0], "the schema has no such column")
    n = len(next(iter(columns.values()), ()))
    found = []
    for one in table.columns:
        try:
            # from_pandas: NaN becomes NULL, the catalog's one word for missing (and NaN would equal nothing).
            found.append(
                pa.array(columns[one.name], type=one.arrow_type, from_pandas=True)
                if one.name in columns
                else pa.nulls(n, one.arrow_type)
            )
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise _refused(table, one.name, str(error)) from error
    return pa.table(found, schema=table.arrow_schema)


def cast(table: Table, rows: pa.Table) -> pa.Table:
    """Rows in the table's schema, sorted by its sort columns; columns that are absent become NULL.

    Allowed: integers that fit, integer to float, null to anything, another spelling of text, hexadecimal text to a
    digest, another unit of time that loses nothing. Raises InputError AP-STO-501 for anything else, for an unknown
    column, and for NULL in a key column.
    """
    unknown = sorted(set(rows.column_names) - set(table.names))
    if unknown:
        raise _refused(table, unknown[0], "the schema has no such column")
    columns = []
    for one in table.columns:
        if one.name in rows.column_names:
            columns.append(_cast_column(table, one, rows.column(one.name)))
        else:
            columns.append(pa.nulls(rows.num_rows, one.arrow_type))
    return _in_order(table, pa.table(columns, schema=table.arrow_schema))


def _in_order(table: Table, rows: pa.Table) -> pa.Table:
    for name in table.key:
        if rows.column(name).null_count:
            raise _refused(table, name, "a key column is NULL")
    if rows.num_rows < 2:
        return rows
    # Sort columns first, then the key, so that equal rows in any order give equal bytes.
    order = [*table.sort, *(name for name in table.key if name not in table.sort)]
    return rows.sort_by([(name, "ascending") for name in order]).combine_chunks()


def _cast_column(table: Table, column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    have, want = values.type, column.arrow_type
    if have == want:
        return values
    if pa.types.is_dictionary(have):
        return _cast_column(table, column, values.cast(have.value_type))
    if column.type == "digest" and _is_text(have):
        return _from_hex(table, column, values)
    if not _may_become(have, want):
        raise _refused(table, column.name, f"holds {have}, the schema says {column.type}")
    try:
        return pc.cast(values, want, safe=True)
    except pa.ArrowInvalid as error:
        raise _refused(table, column.name, str(error)) from error


def _may_become(have: pa.DataType, want: pa.DataType) -> bool:
    if pa.types.is_null(have):
        return True
    if pa.types.is_list(want):
        is_list = pa.types.is_list(have) or pa.types.is_large_list(have)
        return is_list and _may_become_or_is(have.value_type, want.value_type)
    if pa.types.is_integer(want):
        return bool(pa.types.is_integer(have))
    if pa.types.is_floating(want):
        return bool(pa.types.is_floating(have) or pa.types.is_integer(have))
    if pa.types.is_string(want):
        return _is_text(have)
    if pa.types.is_binary(want):
        return bool(pa.types.is_large_binary(have) or pa.types.is_fixed_size_binary(have))
    if pa.types.is_timestamp(want):
        return bool(pa.types.is_timestamp(have) and have.tz is None)
    return False


def _may_become_or_is(have: pa.DataType, want: pa.DataType) -> bool:
    return bool(have == want) or _may_become(have, want)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _from_hex(table: Table, column: Column, values: pa.ChunkedArray) -> pa.Array:
    try:
        decoded = [None if one is None else bytes.fromhex(one) for one in values.to_pylist()]
    except ValueError as error:
        raise _refused(table, column.name, "holds text that is not hexadecimal") from error
    # A scanner that has no digest to give says so with empty text.
    return pa.array([one or None for one in decoded], type=pa.binary())


def _refused(table: Table, column: str, why: str) -> InputError:
    return InputError(
        "AP-STO-501",
        f"catalog column {table.name}.{column}: {why}",
        subject=table.name,
        remedy="columns are only added, never retyped; give the new meaning a new name in storage/process_tables.py",
    )
