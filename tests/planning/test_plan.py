"""Plans of toy nights: complete, equal for equal input, and moved only by what concerns them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import toy

from archive_proc.errors import MisuseError
from archive_proc.model.frames import ABSENT, Arm
from archive_proc.model.ids import FileId, GroupId, ObsId, ProcessId
from archive_proc.model.processes import Plan, Process, Reason
from archive_proc.planning.known import KnownProcess, KnownProducts, Slot
from archive_proc.planning.plan import NOT_NEEDED, Selection, Standing, make_plan, make_settled_plan
from archive_proc.planning.preset import Preset
from archive_proc.planning.rulebook import Effect, Rulebook, Work
from archive_proc.planning.text import plan_to_json
from archive_proc.planning.universe import Universe
from archive_proc.recipes.recipe import InputRole, ProductMain, RawMain


def plan_of(universe: Universe, rulebook: Rulebook = toy.RULEBOOK, standing: Standing | None = None) -> Plan:
    return make_plan(universe, Selection(obs_ids=frozenset(universe.observations)), rulebook, standing)


def ids(plan: Plan) -> set[ProcessId]:
    return {one.process.process_id for one in plan.processes}


def of(plan: Plan, recipe: str) -> Process:
    (found,) = (one.process for one in plan.processes if one.process.recipe == recipe)
    return found


def known(plan: Plan, *, without: str = "") -> KnownProducts:
    """What an archive knows after this plan was run, `without` the products of one recipe."""
    rows = [one.process for one in plan.processes]
    return KnownProducts(
        frozenset(one.process_id for one in rows if one.recipe != without),
        {
            Slot(one.subject.kind, one.subject.subject_id, made, one.preset): KnownProcess.of(one)
            for one in rows
            for made in one.product_types
        },
    )


def reasons(plan: Plan) -> dict[str, Reason]:
    return {one.process.recipe: one.reason for one in plan.processes}


def test_a_wanted_cube_brings_its_whole_cascade() -> None:
    plan = plan_of(toy.universe(toy.plain_night()))
    assert sorted(one.process.recipe for one in plan.processes) == [
        "toy_centered",
        "toy_dark",
        "toy_dark",
        "toy_flat",
        "toy_science",
        "toy_sky",
        "toy_tracks",
    ]
    here = ids(plan)
    assert all(set(one.process.sources) <= here for one in plan.processes)
    assert not plan.not_planned


def test_main_inputs_stand_in_order_of_time_and_know_their_roles() -> None:
    tracks = of(plan_of(toy.universe(toy.plain_night())), "toy_tracks")
    assert [one.frame_role for one in tracks.main] == ["FLUX", "CENTER", "OBJECT", "OBJECT", "OBJECT"]
    assert [one.input_id for one in tracks.main] == sorted(one.input_id for one in tracks.main)


def test_each_calibration_serves_the_frames_it_was_chosen_for() -> None:
    tracks = of(plan_of(toy.universe(toy.plain_night())), "toy_tracks")
    serves = {one.input_id.partition(".")[2]: one.serves for one in tracks.inputs if one.role != "main"}
    assert serves == {"dark": (0,), "sky_basis": (1, 2, 3, 4), "detector_flat": (), "bad_pixels": ()}


def test_a_selector_serves_its_part_of_a_group() -> None:
    night = toy.Night()
    lamp = night.group("FLAT", n=4)
    one, three = night.group("DARK"), night.group("DARK")
    for selector, files, dark in (("dit_ms=1000", lamp.file_ids[:2], one), ("dit_ms=3000", lamp.file_ids[2:], three)):
        night.associate(lamp, "dark", dark, selector=selector, file_ids=files)
    plan = make_plan(toy.universe(night), Selection(group_ids=frozenset({lamp.group_id})), toy.RULEBOOK)
    darks = [each for each in of(plan, "toy_flat").inputs if each.role == "dark"]
    assert sorted(each.serves for each in darks) == [(0, 1), (2, 3)]


def test_continuous_waffle_has_its_science_under_center() -> None:
    night = toy.Night()
    waffle, lamp, dark = night.group("CENTER", "CENTER", 3), night.group("FLAT"), night.group("DARK")
    night.observe(waffle, science="CENTER")
    night.associate(lamp, "dark", dark)
    night.associate(waffle, "flat", lamp)
    night.associate(waffle, "background", dark)
    plan = plan_of(toy.universe(night))
    assert [one.input_id for one in of(plan, "toy_science").main] == list(waffle.file_ids)
    assert of(plan, "toy_tracks").fallbacks == ("no FLUX frames",)


def test_frames_of_another_ob_are_main_inputs_where_rules_chose_them() -> None:
    night = toy.plain_night()
    other = night.group("CENTER", "CENTER", 1)
    objects = next(one for one in night.groups if one.frame_type == "OBJECT")
    lamp = next(one for one in night.groups if one.frame_type == "FLAT")
    night.associate(other, "flat", lamp)
    night.associate(objects, "center", other, level=1, dt_days=0.1)
    tracks = of(plan_of(toy.universe(night)), "toy_tracks")
    assert tracks.main[-1].input_id == other.file_ids[0]
    assert tracks.main[-1].frame_role == "CENTER"
    assert tracks.level == 1


@pytest.mark.parametrize("levels", [(0, 1, 3), (3, 1, 0), (1, 3, 0)])
def test_a_calibration_brought_by_several_links_has_the_worst_of_their_levels(levels: tuple[int, int, int]) -> None:
    night = toy.plain_night()
    of_role = dict(zip(("FLUX", "CENTER", "OBJECT"), levels, strict=True))
    group_of = {one.group_id: one.role for one in night.groups}
    night.associations = [
        replace(one, level=of_role.get(group_of[one.consumer_group_id], 0)) if one.role == "flat" else one
        for one in night.associations
    ]
    plan = plan_of(toy.universe(night))
    (flat,) = (one for one in of(plan, "toy_tracks").inputs if one.role == "flat")
    assert flat.level == 3
    assert of(plan, "toy_tracks").level == 3


def test_the_level_of_a_chain_is_its_worst_link() -> None:
    night = toy.plain_night()
    lamp = next(one for one in night.groups if one.frame_type == "FLAT")
    night.associations = [
        replace(one, level=2) if one.consumer_group_id == lamp.group_id else one for one in night.associations
    ]
    plan = plan_of(toy.universe(night))
    levels = {one: of(plan, one).level for one in ("toy_flat", "toy_sky", "toy_tracks", "toy_science", "toy_centered")}
    assert set(levels.values()) == {2}
    assert {one.process.level for one in plan.processes if one.process.recipe == "toy_dark"} == {0}


def test_one_id_for_two_things_is_an_error_and_no_loss() -> None:
    night, other = toy.plain_night(0), toy.plain_night(1)
    night.observations.append(replace(other.observations[0], obs_id=night.observations[0].obs_id))
    with pytest.raises(MisuseError, match=r"AP-PLN-007 obs:.*two different ones") as error:
        toy.universe(night, other)
    assert night.observations[0].science_files[0] in error.value.message
    again = toy.plain_night(2)
    again.groups.append(replace(again.groups[0], file_ids=again.groups[1].file_ids))
    with pytest.raises(MisuseError, match="AP-PLN-007 group:"):
        toy.universe(again)
    # The same thing told twice is one thing.
    assert len(toy.universe(other, toy.plain_night(1)).observations) == 1


def test_equal_facts_give_equal_bytes_in_any_order() -> None:
    nights = [toy.plain_night(n, 2) for n in range(2)]
    text = plan_to_json(plan_of(toy.universe(*nights)))
    for night in nights:
        for some in (night.classified, night.groups, night.observations, night.associations):
            random.Random(7).shuffle(some)
    assert plan_to_json(plan_of(toy.universe(*nights[::-1]))) == text


def test_unrelated_frames_change_no_id() -> None:
    before = ids(plan_of(toy.universe(toy.plain_night(0))))
    assert before <= ids(plan_of(toy.universe(toy.plain_night(0), toy.plain_night(1, 3))))


def test_a_plan_id_does_not_depend_on_what_is_sealed() -> None:
    universe = toy.universe(toy.plain_night())
    plan = plan_of(universe)
    assert plan_of(universe, standing=Standing(known=known(plan), as_of="2026-01-01")).plan_id == plan.plan_id


def test_nothing_is_left_to_do_when_all_is_sealed() -> None:
    universe = toy.universe(toy.plain_night())
    again = plan_of(universe, standing=Standing(known=known(plan_of(universe))))
    assert not any(one.to_run for one in again.processes)


def test_a_pruned_source_of_sealed_products_is_not_made_again() -> None:
    universe = toy.universe(toy.plain_night())
    rows = known(plan_of(universe), without="toy_science")
    pruned = frozenset({of(plan_of(universe), "toy_science").process_id})
    again = plan_of(universe, standing=Standing(known=replace(rows, pruned=pruned)))
    (science,) = (one for one in again.processes if one.process.recipe == "toy_science")
    assert (science.to_run, science.because) == (False, NOT_NEEDED)


def test_a_lost_source_of_sealed_products_is_made_again_and_nothing_else() -> None:
    universe = toy.universe(toy.plain_night())
    for lost in ("toy_science", "toy_flat"):  # behind one sealed product, and behind several
        again = plan_of(universe, standing=Standing(known=known(plan_of(universe), without=lost)))
        assert {one.process.recipe for one in again.processes if one.to_run} == {lost}


def test_a_missing_product_brings_its_unsealed_sources_back() -> None:
    universe = toy.universe(toy.plain_night())
    rows = known(plan_of(universe), without="toy_centered")
    science = of(plan_of(universe), "toy_science").process_id
    rows = replace(rows, sealed=rows.sealed - {science})
    again = plan_of(universe, standing=Standing(known=rows))
    assert {one.process.recipe for one in again.processes if one.to_run} == {"toy_centered", "toy_science"}


def test_a_new_recipe_version_is_the_reason_and_its_users_have_new_input() -> None:
    universe = toy.universe(toy.plain_night())
    before = known(plan_of(universe))
    again = plan_of(universe, toy.with_recipe(toy.RULEBOOK, toy.TRACKS, version="1.1.0"), Standing(known=before))
    found = reasons(again)
    assert (found["toy_tracks"], found["toy_science"], found["toy_flat"]) == (
        Reason.RECIPE,
        Reason.INPUT,
        Reason.CACHED,
    )
    (tracks,) = (one for one in again.processes if one.process.recipe == "toy_tracks")
    assert tracks.because == "toy_tracks 1.0.0 -> toy_tracks 1.1.0"


def test_a_preset_value_is_a_parameter_reason_only_in_the_slot_of_its_preset() -> None:
    universe = toy.universe(toy.plain_night())
    before = known(plan_of(universe))
    wide = {"toy_tracks": {"radius": 15}}
    same = plan_of(universe, replace(toy.RULEBOOK, preset=Preset("default", wide)), Standing(known=before))
    assert reasons(same)["toy_tracks"] is Reason.PARAMETER
    other = plan_of(universe, replace(toy.RULEBOOK, preset=Preset("wide", wide)), Standing(known=before))
    assert reasons(other)["toy_tracks"] is Reason.NEW
    assert reasons(other)["toy_flat"] is Reason.CACHED


def test_a_changed_table_row_is_a_table_reason() -> None:
    universe = toy.universe(toy.plain_night())
    before = known(plan_of(universe))
    changed = replace(toy.RULEBOOK, table_digest=lambda reads, frame: toy.table_digest(reads, frame) + "x")
    assert reasons(plan_of(universe, changed, Standing(known=before)))["toy_tracks"] is Reason.TABLE


def test_another_calibration_is_an_input_reason_in_words() -> None:
    night = toy.plain_night()
    before = plan_of(toy.universe(night))
    better = night.group("DARK", dit_ms=837)
    lamp = next(one for one in night.groups if one.frame_type == "FLAT")
    night.associations = [one for one in night.associations if one.consumer_group_id != lamp.group_id]
    night.associate(lamp, "dark", better)
    again = plan_of(toy.universe(night), standing=Standing(known=known(before)))
    (flat,) = (one for one in again.processes if one.process.recipe == "toy_flat")
    assert flat.reason is Reason.INPUT
    assert flat.because.startswith("dark dark proc:")
    assert " in place of dark proc:" in flat.because


def test_an_override_changes_exactly_the_keys_it_touches() -> None:
    universe = toy.universe(toy.plain_night(0), toy.plain_night(1))
    before = plan_of(universe)
    obs_id, other = sorted(universe.observations, key=lambda one: universe.observations[one].mjd_start)
    touched = universe.observations[obs_id].science_files[1]

    def effects(work: Work) -> Effect:
        if work.subject.subject_id != obs_id or touched not in work.files:
            return Effect()
        return Effect(excluded_planes=((touched, 2),), override_ids=("o1",))

    again = plan_of(universe, replace(toy.RULEBOOK, effects=effects), Standing(known=known(before)))
    moved = {one.process.recipe: one for one in again.processes if one.process.process_id not in ids(before)}
    assert {name: one.reason for name, one in moved.items()} == {
        "toy_tracks": Reason.OVERRIDE,
        "toy_science": Reason.OVERRIDE,
        "toy_centered": Reason.INPUT,
    }
    assert all(one.process.subject.subject_id != other for one in moved.values())
    assert moved["toy_tracks"].process.excluded_planes == ((3, 2),)
    assert moved["toy_science"].process.excluded_planes == ((1, 2),)
    assert moved["toy_tracks"].because == "51 Eri DB_K12 2015-09-24: +o1"


def test_author_and_id_of_an_override_do_not_enter_the_key() -> None:
    universe = toy.universe(toy.plain_night())

    def named(name: str) -> Plan:
        return plan_of(universe, replace(toy.RULEBOOK, effects=lambda work: Effect(override_ids=(name,))))

    assert named("o1").plan_id == named("o2").plan_id == plan_of(universe).plan_id


def test_a_corrected_header_enters_by_content_and_value() -> None:
    universe = toy.universe(toy.plain_night())
    dark = next(one for one in universe.groups.values() if one.frame_type == "DARK").file_ids[0]

    def effects(work: Work) -> Effect:
        return Effect(corrections=((dark, "DET NDIT", "3"),)) if dark in work.files else Effect()

    plan = plan_of(universe, replace(toy.RULEBOOK, effects=effects))
    corrected = [one.process for one in plan.processes if one.process.corrections]
    assert [(one.recipe, one.corrections) for one in corrected] == [
        ("toy_dark", ((universe.frames[dark].content_id, "DET NDIT", "3"),))
    ]


def test_a_parameter_override_is_typed_and_checked() -> None:
    universe = toy.universe(toy.plain_night())

    def setting(**values: object) -> Rulebook:
        def effects(work: Work) -> Effect:
            here = work.recipe.name == "toy_tracks"
            return Effect(parameters=values, source="overrides/a.yaml:7") if here else Effect()

        return replace(toy.RULEBOOK, effects=effects)

    assert plan_of(universe, setting(radius=12)).plan_id == plan_of(universe).plan_id
    assert plan_of(universe, setting(radius=13)).plan_id != plan_of(universe).plan_id
    with pytest.raises(MisuseError, match=r"AP-PLN-010 overrides/a.yaml:7: .* did you mean 'radius'"):
        plan_of(universe, setting(radios=12))
    with pytest.raises(MisuseError, match="AP-PLN-011"):
        plan_of(universe, setting(robust=1))


def test_a_blocking_issue_of_the_science_frames_is_the_root_cause() -> None:
    night = toy.plain_night()
    objects = next(one for one in night.groups if one.frame_type == "OBJECT")
    night.issue(objects, "AP-CAL-001", "no background of 16 s")
    plan = plan_of(toy.universe(night))
    assert [(one.code, one.product_type) for one in plan.not_planned] == [("AP-CAL-001", "centered_cube")]
    assert not plan.processes


def test_a_warning_blocks_nothing() -> None:
    night = toy.plain_night()
    objects = next(one for one in night.groups if one.frame_type == "OBJECT")
    night.issue(objects, "AP-CAL-005", "no flux", severity="warning")
    assert not plan_of(toy.universe(night)).not_planned


def test_a_flux_file_without_what_it_needs_is_left_out_and_named() -> None:
    night = toy.plain_night()
    flux = next(one for one in night.groups if one.frame_type == "FLUX")
    night.issue(flux, "AP-CAL-001", "no background of 0.8 s")
    tracks = of(plan_of(toy.universe(night)), "toy_tracks")
    assert [one.frame_role for one in tracks.main] == ["CENTER", "OBJECT", "OBJECT", "OBJECT"]
    assert tracks.fallbacks == (f"{flux.file_ids[0]} left out: AP-CAL-001 no background of 0.8 s", "no FLUX frames")


def test_a_required_role_leaves_out_center_files_but_never_science() -> None:
    night = toy.plain_night()
    center = next(one for one in night.groups if one.frame_type == "CENTER")
    night.associations = [
        one for one in night.associations if (one.consumer_group_id, one.role) != (center.group_id, "flat")
    ]
    tracks = of(plan_of(toy.universe(night)), "toy_tracks")
    assert f"{center.file_ids[0]} left out: no flat" in tracks.fallbacks
    objects = next(one for one in night.groups if one.frame_type == "OBJECT")
    night.associations = [
        one for one in night.associations if (one.consumer_group_id, one.role) != (objects.group_id, "flat")
    ]
    (missing,) = plan_of(toy.universe(night)).not_planned
    assert (missing.code, missing.product_type) == ("AP-PLN-006", "centered_cube")
    assert "no flat" in missing.message


def test_the_cause_of_a_master_that_cannot_be_made_reaches_the_cube() -> None:
    night = toy.plain_night()
    lamp = next(one for one in night.groups if one.frame_type == "FLAT")
    night.associations = [one for one in night.associations if one.consumer_group_id != lamp.group_id]
    night.issue(lamp, "AP-CAL-002", "no dark of 1 s", severity="warning")
    (missing,) = plan_of(toy.universe(night)).not_planned
    assert (missing.code, missing.subject.kind) == ("AP-CAL-002", "observation")


def test_truncated_files_are_left_out_and_named() -> None:
    night = toy.plain_night()
    broken = next(one for one in night.classified if one.frame_type == "OBJECT")
    place = night.classified.index(broken)
    night.classified[place] = replace(broken, frame=replace(broken.frame, truncated=True))
    science = of(plan_of(toy.universe(night)), "toy_science")
    assert len(science.main) == 2
    assert science.fallbacks == (f"{broken.frame.file_id} left out: truncated",)


def test_a_quarantined_file_changes_what_it_was_in_and_nothing_else() -> None:
    universe = toy.universe(toy.plain_night(0), toy.plain_night(1))
    before = plan_of(universe)
    first = min(universe.observations.values(), key=lambda one: one.mjd_start)
    taken = first.science_files[0]

    def effects(work: Work) -> Effect:
        return Effect(override_ids=("o1",)) if taken in work.left_out else Effect()

    after = plan_of(
        replace(universe, quarantined=frozenset({taken})),
        replace(toy.RULEBOOK, effects=effects),
        Standing(known=known(before)),
    )
    moved = {one.process.recipe: one for one in after.processes if one.process.process_id not in ids(before)}
    assert {name: one.reason for name, one in moved.items()} == {
        "toy_tracks": Reason.OVERRIDE,
        "toy_science": Reason.OVERRIDE,
        "toy_centered": Reason.INPUT,
    }
    assert moved["toy_science"].process.fallbacks == (f"{taken} left out: quarantined",)


def test_a_pin_is_shown_to_decisions_with_its_consumer_role_and_calibration() -> None:
    night = toy.plain_night()
    night.associations = [replace(one, pinned=one.role == "dark") for one in night.associations]
    seen: set[tuple[str, str]] = set()

    def effects(work: Work) -> Effect:
        seen.update((work.recipe.name, role) for _, role, _ in work.pinned)
        return Effect()

    plan_of(toy.universe(night), replace(toy.RULEBOOK, effects=effects))
    assert seen == {("toy_flat", "dark"), ("toy_sky", "dark")}


def test_unreduced_modes_are_named() -> None:
    night = toy.Night()
    night.observe(night.group("OBJECT", "OBJECT", 2), mode="polarimetry")
    (missing,) = plan_of(toy.universe(night)).not_planned
    assert (missing.code, missing.message) == (
        "AP-PLN-003",
        "IRDIS polarimetry sequences are recognised and not reduced",
    )


def test_a_refused_calibration_gives_way_to_the_next_candidate() -> None:
    night = toy.plain_night()
    lamp = next(one for one in night.groups if one.frame_type == "FLAT")
    second = night.group("FLAT", n=4)
    dark = next(one for one in night.groups if one.frame_type == "DARK")
    night.associate(second, "dark", dark)
    plain = list(night.associations)

    def associate(banned: frozenset[GroupId]) -> Universe:
        night.associations = [
            replace(one, calib_group_id=second.group_id) if one.calib_group_id in banned else one for one in plain
        ]
        return toy.universe(night)

    selection = Selection(obs_ids=frozenset(one.obs_id for one in night.observations))
    first = make_plan(associate(frozenset()), selection, toy.RULEBOOK)
    refused = of(first, "toy_flat").process_id
    plan, banned = make_settled_plan(associate, selection, toy.RULEBOOK, Standing(refused=frozenset({refused})))
    assert banned == {lamp.group_id}
    assert of(plan, "toy_flat").subject.subject_id == second.group_id
    newer = toy.with_recipe(toy.RULEBOOK, toy.FLAT, version="2.0.0")
    plan, banned = make_settled_plan(associate, selection, newer, Standing(refused=frozenset({refused})))
    assert not banned
    assert of(plan, "toy_flat").subject.subject_id == lamp.group_id


def test_a_flat_on_a_refused_dark_gets_another_dark_before_it_is_given_up() -> None:
    night = toy.plain_night()
    selection = Selection(obs_ids=frozenset(one.obs_id for one in night.observations))
    first = plan_of(toy.universe(night))
    flat = of(first, "toy_flat")
    (dark,) = flat.sources
    asked: list[frozenset[GroupId]] = []
    replacement = night.group("DARK", dit_ms=837)
    plain = list(night.associations)

    def associate(banned: frozenset[GroupId]) -> Universe:
        asked.append(banned)
        night.associations = [
            replace(one, calib_group_id=replacement.group_id) if one.calib_group_id in banned else one for one in plain
        ]
        return toy.universe(night)

    standing = Standing(refused=frozenset({dark, flat.process_id}))
    plan, banned = make_settled_plan(associate, selection, toy.RULEBOOK, standing)
    assert of(plan, "toy_flat").subject == flat.subject
    assert len(banned) == 1


def test_a_type_of_the_masters_is_singled_out_of_the_observation() -> None:
    universe = toy.universe(toy.plain_night())
    selection = Selection(obs_ids=frozenset(universe.observations), product_types=("detector_flat",))
    plan = make_plan(universe, selection, toy.RULEBOOK)
    assert sorted(one.process.recipe for one in plan.processes) == ["toy_dark", "toy_flat"]
    assert all(one.to_run for one in plan.processes)


def test_a_group_is_planned_by_itself() -> None:
    universe = toy.universe(toy.plain_night())
    sky = next(one for one in universe.groups.values() if one.frame_type == "SKY")
    plan = make_plan(universe, Selection(group_ids=frozenset({sky.group_id})), toy.RULEBOOK)
    assert {one.process.recipe for one in plan.processes} == {"toy_sky", "toy_flat", "toy_dark"}


def test_a_single_frame_is_planned_by_itself() -> None:
    single = toy.recipe("toy_frame", RawMain(("OBJECT",)), ["spectra"], subject_kind="frame", inputs=toy.FLAT_ROLES)
    universe = toy.universe(toy.plain_night())
    file_id = FileId(next(iter(universe.observations.values())).science_files[0])
    rulebook = replace(toy.RULEBOOK, cookbook=(*toy.COOKBOOK, single))
    plan = make_plan(universe, Selection(file_ids=frozenset({file_id})), rulebook)
    assert [one.input_id for one in of(plan, "toy_frame").main] == [file_id]


SINGLE = toy.recipe(
    "toy_frame", RawMain(("CENTER", "FLUX", "DARK")), ["spectra"], subject_kind="frame", inputs=toy.FLAT_ROLES[:1]
)
"""Makes a product of any one CENTER, FLUX or DARK frame."""
FRAMES = toy.recipe(
    "toy_places",
    ProductMain("science_cube"),
    ["places"],
    subject_kind="observation",
    inputs=(
        InputRole("waffle", ("spectra",), source="frames", for_roles=("CENTER",)),
        InputRole("star", ("spectra",), source="frames", for_roles=("FLUX",), required=False),
    ),
    modes=("dual_band",),
)
WITH_FRAMES = replace(toy.RULEBOOK, cookbook=(*toy.COOKBOOK, SINGLE, FRAMES), finals={Arm.IRDIS: ("places",)})


def test_products_of_single_frames_are_inputs_of_their_observation() -> None:
    universe = toy.universe(toy.plain_night(n_observations=2))
    plan = plan_of(universe, WITH_FRAMES)
    for one in (each.process for each in plan.processes if each.process.recipe == "toy_places"):
        mine = universe.observations[ObsId(one.subject.subject_id)]
        for role, frame_role in (("waffle", "CENTER"), ("star", "FLUX")):
            (given,) = [each for each in one.inputs if each.role == role]
            source = next(each.process for each in plan.processes if each.process.process_id == given.input_id[:32])
            assert source.subject.kind == "frame"
            assert [each.file_id for each in mine.files if each.role == frame_role] == [source.subject.subject_id]
    assert sum(one.process.recipe == "toy_frame" for one in plan.processes) == 4
    assert not plan.not_planned


def test_science_planes_are_no_frames_beside_themselves() -> None:
    night = toy.plain_night()
    made = night.observations.pop()
    # Continuous waffle: the science planes are CENTER frames.
    files = tuple(replace(one, science=one.role == "CENTER") for one in made.files if one.role != "OBJECT")
    night.observations.append(replace(made, files=files))
    optional = replace(FRAMES, inputs=tuple(replace(one, required=False) for one in FRAMES.inputs))
    rulebook = replace(WITH_FRAMES, cookbook=(*toy.COOKBOOK, SINGLE, optional))
    places = of(plan_of(toy.universe(night), rulebook), "toy_places")
    assert {one.role for one in places.inputs} == {"main", "star"}


def test_a_center_frame_of_another_ob_brings_its_product_with_the_links_level() -> None:
    night = toy.plain_night()
    (mine,) = night.observations
    other = night.group("CENTER", "CENTER", 1, dit_ms=16000)
    night.associate(other, "flat", next(one for one in night.groups if one.frame_type == "FLAT"))
    consumer = next(one for one in night.groups if one.frame_type == "OBJECT")
    night.associate(consumer, "center", other, level=1)
    plan = plan_of(toy.universe(night), WITH_FRAMES)
    places = of(plan, "toy_places")
    assert places.subject.subject_id == mine.obs_id
    assert sorted(one.level for one in places.inputs if one.role == "waffle") == [0, 1]


def test_a_refused_frame_is_left_out_and_named_and_without_any_nothing_is_planned() -> None:
    night = toy.plain_night()
    first = plan_of(toy.universe(night), WITH_FRAMES)
    of_frame = {one.process.subject.subject_id: one.process for one in first.processes}
    flux = next(one for one in night.groups if one.frame_type == "FLUX").file_ids[0]
    center = next(one for one in night.groups if one.frame_type == "CENTER").file_ids[0]
    universe, selection = toy.universe(night), Selection(obs_ids=frozenset(one.obs_id for one in night.observations))
    without = make_plan(universe, selection, WITH_FRAMES, Standing(refused=frozenset({of_frame[flux].process_id})))
    places = of(without, "toy_places")
    assert not [one for one in places.inputs if one.role == "star"]
    assert any(flux in word and "refused" in word for word in places.fallbacks)
    lost = make_plan(universe, selection, WITH_FRAMES, Standing(refused=frozenset({of_frame[center].process_id})))
    assert [one.product_type for one in lost.not_planned] == ["places"]


def test_what_failed_is_done_without_and_named_where_each_of_many_may_lack() -> None:
    night = toy.plain_night()
    universe, selection = toy.universe(night), Selection(obs_ids=frozenset(one.obs_id for one in night.observations))
    optional = replace(toy.BACKGROUND, each_may_lack=True)
    inputs = tuple(optional if one == toy.BACKGROUND else one for one in toy.SCIENCE.inputs)
    rulebook = toy.with_recipe(toy.RULEBOOK, toy.SCIENCE, inputs=inputs)
    made = of(make_plan(universe, selection, rulebook), "toy_science")
    (background,) = (one for one in made.inputs if one.role == "background")
    source = ProcessId(background.input_id.partition(".")[0])
    standing = Standing(failed=frozenset({source}))
    without = of(make_plan(universe, selection, rulebook, standing), "toy_science")
    assert {one.role for one in made.inputs} - {one.role for one in without.inputs} == {"background"}
    assert any("left out of background" in word and "failed before" in word for word in without.fallbacks)
    # A role of which each may not lack waits for it, as ever; so does all that requires it.
    assert of(make_plan(universe, selection, toy.RULEBOOK, standing), "toy_science").sources == made.sources
    # Raw files of which only headers are known keep nobody waiting who has pixels.
    (sky,) = (one for one in plan_of(universe, rulebook).processes if one.process.process_id == source)
    read = {one.input_id for one in sky.process.inputs if one.kind == "file"}
    frames = {name: replace(one, pixels=ABSENT) if name in read else one for name, one in universe.frames.items()}
    seen = of(make_plan(replace(universe, frames=frames), selection, rulebook), "toy_science")
    assert any("only headers" in word for word in seen.fallbacks)


def test_frames_without_what_their_recipe_needs_are_the_root_cause() -> None:
    night = toy.plain_night()
    center = next(one for one in night.groups if one.frame_type == "CENTER")
    night.associations = [
        one for one in night.associations if not (one.consumer_group_id == center.group_id and one.role == "flat")
    ]
    plan = plan_of(toy.universe(night), WITH_FRAMES)
    assert [(one.product_type, one.code) for one in plan.not_planned] == [("places", "AP-PLN-006")]
    assert "flat" in plan.not_planned[0].message


def test_a_frame_that_is_in_no_group_is_named() -> None:
    night = toy.plain_night()
    alone = night.frame("DARK", "CALIB")
    plan = make_plan(
        toy.universe(night),
        Selection(file_ids=frozenset({alone.frame.file_id}), product_types=("spectra",)),
        WITH_FRAMES,
    )
    assert [one.code for one in plan.not_planned] == ["AP-PLN-005"]


def test_two_makers_of_one_product_are_a_mistake_of_the_cookbook() -> None:
    rival = toy.recipe("toy_rival", RawMain(("DARK", "OTHER")), ["dark"])
    with pytest.raises(MisuseError, match="AP-PLN-001"):
        plan_of(toy.universe(toy.plain_night()), replace(toy.RULEBOOK, cookbook=(*toy.COOKBOOK, rival)))


def test_recipes_that_need_each_other_are_a_mistake_of_the_cookbook() -> None:
    loop = replace(toy.SCIENCE, inputs=(InputRole("centered", ("centered_cube",), source="subject"),))
    assert isinstance(toy.CENTERED.main, ProductMain)
    with pytest.raises(MisuseError, match="toy_centered -> toy_science -> toy_centered"):
        plan_of(toy.universe(toy.plain_night()), toy.with_recipe(toy.RULEBOOK, toy.SCIENCE, inputs=loop.inputs))


def test_an_arm_without_products_to_make_is_named() -> None:
    plan = plan_of(toy.universe(toy.plain_night()), replace(toy.RULEBOOK, finals={Arm.IFS: ("ifs_centered_cube",)}))
    assert not plan.processes
    assert [one.code for one in plan.not_planned] == ["AP-PLN-003"]


def test_a_group_that_no_recipe_takes_is_named() -> None:
    night = toy.Night()
    gain = night.group("GAIN")
    plan = make_plan(toy.universe(night), Selection(group_ids=frozenset({gain.group_id})), toy.RULEBOOK)
    assert [one.code for one in plan.not_planned] == ["AP-PLN-004"]
