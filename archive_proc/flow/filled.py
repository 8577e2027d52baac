"""Columns that depend on several rows: current, stale, superseded, access."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from archive_proc.flow.catch_up import CatchUp
from archive_proc.flow.currency import Currency, Named, SealedProduct, Slot, currency
from archive_proc.model.ids import PlanId, ProcessId, ProductId, RunId
from archive_proc.model.processes import State
from archive_proc.storage.snapshots import Snapshot, TableChange, part_name, read_table
from archive_proc.storage.tables import PERIOD_COLUMN, TABLES, cast, empty

Embargo = tuple[str, dt.datetime | None]
_PUBLIC: Embargo = ("public", None)
_NEVER_RAN = frozenset({State.PLANNED.value, State.BLOCKED.value, State.CANCELLED.value})


def fill_currency(
    before: Snapshot | None, changes: Mapping[str, TableChange], news: CatchUp, frames: Mapping[str, pa.Table]
) -> dict[str, TableChange]:
    """`processes` and `products` of every period that news touch, with their dependent columns filled in.

    A slot belongs to one subject, so rows of subjects that no news is about stay as they are.
    """
    touched, embargo_periods = _embargo_changes(before, frames)
    touched |= {one.process.subject.subject_id for one in (*news.spoken, *news.named)}
    judged = _newly_judged(news)
    periods = _periods(before, changes, judged) | embargo_periods
    if not periods:
        return {}
    plans = _rows(before, changes, "plan_processes", periods)
    of_judged = pc.is_in(plans.column("plan_id"), value_set=pa.array(sorted(judged), pa.string()))
    touched |= set(_text(plans.filter(of_judged), "subject_id"))
    about = pa.array(sorted(touched), pa.string())
    processes, other_processes = _split(_rows(before, changes, "processes", periods), about)
    products, other_products = _split(_rows(before, changes, "products", periods), about)
    ended = [(run_id, run.plan_id) for run_id, run in news.journals.runs.items() if run.finished_at and run.plan_id]
    sealed = _sealed(products, processes)
    kinds = {one.slot.subject_kind for one in sealed} & _EMBARGO_TABLES.keys()
    embargoes = {kind: _embargoes(before, frames, kind) for kind in kinds}
    named = _named(_split(plans, about)[0])
    found = currency(ended, named, frozenset(one.process_id for one in sealed))
    filled_products = _filled_products(products, sealed, found, embargoes)
    filled_processes = _filled_processes(processes, sealed, found, _passed_over(news, named, found))
    return {
        "products": _change("products", pa.concat_tables([filled_products, other_products]), periods),
        "processes": _change("processes", pa.concat_tables([filled_processes, other_processes]), periods),
    }


def _newly_judged(news: CatchUp) -> set[str]:
    """Plans whose run ended since, or that could not be read before and whose run had ended."""
    ended = {plan_id for one in news.journals.ended if (plan_id := news.journals.runs[one].plan_id)}
    finished = {run.plan_id for run in news.journals.runs.values() if run.finished_at}
    return {*ended, *(one.plan_id for one in news.run_plans if one.plan_id in finished)}


def _split(rows: pa.Table, about: pa.Array) -> tuple[pa.Table, pa.Table]:
    """Rows of these subjects, and the others."""
    mask = pc.is_in(rows.column("subject_id"), value_set=about)
    return rows.filter(mask), rows.filter(pc.invert(mask))


def _sealed(products: pa.Table, processes: pa.Table) -> list[SealedProduct]:
    made_by = dict(zip(_text(processes, "process_id"), _text(processes, "run_id"), strict=True))
    names = ("product_id", "process_id", "subject_kind", "subject_id", "product_type", "preset")
    return [
        SealedProduct(ProductId(product), ProcessId(process), Slot(*slot), RunId(made_by.get(process) or ""))
        for product, process, *slot in zip(*(_text(products, name) for name in names), strict=True)
    ]


def _change(name: str, rows: pa.Table, periods: set[int | None]) -> TableChange:
    table = TABLES[name]
    return TableChange(cast(table, rows), frozenset(part_name(table, one) for one in periods))


def _text(rows: pa.Table, name: str) -> list[str]:
    found: list[str] = rows.column(name).to_pylist()
    return found


def _periods(before: Snapshot | None, changes: Mapping[str, TableChange], judged: set[str]) -> set[int | None]:
    """Periods with new rows, and those that newly judged plans are about."""
    found: set[int | None] = set()
    for name in ("processes", "products", "plan_processes"):
        if name in changes:
            found |= set(changes[name].rows.column(PERIOD_COLUMN).unique().to_pylist())
    if before is not None and judged:
        rows = read_table(before, TABLES["plan_processes"], columns=["plan_id", PERIOD_COLUMN])
        pairs = rows.group_by(["plan_id", PERIOD_COLUMN]).aggregate([]).to_pylist()
        found |= {row[PERIOD_COLUMN] for row in pairs if row["plan_id"] in judged}
    return found


def _rows(before: Snapshot | None, changes: Mapping[str, TableChange], name: str, periods: set[int | None]) -> pa.Table:
    """All rows of these periods: changed parts as changed, the others as they stood."""
    table = TABLES[name]
    wanted = {part_name(table, one) for one in periods}
    change = changes.get(name)
    done = change.parts if change and change.parts is not None else frozenset[str]()
    old = read_table(before, table, parts=wanted - done) if before else empty(table)
    return pa.concat_tables([change.rows, old]) if change else old


def _named(plans: pa.Table) -> dict[PlanId, list[Named]]:
    found: dict[PlanId, list[Named]] = {}
    for row in plans.to_pylist():
        found.setdefault(PlanId(row["plan_id"]), []).append(
            Named(
                ProcessId(row["process_id"]),
                row["subject_kind"],
                row["subject_id"],
                row["preset"],
                tuple(row["product_types"]),
            )
        )
    return found


def _filled_products(
    products: pa.Table, sealed: list[SealedProduct], found: Currency, embargoes: Mapping[str, Mapping[str, Embargo]]
) -> pa.Table:
    by = [found.superseded_by(one) for one in sealed]
    states = [
        ("superseded" if one else "ok") if state in ("ok", "superseded") else state
        for one, state in zip(by, _text(products, "state"), strict=True)
    ]
    public = [embargoes.get(one.slot.subject_kind, {}).get(one.slot.subject_id, _PUBLIC) for one in sealed]
    return _with(
        products,
        "products",
        {
            "is_current": [found.is_current(one) for one in sealed],
            "is_stale": [found.is_stale(one) for one in sealed],
            "superseded_by": by,
            "state": states,
            "access": [one[0] for one in public],
            "release_date": [one[1] for one in public],
        },
    )


def _passed_over(news: CatchUp, named: Mapping[PlanId, Sequence[Named]], found: Currency) -> dict[ProcessId, ProcessId]:
    """Processes that no run names since another filled their slot, and that other: where they never ran (an earlier
    round had to wait for what failed) nobody waits for them any more.
    """
    last: dict[ProcessId, tuple[RunId, Named]] = {}
    for run_id, run in sorted(news.journals.runs.items()):
        for one in named.get(run.plan_id, ()) if run.plan_id else ():
            last[one.process_id] = run_id, one
    others: dict[ProcessId, ProcessId] = {}
    for process_id, (run_id, one) in last.items():
        for slot in one.slots():
            holder = found.current.get(slot)
            if holder not in (None, process_id) and run_id < found.named_by[slot]:
                others.setdefault(process_id, holder)
    return others


def _filled_processes(
    processes: pa.Table, sealed: list[SealedProduct], found: Currency, passed_over: Mapping[ProcessId, ProcessId]
) -> pa.Table:
    current = set(found.current.values())
    wanted = set(found.wanted.values())
    instead: dict[str, str] = {}
    for one in sealed:
        by = found.superseded_by(one)
        if by is not None:
            instead.setdefault(one.process_id, by.partition(".")[0])
    ids = _text(processes, "process_id")
    for one_id, state in zip(ids, _text(processes, "state"), strict=True):
        if state in _NEVER_RAN and (other := passed_over.get(ProcessId(one_id))) is not None:
            instead.setdefault(one_id, other)
    return _with(
        processes,
        "processes",
        {
            "is_current": [one in current for one in ids],
            "is_wanted": [one in wanted for one in ids],
            "superseded_by": [None if one in current else instead.get(one) for one in ids],
        },
    )


def _with(rows: pa.Table, name: str, columns: Mapping[str, Sequence[object]]) -> pa.Table:
    schema = TABLES[name].arrow_schema
    for column, values in columns.items():
        field = schema.field(column)
        rows = rows.set_column(schema.get_field_index(column), field, pa.array(values, field.type))
    return rows


_EMBARGO_TABLES = {
    "observation": ("observations", "obs_id", "public_at"),
    "group": ("groups", "group_id", "public_at"),
    "frame": ("files", "file_id", "release_date"),
}
"""Subject kind to the table, key and end of embargo that say who may see its products."""


def _embargoes(before: Snapshot | None, frames: Mapping[str, pa.Table], kind: str) -> dict[str, Embargo]:
    name, key, until = _EMBARGO_TABLES[kind]
    columns = [key, "access", until]
    rows = frames[name].select(columns) if name in frames else _old_columns(before, name, columns)
    return {row[key]: (row["access"], row[until]) for row in rows.to_pylist()}


def _embargo_changes(before: Snapshot | None, frames: Mapping[str, pa.Table]) -> tuple[set[str], set[int | None]]:
    """Subjects whose embargo the new understanding changes, and their periods."""
    subjects: set[str] = set()
    periods: set[int | None] = set()
    for kind, (name, key, _) in _EMBARGO_TABLES.items():
        if before is None or name not in frames:
            continue
        old, new = _embargoes(before, {}, kind), _embargoes(before, frames, kind)
        changed = {one for one in old.keys() | new.keys() if old.get(one) != new.get(one)}
        if changed:
            columns = [key, PERIOD_COLUMN]
            rows = [*_old_columns(before, name, columns).to_pylist(), *frames[name].select(columns).to_pylist()]
            periods |= {row[PERIOD_COLUMN] for row in rows if row[key] in changed}
            subjects |= changed
    return subjects, periods


def _old_columns(before: Snapshot | None, name: str, columns: list[str]) -> pa.Table:
    return read_table(before, TABLES[name], columns=columns) if before else empty(TABLES[name]).select(columns)
