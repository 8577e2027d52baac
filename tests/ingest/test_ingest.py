"""Ingest as a whole: idempotent, independent of order and jobs, one bad file never stops the rest."""

import hashlib
import os
import random
import shutil

import pytest
from raw_files import write_raw

from archive_proc.errors import InputError, MisuseError
from archive_proc.ingest import compare, ingest, ingest_batches, read_expected

TIMES = [f"2017-09-28T08:1{n}:07.975" for n in range(6)]


def name(time: str) -> str:
    return f"SPHER.{time}.fits"


@pytest.fixture
def night(tmp_path):
    """Six good frames in two directories, and what lies about in real ones."""
    root = tmp_path / "raw"
    (root / "a").mkdir(parents=True)
    (root / "b").mkdir()
    for number, time in enumerate(TIMES):
        write_raw(root / "ab"[number % 2] / name(time), DATE_OBS=time, MJD_OBS=None, ARCFILE=name(time))
    (root / "README.md").write_text("about")
    (root / "truth.npz").write_bytes(b"PK")
    (root / "manifest.csv").write_text("a,b")
    (root / ".hidden.fits").write_bytes(b"")
    write_raw(root / "naco.fits", INSTRUME="NAOS+CONICA")
    return root


def found(result):
    return {frame.file_id for frame in result.frames}


def test_good_frames_are_found_and_others_are_counted(night):
    result = ingest([night], roots={"raw": night})
    assert found(result) == {f"SPHER.{time}" for time in TIMES}
    assert dict(result.reasons) == {
        "not FITS (.md)": 1,
        "not FITS (.npz)": 1,
        "not FITS (.csv)": 1,
        "hidden file": 1,
        "another instrument (NAOS+CONICA)": 1,
    }
    assert (result.rejected, result.conflicts, result.unchanged) == ((), (), ())
    assert result.frames[0].uri == f"raw/a/{name(TIMES[0])}"
    assert {batch.table.num_rows > 100 for batch in result.cards} == {True}


def test_the_order_of_paths_and_overlaps_do_not_matter(night):
    whole = ingest([night], roots={"raw": night})
    files = [*night.rglob("*.fits")]
    random.Random(3).shuffle(files)
    pieces = ingest([*files, night / "b", night], roots={"raw": night})
    assert pieces.frames == whole.frames
    assert pieces.not_raw == whole.not_raw


def test_a_second_ingest_reads_nothing(night):
    first = ingest([night], roots={"raw": night})
    known = {frame.uri: frame for frame in first.frames}
    again = ingest([night], roots={"raw": night}, known=known)
    assert again.frames == ()
    assert again.unchanged == tuple(sorted(known))


def test_a_touched_file_is_read_again_and_is_the_same_frame(night):
    first = ingest([night], roots={"raw": night})
    path = night / "a" / name(TIMES[0])
    os.utime(path, (1, 1))
    again = ingest([night], roots={"raw": night}, known={frame.uri: frame for frame in first.frames})
    assert [(frame.file_id, frame.mtime) for frame in again.frames] == [(f"SPHER.{TIMES[0]}", 1.0)]
    assert again.frames[0].content_id == first.frames[0].content_id


def test_a_moved_file_comes_back_with_its_new_place(night):
    first = ingest([night], roots={"raw": night})
    (night / "c").mkdir()
    (night / "a" / name(TIMES[0])).rename(night / "c" / name(TIMES[0]))
    again = ingest([night], roots={"raw": night}, known={frame.uri: frame for frame in first.frames})
    assert [frame.uri for frame in again.frames] == [f"raw/c/{name(TIMES[0])}"]


