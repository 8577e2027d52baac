"""The sample nights under the real rules, with toy recipes for the real frame types."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import toy

from archive_proc.association.associate import associate
from archive_proc.association.classify import classify
from archive_proc.association.group import group
from archive_proc.association.observe import observations
from archive_proc.ingest.ingest import ingest
from archive_proc.instruments.tables import load_tables
from archive_proc.model.frames import RawFrame
from archive_proc.model.processes import Plan, Process
from archive_proc.planning.plan import Selection, make_plan
from archive_proc.planning.rulebook import make_rulebook
from archive_proc.planning.text import plan_from_json, plan_to_json
from archive_proc.planning.universe import Universe
from archive_proc.recipes import cookbook
from archive_proc.recipes.recipe import InputRole, RawMain

DARKS = InputRole("dark", ("dark", "instrument_background"), required=False)
BACKGROUND = InputRole("background", ("sky_basis", "instrument_background", "dark"), required=False)
CENTERED = replace(toy.CENTERED, outputs=("irdis_centered_cube",))
COOKBOOK = (
    replace(toy.DARK, main=RawMain(("IRD_DARK_RAW",))),
    toy.recipe("toy_instrument_background", RawMain(("IRD_INS_BG_RAW",)), ["instrument_background"]),
    replace(toy.FLAT, main=RawMain(("IRD_FLAT_FIELD_RAW",)), inputs=(DARKS,)),
    replace(toy.SKY, main=RawMain(("IRD_SKY_BG_RAW",)), inputs=(DARKS, InputRole("flat", ("detector_flat",)))),
    replace(toy.TRACKS, inputs=(*toy.FLAT_ROLES, BACKGROUND)),
    replace(toy.SCIENCE, inputs=(*toy.FLAT_ROLES, BACKGROUND, InputRole("center", ("center",), source="subject"))),
    CENTERED,
)


@pytest.fixture(scope="module")
def frames(shared: Path) -> tuple[RawFrame, ...]:
    return ingest([shared / "samples" / "irdis"], roots={"samples": shared / "samples"}).frames


def understood(frames: tuple[RawFrame, ...]) -> Universe:
    tables = load_tables()
    classified, unclear = classify(frames, tables)
    groups = group(classified, tables)
    found, odd = observations(classified, groups, tables)
    links = associate(groups, found, frames, tables)
    return Universe.of(
        classified=classified,
        groups=groups,
        observations=found,
        associations=links.chosen,
        issues=[*unclear, *odd, *links.issues],
    )


def plan_of(universe: Universe) -> Plan:
    rulebook = make_rulebook(COOKBOOK, load_tables())
    return make_plan(universe, Selection(obs_ids=frozenset(universe.observations)), rulebook)


def test_the_cookbook_takes_both_nights_to_their_final_cubes(frames: tuple[RawFrame, ...]) -> None:
    universe = understood(frames)
    rulebook = make_rulebook(cookbook.COOKBOOK, load_tables())
    plan = make_plan(universe, Selection(obs_ids=frozenset(universe.observations)), rulebook)
    assert not plan.not_planned
    made = sorted(made for one in plan.processes for made in one.process.product_types)
    assert made.count("irdis_centered_cube") == made.count("irdis_science_cube") == made.count("center") == 2
    assert all(one.prediction.planes > 0 for one in plan.processes)


def only(plan: Plan, recipe: str, night: str) -> Process:
    (found,) = (one.process for one in plan.processes if (one.process.recipe, one.process.night) == (recipe, night))
    return found


def served(plan: Plan, process: Process, role: str) -> dict[str, tuple[int, ...]]:
    """Type of the product of a role to the positions it serves."""
    return {one.input_id.partition(".")[2]: one.serves for one in process.inputs if one.role == role}


def test_both_nights_are_planned_to_the_centred_cube(frames: tuple[RawFrame, ...]) -> None:
    plan = plan_of(understood(frames))
    assert not plan.not_planned
    assert sum(one.process.recipe == "toy_centered" for one in plan.processes) == 2
    assert plan_from_json(plan_to_json(plan)) == plan


def test_flux_frames_have_the_background_of_their_own_dit(frames: tuple[RawFrame, ...]) -> None:
    plan = plan_of(understood(frames))
    tracks = only(plan, "toy_tracks", "2017-09-27")
    assert [one.frame_role for one in tracks.main] == ["FLUX", "CENTER", "OBJECT", "OBJECT", "OBJECT", "CENTER", "FLUX"]
    assert served(plan, tracks, "background") == {"instrument_background": (0, 6), "sky_basis": (1, 2, 3, 4, 5)}
    skies = [one for one in only(plan, "toy_tracks", "2015-09-24").inputs if one.role == "background"]
    assert sorted(one.serves for one in skies) == [(0, 6), (1, 2, 3, 4, 5)]


def test_each_flat_level_has_its_dark(frames: tuple[RawFrame, ...]) -> None:
    flat = only(plan_of(understood(frames)), "toy_flat", "2017-09-27")
    assert sorted(one.serves for one in flat.inputs if one.role == "dark") == [(0,), (1,)]


def test_shuffled_headers_give_equal_bytes(frames: tuple[RawFrame, ...]) -> None:
    assert plan_to_json(plan_of(understood(frames[::-1]))) == plan_to_json(plan_of(understood(frames)))


def test_one_night_alone_has_the_ids_it_has_beside_another(frames: tuple[RawFrame, ...]) -> None:
    alone = plan_of(understood(tuple(one for one in frames if one.night.year == 2015)))
    together = {one.process.process_id for one in plan_of(understood(frames)).processes}
    assert {one.process.process_id for one in alone.processes} <= together


def test_no_sky_in_the_thermal_band_is_the_root_cause(frames: tuple[RawFrame, ...]) -> None:
    kept = [one for one in frames if one.dpr_type not in ("SKY", "DARK,BACKGROUND")]
    plan = plan_of(understood(tuple(kept)))
    assert [(one.code, one.subject.kind) for one in plan.not_planned] == [("AP-CAL-001", "observation")]
    assert sum(one.process.recipe == "toy_centered" for one in plan.processes) == 1


def test_no_flat_stops_its_night_only(frames: tuple[RawFrame, ...]) -> None:
    kept = [one for one in frames if one.dpr_type != "FLAT,LAMP" or one.night.year == 2017]
    plan = plan_of(understood(tuple(kept)))
    assert [one.code for one in plan.not_planned] == ["AP-CAL-003"]
    assert {one.process.night for one in plan.processes} == {"2017-09-27"}


def test_no_flux_is_no_obstacle(frames: tuple[RawFrame, ...]) -> None:
    plan = plan_of(understood(tuple(one for one in frames if one.dpr_type != "OBJECT,FLUX")))
    assert not plan.not_planned
    assert only(plan, "toy_tracks", "2017-09-27").fallbacks == ("no FLUX frames",)
