"""A raw file named by its id is reduced by itself where a recipe makes the wanted type of single frames."""

from __future__ import annotations

from pathlib import Path

import nights

from archive_proc.archive import Archive
from archive_proc.catalog.selection import Selection
from archive_proc.simulate.truth import Truth


def test_a_frame_on_request_is_planned_run_and_listed_by_itself(night: Truth, tmp_path: Path) -> None:
    plain = nights.archive_of(tmp_path / "A", night.directory)
    archive = Archive.open(plain.root, cookbook="frame_recipes")
    (file_id,) = archive.query(
        "SELECT file_id FROM files WHERE dpr_type = 'DARK' ORDER BY file_id LIMIT 1"
    ).to_pydict()["file_id"]
    wanted = Selection(ids=(file_id,))
    plan = archive.plan(wanted, ("dark",))
    assert [(one.process.recipe, one.process.subject.kind) for one in plan.processes] == [("one_dark_frame", "frame")]
    assert [one.input_id for one in plan.processes[0].process.main] == [file_id]
    _, (outcome,) = archive.run(wanted, site=archive.site(nights.SERIAL), to=("dark",))
    assert outcome.exit_status == 0, [one.message for one in outcome.failures]
    rows = archive.query(
        "SELECT product_type, subject_kind, subject_id, is_current, access FROM products WHERE state = 'ok'"
    ).to_pylist()
    assert rows == [
        {"product_type": "dark", "subject_kind": "frame", "subject_id": file_id, "is_current": True, "access": "public"}
    ]
    (again,) = archive.plan(wanted, ("dark",)).processes
    assert not again.to_run


def test_without_such_a_recipe_a_file_stands_for_the_observations_that_use_it(night: Truth, tmp_path: Path) -> None:
    archive = nights.archive_of(tmp_path / "A", night.directory)
    (file_id,) = archive.query("SELECT min(file_id) AS one FROM files WHERE dpr_type = 'OBJECT'").to_pydict()["one"]
    plan = archive.plan(Selection(ids=(file_id,)), ("dark",))
    assert {one.process.subject.kind for one in plan.processes} == {"group"}
