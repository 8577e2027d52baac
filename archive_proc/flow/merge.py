"""New facts joined with the rows of the snapshot before: which tables and parts change, and their rows.

Rows of a process are replaced whole. Parts of periods that no news touches are not even read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from archive_proc.flow.catch_up import CatchUp, Damage
from archive_proc.flow.filled import fill_currency
from archive_proc.flow.judging import limit_rows
from archive_proc.flow.process_rows import (
    Row,
    failed_attempt_row,
    issue_id,
    plan_process_row,
    plan_row,
    process_rows,
)
from archive_proc.flow.run_facts import RunFacts
from archive_proc.instruments.qc_limits import QcLimits
from archive_proc.model.ids import ID_DIGITS, canonical_json
from archive_proc.model.processes import Plan
from archive_proc.storage.snapshots import Snapshot, TableChange, part_name, read_table
from archive_proc.storage.tables import TABLES, Table, cast, empty, table_from_rows, typed_columns, typed_rows

_OF_SPOKEN = (
    "processes", "process_inputs", "process_edges", "products", "qc", "plane_qc", "remarks", "verdicts", "issues",
)  # fmt: skip
"""Tables whose rows belong to one process each and are replaced when it is spoken of."""
_OF_NAMED = ("processes", "process_inputs", "process_edges")
_REPEATED = ("parameter_sets", "attempts", "issues")
"""Tables to which several processes, or several sources, may give the same key."""
TOGETHER = 2000
"""Rows, or processes, that are objects of Python at a time."""


def merged_tables(
    before: Snapshot | None, news: CatchUp, frames: Mapping[str, pa.Table], limits: QcLimits
) -> Mapping[str, TableChange]:
    """Changes of all tables that processes, plans and runs decide; `frames` are the tables of a new understanding,
    `limits` judge the quality figures.
    """
    fresh = _fresh_rows(news, limits)  # each forgotten as soon as it is joined: of 100,000 processes it is much
    changes: dict[str, TableChange] = {}
    for name in _OF_SPOKEN:
        speaking = [*news.spoken, *news.named] if name in _OF_NAMED else news.spoken
        gone = _Gone(
            [one.process.process_id for one in speaking], frozenset(one.process.period_date for one in speaking)
        )
        _replace(changes, before, TABLES[name], fresh.pop(name), gone)
    _replace(changes, before, TABLES["plan_processes"], fresh.pop("plan_processes"), _plans(news.run_plans))
    _replace(changes, before, TABLES["plans"], fresh.pop("plans"), _plans(news.plans))
    _add_to(changes, before, TABLES["runs"], fresh.pop("runs"))
    _add_to(changes, before, TABLES["attempts"], fresh.pop("attempts"))
    _add_to(changes, before, TABLES["parameter_sets"], fresh.pop("parameter_sets"))
    changes["qc_limits"] = TableChange(fresh.pop("qc_limits"))
    _issues(changes, before, frames.get("issues"), news.damages)
    changes |= fill_currency(before, changes, news, frames)
    _recipes(changes, before, frames.get("recipes"))
    return changes


@dataclass(frozen=True, slots=True)
class _Gone:
    """Whose old rows are dropped."""

    keys: list[str]
    periods: frozenset[int]
    column: str = ""
    """Column that holds the keys; empty: the process that the row belongs to."""


def _plans(plans: Iterable[Plan]) -> _Gone:
    some = list(plans)
    periods = frozenset(one.process.period_date for plan in some for one in plan.processes)
    return _Gone([one.plan_id for one in some], periods, "plan_id")


def _fresh_rows(news: CatchUp, limits: QcLimits) -> dict[str, pa.Table]:
    """In no order; of the tables of `_REPEATED` the last row of each key."""
    pieces = _process_tables(news, limits)
    pieces["attempts"] += _typed("attempts", map(failed_attempt_row, news.journals.attempts))
    pieces["plans"] = _typed("plans", map(plan_row, news.plans))
    for plan in news.run_plans:
        pieces["plan_processes"] += _typed("plan_processes", (plan_process_row(plan, one) for one in plan.processes))
    pieces["runs"] = _typed("runs", map(_run_row, news.journals.runs.values()))
    names = (*_OF_SPOKEN, "attempts", "parameter_sets", "plans", "plan_processes", "runs")
    found = {name: pa.concat_tables([empty(TABLES[name]), *pieces[name]]) for name in names}
    return {
        **found,
        **{name: _last_of_each(TABLES[name], found[name]) for name in _REPEATED},
        "qc_limits": table_from_rows(TABLES["qc_limits"], limit_rows(limits)),
    }


def _process_tables(news: CatchUp, limits: QcLimits) -> defaultdict[str, list[pa.Table]]:
    """Rows of single processes, table by table, a few thousand processes at a time: as Python's objects those of
    100,000 take gigabytes.
    """
    pieces: defaultdict[str, list[pa.Table]] = defaultdict(list)
    for some, tables in ((news.spoken, None), (news.named, (*_OF_NAMED, "parameter_sets"))):
        # What a newly run plan merely names keeps the rows that its last failure left.
        for first in range(0, len(some), TOGETHER):
            made = process_rows(some[first : first + TOGETHER], limits)
            for name, rows in made.rows.items():
                if tables is None or name in tables:
                    pieces[name] += _typed(name, rows)
            for name, columns in made.columns.items():
                pieces[name].append(typed_columns(TABLES[name], columns))
            pieces["plane_qc"] += made.planes
    return pieces


def _typed(name: str, rows: Iterable[Row]) -> list[pa.Table]:
    """A table of some thousand rows each."""
    left = iter(rows)
    return [typed_rows(TABLES[name], some) for some in iter(lambda: list(islice(left, TOGETHER)), [])]


def _last_of_each(table: Table, rows: pa.Table) -> pa.Table:
    """The last row of each key."""
    keys = pa.table({"key": _joined_key(table, rows), "place": pa.array(range(rows.num_rows), pa.int64())})
    places = keys.group_by("key").aggregate([("place", "max")]).column("place_max")
    return rows if len(places) == rows.num_rows else rows.take(places)


def _run_row(run: RunFacts) -> Row:
    return {
        "run_id": run.run_id,
        "plan_id": run.plan_id,
        "site": run.site,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "state": run.state,
        "counts": canonical_json(dict(run.counts)).decode(),
        "resolved_config": canonical_json(dict(run.config)).decode(),
        "torn_lines": run.torn,
    }


def _replace(
    changes: dict[str, TableChange], before: Snapshot | None, table: Table, fresh: pa.Table, gone: _Gone
) -> None:
    """Old rows that are not gone, and the fresh ones, of the parts that either touches."""
    if not gone.keys:
        return
    parts = frozenset(part_name(table, one) for one in gone.periods) if table.by_period else None
    old = _old_rows(before, table, parts)
    held = old.column(gone.column) if gone.column else _process_column(table, old)
    kept = old.filter(pc.invert(pc.is_in(held, value_set=pa.array(gone.keys, pa.string()))))
    if fresh.num_rows or kept.num_rows < old.num_rows:
        changes[table.name] = TableChange(cast(table, pa.concat_tables([kept, fresh])), parts)


def _process_column(table: Table, rows: pa.Table) -> pa.ChunkedArray:
    if "process_id" in table.names:
        return rows.column("process_id")
    if table.name == "verdicts":
        return rows.column("subject_id")
    # A product id begins with its process.
    return pc.utf8_slice_codeunits(rows.column("product_id"), 0, ID_DIGITS)


def _old_rows(before: Snapshot | None, table: Table, parts: frozenset[str] | None) -> pa.Table:
    return read_table(before, table, parts=parts) if before else empty(table)


def _add_to(changes: dict[str, TableChange], before: Snapshot | None, table: Table, fresh: pa.Table) -> None:
    """Old rows and the fresh ones, one a key; where both have it, the fresh one."""
    if not fresh.num_rows:
        return
    old = _old_rows(before, table, None)
    known = pc.is_in(_joined_key(table, old), value_set=_joined_key(table, fresh))
    changes[table.name] = TableChange(cast(table, pa.concat_tables([old.filter(pc.invert(known)), fresh])))


def _joined_key(table: Table, rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(*(rows.column(name).cast(pa.string()) for name in table.key), "\n")


def _issues(
    changes: dict[str, TableChange], before: Snapshot | None, of_rules: pa.Table | None, damages: Sequence[Damage]
) -> None:
    """Issues of the rules are those of the newest understanding, of storage those found now; issues of processes stand
    until these are spoken of.
    """
    table = TABLES["issues"]
    rows = changes[table.name].rows if table.name in changes else _old_rows(before, table, None)
    rows = rows.filter(pc.not_equal(rows.column("origin"), "storage"))
    if of_rules is not None:
        rows = pa.concat_tables([rows.filter(pc.not_equal(rows.column("origin"), "rules")), of_rules])
    found = _last_of_each(table, typed_rows(table, map(_damage_row, damages)))
    fresh = found.filter(pc.invert(pc.is_in(found.column("issue_id"), value_set=rows.column("issue_id"))))
    changes[table.name] = TableChange(cast(table, pa.concat_tables([rows, fresh])))


def _damage_row(one: Damage) -> Row:
    return {
        "issue_id": issue_id(one.code, one.subject_kind, one.subject_id),
        "code": one.code,
        "severity": "blocking",
        "state": "open",
        "origin": "storage",
        "subject_kind": one.subject_kind,
        "subject_id": one.subject_id,
        "process_id": one.subject_id if one.subject_kind == "process" else None,
        "message": one.message,
        "remedy": one.remedy or None,
    }


def _recipes(changes: dict[str, TableChange], before: Snapshot | None, of_package: pa.Table | None) -> None:
    """Recipes of the package, and every other version that a process names."""
    table = TABLES["recipes"]
    old = _old_rows(before, table, None)
    latest = of_package if of_package is not None else old.filter(pc.equal(old.column("is_latest"), True))
    columns = ["recipe", "recipe_version", "arm", "subject_kind"]
    used = [read_table(before, TABLES["processes"], columns=columns)] if before else []
    if "processes" in changes:
        used.append(changes["processes"].rows.select(columns).replace_schema_metadata(None))
    rows = {(row["recipe"], row["version"]): row for row in latest.to_pylist()}
    for some in used:
        for seen in some.group_by(columns).aggregate([]).to_pylist():
            version = {"recipe": seen["recipe"], "version": seen["recipe_version"], "is_latest": False}
            rows.setdefault(
                (seen["recipe"], seen["recipe_version"]),
                {**version, "arm": seen["arm"], "subject_kind": seen["subject_kind"]},
            )
    changes[table.name] = TableChange(table_from_rows(table, rows.values()))
