"""Exposure groups, observations, targets: the named special cases, and indifference to order."""

from __future__ import annotations

import datetime as dt
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_proc.association.completeness import check
from archive_proc.association.targets import normalised_name, resolve_targets
from archive_proc.instruments.tables import Tables
from archive_proc.model.frames import Arm, RawFrame

from .conftest import EVENING, Frames, Understand, Understood

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)


def codes(found: Understood, tables: Tables) -> set[str]:
    return {one.code for one in check(found.classified, found.observations, tables, found.issues)}


def types(found: Understood) -> list[str]:
    return [one.frame_type for one in found.groups]


def test_one_template_is_one_observation_with_its_center_flux_and_sky(make: Frames, understand: Understand) -> None:
    found = understand(make.sequence())
    (one,) = found.observations
    assert [entry.role for entry in one.files] == [
        "FLUX",
        "CENTER",
        "OBJECT",
        "OBJECT",
        "OBJECT",
        "CENTER",
        "FLUX",
        "SKY",
    ]
    assert len(one.science_files) == 3
    assert (one.mode, one.reduced, one.waffle, one.complete) == ("dual_band", True, False, True)


def test_generic_calibrations_group_within_an_hour_and_by_dit_where_the_type_says(
    make: Frames, understand: Understand
) -> None:
    start = EVENING + 12 * HOUR
    flats = [make.make(start + at * 20 * MINUTE, "FLAT,LAMP", dit_s=float(at + 1)) for at in range(5)]
    darks = [make.make(start + at * 20 * MINUTE + MINUTE, "DARK", dit_s=float(at % 2 + 1)) for at in range(5)]
    found = understand([*flats, *darks])
    sizes = {name: sorted(len(one.file_ids) for one in found.groups if one.frame_type == name) for name in types(found)}
    assert sizes == {"IRD_FLAT_FIELD_RAW": [5], "IRD_DARK_RAW": [2, 3]}


def test_gap_of_an_hour_cuts_the_calibration_block(make: Frames, understand: Understand) -> None:
    start = EVENING + 12 * HOUR
    near, far = 59 * MINUTE, 61 * MINUTE
    first = [make.make(start, "DARK"), make.make(start + near, "DARK"), make.make(start + near + far, "DARK")]
    assert sorted(len(one.file_ids) for one in understand(first).groups) == [1, 2]


def test_continuous_waffle_makes_the_center_frames_the_science(make: Frames, understand: Understand) -> None:
    found = understand(make.sequence(kinds="CCCCCCFS"))
    (one,) = found.observations
    assert one.waffle
    assert len(one.science_files) == 6
    assert {entry.role for entry in one.files if entry.science} == {"CENTER"}
    assert not [each for each in found.found.chosen if each.role == "center"]
    assert found.chosen(found.frames[0], "flux") == ["IRD_FLUX_CALIB_CORO_RAW"]


def test_waffle_is_told_by_the_plan_when_few_files_are_there(make: Frames, understand: Understand) -> None:
    few = make.sequence(kinds="CF", obstype_list="C C C C C C F S")
    assert understand(few).observations[0].waffle


def test_aborted_before_the_first_object_is_no_waffle(make: Frames, understand: Understand, tables: Tables) -> None:
    found = understand(make.sequence(kinds="FC", obstype_list="F C O C F"))
    assert not found.observations
    assert "AP-SEQ-001" in codes(found, tables)


def test_aborted_template_is_incomplete(make: Frames, understand: Understand, tables: Tables) -> None:
    found = understand(make.sequence(kinds="FCOOO")[:4])
    assert found.observations[0].complete is False
    assert "AP-SEQ-011" in codes(found, tables)


def test_aborted_cube_is_incomplete(make: Frames, understand: Understand, tables: Tables) -> None:
    found = understand(make.sequence(kinds="FCO", ndit=4, naxis3=2))
    assert found.observations[0].complete is False
    assert "AP-SEQ-010" in codes(found, tables)


