"""Associations: levels by absolute distance, priorities, minimum numbers, fallbacks, decisions, indifference."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_proc.association.candidates import GroupIndex
from archive_proc.association.explain import explain_group, explain_observation
from archive_proc.association.values import with_filters
from archive_proc.errors import NotFoundError
from archive_proc.instruments.tables import Tables
from archive_proc.model.decisions import CalibrationDecision, Match, NoDecisions
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import ObsId
from archive_proc.model.observations import Association, ExposureGroup

from .conftest import EVENING, Frames, Understand, Understood
from .test_groups_and_observations import campaign

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
DAY = dt.timedelta(days=1)


def links(found: Understood) -> set[tuple[str, str, str, str, int, float, str]]:
    return {
        (a.consumer_group_id, a.selector, a.role, a.calib_group_id, a.level, a.dt_days, a.method)
        for a in found.found.chosen
    }


def the(found: Understood, frame: RawFrame, role: str) -> Association:
    (one,) = found.serving(frame, role)
    return one


# ---------------------------------------------------------------------------------------------------- levels


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("days", "level"), [(0.5, 0), (0.99, 0), (1.5, 1), (3.0, 2), (6.9, 2), (7.1, 3), (89.0, 3), (91.0, None)]
)
def test_dark_level_is_by_absolute_distance(
    make: Frames, understand: Understand, days: float, level: int | None, sign: int
) -> None:
    sky = make.sequence(kinds="S")[0]
    dark = make.make(EVENING + sign * days * DAY, "DARK")
    found = understand([sky, dark])
    served = found.serving(sky, "dark")
    assert [one.level for one in served] == ([] if level is None else [level])
    if served:
        assert served[0].dt_days == pytest.approx(sign * days, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(days=st.floats(0.01, 120))
def test_levels_are_symmetric_in_sign(make: Frames, understand: Understand, days: float) -> None:
    sky = make.sequence(kinds="S")[0]
    level = [
        [one.level for one in understand([sky, make.make(EVENING + sign * days * DAY, "DARK")]).serving(sky, "dark")]
        for sign in (-1, 1)
    ]
    assert level[0] == level[1]


def test_flat_level_has_its_own_windows(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="CO")
    flats = [make.make(EVENING + 20 * DAY + at * MINUTE, "FLAT,LAMP", dit_s=at + 1.0) for at in range(2)]
    assert the(understand([*science, *flats]), science[1], "flat").level == 2


def test_calibration_of_the_next_label_of_night_is_near(make: Frames, understand: Understand) -> None:
    science = make.sequence(EVENING + 7 * HOUR, kinds="CO")
    late = [make.make(EVENING + 18 * HOUR + at * MINUTE, "FLAT,LAMP") for at in range(2)]
    found = understand([*science, *late])
    assert found.group_of(late[0]).night != found.group_of(science[0]).night
    assert the(found, science[1], "flat").level == 0


def test_equal_distances_go_to_the_earlier(make: Frames, understand: Understand) -> None:
    sky = make.sequence(kinds="S")[0]
    before, after = make.make(EVENING - 6 * HOUR, "DARK"), make.make(EVENING + 6 * HOUR, "DARK")
    found = understand([sky, after, before])
    assert the(found, sky, "dark").calib_group_id == found.group_of(before).group_id


# ---------------------------------------------------------------------------------------------------- priority


def test_background_is_sky_then_internal_background_then_dark(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="COS")
    internal = make.make(EVENING + 10 * HOUR, "DARK,BACKGROUND")
    dark = make.make(EVENING + MINUTE, "DARK")
    assert understand([*science, internal, dark]).chosen(science[1], "background") == ["IRD_SKY_BG_RAW"]
    assert understand([*science[:2], internal, dark]).chosen(science[1], "background") == ["IRD_INS_BG_RAW"]
    assert understand([*science[:2], dark]).chosen(science[1], "background") == ["IRD_DARK_RAW"]


def test_sky_of_the_ob_wins_over_a_nearer_one_of_the_night(make: Frames, understand: Understand) -> None:
    own = make.sequence(kinds="OCCCCCCCCCCCCS")
    other_start = EVENING + 3 * MINUTE
    other = make.star(other_start, "SKY", ob_id=99, ob_start=other_start, tpl_start=other_start)
    found = understand([*own, other])
    assert the(found, own[0], "background").calib_group_id == found.group_of(own[-1]).group_id


def test_sky_of_another_night_is_no_sky(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="CO")
    start = EVENING + DAY
    sky = make.star(start, "SKY", ob_id=99, ob_start=start, tpl_start=start)
    found = understand([*science, sky])
    assert not found.serving(science[1], "background")
    refusal = next(one for one in found.found.refusals if one.candidate_group_id == found.group_of(sky).group_id)
    assert refusal.criterion == "scope"


@pytest.mark.parametrize(("name", "served"), [("DB_H23", True), ("DB_K12", False)])
def test_neutral_density_is_a_key_of_the_sky_in_thermal_bands_only(
    make: Frames, understand: Understand, name: str, served: bool
) -> None:
    flux = make.sequence(kinds="F", inst_filter=name)[0]
    sky = make.star(EVENING + 5 * MINUTE, "SKY", dit_s=0.837464, nd_filter="OPEN", inst_filter=name)
    found = understand([flux, sky])
    assert bool(found.serving(flux, "background")) is served
    if not served:
        refusal = next(one for one in found.found.refusals if one.role == "background")
        assert (refusal.criterion, refusal.wanted, refusal.found) == ("nd_filter", "ND_2.0", "OPEN")


def test_no_background_blocks_in_k_and_warns_in_h(make: Frames, understand: Understand) -> None:
    for name, severity in (("DB_K12", "blocking"), ("DB_H23", "warning")):
        found = understand([*make.sequence(kinds="CO", inst_filter=name)])
        severities = {one.severity for one in found.issues if one.code == "AP-CAL-001"}
        assert severities == {severity}


def test_dark_is_no_background_in_k(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="CO", inst_filter="DB_K12")
    found = understand([*science, make.make(EVENING + HOUR, "DARK")])
    assert not found.serving(science[1], "background")


def test_k_flats_take_the_internal_background_with_them_and_h_flats_a_dark(
    make: Frames, understand: Understand
) -> None:
    for name, kind in (("DB_K12", "IRD_INS_BG_RAW"), ("DB_H23", "IRD_DARK_RAW")):
        flats = [make.make(EVENING + at * MINUTE, "FLAT,LAMP", dit_s=1.0, inst_filter=name) for at in range(2)]
        internal = make.make(EVENING + 9 * MINUTE, "DARK,BACKGROUND", dit_s=1.0, inst_filter=name)
        dark = make.make(EVENING + 5 * MINUTE, "DARK", dit_s=1.0)
        assert understand([*flats, internal, dark]).chosen(flats[0], "dark") == [kind]


# ---------------------------------------------------------------------------------------------------- keys and numbers


def test_one_flat_file_is_too_few(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="CO")
    found = understand([*science, make.make(EVENING + 9 * HOUR, "FLAT,LAMP")])
    assert not found.serving(science[1], "flat")
    assert any(one.criterion == "min_files" for one in found.found.refusals)
    assert "AP-CAL-003" in found.codes()


def test_flat_group_gets_one_dark_for_each_dit(make: Frames, understand: Understand) -> None:
    calibrations = make.morning()
    found = understand(calibrations)
    flats = [one for one in calibrations if one.dpr_type == "FLAT,LAMP"]
    for flat in flats:
        link = the(found, flat, "dark")
        assert link.selector == f"dit_ms={flat.dit_ms}"
        assert link.file_ids == (flat.file_id,)


def test_groups_of_one_observation_get_one_flat_though_others_are_nearer_to_some(
    make: Frames, understand: Understand
) -> None:
    science = make.sequence(kinds="C" + "O" * 200 + "F")
    middle = EVENING + 200 * MINUTE
    early = [make.make(middle - 8 * HOUR + at * MINUTE, "FLAT,LAMP") for at in range(2)]
    late = [make.make(middle + 8 * HOUR + at * MINUTE, "FLAT,LAMP") for at in range(2)]
    found = understand([*science, *early, *late])
    chosen = {the(found, one, "flat").calib_group_id for one in (science[0], science[5], science[-1])}
    assert len(chosen) == 1


def test_ifs_dits_of_one_lamp_rule_are_not_told_apart(make: Frames, understand: Understand) -> None:
    facts: dict[str, object] = {"arm": Arm.IFS, "dit_s": 1.650726}
    wave = make.make(EVENING, "WAVE,LAMP", **facts)
    background = make.make(
        EVENING + HOUR, "DARK,BACKGROUND", arm=Arm.IFS, dpr_tech="IMAGE", dit_s=1.65, ifs_comb="OBS_YJ"
    )
    assert (wave.dit_ms, background.dit_ms) == (1651, 1650)
    assert understand([wave, background]).chosen(wave, "dark") == ["IFS_CAL_BACKGROUND_RAW"]


def test_ifs_uses_its_own_setup_and_not_the_other_arms_filter(make: Frames, understand: Understand) -> None:
    science = make.star(EVENING, "OBJECT", arm=Arm.IFS, ifs_comb="OBS_H", inst_filter="BB_H")
    yj = make.make(EVENING + HOUR, "WAVE,LAMP", arm=Arm.IFS, ifs_comb="OBS_YJ", inst_filter="BB_H")
    yjh = make.make(EVENING + 9 * HOUR, "WAVE,LAMP", arm=Arm.IFS, ifs_comb="OBS_H", inst_filter="DB_NDH23")
    found = understand([science, yj, yjh])
    assert the(found, science, "wave").calib_group_id == found.group_of(yjh).group_id


def test_no_coronagraph_needs_no_center(make: Frames, understand: Understand) -> None:
    found = understand(make.sequence(kinds="O", coro_ir="N_NS_CLEAR"))
    assert "AP-CAL-004" not in found.codes()


# ---------------------------------------------------------------------------------------------------- fallback


def test_rate_from_darks_of_other_dits_stands_in_at_level_3(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="CO", dit_s=64.0)
    darks = [make.make(EVENING + HOUR + at * MINUTE, "DARK", dit_s=dit) for at, dit in enumerate((1.0, 16.0, 32.0))]
    found = understand([*science, *darks])
    served = found.serving(science[1], "background")
    assert {one.method for one in served} == {"rate_from_other_dits"}
    assert {one.level for one in served} == {3}
    assert len(served) == 3
    assert "AP-CAL-010" in found.codes()


def test_one_other_dit_is_no_rate(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="CO", dit_s=64.0)
    found = understand([*science, make.make(EVENING + HOUR, "DARK", dit_s=16.0)])
    assert not found.serving(science[1], "background")


def test_no_rate_of_darks_stands_in_for_thermal_light(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="CO", dit_s=64.0, inst_filter="DB_K12")
    darks = [make.make(EVENING + HOUR + at * MINUTE, "DARK", dit_s=dit) for at, dit in enumerate((1.0, 16.0))]
    found = understand([*science, *darks])
    assert not found.serving(science[1], "background")


# ---------------------------------------------------------------------------------------------------- decisions


def test_pinned_calibration_wins_whatever_the_rules_say(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="CO")
    near, far = ([make.make(EVENING + days * DAY + at * MINUTE, "FLAT,LAMP") for at in range(2)] for days in (0.5, 200))
    frames = [*science, *near, *far]
    group_id = understand(frames).group_of(far[0]).group_id
    pin = CalibrationDecision("ovr1", Match(arm=("IRDIS",), ob=(1158220,)), "flat", f"group:{group_id[:12]}")
    found = understand(frames, decisions=NoDecisions(pins=(pin,)))
    link = the(found, science[1], "flat")
    assert (link.calib_group_id, link.pinned, link.level) == (group_id, True, 3)
    assert found.found.pinned_by[link.consumer_group_id, "flat", group_id] == "ovr1"


def test_banned_calibration_gives_way_to_the_next_and_is_listed(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="CO")
    near, far = ([make.make(EVENING + days * DAY + at * MINUTE, "FLAT,LAMP") for at in range(2)] for days in (0.5, 5))
    frames = [*science, *near, *far]
    ban = CalibrationDecision("ovr2", Match(filter=("DB_H23",)), "flat", near[0].file_id)
    found = understand(frames, decisions=NoDecisions(bans=(ban,)))
    assert the(found, science[1], "flat").calib_group_id == found.group_of(far[0]).group_id
    assert any((one.criterion, one.found) == ("banned", "ovr2") for one in found.found.refusals)


def test_the_lenslet_flat_stands_in_for_spectra_positions_that_are_refused_or_missing(
    make: Frames, understand: Understand
) -> None:
    facts: dict[str, object] = {"arm": Arm.IFS, "dit_s": 1.650726, "ifs_comb": "OBS_YJ"}
    flat = make.make(EVENING, "FLAT,LAMP", dpr_tech="IFU", **facts)
    specpos = make.make(EVENING + HOUR / 2, "SPECPOS,LAMP", dpr_tech="IFU", **facts)
    wave = make.make(EVENING + HOUR, "WAVE,LAMP", dpr_tech="IFU", **facts)
    first = understand([flat, specpos, wave])
    assert first.chosen(wave, "specpos") == ["IFS_SPECPOS_RAW"]
    without = frozenset({the(first, wave, "specpos").calib_group_id})
    assert understand([flat, specpos, wave], refused=without).chosen(wave, "specpos") == ["IFS_FLAT_RAW"]
    assert understand([flat, wave]).chosen(wave, "specpos") == ["IFS_FLAT_RAW"]
    # What may stand in is not held up by the lack of what it stands in for.
    blocked = [one.group_id for one in understand([flat, wave]).found.issues if one.code == "AP-CAL-007"]
    assert understand([flat, wave]).group_of(flat).group_id not in blocked


def test_a_lamp_frame_on_request_takes_calibrations_of_its_own_group(make: Frames, understand: Understand) -> None:
    facts: dict[str, object] = {"arm": Arm.IFS, "dit_s": 1.650726, "ifs_comb": "OBS_YJ", "dpr_tech": "IFU"}
    flat = make.make(EVENING, "FLAT,LAMP", **facts)
    wave = make.make(EVENING + HOUR, "WAVE,LAMP", **facts)
    found = understand([flat, wave])
    assert the(found, wave, "wave").calib_group_id == found.group_of(wave).group_id
    assert the(found, flat, "lenslet_flat").calib_group_id == found.group_of(flat).group_id
    assert the(found, wave, "lenslet_flat").calib_group_id == found.group_of(flat).group_id
    assert the(found, flat, "wave").calib_group_id == found.group_of(wave).group_id


def test_all_darks_of_the_night_serve_the_bad_pixels_of_a_detector_flat(make: Frames, understand: Understand) -> None:
    image: dict[str, object] = {"arm": Arm.IFS, "dpr_tech": "IMAGE"}
    lamps = [make.make(EVENING + HOUR, "FLAT,LAMP", dit_s=dit, ifs_comb="CAL_BB_2_YJ", **image) for dit in (2.0, 10.0)]
    darks = [
        make.make(EVENING, "DARK", dit_s=1.650726, ifs_comb="OBS_YJ", **image),
        make.make(EVENING + HOUR / 2, "DARK,BACKGROUND", dit_s=32.0, ifs_comb="OBS_YJ", **image),
        make.make(EVENING - 24 * HOUR, "DARK,BACKGROUND", dit_s=64.0, ifs_comb="OBS_YJ", **image),
    ]
    found = understand([*lamps, *darks])
    assert sorted(found.chosen(lamps[0], "darks")) == ["IFS_CAL_BACKGROUND_RAW", "IFS_DARK_RAW"]


def test_refused_calibration_gives_way_to_the_next(make: Frames, understand: Understand) -> None:
    sky = make.sequence(kinds="S")[0]
    near, far = make.make(EVENING + 2 * HOUR, "DARK"), make.make(EVENING + 3 * DAY, "DARK")
    frames = [sky, near, far]
    first = understand(frames)
    assert the(first, sky, "dark").level == 0
    found = understand(frames, refused=frozenset({the(first, sky, "dark").calib_group_id}))
    assert the(found, sky, "dark").level == 2
    assert any(one.criterion == "refused_by_qc" for one in found.found.refusals)


def test_quarantined_calibration_counts_for_nothing(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="CO")
    flats = [make.make(EVENING + 9 * HOUR + at * MINUTE, "FLAT,LAMP") for at in range(2)]
    found = understand([*science, *flats], decisions=NoDecisions(quarantined=frozenset({flats[0].file_id})))
    assert not found.serving(science[1], "flat")


@pytest.mark.parametrize("hurt", [{"truncated": True}, {"naxis3": 0}, {"naxis1": None}])
def test_calibration_that_cannot_be_read_gives_way_to_the_next(
    make: Frames, understand: Understand, tables: Tables, hurt: dict[str, object]
) -> None:
    science = make.sequence(kinds="CO")
    near = make.make(EVENING + HOUR, "DARK,BACKGROUND", **hurt)
    far = make.make(EVENING + 3 * DAY, "DARK,BACKGROUND")
    found = understand([*science, near, far])
    assert the(found, science[1], "background").calib_group_id == found.group_of(far).group_id
    assert any(one.criterion == "whole" for one in found.found.refusals)
    told = explain_group(found.group_of(science[1]).group_id, found.groups, found.observations, found.frames, tables)
    judged = next(
        one for role in told.roles for one in role.candidates if one.group_id == found.group_of(near).group_id
    )
    assert not judged.chosen
    assert judged.verdict == "whole: 0 of 1, wanted >= 1"


def test_truncated_files_do_not_count_for_the_least_number(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="CO")
    near = [make.make(EVENING + HOUR + at * MINUTE, "FLAT,LAMP", truncated=at == 0) for at in range(2)]
    far = [make.make(EVENING + 20 * DAY + at * MINUTE, "FLAT,LAMP") for at in range(2)]
    found = understand([*science, *near, *far])
    assert the(found, science[1], "flat").calib_group_id == found.group_of(far[0]).group_id


def test_more_files_than_wanted_are_used_and_noted_once(make: Frames, understand: Understand) -> None:
    science = make.sequence(kinds="CO")
    flats = [make.make(EVENING + 9 * HOUR + at * MINUTE, "FLAT,LAMP") for at in range(21)]
    found = understand([*science, *flats])
    (note,) = (one for one in found.issues if one.code == "AP-CAL-011")
    assert (note.severity, note.group_id) == ("note", found.group_of(flats[0]).group_id)
    assert "AP-CAL-011" not in understand([*science, *flats[:20]]).codes()


# ---------------------------------------------------------------------------------------------------- filters


def test_filter_that_the_header_lacks_is_filled_in_from_the_wheels_once(
    make: Frames, understand: Understand, tables: Tables
) -> None:
    row = tables.irdis.filter("DB_K12")
    wheels = {"inst_filter": None, "ins1_filt": row.ins1_filt, "ins1_opti2": row.ins1_opti2}
    old = [*make.sequence(kinds="COS", **wheels), make.make(EVENING, "FLAT,LAMP", **wheels)]
    filled = with_filters(old, tables)
    assert {one.inst_filter for one in filled} == {"DB_K12"}
    # Rules read the wheels already: nothing they make of the frames moves.
    a, b = understand(old), understand(filled)
    assert (a.groups, a.observations, a.found) == (b.groups, b.observations, b.found)


def test_filled_frames_are_untouched_where_the_header_speaks_or_the_wheels_say_nothing(
    make: Frames, tables: Tables
) -> None:
    frames = [
        make.make(EVENING, "DARK"),
        make.make(EVENING, "DARK", inst_filter=None, ins1_filt="no", ins1_opti2="such"),
        make.make(EVENING, "DARK", arm=Arm.IFS, inst_filter=None),
    ]
    assert all(a is b for a, b in zip(with_filters(frames, tables), frames, strict=True))


# ---------------------------------------------------------------------------------------------------- properties


@st.composite
def unrelated(draw: st.DrawFn) -> tuple[dt.timedelta, str, dict[str, object]]:
    """A frame whose setup nothing in the campaign shares."""
    when = dt.timedelta(minutes=draw(st.integers(-3000, 3000)), seconds=17)
    kind = draw(st.sampled_from(["DARK", "FLAT,LAMP", "DARK,BACKGROUND", "SKY", "WAVE,LAMP", "OBJECT,CENTER"]))
    facts: dict[str, object] = {"dit_s": 7.5, "inst_filter": "DB_Y23", "ob_id": 4711, "coro_ir": "N_4Q_YJH"}
    if draw(st.booleans()):
        facts |= {"arm": Arm.IFS, "ifs_comb": "OBS_H"}
    if kind in ("SKY", "OBJECT,CENTER"):
        facts |= {"dpr_catg": "SCIENCE", "dpr_tech": "IFU" if "arm" in facts else "IMAGE,DUAL,CORONOGRAPHY"}
    elif kind == "WAVE,LAMP":
        facts |= {"dpr_tech": "IFU"}
    return when, kind, facts


@settings(max_examples=40, deadline=None)
@given(extra=st.lists(unrelated(), min_size=1, max_size=4, unique_by=lambda one: one[0]))
def test_unrelated_frames_change_no_association(
    make: Frames, understand: Understand, extra: list[tuple[dt.timedelta, str, dict[str, object]]]
) -> None:
    frames = campaign(make)
    added = [make.make(EVENING + when, kind, **facts) for when, kind, facts in extra]
    own = {one.group_id for one in understand(frames).groups}
    before = links(understand(frames))
    after = {one for one in links(understand([*frames, *added])) if one[0] in own}
    assert after == before


def test_counts_of_refused_are_of_all_and_five_are_listed(make: Frames, understand: Understand) -> None:
    sky = make.sequence(kinds="S")[0]
    darks = [make.make(EVENING + (at + 1) * 2 * HOUR, "DARK", dit_s=16.0) for at in range(9)]
    found = understand([sky, *darks])
    listed = [one for one in found.found.refusals if one.role == "dark"]
    assert [one.criterion for one in listed] == ["nearer_exists"] * 5
    assert next(one.n_refused for one in found.found.refusal_counts if one.role == "dark") == 8


# ---------------------------------------------------------------------------------------------------- explain


def test_explain_judges_every_candidate_criterion_by_criterion(
    make: Frames, understand: Understand, tables: Tables
) -> None:
    frames = [*make.sequence(kinds="COS"), *make.morning(), *make.morning(dt.timedelta(days=-30))]
    found = understand(frames)
    told = explain_observation(found.observations[0].obs_id, found.groups, found.observations, frames, tables)
    science = found.group_of(frames[1]).group_id
    role = next(one for one in told.roles if one.consumer_group_id == science and one.role == "background")
    kinds = {
        one.group_id for one in found.groups if one.frame_type in ("IRD_SKY_BG_RAW", "IRD_INS_BG_RAW", "IRD_DARK_RAW")
    }
    assert {one.group_id for one in role.candidates} == kinds
    assert [one.chosen for one in role.candidates].count(True) == 1
    assert role.candidates[0].chosen
    for one in role.candidates:
        assert one.criteria
        assert one.verdict
        assert one.chosen == (one.verdict == "chosen")
    # Calibrations of calibrations follow.
    assert any(one.rule_id == "irdis.calibration.dark" for one in told.roles)


def test_explain_agrees_with_the_associations(make: Frames, understand: Understand, tables: Tables) -> None:
    frames = campaign(make)
    found = understand(frames)
    for group in found.groups:
        told = explain_group(group.group_id, found.groups, found.observations, frames, tables)
        own = {
            (one.role, one.selector, judged.group_id)
            for one in told.roles
            if one.consumer_group_id == group.group_id
            for judged in one.candidates
            if judged.chosen
        }
        assert own == {
            (a.role, a.selector, a.calib_group_id) for a in found.found.chosen if a.consumer_group_id == group.group_id
        }


def test_explain_of_nothing_is_not_found(make: Frames, understand: Understand, tables: Tables) -> None:
    with pytest.raises(NotFoundError, match="AP-CAL-020"):
        explain_observation(ObsId("0" * 32), (), (), (), tables)


# ---------------------------------------------------------------------------------------------------- scale


def season(make: Frames, nights: int, **science: object) -> list[RawFrame]:
    """Five targets a night with calibrations of each night; `science`: facts of all frames on sky."""
    frames: list[RawFrame] = []
    for night in range(nights):
        shift = night * DAY
        for target in range(5):
            start = EVENING + shift + target * 90 * MINUTE
            facts = {
                "ob_id": 10_000 + night * 10 + target,
                "ob_start": start,
                "tpl_start": start,
                "ra_deg": target * 20.0,
            }
            frames += make.sequence(start, kinds="FCOOOOOOOOOOOCFSS", **(facts | science))
        frames += make.morning(dt.timedelta(hours=12) + shift)
    return frames


def test_a_season_is_associated_in_linear_time(make: Frames, understand: Understand) -> None:
    frames = season(make, 30)
    began = time.process_time()
    found = understand(frames)
    assert len(found.observations) == 150
    assert time.process_time() - began < 5.0


@pytest.mark.parametrize("banned", [False, True])
def test_a_season_with_a_ban_and_without_its_dit_is_associated_in_linear_time(
    make: Frames, understand: Understand, banned: bool
) -> None:
    frames = season(make, 30, dit_s=77.0)
    ban = CalibrationDecision("ovr", Match(arm=("IRDIS",)), "", frames[-1].file_id)
    began = time.process_time()
    found = understand(frames, decisions=NoDecisions(bans=(ban,)) if banned else None)
    assert {one.method for one in found.found.chosen if one.role == "dark"} >= {"rate_from_other_dits"}
    assert time.process_time() - began < 5.0


class Counted(CalibrationDecision):
    """A ban or pin that counts how often it is asked what it names."""

    asked = 0

    def names(self, group: ExposureGroup) -> bool:
        type(self).asked += 1
        return super().names(group)


def test_a_decision_is_resolved_once_for_each_group(
    make: Frames, understand: Understand, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = season(make, 4)
    ban = Counted("a", Match(arm=("IRDIS",)), "", frames[-1].file_id)
    pin = Counted("b", Match(night=("2016-09-15",)), "flat", frames[-3].file_id)
    monkeypatch.setattr(Counted, "asked", 0)
    found = understand(frames, decisions=NoDecisions(pins=(pin,), bans=(ban,)))
    assert any(one.pinned for one in found.found.chosen)
    assert any(one.criterion == "banned" for one in found.found.refusals)
    assert Counted.asked == 2 * len(found.groups)


def test_a_missing_dit_looks_at_no_more_groups_in_a_longer_season(
    make: Frames, understand: Understand, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = GroupIndex.passes
    asked = 0

    def counted(*given: Any) -> bool:
        nonlocal asked
        asked += 1
        return passes(*given)

    monkeypatch.setattr(GroupIndex, "passes", counted)
    each = []
    for nights in (5, 10):
        asked = 0
        found = understand(season(make, nights, dit_s=77.0))
        each.append(asked / len(found.groups))
    assert each[1] < 1.2 * each[0]
