"""Quality figures judged: rows of `qc`, `plane_qc` and `qc_limits`, and the issues that broken limits raise.

Recipes and records hold measured values only; verdicts are made here, from the limits of this package, whenever rows
are made. What a recipe itself refused stays refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from archive_proc.instruments.qc_limits import (
    REFUSE,
    VERDICTS,
    WARN,
    MetricRow,
    PlaneSetups,
    QcLimits,
    QcSetup,
    judge_many,
)
from archive_proc.model.ids import digest32, product_id
from archive_proc.model.processes import Process, QcValue
from archive_proc.storage.plane_figures import FIGURES
from archive_proc.storage.tables import TABLES, cast

# A catalog row by column name; `storage.tables.table_from_rows` types it before it leaves the flow layer.
Row = dict[str, object]

QUALITY = "quality"
"""Origin of the issues that broken limits raise."""
PLANES_CODE = "AP-QCL-010"
"""Issue of an observation some of whose planes are beyond limits."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A figure beyond a limit."""

    row: MetricRow
    verdict: str
    account: str
    """In words: `detector_flat response_error 0.013 (warns above 0.01)`."""


def qc_rows(process: Process, values: Iterable[QcValue], limits: QcLimits) -> tuple[list[Row], list[Broken]]:
    """Rows of `qc` of one process, one a figure, and those beyond a limit."""
    rows: list[Row] = []
    broken: list[Broken] = []
    seen: set[tuple[str, str]] = set()
    night = _night(process)
    for one in values:
        if (one.product_type, one.metric) in seen:
            continue
        seen.add((one.product_type, one.metric))
        setup = QcSetup(one.inst_filter, one.dit_s, night)
        judged = limits.judge(one.product_type, one.metric, one.value, setup)
        verdict = REFUSE if one.verdict == REFUSE else judged.verdict
        threshold = judged.threshold if judged.threshold is not None else one.threshold
        rows.append(
            {
                "product_id": product_id(process.process_id, one.product_type),
                "metric": one.metric,
                "value": one.value,
                "unit": one.unit,
                "threshold": threshold,
                "verdict": verdict,
                "qc_version": process.recipe_version,
                "period_date": process.period_date,
                "process_id": process.process_id,
                "product_type": one.product_type or None,
                "side": judged.side or None,
                "limits_version": limits.version,
                "inst_filter": one.inst_filter or None,
                "dit_s": one.dit_s,
                "night": night,
                "subject_id": process.subject.subject_id,
            }
        )
        row = limits.row(one.product_type, one.metric)
        if row is not None and verdict in (WARN, REFUSE):
            word = "warns" if verdict == WARN else "refuses"
            side = "above" if judged.side > 0 else "below"
            unit = "" if one.unit == "1" else f" {one.unit}"
            account = f"{one.product_type} {one.metric} {one.value:.4g}{unit} ({word} {side} {threshold:g})"
            broken.append(Broken(row, verdict, account))
    return rows, broken


def issues_of_figures(process: Process, broken: Sequence[Broken], at: dt.datetime | None) -> list[Row]:
    """One issue a code: all figures of the process beyond a limit that share its remedy."""
    by_code: dict[str, list[Broken]] = {}
    for one in broken:
        by_code.setdefault(one.row.code, []).append(one)
    return [
        _issue(process, code, _severity(some), "; ".join(one.account for one in some), at)
        for code, some in sorted(by_code.items())
    ]


def _severity(broken: Sequence[Broken]) -> str:
    found = [one.row.severity[0 if one.verdict == WARN else 1] for one in broken]
    return next(one for one in ("blocking", "warning", "note", "none") if one in found)


def _issue(process: Process, code: str, severity: str, message: str, at: dt.datetime | None) -> Row:
    subject = process.subject
    return {
        "issue_id": digest32("issue", code, "process", process.process_id),
        "code": code,
        "severity": severity,
        "state": "open",
        "origin": QUALITY,
        "subject_kind": "process",
        "subject_id": process.process_id,
        "file_id": subject.subject_id if subject.kind == "frame" else None,
        "group_id": subject.subject_id if subject.kind == "group" else None,
        "obs_id": subject.subject_id if subject.kind == "observation" else None,
        "process_id": process.process_id,
        "message": message,
        "remedy": f"archive-proc help {code}",
        "opened_at": at,
    }


