"""What happened since a snapshot: new lines of journals, new plans, newly sealed processes, as facts by process."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pyarrow.compute as pc

from archive_proc.errors import ArchiveProcError
from archive_proc.flow.collector import paused
from archive_proc.flow.process_rows import ProcessFacts
from archive_proc.flow.run_facts import JournalFacts, RunFacts, Word, read_journals
from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.packed import PACKED_FROM, packed_process
from archive_proc.model.processes import Plan, PlannedProcess, State
from archive_proc.model.records import Environment
from archive_proc.planning.text import plan_from_json
from archive_proc.storage.journal import iter_journals
from archive_proc.storage.layout import Layout
from archive_proc.storage.plane_figures import read_figures
from archive_proc.storage.records import read_record
from archive_proc.storage.seal import SEAL_NAME, sealed_processes
from archive_proc.storage.snapshots import Consumed, Snapshot, read_table
from archive_proc.storage.tables import TABLES


@dataclass(frozen=True, slots=True)
class Damage:
    """A source that cannot be read, which the catalog then goes without."""

    code: str
    subject_kind: str
    subject_id: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class CatchUp:
    """News since a snapshot (everything, where there was none)."""

    journals: JournalFacts
    plans: tuple[Plan, ...]
    """Saved, or saved anew."""
    run_plans: tuple[Plan, ...]
    """Those among the plans of runs that are new in `plan_processes`, in order of their newest run."""
    spoken: tuple[ProcessFacts, ...]
    """Processes newly sealed, or of which a journal newly speaks: all their rows are made anew."""
    named: tuple[ProcessFacts, ...]
    """Other processes, not sealed, that a newly run plan names: their rows in `processes` and inputs are made anew."""
    damages: tuple[Damage, ...]
    consumed: Consumed
    vanished: frozenset[ProcessId] = frozenset()
    """Sealed in the snapshot, and no longer there; known only where every sealed process was listed."""


def catch_up(layout: Layout, before: Snapshot | None, *, listing: bool = True) -> CatchUp:
    """What happened since `before`. Sources that cannot be read become damages, never an end of the compaction.

    Without `listing`, in the midst of a run, newly sealed processes are those that its journal calls done: the driver
    is the only one who seals, and writes it down. Every sealed process is listed all the same where a run starts or
    ends in the news: what was sealed and not written down (a killed driver, a worker that was given up) is found then.
    """
    known_runs = _known_runs(before)
    offsets = {RunId(run): end for run, end in before.manifest.consumed.journals.items()} if before else {}
    crcs = {RunId(run): crc for run, crc in before.manifest.consumed.journal_crcs.items()} if before else {}
    journals = read_journals(iter_journals(layout.runs), known_runs, offsets, crcs, again=listing)
    damages: list[Damage] = []
    plans, stamps = _new_plans(layout, before, damages)
    loaded = {one.plan_id: one for one in plans}
    old_sealed, old_words = _known_processes(before)
    fresh = {one.plan_id for one in plans} | {
        plan_id for run_id in journals.started if (plan_id := journals.runs[run_id].plan_id)
    }
    to_read = _to_read(journals, fresh)
    run_plans = [plan for one in to_read if (plan := loaded.get(one) or _plan(layout, one)) is not None]
    sealed: set[ProcessId] | None = None
    if listing or before is None or journals.started or journals.ended:
        sealed = set(sealed_processes(layout))
        fresh_seals = sealed - old_sealed
    else:
        fresh_seals = _told_seals(layout, before, journals) - old_sealed
    records = _new_records(layout, fresh_seals, damages)
    sealed_now = old_sealed | records.keys()
    spoken = dict(records)
    named: dict[ProcessId, ProcessFacts] = {}
    for plan in run_plans:
        for one in plan.processes:
            pid = one.process.process_id
            if pid not in sealed_now:
                named[pid] = _unsealed(one, journals.words.get(pid) or old_words.get(pid))
    older = _Older(layout, journals)
    for pid, word in journals.words.items():
        if pid in sealed_now:
            continue
        found = named.pop(pid, None) or older.facts(pid, word)
        if found is not None:
            spoken[pid] = found
    return CatchUp(
        journals=journals,
        plans=tuple(plans),
        run_plans=tuple(run_plans),
        spoken=tuple(spoken.values()),
        named=tuple(named.values()),
        damages=tuple(damages),
        consumed=Consumed(
            journals={str(run): end for run, end in sorted(journals.offsets.items())},
            journal_crcs={str(run): crc for run, crc in sorted(journals.crcs.items())},
            plans=stamps,
        ),
        vanished=frozenset() if sealed is None else frozenset(old_sealed - sealed),
    )


def _told_seals(layout: Layout, before: Snapshot, journals: JournalFacts) -> set[ProcessId]:
    """Processes that the journals call done; those with a damaged record stay in view, so that their issue stands."""
    issues = read_table(before, TABLES["issues"], columns=["origin", "process_id"])
    damaged = issues.filter(pc.equal(issues.column("origin"), "storage")).column("process_id").drop_null()
    told = {pid for pid, word in journals.words.items() if word.state is State.DONE}
    told.update(ProcessId(one) for one in damaged.to_pylist())
    return {pid for pid in told if (layout.product_dir(pid) / SEAL_NAME).is_file()}


def _known_runs(before: Snapshot | None) -> dict[RunId, RunFacts]:
    if before is None:
        return {}
    return {
        RunId(row["run_id"]): RunFacts(
            run_id=RunId(row["run_id"]),
            plan_id=row["plan_id"],
            site=row["site"],
            started_at=row["started_at"],
            finished_at=row["finished_at"],
            state=row["state"],
            counts=json.loads(row["counts"]),
            config=json.loads(row["resolved_config"]),
            torn=row["torn_lines"],
        )
        for row in read_table(before, TABLES["runs"]).to_pylist()
    }


def _known_processes(before: Snapshot | None) -> tuple[set[ProcessId], dict[ProcessId, Word]]:
    """Sealed processes of the snapshot; the last word about the others, without its QC, which has rows of its own."""
    if before is None:
        return set(), {}
    columns = ["process_id", "committed_at", "state", "run_id", "attempt", "cause", "code", "message"]
    rows = read_table(before, TABLES["processes"], columns=columns)
    is_sealed = pc.is_valid(rows.column("committed_at"))
    sealed = {ProcessId(one) for one in rows.filter(is_sealed).column("process_id").to_pylist()}
    words = {
        ProcessId(row["process_id"]): Word(
            run_id=RunId(row["run_id"]),
            state=State(row["state"]),
            at=None,
            attempt=row["attempt"] or 0,
            cause=row["cause"],
            code=row["code"],
            message=row["message"],
        )
        for row in rows.filter(pc.invert(is_sealed)).to_pylist()
        if row["run_id"] is not None
    }
    return sealed, words


def _new_plans(
    layout: Layout, before: Snapshot | None, damages: list[Damage]
) -> tuple[list[Plan], dict[str, tuple[int, int]]]:
    seen = before.manifest.consumed.plans if before else {}
    plans: list[Plan] = []
    stamps: dict[str, tuple[int, int]] = {}
    for path in sorted(layout.plans.glob("*.json")) if layout.plans.is_dir() else ():
        status = path.stat()
        stamp = (status.st_size, status.st_mtime_ns)
        try:
            if seen.get(path.stem) != stamp:
                plans.append(_read_plan(path, *stamp))
            stamps[path.stem] = stamp
        except ArchiveProcError as error:
            # Without a stamp, so that it is looked at again next time.
            damages.append(Damage(error.code, "archive", f"plans/{path.name}", error.message, error.remedy))
    return plans, stamps


@lru_cache(maxsize=4)
def _read_plan(path: Path, size: int, changed: int) -> Plan:
    # A driver publishes every minute of a run, always from the same plan; size and time are part of the key only.
    with paused():
        return plan_from_json(path.read_bytes(), path.name, small=True)


def _plan(layout: Layout, plan_id: PlanId) -> Plan | None:
    path = layout.plan(plan_id)
    try:
        status = path.stat()
        return _read_plan(path, status.st_size, status.st_mtime_ns)
    except (OSError, ArchiveProcError):
        # Missing or damaged: said as a damage when its file was first seen.
        return None


def _new_records(layout: Layout, found: set[ProcessId], damages: list[Damage]) -> dict[ProcessId, ProcessFacts]:
    records: dict[ProcessId, ProcessFacts] = {}
    known: dict[ProcessId, ProcessId] | None = {} if len(found) >= PACKED_FROM else None
    environment: Environment | None = None
    for pid in sorted(found):
        try:
            record = read_record(layout.product_dir(pid))
            figures = read_figures(layout.product_dir(pid))
        except (ArchiveProcError, OSError) as error:
            code, remedy = (error.code, error.remedy) if isinstance(error, ArchiveProcError) else ("AP-STO-001", "")
            damages.append(Damage(code, "process", pid, str(error), remedy))
            continue
        if known is not None:
            # Of a whole semester, little stays in memory: inputs packed, the environment of many held once.
            environment = record.environment if record.environment != environment else environment
            record = replace(record, process=packed_process(record.process, known), environment=environment)
        records[pid] = ProcessFacts(record.process, record, figures=figures)
    return records


def _unsealed(one: PlannedProcess, word: Word | None) -> ProcessFacts:
    return ProcessFacts(one.process, word=word, planes=one.prediction.planes)


def _to_read(journals: JournalFacts, fresh: set[PlanId]) -> list[PlanId]:
    """Plans of runs from the oldest that is new on, each where its newest run stands: of a process that is not sealed,
    the plan run last has the word.
    """
    in_order = [run.plan_id for _, run in sorted(journals.runs.items()) if run.plan_id]
    first = next((position for position, one in enumerate(in_order) if one in fresh), len(in_order))
    return list(dict.fromkeys(reversed(in_order[first:])))[::-1]


class _Older:
    """Processes by id in the plans of runs that started before the snapshot, each plan looked at once."""

    def __init__(self, layout: Layout, journals: JournalFacts) -> None:
        self._layout = layout
        self._journals = journals
        self._plans: dict[PlanId, dict[ProcessId, PlannedProcess]] = {}

    def facts(self, pid: ProcessId, word: Word) -> ProcessFacts | None:
        """The process as the plan of the run that spoke of it has it; None where that plan is gone."""
        plan_id = self._journals.runs[word.run_id].plan_id
        if plan_id is None:
            return None
        if plan_id not in self._plans:
            plan = _plan(self._layout, plan_id)
            self._plans[plan_id] = {one.process.process_id: one for one in plan.processes} if plan else {}
        one = self._plans[plan_id].get(pid)
        return _unsealed(one, word) if one else None
