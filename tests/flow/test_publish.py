"""The catalog is a function of its sources: step by step or at once, the tables are equal."""

from __future__ import annotations

import datetime as dt
import json
import random
from dataclasses import dataclass
from pathlib import Path

import making
import pytest
from making import Archive

from archive_proc.catalog.standing import cost_history
from archive_proc.decisions.overrides import parse_overrides
from archive_proc.errors import InputError
from archive_proc.flow import catch_up, merge
from archive_proc.flow.publish import publish, rebuild, refresh
from archive_proc.flow.understanding import Understanding
from archive_proc.instruments.tables import load_tables
from archive_proc.model.frames import Arm
from archive_proc.model.ids import RunId, product_id
from archive_proc.model.processes import Cause, Process
from archive_proc.model.records import RECORD_SCHEMA
from archive_proc.recipes.recipe import Cost, InputRole, RawMain, Recipe, RecipeResult
from archive_proc.storage.records import record_bytes, record_of
from archive_proc.storage.snapshots import Snapshot, differing_tables, equal_snapshots, find_current, read_table
from archive_proc.storage.tables import TABLES


@dataclass(frozen=True)
class Clip:
    clip: float = 5.0


TOYS = (
    Recipe(
        name="irdis_dark",
        version="2.0.0",
        arm=Arm.IRDIS,
        subject_kind="group",
        main=RawMain(frame_types=("IRD_DARK_RAW",)),
        inputs=(InputRole("flat", ("detector_flat",)),),
        outputs=("dark",),
        parameters=Clip,
        tables=(),
        passes=(),
        close=lambda inputs, shared: RecipeResult({}),
        cost=Cost(1.0, 0.1, 0.5, 1, 1),
    ),
)


def rows(snapshot: Snapshot, table: str) -> list[dict[str, object]]:
    return read_table(snapshot, TABLES[table]).to_pylist()


def by_process(snapshot: Snapshot) -> dict[object, dict[str, object]]:
    return {row["process_id"]: row for row in rows(snapshot, "processes")}


def product(snapshot: Snapshot, one: Process) -> dict[str, object]:
    wanted = product_id(one.process_id, one.product_types[0])
    return next(row for row in rows(snapshot, "products") if row["product_id"] == wanted)


def whole_run(archive: Archive, run: str, processes: making.Night, sealed: tuple[Process, ...] = ()) -> None:
    run_id = archive.start(run, making.plan_of(processes.all, sealed))
    for one in processes.all:
        if one not in sealed:
            archive.seal(run_id, one)
    archive.end(run_id, done=4 - len(sealed), cached=len(sealed))


def test_an_understanding_of_the_same_state_is_not_made_again(archive: Archive) -> None:
    """What happened since is published all the same; without the hint, in another state, or when a sealed product
    went, the tables are made anew.
    """
    asked: list[str] = []

    def understand(state: str) -> Snapshot:
        def make() -> Understanding:
            asked.append(state)
            return making.understanding()

        return refresh(archive.layout, state, make)

    processes = making.night()
    understand("a")
    whole_run(archive, "01", processes)
    found = understand("a")
    assert asked == ["a"]
    assert equal_snapshots(found, rebuild(archive.layout, making.understanding()))
    understand("b")
    archive.layout.understood.unlink()
    understand("b")
    assert asked == ["a", "b", "b"]
    gone = archive.layout.product_dir(processes.all[-1].process_id)
    gone.rename(gone.with_name("damaged"))
    found = understand("b")
    assert asked == ["a", "b", "b", "b"]
    assert equal_snapshots(found, rebuild(archive.layout, making.understanding()))


def test_understanding_becomes_rows(archive: Archive) -> None:
    snapshot = publish(archive.layout, making.understanding())
    files = rows(snapshot, "files")
    assert len(files) == 5
    assert files[0]["frame_type"] == "IRD_DARK_RAW"
    assert files[0]["group_id"] == making.DARKS
    assert files[0]["content_id"] == bytes.fromhex(making.FRAMES[0].content_id)
    assert files[3]["target_id"] == making.STAR
    [observation] = rows(snapshot, "observations")
    assert observation["n_sci_frames"] == 8
    assert observation["n_sky"] == 1
    assert observation["access"] == "private"
    assert observation["public_at"] == dt.datetime(2016, 9, 25)
    assert {row["n_refused"] for row in rows(snapshot, "refusals")} == {7, None}
    assert rows(snapshot, "issues")[0]["code"] == "AP-CAL-012"


