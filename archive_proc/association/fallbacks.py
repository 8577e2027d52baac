"""Named stand-ins for a calibration that is missing."""

from __future__ import annotations

import math

from archive_proc.association.candidates import Consumer, GroupIndex, level_of
from archive_proc.association.values import group_value
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
        others = [column for column in candidate.match if column != "dit_ms"]
        for group in index.by_type.get(candidate.frame_type, ()):
            dit = group_value(group, "dit_ms", index.frames, index.tables)
            away = abs(group.mjd_mid - consumer.mjd)
            if not isinstance(dit, int) or dit <= 0 or dit == wanted:
                continue
            if any(group_value(group, c, index.frames, index.tables) != consumer.values[c] for c in others):
                continue
            if not index.passes(rule, candidate, consumer, group):
                continue
            found = (away, group.mjd_mid, group.group_id, group, candidate)
            if dit not in nearest or found[:3] < nearest[dit][:3]:
                nearest[dit] = found

    def order(dit: int) -> tuple[float, ...]:
        away, _, _, _, candidate = nearest[dit]
        return level_of(rule, candidate, None, away), abs(math.log(dit / wanted)), dit

    taken = sorted(nearest, key=order)[:MAX_DITS]
    if len(taken) < MIN_DITS:
        return []
    return [(nearest[dit][3], nearest[dit][4]) for dit in sorted(taken)]
