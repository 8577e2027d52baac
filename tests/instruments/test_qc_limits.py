"""Limits of quality figures: judged by one function, in process ids only where a recipe acts on them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_proc.errors import MisuseError
from archive_proc.instruments.qc_limits import VERDICTS, LimitRow, PlaneSetups, QcSetup, judge, judge_many
from archive_proc.instruments.tables import FILES, Tables, load_tables, parse_tables, table_digest
from archive_proc.recipes.recipe import TableRead


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    folder = resources.files("archive_proc.instruments")
    return {name: folder.joinpath(name).read_text(encoding="utf-8") for name in FILES}


def changed(texts: dict[str, str], old: str, new: str) -> Tables:
    assert old in texts["qc_limits.toml"]
    return parse_tables({**texts, "qc_limits.toml": texts["qc_limits.toml"].replace(old, new, 1)})


def limit(**given: object) -> LimitRow:
    return LimitRow(reference="here", **given)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("value", "verdict", "threshold"),
    [(5.0, "good", 6.0), (6.0, "good", 6.0), (6.1, "warn", 6.0), (9.1, "refuse", 9.0), (1.9, "warn", 2.0),
     (0.5, "refuse", 1.0), (float("nan"), None, None)],
)  # fmt: skip
def test_a_value_is_judged_by_the_worst_limit_it_breaks(
    value: float, verdict: str | None, threshold: float | None
) -> None:
    row = limit(refuse_below=1.0, warn_below=2.0, warn_above=6.0, refuse_above=9.0)
    judged = judge([row], value, QcSetup())
    assert (judged.verdict, judged.threshold) == (verdict, threshold)


def test_limits_hold_in_their_filters_dits_and_nights_only() -> None:
    rows = [
        limit(inst_filter=("DB_K*",), warn_above=1.0),
        limit(inst_filter=("!DB_K*",), dit_s=(0.0, 10.0), warn_above=2.0),
        limit(valid_from=dt.date(2016, 7, 12), valid_to=dt.date(2017, 1, 1), refuse_above=3.0),
    ]

    def verdict(value: float, *setup: object) -> str | None:
        return judge(rows, value, QcSetup(*setup)).verdict  # type: ignore[arg-type]  # fields in order

    assert verdict(1.5, "DB_K12", 16.0) == "warn"
    assert verdict(1.5, "DB_H23", 4.0) == "good"
    assert verdict(2.5, "DB_H23", 4.0) == "warn"
    assert verdict(2.5, "DB_H23", 16.0) is None
    assert verdict(4.0, "DB_H23", 16.0, dt.date(2016, 7, 12)) == "refuse"
    assert verdict(4.0, "DB_H23", 16.0, dt.date(2017, 1, 1)) is None
    assert verdict(4.0) is None, "a limit that asks for what is not known says nothing"


bounds = st.lists(st.floats(-5, 5), min_size=4, max_size=4).map(sorted)


@given(bounds, st.lists(st.floats(-6, 6) | st.just(float("nan")), min_size=1, max_size=9), st.booleans())
def test_many_values_are_judged_as_each_one_is(edges: list[float], values: list[float], only_center: bool) -> None:
    low, warn_low, warn_high, high = edges
    kinds = ("CENTER",) if only_center else ()
    rows = [
        limit(refuse_below=low, warn_below=warn_low, frame_type=kinds),
        limit(warn_above=warn_high, refuse_above=high, dit_s=(0.0, 2.0)),
    ]
    types = np.array(["CENTER" if place % 2 else "OBJECT" for place in range(len(values))])
    dits = np.array([1.0 + 2.0 * (place % 3) for place in range(len(values))])
    found = judge_many(rows, np.array(values), PlaneSetups("DB_H23", None, dits, types))
    for place, value in enumerate(values):
        setup = QcSetup("DB_H23", float(dits[place]), None, str(types[place]))
        verdict = judge(rows, value, setup).verdict
        assert (VERDICTS[found[place]] if found[place] >= 0 else None) == verdict


READS = [TableRead("qc.dark")]


def test_limits_that_warn_are_in_no_process_id_and_those_that_refuse_are(texts: dict[str, str]) -> None:
    tables = load_tables()
    warned = changed(texts, "warn_above = 12.0\nrefuse_above = 25.0", "warn_above = 11.0\nrefuse_above = 25.0")
    refused = changed(texts, "warn_above = 12.0\nrefuse_above = 25.0", "warn_above = 12.0\nrefuse_above = 24.0")
    new = changed(texts, 'metric = "median_level"', 'metric = "mean_level"')
    assert table_digest(warned, READS, None) == table_digest(tables, READS, None) == table_digest(new, READS, None)
    assert table_digest(refused, READS, None) != table_digest(tables, READS, None)
    assert table_digest(refused, [TableRead("qc.psf")], None) == table_digest(tables, [TableRead("qc.psf")], None)
    assert len({one.qc.version for one in (tables, warned, refused, new)}) == 4


def test_the_version_of_the_limits_follows_numbers_and_not_words(texts: dict[str, str]) -> None:
    worded = changed(texts, 'meaning = "median of the master"', 'meaning = "the median of the master"')
    assert worded.qc.version == load_tables().qc.version


def test_what_a_recipe_may_know_of_a_limit_holds_no_warning() -> None:
    qc = load_tables().qc
    for row in qc.rows:
        for product in row.products if row.decides else ():
            for name in row.names:
                assert all({of for of, _, _ in one.bounds()} <= {"refuse"} for one in qc.deciding(product, name))
    with pytest.raises(KeyError, match="decides nothing"):
        qc.deciding("dark", "median_level")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('products = ["bad_pixels"]', 'products = ["bad_pixel"]', "unknown product type bad_pixel"),
        ('metric = "hot_fraction"', 'metric = "bad_fraction"', "is there twice"),
        ('unit = "adu"', 'unit = " "', "unit and meaning must be given"),
        ("warn_above = 12.0\nrefuse_above = 25.0", "warn_above = 26.0\nrefuse_above = 25.0", "must hold"),
        ("warn_above = 12.0\nrefuse_above = 25.0\n", "", "without any limit"),
        ("warn_above = 12.0\nrefuse_above = 25.0\n", "warn_above = 12.0\n", "decides, and no limit refuses"),
        ("warn_above = 12.0\n", 'frame_type = ["FLUX"]\nwarn_above = 12.0\n', "frame_type is of planes"),
        ("warn_above = 12.0\n", "valid_from = 2017-01-01\nvalid_to = 2016-01-01\nwarn_above = 12.0\n", "later"),
        ("warn_above = 12.0\n", "warn_over = 12.0\n", "warn_over"),
        ('code = "AP-QCL-001"', 'code = "QCL-1"', "no error code"),
    ],
)
def test_a_wrong_limit_is_named_by_file_line_and_rule(texts: dict[str, str], old: str, new: str, rule: str) -> None:
    with pytest.raises(MisuseError) as error:
        changed(texts, old, new)
    assert error.value.subject.startswith("qc_limits.toml line ")
    assert rule in error.value.message


def rows_without_reason() -> Iterator[str]:
    for row in load_tables().qc.rows:
        if any(not one.reference.strip() for one in row.limit):
            yield row.metric


def test_every_limit_says_where_it_comes_from() -> None:
    assert list(rows_without_reason()) == []
