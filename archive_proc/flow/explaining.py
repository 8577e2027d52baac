"""An explanation as lines: each role, what had to match, the chosen calibration, and what spoke against each other."""

from __future__ import annotations

import textwrap

from archive_proc.association.candidates import Criterion
from archive_proc.association.explain import Explanation, Judged, RoleExplanation
from archive_proc.model.ids import shown

_NEAREST = 6
_WIDTH = 118
_LAST = ("only_if", "quarantined", "whole", "banned", "refused_by_qc")
"""Criteria that nearly every candidate meets: said after those that differ."""


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
    files = f"{one.n_files} file{'' if one.n_files == 1 else 's'}"
    failed = [_failed(test) for test in one.criteria if not test.passed]
    level = "" if one.level is None else f"level {one.level}  "
    # With a criterion against it the next line says which; else it would have served, and something was better.
    verdict = "refused" if failed else one.verdict
    head = f"  {mark} {shown('group', one.group_id)}  {one.frame_type:<26}  {files:<8} {one.dt_days:+9.3f} d  "
    ordered = sorted(one.criteria, key=lambda test: test.name in _LAST)
    met = [_met(test) for test in ordered if test.passed]
    return [head + level + verdict, *_listed("fails", failed), *_listed("meets", met)]


def _listed(word: str, tests: list[str]) -> list[str]:
    if not tests:
        return []
    # Blanks within one criterion hold together when the line is broken.
    text = ", ".join(one.replace(" ", "\u00a0") for one in tests)
    start = f"      {word}  "
    lines = textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
    return [line.replace("\u00a0", " ") for line in lines]


def _failed(test: Criterion) -> str:
    match test.name:
        case "quarantined":
            return f"quarantined ({test.found} files left)"
        case "whole":
            return f"truncated ({test.found} files whole)"
        case "banned":
            return f"banned by {test.found}"
        case "refused_by_qc":
            return "refused by its own checks"
        case "only_if":
            return f"serves {_spoken(test.wanted)} filters only"
        case _:
            return f"{test.name} {test.found} (wanted {test.wanted})"


def _met(test: Criterion) -> str:
    match test.name:
        case "quarantined":
            return "not quarantined"
        case "whole":
            return f"whole {test.found}"
        case "banned":
            return "not banned"
        case "refused_by_qc":
            return "not refused by its checks"
        case "only_if":
            return f"serves {_spoken(test.found)} filters"
        case _:
            limit = test.wanted if test.wanted.startswith(("<", ">")) else ""
            return f"{test.name} {test.found}" + (f" ({limit})" if limit else "")


def _spoken(word: str) -> str:
    return {"not_thermal": "non-thermal"}.get(word, word)