def test_processes_find_what_one_process_finds(tmp_path):
    root = tmp_path / "raw"
    root.mkdir()
    model = write_raw(root / "x.fits", shape=(1, 2, 2), ARCFILE=None).read_bytes()
    (root / "x.fits").unlink()
    for number in range(300):
        time = f"2017-09-28T08:{number // 60:02d}:{number % 60:02d}.000"
        (root / name(time)).write_bytes(model)
    one = ingest([root], roots={"raw": root})
    two = ingest([root], roots={"raw": root}, jobs=2)
    assert len(one.frames) == 300
    assert (two.frames, two.not_raw, two.rejected) == (one.frames, one.not_raw, one.rejected)
    assert [batch.table.num_rows for batch in two.cards] == [batch.table.num_rows for batch in one.cards]


def test_bad_files_are_named_and_the_rest_goes_on(night):
    (night / "a" / "SPHER.2017-09-28T09:00:00.000.fits").write_bytes(b"")
    (night / "a" / "SPHER.2017-09-28T09:00:01.000.fits").write_bytes(b"<html>please log in</html>" + bytes(3000))
    (night / "a" / "SPHER.2017-09-28T09:00:02.000.fits").symlink_to("/dev/zero")
    cut = (night / "b" / name(TIMES[1])).read_bytes()
    (night / "a" / "SPHER.2017-09-28T09:00:03.000.fits").write_bytes(cut[:1500])
    result = ingest([night], roots={"raw": night})
    assert len(result.frames) == len(TIMES)
    assert [issue.code for issue in result.rejected] == ["AP-ING-002", "AP-ING-003", "AP-ING-001", "AP-ING-004"]
    assert all(issue.subject_id.startswith("raw/a/SPHER.2017-09-28T09") and issue.remedy for issue in result.rejected)


def test_a_copy_is_a_duplicate(night):
    shutil.copy(night / "a" / name(TIMES[0]), night / "b" / name(TIMES[0]))
    result = ingest([night], roots={"raw": night})
    assert len(result.frames) == len(TIMES)
    assert result.duplicates == (f"raw/b/{name(TIMES[0])}",)
    assert sum(batch.table.num_rows for batch in result.cards) % len(TIMES) == 0


def test_a_copy_does_not_make_the_frame_change_places(night):
    shutil.copy(night / "a" / name(TIMES[0]), night / "b" / name(TIMES[0]))
    first = ingest([night], roots={"raw": night})
    again = ingest([night], roots={"raw": night}, known={frame.uri: frame for frame in first.frames})
    assert again.frames == ()
    assert again.duplicates == first.duplicates


def cut_copy(night, folder):
    """The first frame's file without its last pixels, in another directory."""
    (night / folder).mkdir(exist_ok=True)
    path = night / folder / name(TIMES[0])
    content = (night / "a" / name(TIMES[0])).read_bytes()
    path.write_bytes(content[: len(content) - 2880 + 100])
    return path


def by_uri(*results):
    """What is known after some ingests: the newest of each frame."""
    frames = {frame.file_id: frame for result in results for frame in result.frames}
    return {frame.uri: frame for frame in frames.values()}


@pytest.mark.parametrize("order", [("a", "c"), ("c", "a")])
def test_a_whole_file_stands_whichever_of_two_directories_comes_first(night, order):
    cut_copy(night, "c")
    first = ingest([night / order[0]], roots={"raw": night})
    second = ingest([night / order[1]], roots={"raw": night}, known=by_uri(first))
    standing = {frame.file_id: frame for frame in by_uri(first, second).values()}[f"SPHER.{TIMES[0]}"]
    assert (standing.uri, standing.truncated) == (f"raw/a/{name(TIMES[0])}", False)
    again = ingest([night], roots={"raw": night}, known=by_uri(first, second))
    assert f"SPHER.{TIMES[0]}" not in found(again)


def test_a_whole_file_beside_a_standing_cut_one_takes_its_place(night):
    cut = cut_copy(night, "c")
    whole = night / "a" / name(TIMES[0])
    kept = whole.read_bytes()
    whole.unlink()
    first = ingest([night], roots={"raw": night})
    assert by_uri(first)[f"raw/c/{cut.name}"].truncated
    whole.write_bytes(kept)
    second = ingest([night], roots={"raw": night}, known=by_uri(first))
    assert [(frame.uri, frame.truncated) for frame in second.frames] == [(f"raw/a/{whole.name}", False)]
    third = ingest([night], roots={"raw": night}, known=by_uri(first, second))
    assert (third.frames, third.duplicates) == ((), (f"raw/c/{cut.name}",))