def plane_table(process: Process, figures: pa.Table, inst_filter: str, limits: QcLimits) -> pa.Table:
    """Rows of `plane_qc` of one process from the figures beside its products, judged."""
    n = figures.num_rows
    names = figures.column_names
    worst, beyond = _judged_planes(process, figures, inst_filter, limits)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "process_id": pa.array([process.process_id] * n, pa.string()),
        "subject_id": pa.array([process.subject.subject_id] * n, pa.string()),
        "night": pa.array([_night(process)] * n, pa.date32()),
        "period_date": pa.array([process.period_date] * n, pa.int16()),
        **{name: figures.column(name) for name in names},
        "verdict": pa.array([None if one < 0 else VERDICTS[one] for one in worst], pa.string()),
        "beyond": pa.array(beyond, pa.string()),
        "limits_version": pa.array([limits.version] * n, pa.string()),
    }
    return cast(TABLES["plane_qc"], pa.table(columns))


def _judged_planes(
    process: Process, figures: pa.Table, inst_filter: str, limits: QcLimits
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int8]], list[str | None]]:
    """(n,) worst verdict, -1 where none is judged; names of figures beyond a limit, refusing ones first."""
    setups = PlaneSetups(
        inst_filter,
        _night(process),
        np.asarray(figures.column("dit_s").to_numpy(zero_copy_only=False), np.float64),
        np.asarray(figures.column("frame_type").to_pylist(), dtype=str),
    )
    verdicts: dict[str, np.ndarray[tuple[int], np.dtype[np.int8]]] = {}
    for row in limits.of_planes():
        if row.metric in figures.column_names and row.limit:
            # NULL comes as NaN: a figure that a plane does not have.
            values = np.asarray(figures.column(row.metric).to_numpy(zero_copy_only=False), np.float64)
            verdicts[row.metric] = judge_many(row.limit, values, setups)
    worst = np.full(figures.num_rows, -1, np.int8)
    for one in verdicts.values():
        worst = np.maximum(worst, one)
    names: list[str | None] = [None] * figures.num_rows
    for index in np.flatnonzero(worst > 0):
        ranked = sorted((-int(one[index]), place, name) for place, (name, one) in enumerate(verdicts.items()))
        names[index] = " ".join(name for rank, _, name in ranked if rank < 0)
    return worst, names


def planes_issue(process: Process, rows: pa.Table, at: dt.datetime | None) -> list[Row]:
    """The issue of an observation whose usable planes are beyond limits: how many, and of which figure."""
    seen: dict[str, set[tuple[str, int]]] = {}
    refused: set[tuple[str, int]] = set()
    every: set[tuple[str, int]] = set()
    columns = ("file_id", "plane", "usable", "verdict", "beyond")
    for file, plane, usable, verdict, beyond in zip(*(rows.column(name).to_pylist() for name in columns), strict=True):
        if not usable:
            continue
        every.add((file, plane))
        for name in (beyond or "").split():
            seen.setdefault(name, set()).add((file, plane))
        if verdict == REFUSE:
            refused.add((file, plane))
    if not seen:
        return []
    hit = set().union(*seen.values())
    parts = ", ".join(
        f"{name} {len(some)}" for name, some in sorted(seen.items(), key=lambda one: (-len(one[1]), one[0]))
    )
    message = f"{len(hit)} of {len(every)} planes beyond limits: {parts}"
    return [_issue(process, PLANES_CODE, "warning" if refused else "note", message, at)]


def limit_rows(limits: QcLimits) -> list[Row]:
    """Rows of `qc_limits`: every figure by product type as recipes write it, with each of its limits."""
    found: list[Row] = []
    for row in limits.rows:
        for product in row.products:
            for name in row.names:
                base: Row = {
                    "limits_version": limits.version,
                    "product_type": product,
                    "metric": name,
                    "of": row.of,
                    "unit": row.unit,
                    "meaning": row.meaning,
                    "decides": row.decides,
                    "code": row.code,
                }
                if not row.limit:
                    found.append({**base, "seq": 0})
                for seq, one in enumerate(row.limit, start=1):
                    low, high = one.dit_s or (None, None)
                    found.append(
                        {
                            **base,
                            "seq": seq,
                            "inst_filter": list(one.inst_filter),
                            "dit_min_s": low,
                            "dit_max_s": high,
                            "frame_type": list(one.frame_type),
                            "valid_from": one.valid_from,
                            "valid_to": one.valid_to,
                            "warn_below": one.warn_below,
                            "warn_above": one.warn_above,
                            "refuse_below": one.refuse_below,
                            "refuse_above": one.refuse_above,
                            "reference": one.reference,
                        }
                    )
    return found


def unknown_figures(limits: QcLimits) -> tuple[str, ...]:
    """Columns of figures without a row in the table of limits, or of another unit: none in a package that is whole."""
    units: Mapping[str, str] = {row.metric: row.unit for row in limits.of_planes()}
    columns = {one.name: one.unit for one in TABLES["plane_qc"].columns}
    return tuple(sorted(name for name in {*FIGURES, *units} if units.get(name) != columns.get(name)))


def _night(process: Process) -> dt.date | None:
    return dt.date.fromisoformat(process.night) if process.night else None
