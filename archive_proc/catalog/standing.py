"""What the planner needs of the catalog: sealed products, what fills each slot, past costs, processes refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from archive_proc.catalog.connection import open_over
from archive_proc.model.ids import ProcessId
from archive_proc.model.processes import Parameter, ProcessInput
from archive_proc.planning.known import KnownProcess, KnownProducts, Slot
from archive_proc.planning.plan import Standing
from archive_proc.planning.resources import CostHistory, History
from archive_proc.storage.layout import Layout
from archive_proc.storage.seal import sealed_processes
from archive_proc.storage.snapshots import Snapshot, find_current, read_table
from archive_proc.storage.tables import TABLES


class CurrentSlots(Mapping[Slot, KnownProcess]):
    """What fills each slot. Facts of a process are put together when asked for: a plan asks for few of them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[ProcessId, KnownProcess] = {}
        self._tables: dict[str, pa.Table] = {}

    @cached_property
    def _filled(self) -> dict[Slot, ProcessId]:
        # Not before it is asked for: a plan with nothing to do never is.
        columns = ["subject_kind", "subject_id", "product_type", "preset", "process_id", "is_current"]
        rows = read_table(self._snapshot, TABLES["products"], columns=columns)
        rows = rows.filter(rows.column("is_current"))
        fields = [rows.column(name).to_pylist() for name in columns[:-1]]
        return {Slot(*slot): ProcessId(process) for *slot, process in zip(*fields, strict=True)}

    def __getitem__(self, slot: Slot) -> KnownProcess:
        pid = self._filled[slot]
        if pid not in self._known:
            self._known[pid] = self._facts(pid)
        return self._known[pid]

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._filled)

    def __len__(self) -> int:
        return len(self._filled)

    def _rows(self, name: str, column: str, value: str) -> list[dict[str, object]]:
        if name not in self._tables:
            self._tables[name] = read_table(self._snapshot, TABLES[name])
        table = self._tables[name]
        found: list[dict[str, object]] = table.filter(pc.equal(table.column(column), value)).to_pylist()
        return found

    def _facts(self, pid: ProcessId) -> KnownProcess:
        row = self._rows("processes", "process_id", pid)[0]
        sets = self._rows("parameter_sets", "param_hash", str(row["param_hash"]))
        inputs = sorted(self._rows("process_inputs", "process_id", pid), key=lambda one: int(str(one["seq"])))
        overrides = row["override_ids"]
        return KnownProcess(
            process_id=pid,
            recipe=str(row["recipe"]),
            recipe_version=str(row["recipe_version"]),
            parameters={name: _parameter(value) for name, value in json.loads(str(sets[0]["params"])).items()},
            tables_digest=str(row["tables_digest"]),
            inputs=tuple(_input(one) for one in inputs),
            excluded_planes=tuple((int(a), int(b)) for a, b in json.loads(str(row["excluded_planes"]))),
            corrections=tuple((a, b, c) for a, b, c in json.loads(str(row["corrections"]))),
            override_ids=tuple(overrides) if isinstance(overrides, list) else (),
        )


def _parameter(value: object) -> Parameter:
    return tuple(value) if isinstance(value, list) else value  # type: ignore[return-value]  # JSON of a Parameter


def _input(row: Mapping[str, object]) -> ProcessInput:
    content, serves = row["content_id"], row["serves"]
    return ProcessInput(
        role=str(row["role"]),
        kind=str(row["kind"]),
        input_id=str(row["input_id"]),
        content=content.hex() if isinstance(content, bytes) else str(row["input_id"]),
        serves=tuple(serves) if isinstance(serves, list) else (),
        frame_role=str(row["frame_role"] or ""),
        level=int(str(row["level"])),
        dt_days=float(str(row["dt_days"])),
        method=str(row["method"]),
    )


def standing(layout: Layout, as_of: str) -> Standing:
    """What stands beside the raw frames when a plan is made; nothing but the seals where no catalog is published."""
    snapshot = find_current(layout)
    sealed = frozenset(sealed_processes(layout))
    if snapshot is None:
        return Standing(known=KnownProducts(sealed), as_of=as_of)
    return Standing(
        known=KnownProducts(sealed, CurrentSlots(snapshot)),
        history=cost_history(snapshot),
        refused=refused(snapshot),
        as_of=as_of,
    )


def refused(snapshot: Snapshot) -> frozenset[ProcessId]:
    """Processes that their own checks refused (cause data): their calibration groups are not used again."""
    rows = read_table(snapshot, TABLES["processes"], columns=["process_id", "state", "cause"])
    hit = pc.and_(pc.equal(rows.column("state"), "failed"), pc.equal(rows.column("cause"), "data"))
    return frozenset(ProcessId(one) for one in rows.filter(pc.fill_null(hit, False)).column("process_id").to_pylist())


_HISTORY = """
SELECT p.recipe, count(*), quantile_cont(p.cpu_s / p.planes, [0.1, 0.5, 0.9]), quantile_cont(p.max_rss_mb, 0.95) / 1000,
  quantile_cont(p.bytes_written / p.planes, 0.5)
FROM processes p JOIN recipes r ON r.recipe = p.recipe AND r.version = p.recipe_version AND r.is_latest
WHERE p.state = 'done' AND p.planes > 0 GROUP BY p.recipe
"""


def cost_history(snapshot: Snapshot) -> History:
    """What past processes of the recipes of this package cost."""
    with open_over(snapshot) as connection:
        rows = connection.execute(_HISTORY).fetchall()
    return {
        recipe: CostHistory(n, (float(q[0]), float(q[1]), float(q[2])), float(memory), float(written))
        for recipe, n, q, memory, written in rows
    }
