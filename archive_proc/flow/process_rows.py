"""Catalog rows of processes and products: one process, its record where it is sealed, the last word where it is not.

A row depends on nothing else, so rows made one by one during a run equal those of a rebuild. What depends on other
processes (`is_current`, `superseded_by`, `access`) is filled in by `filled.py`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from archive_proc.flow.judging import issues_of_figures, plane_table, planes_issue, qc_rows
from archive_proc.flow.run_facts import FailedAttempt, Word, moment
from archive_proc.instruments.qc_limits import QcLimits
from archive_proc.model.ids import ProcessId, canonical_json, digest32, product_id
from archive_proc.model.processes import Cause, Plan, PlannedProcess, Process, State
from archive_proc.model.records import Environment, ProcessRecord

# A catalog row by column name; `storage.tables.table_from_rows` types it before it leaves the flow layer.
Row = dict[str, object]

MEGABYTE = 1e6
_FILE = re.compile(r"\bSPHER\.\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}")
"""A canonical archive name, which is a file_id."""


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """All that one process's rows are made from."""

    process: Process
    """As in its record; of one that is not sealed, as in the plan run last."""
    record: ProcessRecord | None = None
    word: Word | None = None
    planes: int | None = None
    """As predicted, where there is no record."""
    figures: pa.Table | None = None
    """Figures of its planes, as they lie beside its products."""


@dataclass(slots=True)
class ProcessRows:
    """Rows of the tables that speak of single processes, by table name."""

    limits: QcLimits
    rows: dict[str, list[Row]] = field(default_factory=dict)
    columns: dict[str, dict[str, list[object]]] = field(default_factory=dict)
    """Of the tables with many rows a process."""
    planes: list[pa.Table] = field(default_factory=list)
    """Rows of `plane_qc`, one table a process: too many for Python's hands."""
    _last: tuple[Environment | None, str] = None, ""

    def add(self, table: str, row: Row) -> None:
        """Append one row."""
        self.rows.setdefault(table, []).append(row)

    def environment(self, one: Environment) -> str:
        """Its text. Of processes that were made one after the other it is mostly the same."""
        if one != self._last[0]:
            text = _json(
                {
                    "python": one.python,
                    "packages": dict(one.packages),
                    "cpu": one.cpu,
                    "blas": one.blas,
                    "threads": dict(one.threads),
                    "platform": one.platform,
                }
            )
            self._last = one, text
        return self._last[1]

    def add_columns(self, table: str, **columns: Iterable[object]) -> None:
        """Append several rows, column by column."""
        held = self.columns.setdefault(table, {})
        for name, values in columns.items():
            held.setdefault(name, []).extend(values)


def process_rows(found: Iterable[ProcessFacts], limits: QcLimits) -> ProcessRows:
    """Rows of `processes, process_inputs, process_edges, parameter_sets, products, qc, plane_qc, remarks, verdicts,
    issues, attempts` for these processes; of attempts the one that sealed only. `limits` judge the figures.
    """
    made = ProcessRows(limits)
    for facts in found:
        _process(made, facts)
        _inputs(made, facts.process, {} if facts.record is None else facts.record.pixel_digests)
        if facts.record is not None:
            _sealed(made, facts.record)
            _quality(made, facts.record, facts.figures)
        elif facts.word is not None and facts.word.state.is_failure:
            _refused(made, facts.process, facts.word)
    return made


def _process(made: ProcessRows, facts: ProcessFacts) -> None:
    process, record, word = facts.process, facts.record, facts.word
    # The id of a parameter set: recipe and values.
    plain = _plain(process.parameters)
    params = digest32("parameters", process.recipe, plain)
    row: Row = {
        "process_id": process.process_id,
        "recipe": process.recipe,
        "recipe_version": process.recipe_version,
        "param_hash": params,
        "preset": process.preset,
        "arm": process.subject.arm.value,
        "subject_kind": process.subject.kind,
        "subject_id": process.subject.subject_id,
        "night": _night(process),
        "period_date": process.period_date,
        "state": State.PLANNED.value,
        "level": process.level,
        "fallbacks": list(process.fallbacks),
        "override_ids": list(process.override_ids),
        "excluded_planes": _json([list(one) for one in process.excluded_planes]) if process.excluded_planes else "[]",
        "corrections": _json([list(one) for one in process.corrections]) if process.corrections else "[]",
        "tables_digest": process.tables_digest,
        "planes": facts.planes,
    }
    if record is not None:
        row |= _record_columns(record)
        row["environment"] = made.environment(record.environment)
    elif word is not None:
        # The journal saw it sealed, and nothing is there: someone took it away.
        gone = word.state in (State.DONE, State.CACHED)
        row |= {
            "state": State.LOST.value if gone else word.state.value,
            "cause": word.cause,
            "code": word.code,
            "message": "its sealed directory is gone; a run makes it anew" if gone else word.message,
            "run_id": word.run_id,
            "attempt": word.attempt or None,
        }
    made.add("processes", row)
    made.add(
        "parameter_sets",
        {
            "param_hash": params,
            "recipe": process.recipe,
            "preset": process.preset,
            "params": _json(plain),
        },
    )


