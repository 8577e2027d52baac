"""Calibration associations: for each group in a role the calibration group the rules choose, and what they refuse."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from archive_proc.association.candidates import (
    Chosen,
    Consumer,
    GroupIndex,
    consumers_of,
    level_of,
    nearest_first,
    serves_consumer,
)
from archive_proc.association.fallbacks import rate_from_other_dits
from archive_proc.association.refusals import refusals_of
from archive_proc.instruments.rows import CandidateRow, RuleRow
from archive_proc.instruments.tables import Tables
from archive_proc.model.decisions import CalibrationDecisions, NoDecisions
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, GroupId
from archive_proc.model.observations import (
    Association,
    ExposureGroup,
    Issue,
    Observation,
    Refusal,
    RefusalCount,
)

FALLBACK_LEVEL = 3
OUTSIDE_LEVEL = 3
"""Of a pinned calibration outside every window: a person's risk, shown as the riskiest level."""

SCOPE_REACH_DAYS = 1.0
"""No scope (an OB within hours, a night) reaches further."""

_Rank = tuple[float, ...]


@dataclass(frozen=True)
class Associations:
    """What the rules choose, refuse and miss. All tuples sorted; equal for any order of groups."""

    chosen: tuple[Association, ...]
    issues: tuple[Issue, ...]
    pinned_by: Mapping[tuple[GroupId, str, GroupId], str]
    """(consumer group, role, calibration group) of each pinned link to its override id."""
    _asked: Sequence[tuple[RuleRow, Consumer, Chosen]] = field(repr=False, compare=False)
    _index: GroupIndex = field(repr=False, compare=False)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The five nearest refused of each (consumer, rule), and those pinned or banned."""
        return self._refused[0]

    @property
    def refusal_counts(self) -> tuple[RefusalCount, ...]:
        """How many candidates each (consumer, rule) refused."""
        return self._refused[1]

    @cached_property
    def _refused(self) -> tuple[tuple[Refusal, ...], tuple[RefusalCount, ...]]:
        # Made when asked for: a plan never does, and they take longer than the choice itself.
        refusals: list[Refusal] = []
        counts: list[RefusalCount] = []
        for rule, consumer, found in self._asked:
            some, count = refusals_of(rule, consumer, found, self._index)
            refusals += some
            counts.append(count)
        return (
            tuple(sorted(refusals, key=_place_of_refusal)),
            tuple(sorted(counts, key=lambda c: (c.consumer_group_id, c.role, c.selector, c.rule_id))),
        )


def associate(
    groups: Sequence[ExposureGroup],
    observations: Sequence[Observation],
    frames: Mapping[FileId, RawFrame] | Iterable[RawFrame],
    tables: Tables,
    decisions: CalibrationDecisions | None = None,
    refused: frozenset[GroupId] = frozenset(),
) -> Associations:
    """Associations of all groups whose mode is reduced.

    `refused`: calibration groups that failed their checks before; each rule takes the next (DESIGN 4, rounds).
    Issues: the rule's `on_missing` code for an unfilled role, AP-CAL-010 where a fallback stands in, AP-CAL-011 for a
    chosen group of more files than the rule wants.
    """
    by_id = frames if isinstance(frames, Mapping) else {one.file_id: one for one in frames}
    index = GroupIndex(groups, observations, by_id, tables, decisions or NoDecisions(), refused)
    chosen: list[Association] = []
    asked: list[tuple[RuleRow, Consumer, Chosen]] = []
    issues: list[Issue] = []
    crowded: dict[tuple[GroupId, str], Issue] = {}
    pinned_by: dict[tuple[GroupId, str, GroupId], str] = {}
    for group in index.groups:
        for rule in index.rules_for(group):
            for consumer in consumers_of(rule, group, index):
                found = choose(rule, consumer, index)
                asked.append((rule, consumer, found))
                links = [_association(rule, consumer, found, one, tables) for one in found.groups]
                chosen += links
                for one, override_id in found.pins.items():
                    pinned_by[group.group_id, rule.role, one] = override_id
                issues += _issues(rule, consumer, found, index)
                crowded |= _crowded(rule, found, index)
    return Associations(
        chosen=tuple(sorted(chosen, key=lambda a: (a.consumer_group_id, a.role, a.selector, a.calib_group_id))),
        issues=tuple(sorted([*issues, *crowded.values()], key=lambda i: (i.code, i.subject_id, i.message))),
        pinned_by=pinned_by,
        _asked=asked,
        _index=index,
    )


def choose(rule: RuleRow, consumer: Consumer, index: GroupIndex) -> Chosen:
    """The groups of a role: pinned ones, else the best by priority, level and time, else the rule's fallback."""
    pinned = _pinned(rule, consumer, index)
    if pinned.groups:
        return pinned
    best: list[tuple[_Rank, ExposureGroup, CandidateRow, int]] = []
    n_candidates = 0
    for priority, candidate in enumerate(rule.candidate):
        if not serves_consumer(candidate, consumer):
            continue
        times = index.matching(candidate, consumer, rule)
        n_candidates += _within_reach(rule, candidate, times[0], consumer)
        for group in nearest_first(times, consumer.mjd):
            away = abs(group.mjd_mid - consumer.mjd)
            if _too_far(rule, candidate, away):
                break
            own = group.group_id == consumer.group.group_id and not rule.of_frames
            if own or not index.passes(rule, candidate, consumer, group):
                continue
            scope = index.scope_rank(candidate.scope, consumer, group) if candidate.scope else 0
            level = level_of(rule, candidate, scope, away)
            place = 0 if rule.choose == "all" else priority
            first = (level, place) if rule.order == "level" else (place, 0)
            best.append(((*first, scope or 0, level, away, group.mjd_mid), group, candidate, level))
            if rule.choose == "nearest" and not candidate.scope:
                break  # groups come nearest first: no later one of this kind is better
    if not best:
        return _fallback(rule, consumer, index)
    best.sort(key=lambda one: (one[0], one[1].group_id))
    taken = best[:1]
    if rule.choose == "all":
        taken = [one for one in best if one[0][:3] == best[0][0][:3]]
    return Chosen(tuple((group, candidate, level, n_candidates) for _, group, candidate, level in taken))


