"""Rows of the IFS bench: exactly the issue's aims, missing figures missed, unproven references no yardstick."""

import json

import pytest

from archive_proc.bench.figures import Beside, Figure, Report, across_seeds, report_json, table
from archive_proc.bench.ifs.aims import AIMS, PUBLISHED
from archive_proc.bench.ifs.rows import Other, reproduced, rows
from archive_proc.bench.ifs.values import Value


def test_a_ratio_is_met_within_its_range_only():
    def met(value):
        (row,) = rows(
            "YJ",
            "YJ",
            {"measured over claimed sigma, band": Value(value)},
            [],
            ["measured over claimed sigma, band"],
        )
        return row.met

    assert [met(one) for one in (0.91, 0.92, 1.0, 1.08, 1.09, None)] == [False, True, True, True, False, False]


def test_a_figure_that_was_not_measured_is_a_row_that_is_missed():
    made = rows("YJ", "YJ", {}, [])
    assert [one.name for one in made] == list(AIMS["YJ"])
    assert all(one.met is (False if one.aim is not None else None) for one in made)


def test_a_reference_counts_only_where_it_reproduces_what_is_published():
    published = {name: Value(value) for name, value in PUBLISHED["independent lenslets"].items()}
    assert reproduced("independent lenslets", "channel bias, uniform field, rms", published)
    assert reproduced("independent lenslets", "companion L 0.003, bias", published)
    wrong = {**published, "channel bias, uniform field, rms": Value(3.0)}
    assert not reproduced("independent lenslets", "channel bias, uniform field, rms", wrong)
    assert not reproduced("independent lenslets", "companion L 0.003, bias", wrong)
    assert reproduced("independent lenslets", "laser lines, offset", wrong)
    assert not reproduced("independent lenslets", "laser lines, offset", None)


def test_invalid_references_and_ranges_are_printed_as_such():
    name = "measured over claimed sigma, one channel"
    values = {name: Value(0.55)}
    others = [
        Other("independent lenslets", values, None),
        Other("true PSFlets", {name: Value(1.01)}, is_reference=False),
    ]
    report = Report("accuracy ifs", tuple(rows("YJ", "YJ", {name: Value(0.97)}, others, [name])))
    drawn = table(report)
    assert "invalid" in drawn
    assert "0.92 - 1.08" in drawn
    assert "1.01" in drawn
    (figure,) = json.loads(report_json(report))["figures"]
    assert figure["beside"] == {"independent lenslets": "invalid", "true PSFlets": 1.01}
    assert figure["aim_from"] == 0.92


@pytest.mark.parametrize(("mode", "aims", "width"), [("YJ", [1.7, 4.0], 16), ("YH", [None, None], 30)])
def test_of_all_widths_of_the_truth_one_is_judged_and_says_so(mode, aims, width):
    name = "channel bias, uniform field"
    made = [one for one in rows(mode, mode, {}, []) if one.name.startswith(name)]
    fixed = [one for one in made if "fixed resolution" in one.name and "both" not in one.name]
    assert [one.aim for one in fixed] == aims
    assert {one.compared for one in fixed} == {f"truth spread by {width} nm, product as it is"}
    curve = [one for one in made if "truth at" in one.name]
    assert len(curve) == 8
    assert all(one.aim is None for one in curve)
    assert f"truth spread by {width} nm" in table(Report("accuracy ifs", tuple(fixed)))


def test_columns_of_other_reductions_are_medians_over_the_seeds():
    def run(value, other, invalid):
        return [
            Figure(
                case="a", name="x", value=value, unit="%", aim=2.0, aim_from=1.0, beside=(Beside("c", other, invalid),)
            )
        ]

    (row,) = across_seeds("all", [run(1.0, 5.0, False), run(2.0, 7.0, False), run(1.5, 6.0, True)])
    assert (row.value, row.aim_from, row.met) == (1.5, 1.0, True)
    assert row.beside == (Beside("c", 6.0, True),)
    assert row.spread == pytest.approx(0.408, abs=0.001)
