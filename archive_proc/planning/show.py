"""What `plan` prints: counts that add up, reasons, what is not planned and why, what it needs and what there is."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from archive_proc.model.ids import shown
from archive_proc.model.processes import Plan, PlannedProcess, Reason
from archive_proc.planning.resources import MARGIN, Chain, Demand, demand, longest_chain

_REASON_WORDS = {
    Reason.NEW: "new input",
    Reason.INPUT: "input",
    Reason.RECIPE: "recipe",
    Reason.PARAMETER: "parameter",
    Reason.TABLE: "table",
    Reason.OVERRIDE: "override",
}
_LEFT = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What the site and the file system have for a plan; None where it is unknown or unlimited."""

    workers: int = 1
    memory_gb: float | None = None
    """Of the largest worker."""
    free_bytes: int | None = None
    quota_bytes: int | None = None
    free_inodes: int | None = None


def plan_lines(plan: Plan, room: Room | None = None) -> list[str]:
    """The printout of a plan, line by line, without colours."""
    room = room or Room()
    chain = longest_chain(plan, room.workers)
    asked = demand(plan, room.workers, chain)
    return [
        _head(plan, asked),
        *_reasons(plan),
        *_recipes(plan),
        *_not_planned(plan),
        *_costs(plan, asked, chain, room),
    ]


def _head(plan: Plan, asked: Demand) -> str:
    processes = [one.process for one in plan.processes]
    observations = {one.subject.subject_id for one in processes if one.subject.kind == "observation"}
    periods = sorted({one.period_date for one in processes})
    arms = sorted({str(one.subject.arm) for one in processes}, reverse=True)
    where = ", ".join(filter(None, (_span([f"P{one}" for one in periods]), "+".join(reversed(arms)))))
    cached = len(processes) - asked.to_run
    frames = {one.subject.subject_id for one in processes if one.subject.kind == "frame"}
    single = f"{_count(len(frames), 'single frame')}, " if frames else ""
    counts = (
        f"{_count(len(observations), 'observation')}, {single}{_count(len(processes), 'process')} "
        f"({_number(cached)} cached, {_number(asked.to_run)} to run)"
    )
    return "   ".join(filter(None, (shown("plan", plan.plan_id), where, counts)))


def _reasons(plan: Plan) -> list[str]:
    """A row a reason; together they are what is to run."""
    rows: defaultdict[Reason, list[PlannedProcess]] = defaultdict(list)
    for one in plan.processes:
        if one.to_run:
            rows[one.reason].append(one)
    if not rows:
        return ["nothing to do: every product asked for is sealed"] if plan.processes else []
    lines = [f"{'reason':<{_LEFT}}{'processes':>9}   first"]
    for reason in Reason:
        if some := rows.get(reason):
            # The earliest night, observations before their masters: the row a person recognises.
            first = min(some, key=lambda one: (one.process.subject.kind != "observation", *_place(one)))
            words = first.because if reason is Reason.NEW else f"{first.process.recipe}: {first.because}"
            lines.append(f"{_REASON_WORDS[reason]:<{_LEFT}}{_number(len(some)):>9}   {words}")
    return lines


def _place(one: PlannedProcess) -> tuple[str, str, str]:
    return one.process.night, one.process.subject.subject_id, one.process.process_id


def _recipes(plan: Plan) -> list[str]:
    if not plan.processes:
        return []
    total = Counter(one.process.recipe for one in plan.processes)
    to_run = Counter(one.process.recipe for one in plan.processes if one.to_run)
    seconds: defaultdict[str, float] = defaultdict(float)
    for one in plan.processes:
        if one.to_run:
            seconds[one.process.recipe] += one.prediction.cpu_s
    width = max(_LEFT, *(len(name) + 2 for name in total))
    lines = [f"{'recipe':<{width}}{'to run':>8}{'cached':>8}   cpu"]
    lines += [
        f"{name:<{width}}{_number(to_run[name]):>8}{_number(total[name] - to_run[name]):>8}   {_time(seconds[name])}"
        for name in sorted(total)
    ]
    levels = Counter(one.process.level for one in plan.processes if one.process.subject.kind == "observation")
    if levels:
        worst = ", ".join(f"level {level}: {_number(levels[level])}" for level in sorted(levels))
        lines.append(f"{'calibrations':<{_LEFT}}of observation processes, worst of the chain: {worst}")
    return lines


