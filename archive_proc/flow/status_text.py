"""A run's status as people read it, and as one line a minute."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from archive_proc.flow.status import RunStatus
from archive_proc.model.ids import shown
from archive_proc.model.processes import State

_KINDS = 8
"""Kinds of failure shown."""
_BAR = 24
_SEALED = (State.DONE, State.CACHED)
_BAD = (State.FAILED, State.BLOCKED, State.LOST, State.QUARANTINED)


def status_lines(status: RunStatus, now: dt.datetime | None = None) -> list[str]:
    """The whole page."""
    driver = f"  driver {status.driver}" if status.driver else ""
    lines = [f"run:{status.run_id}  {status.state}  site {status.site}  plan:{status.plan_id[:12]}{driver}"]
    total = sum(status.counts.values())
    counts = ", ".join(f"{number} {state.value}" for state, number in status.counts.items())
    sealed = sum(status.counts.get(one, 0) for one in _SEALED)
    share = f" ({100 * sealed // total} % sealed)" if total else ""
    lines.append(f"{total} processes{share}: {counts or 'none'}")
    lines += _recipes(status)
    lines.append(_pace(status))
    if status.is_running:
        lines += _ahead(status, now or dt.datetime.now(dt.UTC))
    lines.append(
        f"cost so far {status.held_s / 3600:.2f} core-h held by workers, {status.busy_s / 3600:.2f} at work, "
        f"{status.cpu_s / 3600:.2f} CPU"
    )
    if status.running:
        lines.append("oldest running:" if status.is_running else "was running:")
        width = max(len(one.recipe) for one in status.running)
        for one in status.running:
            where = f"  on {', '.join(one.hosts)}" if one.hosts else "  waits for a worker" if status.is_running else ""
            process = shown("proc", one.process_id)
            lines.append(f"  {one.recipe.ljust(width)}  {process}  {clock(one.age_s)}  {_planes(one.planes)}{where}")
    lines += [f"paused {recipe}: failed again and again with {why}" for recipe, why in sorted(status.paused.items())]
    lines += _failures(status)
    if status.state == "dead":
        lines.append("its driver is gone: `archive-proc run`, or `archive-proc resume`, continues")
    if status.note:
        lines.append(status.note)
    if status.torn:
        lines.append(f"{status.torn} torn journal lines were left out")
    return lines


def status_line(status: RunStatus) -> str:
    """One line, for a log: `412 of 798 processes, 3 failed, 5.6 and 310 planes a minute, 35-62 min left`."""
    total = sum(status.counts.values())
    sealed = sum(status.counts.get(one, 0) for one in _SEALED)
    parts = [f"{status.state}: {sealed} of {total} processes sealed"]
    parts += [f"{number} {state.value}" for state in _BAD if (number := status.counts.get(state, 0))]
    if status.processes_per_min is not None:
        parts.append(_rates(status))
    if status.is_running:
        parts.append(f"{status.counts.get(State.RUNNING, 0)} running, {status.ready} ready")
        if status.left_s is not None:
            parts.append(f"{_span(status.left_s)} left")
        parts += [f"{number} workers {state}" for state, number in status.census.items() if state == "paused"]
    return ", ".join(parts)


def _recipes(status: RunStatus) -> Iterable[str]:
    width = max((len(name) for name in status.by_recipe), default=0)
    for name, states in status.by_recipe.items():
        total = sum(states.values())
        sealed = sum(states.get(one, 0) for one in _SEALED)
        full = round(_BAR * sealed / total) if total else 0
        rest = [f"{number} {state.value}" for state, number in states.items() if state not in (*_SEALED, State.PLANNED)]
        bar = "#" * full + "." * (_BAR - full)
        yield f"  {name.ljust(width)}  {bar}  {sealed} of {total}{'  ' if rest else ''}{', '.join(rest)}"


def _pace(status: RunStatus) -> str:
    text = f"elapsed {clock(status.elapsed_s)}"
    return text if status.processes_per_min is None else f"{text}, {_rates(status)}"


def _rates(status: RunStatus) -> str:
    processes, planes = (_number(one or 0.0) for one in (status.processes_per_min, status.planes_per_min))
    return f"{processes} processes and {planes} planes a minute"


def _ahead(status: RunStatus, now: dt.datetime) -> Iterable[str]:
    if status.left_s is not None:
        low, high = (now + dt.timedelta(seconds=one) for one in status.left_s)
        form = "%H:%M" if low.date() == high.date() == now.date() else "%m-%d %H:%M"
        runs = f"from {status.history} earlier run{'s' * (status.history != 1)}"
        basis = runs if status.history else "no history yet"
        chain = f"; longest chain {clock(status.chain_s)}" if status.chain_s else ""
        yield f"left {_span(status.left_s)} ({basis}), ends {low:{form}} to {high:{form}} UTC{chain}"
    yield f"queue {status.ready} ready to begin, {status.in_flight} tasks with the workers"
    census = ", ".join(f"{number} {state}" for state, number in sorted(status.census.items()))
    yield f"workers {status.workers} wanted: {census or 'none yet'}"
    if status.census.get("paused"):
        yield "  a paused worker holds too much memory and takes no task: it should end soon, or needs a larger limit"
    if status.silence_s is not None:
        yield f"its driver's last heartbeat is {clock(status.silence_s)} old (every 30 s; gone after 10 min)"


def _failures(status: RunStatus) -> Iterable[str]:
    for kind in status.failures[:_KINDS]:
        times = [f"{kind.processes} failed"] if kind.processes else []
        times += [f"{kind.earlier} of them in an earlier run"] if kind.earlier else []
        times += [f"{kind.retried} tried again"] if kind.retried else []
        then = f" -> {kind.remedy}" if kind.remedy else ""
        first = shown("proc", kind.first)
        yield f"{', '.join(times)} ({kind.cause}): {kind.recipe} {kind.code} {kind.account}{then}; first {first}"
    if len(status.failures) > _KINDS:
        yield f"... and {len(status.failures) - _KINDS} more kinds of failure: archive-proc query --saved failures"


def _planes(number: int) -> str:
    return f"{number} plane{'s' * (number != 1)}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _span(band: tuple[float, float]) -> str:
    low, high = band
    if high < 60:
        return "less than a minute"
    return f"{clock(low)} to {clock(high)}"


def clock(seconds: float) -> str:
    """A duration for people.

    >>> clock(42), clock(95), clock(7500), clock(200_000)
    ('42 s', '1 min 35 s', '2 h 05', '2 d 7 h')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes:02d}"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