def _within_reach(rule: RuleRow, candidate: CandidateRow, moments: Sequence[float], consumer: Consumer) -> int:
    """Groups that agree in every match column, within the widest window."""
    reach = SCOPE_REACH_DAYS if candidate.scope else rule.levels_days[-1]
    return bisect_right(moments, consumer.mjd + reach) - bisect_left(moments, consumer.mjd - reach)


def _too_far(rule: RuleRow, candidate: CandidateRow, away: float) -> bool:
    """Beyond any window: groups come nearest first, so the search ends here."""
    if rule.levels_days and away > rule.levels_days[-1]:
        return True
    return bool(candidate.scope) and away > SCOPE_REACH_DAYS


def _pinned(rule: RuleRow, consumer: Consumer, index: GroupIndex) -> Chosen:
    types = tuple(one.frame_type for one in rule.candidate)
    first = index.frames[consumer.file_ids[0]]
    found: list[tuple[ExposureGroup, CandidateRow, int, int]] = []
    pins: dict[GroupId, str] = {}
    for group in index.pinned_groups(types):
        for pin in index.pins_on[group.group_id]:
            if pin.role != rule.role or not index.usable_files(group):
                continue
            if not pin.match.fits_group(consumer.group, index.obs_ids(consumer.group), first):
                continue
            row = next(one for one in rule.candidate if one.frame_type == group.frame_type)
            away = abs(group.mjd_mid - consumer.mjd)
            scope = index.scope_rank(row.scope, consumer, group) if row.scope else None
            level = OUTSIDE_LEVEL if row.scope and scope is None else level_of(rule, row, scope, away)
            found.append((group, row, level, 1))
            pins[group.group_id] = pin.override_id
            break
    return Chosen(tuple(found), pins=pins)


def _fallback(rule: RuleRow, consumer: Consumer, index: GroupIndex) -> Chosen:
    if rule.fallback != "rate_from_other_dits" or (consumer.thermal and not rule.fallback_thermal):
        return Chosen(())
    some = rate_from_other_dits(rule, consumer, index)
    return Chosen(tuple((group, row, FALLBACK_LEVEL, len(some)) for group, row in some), method=rule.fallback)


