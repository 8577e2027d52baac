"""What the planner needs of the catalog: sealed products, what fills each slot, past costs, processes refused."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from functools import cached_property
from operator import itemgetter

import pyarrow as pa
import pyarrow.compute as pc

from archive_proc.catalog.connection import open_over
from archive_proc.catalog.keyed_rows import KeyedRows
from archive_proc.model.ids import ID_DIGITS, ProcessId
from archive_proc.model.processes import Cause, Parameter, ProcessInput, State
from archive_proc.planning.known import KnownProcess, KnownProducts, Slot
from archive_proc.planning.plan import Standing
from archive_proc.planning.resources import CostHistory, History
from archive_proc.storage.layout import Layout
from archive_proc.storage.seal import sealed_processes
from archive_proc.storage.snapshots import Snapshot, find_current, part_name, read_table
from archive_proc.storage.tables import TABLES

_PROCESS = (
    "process_id", "recipe", "recipe_version", "tables_digest", "param_hash", "period_date", "excluded_planes",
    "corrections", "override_ids",
)  # fmt: skip
_INPUT = (
    "process_id", "seq", "role", "kind", "input_id", "content_id", "serves", "frame_role", "level", "dt_days", "method",
)  # fmt: skip
"""What a KnownProcess is put together from."""


class CurrentSlots(Mapping[Slot, KnownProcess]):
    """What fills each slot. Facts of a process are put together when asked for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[ProcessId, KnownProcess] = {}
        self._inputs: dict[str, KeyedRows] = {}
        """By part: most plans ask for processes of few periods."""

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

    @cached_property
    def _processes(self) -> KeyedRows:
        return KeyedRows(read_table(self._snapshot, TABLES["processes"], columns=list(_PROCESS)), "process_id")

    @cached_property
    def _parameters(self) -> Mapping[str, Mapping[str, Parameter]]:
        rows = read_table(self._snapshot, TABLES["parameter_sets"], columns=["param_hash", "params"])
        found = zip(rows.column("param_hash").to_pylist(), rows.column("params").to_pylist(), strict=True)
        return {digest: {name: _parameter(value) for name, value in json.loads(text).items()} for digest, text in found}

    def _inputs_of(self, pid: ProcessId, period: int | None) -> tuple[ProcessInput, ...]:
        table = TABLES["process_inputs"]
        part = part_name(table, period)
        if part not in self._inputs:
            rows = read_table(self._snapshot, table, parts=[part], columns=list(_INPUT))
            self._inputs[part] = KeyedRows(rows, "process_id")
        rows_of = sorted(self._inputs[part].of(pid), key=itemgetter(1))
        return tuple(_input(*row[2:]) for row in rows_of)

    def _facts(self, pid: ProcessId) -> KnownProcess:
        _, recipe, version, digest, params, period, excluded, corrections, overrides = self._processes.of(pid)[0]
        return KnownProcess(
            process_id=pid,
            recipe=recipe,
            recipe_version=version,
            parameters=self._parameters[params],
            tables_digest=digest,
            inputs=self._inputs_of(pid, period),
            excluded_planes=tuple((int(a), int(b)) for a, b in json.loads(excluded)),
            corrections=tuple((a, b, c) for a, b, c in json.loads(corrections)),
            override_ids=tuple(overrides or ()),
        )


