"""Overrides: read with line numbers, checked against the archive, with exactly the effect they say."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from archive_proc.association.classify import classify
from archive_proc.association.group import group
from archive_proc.association.observe import observations
from archive_proc.decisions.axis import plane_axis
from archive_proc.decisions.effects import Decisions, apply_corrections, decide
from archive_proc.decisions.overrides import KINDS, parse_overrides
from archive_proc.decisions.validate import Known, faults, validate
from archive_proc.errors import MisuseError
from archive_proc.ingest.examine import frame_issues
from archive_proc.instruments.tables import load_tables
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId
from archive_proc.model.observations import Observation

TODAY = dt.date(2026, 11, 3)
START = dt.datetime(2016, 9, 15, 23, 0)
WHO = "  reason: AO loop open\n  author: pd\n  date: 2026-11-02\n"


def raw(minute: int, kind: str = "OBJECT", planes: int = 3) -> RawFrame:
    when = START + dt.timedelta(minutes=minute)
    mjd = 57646.95 + minute / 1440
    return RawFrame(
        file_id=FileId(f"SPHER.{when.isoformat(timespec='milliseconds')}"),
        content_id=f"{minute:064x}",
        uri=f"raw/{minute}.fits",
        arm=Arm.IRDIS,
        dpr_catg="SCIENCE",
        dpr_type=kind,
        dpr_tech="IMAGE,DUAL,CORONOGRAPHY",
        date_obs=when,
        mjd_obs=mjd,
        mjd_end=mjd + 0.0005,
        night=START.date(),
        period_date=97,
        ob_id=1158220,
        ob_start=START,
        tpl_start=START,
        dit_s=16.0,
        dit_ms=16000,
        ndit=planes,
        naxis1=2048,
        naxis2=1024,
        naxis3=planes,
        inst_filter="DB_H23",
        coro_ir="N_ALC_YJH_S",
        rot_mode="PUPIL",
        ra_deg=86.8,
        dec_deg=-51.1,
    )


FRAMES = (raw(0, "OBJECT,CENTER"), raw(2), raw(4), raw(6))
TABLES = load_tables()
CLASSIFIED = classify(FRAMES, TABLES)[0]
GROUPS = group(CLASSIFIED, TABLES)
(OBSERVATION,) = observations(CLASSIFIED, GROUPS, TABLES)[0]
BY_ID = {one.file_id: one for one in FRAMES}
KNOWN = Known(
    frames=BY_ID,
    groups=GROUPS,
    observations=(OBSERVATION,),
    roles=frozenset(rule.role for rule in TABLES.rules),
    parameters={"irdis_tracks": frozenset({"mask_radius_px"}), "irdis_flat": frozenset({"hot_sigma"})},
    subject_kinds={"irdis_tracks": "observation", "irdis_flat": "group"},
    rules=TABLES.rules,
)
OBS = f"obs:{OBSERVATION.obs_id[:12]}"
FILE = FRAMES[1].file_id


def entry(kind: str, match: str, *more: str) -> str:
    return "".join([f"- match: {{{match}}}\n  kind: {kind}\n", *(f"  {one}\n" for one in more), WHO])


def decisions(*texts: str) -> Decisions:
    return decide([one for text in texts for one in parse_overrides(text, "a.yaml")], TODAY)


CENTER = f"group:{GROUPS[0].group_id[:12]}"

EXAMPLES = {
    "exclude-planes": entry("exclude-planes", f'obs: "{OBS}"', "planes: [3, 5]"),
    "quarantine": entry("quarantine", f'file: "{FILE}"'),
    "pin-cal": entry("pin-cal", f'obs: "{OBS}"', "role: center", f'calibration: "{CENTER}"'),
    "ban-cal": entry("ban-cal", "arm: irdis", f'calibration: "{FRAMES[0].file_id}"', "role: center"),
    "param": entry("param", f'obs: "{OBS}"', "recipe: irdis_tracks", "parameter: mask_radius_px", "value: 57"),
    "header": entry("header", f'file: "{FILE}"', "keyword: DET SEQ1 DIT", "old: 16.0", "new: 32.0"),
    "waive": entry("waive", 'process: "proc:3fa9"'),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_with_file_and_line(kind: str) -> None:
    (one,) = parse_overrides(EXAMPLES[kind], "a.yaml")
    assert (one.kind, one.source, one.line, one.author, one.expires) == (kind, "a.yaml", 1, "pd", None)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "waive"])
def test_every_kind_that_is_acted_on_fits_the_archive(kind: str) -> None:
    validate(parse_overrides(EXAMPLES[kind], "a.yaml"), KNOWN, TODAY)


def test_id_follows_the_effect_and_not_author_reason_or_place() -> None:
    first = parse_overrides(EXAMPLES["param"], "a.yaml")[0]
    later = parse_overrides("\n\n" + EXAMPLES["param"].replace("pd", "someone").replace("open", "closed"), "b.yaml")[0]
    other = parse_overrides(EXAMPLES["param"].replace("57", "58"), "a.yaml")[0]
    assert first.override_id == later.override_id != other.override_id


def test_empty_file_has_no_override() -> None:
    assert parse_overrides("# nothing yet\n", "a.yaml") == ()


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("a: [", "AP-OVR-001", 1),
        ("kind: quarantine\n", "AP-OVR-001", 1),
        (EXAMPLES["quarantine"] + "  author: pd\n", "AP-OVR-001", 6),
        (EXAMPLES["quarantine"] + "  planes: [1]\n", "AP-OVR-002", 6),
        (EXAMPLES["exclude-planes"].replace("planes: [", "plane: ["), "AP-OVR-002", 3),
        (EXAMPLES["quarantine"].replace("file:", "fil:"), "AP-OVR-002", 1),
        (EXAMPLES["quarantine"].replace("  reason: AO loop open\n", ""), "AP-OVR-003", 1),
        (entry("ban-cal", "", 'calibration: "group:1"'), "AP-OVR-003", 1),
        (EXAMPLES["exclude-planes"].replace("[3, 5]", "[3, x]"), "AP-OVR-004", 3),
        (EXAMPLES["exclude-planes"].replace("[3, 5]", "[-1]"), "AP-OVR-004", 3),
        (EXAMPLES["quarantine"].replace(f'"{FILE}"', "2016-09-15"), "AP-OVR-004", 1),
        (EXAMPLES["param"].replace("value: 57", "value: 12:30"), "AP-OVR-004", 5),
        (EXAMPLES["param"].replace("value: 57", "value: 2016-09-15T23:00:00"), "AP-OVR-004", 5),
        (EXAMPLES["quarantine"].replace("2026-11-02", "soon"), "AP-OVR-004", 5),
        (EXAMPLES["quarantine"].replace("quarantine", "quarantaine"), "AP-OVR-005", 2),
    ],
)
def test_faults_of_the_text_name_file_and_line(text: str, code: str, line: int) -> None:
    with pytest.raises(MisuseError, match=f"{code} a.yaml line {line}:"):
        parse_overrides(text, "a.yaml")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (EXAMPLES["quarantine"].replace(FILE, "SPHER.2016-01-01T00:00:00.000"), "AP-OVR-006"),
        (EXAMPLES["exclude-planes"].replace(OBS, "obs:ffffffffffff"), "AP-OVR-006"),
        (EXAMPLES["ban-cal"].replace(FRAMES[0].file_id, "group:ffffffffffff"), "AP-OVR-006"),
        (EXAMPLES["param"].replace(f'obs: "{OBS}"', "arm: IFS"), "AP-OVR-006"),
        (EXAMPLES["param"] + EXAMPLES["param"].replace("57", "58"), "AP-OVR-007"),
        (EXAMPLES["quarantine"] + EXAMPLES["quarantine"], "AP-OVR-007"),
        (EXAMPLES["quarantine"] + "  expires: 2026-11-02\n", "AP-OVR-008"),
        (EXAMPLES["exclude-planes"].replace("5]", "9]"), "AP-OVR-009"),
        (EXAMPLES["ban-cal"].replace("role: center", "role: centre"), "AP-OVR-009"),
        (EXAMPLES["param"].replace("irdis_tracks", "irdis_track"), "AP-OVR-009"),
        (EXAMPLES["param"].replace("mask_radius_px", "mask"), "AP-OVR-009"),
        (EXAMPLES["header"].replace("DET SEQ1 DIT", "NAXIS1"), "AP-OVR-009"),
        (EXAMPLES["header"].replace("new: 32.0", "new: long"), "AP-OVR-009"),
        (EXAMPLES["waive"], "AP-OVR-010"),
        (
            EXAMPLES["param"].replace("irdis_tracks", "irdis_flat").replace("mask_radius_px", "hot_sigma"),
            "AP-OVR-010",
        ),
        (EXAMPLES["param"].replace(f'obs: "{OBS}"', f'group: "{CENTER}"'), "AP-OVR-010"),
        (EXAMPLES["pin-cal"].replace("role: center", "role: flat"), "AP-OVR-010"),
        (EXAMPLES["pin-cal"].replace("role: center", "role: wave"), "AP-OVR-010"),
        (EXAMPLES["pin-cal"].replace(f'obs: "{OBS}"', f'group: "{CENTER}"'), "AP-OVR-010"),
        (EXAMPLES["ban-cal"].replace(FRAMES[0].file_id, FILE), "AP-OVR-010"),
    ],
)
def test_faults_against_the_archive_name_file_and_line(text: str, code: str) -> None:
    with pytest.raises(MisuseError, match=rf"{code} a.yaml line \d+: "):
        validate(parse_overrides(text, "a.yaml"), KNOWN, TODAY)


def test_what_has_no_effect_is_named_with_what_would() -> None:
    text = EXAMPLES["quarantine"] + EXAMPLES["pin-cal"].replace("role: center", "role: flat")
    (one,) = faults(parse_overrides(text, "a.yaml"), KNOWN, TODAY)
    assert (one.subject, one.remedy) == ("a.yaml line 6", "one of IRD_FLAT_FIELD_RAW")
    assert "IRD_STAR_CENTER_WAFFLE_RAW, which no rule takes for role flat of IRDIS" in one.message


def test_ban_of_a_file_that_is_quarantined_too_is_refused() -> None:
    """Its group lost the file, so that the ban would name no group and let it serve again."""
    without = tuple(one for one in GROUPS if FRAMES[0].file_id not in one.file_ids)
    known = replace(KNOWN, groups=without)
    assert [one.code for one in faults(parse_overrides(EXAMPLES["ban-cal"], "a.yaml"), known, TODAY)] == ["AP-OVR-010"]


def test_matches_by_filter_are_judged_on_frames_as_rules_read_them() -> None:
    text = EXAMPLES["param"].replace(f'obs: "{OBS}"', "filter: DB_H23")
    silent = {name: replace(one, inst_filter=None) for name, one in BY_ID.items()}
    as_read = replace(KNOWN, frames=silent)
    assert [one.code for one in faults(parse_overrides(text, "a.yaml"), as_read, TODAY)] == ["AP-OVR-006"]
    assert not faults(parse_overrides(text, "a.yaml"), replace(as_read, corrected=BY_ID), TODAY)
    made = decisions(text)
    assert made.effect_on("irdis_tracks", (FILE,), silent, OBSERVATION).parameters == {}
    found = made.effect_on("irdis_tracks", (FILE,), silent, OBSERVATION, first=BY_ID[FILE])
    assert found.parameters == {"mask_radius_px": 57}


def test_all_faults_are_told_in_order_of_lines() -> None:
    text = EXAMPLES["ban-cal"].replace("role: center", "role: x") + EXAMPLES["quarantine"].replace(FILE, "SPHER.no")
    assert [one.code for one in faults(parse_overrides(text, "a.yaml"), KNOWN, TODAY)] == ["AP-OVR-009", "AP-OVR-006"]


def test_expired_override_has_no_effect() -> None:
    expired = EXAMPLES["quarantine"] + "  expires: 2026-11-02\n"
    assert decisions(expired).quarantined == frozenset()
    assert decisions(expired.replace("11-02\n", "11-03\n")).quarantined == {FILE}


def test_excluded_planes_of_an_observation_count_along_its_science_planes() -> None:
    files = tuple(one.file_id for one in FRAMES)
    effect = decisions(EXAMPLES["exclude-planes"]).effect_on("irdis_tracks", files, BY_ID, OBSERVATION)
    # Three planes a file; the CENTER file holds none of them.
    assert effect.excluded_planes == ((FRAMES[2].file_id, 0), (FRAMES[2].file_id, 2))
    assert len(effect.override_ids) == 1


def observed(frames: tuple[RawFrame, ...], quarantined: frozenset[FileId] = frozenset()) -> Observation:
    classified = classify(frames, TABLES)[0]
    (one,) = observations(classified, group(classified, TABLES, quarantined), TABLES, quarantined)[0]
    return one


def test_a_quarantine_leaves_the_planes_that_numbers_mean_as_they_were() -> None:
    files = tuple(one.file_id for one in FRAMES)
    for taken in (FRAMES[1], FRAMES[3]):
        with_quarantine = observed(FRAMES, frozenset({taken.file_id}))
        assert plane_axis(with_quarantine, BY_ID) == plane_axis(OBSERVATION, BY_ID)
        left = tuple(one for one in files if one != taken.file_id)
        effect = decisions(EXAMPLES["exclude-planes"]).effect_on("irdis_tracks", left, BY_ID, with_quarantine)
        assert effect.excluded_planes == ((FRAMES[2].file_id, 0), (FRAMES[2].file_id, 2))
        validate(
            parse_overrides(EXAMPLES["exclude-planes"].replace("5]", "8]"), "a.yaml"),
            replace(KNOWN, observations=(with_quarantine,)),
            TODAY,
        )


def test_planes_of_a_quarantined_file_are_excluded_from_nothing() -> None:
    left = tuple(one.file_id for one in FRAMES if one is not FRAMES[2])
    found = decisions(EXAMPLES["exclude-planes"]).effect_on(
        "irdis_tracks", left, BY_ID, observed(FRAMES, frozenset({FRAMES[2].file_id}))
    )
    assert (found.excluded_planes, found.override_ids) == ((), ())


def test_truncated_files_have_no_planes_on_the_axis() -> None:
    """As in the product: planning leaves them out of the main inputs."""
    frames = (FRAMES[0], replace(FRAMES[1], truncated=True), *FRAMES[2:])
    by_id = {one.file_id: one for one in frames}
    assert plane_axis(observed(frames), by_id) == tuple((one.file_id, n) for one in frames[2:] for n in range(3))
    one_out = observed(frames, frozenset({FILE}))
    assert plane_axis(one_out, by_id) == plane_axis(observed(frames), by_id)


def test_effects_touch_nothing_else() -> None:
    made = decisions(*EXAMPLES.values())
    other = raw(100)
    assert made.effect_on("irdis_science", (other.file_id,), {other.file_id: other}).override_ids == ()


def test_parameter_reaches_its_recipe_and_observation_only() -> None:
    made = decisions(EXAMPLES["param"])
    assert made.effect_on("irdis_tracks", (FILE,), BY_ID, OBSERVATION).parameters == {"mask_radius_px": 57}
    assert made.effect_on("irdis_science", (FILE,), BY_ID, OBSERVATION).parameters == {}
    assert made.effect_on("irdis_tracks", (FILE,), BY_ID, None).parameters == {}


def test_header_correction_changes_value_match_key_and_nothing_else() -> None:
    made = decisions(EXAMPLES["header"])
    corrected = apply_corrections(FRAMES, made)
    assert [one.dit_ms for one in corrected] == [16000, 32000, 16000, 16000]
    assert all(a is b for a, b in zip(corrected, FRAMES, strict=True) if a.file_id != FILE)
    effect = made.effect_on("irdis_science", tuple(BY_ID), BY_ID, OBSERVATION)
    assert effect.corrections == ((FILE, "DET SEQ1 DIT", "32.0"),)


def test_stated_dit_settles_what_ingest_found_missing() -> None:
    lacking = [replace(one, problems=("DET SEQ1 DIT: missing, EXPTIME stands in", "X: odd")) for one in FRAMES]
    corrected = apply_corrections(lacking, decisions(EXAMPLES["header"]))
    assert [one.file_id for one in frame_issues(corrected) if one.code == "AP-ING-052"] == [
        one.file_id for one in FRAMES if one.file_id != FILE
    ]
    assert next(one for one in corrected if one.file_id == FILE).problems == ("X: odd",)


def test_correction_of_an_old_value_spares_frames_that_have_another() -> None:
    text = entry("header", "ob: 1158220", "keyword: INS COMB IFLT", "old: DB_K12", "new: DB_H34")
    assert apply_corrections(FRAMES, decisions(text)) == FRAMES
    assert decisions(text).effect_on("irdis_science", (FILE,), BY_ID, OBSERVATION).corrections == ()


def test_order_of_overrides_changes_nothing() -> None:
    some = [one for text in EXAMPLES.values() for one in parse_overrides(text, "a.yaml")]
    assert decide(some, TODAY) == decide(some[::-1], TODAY)