def test_two_complaints_of_one_code_about_one_subject_are_one_issue(archive: Archive) -> None:
    first = making.understanding().issues[0]
    other = type(first)(
        **{**{n: getattr(first, n) for n in first.__slots__}, "message": "no SKY", "severity": "blocking"}
    )
    snapshot = publish(archive.layout, making.understanding(issues=(first, other, first)))
    [issue] = rows(snapshot, "issues")
    assert issue["message"] == "no FLUX frames; no SKY"
    assert issue["severity"] == "blocking"


def test_product_becomes_current_when_its_run_ends(archive: Archive) -> None:
    publish(archive.layout, making.understanding())
    night = making.night()
    run = archive.start("r1", making.plan_of(night.all))
    for one in night.all:
        archive.seal(run, one)
    going = publish(archive.layout)
    assert not product(going, night.centered)["is_current"]
    assert by_process(going)[night.dark.process_id]["state"] == "done"
    archive.end(run, done=4)
    ended = publish(archive.layout)
    assert all(product(ended, one)["is_current"] for one in night.all)
    assert product(ended, night.cube)["access"] == "private"
    assert product(ended, night.dark)["access"] == "public"
    [told] = rows(ended, "runs")
    assert told["state"] == "ended"
    assert told["counts"] == '{"done":4}'


def test_undone_override_makes_the_old_product_current_again(archive: Archive) -> None:
    publish(archive.layout, making.understanding())
    old, new = making.night(clip=5.0), making.night(clip=4.0)
    whole_run(archive, "r1", old)
    whole_run(archive, "r2", new, sealed=(new.dark,))
    second = publish(archive.layout)
    assert product(second, new.centered)["is_current"]
    assert product(second, old.centered)["superseded_by"] == product(second, new.centered)["product_id"]
    assert product(second, old.centered)["state"] == "superseded"
    assert by_process(second)[old.sky.process_id]["superseded_by"] == new.sky.process_id
    assert by_process(second)[old.dark.process_id]["superseded_by"] is None
    whole_run(archive, "r3", old, sealed=old.all)
    third = publish(archive.layout)
    assert product(third, old.centered)["is_current"]
    assert product(third, old.centered)["state"] == "ok"
    assert product(third, new.centered)["superseded_by"] == product(third, old.centered)["product_id"]
    assert by_process(third)[new.dark.process_id]["is_current"]


def test_failed_successor_leaves_the_old_product_current_and_stale(archive: Archive) -> None:
    publish(archive.layout, making.understanding())
    old, new = making.night(clip=5.0), making.night(clip=4.0)
    whole_run(archive, "r1", old)
    run = archive.start("r2", making.plan_of(new.all, (new.dark,)))
    archive.fail(run, new.sky)
    archive.block(run, new.cube, new.sky)
    archive.block(run, new.centered, new.sky)
    archive.end(run, failed=1, blocked=2, cached=1)
    snapshot = publish(archive.layout)
    stale = product(snapshot, old.centered)
    assert (stale["is_current"], stale["is_stale"]) == (True, True)
    found = by_process(snapshot)
    assert found[new.sky.process_id]["state"] == "failed"
    assert found[new.sky.process_id]["code"] == "AP-IRD-007"
    assert found[new.sky.process_id]["is_wanted"]
    assert not found[new.sky.process_id]["is_current"]
    assert found[new.cube.process_id]["message"] == f"waits for proc:{new.sky.process_id[:12]}"
    assert [row["code"] for row in rows(snapshot, "issues") if row["origin"] == "process"] == ["AP-IRD-007"]
    assert [row["verdict"] for row in rows(snapshot, "verdicts")] == ["refused"]
    refused = product_id(new.sky.process_id, "sky_basis")
    assert [row["metric"] for row in rows(snapshot, "qc") if row["product_id"] == refused] == ["n_good"]
    assert ("failed", "s1") in {(row["state"], row["signature"]) for row in rows(snapshot, "attempts")}


