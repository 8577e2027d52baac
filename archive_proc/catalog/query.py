"""Questions to the catalog in SQL, and the saved ones that ship with the package."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import duckdb
import pyarrow as pa

from archive_proc.catalog.connection import Limits, check_select, open_catalog, sql_error
from archive_proc.errors import MisuseError, NotFoundError
from archive_proc.storage.layout import Layout

_PARAMETER = re.compile(r"^-- parameter (\w+)( \(optional\))?: (.+)$")


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """A value that a saved query asks for; bound, never pasted into the text."""

    name: str
    meaning: str
    optional: bool
    """Left out: bound as NULL, which its query reads as `all`."""


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A named question: `catalog/queries/<name>.sql`, its header comment read."""

    name: str
    title: str
    parameters: tuple[QueryParameter, ...]
    sql: str


def query(
    layout: Layout, sql: str, parameters: Mapping[str, object] | None = None, limits: Limits | None = None
) -> pa.Table:
    """The answer to one SELECT over the newest snapshot, as Arrow.

    Parameters (`$name` in the text) are bound. Raises MisuseError AP-CAT-001 for anything but one SELECT, AP-CAT-002
    for SQL that DuckDB refuses, AP-CAT-003 for parameters that are missing or unknown; NotFoundError AP-STO-502 where
    nothing was published yet.
    """
    given = dict(parameters or {})
    with open_catalog(layout, limits) as connection:
        asked = check_select(connection, sql)
        if asked != given.keys():
            raise _wrong_parameters(asked, frozenset(given))
        try:
            # A relation is drained to its end by to_arrow_table; DuckDB 2.0 refuses the next one otherwise.
            found: pa.Table = connection.sql(sql, params=given or None).to_arrow_table()
        except duckdb.Error as error:
            raise sql_error(error) from error
        return found


@cache
def saved_queries() -> Mapping[str, SavedQuery]:
    """The queries shipped with the package, by name, sorted."""
    found = [one for one in files("archive_proc.catalog").joinpath("queries").iterdir() if one.name.endswith(".sql")]
    queries = [_read(one.name.removesuffix(".sql"), one.read_text(encoding="utf-8")) for one in found]
    return {one.name: one for one in sorted(queries, key=lambda one: one.name)}


def saved_query(name: str) -> SavedQuery:
    """A saved query by its name; dashes count as underscores.

    Raises NotFoundError AP-CAT-004 with the nearest names.
    """
    queries = saved_queries()
    wanted = name.replace("-", "_")
    if wanted not in queries:
        near = difflib.get_close_matches(wanted, queries, n=3, cutoff=0.4) or list(queries)
        raise NotFoundError(
            "AP-CAT-004", f"no saved query of this name; nearest: {', '.join(near)}", subject=name,
            remedy="`archive-proc query --saved list` shows them with their parameters",
        )  # fmt: skip
    return queries[wanted]


def query_saved(
    layout: Layout, name: str, parameters: Mapping[str, object] | None = None, limits: Limits | None = None
) -> pa.Table:
    """The answer to a saved query, its optional parameters NULL where not given.

    Raises NotFoundError AP-CAT-004 for an unknown name, MisuseError AP-CAT-003 for missing or unknown parameters.
    """
    saved = saved_query(name)
    given = dict(parameters or {})
    required = {one.name for one in saved.parameters if not one.optional}
    known = {one.name for one in saved.parameters}
    if required - given.keys() or given.keys() - known:
        raise _wrong_parameters(frozenset(required if required - given.keys() else known), frozenset(given), saved)
    return query(layout, saved.sql, {name: given.get(name) for name in known}, limits)


def _wrong_parameters(asked: frozenset[str], given: frozenset[str], saved: SavedQuery | None = None) -> MisuseError:
    missing, unknown = sorted(asked - given), sorted(given - asked)
    words = [f"missing parameter {one}" for one in missing] + [f"unknown parameter {one}" for one in unknown]
    known = saved.parameters if saved else ()
    listed = "; ".join(f"{one.name}{' (optional)' if one.optional else ''}: {one.meaning}" for one in known)
    return MisuseError(
        "AP-CAT-003",
        ", ".join(words) + (f"; it takes {listed}" if listed else ""),
        subject=saved.name if saved else "",
        remedy=f"give -p {missing[0]}=VALUE" if missing else f"leave out -p {unknown[0]}" if unknown else "",
    )


def _read(name: str, text: str) -> SavedQuery:
    lines = text.splitlines()
    head = f"-- {name}: "
    if not lines or not lines[0].startswith(head):
        raise ValueError(f"catalog/queries/{name}.sql: the first line must be `{head}<what it answers>`")
    matches = [_PARAMETER.match(line) for line in lines]
    parameters = tuple(QueryParameter(one[1], one[3], one[2] is not None) for one in matches if one)
    return SavedQuery(name, lines[0].removeprefix(head), parameters, text)
