"""Ids as people paste them: with or without a type prefix, shortened to any unambiguous start."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import duckdb

from archive_proc.errors import MisuseError, NotFoundError
from archive_proc.model.ids import SHOWN_DIGITS

_WHERE: dict[str, tuple[str, str]] = {
    "obs": ("observations", "obs_id"),
    "group": ("groups", "group_id"),
    "proc": ("processes", "process_id"),
    "prod": ("products", "product_id"),
    "plan": ("plans", "plan_id"),
    "run": ("runs", "run_id"),
    "file": ("files", "file_id"),
    "target": ("targets", "target_id"),
}
KINDS = tuple(_WHERE)
"""Type prefixes: `obs:`, `group:`, ..."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A whole id and what it is an id of."""

    kind: str
    """One of KINDS."""
    value: str

    @property
    def shown(self) -> str:
        """As people see it."""
        if self.kind in ("file", "run"):
            return f"{self.kind}:{self.value}"
        process, dot, product_type = self.value.partition(".")
        return f"{self.kind}:{process[:SHOWN_DIGITS]}{dot}{product_type}"


def identify(connection: duckdb.DuckDBPyConnection, text: str, kinds: Collection[str] = KINDS) -> Identifier:
    """The one id that begins like this, among these kinds.

    `prod:3fa9.cen` may shorten both the process and the product type. Where a start belongs to a process and to its
    products, the process is meant. Raises NotFoundError AP-CAT-005 with the nearest ids where none begins so,
    MisuseError AP-CAT-006 listing them where several do.
    """
    prefix, colon, rest = text.strip().partition(":")
    if colon and prefix in _WHERE:
        kinds, start = ((prefix,) if prefix in kinds else ()), rest
    else:
        start = text.strip()
    found = [one for kind in KINDS if kind in kinds for one in _starting(connection, kind, start)] if start else []
    exact = [one for one in found if one.value == start]
    processes = {one.value for one in found if one.kind == "proc"}
    chosen = exact or [one for one in found if one.kind != "prod" or one.value.partition(".")[0] not in processes]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise _unknown(connection, text, start, kinds)
    listed = ", ".join(one.shown for one in chosen[:5]) + (", ..." if len(chosen) > 5 else "")
    raise MisuseError(
        "AP-CAT-006", f"begins more than one id: {listed}", subject=text, remedy="give more digits, or the type prefix"
    )


def _starting(connection: duckdb.DuckDBPyConnection, kind: str, start: str) -> list[Identifier]:
    table, column = _WHERE[kind]
    process, _, product_type = start.partition(".")
    if kind == "prod" and product_type:
        clause, values = (
            f"starts_with({column}, $a) AND starts_with(product_type, $b)",
            {"a": process, "b": product_type},
        )
    else:
        clause, values = f"starts_with({column}, $a)", {"a": start}
    sql = f"SELECT {column} FROM {table} WHERE {clause} ORDER BY {column} LIMIT 8"
    return [Identifier(kind, value) for (value,) in connection.execute(sql, values).fetchall()]


def _unknown(connection: duckdb.DuckDBPyConnection, text: str, start: str, kinds: Collection[str]) -> NotFoundError:
    near: list[tuple[float, str]] = []
    for kind in KINDS:
        if kind in kinds and start:
            table, column = _WHERE[kind]
            sql = (
                f"SELECT DISTINCT jaro_winkler_similarity({column}[:length($a)], $a) AS near, {column} FROM {table} "
                f"ORDER BY near DESC, {column} LIMIT 2"
            )
            near += [
                (score, Identifier(kind, value).shown)
                for score, value in connection.execute(sql, {"a": start}).fetchall()
            ]
    best = [shown for score, shown in sorted(near, key=lambda one: (-one[0], one[1])) if score > 0.6][:3]
    words = f"; nearest: {', '.join(best)}" if best else ""
    return NotFoundError(
        "AP-CAT-005",
        f"no id begins like this{words}",
        subject=text,
        remedy='look it up: archive-proc query --saved star-history, or query "FROM observations"',
    )
