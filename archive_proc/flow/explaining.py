"""An explanation as lines: each role, what had to match, the chosen calibration, and what spoke against each other."""

from __future__ import annotations

from archive_proc.association.explain import Explanation, Judged, RoleExplanation
from archive_proc.model.ids import shown

_NEAREST = 6


def explanation_lines(found: Explanation, *, every: bool) -> list[str]:
    """The matrix as people read it; `every`: all candidates, else the chosen and the nearest ones of each role."""
    lines: list[str] = []
    for role in found.roles:
        wanted = ", ".join(f"{column} = {value}" for column, value in role.wanted)
        part = f" [{role.selector}]" if role.selector else ""
        lines.append(f"{role.role} for {role.consumer}{part} ({shown('group', role.consumer_group_id)})")
        lines.append(f"  rule {role.rule_id}: {wanted or 'nothing to match'}")
        lines += _candidates(role, every=every)
        lines.append("")
    return lines[:-1] if lines else ["no calibration is needed"]


def _candidates(role: RoleExplanation, *, every: bool) -> list[str]:
    if not role.candidates:
        return ["  no candidate in this archive"]
    shown_ones = [one for one in role.candidates if one.chosen]
    others = [one for one in role.candidates if not one.chosen]
    listed = [*shown_ones, *(others if every else others[: max(0, _NEAREST - len(shown_ones))])]
    lines = [line for one in listed for line in _candidate(one)]
    left = len(role.candidates) - len(listed)
    if left:
        lines.append(f"    ... and {left} more candidates (--all)")
    return lines


def _candidate(one: Judged) -> list[str]:
    mark = "*" if one.chosen else " "
    level = "-" if one.level is None else str(one.level)
    files = f"{one.n_files} file{'' if one.n_files == 1 else 's'}"
    head = (
        f"  {mark} {shown('group', one.group_id)}  {one.frame_type:<22} {files:<8} "
        f"{one.dt_days:+8.3f} d  level {level}  {one.verdict}"
    )
    tests = "  ".join(
        f"{'ok' if test.passed else 'NO'} {test.name} {test.found}"
        + ("" if test.passed else f" (wanted {test.wanted})")
        for test in one.criteria
    )
    return [head, f"      {tests}"] if tests else [head]
