"""Manifests: rows come back as they went, identity decides what is one, and nothing is ever overwritten."""

import dataclasses
import datetime as dt
import json
import random
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from archive_proc.errors import InputError
from archive_proc.model.cards import Card
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.observations import Issue
from archive_proc.storage.headers import header_batch, read_header, write_headers
from archive_proc.storage.layout import Layout
from archive_proc.storage.manifests import (
    conflict,
    frame_schema,
    frames_to_table,
    manifest_id_of,
    merge_manifests,
    read_manifests,
    table_to_frames,
    write_manifest,
)

START = dt.datetime(2017, 9, 28, 8, 13, 7, 975000)


def frame(number: int = 0, **changes: object) -> RawFrame:
    at = START + dt.timedelta(seconds=61 * number)
    mjd = (at - dt.datetime(1858, 11, 17)) / dt.timedelta(days=1)
    row = {
        "file_id": f"SPHER.{at.isoformat(timespec='milliseconds')}", "content_id": f"{number:064x}",
        "uri": f"raw/{number}.fits", "arm": Arm.IRDIS, "date_obs": at, "mjd_obs": mjd, "mjd_end": mjd + 0.001,
        "night": dt.date(2017, 9, 27), "period_date": 99, "declared_bytes": 128, "mtime": 1.5e9 + 1 / 3,
        "header_sha256": "ab" * 32, "parser_version": "1",
    }  # fmt: skip
    return RawFrame(**{**row, **changes})


FULL = {
    "truncated": True, "tpl_start": START, "dit_s": 0.837464, "dit_ms": 837, "ndit": 16, "ob_id": 200313600,
    "shutter": False, "drot2_dec": -0.0, "drot2_dec_negative": True, "release_date": dt.datetime(2018, 9, 28),
    "problems": ("A: b", "C: d"), "period_prog": 99, "prog_type": 6, "sha256": "cd" * 32, "object_raw": "β Pic",
    "frame_utc_end": dt.datetime(2020, 3, 8, 7, 20, 51, 262300),
}  # fmt: skip


def test_frames_survive_a_table_unchanged():
    frames = (frame(0), frame(1, **FULL), frame(2, arm=Arm.SPARTA))
    assert table_to_frames(frames_to_table(frames)) == frames
    assert table_to_frames(frames_to_table(())) == ()


def test_every_column_of_a_frame_is_in_the_schema():
    schema = frame_schema()
    assert schema.names == [field.name for field in dataclasses.fields(RawFrame)]
    assert str(schema.field("content_id").type) == "binary"
    assert not schema.field("mjd_obs").nullable
    assert schema.field("dit_s").nullable


def test_an_older_table_lacks_new_columns_and_keeps_unknown_ones_to_itself():
    table = frames_to_table([frame()]).drop_columns(["lamp", "bzero"])
    older = table.append_column("of_the_future", [["x"]])
    assert table_to_frames(older) == (frame(),)
    with pytest.raises(InputError, match=r"AP-ING-011.*mjd_obs"):
        table_to_frames(table.drop_columns(["mjd_obs"]))


def test_the_id_is_of_identity_alone():
    frames = [frame(n) for n in range(5)]
    moved = [dataclasses.replace(one, uri=f"other/{one.uri}", mtime=0.0, dit_s=3.0) for one in reversed(frames)]
    assert manifest_id_of(frames) == manifest_id_of(moved)
    assert manifest_id_of(frames) != manifest_id_of(frames[1:])
    assert manifest_id_of(frames) != manifest_id_of([*frames[1:], dataclasses.replace(frames[0], declared_bytes=1)])


def test_any_order_writes_the_same_manifest(tmp_path):
    frames = [frame(n) for n in range(7)]
    shuffled = random.Random(1).sample(frames, 7)
    at = dt.datetime(2026, 1, 1)
    one, two = Layout(tmp_path / "a"), Layout(tmp_path / "b")
    name = write_manifest(one, frames, at=at)
    assert write_manifest(two, shuffled, at=at) == name
    assert one.manifest(name).read_bytes() == two.manifest(name).read_bytes()
    assert read_manifests(one) == tuple(frames)


def test_writing_again_changes_no_byte(tmp_path):
    layout = Layout(tmp_path)
    name = write_manifest(layout, [frame()])
    before = layout.manifest(name).stat().st_mtime_ns
    write_manifest(layout, [frame()])
    assert layout.manifest(name).stat().st_mtime_ns == before


