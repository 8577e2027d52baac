"""Pairs of observations: IRDIS and IFS looking at one star at one time, in one template."""

from __future__ import annotations

from collections.abc import Sequence

from archive_proc.model.frames import Arm
from archive_proc.model.ids import ObsId
from archive_proc.model.observations import Observation

_NEAR_DAYS = 0.02
"""Starts of the two arms' sequences differ by minutes: the arms are asynchronous."""


def paired(found: Sequence[Observation]) -> dict[ObsId, ObsId]:
    """The partner of each observation that has one; each in one pair, the longest common time first."""
    by_ob: dict[int, tuple[list[Observation], list[Observation]]] = {}
    for one in found:
        if one.ob_id is not None and one.arm in (Arm.IRDIS, Arm.IFS):
            by_ob.setdefault(one.ob_id, ([], []))[one.arm is Arm.IFS].append(one)
    pairs: dict[ObsId, ObsId] = {}
    for irdis, ifs in by_ob.values():
        possible = [
            (-_overlap(a, b), abs(a.mjd_start - b.mjd_start), a.obs_id, b.obs_id)
            for a in irdis
            for b in ifs
            if _together(a, b)
        ]
        for _, _, first, second in sorted(possible):
            if first not in pairs and second not in pairs:
                pairs[first], pairs[second] = second, first
    return pairs


def _together(a: Observation, b: Observation) -> bool:
    if a.ob_start is not None and b.ob_start is not None and a.ob_start != b.ob_start:
        return False
    if a.target_id is not None and b.target_id is not None and a.target_id != b.target_id:
        return False
    return _overlap(a, b) > 0 or abs(a.mjd_start - b.mjd_start) < _NEAR_DAYS


def _overlap(a: Observation, b: Observation) -> float:
    return min(a.mjd_end, b.mjd_end) - max(a.mjd_start, b.mjd_start)
