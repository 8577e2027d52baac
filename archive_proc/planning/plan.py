"""The plan of a selection: a value made from the universe, the rulebook and what the archive already has.

Equal input gives equal bytes in any order: nothing here reads a clock, a path or a random number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from archive_proc.model.frames import Arm
from archive_proc.model.ids import FileId, GroupId, ObsId, ProcessId
from archive_proc.model.processes import NotPlanned, Plan, PlannedProcess, Process, Reason, Subject
from archive_proc.planning.cascade import Cascaded, Wanted, cascade
from archive_proc.planning.keys import plan_id
from archive_proc.planning.known import KnownProducts, reason_for
from archive_proc.planning.makers import Makers
from archive_proc.planning.resources import Forecast, History
from archive_proc.planning.rulebook import Rulebook
from archive_proc.planning.universe import Universe

NOT_NEEDED = "sealed where it is used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a user asks for: subjects by id, and the product types wanted of them."""

    obs_ids: frozenset[ObsId] = frozenset()
    group_ids: frozenset[GroupId] = frozenset()
    file_ids: frozenset[FileId] = frozenset()
    product_types: tuple[str, ...] = ()
    """Empty: the final types of each observation's arm; all that is made of groups and single frames."""
    words: str = ""
    """The selection as given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands beside the facts: products that are there, past costs, refusals, the time of judgement."""

    known: KnownProducts = field(default_factory=KnownProducts)
    history: History = field(default_factory=dict)
    refused: frozenset[ProcessId] = frozenset()
    """Processes that failed their own checks: their calibration groups are not used again."""
    failed: frozenset[ProcessId] = frozenset()
    """Given up, and not tried again: roles of which each may lack do without."""
    passing: frozenset[ProcessId] = frozenset()
    """Given up for a cause that may have passed (a worker, a disk, memory): the next command tries them again, further
    rounds of the command that saw them fail do without."""
    as_of: str = ""
    """ISO time that expiries are judged against."""


def wanted_products(universe: Universe, selection: Selection, rulebook: Rulebook) -> tuple[Wanted, ...]:
    """The products that a selection asks for, each of its own subject; types of other subjects are not among them.

    Raises KeyError for an id the universe does not have: selections are resolved before they are planned.
    """
    makers = Makers.of(rulebook.cookbook)
    of_observations = {made for one in rulebook.cookbook if one.subject_kind == "observation" for made in one.outputs}
    found: list[Wanted] = []
    for obs_id in sorted(selection.obs_ids):
        arm = universe.observations[obs_id].arm
        asked = [one for one in selection.product_types if one in of_observations]
        # A type of another subject (`--to detector_flat`) is planned through the finals and then singled out.
        through = asked if asked and len(asked) == len(selection.product_types) else [*asked, *_finals(rulebook, arm)]
        # An empty type asks for anything: where there is nothing to ask for, the plan says so.
        found += [Wanted(Subject("observation", obs_id, arm), one) for one in through or [""]]
    others = [Subject("group", one, universe.groups[one].arm) for one in sorted(selection.group_ids)]
    others += [Subject("frame", one, universe.frames[one].arm) for one in sorted(selection.file_ids)]
    for subject in others:
        made = [one for recipe in makers.recipes_of(universe, subject) for one in recipe.outputs]
        found += [Wanted(subject, one) for one in selection.product_types or made or [""]]
    return tuple(dict.fromkeys(found))


def _finals(rulebook: Rulebook, arm: Arm) -> tuple[str, ...]:
    return rulebook.finals.get(arm, ())


def make_plan(
    universe: Universe,
    selection: Selection,
    rulebook: Rulebook,
    standing: Standing | None = None,
) -> Plan:
    """The plan of a selection on these associations. Errors: as `cascade`."""
    standing = standing or Standing()
    wanted = wanted_products(universe, selection, rulebook)
    found = cascade(universe, wanted, rulebook, standing.refused, standing.failed)
    return _plan(universe, selection, rulebook, standing, wanted, found)


