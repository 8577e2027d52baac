"""The state of every process of a run, from plan and whole journal: what a report needs. `status` reads less."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from archive_proc.execution.course import seconds
from archive_proc.execution.lock import driver_of
from archive_proc.model.events import ProcessChanged, ProcessFailed, RunEnded, RunStarted
from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.processes import State
from archive_proc.planning.text import plan_from_json
from archive_proc.storage.journal import read_journal
from archive_proc.storage.layout import Layout
from archive_proc.storage.runs import read_run
from archive_proc.storage.seal import is_sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStates:
    """One run at one moment, process by process."""

    run_id: RunId
    plan_id: PlanId
    site: str
    state: str
    """running, ended, stopped (SIGINT, ...), or dead (no driver and no end: run or resume continues)."""
    counts: Mapping[State, int]
    """Adds up to the plan."""
    failures: tuple[ProcessFailed, ...]
    elapsed_s: float
    states: Mapping[ProcessId, State]
    """State of every process of the plan; `counts` counts them."""
    blocked: Mapping[ProcessId, ProcessId]
    """Blocked process -> the failed one at the root."""
    started: RunStarted | None
    """The journal's first word, the newest where a run was resumed; None where there is none."""
    last_at: str
    """ISO UTC of the journal's last line."""


def run_states(layout: Layout, run_id: RunId) -> RunStates:
    """Read where every process of a run stands. Raises NotFoundError AP-STO-027 for a run that does not exist."""
    facts = read_run(layout, run_id)
    journal = read_journal(layout.journal(run_id))
    plan = plan_from_json(layout.plan(facts.plan_id).read_bytes(), f"plan {facts.plan_id[:12]}")
    # A cached process has no line of its own: its seal is the record.
    states: dict[ProcessId, State] = {
        pid: State.CACHED if is_sealed(layout, pid) else State.PLANNED
        for pid in (one.process.process_id for one in plan.processes)
    }
    failures: dict[ProcessId, ProcessFailed] = {}
    blocked: dict[ProcessId, ProcessId] = {}
    started: RunStarted | None = None
    first = last = facts.created_at
    state = "dead"
    for event in journal.events:
        last = event.at
        if isinstance(event, RunStarted):
            state, first, started = "dead", event.at, event
            blocked.clear()
            states = {pid: one if one in (State.DONE, State.CACHED) else State.PLANNED for pid, one in states.items()}
            failures.clear()
        elif isinstance(event, ProcessChanged):
            states[event.process_id] = event.state
            if event.blocked_by is not None:
                blocked[event.process_id] = event.blocked_by
        elif isinstance(event, ProcessFailed):
            states[event.process_id] = event.state if event.final else State.READY
            if event.final:
                failures[event.process_id] = event
        elif isinstance(event, RunEnded):
            state = f"stopped ({event.stopped})" if event.stopped else "ended"
    until = seconds(last)
    if state == "dead" and started is not None and driver_of(layout, started.host, started.pid) is not None:
        state, until = "running", dt.datetime.now(dt.UTC).timestamp()
    counts = Counter(states.values())
    return RunStates(
        run_id=run_id,
        plan_id=facts.plan_id,
        site=facts.site,
        state=state,
        counts={one: counts[one] for one in State if counts[one]},
        failures=tuple(failures.values()),
        elapsed_s=max(0.0, until - seconds(first)),
        states=states,
        blocked={pid: root for pid, root in blocked.items() if states.get(pid) is State.BLOCKED},
        started=started,
        last_at=last,
    )
