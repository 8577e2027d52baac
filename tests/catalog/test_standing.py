"""What the planner is told of the catalog: what fills each slot, and what its own checks refused."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import making
import pyarrow as pa
import pytest

from archive_proc.catalog.keyed_rows import KeyedRows
from archive_proc.catalog.standing import CurrentSlots, failed, refused, standing
from archive_proc.flow.publish import publish
from archive_proc.model.events import ProcessFailed
from archive_proc.model.ids import RunId, digest32
from archive_proc.model.processes import Cause, Process, QcValue
from archive_proc.planning.known import KnownProcess, Slot
from archive_proc.storage.layout import Layout
from archive_proc.storage.snapshots import Consumed, TableChange, publish_snapshot, read_table
from archive_proc.storage.tables import TABLES, cast

MEASURED = (QcValue("", "hot", 0.4, "1", "refuse"),)


def fail(archive: making.Archive, run: RunId, one: Process, **given: object) -> None:
    failed = ProcessFailed(
        process_id=one.process_id, recipe=one.recipe, attempt=1, at=archive.tick(), cause=Cause.DATA,
        code="AP-IRD-004", signature="s", message="unusable", qc=MEASURED,
    )  # fmt: skip
    archive.journal(run, replace(failed, **given))


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({}, True),
        ({"qc": ()}, False),
        ({"code": "AP-ING-032", "qc": ()}, False),
        ({"code": "AP-ING-030"}, False),
        ({"code": "AP-RUN-018"}, False),
        ({"code": "AP-STO-014"}, False),
        ({"cause": Cause.CODE}, False),
        ({"cause": Cause.INFRA}, False),
        ({"qc": (QcValue("", "hot", 0.4, "1", "warn"),)}, False),
    ],
)
def test_only_a_verdict_of_the_recipe_s_own_checks_refuses(
    tmp_path: Path, given: dict[str, object], counts: bool
) -> None:
    archive = making.archive(tmp_path / "A")
    publish(archive.layout, making.understanding())
    night = making.night()
    run = archive.start("r1", making.plan_of(night.all))
    archive.seal(run, night.dark)
    fail(archive, run, night.sky, **given)
    archive.end(run, failed=1, done=1)
    snapshot = publish(archive.layout)
    expected = {night.sky.process_id} if counts else set()
    assert refused(snapshot) == expected
    verdicts = read_table(snapshot, TABLES["verdicts"]).column("subject_id").to_pylist()
    assert night.sky.process_id not in verdicts or given.get("qc", MEASURED), "no verdict without a measurement"
    assert standing(archive.layout, "2026-11-02").refused == expected
    # Given up it is in any case; what may have passed the next command tries again.
    found = standing(archive.layout, "2026-11-02")
    passes = given.get("cause") is Cause.INFRA
    assert (found.passing if passes else found.failed) == {night.sky.process_id}
    assert (found.failed if passes else found.passing) == frozenset()
    again = standing(archive.layout, "2026-11-02", retry=True)
    assert again.refused == again.failed == again.passing == frozenset()


def test_poison_has_not_passed_whatever_it_was(tmp_path: Path) -> None:
    archive = making.archive(tmp_path / "A")
    publish(archive.layout, making.understanding())
    night = making.night()
    run = archive.start("r1", making.plan_of(night.all))
    fail(archive, run, night.sky, cause=Cause.INFRA, code="AP-RUN-018", poison=True, qc=())
    archive.end(run, quarantined=1)
    publish(archive.layout)
    found = standing(archive.layout, "2026-11-02")
    assert (found.failed, found.passing) == ({night.sky.process_id}, frozenset())


def test_a_refusal_ends_with_the_seal_of_its_process(tmp_path: Path) -> None:
    archive = making.archive(tmp_path / "A")
    night = making.night()
    run = archive.start("r1", making.plan_of(night.all))
    fail(archive, run, night.dark)
    archive.end(run, failed=1)
    publish(archive.layout, making.understanding())
    run = archive.start("r2", making.plan_of(night.all))
    archive.seal(run, night.dark)
    archive.end(run, done=1)
    snapshot = publish(archive.layout)
    assert refused(snapshot) == failed(snapshot, passing=False) == failed(snapshot, passing=True) == frozenset()


def test_rows_are_found_by_key_whatever_their_order() -> None:
    rows = pa.table(
        {"key": ["b", "a", "b", "c", "a", "b"], "n": [0, 1, 2, 3, 4, 5], "more": [[1], [], None, [2], [3], []]}
    )
    for table in (rows, pa.concat_tables([rows.slice(0, 2), rows.slice(2)]), rows.sort_by("key")):
        found = KeyedRows(table, "key")
        assert [row[1] for row in found.of("a")] == [1, 4]
        assert found.of("b") == [("b", 0, [1]), ("b", 2, None), ("b", 5, [])]
        assert found.of("x") == []
    assert KeyedRows(rows.slice(0, 0), "key").of("a") == []


def test_facts_of_many_slots_come_from_one_reading(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    size, inputs, periods = 12000, 15, 4
    ids = [digest32("process", one) for one in range(size)]
    period = [90 + one % periods for one in range(size)]
    long = [one for one in ids for _ in range(inputs)]
    tables = {
        "processes": {
            "process_id": ids, "subject_id": ids, "recipe": ["r"] * size, "recipe_version": ["1"] * size,
            "param_hash": [f"p{one % 5}" for one in range(size)], "tables_digest": ["0" * 64] * size,
            "excluded_planes": ["[[0,3]]"] * size, "corrections": ["[]"] * size, "override_ids": [["o1"]] * size,
            "period_date": period,
        },
        "parameter_sets": {
            "param_hash": [f"p{one}" for one in range(5)], "preset": ["s"] * 5,
            "params": [f'{{"clip":{one}.5,"radii":[1,2]}}' for one in range(5)],
        },
        "process_inputs": {
            "process_id": long, "seq": list(range(inputs)) * size, "role": ["main"] * len(long),
            "kind": ["file"] * len(long), "input_id": [f"F{one}" for one in range(len(long))],
            "content_id": [bytes([one % 256]) * 32 for one in range(len(long))], "serves": [[0]] * len(long),
            "frame_role": ["OBJECT"] * len(long), "level": [1] * len(long), "dt_days": [0.5] * len(long),
            "method": ["match"] * len(long), "period_date": [one for one in period for _ in range(inputs)],
        },
        "products": {
            "product_id": [f"{one}.x" for one in ids], "process_id": ids, "product_type": ["x"] * size,
            "subject_kind": ["group"] * size, "subject_id": ids, "preset": ["s"] * size, "is_current": [True] * size,
            "period_date": period,
        },
    }  # fmt: skip
    changes = {name: TableChange(cast(TABLES[name], pa.table(columns))) for name, columns in tables.items()}
    slots = CurrentSlots(publish_snapshot(layout, changes, Consumed({}, {})))
    asked = range(0, size, 4)
    began = time.process_time()
    found = {one: slots[Slot("group", ids[one], "x", "s")] for one in asked}
    assert time.process_time() - began < 2.0, "0.5 s; where every look-up scans the tables, 4 s"
    assert len(slots) == size
    for position in (0, 4, size - 4):
        known = found[position]
        assert isinstance(known, KnownProcess)
        assert known.parameters == {"clip": position % 5 + 0.5, "radii": (1, 2)}
        assert known.excluded_planes == ((0, 3),)
        assert known.override_ids == ("o1",)
        first = position * inputs
        assert [one.input_id for one in known.inputs] == [f"F{first + one}" for one in range(inputs)]
        assert known.inputs[0].content == (bytes([first % 256]) * 32).hex()
        assert (known.inputs[0].serves, known.inputs[0].level, known.inputs[0].dt_days) == ((0,), 1, 0.5)
    assert slots.get(Slot("group", "nobody", "x", "s")) is None