def test_two_arms_of_one_template_are_paired_and_counted_together(make: Frames, understand: Understand) -> None:
    both = []
    for at in range(8):
        arm = Arm.IFS if at % 3 == 0 else Arm.IRDIS
        facts = {"arm": arm, "tpl_expno": at + 1, "tpl_nexp": 8, "tpl_id": "SPHERE_irdifs_obs"}
        kind = "OBJECT,CENTER" if at < 2 else "OBJECT"
        both.append(make.star(EVENING + at * 2 * MINUTE, kind, **facts))
    irdis, ifs = sorted(understand(both).observations, key=lambda one: one.arm, reverse=True)
    assert (irdis.arm, ifs.arm) == (Arm.IRDIS, Arm.IFS)
    assert (irdis.paired_obs_id, ifs.paired_obs_id) == (ifs.obs_id, irdis.obs_id)
    assert irdis.complete is ifs.complete is True


def test_arms_of_two_executions_are_no_pair(make: Frames, understand: Understand) -> None:
    """Of one OB at one time, but each began on its own OBS START."""
    irdis = make.sequence(kinds="OOOO")
    later = EVENING + dt.timedelta(seconds=30)
    ifs = make.sequence(later, kinds="OOOO", arm=Arm.IFS, ob_start=later - MINUTE, tpl_start=later - MINUTE)
    found = understand([*irdis, *ifs])
    assert {one.arm for one in found.observations} == {Arm.IRDIS, Arm.IFS}
    assert [one.paired_obs_id for one in found.observations] == [None, None]


def test_one_arm_of_two_is_unknown_not_incomplete(make: Frames, understand: Understand, tables: Tables) -> None:
    facts = {"arm": Arm.IFS, "tpl_id": "SPHERE_irdifs_obs", "tpl_nexp": 24}
    frames = [
        make.star(EVENING + at * MINUTE, "OBJECT", **(facts | {"tpl_expno": number}))
        for at, number in enumerate((1, 3, 8, 13, 18, 23))
    ]
    found = understand(frames)
    assert found.observations[0].complete is None
    assert "AP-SEQ-011" not in codes(found, tables)


def test_repeated_ob_is_two_observations_that_share_an_ob_id(
    make: Frames, understand: Understand, tables: Tables
) -> None:
    again = EVENING + 2 * HOUR
    first = make.sequence(kinds="FCO")
    second = make.sequence(again, kinds="FCO", ob_start=again - 9 * MINUTE, tpl_start=again - MINUTE)
    found = understand([*first, *second])
    assert len({one.obs_id for one in found.observations}) == 2
    assert {one.ob_id for one in found.observations} == {1158220}
    assert [len(one.files) for one in found.observations] == [3, 3]
    assert "AP-SEQ-012" in codes(found, tables)


def test_aborted_execution_takes_center_and_flux_of_the_repeat_within_twelve_hours(
    make: Frames, understand: Understand
) -> None:
    again = EVENING + 2 * HOUR
    aborted = make.sequence(kinds="OO")
    repeat = make.sequence(again, kinds="FCO", ob_start=again - 9 * MINUTE, tpl_start=again - MINUTE)
    found = understand([*aborted, *repeat])
    (link,) = found.serving(aborted[0], "center")
    assert link.calib_group_id == found.group_of(repeat[1]).group_id
    assert link.level == 0


def test_own_execution_wins_over_a_nearer_repeat(make: Frames, understand: Understand) -> None:
    again = EVENING + 20 * MINUTE
    first = make.sequence(kinds="COOOOOOOOO")
    second = make.sequence(again, kinds="CO", ob_start=again - MINUTE, tpl_start=again - MINUTE)
    found = understand([*first, *second])
    (link,) = found.serving(first[-1], "center")
    assert link.calib_group_id == found.group_of(first[0]).group_id


def test_same_ob_a_night_later_is_another_ob_for_center(make: Frames, understand: Understand) -> None:
    again = EVENING + 24 * HOUR
    first = make.sequence(kinds="OO")
    second = make.sequence(again, kinds="FCO", ob_start=again - 9 * MINUTE, tpl_start=again - MINUTE)
    found = understand([*first, *second])
    assert not found.serving(first[0], "center")
    assert "AP-CAL-004" in found.codes()