def make_settled_plan(
    associate: Callable[[frozenset[GroupId]], Universe],
    selection: Selection,
    rulebook: Rulebook,
    standing: Standing,
) -> tuple[Plan, frozenset[GroupId]]:
    """The plan with the next candidates in place of refused calibrations, and the groups that were passed over.

    `associate(banned)` gives the universe with associations that use none of the banned groups. A group is banned only
    while the process id it would give is refused, so a new recipe version or another dark tries it again.
    """
    banned: frozenset[GroupId] = frozenset()
    while True:
        universe = associate(banned)
        wanted = wanted_products(universe, selection, rulebook)
        found = cascade(universe, wanted, rulebook, standing.refused, standing.failed)
        more = found.refused_groups - banned
        if not more:
            return _plan(universe, selection, rulebook, standing, wanted, found), banned
        banned |= more


def _plan(
    universe: Universe,
    selection: Selection,
    rulebook: Rulebook,
    standing: Standing,
    wanted: Iterable[Wanted],
    found: Cascaded,
) -> Plan:
    processes = {one.process_id: one for one in found.processes}
    order = _sources_first(processes)
    if singled_out := _other_types(selection, rulebook):
        order = _with_sources([one for one in order if singled_out & set(one.product_types)], processes, order)
    asked_for = {(one.subject, one.product_type) for one in wanted}
    roots = {
        one.process_id
        for one in order
        if singled_out & set(one.product_types) or any((one.subject, made) in asked_for for made in one.product_types)
    }
    used = _used(order, roots, standing.known)
    forecast = Forecast(rulebook.cookbook, universe.frames, standing.history)
    planned = []
    for one in order:
        reason, because = reason_for(one, standing.known, universe.label(one.subject))
        if reason is not Reason.CACHED and one.process_id not in used:
            reason, because = Reason.CACHED, NOT_NEEDED
        planned.append(PlannedProcess(one, reason, because, forecast.of(one)))
    return Plan(
        plan_id=plan_id(order),
        processes=tuple(sorted(planned, key=lambda one: one.process.process_id)),
        not_planned=tuple(sorted(found.not_planned, key=_not_planned_key)),
        as_of=standing.as_of,
        ruleset_version=rulebook.ruleset_version,
        preset=rulebook.preset.name,
        selection=selection.words,
    )


def _not_planned_key(one: NotPlanned) -> tuple[str, str, str, str]:
    return one.code, one.subject.kind, one.subject.subject_id, one.product_type


def _other_types(selection: Selection, rulebook: Rulebook) -> set[str]:
    """Asked-for types whose subject is not the observation that was selected; empty when there are none."""
    if not selection.obs_ids:
        return set()
    own = {made for one in rulebook.cookbook if one.subject_kind == "observation" for made in one.outputs}
    asked = set(selection.product_types)
    return asked if asked - own else set()


def _with_sources(some: list[Process], processes: dict[ProcessId, Process], order: list[Process]) -> list[Process]:
    todo, keep = [one.process_id for one in some], set[ProcessId]()
    while todo:
        one = todo.pop()
        if one not in keep:
            keep.add(one)
            todo.extend(processes[one].sources)
    return [one for one in order if one.process_id in keep]


def _used(order: list[Process], roots: set[ProcessId], known: KnownProducts) -> set[ProcessId]:
    """Wanted processes, sources of processes that must run, and sources of sealed ones that were lost.

    A flat that was pruned is not made again for a sealed cube; one that vanished (moved away because it was damaged,
    as `verify` advises) is: the archive has nothing that its provenance does not reach.
    """
    used, reached = set(roots), set(roots)
    for one in reversed(order):
        if one.process_id not in reached:
            continue
        needed, sources = one.process_id in used and one.process_id not in known.sealed, one.sources
        used.update(source for source in sources if needed or _lost(source, known))
        # What lies behind a product that was pruned and is not made again is nobody's need.
        if needed or one.process_id in known.sealed:
            reached.update(sources)
    return used


def _lost(process_id: ProcessId, known: KnownProducts) -> bool:
    return process_id not in known.sealed and process_id not in known.pruned


def _sources_first(processes: dict[ProcessId, Process]) -> list[Process]:
    """Every process after its sources, otherwise by id."""
    order: list[Process] = []
    placed: set[ProcessId] = set()
    sources = {key: one.sources for key, one in processes.items()}
    for start in sorted(processes):
        stack = [start]
        while stack:
            one = stack[-1]
            ahead = [source for source in sources[one] if source not in placed]
            if ahead:
                stack.extend(ahead)
            else:
                stack.pop()
                if one not in placed:
                    placed.add(one)
                    order.append(processes[one])
    return order
