"""The packaged tables hold, and a wrong row is named by file, line and rule."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from importlib import resources

import pytest

from archive_proc.errors import DataFailure, MisuseError
from archive_proc.instruments.rows import pattern_fits
from archive_proc.instruments.tables import FILES, Tables, load_tables, parse_tables, table_digest
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId

NOTES_FILTERS = {
    "DB_Y23", "DB_J23", "DB_H23", "DB_H32", "DB_NDH23", "DB_NDH32", "DB_H34", "DB_K12", "BB_Y", "BB_J", "BB_H", "BB_Ks",
}  # fmt: skip


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    folder = resources.files("archive_proc.instruments")
    return {name: folder.joinpath(name).read_text(encoding="utf-8") for name in FILES}


@pytest.fixture(scope="module")
def tables() -> Tables:
    return load_tables()


def frame(**facts: object) -> RawFrame:
    values: dict[str, object] = {
        "file_id": FileId("SPHER.2016-09-15T23:00:00.000"),
        "content_id": "0" * 64,
        "uri": "raw/a.fits",
        "arm": Arm.IRDIS,
        "date_obs": dt.datetime(2016, 9, 15, 23),
        "mjd_obs": 57646.9,
        "mjd_end": 57646.9,
        "night": dt.date(2016, 9, 15),
        "period_date": 97,
    }
    return RawFrame(**(values | facts))  # type: ignore[arg-type]  # the dataclass's own fields


def test_every_filter_of_the_notes_has_a_row(tables: Tables) -> None:
    assert set(tables.irdis.filters) >= NOTES_FILTERS


def test_every_neutral_density_covers_every_filter_with_a_number_per_half(tables: Tables) -> None:
    for density in tables.irdis.neutral_densities.values():
        for row in tables.irdis.filters.values():
            assert all(0 < one <= 1 for one in density.of(row))


def test_neutral_density_differs_between_the_halves_and_follows_swapped_filters(tables: Tables) -> None:
    left, right = tables.irdis.nd("ND_2.0").of(tables.irdis.filter("DB_H23"))
    assert right / left == pytest.approx(1.46, abs=0.01)
    assert tables.irdis.nd("ND_2.0").of(tables.irdis.filter("DB_H32")) == (right, left)


def test_missing_neutral_density_keyword_means_open(tables: Tables) -> None:
    assert tables.irdis.nd(None).of(tables.irdis.filter("DB_K12")) == (1.0, 1.0)


def test_only_k_band_filters_are_thermal(tables: Tables) -> None:
    assert all(row.thermal == (row.wavelength_um[0] > 2) for row in tables.irdis.filters.values())


@pytest.mark.parametrize(("mjd", "epsilon"), [(57580.9999, True), (57581.0, False)])
def test_epsilon_ends_on_2016_07_12(tables: Tables, mjd: float, epsilon: bool) -> None:
    assert tables.irdis.geometry(mjd).epsilon is epsilon


def test_unknown_filter_is_named_with_its_nearest_row(tables: Tables) -> None:
    with pytest.raises(DataFailure, match=r"AP-TAB-004 .*DB_H43.*nearest is DB_H"):
        tables.irdis.filter("DB_H43")


def test_same_variables_are_resolved_and_extended(tables: Tables) -> None:
    science = tables.product_types["irdis_science_cube"].variables
    centered = tables.product_types["irdis_centered_cube"].variables
    assert {one.name for one in centered} - {one.name for one in science} == {"resampling_correlation"}


@pytest.mark.parametrize(
    ("name", "old", "new", "rule"),
    [
        ("frame_types.toml", 'role = "SKY"', 'role = "SKYE"', "SKYE"),
        ("frame_types.toml", 'group_keys = ["dit_ms"]', 'group_keys = ["dit"]', "unknown column dit"),
        ("frame_types.toml", 'name = "IRD_DARK_RAW"', 'nam = "IRD_DARK_RAW"', "nam"),
        ("associations.toml", "min_files = 1\nmax_files = 20", 'min_files = "1"\nmax_files = 20', "Expected `int`"),
        ("associations.toml", "levels_days = [1.0, 3.0", "levels_days = [3.0, 1.0", "four rising days"),
        (
            "associations.toml",
            'frame_type = "IRD_FLAT_FIELD_RAW"\nmatch',
            'frame_type = "IRD_FLAT_RAW"\nmatch',
            "unknown",
        ),
        ("associations.toml", 'id = "irdis.flat"', 'id = "irdis.background"', "used twice"),
        ("associations.toml", 'match = ["inst_filter"]\n', 'match = ["filter"]\n', "unknown column filter"),
        ("irdis.toml", 'name = "DB_J23"\nkind = "dual"', 'name = "DB_Y23"\nkind = "dual"', "there twice"),
        ("irdis.toml", "H2 = 0.1164", "H2 = 1.1164", "not in"),
        ("irdis.toml", "thermal = true", "thermal = 1", "Expected `bool`"),
        ("irdis.toml", "valid_from = 2016-07-12", "valid_from = 2016-07-13", "validity must begin"),
        ("ifs.toml", '"CAL_NB4_2_YJH"', '"CAL_BB_2_YJ"', "belongs to mode YJ"),
        ("product_types.toml", 'same_variables_as = "dark"', 'same_variables_as = "darks"', "same_variables_as"),
        ("product_types.toml", "chunks = [4, 1, 256, 256]", "chunks = [5, 1, 256, 256]", "chunks must divide"),
    ],
)
def test_wrong_row_is_named_by_file_line_and_rule(
    texts: dict[str, str], name: str, old: str, new: str, rule: str
) -> None:
    assert old in texts[name]
    wrong = texts[name].replace(old, new, 1)
    at = texts[name][: texts[name].index(old)].count("\n") + 1
    with pytest.raises(MisuseError) as error:
        parse_tables({**texts, name: wrong})
    assert error.value.subject.startswith(f"{name} line ")
    assert rule in error.value.message
    # The line of the field where the rule is about a field, else of the row's header just above.
    assert abs(int(error.value.subject.rpartition(" ")[2]) - at) <= 14


def test_wrong_field_is_named_by_its_own_line(texts: dict[str, str]) -> None:
    wrong = texts["irdis.toml"].replace("pixel_scale_error_mas = 0.009", 'pixel_scale_error_mas = "small"', 1)
    at = wrong[: wrong.index('"small"')].count("\n") + 1
    with pytest.raises(MisuseError, match=f"AP-TAB-002 irdis.toml line {at}: filter DB_H23"):
        parse_tables({**texts, "irdis.toml": wrong})


def test_calibration_that_needs_itself_is_a_cycle(texts: dict[str, str]) -> None:
    rule = """