class Pruned(Container[ProcessId]):
    """Processes whose products were deleted on purpose; the catalog is read only when somebody asks."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __contains__(self, process_id: object) -> bool:
        return process_id in self._deleted

    @cached_property
    def _deleted(self) -> frozenset[str]:
        rows = read_table(self._snapshot, TABLES["products"], columns=["process_id", "state"])
        return frozenset(rows.filter(pc.equal(rows.column("state"), "deleted")).column("process_id").to_pylist())


def _parameter(value: object) -> Parameter:
    return tuple(value) if isinstance(value, list) else value  # type: ignore[return-value]  # JSON of a Parameter


def _input(
    role: str,
    kind: str,
    input_id: str,
    content: bytes | None,
    serves: list[int] | None,
    frame_role: str | None,
    level: int,
    dt_days: float,
    method: str,
) -> ProcessInput:
    """An input from its columns of `process_inputs`, in the order of _INPUT."""
    shown = input_id if content is None else content.hex()
    return ProcessInput(role, kind, input_id, shown, tuple(serves or ()), frame_role or "", level, dt_days, method)


def standing(layout: Layout, as_of: str, retry: bool = False) -> Standing:
    """What stands beside the raw frames when a plan is made; nothing but the seals where no catalog is published.

    `retry`: nothing counts as refused, so that calibrations which refused themselves before are tried again.
    """
    snapshot = find_current(layout)
    sealed = frozenset(sealed_processes(layout))
    if snapshot is None:
        return Standing(known=KnownProducts(sealed), as_of=as_of)
    return Standing(
        known=KnownProducts(sealed, CurrentSlots(snapshot), Pruned(snapshot)),
        history=cost_history(snapshot),
        refused=frozenset() if retry else refused(snapshot),
        failed=frozenset() if retry else failed(snapshot, passing=False),
        passing=frozenset() if retry else failed(snapshot, passing=True),
        as_of=as_of,
    )


def refused(snapshot: Snapshot) -> frozenset[ProcessId]:
    """Processes that the checks of their recipe refused: their calibration groups are not used again.

    A verdict is a failure with cause data and measured values (rows of `qc` with verdict `refuse`). A file that could
    not be read, or a header without a value, says nothing about the calibration and is no verdict.
    """
    rows = read_table(snapshot, TABLES["processes"], columns=["process_id", "state", "cause", "code"])
    hit = pc.and_(pc.equal(rows.column("state"), "failed"), pc.equal(rows.column("cause"), "data"))
    rows = rows.filter(pc.fill_null(hit, False))
    if not rows.num_rows:
        return frozenset()
    measured = read_table(snapshot, TABLES["qc"], columns=["product_id", "verdict"])
    measured = measured.filter(pc.fill_null(pc.equal(measured.column("verdict"), "refuse"), False))
    judged = {one[:ID_DIGITS] for one in measured.column("product_id").to_pylist()}
    found = zip(rows.column("process_id").to_pylist(), rows.column("code").to_pylist(), strict=True)
    return frozenset(ProcessId(one) for one, code in found if one in judged and not _of_reading(code or ""))


def failed(snapshot: Snapshot, *, passing: bool) -> frozenset[ProcessId]:
    """Processes that gave up when they were last tried; `passing`: for a cause that a later command tries again."""
    rows = read_table(snapshot, TABLES["processes"], columns=["process_id", "state", "cause"])
    hit = pc.is_in(rows.column("state"), pa.array([State.FAILED.value, State.QUARANTINED.value]))
    rows = rows.filter(hit)
    stays = pc.is_in(rows.column("cause"), pa.array([Cause.DATA.value, Cause.CODE.value]))
    # Poison killed its workers again and again: that has not passed, whatever it was.
    stays = pc.or_(stays, pc.equal(rows.column("state"), State.QUARANTINED.value))
    chosen = rows.filter(pc.invert(stays) if passing else stays)
    return frozenset(ProcessId(one) for one in chosen.column("process_id").to_pylist())


def _of_reading(code: str) -> bool:
    """Whether a failure of this code came about on the way to the data, whatever was measured."""
    return code.startswith(("AP-ING-", "AP-RUN-", "AP-STO-"))


_HISTORY = """
SELECT p.recipe, count(*), quantile_cont(p.cpu_s / p.planes, [0.1, 0.5, 0.9]), quantile_cont(p.max_rss_mb, 0.95) / 1000,
  quantile_cont(p.bytes_written / p.planes, 0.5)
FROM processes p JOIN recipes r ON r.recipe = p.recipe AND r.version = p.recipe_version AND r.is_latest
WHERE p.state = 'done' AND p.planes > 0 AND p.committed_at IS NOT NULL GROUP BY p.recipe
"""


def cost_history(snapshot: Snapshot) -> History:
    """What past processes of the recipes of this package cost."""
    with open_over(snapshot) as connection:
        rows = connection.execute(_HISTORY).fetchall()
    return {
        recipe: CostHistory(n, (float(q[0]), float(q[1]), float(q[2])), float(memory), float(written))
        for recipe, n, q, memory, written in rows
    }