def _record_columns(record: ProcessRecord) -> Row:
    return {
        "state": State.DONE.value,
        "planes": record.planes,
        "run_id": record.run_id,
        "attempt": record.attempt,
        "committed_at": moment(record.ended_at),
        "cpu_s": record.cpu_s,
        "wall_s": record.wall_s,
        "max_rss_mb": record.peak_memory_bytes / MEGABYTE,
        "bytes_read": record.bytes_read,
        "bytes_written": record.bytes_written,
        "host": record.host,
        "package_version": record.package_version,
        "code_fingerprint": record.code_fingerprint,
        "tasks": record.tasks,
        "planes_read": record.planes_read,
        "phases": _json({name: {"wall_s": one.wall_s, "cpu_s": one.cpu_s} for name, one in record.phases.items()}),
    }


def _inputs(made: ProcessRows, process: Process, pixels: Mapping[str, str]) -> None:
    """Column by column: a process has a dozen inputs, a semester's a million rows."""
    inputs, pid = tuple(process.inputs), process.process_id
    digests = [pixels.get(one.input_id) if one.kind == "file" else None for one in inputs]
    made.add_columns(
        "process_inputs",
        process_id=[pid] * len(inputs),
        seq=range(len(inputs)),
        role=[one.role for one in inputs],
        kind=[one.kind for one in inputs],
        input_id=[one.input_id for one in inputs],
        content_id=[bytes.fromhex(one.content) if one.kind == "file" else None for one in inputs],
        pixel_sha256=[None if one is None else bytes.fromhex(one) for one in digests],
        frame_role=[one.frame_role or None for one in inputs],
        serves=[one.serves for one in inputs],
        level=[one.level for one in inputs],
        dt_days=[one.dt_days for one in inputs],
        method=[one.method for one in inputs],
        period_date=[process.period_date] * len(inputs),
    )
    sources = process.sources
    made.add_columns("process_edges", process_id=[pid] * len(sources), src_process_id=sources)


def _sealed(made: ProcessRows, record: ProcessRecord) -> None:
    process = record.process
    for one in record.products:
        made.add(
            "products",
            {
                "product_id": product_id(process.process_id, one.product_type),
                "process_id": process.process_id,
                "product_type": one.product_type,
                "subject_kind": process.subject.kind,
                "subject_id": process.subject.subject_id,
                "preset": process.preset,
                "arm": process.subject.arm.value,
                "night": _night(process),
                "period_date": process.period_date,
                "level": process.level,
                "store_path": store_path(process.process_id, one.product_type),
                "shape": list(one.shape),
                "dtype": one.dtype,
                "size_bytes": one.size_bytes,
                "sha256": bytes.fromhex(one.sha256),
                "state": "ok",
                "created_at": moment(record.ended_at),
            },
        )
    for seq, remark in enumerate(record.remarks):
        made.add(
            "remarks", {"process_id": process.process_id, "seq": seq, "code": remark.code, "message": remark.message}
        )
    made.add(
        "attempts",
        {
            "process_id": process.process_id,
            "attempt": record.attempt,
            "run_id": record.run_id,
            "started_at": moment(record.started_at),
            "ended_at": moment(record.ended_at),
            "host": record.host,
            "slurm_job_id": record.job or None,
            "cpu_s": record.cpu_s,
            "wall_s": record.wall_s,
            "max_rss_mb": record.peak_memory_bytes / MEGABYTE,
            "state": State.DONE.value,
            "log_ref": f"{_directory(process.process_id)}/log.txt",
        },
    )


