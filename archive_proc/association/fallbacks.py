"""Named stand-ins for a calibration that is missing."""

from __future__ import annotations

import math

from archive_proc.association.candidates import Consumer, GroupIndex, Times, level_of, nearest_first
from archive_proc.instruments.rows import CandidateRow, RuleRow
from archive_proc.model.observations import ExposureGroup

MAX_DITS = 4
"""More DITs than this add nothing to a straight line."""
MIN_DITS = 2


def rate_from_other_dits(
    rule: RuleRow, consumer: Consumer, index: GroupIndex
) -> list[tuple[ExposureGroup, CandidateRow]]:
    """Groups of at least two other DITs from which level and rate per pixel follow; empty where there are too few.

    Candidates are the rule's own rows that have a DIT and no scope (darks; internal backgrounds of the same filter
    where the consumer is not thermal). One group a DIT, the nearest in time; DITs by level, then by how close they are
    to the consumer's in ratio.
    """
    wanted = consumer.values.get("dit_ms")
    if not isinstance(wanted, int) or wanted <= 0:
        return []
    nearest: dict[int, tuple[float, float, str, ExposureGroup, CandidateRow]] = {}
    for candidate in rule.candidate:
        if "dit_ms" not in candidate.match or candidate.scope:
            continue
        if candidate.only_if == "thermal" or (candidate.consumers and consumer.role not in candidate.consumers):
            continue
        # With `only_if = "not_thermal"` on a plain dark the rule says what it is for, not what it holds.
        holds_light = len(candidate.match) > 1
        if consumer.thermal and holds_light:
            continue
        for dit, times in index.other_dits(candidate, consumer, rule).items():
            group = _first_that_passes(rule, candidate, consumer, index, times) if dit != wanted else None
            if group is None:
                continue
            found = (abs(group.mjd_mid - consumer.mjd), group.mjd_mid, group.group_id, group, candidate)
            if dit not in nearest or found[:3] < nearest[dit][:3]:
                nearest[dit] = found

    def order(dit: int) -> tuple[float, ...]:
        away, _, _, _, candidate = nearest[dit]
        return level_of(rule, candidate, None, away), abs(math.log(dit / wanted)), dit

    taken = sorted(nearest, key=order)[:MAX_DITS]
    if len(taken) < MIN_DITS:
        return []
    return [(nearest[dit][3], nearest[dit][4]) for dit in sorted(taken)]


def _first_that_passes(
    rule: RuleRow, candidate: CandidateRow, consumer: Consumer, index: GroupIndex, times: Times
) -> ExposureGroup | None:
    """The nearest group that every criterion but the DIT lets through; the search ends with the widest window."""
    for group in nearest_first(times, consumer.mjd):
        if rule.levels_days and abs(group.mjd_mid - consumer.mjd) > rule.levels_days[-1]:
            return None
        if index.passes(rule, candidate, consumer, group):
            return group
    return None
