"""Overrides as people write them change exactly the keys they touch."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import toy

from archive_proc.decisions.effects import Decisions, decide
from archive_proc.decisions.overrides import parse_overrides
from archive_proc.model.ids import FileId
from archive_proc.model.processes import Plan, PlannedProcess, Reason
from archive_proc.planning.deciding import effects_of
from archive_proc.planning.known import KnownProcess, KnownProducts, Slot
from archive_proc.planning.plan import Selection, Standing, make_plan
from archive_proc.planning.universe import Universe

UNIVERSE = toy.universe(toy.plain_night(0), toy.plain_night(1))
FIRST = min(UNIVERSE.observations.values(), key=lambda one: one.mjd_start)


def decisions(*entries: str) -> Decisions:
    words = "reason: tested\n  author: pd\n  date: 2026-11-02\n  expires: never"
    text = "".join(f"- {entry.strip()}\n  {words}\n" for entry in entries)
    return decide(parse_overrides(text, "a.yaml"), dt.date(2026, 11, 3))


def plan_of(universe: Universe, held: Decisions, standing: Standing | None = None) -> Plan:
    effects = effects_of(held, universe, UNIVERSE.frames, full_groups=UNIVERSE.groups.values())
    selection = Selection(obs_ids=frozenset(universe.observations))
    return make_plan(universe, selection, replace(toy.RULEBOOK, effects=effects), standing)


def moved(held: Decisions, universe: Universe = UNIVERSE) -> dict[str, PlannedProcess]:
    """Processes whose id the decisions change, by recipe and night."""
    plain = plan_of(UNIVERSE, Decisions())
    known = KnownProducts(
        frozenset(one.process.process_id for one in plain.processes),
        {
            Slot(one.process.subject.kind, one.process.subject.subject_id, made, "default"): KnownProcess.of(
                one.process
            )
            for one in plain.processes
            for made in one.process.product_types
        },
    )
    found = [one for one in plan_of(universe, held, Standing(known=known)).processes if one.to_run]
    assert all(one.process.night == FIRST.night.isoformat() for one in found), "another night is touched"
    return {one.process.recipe: one for one in found}


def reasons(found: dict[str, PlannedProcess]) -> dict[str, Reason]:
    return {recipe: one.reason for recipe, one in found.items()}


def test_planes_of_an_observation_count_along_its_science_frames() -> None:
    found = moved(decisions(f'match: {{obs: "obs:{FIRST.obs_id[:12]}"}}\n  kind: exclude-planes\n  planes: [1, 6]'))
    assert reasons(found) == {
        "toy_tracks": Reason.OVERRIDE,
        "toy_science": Reason.OVERRIDE,
        "toy_centered": Reason.INPUT,
    }
    # Four planes a file: plane 6 of the sequence is plane 2 of the second OBJECT file, the fourth file in time.
    assert found["toy_science"].process.excluded_planes == ((0, 1), (1, 2))
    assert found["toy_tracks"].process.excluded_planes == ((2, 1), (3, 2))


def test_a_parameter_of_one_night_moves_that_night_and_what_follows() -> None:
    night = FIRST.night.isoformat()
    entry = f"match: {{night: {night}}}\n  kind: param\n  recipe: toy_tracks\n  parameter: radius\n  value: 20"
    found = moved(decisions(entry))
    assert reasons(found) == {
        "toy_tracks": Reason.OVERRIDE,
        "toy_science": Reason.INPUT,
        "toy_centered": Reason.INPUT,
    }
    assert found["toy_tracks"].process.parameters["radius"] == 20.0


def test_a_parameter_of_one_file_moves_the_processes_of_that_file_only() -> None:
    """Two observations of one night: the file is of one of them."""
    night = toy.universe(toy.plain_night(0, n_observations=2))
    one, other = sorted(night.observations.values(), key=lambda each: each.mjd_start)
    file_id = one.file_ids("OBJECT")[1]
    entry = f'match: {{file: "{file_id}"}}\n  kind: param\n  recipe: toy_tracks\n  parameter: radius\n  value: 20'
    rulebook = replace(toy.RULEBOOK, effects=effects_of(decisions(entry), night, night.frames))
    plan = make_plan(night, Selection(obs_ids=frozenset(night.observations)), rulebook)
    radii = {
        each.process.subject.subject_id: each.process.parameters["radius"]
        for each in plan.processes
        if each.process.recipe == "toy_tracks"
    }
    assert radii == {one.obs_id: 20.0, other.obs_id: 12.0}


def test_planes_of_the_numbers_people_gave_stay_when_a_file_before_them_is_quarantined() -> None:
    taken = FIRST.science_files[0]
    fewer = replace(
        FIRST,
        files=tuple(one for one in FIRST.files if one.file_id != taken),
        quarantined_science=(taken,),
    )
    universe = replace(UNIVERSE, observations={**UNIVERSE.observations, FIRST.obs_id: fewer})
    found = moved(
        decisions(f'match: {{obs: "obs:{FIRST.obs_id[:12]}"}}\n  kind: exclude-planes\n  planes: [1, 6]'), universe
    )
    # Plane 6 is plane 2 of the second OBJECT file, now the first of the science cube; plane 1 is gone with its file.
    assert found["toy_science"].process.excluded_planes == ((0, 2),)


def test_a_parameter_of_a_recipe_on_products_finds_its_night() -> None:
    night = FIRST.night.isoformat()
    held = decisions(
        f"match: {{night: {night}}}\n  kind: param\n  recipe: toy_centered\n  parameter: radius\n  value: 20"
    )
    rulebook = toy.with_recipe(toy.RULEBOOK, toy.CENTERED, parameters=toy.TrackParameters)
    rulebook = replace(rulebook, effects=effects_of(held, UNIVERSE, UNIVERSE.frames))
    plan = make_plan(UNIVERSE, Selection(obs_ids=frozenset(UNIVERSE.observations)), rulebook)
    radii = {
        p.process.night: p.process.parameters["radius"] for p in plan.processes if p.process.recipe == "toy_centered"
    }
    assert radii == {night: 20.0, "2015-09-25": 12.0}


def test_a_quarantined_dark_is_named_where_it_was_and_felt_below() -> None:
    dark = next(one for one in UNIVERSE.groups.values() if one.frame_type == "DARK" and one.night == FIRST.night)
    taken = FileId(dark.file_ids[0])
    without = {
        one: replace(g, file_ids=tuple(f for f in g.file_ids if f != taken)) for one, g in UNIVERSE.groups.items()
    }
    found = moved(decisions(f'match: {{file: "{taken}"}}\n  kind: quarantine'), replace(UNIVERSE, groups=without))
    assert found["toy_dark"].reason is Reason.OVERRIDE
    assert all(one.reason is Reason.INPUT for recipe, one in found.items() if recipe != "toy_dark")


def test_a_corrected_header_value_is_in_the_keys_of_its_frame_only() -> None:
    file_id = FIRST.file_ids("FLUX")[0]
    found = moved(decisions(f'match: {{file: "{file_id}"}}\n  kind: header\n  keyword: INS4 FILT2 NAME\n  new: ND_1.0'))
    assert reasons(found) == {
        "toy_tracks": Reason.OVERRIDE,
        "toy_science": Reason.INPUT,
        "toy_centered": Reason.INPUT,
    }
    content = UNIVERSE.frames[file_id].content_id
    assert found["toy_tracks"].process.corrections == ((content, "INS4 FILT2 NAME", "ND_1.0"),)


def test_author_reason_and_place_in_the_file_change_nothing() -> None:
    entries = [
        f'match: {{obs: "obs:{FIRST.obs_id}"}}\n  kind: exclude-planes\n  planes: [1]',
        "match: {arm: IRDIS}\n  kind: param\n  recipe: toy_tracks\n  parameter: order\n  value: 3",
    ]
    assert plan_of(UNIVERSE, decisions(*entries)) == plan_of(UNIVERSE, decisions(*entries[::-1]))


def test_no_decisions_have_no_effect() -> None:
    assert not moved(
        decisions("match: {arm: IFS}\n  kind: param\n  recipe: toy_tracks\n  parameter: order\n  value: 3")
    )
    assert not moved(Decisions())