def test_what_an_earlier_round_could_not_begin_with_is_superseded_when_a_later_one_fills_its_slot(
    archive: Archive,
) -> None:
    publish(archive.layout, making.understanding())
    old, new = making.night(clip=5.0), making.night(clip=4.0)
    first = archive.start("r1", making.plan_of(old.all))
    archive.seal(first, old.dark)
    archive.fail(first, old.sky)
    archive.block(first, old.cube, old.sky)
    archive.block(first, old.centered, old.sky)
    archive.end(first, done=1, failed=1, blocked=2)
    waiting = by_process(publish(archive.layout))
    assert (waiting[old.cube.process_id]["state"], waiting[old.cube.process_id]["superseded_by"]) == ("blocked", None)
    whole_run(archive, "r2", new, sealed=(new.dark,))
    second = publish(archive.layout)
    found = by_process(second)
    for one, other in ((old.cube, new.cube), (old.centered, new.centered)):
        assert found[one.process_id]["state"] == "blocked", "what happened is not rewritten"
        assert found[one.process_id]["superseded_by"] == other.process_id
    assert found[old.sky.process_id]["superseded_by"] is None, "it ran, and failed"
    # A run that begins with it anew takes it back into view: it may still come.
    archive.start("r3", making.plan_of(old.all))
    third = publish(archive.layout)
    assert by_process(third)[old.cube.process_id]["superseded_by"] is None
    assert differing_tables(third, rebuild(archive.layout, making.understanding())) == ()


def test_refusal_leaves_no_trace_in_qc_and_issues_once_the_process_succeeds(archive: Archive) -> None:
    publish(archive.layout, making.understanding())
    night = making.night()
    run = archive.start("r1", making.plan_of(night.all))
    archive.fail(run, night.dark, Cause.DATA)
    archive.end(run, failed=1, blocked=3)
    publish(archive.layout)
    whole_run(archive, "r2", night)
    snapshot = publish(archive.layout)
    assert not [row for row in rows(snapshot, "issues") if row["origin"] == "process"]
    assert not rows(snapshot, "verdicts")
    assert "n_good" not in {row["metric"] for row in rows(snapshot, "qc")}
    assert {row["state"] for row in rows(snapshot, "attempts")} == {"done", "failed"}
    assert equal_snapshots(snapshot, rebuild(archive.layout, making.understanding()))


@pytest.mark.parametrize("seed", range(4))
def test_catalog_published_at_any_moments_equals_its_rebuild(archive: Archive, seed: int) -> None:
    chance = random.Random(seed)
    sure = making.understanding()

    def maybe() -> None:
        if chance.random() < 0.4:
            publish(archive.layout, sure if chance.random() < 0.3 else None)

    one, two, three = making.night(5.0), making.night(4.0), making.night(3.0)
    for run, night, end in (
        ("r1", one, True),
        ("r2", two, False),
        ("r3", three, True),
        ("r4", two, True),
        ("r5", one, True),
    ):
        run_id = archive.start(run, making.plan_of(night.all))
        maybe()
        broken = None
        for process in night.all:
            if archive.layout.product_dir(process.process_id).exists():
                continue
            if broken is not None:
                archive.block(run_id, process, broken)
            elif chance.random() < 0.25:
                archive.fail(run_id, process, chance.choice([Cause.DATA, Cause.CODE]))
                broken = process
            else:
                archive.seal(run_id, process, told=chance.random() < 0.8)
            maybe()
        if chance.random() < 0.3:
            with archive.layout.journal(run_id).open("ab") as journal:
                journal.write(b'{"crc":"00000000","r":{"torn')
            maybe()
        if end:
            archive.end(run_id, done=1)
        maybe()
    stepwise = publish(archive.layout, sure)
    assert differing_tables(stepwise, rebuild(archive.layout, sure)) == ()


def test_nothing_new_publishes_nothing(archive: Archive) -> None:
    first = publish(archive.layout, making.understanding())
    again = publish(archive.layout, making.understanding())
    assert again.path == first.path
    assert publish(archive.layout).path == first.path


