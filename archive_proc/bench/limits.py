"""What kept a run from being faster: its longest chain, workers that waited for work, or their start-up."""

from __future__ import annotations

from collections.abc import Mapping

from archive_proc.bench.figures import Figure
from archive_proc.bench.run_records import RunRecords, seconds
from archive_proc.bench.worker_time import CATEGORIES, IDLE, Budget
from archive_proc.model.ids import ProcessId
from archive_proc.model.phases import Phase

CHAIN, WAITING, STARTING, WORK = (
    "the longest chain of processes",
    "idle workers: too little was ready",
    "start-up of workers",
    "the work itself: more workers would make it faster",
)
_NOTABLE = {CHAIN: 80.0, WAITING: 20.0, STARTING: 20.0}
"""Per cent of wall time (of worker time) from which one of them is said to limit a run."""


def limit_figures(records: RunRecords, budget: Budget) -> list[Figure]:
    """Share of each, the one that limited the run by name, and the largest number of workers it could have used."""
    chain_s = longest_chain_s(records)
    work_s = sum(one.wall_s for one in records.tasks)
    share = {one.name: one.share for one in budget.shares}
    found = {
        CHAIN: 100.0 * chain_s / records.wall_s,
        WAITING: share.get(IDLE, 0.0),
        STARTING: share.get(CATEGORIES[Phase.START], 0.0),
    }
    by = next((name for name, least in _NOTABLE.items() if found[name] >= least), WORK)
    case, n = "what limited the run", len(records.sealed)
    units = {CHAIN: "% of wall", WAITING: "% of workers' time", STARTING: "% of workers' time"}
    return [
        *(Figure(case=case, name=name, value=value, unit=units[name], n=n) for name, value in found.items()),
        Figure(
            case=case,
            name="workers that it could have kept busy at most",
            value=work_s / chain_s if chain_s else None,
            unit="1",
            reference=f"limited by {by}",
            reference_value=float(max(one.workers for one in records.stretches)),
            n=n,
        ),
    ]


def longest_chain_s(records: RunRecords) -> float:
    """Longest path through the processes that the run sealed, each as long as from its first task to its last, s."""
    spans = _spans(records)
    processes = {one.process_id: one.process for one in records.sealed if one.process_id in spans}
    best: dict[ProcessId, float] = {}
    # A process begins after its sources have ended: in order of starts, sources come first.
    for process_id in sorted(processes, key=lambda one: spans[one][0]):
        before = max((best.get(one, 0.0) for one in processes[process_id].sources), default=0.0)
        begin, end = spans[process_id]
        best[process_id] = before + end - begin
    return max(best.values(), default=0.0)


def _spans(records: RunRecords) -> Mapping[ProcessId, tuple[float, float]]:
    """First start and last end of the tasks of each process, s since 1970."""
    found: dict[ProcessId, tuple[float, float]] = {}
    for task in records.tasks:
        begin = seconds(task.started_at)
        first, last = found.get(task.process_id, (begin, begin))
        found[task.process_id] = (min(first, begin), max(last, begin + task.wall_s))
    return found
