"""Why not the others: the candidates a rule refused, with the first criterion each failed."""

from __future__ import annotations

from archive_proc.association.candidates import (
    Chosen,
    Consumer,
    GroupIndex,
    nearest_first,
)
from archive_proc.instruments.rows import CandidateRow, RuleRow
from archive_proc.model.observations import ExposureGroup, Refusal, RefusalCount

NEAREST = 5


def refusals_of(
    rule: RuleRow, consumer: Consumer, found: Chosen, index: GroupIndex
) -> tuple[list[Refusal], RefusalCount]:
    """The nearest refused candidates of one consumer, those banned, and the count of all."""
    types = tuple(one.frame_type for one in rule.candidate)
    times = index.in_time(types)
    taken = {group.group_id for group, *_ in found.groups}
    skipped = taken | {consumer.group.group_id}
    refused: list[Refusal] = []
    for group in nearest_first(times, consumer.mjd):
        if group.group_id in skipped:
            continue
        refused.append(_refusal(rule, consumer, found, group, index))
        if len(refused) == NEAREST:
            break
    listed = {one.candidate_group_id for one in refused}
    refused += [
        _refusal(rule, consumer, found, group, index)
        for group in index.banned_groups(types)
        if group.group_id not in listed | skipped and index.banned(rule, consumer, group) is not None
    ]
    count = RefusalCount(
        consumer_group_id=consumer.group.group_id,
        selector=consumer.selector,
        role=rule.role,
        rule_id=rule.id,
        n_refused=len(times[1]) - len(skipped & index.ids_of(types)),
    )
    return refused, count


def _refusal(rule: RuleRow, consumer: Consumer, found: Chosen, group: ExposureGroup, index: GroupIndex) -> Refusal:
    criterion, wanted, seen = reason(rule, consumer, found, group, index)
    return Refusal(
        consumer_group_id=consumer.group.group_id,
        selector=consumer.selector,
        role=rule.role,
        rule_id=rule.id,
        candidate_group_id=group.group_id,
        criterion=criterion,
        wanted=wanted,
        found=seen,
        dt_days=group.mjd_mid - consumer.mjd,
    )


def reason(
    rule: RuleRow, consumer: Consumer, found: Chosen, group: ExposureGroup, index: GroupIndex
) -> tuple[str, str, str]:
    """(criterion, wanted, found) of the first thing that spoke against a group that was not chosen."""
    rows = rows_for(rule, consumer, group)
    if not rows:
        return "only_for", rule.role, consumer.role
    for row in rows:
        failed = next((one for one in index.judge(rule, row, consumer, group) if not one.passed), None)
        if failed is None:
            break
    if failed is not None:
        return failed.name, failed.wanted, failed.found
    if found.pins:
        return "pinned", next(iter(found.pins)), group.group_id
    if not found.groups:
        return "not_taken", rule.id, group.group_id
    best, best_row, _, _ = found.groups[0]
    if rule.candidate.index(best_row) < rule.candidate.index(rows[0]) and rule.order == "priority":
        return "priority", best.frame_type, group.frame_type
    own = index.scope_rank(rows[0].scope, consumer, group) if rows[0].scope else 0
    of_best = index.scope_rank(best_row.scope, consumer, best) if best_row.scope else 0
    if (own or 0) > (of_best or 0):
        return "scope", best_row.scope[of_best or 0], rows[0].scope[own or 0]
    return "nearer_exists", f"{best.mjd_mid - consumer.mjd:+.4f} d", f"{group.mjd_mid - consumer.mjd:+.4f} d"


def rows_for(rule: RuleRow, consumer: Consumer, group: ExposureGroup) -> list[CandidateRow]:
    """The candidate rows that a group could answer."""
    return [
        one
        for one in rule.candidate
        if one.frame_type == group.frame_type and (not one.consumers or consumer.role in one.consumers)
    ]