def test_ob_over_midnight_is_one_observation(make: Frames, understand: Understand) -> None:
    start = dt.datetime(2016, 9, 15, 23, 55)
    found = understand(make.sequence(start))
    assert len(found.observations) == 1
    assert found.observations[0].night == dt.date(2016, 9, 15)


NO_TEMPLATE: dict[str, object] = {
    "tpl_start": None,
    "tpl_expno": None,
    "tpl_nexp": None,
    "tpl_id": None,
    "ob_start": None,
}


def test_sequence_without_template_keywords_is_cut_at_gaps(make: Frames, understand: Understand) -> None:
    first = make.sequence(kinds="FCOO", **NO_TEMPLATE)
    second = make.sequence(EVENING + 3 * HOUR, kinds="FCOO", **NO_TEMPLATE)
    found = understand([*first, *second])
    assert [len(one.science_files) for one in found.observations] == [2, 2]
    assert [one.complete for one in found.observations] == [None, None]


def test_sequence_without_template_keywords_is_cut_where_the_night_changes(
    make: Frames, understand: Understand
) -> None:
    start = dt.datetime(2016, 9, 15, 15, 40)  # nights change at 16 h UTC
    frames = [make.star(start + at * 10 * MINUTE, "OBJECT", **NO_TEMPLATE) for at in range(5)]
    assert [one.night for one in frames] == [dt.date(2016, 9, 14)] * 2 + [dt.date(2016, 9, 15)] * 3
    found = understand(frames)
    assert [len(one.science_files) for one in found.observations] == [2, 3]


@pytest.mark.parametrize(("hours", "n_observations"), [(11.5, 1), (12.5, 2)])
def test_frames_that_lost_their_ob_start_rejoin_within_twelve_hours(
    make: Frames, understand: Understand, hours: float, n_observations: int
) -> None:
    frames = make.sequence(kinds="FCOO")
    lost = make.star(EVENING + hours * HOUR + 6 * MINUTE, "OBJECT", ob_start=None, tpl_start=None)
    assert len(understand([*frames, lost]).observations) == n_observations


@pytest.mark.parametrize(("hours", "served"), [(5.0, True), (11.9, True), (12.1, False), (15.0, False)])
def test_the_same_ob_serves_across_nights_within_twelve_hours(
    make: Frames, understand: Understand, hours: float, served: bool
) -> None:
    first = dt.datetime(2016, 9, 15, 15, 30)
    again = first + hours * HOUR
    science = make.sequence(first, kinds="O", ob_start=first, tpl_start=first)
    repeat = make.sequence(again, kinds="C", ob_start=again, tpl_start=again)
    assert science[0].night != repeat[0].night
    assert bool(understand([*science, *repeat]).serving(science[0], "center")) is served


def test_same_ob_hours_is_a_row_of_the_table(make: Frames, understand: Understand, tables: Tables) -> None:
    first = dt.datetime(2016, 9, 15, 15, 30)
    again = first + 5 * HOUR
    frames = [
        *make.sequence(first, kinds="O", ob_start=first, tpl_start=first),
        *make.sequence(again, kinds="C", ob_start=again, tpl_start=again),
    ]
    strict = msgspec.structs.replace(tables, grouping=msgspec.structs.replace(tables.grouping, same_ob_hours=4.0))
    assert understand(frames).serving(frames[0], "center")
    assert not understand(frames, tables=strict).serving(frames[0], "center")


def test_sequence_without_template_and_ob_is_grouped_by_programme_and_star(
    make: Frames, understand: Understand
) -> None:
    bare: dict[str, object] = {**NO_TEMPLATE, "ob_id": None}
    one_star = make.sequence(kinds="CO", **bare)
    other = make.sequence(EVENING + 5 * MINUTE, kinds="CO", ra_deg=120.0, object_raw="HR 1", **bare)
    found = understand([*one_star, *other])
    assert sorted(one.object_raw or "" for one in found.observations) == ["HR 1", "bet Pic"]