def _quality(made: ProcessRows, record: ProcessRecord, figures: pa.Table | None) -> None:
    """Figures of a sealed process and its planes, judged, and the issues that broken limits raise."""
    process, at = record.process, moment(record.ended_at)
    rows, broken = qc_rows(process, record.qc, made.limits)
    made.rows.setdefault("qc", []).extend(rows)
    issues = issues_of_figures(process, broken, at)
    if figures is not None:
        planes = plane_table(process, figures, record.inst_filter, made.limits)
        made.planes.append(planes)
        issues += planes_issue(process, planes, at)
    made.rows.setdefault("issues", []).extend(issues)


def _refused(made: ProcessRows, process: Process, word: Word) -> None:
    """QC, verdict and issue of a process that failed for its data; a verdict only where its checks measured something:
    a file that cannot be read says nothing about the calibration.
    """
    if word.cause != Cause.DATA.value:
        return
    made.rows.setdefault("qc", []).extend(qc_rows(process, word.qc, made.limits)[0])
    code = word.code or "unknown"
    if word.qc:
        made.add(
            "verdicts",
            {
                "subject_kind": "process",
                "subject_id": process.process_id,
                "verdict": "refused",
                "flag": code,
                "comment": word.message,
                "author": f"{process.recipe} {process.recipe_version}",
                "decided_at": word.at,
            },
        )
    subject = process.subject
    made.add(
        "issues",
        {
            "issue_id": issue_id(code, "process", process.process_id),
            "code": code,
            "severity": "blocking",
            "state": "open",
            "origin": "process",
            "subject_kind": "process",
            "subject_id": process.process_id,
            "file_id": subject.subject_id if subject.kind == "frame" else _file_in(word.message),
            "group_id": subject.subject_id if subject.kind == "group" else None,
            "obs_id": subject.subject_id if subject.kind == "observation" else None,
            "process_id": process.process_id,
            "message": word.message,
            "remedy": word.remedy or None,
            "opened_at": word.at,
        },
    )


def _file_in(message: str | None) -> str | None:
    """The raw file that a failure speaks of."""
    found = _FILE.search(message or "")
    return found[0] if found else None


def failed_attempt_row(one: FailedAttempt) -> Row:
    """The row of an attempt that made no product."""
    return {
        "process_id": one.process_id,
        "attempt": one.attempt,
        "run_id": one.run_id,
        "started_at": one.started_at,
        "ended_at": one.ended_at,
        "host": one.host,
        "cpu_s": one.cpu_s,
        "wall_s": one.wall_s,
        "max_rss_mb": one.peak_memory_bytes / MEGABYTE,
        "state": one.state.value,
        "cause": one.cause,
        "code": one.code,
        "message": one.message,
        "signature": one.signature,
        "log_ref": f"runs/{one.run_id}/logs",
    }


def plan_row(plan: Plan) -> Row:
    """The row of a saved plan."""
    return {
        "plan_id": plan.plan_id,
        "as_of": plan.as_of,
        "ruleset_version": plan.ruleset_version,
        "preset": plan.preset,
        "selection": plan.selection,
        "n_processes": len(plan.processes),
        "n_to_run": sum(one.to_run for one in plan.processes),
        "n_not_planned": len(plan.not_planned),
        "path": f"plans/{plan.plan_id}.json",
    }


def plan_process_row(plan: Plan, one: PlannedProcess) -> Row:
    """The row of one process in one plan."""
    return {
        "plan_id": plan.plan_id,
        "process_id": one.process.process_id,
        "subject_kind": one.process.subject.kind,
        "subject_id": one.process.subject.subject_id,
        "preset": one.process.preset,
        "product_types": list(one.process.product_types),
        "reason": one.reason.value,
        "because": one.because,
        "predicted_cpu_s": one.prediction.cpu_s,
        "predicted_memory_gb": one.prediction.memory_gb,
        "predicted_bytes": one.prediction.bytes_out,
        "planes": one.prediction.planes,
        "period_date": one.process.period_date,
    }


def issue_id(code: str, subject_kind: str, subject_id: str) -> str:
    """Id of an issue: the same problem with the same subject is the same issue, whenever it is found."""
    return digest32("issue", code, subject_kind, subject_id)


def store_path(process_id: ProcessId, product_type: str) -> str:
    """Where a product's Zarr group lies, below the archive, with `/` between parts."""
    return f"{_directory(process_id)}/product.zarr/{product_type}"


def _directory(process_id: ProcessId) -> str:
    return f"products/{process_id[:2]}/{process_id}"


def _night(process: Process) -> dt.date | None:
    return dt.date.fromisoformat(process.night) if process.night else None


def _plain(parameters: Mapping[str, object]) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in parameters.items()}


def _json(value: object) -> str:
    return canonical_json(value).decode()
