"""A read-only DuckDB over one snapshot: an in-memory connection whose views are the snapshot's files and nothing else.

Guards, in the order that holds (notes/storage 4.6): only these files may be opened, no extension is fetched, memory and
threads are bounded, no other access, views, configuration locked. They guard our own process against mistakes; SQL of
strangers needs a process of its own (notes/workflow 8).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from archive_proc.errors import MisuseError
from archive_proc.storage.layout import Layout
from archive_proc.storage.snapshots import Snapshot, open_current
from archive_proc.storage.views import quoted_text, view_sql


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may use."""

    memory: str = "2GB"
    """DuckDB's spelling: 512MB, 2GB."""
    threads: int = 2


@contextmanager
def open_catalog(layout: Layout, limits: Limits | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A locked connection over the snapshot that `current` names now, whatever is published meanwhile.

    Raises NotFoundError AP-STO-502 where nothing was published yet.
    """
    with open_over(open_current(layout), limits) as connection:
        yield connection


@contextmanager
def open_over(snapshot: Snapshot, limits: Limits | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A locked connection over one snapshot, closed at the end."""
    allowed = limits or Limits()
    files = {name: [str(path) for path in snapshot.files(name)] for name in snapshot.manifest.tables}
    listed = ", ".join(quoted_text(path) for paths in files.values() for path in paths)
    guards = [
        f"SET allowed_paths = [{listed}]",
        "SET autoinstall_known_extensions = false",
        "SET autoload_known_extensions = false",
        f"SET memory_limit = {quoted_text(allowed.memory)}",
        f"SET threads = {int(allowed.threads)}",
        "SET temp_directory = ''",
        "SET enable_external_access = false",
        "SET TimeZone = 'UTC'",
        *(view_sql(name, paths) for name, paths in files.items() if paths),
        "SET lock_configuration = true",
    ]
    connection = duckdb.connect(":memory:")
    try:
        connection.execute(";\n".join(one.rstrip(";") for one in guards)).fetchall()
        yield connection
    finally:
        connection.close()


def check_select(connection: duckdb.DuckDBPyConnection, sql: str) -> frozenset[str]:
    """The names of the statement's parameters, after making sure that it is exactly one that reads.

    Raises MisuseError AP-CAT-001 for none, several, or one that is not a SELECT (COPY, SET, ATTACH, PRAGMA, ...), and
    AP-CAT-002 where it cannot be parsed.
    """
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise sql_error(error) from error
    kinds = [str(one.type).rpartition(".")[2] for one in statements]
    if kinds != ["SELECT"]:
        found = "nothing" if not kinds else ", ".join(kinds)
        raise MisuseError(
            "AP-CAT-001",
            f"the catalog is read-only: one SELECT is expected, found {found}",
            remedy="ask one question a call, as SELECT ... or FROM ...; `archive-proc schema` lists the tables",
        )
    return frozenset(statements[0].named_parameters)


def sql_error(error: duckdb.Error) -> MisuseError:
    """DuckDB's complaint as ours, its first lines only."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("LINE")]
    return MisuseError(
        "AP-CAT-002",
        " ".join(line for line in lines if set(line) != {"^"}),
        remedy="`archive-proc schema` lists tables and columns",
    )