def test_frames_that_lost_their_ob_start_rejoin_their_ob(make: Frames, understand: Understand) -> None:
    frames = make.sequence(kinds="FCOO")
    lost = make.star(EVENING + 30 * MINUTE, "OBJECT", ob_start=None, tpl_start=None)
    found = understand([*frames, lost])
    assert [len(one.science_files) for one in found.observations] == [3]


def test_setups_of_one_ob_are_observations_of_their_own(make: Frames, understand: Understand) -> None:
    first = make.sequence(kinds="FCO")
    second = make.sequence(EVENING + 20 * MINUTE, kinds="FCO", inst_filter="DB_K12", tpl_start=EVENING + 19 * MINUTE)
    found = understand([*first, *second])
    assert [one.inst_filter for one in found.observations] == ["DB_H23", "DB_K12"]
    assert [len(one.files) for one in found.observations] == [3, 3]
    assert len({one.obs_id for one in found.observations}) == 2


@pytest.mark.parametrize("other", [{"dit_s": 32.0}, {"nd_filter": "ND_1.0"}, {"rot_mode": "FIELD"}])
def test_every_column_of_the_setup_is_in_the_id(make: Frames, understand: Understand, other: dict[str, object]) -> None:
    one, two = (understand(make.sequence(kinds="O", **facts)).observations[0] for facts in ({}, other))
    assert one.obs_id != two.obs_id


def test_modes_of_one_ob_and_setup_have_ids_of_their_own(make: Frames, understand: Understand) -> None:
    imaging = make.sequence(kinds="FCO", inst_filter="BB_H", dpr_tech="IMAGE,CLASSICAL,CORONOGRAPHY")
    later = EVENING + 20 * MINUTE
    polarised = make.sequence(
        later, kinds="O", inst_filter="BB_H", dpr_tech="POLARIMETRY,CORONOGRAPHY", tpl_start=later - MINUTE
    )
    found = understand([*imaging, *polarised])
    assert [one.mode for one in found.observations] == ["classical", "polarimetry"]
    assert found.observations[0].setup == found.observations[1].setup
    assert len({one.obs_id for one in found.observations}) == 2


def test_template_cut_at_a_gap_without_ob_start_is_two_groups_with_ids_of_their_own(
    make: Frames, understand: Understand
) -> None:
    """One TPL START, no OBS START: the gap makes two executions and two sky groups of them."""
    first = make.sequence(kinds="FCOS", ob_start=None)
    second = make.sequence(EVENING + 3 * HOUR, kinds="FCOS", ob_start=None)
    found = understand([*first, *second])
    skies = [found.group_of(one[-1]) for one in (first, second)]
    assert [one.file_ids for one in skies] == [(first[-1].file_id,), (second[-1].file_id,)]
    assert len({one.group_id for one in found.groups}) == len(found.groups)


def test_id_of_a_sky_group_with_ob_start_is_of_its_template(make: Frames, understand: Understand) -> None:
    early, late = make.sequence(kinds="OSS"), make.sequence(kinds="OSS")[:2]
    ids = {understand(some).group_of(some[1]).group_id for some in (early, late)}
    assert len(ids) == 1
    assert understand(early[:1] + early[2:]).group_of(early[2]).group_id in ids


def test_frames_of_one_template_with_contradicting_programmes_are_one_group(
    make: Frames, understand: Understand
) -> None:
    """A generic programme in one header only: the same template, so one group and no two of one id."""
    start = EVENING + 12 * HOUR
    facts = {"ob_id": 4711, "tpl_start": start - MINUTE}
    darks = [make.make(start, "DARK", **facts), make.make(start + MINUTE, "DARK", prog_id=None, **facts)]
    (one,) = understand(darks).groups
    assert one.file_ids == tuple(each.file_id for each in darks)


def test_polarimetry_is_recognised_and_named_as_not_reduced(make: Frames, understand: Understand) -> None:
    found = understand(make.sequence(kinds="FCO", dpr_tech="POLARIMETRY,CORONOGRAPHY", inst_filter="DP_0_BB_H"))
    (one,) = found.observations
    assert (one.mode, one.reduced) == ("polarimetry", False)
    assert not found.found.chosen
    assert "AP-SEQ-003" in found.codes()