def test_no_frames_write_no_manifest(tmp_path):
    write_manifest(Layout(tmp_path), [])
    assert not Layout(tmp_path).manifests.exists()
    assert read_manifests(Layout(tmp_path)) == ()


def test_the_newest_ingest_says_where_a_frame_lies(tmp_path):
    layout = Layout(tmp_path)
    write_manifest(layout, [frame(0), frame(1)], at=dt.datetime(2026, 1, 1))
    write_manifest(layout, [frame(0, uri="disk2/0.fits")], at=dt.datetime(2026, 1, 2))
    merged = merge_manifests(layout)
    assert [one.uri for one in merged.frames] == ["disk2/0.fits", "raw/1.fits"]
    assert merged.issues == ()
    assert merged.last_ingest == dt.datetime(2026, 1, 2)


def test_moving_everything_renews_the_places_in_the_same_manifest(tmp_path):
    layout = Layout(tmp_path)
    first = write_manifest(layout, [frame(0)], at=dt.datetime(2026, 1, 1))
    assert write_manifest(layout, [frame(0, uri="disk2/0.fits")], at=dt.datetime(2026, 1, 2)) == first
    assert [one.uri for one in read_manifests(layout)] == ["disk2/0.fits"]


def test_other_content_under_one_name_is_an_issue_and_the_first_stays(tmp_path):
    layout = Layout(tmp_path)
    write_manifest(layout, [frame(0)], at=dt.datetime(2026, 1, 1))
    write_manifest(layout, [frame(0, content_id="ff" * 32, uri="raw/other.fits")], at=dt.datetime(2026, 1, 2))
    merged = merge_manifests(layout)
    assert merged.frames == (frame(0),)
    assert [(issue.code, issue.subject_id, issue.file_id) for issue in merged.issues] == [
        ("AP-ING-010", "raw/other.fits", frame(0).file_id)
    ]


def test_what_an_ingest_rejected_is_remembered_until_it_can_be_read(tmp_path):
    layout = Layout(tmp_path)
    empty = Issue(
        code="AP-ING-002", severity="warning", subject_kind="file", subject_id="raw/3.fits", message="m", remedy="r"
    )
    write_manifest(layout, [frame(0)], rejected=[empty], at=dt.datetime(2026, 1, 1))
    assert merge_manifests(layout).issues == (empty,)
    write_manifest(layout, [frame(3)], at=dt.datetime(2026, 1, 2))
    assert merge_manifests(layout).issues == ()


def test_an_ingest_of_the_same_place_settles_what_an_earlier_one_rejected(tmp_path):
    layout = Layout(tmp_path)
    bad, clash = (
        Issue(code=code, severity="warning", subject_kind="file", subject_id=uri, message="m", remedy="r")
        for code, uri in (("AP-ING-002", "raw/a/3.fits"), ("AP-ING-010", "raw/0.fits"))
    )
    write_manifest(layout, [frame(0)], rejected=[bad, clash], covered=["raw"], at=dt.datetime(2026, 1, 1))
    assert merge_manifests(layout).issues == (clash, bad)
    write_manifest(layout, [frame(1)], covered=["raw/b"], at=dt.datetime(2026, 1, 2))
    assert merge_manifests(layout).issues == (clash, bad)
    write_manifest(layout, [frame(1), frame(2)], covered=["raw/a"], at=dt.datetime(2026, 1, 3))
    assert merge_manifests(layout).issues == (clash,)
    write_manifest(layout, [frame(0)], covered=["raw"], at=dt.datetime(2026, 1, 4))
    assert merge_manifests(layout).issues == ()


def test_an_ingest_that_found_only_bad_files_is_remembered(tmp_path):
    layout = Layout(tmp_path)
    bad = Issue(code="AP-ING-002", severity="w", subject_kind="file", subject_id="raw/3.fits", message="m", remedy="r")
    write_manifest(layout, [], rejected=[bad], covered=["raw"])
    assert merge_manifests(layout).issues == (bad,)
    assert read_manifests(layout) == ()


def bad(uri: str, code: str = "AP-ING-002") -> Issue:
    return Issue(code=code, severity="warning", subject_kind="file", subject_id=uri, message="m", remedy="r")


def test_rejects_of_two_places_without_frames_stand_beside_each_other(tmp_path):
    layout = Layout(tmp_path)
    write_manifest(layout, [], rejected=[bad("raw/a/1.fits")], covered=["raw/a"], at=dt.datetime(2026, 1, 1))
    write_manifest(layout, [], rejected=[bad("raw/b/1.fits")], covered=["raw/b"], at=dt.datetime(2026, 1, 2))
    assert merge_manifests(layout).issues == (bad("raw/a/1.fits"), bad("raw/b/1.fits"))
    write_manifest(layout, [], covered=["raw/a"], at=dt.datetime(2026, 1, 3))
    assert merge_manifests(layout).issues == (bad("raw/b/1.fits"),)
    write_manifest(layout, [], covered=["raw"], at=dt.datetime(2026, 1, 4))
    assert merge_manifests(layout).issues == ()


