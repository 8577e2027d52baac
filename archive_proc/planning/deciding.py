"""Human decisions as the planner asks for them: what they change about one process.

`decisions` knows overrides, the planner knows processes; this is the one place where they meet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from archive_proc.decisions.effects import DecisionEffect, Decisions
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, GroupId, ObsId
from archive_proc.model.observations import ExposureGroup
from archive_proc.planning.rulebook import Effect, Work, no_effect
from archive_proc.planning.universe import Universe

PinnedBy = Mapping[tuple[GroupId, str, GroupId], str]
"""(consumer group, role, calibration group) of a pinned link to its override id."""


def effects_of(
    decisions: Decisions,
    universe: Universe,
    frames: Mapping[FileId, RawFrame],
    pinned_by: PinnedBy | None = None,
    full_groups: Iterable[ExposureGroup] = (),
) -> Callable[[Work], Effect]:
    """The `Rulebook.effects` of these decisions.

    `frames`: as read, without corrections. `full_groups`: exposure groups with quarantined files still in them; they
    only serve to name a quarantine as the reason.
    """
    if not decisions.overrides:
        return no_effect
    pins = pinned_by or {}
    taken_out = _taken_out(decisions, full_groups)
    only_parameters = Decisions(overrides=decisions.of_kind("param"))

    def effect(work: Work) -> Effect:
        by_pins = {pins[one] for one in work.pinned if one in pins}
        if work.files:
            found = _ask(decisions, universe, frames, work, work.files)
            ids = by_pins.union(found.override_ids, *(taken_out.get(one, set()) for one in work.groups))
        else:
            # A product as main input: only parameters are its own; planes and header values came with the product.
            files = tuple(one for group in work.groups for one in universe.groups[group].file_ids)
            found = _ask(only_parameters, universe, frames, work, files)
            ids = by_pins.union(found.override_ids)
        return Effect(
            excluded_planes=found.excluded_planes,
            parameters=found.parameters,
            corrections=found.corrections,
            override_ids=tuple(sorted(ids)),
            source=found.source,
        )

    return effect


def _ask(
    decisions: Decisions,
    universe: Universe,
    frames: Mapping[FileId, RawFrame],
    work: Work,
    files: tuple[FileId, ...],
) -> DecisionEffect:
    kind, subject_id = work.subject.kind, work.subject.subject_id
    return decisions.effect_on(
        work.recipe.name,
        files,
        frames,
        universe.observations[ObsId(subject_id)] if kind == "observation" else None,
        subject_id if kind == "group" else "",
        first=universe.frames.get(files[0]) if files else None,
    )


def _taken_out(decisions: Decisions, full_groups: Iterable[ExposureGroup]) -> Mapping[GroupId, set[str]]:
    """Quarantines by the group that lost a file."""
    by_file: defaultdict[str, set[str]] = defaultdict(set)
    for one in decisions.of_kind("quarantine"):
        for file_id in one.match.file:
            by_file[file_id].add(one.override_id)
    found: defaultdict[GroupId, set[str]] = defaultdict(set)
    for group in full_groups if by_file else ():
        for file_id in group.file_ids:
            if file_id in by_file:
                found[group.group_id] |= by_file[file_id]
    return found