def _not_planned(plan: Plan) -> list[str]:
    if not plan.not_planned:
        return []
    subjects: defaultdict[str, set[str]] = defaultdict(set)
    first: dict[str, str] = {}
    for one in plan.not_planned:
        subjects[one.code].add(one.subject.subject_id)
        first.setdefault(one.code, f"{one.message} -> {one.remedy}")
    kinds = {one.subject.kind for one in plan.not_planned}
    n = len({one.subject.subject_id for one in plan.not_planned})
    noun = kinds.pop() if len(kinds) == 1 else "subject"
    codes = ", ".join(f"{code} ({len(subjects[code])})" for code in sorted(subjects))
    lines = [f"{'not planned':<{_LEFT}}{_count(n, noun)}: {codes}   -> archive-proc check"]
    return lines + [f"{'':<{_LEFT}}{code} {first[code]}" for code in sorted(first)]


def _costs(plan: Plan, asked: Demand, chain: Chain, room: Room) -> list[str]:
    if not asked.to_run:
        return []
    workers = f"{room.workers} worker" + ("s" if room.workers != 1 else "")
    wall = asked.wall_s(room.workers)
    if asked.with_history:
        scale = wall / asked.cpu_s if asked.cpu_s else 0.0
        basis = f"{_time(asked.cpu_s_low * scale)}-{_time(asked.cpu_s_high * scale)}, "
        basis += f"{_number(asked.with_history)} of {_number(asked.to_run)} from past processes"
    else:
        basis = "no history: from the recipe's model"
    rows = {one.process.process_id: one for one in plan.processes}
    heaviest = max(chain.processes, key=lambda one: (rows[one].prediction.cpu_s, one))
    slow = rows[heaviest]
    longest = f"{_time(chain.seconds)} ({slow.process.recipe}, {_count(slow.prediction.planes, 'plane')})"
    lines = [f"{'time':<{_LEFT}}{workers} {_time(wall)} ({basis}); longest chain {longest}"]
    limit = "" if room.memory_gb is None else f" (limit {room.memory_gb:.1f})"
    lines.append(f"{'cpu':<{_LEFT}}{asked.cpu_s / 3600.0:.2f} core-h   memory max {asked.memory_gb:.1f} GB{limit}")
    have = [f"free {_bytes(room.free_bytes)}" if room.free_bytes is not None else ""]
    have.append(f"quota leaves {_bytes(room.quota_bytes)}" if room.quota_bytes is not None else "")
    space = ", ".join(filter(None, have))
    inodes = "" if room.free_inodes is None else f" (free {_number(room.free_inodes)})"
    lines.append(
        f"{'disk':<{_LEFT}}products +{_bytes(asked.bytes_out)}{f' ({space})' if space else ''}   "
        f"scratch peak {_bytes(asked.scratch_bytes)}   inodes +{_number(asked.inodes)}{inodes}"
    )
    return lines + [f"{'does not fit':<{_LEFT}}{one}" for one in misfits(asked, room)]


def misfits(asked: Demand, room: Room) -> list[str]:
    """What the site lacks for a plan, in words; empty when it fits. All with the margin a run asks for."""
    found = []
    for name, limit in (("free", room.free_bytes), ("quota", room.quota_bytes)):
        if limit is not None and MARGIN * asked.bytes_out > limit:
            found.append(f"products need {_bytes(asked.bytes_out)}, {name} is {_bytes(limit)}")
    if room.free_inodes is not None and MARGIN * asked.inodes > room.free_inodes:
        found.append(f"products need {_number(asked.inodes)} inodes, free are {_number(room.free_inodes)}")
    if room.memory_gb is not None and MARGIN * asked.memory_gb > room.memory_gb:
        found.append(f"one process needs {asked.memory_gb:.1f} GB, the largest worker has {room.memory_gb:.1f} GB")
    return found


def _span(words: Sequence[str]) -> str:
    return "+".join(words) if len(words) <= 3 else f"{words[0]}..{words[-1]}"


def _number(value: int) -> str:
    return f"{value:,}".replace(",", " ")


def _count(value: int, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{_number(value)} {noun}{'' if value == 1 else plural}"


def _time(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes:02d}"
    return f"{seconds / 86400:.1f} d"


def _bytes(value: int) -> str:
    if value < 1000:
        return f"{value} B"
    power = min(5, int(math.log10(value) // 3))
    return f"{value / 1000**power:.1f} {' kMGTP'[power]}B"