def test_rejects_beside_equal_frames_of_two_places_stand_beside_each_other(tmp_path):
    layout = Layout(tmp_path)
    for day, root in enumerate(("one", "two"), 1):
        write_manifest(
            layout, [frame(0, uri=f"{root}/0.fits")], rejected=[bad(f"{root}/1.fits")], covered=[root],
            at=dt.datetime(2026, 1, day),
        )  # fmt: skip
    merged = merge_manifests(layout)
    assert merged.issues == (bad("one/1.fits"), bad("two/1.fits"))
    assert [one.uri for one in merged.frames] == ["two/0.fits"]
    assert merged.last_ingest == dt.datetime(2026, 1, 2)


def test_what_an_ingest_covered_settles_nothing_that_came_after_it(tmp_path):
    layout = Layout(tmp_path)
    write_manifest(layout, [], rejected=[bad("raw/b/1.fits")], covered=["raw/a"], at=dt.datetime(2026, 1, 1))
    write_manifest(layout, [frame(0)], rejected=[bad("raw/a/1.fits")], covered=["raw/a"], at=dt.datetime(2026, 1, 2))
    # Rewrites the first manifest: that one's remarks stay as old as they are.
    write_manifest(layout, [], rejected=[bad("raw/c/1.fits")], covered=["raw/c"], at=dt.datetime(2026, 1, 3))
    assert [one.subject_id for one in merge_manifests(layout).issues] == [f"raw/{name}/1.fits" for name in "abc"]


def test_ingesting_one_place_again_and_again_keeps_one_remark(tmp_path):
    layout = Layout(tmp_path)
    for number in range(5):
        name = write_manifest(layout, [], rejected=[bad(f"raw/{number}.fits")], covered=["raw"])
    said = json.loads(pq.read_schema(layout.manifest(name)).metadata[b"archive_proc"])
    assert said["earlier"] == []
    assert merge_manifests(layout).issues == (bad("raw/4.fits"),)


def test_a_file_that_went_bad_after_it_was_read_is_an_issue(tmp_path):
    layout = Layout(tmp_path)
    write_manifest(layout, [frame(0)], covered=["raw"], at=dt.datetime(2026, 1, 1))
    write_manifest(layout, [frame(1)], rejected=[bad("raw/0.fits")], covered=["raw"], at=dt.datetime(2026, 1, 2))
    assert merge_manifests(layout).issues == (bad("raw/0.fits"),)


@pytest.mark.parametrize("days", [(1, 2), (2, 1)])
def test_a_whole_copy_stands_whichever_came_first(tmp_path, days):
    layout = Layout(tmp_path)
    whole, cut = frame(0, uri="one/0.fits"), frame(0, uri="two/0.fits", truncated=True)
    write_manifest(layout, [whole, frame(1)], at=dt.datetime(2026, 1, days[0]))
    write_manifest(layout, [cut, frame(2)], at=dt.datetime(2026, 1, days[1]))
    assert read_manifests(layout)[0] == whole


def test_a_file_cut_in_its_own_place_is_cut(tmp_path):
    layout = Layout(tmp_path)
    write_manifest(layout, [frame(0), frame(1)], at=dt.datetime(2026, 1, 1))
    write_manifest(layout, [frame(0, truncated=True)], at=dt.datetime(2026, 1, 2))
    assert read_manifests(layout)[0].truncated


def test_the_first_content_stays_though_its_manifest_is_written_again(tmp_path):
    layout = Layout(tmp_path)
    write_manifest(layout, [frame(0)], at=dt.datetime(2026, 1, 1))
    write_manifest(layout, [frame(0, content_id="ff" * 32, uri="two/0.fits")], at=dt.datetime(2026, 1, 2))
    write_manifest(layout, [frame(0, uri="three/0.fits")], at=dt.datetime(2026, 1, 3))
    merged = merge_manifests(layout)
    assert merged.frames == (frame(0, uri="three/0.fits"),)
    assert [(one.code, one.severity, one.subject_id) for one in merged.issues] == [
        ("AP-ING-010", "warning", "two/0.fits")
    ]