def _association(
    rule: RuleRow,
    consumer: Consumer,
    found: Chosen,
    link: tuple[ExposureGroup, CandidateRow, int, int],
    tables: Tables,
) -> Association:
    group, _, level, n_candidates = link
    return Association(
        consumer_group_id=consumer.group.group_id,
        selector=consumer.selector,
        file_ids=consumer.file_ids,
        role=rule.role,
        calib_group_id=group.group_id,
        rule_id=rule.id,
        ruleset_version=tables.ruleset_version,
        level=level,
        dt_days=group.mjd_mid - consumer.mjd,
        method=found.method,
        n_candidates=n_candidates,
        pinned=group.group_id in found.pins,
    )


def _issues(rule: RuleRow, consumer: Consumer, found: Chosen, index: GroupIndex) -> list[Issue]:
    missing = rule.on_missing
    if not found.groups:
        severity = (missing.severity_thermal if consumer.thermal else None) or missing.severity
        if severity == "none":
            return []
        message = _lack(rule, consumer, refusals_of(rule, consumer, found, index)[0])
        return [_issue(missing.code, severity, consumer, index, message, missing.remedy)]
    # Who wants a single frame reads its plan; the night's list is of what its masters and observations lack.
    if found.method != "match" and not rule.of_frames:
        dits = ", ".join(f"{_dit(group, index):g} s" for group, *_ in found.groups)
        message = f"{rule.role}{_of(consumer)}: none at this DIT; level and rate from DITs {dits} ({found.method})"
        return [_issue("AP-CAL-010", "warning", consumer, index, message, missing.remedy)]
    return []


def _crowded(rule: RuleRow, found: Chosen, index: GroupIndex) -> dict[tuple[GroupId, str], Issue]:
    """AP-CAL-011, once a calibration group and rule however many consumers it has.

    A note and no cut: a master is one for all its consumers, and which files it is made of cannot hang on one of them.
    """
    if rule.max_files is None or rule.of_frames:
        return {}
    return {
        (group.group_id, rule.id): Issue(
            code="AP-CAL-011",
            severity="note",
            subject_kind="group",
            subject_id=group.group_id,
            message=f"{group.frame_type} of {group.night.isoformat()} has {index.usable_files(group)} files; "
            f"{rule.id} wants at most {rule.max_files}",
            remedy="none needed: all are used; quarantine those that do not belong together",
            group_id=group.group_id,
        )
        for group, *_ in found.groups
        if index.usable_files(group) > rule.max_files
    }


def _lack(rule: RuleRow, consumer: Consumer, refusals: Sequence[Refusal]) -> str:
    wanted = ", ".join(f"{column} {value}" for column, value in consumer.values.items() if value is not None)
    kinds = " or ".join(dict.fromkeys(one.frame_type for one in rule.candidate if serves_consumer(one, consumer)))
    near = "no candidate at all"
    if refusals:
        one = refusals[0]
        fails = f"fails {one.criterion}: {one.found}, wanted {one.wanted}"
        near = f"nearest {one.candidate_group_id[:12]} at {one.dt_days:+.2f} d {fails}"
    return f"no {rule.role}{_of(consumer)} ({kinds}; {wanted}): {near}"


def _place_of_refusal(one: Refusal) -> tuple[str, str, str, str, float, str]:
    return one.consumer_group_id, one.role, one.selector, one.rule_id, abs(one.dt_days), one.candidate_group_id


def _of(consumer: Consumer) -> str:
    night = consumer.group.night.isoformat()
    part = f" {consumer.selector}" if consumer.selector else ""
    return f" for {consumer.group.frame_type}{part} of {night}"


def _issue(code: str, severity: str, consumer: Consumer, index: GroupIndex, message: str, remedy: str) -> Issue:
    several = index.obs_ids(consumer.group)
    return Issue(
        code=code,
        severity=severity,
        subject_kind="group",
        subject_id=consumer.group.group_id,
        message=message,
        remedy=remedy,
        obs_id=several[0] if several else None,
        group_id=consumer.group.group_id,
    )


def _dit(group: ExposureGroup, index: GroupIndex) -> float:
    return index.frames[group.file_ids[0]].dit_s or 0.0