[[rule]]
id = "irdis.dark.sky"
arm = "IRDIS"
consumers = ["IRD_DARK_RAW"]
role = "sky"
levels_days = [1.0, 2.0, 7.0, 90.0]
on_missing = { code = "AP-CAL-001", severity = "note", remedy = "none" }
[[rule.candidate]]
frame_type = "IRD_SKY_BG_RAW"
match = ["dit_ms"]
"""
    with pytest.raises(MisuseError, match=r"AP-TAB-003 associations.toml line \d+: .*cycle: .*IRD_SKY_BG_RAW"):
        parse_tables({**texts, "associations.toml": texts["associations.toml"] + rule})


def test_no_toml_is_named(texts: dict[str, str]) -> None:
    with pytest.raises(MisuseError, match=r"AP-TAB-001 ifs.toml: not TOML.*line 2"):
        parse_tables({**texts, "ifs.toml": "a = 1\nb c"})


def test_ruleset_version_follows_the_rules_and_not_the_optics(texts: dict[str, str], tables: Tables) -> None:
    optics = texts["irdis.toml"].replace("H2 = 0.1164", "H2 = 0.1165")
    rules = texts["associations.toml"].replace("max_files = 20", "max_files = 21")
    assert parse_tables({**texts, "irdis.toml": optics}).ruleset_version == tables.ruleset_version
    assert parse_tables({**texts, "associations.toml": rules}).ruleset_version != tables.ruleset_version


@dataclass(frozen=True)
class Read:
    table: str
    by: str | None = None


def test_digest_changes_with_the_row_that_is_read_and_no_other(texts: dict[str, str], tables: Tables) -> None:
    changed = parse_tables({**texts, "irdis.toml": texts["irdis.toml"].replace("[2.110, 2.251]", "[2.111, 2.251]")})
    reads = [Read("irdis.filters", "inst_filter"), Read("irdis.detector")]
    h, k = frame(inst_filter="DB_H23"), frame(inst_filter="DB_K12")
    assert table_digest(changed, reads, h) == table_digest(tables, reads, h)
    assert table_digest(changed, reads, k) != table_digest(tables, reads, k)


def test_digest_of_geometry_is_that_of_its_epoch(tables: Tables) -> None:
    read = [Read("irdis.geometry", "mjd_obs")]
    assert table_digest(tables, read, frame(mjd_obs=57000.0)) == table_digest(tables, read, frame(mjd_obs=57100.0))
    assert table_digest(tables, read, frame(mjd_obs=57000.0)) != table_digest(tables, read, frame(mjd_obs=58000.0))


def test_missing_neutral_density_digests_as_open(tables: Tables) -> None:
    read = [Read("irdis.neutral_density", "nd_filter")]
    assert table_digest(tables, read, frame(nd_filter=None)) == table_digest(tables, read, frame(nd_filter="OPEN"))
    assert table_digest(tables, read, frame(nd_filter=None)) != table_digest(tables, read, frame(nd_filter="ND_1.0"))


def test_digest_of_earth_rotation_is_that_of_its_time(texts: dict[str, str], tables: Tables) -> None:
    read = [Read("earth_rotation", "mjd_obs")]
    near, far, last = frame(mjd_obs=57646.9), frame(mjd_obs=59000.0), frame(mjd_obs=61400.0)
    other = texts["earth_rotation.toml"].replace("-36.234", "-36.235")  # of the knot at MJD 57618
    longer = texts["earth_rotation.toml"].replace(" 61312,", " 61312, 61372,").replace("-37.021,", "-37.021, -37.030,")
    assert other != texts["earth_rotation.toml"] != longer
    changed = parse_tables({**texts, "earth_rotation.toml": other})
    grown = parse_tables({**texts, "earth_rotation.toml": longer})
    assert table_digest(changed, read, near) != table_digest(tables, read, near)
    assert table_digest(changed, read, far) == table_digest(tables, read, far)
    assert table_digest(grown, read, near) == table_digest(tables, read, near)
    assert table_digest(grown, read, last) != table_digest(tables, read, last)
    whole = [Read("earth_rotation")]
    assert table_digest(changed, whole, far) != table_digest(tables, whole, far)


def test_earth_rotation_needs_a_value_for_each_knot(texts: dict[str, str]) -> None:
    short = texts["earth_rotation.toml"].replace("-37.021,", "")
    with pytest.raises(MisuseError, match=r"AP-TAB-003 earth_rotation.toml line \d+"):
        parse_tables({**texts, "earth_rotation.toml": short})


def test_references_are_words_and_change_no_digest(texts: dict[str, str], tables: Tables) -> None:
    words = texts["irdis.toml"].replace('reference = "Maire et al. 2016 (H2)', 'reference = "M16 (H2)')
    assert words != texts["irdis.toml"]
    read = [Read("irdis.filters")]
    assert table_digest(parse_tables({**texts, "irdis.toml": words}), read, None) == table_digest(tables, read, None)


def test_reading_an_unknown_table_is_an_error(tables: Tables) -> None:
    with pytest.raises(MisuseError, match="AP-TAB-006"):
        table_digest(tables, [Read("irdis.filtres")], None)


@pytest.mark.parametrize(
    ("patterns", "value", "fits"),
    [(("IMAGE*",), "IMAGE", True), (("!*DUAL*",), None, True), ((), "anything", True), (("A", "!A"), "a", False)],
)
def test_patterns(patterns: tuple[str, ...], value: str | None, fits: bool) -> None:
    assert pattern_fits(patterns, value) is fits