def test_rows_made_a_few_at_a_time_and_of_packed_records_are_the_same(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure, first, second = making.understanding(), making.night(5.0), making.night(4.0)
    whole_run(archive, "r1", first)
    run_id = archive.start("r2", making.plan_of(second.all))
    archive.fail(run_id, second.all[0], Cause.DATA)
    whole = rebuild(archive.layout, sure)
    monkeypatch.setattr(merge, "TOGETHER", 3)
    monkeypatch.setattr(catch_up, "PACKED_FROM", 1)
    assert differing_tables(whole, rebuild(archive.layout, sure)) == ()


def test_order_of_facts_does_not_matter(archive: Archive, tmp_path: Path) -> None:
    sure = making.understanding()
    turned = making.understanding(frames=sure.frames[::-1], classified=sure.classified[::-1], groups=sure.groups[::-1])
    other = making.archive(tmp_path / "B")
    assert equal_snapshots(publish(archive.layout, sure), publish(other.layout, turned))


def test_damaged_record_and_plan_are_issues_until_they_are_gone(archive: Archive) -> None:
    night = making.night()
    whole_run(archive, "r1", night)
    record = archive.layout.product_dir(night.sky.process_id) / "process.json"
    whole = record.read_bytes()
    record.chmod(0o644)
    record.write_bytes(whole[:100])
    (archive.layout.plans / "bad.json").write_text("{")
    snapshot = publish(archive.layout, making.understanding())
    found = {(row["code"], row["subject_kind"]) for row in rows(snapshot, "issues") if row["origin"] == "storage"}
    assert found == {("AP-STO-001", "process"), ("AP-PLN-020", "archive")}
    record.write_bytes(whole)
    (archive.layout.plans / "bad.json").unlink()
    snapshot = publish(archive.layout)
    assert not [row for row in rows(snapshot, "issues") if row["origin"] == "storage"]
    assert equal_snapshots(snapshot, rebuild(archive.layout, making.understanding()))


def test_a_sealed_product_taken_away_leaves_the_catalog_and_comes_back_with_its_next_seal(archive: Archive) -> None:
    night = making.night()
    whole_run(archive, "r1", night)
    sure = making.understanding()
    publish(archive.layout, sure)
    archive.layout.product_dir(night.sky.process_id).rename(archive.layout.root / "taken")
    without = publish(archive.layout, sure)
    assert by_process(without)[night.sky.process_id]["state"] == "lost"
    assert not [row for row in rows(without, "products") if row["process_id"] == night.sky.process_id]
    assert equal_snapshots(without, rebuild(archive.layout, sure))
    assert "irdis_sky" not in cost_history(without)
    run = archive.start("r2", making.plan_of(night.all))
    archive.seal(run, night.sky)
    archive.end(run, done=1)
    again = publish(archive.layout, sure)
    assert product(again, night.sky)["is_current"]
    assert equal_snapshots(again, rebuild(archive.layout, sure))


def test_publishing_without_any_source_gives_empty_tables(archive: Archive) -> None:
    snapshot = publish(archive.layout)
    assert find_current(archive.layout) is not None
    of_package = {"qc_limits"}
    assert all(read_table(snapshot, table).num_rows == 0 for table in TABLES.values() if table.name not in of_package)


def test_overrides_rules_and_recipes_are_rows(archive: Archive) -> None:
    text = """
- match: {file: "SPHER.2015-09-25T02:24:00.000"}
  kind: quarantine
  reason: shutter closed
  author: pd
  date: 2026-11-02
- match: {obs: "obs:91c07be2d3a4"}
  kind: exclude-planes
  planes: [0, 3]
  reason: AO loop open
  author: pd
  date: 2026-11-02
  expires: 2027-01-01
"""
    sure = making.understanding(overrides=parse_overrides(text, "night.yaml"), rules=load_tables().rules, recipes=TOYS)
    snapshot = publish(archive.layout, sure)
    [first, second] = sorted(rows(snapshot, "overrides"), key=lambda row: str(row["source"]))
    assert (first["kind"], first["source"]) == ("quarantine", "night.yaml:2")
    assert second["value"] == '{"planes":[0,3]}'
    assert second["expires"] == dt.datetime(2027, 1, 1)
    rules = rows(snapshot, "association_rules")
    assert {row["ruleset_version"] for row in rules} == {"r1"}
    assert {"dark", "flat"} <= {row["role"] for row in rules}
    [dark] = [row for row in rows(snapshot, "recipes") if row["recipe"] == "irdis_dark"]
    assert (dark["version"], dark["is_latest"], dark["param_schema"]) == ("2.0.0", True, '{"clip":5.0}')


def test_versions_that_made_products_stay_listed_beside_the_latest(archive: Archive) -> None:
    whole_run(archive, "r1", making.night())
    publish(archive.layout, making.understanding(recipes=TOYS))
    found = {(row["recipe"], row["version"]): row["is_latest"] for row in rows(publish(archive.layout), "recipes")}
    assert found[("irdis_dark", "2.0.0")]
    assert not found[("irdis_dark", "1.0.0")]
    assert ("irdis_sky", "1.0.0") in found


def test_a_record_of_a_newer_package_is_named_and_not_believed() -> None:
    content = record_bytes(making.record(RunId("1" * 32), making.night().dark, "2026-11-02T12:00:01+00:00"))
    assert record_of(content, "here").process == making.night().dark
    newer = json.dumps({**json.loads(content), "schema_version": RECORD_SCHEMA + 1}).encode()
    with pytest.raises(InputError, match="AP-STO-003 here: record of version"):
        record_of(newer, "here")
