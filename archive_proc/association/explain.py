"""Why this calibration and not the others: every candidate of every role, criterion by criterion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from archive_proc.association.associate import choose
from archive_proc.association.candidates import (
    Chosen,
    Consumer,
    Criterion,
    GroupIndex,
    consumers_of,
    level_of,
    serves_consumer,
)
from archive_proc.association.refusals import reason, rows_for
from archive_proc.errors import NotFoundError
from archive_proc.instruments.rows import RuleRow
from archive_proc.instruments.tables import Tables
from archive_proc.model.decisions import CalibrationDecisions, NoDecisions
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, GroupId, ObsId
from archive_proc.model.observations import ExposureGroup, Observation


@dataclass(frozen=True, slots=True)
class Judged:
    """One candidate of one role."""

    group_id: GroupId
    frame_type: str
    n_files: int
    dt_days: float
    """Signed: candidate minus consumer."""
    level: int | None
    """None where a criterion refused it."""
    criteria: tuple[Criterion, ...]
    chosen: bool
    verdict: str
    """`chosen`, `chosen (rate_from_other_dits)`, or the first reason against it in words."""


@dataclass(frozen=True, slots=True)
class RoleExplanation:
    """One role of one consumer: what was needed and every candidate, nearest first."""

    consumer_group_id: GroupId
    consumer: str
    """Frame type and night in words."""
    selector: str
    role: str
    rule_id: str
    wanted: tuple[tuple[str, str], ...]
    """(column, value) that must match."""
    method: str
    candidates: tuple[Judged, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole matrix of an observation or group."""

    subject_id: str
    roles: tuple[RoleExplanation, ...]


def explain_observation(
    obs_id: ObsId,
    groups: Sequence[ExposureGroup],
    observations: Sequence[Observation],
    frames: Mapping[FileId, RawFrame] | Iterable[RawFrame],
    tables: Tables,
    decisions: CalibrationDecisions | None = None,
    refused: frozenset[GroupId] = frozenset(),
) -> Explanation:
    """All roles of all groups of an observation, and of the calibrations chosen for them.

    Raises NotFoundError AP-CAL-020 for an observation that does not exist.
    """
    found = next((one for one in observations if one.obs_id == obs_id), None)
    if found is None:
        raise NotFoundError("AP-CAL-020", "no observation of this id", subject=obs_id, remedy="see `query` for ids")
    first = [entry.group_id for entry in found.files]
    return _explained(obs_id, first, groups, observations, frames, tables, decisions, refused)


def explain_group(
    group_id: GroupId,
    groups: Sequence[ExposureGroup],
    observations: Sequence[Observation],
    frames: Mapping[FileId, RawFrame] | Iterable[RawFrame],
    tables: Tables,
    decisions: CalibrationDecisions | None = None,
    refused: frozenset[GroupId] = frozenset(),
) -> Explanation:
    """The same for one exposure group and the calibrations chosen for it.

    Raises NotFoundError AP-CAL-020 for a group that does not exist.
    """
    if all(one.group_id != group_id for one in groups):
        raise NotFoundError(
            "AP-CAL-020", "no exposure group of this id", subject=group_id, remedy="see `query` for ids"
        )
    return _explained(group_id, [group_id], groups, observations, frames, tables, decisions, refused)


def _explained(
    subject_id: str,
    first: Sequence[GroupId],
    groups: Sequence[ExposureGroup],
    observations: Sequence[Observation],
    frames: Mapping[FileId, RawFrame] | Iterable[RawFrame],
    tables: Tables,
    decisions: CalibrationDecisions | None,
    refused: frozenset[GroupId],
) -> Explanation:
    by_file = frames if isinstance(frames, Mapping) else {one.file_id: one for one in frames}
    index = GroupIndex(groups, observations, by_file, tables, decisions or NoDecisions(), refused)
    by_id = {one.group_id: one for one in groups}
    todo = list(dict.fromkeys(first))
    roles: list[RoleExplanation] = []
    for group_id in todo:  # grows: calibrations of calibrations follow
        for rule in tables.rules:
            for consumer in consumers_of(rule, by_id[group_id], index):
                found = choose(rule, consumer, index)
                roles.append(_role(rule, consumer, found, index))
                todo += [group.group_id for group, *_ in found.groups if group.group_id not in todo]
    return Explanation(subject_id, tuple(roles))


def _role(rule: RuleRow, consumer: Consumer, found: Chosen, index: GroupIndex) -> RoleExplanation:
    types = tuple(one.frame_type for one in rule.candidate)
    candidates = [one for one in index.in_time(types)[1] if one.group_id != consumer.group.group_id]
    judged = [_judged(rule, consumer, found, one, index) for one in candidates]
    judged.sort(key=lambda one: (not one.chosen, abs(one.dt_days), one.group_id))
    return RoleExplanation(
        consumer_group_id=consumer.group.group_id,
        consumer=f"{consumer.group.frame_type} {consumer.group.night.isoformat()}",
        selector=consumer.selector,
        role=rule.role,
        rule_id=rule.id,
        wanted=tuple((column, str(value)) for column, value in consumer.values.items() if value is not None),
        method=found.method if found.groups else "none",
        candidates=tuple(judged),
    )


def _judged(rule: RuleRow, consumer: Consumer, found: Chosen, group: ExposureGroup, index: GroupIndex) -> Judged:
    rows = rows_for(rule, consumer, group)
    # A type may answer under two rows (thermal or not): the one meant for this consumer is shown.
    row = next((one for one in rows if serves_consumer(one, consumer)), rows[0] if rows else None)
    criteria = tuple(index.judge(rule, row, consumer, group)) if row else ()
    passed = row is not None and all(one.passed for one in criteria)
    level = next((level for one, _, level, _ in found.groups if one.group_id == group.group_id), None)
    chosen = level is not None
    if not chosen and passed and row is not None:
        scope = index.scope_rank(row.scope, consumer, group) if row.scope else None
        level = level_of(rule, row, scope, abs(group.mjd_mid - consumer.mjd))
    if chosen:
        how = f"pinned by {found.pins[group.group_id]}" if group.group_id in found.pins else found.method
        verdict = "chosen" if how == "match" else f"chosen ({how})"
    else:
        criterion, wanted, seen = reason(rule, consumer, found, group, index)
        verdict = f"{criterion}: {seen}, wanted {wanted}"
    return Judged(
        group_id=group.group_id,
        frame_type=group.frame_type,
        n_files=index.usable_files(group),
        dt_days=group.mjd_mid - consumer.mjd,
        level=level,
        criteria=criteria,
        chosen=chosen,
        verdict=verdict,
    )