def test_a_file_cut_in_its_own_place_is_read_as_cut(night):
    first = ingest([night], roots={"raw": night})
    path = night / "a" / name(TIMES[0])
    path.write_bytes(path.read_bytes()[: -2880 + 100])
    second = ingest([night], roots={"raw": night}, known=by_uri(first))
    assert [(frame.uri, frame.truncated) for frame in second.frames] == [(f"raw/a/{path.name}", True)]


def test_another_frame_in_a_known_frames_place_is_kept_out(night):
    first = ingest([night], roots={"raw": night})
    path = night / "a" / name(TIMES[0])
    kept = path.read_bytes()
    time = "2017-09-28T09:30:00.000"
    write_raw(path, DATE_OBS=time, MJD_OBS=None, ARCFILE=name(time))
    second = ingest([night], roots={"raw": night}, known=by_uri(first))
    assert second.frames == ()
    assert [(one.severity, one.file_id) for one in second.conflicts] == [("blocking", f"SPHER.{TIMES[0]}")]
    # Found elsewhere, the first frame gives its place up.
    (night / "c").mkdir()
    (night / "c" / path.name).write_bytes(kept)
    third = ingest([night], roots={"raw": night}, known=by_uri(first))
    assert (found(third), third.conflicts) == ({f"SPHER.{TIMES[0]}", f"SPHER.{time}"}, ())


@pytest.mark.parametrize("gone", ["file", "directory"])
def test_what_vanishes_while_it_is_listed_is_a_rejection(night, monkeypatch, gone):
    lost = night / "a" / name(TIMES[0]) if gone == "file" else night / "b"
    scandir = os.scandir

    class Listing:
        """A listing after which something is gone, as when another process removes it."""

        def __init__(self, path):
            self.path, self.entries = str(path), scandir(path)

        def __enter__(self):
            entries = list(self.entries)
            if self.path == str(lost.parent):
                shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
            return iter(entries)

        def __exit__(self, *_):
            self.entries.close()

    with monkeypatch.context() as patched:
        patched.setattr("archive_proc.ingest.walk.os.scandir", Listing)
        result = ingest([night], roots={"raw": night})
    assert [(one.code, one.subject_id) for one in result.rejected] == [("AP-ING-001", f"raw/{lost.relative_to(night)}")]
    assert len(result.frames) == (5 if gone == "file" else 3)


def test_a_disk_that_fails_under_one_file_does_not_end_the_ingest(night, monkeypatch):
    pread = os.pread
    broken = (night / "a" / name(TIMES[0])).stat().st_ino

    def failing(fd, count, offset):
        if os.fstat(fd).st_ino == broken:
            raise OSError(5, "Input/output error")
        return pread(fd, count, offset)

    monkeypatch.setattr("archive_proc.ingest.source.os.pread", failing)
    result = ingest([night], roots={"raw": night})
    assert [(one.code, one.subject_id) for one in result.rejected] == [("AP-ING-001", f"raw/a/{name(TIMES[0])}")]
    assert len(result.frames) == len(TIMES) - 1


def test_batches_add_up_to_the_whole(night):
    shutil.copy(night / "a" / name(TIMES[0]), night / "b" / name(TIMES[0]))
    whole = ingest([night], roots={"raw": night})
    batches = list(ingest_batches([night], roots={"raw": night}, files=2))
    assert len(batches) == 4
    assert {frame for batch in batches for frame in batch.frames} == set(whole.frames)
    assert {uri for batch in batches for uri in batch.duplicates} == set(whole.duplicates)
    assert {one for batch in batches for one in batch.not_raw} == set(whole.not_raw)


