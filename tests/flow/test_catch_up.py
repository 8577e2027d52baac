"""In the midst of a run the journal tells what was sealed; at its start and end every seal is listed."""

from __future__ import annotations

import making
import pytest
from making import Archive

from archive_proc.flow import catch_up as module
from archive_proc.flow.publish import publish, rebuild
from archive_proc.storage.snapshots import differing_tables, open_current, read_table
from archive_proc.storage.tables import TABLES


def done(archive: Archive) -> set[str]:
    rows = read_table(open_current(archive.layout), TABLES["processes"]).to_pylist()
    return {row["process_id"] for row in rows if row["state"] == "done"}


def test_seals_are_listed_when_a_run_starts_and_ends_and_told_by_its_journal_in_between(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings: list[int] = []
    whole = module.sealed_processes

    def counted(layout: object) -> object:
        listings.append(1)
        return whole(layout)  # type: ignore[arg-type]  # a Layout

    monkeypatch.setattr(module, "sealed_processes", counted)
    night = making.night()
    publish(archive.layout, making.understanding())
    run = archive.start("r1", making.plan_of(night.all))
    publish(archive.layout)
    assert len(listings) == 2
    archive.seal(run, night.dark)
    publish(archive.layout)
    archive.seal(run, night.sky, told=False)
    archive.seal(run, night.cube)
    publish(archive.layout)
    assert len(listings) == 2, "nothing is listed while the run goes on"
    assert done(archive) == {night.dark.process_id, night.cube.process_id}
    archive.end(run, done=3)
    last = publish(archive.layout)
    assert len(listings) == 3
    assert done(archive) == {night.dark.process_id, night.sky.process_id, night.cube.process_id}
    assert differing_tables(last, rebuild(archive.layout, making.understanding())) == ()


def test_a_damaged_record_stays_an_issue_while_the_run_goes_on(archive: Archive) -> None:
    night = making.night()
    publish(archive.layout, making.understanding())
    run = archive.start("r1", making.plan_of(night.all))
    archive.seal(run, night.dark)
    record = archive.layout.product_dir(night.dark.process_id) / "process.json"
    record.chmod(0o644)
    whole = record.read_bytes()
    record.write_bytes(b"{")
    publish(archive.layout)
    archive.seal(run, night.sky)
    snapshot = publish(archive.layout)
    issues = read_table(snapshot, TABLES["issues"]).to_pylist()
    assert [one["process_id"] for one in issues if one["origin"] == "storage"] == [night.dark.process_id]
    record.write_bytes(whole)
    archive.end(run, done=2)
    publish(archive.layout)
    assert done(archive) == {night.dark.process_id, night.sky.process_id}


def test_a_journal_that_lost_lines_after_it_was_published_is_read_from_the_start(archive: Archive) -> None:
    night = making.night()
    publish(archive.layout, making.understanding())
    run = archive.start("r1", making.plan_of(night.all))
    archive.seal(run, night.dark)
    archive.end(run, done=1)
    publish(archive.layout)
    journal = archive.layout.journal(run)
    journal.write_bytes(journal.read_bytes()[:-40])
    last = publish(archive.layout, making.understanding())
    assert differing_tables(last, rebuild(archive.layout, making.understanding())) == ()


def test_a_line_that_changed_after_it_was_published_is_noticed(archive: Archive) -> None:
    night = making.night()
    publish(archive.layout, making.understanding())
    run = archive.start("r1", making.plan_of(night.all))
    archive.seal(run, night.dark)
    archive.end(run, done=1)
    publish(archive.layout)
    journal = archive.layout.journal(run)
    content = bytearray(journal.read_bytes())
    content[-40] ^= 1
    journal.write_bytes(bytes(content))
    last = publish(archive.layout, making.understanding())
    assert differing_tables(last, rebuild(archive.layout, making.understanding())) == ()
    assert publish(archive.layout, making.understanding()) == open_current(archive.layout)