def test_quarantine_leaves_ids_and_takes_files_out(make: Frames, understand: Understand) -> None:
    from archive_proc.model.decisions import NoDecisions

    frames = [*make.sequence(), *make.morning()]
    before = understand(frames)
    dropped = frames[2].file_id
    after = understand(frames, decisions=NoDecisions(quarantined=frozenset({dropped})))
    assert [one.obs_id for one in after.observations] == [one.obs_id for one in before.observations]
    assert {one.group_id for one in after.groups} == {one.group_id for one in before.groups}
    assert dropped not in after.observations[0].science_files
    assert after.observations[0].quarantined_science == (dropped,)
    assert before.observations[0].quarantined_science == ()
    assert all(dropped not in one.file_ids for one in after.groups)
    assert all(dropped not in one.file_ids for one in after.found.chosen)


# ---------------------------------------------------------------------------------------------------- properties


def campaign(make: Frames) -> list[RawFrame]:
    again = EVENING + 2 * HOUR
    waffle = EVENING + 4 * HOUR
    return [
        *make.sequence(kinds="FCOOCFS"),
        *make.sequence(again, kinds="FCO", ob_start=again - 9 * MINUTE, tpl_start=again - MINUTE),
        *make.sequence(waffle, kinds="CCCCF", ob_id=7, ob_start=waffle, tpl_start=waffle, ra_deg=10.0),
        *make.sequence(EVENING + 6 * HOUR, kinds="FCO", **{**NO_TEMPLATE, "ob_id": None, "ra_deg": 200.0}),
        *make.morning(),
        *make.morning(dt.timedelta(hours=-12)),
    ]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_shuffling_frames_changes_nothing(make: Frames, understand: Understand, seed: int) -> None:
    frames = campaign(make)
    shuffled = frames[:]
    random.Random(seed).shuffle(shuffled)
    a, b = understand(frames), understand(shuffled)
    assert (a.classified, a.groups, a.observations, a.found) == (b.classified, b.groups, b.observations, b.found)


def test_every_frame_of_a_sequence_is_in_one_group(make: Frames, understand: Understand) -> None:
    found = understand(campaign(make))
    seen = [file_id for one in found.groups for file_id in one.file_ids]
    assert sorted(seen) == sorted(one.file_id for one in found.frames)


# ---------------------------------------------------------------------------------------------------- targets


def test_pointings_within_15_arcsec_are_one_star_whatever_the_name(
    make: Frames, understand: Understand, tables: Tables
) -> None:
    frames = [
        make.star(EVENING, "OBJECT", object_raw="bet Pic"),
        make.star(EVENING + HOUR, "OBJECT", object_raw="HIP_27321", dec_deg=-51.0665 + 10 / 3600),
        make.star(EVENING + 2 * HOUR, "OBJECT", object_raw="other", dec_deg=-51.0665 + 60 / 3600),
    ]
    found = resolve_targets(understand(frames).classified, tables)
    assert len(found.targets) == 2
    assert found.of_file[frames[0].file_id] == found.of_file[frames[1].file_id]
    names = next(one.names for one in found.targets if one.target_id == found.of_file[frames[0].file_id])
    assert names == ("betpic", "hip27321")


def test_later_pointings_leave_the_id_of_a_moving_star(make: Frames, understand: Understand, tables: Tables) -> None:
    years = [
        make.star(EVENING + dt.timedelta(days=365 * at), "OBJECT", dec_deg=-51.0 + at * 10 / 3600) for at in range(5)
    ]
    first = resolve_targets(understand(years[:1]).classified, tables)
    later = resolve_targets(understand(years).classified, tables)
    assert [one.target_id for one in later.targets] == [one.target_id for one in first.targets]


def test_frame_without_position_has_no_target(make: Frames, understand: Understand, tables: Tables) -> None:
    found = understand(make.sequence(kinds="CO", ra_deg=None, dec_deg=None))
    assert found.observations[0].target_id is None
    assert "AP-SEQ-013" in codes(found, tables)


def test_names_are_compared_without_blanks_case_and_punctuation() -> None:
    assert normalised_name("TYC 7341-871-1") == normalised_name("tyc7341_871_1")
