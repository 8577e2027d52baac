"""The printout of `plan`: counts that add up, causes, what it needs against what there is."""

from __future__ import annotations

from pathlib import Path

import toy

from archive_proc.model.processes import Plan
from archive_proc.planning.known import KnownProducts
from archive_proc.planning.plan import Selection, Standing, make_plan
from archive_proc.planning.resources import CostHistory, demand
from archive_proc.planning.show import Room, misfits, plan_lines

SNAPSHOT = Path(__file__).resolve().parents[1] / "snapshots" / "plan.txt"


def a_plan(standing: Standing | None = None) -> Plan:
    night = toy.plain_night(n_observations=2)
    objects = next(one for one in night.groups if one.frame_type == "OBJECT")
    night.issue(objects, "AP-CAL-001", "no background of 16 s")
    universe = toy.universe(night, toy.plain_night(1))
    return make_plan(universe, Selection(obs_ids=frozenset(universe.observations)), toy.RULEBOOK, standing)


def test_a_small_plan_prints_as_recorded() -> None:
    flats = frozenset(one.process.process_id for one in a_plan().processes if one.process.recipe == "toy_flat")
    history = {"toy_tracks": CostHistory(41_280, (0.4, 0.5, 0.8), 2.5, 1e6)}
    plan = a_plan(Standing(known=KnownProducts(sealed=flats), history=history))
    room = Room(workers=2, memory_gb=2.0, free_bytes=10**9, quota_bytes=10**13, free_inodes=2_000_000)
    assert "\n".join(plan_lines(plan, room)) + "\n" == SNAPSHOT.read_text()


def test_reasons_add_up_to_what_is_to_run() -> None:
    plan = a_plan()
    lines = plan_lines(plan)
    start = next(n for n, one in enumerate(lines) if one.startswith("reason")) + 1
    stop = next(n for n, one in enumerate(lines) if one.startswith("recipe"))
    assert sum(int(one[14:23]) for one in lines[start:stop]) == demand(plan).to_run


def test_nothing_to_do_is_said_in_words() -> None:
    sealed = frozenset(one.process.process_id for one in a_plan().processes)
    lines = plan_lines(a_plan(Standing(known=KnownProducts(sealed=sealed))))
    assert "nothing to do: every product asked for is sealed" in lines
    assert not any(one.startswith("time") for one in lines)


def test_what_does_not_fit_is_named() -> None:
    asked = demand(a_plan())
    assert not misfits(asked, Room())
    tight = Room(memory_gb=0.5, free_bytes=asked.bytes_out, quota_bytes=10**15, free_inodes=3)
    assert len(misfits(asked, tight)) == 3
