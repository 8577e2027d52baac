"""A plan's text reads back to the same plan; edited text is refused."""

from __future__ import annotations

import pytest
import toy

from archive_proc.errors import MisuseError
from archive_proc.model.processes import Plan
from archive_proc.planning.plan import Selection, Standing, make_plan
from archive_proc.planning.text import plan_from_json, plan_to_json


def a_plan() -> Plan:
    night = toy.plain_night(n_observations=2)
    objects = next(one for one in night.groups if one.frame_type == "OBJECT")
    night.issue(objects, "AP-CAL-001", "no background of 16 s, \u201ereally\u201c")
    universe = toy.universe(night)
    standing = Standing(as_of="2026-11-02T00:00:00")
    return make_plan(universe, Selection(obs_ids=frozenset(universe.observations), words="all"), toy.RULEBOOK, standing)


def test_a_plan_reads_back_equal() -> None:
    plan = a_plan()
    text = plan_to_json(plan)
    assert plan_from_json(text) == plan
    assert plan_to_json(plan_from_json(text)) == text


def test_there_is_a_line_a_process_and_the_text_is_ascii() -> None:
    plan = a_plan()
    lines = plan_to_json(plan).decode("ascii").splitlines()
    assert len(lines) == 3 + len(plan.processes) + len(plan.not_planned)


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'{"head": {"format": 99}}', b"\x00\xff"])
def test_what_is_no_plan_is_refused(damage: bytes) -> None:
    with pytest.raises(MisuseError, match=r"AP-PLN-020 p\.json"):
        plan_from_json(damage, "p.json")


def test_an_edited_process_is_refused() -> None:
    with pytest.raises(MisuseError, match="AP-PLN-021"):
        plan_from_json(plan_to_json(a_plan()).replace(b'"radius":12.0', b'"radius":13.0'))


def test_a_process_taken_out_is_refused() -> None:
    lines = plan_to_json(a_plan()).splitlines(keepends=True)
    with pytest.raises(MisuseError, match="AP-PLN-021"):
        plan_from_json(b"".join(one for n, one in enumerate(lines) if n != 2))