def test_full_digests_are_those_of_the_bytes_on_disk(night):
    frames = ingest([night], roots={"raw": night}, full_digest=True).frames
    path = night / frames[0].uri.removeprefix("raw/")
    assert frames[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_contradicting_datasums_are_a_conflict(night):
    time = "2017-09-28T08:20:00.000"
    for folder, datasum in (("a", "111"), ("b", "222")):
        write_raw(night / folder / name(time), DATE_OBS=time, ARCFILE=name(time), MJD_OBS=None, DATASUM=datasum)
    result = ingest([night], roots={"raw": night})
    assert [(one.code, one.subject_id) for one in result.conflicts] == [("AP-ING-010", f"raw/b/{name(time)}")]
    assert "DATASUM" in result.conflicts[0].message


def test_one_name_with_two_contents_never_overwrites(night):
    first = ingest([night], roots={"raw": night})
    known = {frame.uri: frame for frame in first.frames}
    other = write_raw(night / "b" / name(TIMES[0]), DATE_OBS=TIMES[0], OBJECT="HR 8799", ARCFILE=name(TIMES[0]))
    result = ingest([night], roots={"raw": night}, known=known)
    assert result.frames == ()
    assert [(issue.code, issue.subject_id) for issue in result.conflicts] == [("AP-ING-010", f"raw/b/{other.name}")]
    assert result.cards[0].table.num_rows == 0


def test_a_changed_file_at_its_old_place_is_a_conflict_too(night):
    first = ingest([night], roots={"raw": night})
    write_raw(night / "a" / name(TIMES[0]), DATE_OBS=TIMES[0], OBJECT="HR 8799", ARCFILE=name(TIMES[0]))
    result = ingest([night], roots={"raw": night}, known={frame.uri: frame for frame in first.frames})
    assert [(issue.code, issue.severity) for issue in result.conflicts] == [("AP-ING-010", "blocking")]
    assert result.conflicts[0].file_id == f"SPHER.{TIMES[0]}"


def test_an_empty_directory_gives_nothing(tmp_path):
    result = ingest([tmp_path], roots={"raw": tmp_path})
    assert (result.frames, result.not_raw, result.rejected) == ((), (), ())


def test_wrong_paths_are_misuse(night, tmp_path):
    with pytest.raises(MisuseError, match="AP-ING-020"):
        ingest([night / "typo"], roots={"raw": night})
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(MisuseError, match="AP-ING-021"):
        ingest([tmp_path / "elsewhere"], roots={"raw": night})


def test_the_deepest_root_names_a_file(night):
    result = ingest([night / "a"], roots={"raw": night, "deep": night / "a"})
    assert {frame.uri.split("/")[0] for frame in result.frames} == {"deep"}


@pytest.mark.parametrize("form", ["txt", "csv", "parquet"])
def test_expected_lists_name_what_is_missing_and_what_is_too_much(night, tmp_path, form):
    import pyarrow as pa
    import pyarrow.parquet as pq

    listed = [f"SPHER.{time}" for time in TIMES[1:]] + ["SPHER.2017-09-28T09_00_00.000.fits.Z"]
    path = tmp_path / f"campaign.{form}"
    if form == "parquet":
        pq.write_table(pa.table({"dp_id": listed}), path)
    elif form == "csv":
        path.write_text("object,DP.ID\n" + "".join(f"star,{one}\n" for one in listed))
    else:
        path.write_text("# campaign\n\n" + "\n".join(reversed(listed)))
    outcome = compare(read_expected(path), ingest([night], roots={"raw": night}).frames)
    assert outcome.missing == ("SPHER.2017-09-28T09:00:00.000",)
    assert outcome.surplus == (f"SPHER.{TIMES[0]}",)
    assert [issue.code for issue in outcome.issues] == ["AP-ING-040", "AP-ING-041"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "SPHER.2017-09-28T08:10:07.975\nrubbish\n"])
def test_lists_that_name_nothing_are_errors(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(InputError, match="AP-ING-042"):
        read_expected(path)