def test_other_content_in_a_frames_own_place_blocks_the_frame(tmp_path):
    layout = Layout(tmp_path)
    other = frame(0, content_id="ff" * 32)
    write_manifest(layout, [frame(0)], covered=["raw"], at=dt.datetime(2026, 1, 1))
    write_manifest(layout, [], rejected=[conflict(frame(0), other)], covered=["raw"], at=dt.datetime(2026, 1, 2))
    (issue,) = merge_manifests(layout).issues
    assert (issue.code, issue.severity, issue.subject_id) == ("AP-ING-010", "blocking", frame(0).file_id)
    # Found elsewhere, the frame can be read again; the wrong file is still one to be named.
    write_manifest(layout, [frame(0, uri="two/0.fits")], covered=["two"], at=dt.datetime(2026, 1, 3))
    (issue,) = merge_manifests(layout).issues
    assert (issue.severity, issue.subject_id) == ("warning", "raw/0.fits")


def test_manifests_written_before_remarks_were_kept_are_read(tmp_path):
    layout = Layout(tmp_path)
    said = {
        "version": 1, "ingested_at": "2026-01-01T00:00:00", "covered": ["raw"],
        "rejected": [dataclasses.asdict(bad("raw/1.fits"))],
    }  # fmt: skip
    layout.manifests.mkdir()
    table = frames_to_table([frame(0)]).replace_schema_metadata({"archive_proc": json.dumps(said)})
    pq.write_table(table, layout.manifest(manifest_id_of([frame(0)])))
    merged = merge_manifests(layout)
    assert (merged.frames, merged.issues) == ((frame(0),), (bad("raw/1.fits"),))
    assert merged.last_ingest == dt.datetime(2026, 1, 1)


def test_an_edited_manifest_is_refused(tmp_path):
    layout = Layout(tmp_path)
    name = write_manifest(layout, [frame(0), frame(1)])
    path = layout.manifest(name)
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(InputError, match="AP-ING-011"):
        read_manifests(layout)
    path.write_bytes(b"not parquet")
    with pytest.raises(InputError, match="AP-ING-011"):
        read_manifests(layout)


def test_twenty_thousand_frames_are_read_in_seconds():
    table = frames_to_table([frame(n, **FULL) for n in range(200)])
    import pyarrow as pa

    large = pa.concat_tables([table] * 100)
    started = time.process_time()
    assert len(table_to_frames(large)) == 20_000
    assert time.process_time() - started < 6


def header_cards(n: int) -> tuple[Card, ...]:
    return (*(Card(f"KEY{k}", f"{n * k}", "why" if k else "", "") for k in range(4)), Card("", "", "", ""))


def test_headers_come_back_card_by_card(tmp_path):
    layout = Layout(tmp_path)
    frames = [frame(n) for n in range(3)]
    batch = header_batch([(one.file_id, one.uri, 99, header_cards(n)) for n, one in enumerate(frames)])
    names = write_headers(layout, [batch], manifest_id_of(frames))
    assert [name.split(".")[0] for name in names] == ["period=99"]
    assert write_headers(layout, [batch], manifest_id_of(frames)) == names
    cards = read_header(layout, frames[2].file_id)
    assert [(card.position, card.key, card.value, card.comment) for card in cards] == [
        (0, "KEY0", "0", ""), (1, "KEY1", "2", "why"), (2, "KEY2", "4", "why"), (3, "KEY3", "6", "why")
    ]  # fmt: skip
    assert read_header(layout, frame(9).file_id) == ()


def test_headers_of_two_periods_lie_in_two_parts(tmp_path):
    layout = Layout(tmp_path)
    one, two = frame(0), frame(1, file_id="SPHER.2018-01-28T08:13:07.975")
    batch = header_batch([(one.file_id, one.uri, 99, header_cards(1)), (two.file_id, two.uri, 100, header_cards(2))])
    assert len(write_headers(layout, [batch], manifest_id_of([one, two]))) == 2
    assert len(read_header(layout, two.file_id)) == 4
    table = pq.read_table(next(layout.headers.glob("period=99.*")))
    assert table.column_names == ["key", "file_id", "position", "value", "comment"]
    assert np.all(np.diff(table["position"].to_numpy()) >= 0)


def test_a_batch_gives_up_the_headers_of_refused_files():
    batch = header_batch([(frame(n).file_id, frame(n).uri, 99, header_cards(n)) for n in range(3)])
    assert batch.only(["raw/1.fits"]).table.num_rows == 4
    assert batch.only([]).table.num_rows == 0
    assert header_batch([]).table.num_rows == 0
