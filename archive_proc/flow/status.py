"""Where a run stands, from its journal alone: works for a living driver, a dead one and a finished one."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from archive_proc.execution.lock import holder_of
from archive_proc.model.events import ProcessChanged, ProcessFailed, RunEnded, RunStarted
from archive_proc.model.ids import PlanId, ProcessId, RunId, shown
from archive_proc.model.processes import State
from archive_proc.planning.text import plan_from_json
from archive_proc.storage.journal import read_journal
from archive_proc.storage.layout import Layout
from archive_proc.storage.runs import read_run
from archive_proc.storage.seal import is_sealed

_ENDED = (State.DONE, State.CACHED, State.FAILED, State.BLOCKED, State.CANCELLED, State.QUARANTINED, State.WAIVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """One run at one moment."""

    run_id: RunId
    plan_id: PlanId
    site: str
    state: str
    """running, ended, stopped (SIGINT, ...), or dead (no driver and no end: run or resume continues)."""
    counts: Mapping[State, int]
    """Adds up to the plan."""
    by_recipe: Mapping[str, tuple[int, int]]
    """recipe -> (sealed, planned)."""
    running: tuple[tuple[str, ProcessId, float], ...]
    """(recipe, process, seconds since it began), oldest first."""
    failures: tuple[ProcessFailed, ...]
    elapsed_s: float
    left_s: float | None
    """Seconds left by predicted cost and the rate so far; None when unknown or ended."""
    torn: int
    """Journal lines that could not be read."""
    states: Mapping[ProcessId, State]
    """State of every process of the plan; `counts` counts them."""
    blocked: Mapping[ProcessId, ProcessId]
    """Blocked process -> the failed one at the root."""
    started: RunStarted | None
    """The journal's first word, the newest where a run was resumed; None where there is none."""
    last_at: str
    """ISO UTC of the journal's last line."""

    @property
    def lines(self) -> list[str]:
        """As people read it."""
        total = sum(self.counts.values())
        head = f"run:{self.run_id}  {self.state}  site {self.site}  plan:{self.plan_id[:12]}"
        counts = ", ".join(f"{number} {state.value}" for state, number in self.counts.items() if number)
        lines = [head, f"{total} processes: {counts or 'none'}"]
        width = max((len(name) for name in self.by_recipe), default=0)
        lines += [f"  {name.ljust(width)}  {sealed} of {planned}" for name, (sealed, planned) in self.by_recipe.items()]
        times = f"elapsed {_clock(self.elapsed_s)}"
        if self.left_s is not None:
            times += f", about {_clock(self.left_s)} left"
        lines.append(times)
        if self.running:
            recipe, process, seconds = self.running[0]
            lines.append(f"oldest running: {recipe} {shown('proc', process)} since {_clock(seconds)}")
        for failure in self.failures:
            where = shown("proc", failure.process_id)
            lines.append(f"failed ({failure.cause}): {failure.recipe} {where} {failure.code} {failure.account}")
        if self.state == "dead":
            lines.append("its driver is gone: `archive-proc run`, or `archive-proc resume`, continues")
        if self.torn:
            lines.append(f"{self.torn} torn journal lines were left out")
        return lines


def run_status(layout: Layout, run_id: RunId, now: dt.datetime | None = None) -> RunStatus:
    """Read where a run stands. Raises NotFoundError AP-STO-027 for a run that does not exist."""
    facts = read_run(layout, run_id)
    journal = read_journal(layout.journal(run_id))
    plan = plan_from_json(layout.plan(facts.plan_id).read_bytes(), f"plan {facts.plan_id[:12]}")
    # A cached process has no line of its own: its seal is the record.
    states: dict[ProcessId, State] = {
        pid: State.CACHED if is_sealed(layout, pid) else State.PLANNED
        for pid in (one.process.process_id for one in plan.processes)
    }
    since: dict[ProcessId, str] = {}
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
            since[event.process_id] = event.at
            if event.blocked_by is not None:
                blocked[event.process_id] = event.blocked_by
        elif isinstance(event, ProcessFailed):
            states[event.process_id] = event.state if event.final else State.READY
            if event.final:
                failures[event.process_id] = event
        elif isinstance(event, RunEnded):
            state = f"stopped ({event.stopped})" if event.stopped else "ended"
    moment = now or dt.datetime.now(dt.UTC)
    living = holder_of(layout)
    if state == "dead" and living is not None and living.purpose.startswith("run"):
        state = "running"
    until = moment if state == "running" else _time(last)
    elapsed = max(0.0, (until - _time(first)).total_seconds())
    recipes = {one.process.process_id: one.process.recipe for one in plan.processes}
    planned_count = Counter(recipes.values())
    sealed_count = Counter(recipes[pid] for pid, one in states.items() if one in (State.DONE, State.CACHED))
    running = sorted(
        (
            (recipes[pid], pid, (until - _time(since[pid])).total_seconds())
            for pid, one in states.items()
            if one is State.RUNNING
        ),
        key=lambda row: -row[2],
    )
    cost = {one.process.process_id: one.prediction.cpu_s for one in plan.processes if one.to_run}
    tried = [pid for pid, one in states.items() if one in (State.DONE, State.BLOCKED) or one.is_failure]
    spent = sum(cost.get(pid, 0.0) for pid in tried)
    rest = sum(cost.get(pid, 0.0) for pid, one in states.items() if one not in _ENDED)
    left = rest / spent * elapsed if state == "running" and spent > 0 else None
    counts = Counter(states.values())
    return RunStatus(
        run_id=run_id,
        plan_id=facts.plan_id,
        site=facts.site,
        state=state,
        counts={one: counts[one] for one in State if counts[one]},
        by_recipe={name: (sealed_count[name], planned_count[name]) for name in sorted(planned_count)},
        running=tuple(running),
        failures=tuple(failures.values()),
        elapsed_s=elapsed,
        left_s=left,
        torn=journal.torn,
        states=states,
        blocked={pid: root for pid, root in blocked.items() if states.get(pid) is State.BLOCKED},
        started=started,
        last_at=last,
    )


def _time(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d}"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
