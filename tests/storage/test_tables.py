"""The schema: documented, in step with the manifest, and a cast that refuses instead of guessing."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pyarrow as pa
import pytest

from archive_proc.errors import InputError
from archive_proc.model.frames import RawFrame
from archive_proc.storage.table_form import define
from archive_proc.storage.tables import TABLES, cast, empty, table_from_columns, table_from_rows, typed_rows

DESIGN_TABLES = {
    "files",
    "refusals",
    "targets",
    "target_names",
    "observations",
    "observation_files",
    "association_rules",
    "associations",
    "recipes",
    "parameter_sets",
    "processes",
    "process_inputs",
    "process_edges",
    "attempts",
    "products",
    "qc",
    "verdicts",
    "issues",
    "overrides",
    "plans",
    "runs",
    "campaigns",
    "releases",
    "release_items",
}


def test_every_table_of_the_design_is_there() -> None:
    assert set(TABLES) >= DESIGN_TABLES
    assert {"subject_kind", "subject_id", "access", "release_date"} <= set(TABLES["products"].names)


def test_files_has_every_column_of_a_raw_frame_in_order() -> None:
    names = tuple(one.name for one in dataclasses.fields(RawFrame))
    assert tuple(one for one in TABLES["files"].names if one in names) == names


def test_units_and_meanings_travel_with_every_part() -> None:
    field = TABLES["files"].arrow_schema.field("dit_s")
    assert field.metadata == {b"unit": b"s", b"meaning": b"DET SEQ1 DIT"}
    assert all(one.meaning for table in TABLES.values() for one in table.columns)


def test_absent_columns_are_null_and_rows_sorted() -> None:
    rows = pa.table({"target_id": ["b", "a"], "main_id": ["B", "A"]})
    found = cast(TABLES["targets"], rows)
    assert found.schema.equals(TABLES["targets"].arrow_schema)
    assert found.column("target_id").to_pylist() == ["a", "b"]
    assert found.column("mag_h").null_count == 2


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("mag_h", pa.array(["7.1"])),
        ("main_id", pa.array([5])),
        ("resolved_at", pa.array(["2020-01-01"])),
        ("nonsense", pa.array([1])),
        ("target_id", pa.array([None], pa.string())),
    ],
)
def test_cast_refuses_what_would_be_guessing(column: str, values: pa.Array) -> None:
    rows = pa.table({"target_id": ["a"], column: values} if column != "target_id" else {column: values})
    with pytest.raises(InputError, match="AP-STO-501"):
        cast(TABLES["targets"], rows)


def test_cast_takes_narrow_integers_and_hexadecimal_digests() -> None:
    rows = pa.table(
        {"file_id": ["f"], "content_id": ["ab" * 32], "ndit": pa.array([4], pa.int64()), "period_date": pa.array([95])}
    )
    found = cast(TABLES["files"], rows)
    assert found.column("content_id").to_pylist() == [bytes.fromhex("ab" * 32)]
    assert found.column("ndit").to_pylist() == [4]
    with pytest.raises(InputError, match="period_date"):
        cast(TABLES["files"], rows.set_column(3, "period_date", pa.array([70_000])))


def test_rows_refuse_another_kind_and_turn_nan_into_null() -> None:
    table = TABLES["qc"]
    row = {"product_id": "p", "metric": "m", "value": float("nan"), "period_date": 95}
    assert table_from_rows(table, [row]).column("value").to_pylist() == [None]
    with pytest.raises(InputError, match=r"qc\.value"):
        table_from_rows(table, [{**row, "value": "high"}])
    with pytest.raises(InputError, match="no such column"):
        table_from_rows(table, [{**row, "colour": "red"}])


def test_equal_rows_in_any_order_give_equal_tables() -> None:
    rows = [{"run_id": f"r{n}", "started_at": dt.datetime(2026, 1, n + 1)} for n in range(5)]
    assert table_from_rows(TABLES["runs"], rows).equals(table_from_rows(TABLES["runs"], rows[::-1]))
    assert empty(TABLES["runs"]).num_rows == 0


@pytest.mark.parametrize("line", ["a text", "a words - meaning", "a text - x\na text - twice"])
def test_malformed_definition_fails_at_load(line: str) -> None:
    with pytest.raises(ValueError, match=r"table t|not `name"):
        define("t", "a test", line, key="a")


def test_columns_and_rows_give_equal_tables() -> None:
    table = TABLES["associations"]
    rows = [
        {"consumer_group_id": one, "role": "dark", "selector": "", "calib_group_id": "c", "level": 1, "dt_days": days}
        for one, days in (("b", 0.5), ("a", float("nan")), ("c", None))
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert table_from_columns(table, columns).equals(table_from_rows(table, rows))
    assert table_from_columns(table, {}).num_rows == 0
    for wrong in ({"no_such": [1]}, {**columns, "level": ["high"] * 3}, {**columns, "role": [None] * 3}):
        with pytest.raises(InputError, match="AP-STO-501"):
            table_from_columns(table, wrong)


def test_rows_that_name_other_columns_stand_in_one_table() -> None:
    table = TABLES["qc"]
    base: dict[str, object] = {"product_id": "p", "period_date": 95, "metric": "level", "value": 1.0}
    swapped: dict[str, object] = {"value": 2.0, "metric": "noise", "period_date": 95, "product_id": "p"}
    more: dict[str, object] = {**base, "metric": "rms", "unit": "adu"}
    found = table_from_rows(table, [more, swapped, base])
    named = [found.column(name).to_pylist() for name in ("metric", "value", "unit")]
    assert named == [["level", "noise", "rms"], [1.0, 2.0, 1.0], [None, None, "adu"]]
    assert typed_rows(table, []).equals(empty(table))
