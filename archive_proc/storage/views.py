"""`views.sql` of a snapshot: one documented view a table, over relative paths, for anyone who has only DuckDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archive_proc.storage.tables import TABLES, Table


def view_sql(name: str, paths: Sequence[str]) -> str:
    """The statement that makes a table of these Parquet files visible under its name."""
    listed = ", ".join(quoted_text(one) for one in paths)
    # union_by_name: a column added since gives NULL in older parts, whichever part comes first.
    return (
        f"CREATE OR REPLACE VIEW {quoted_name(name)} AS "
        f"FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = false);"
    )


def views_sql(paths: Mapping[str, Sequence[str]]) -> str:
    """All views, then what tables and columns mean, as comments that `duckdb_columns()` shows."""
    lines = [
        "-- The catalog: `cd` into this directory, then `duckdb -init views.sql`, and stay here while querying.",
        *(view_sql(name, found) for name, found in paths.items() if found),
    ]
    for name in paths:
        if name in TABLES:
            lines.extend(_comments(TABLES[name]))
    return "\n".join(lines) + "\n"


def _comments(table: Table) -> list[str]:
    view = quoted_name(table.name)
    lines = [f"COMMENT ON VIEW {view} IS {quoted_text(table.title)};"]
    for one in table.columns:
        meaning = f"{one.meaning} [{one.unit}]" if one.unit else one.meaning
        lines.append(f"COMMENT ON COLUMN {view}.{quoted_name(one.name)} IS {quoted_text(meaning)};")
    return lines


def quoted_name(name: str) -> str:
    """An SQL identifier.

    >>> quoted_name("match")
    '"match"'
    """
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    """An SQL string.

    >>> quoted_text("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"
