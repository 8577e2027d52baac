"""Ingest into an archive: what is written, what is not, and what stands afterwards."""

import importlib.util
import os
from pathlib import Path

import pytest

from archive_proc.archive import Archive
from archive_proc.errors import DataFailure
from archive_proc.flow.intake import IntakeOptions, take_in
from archive_proc.storage.fits import RawReader
from archive_proc.storage.headers import read_header
from archive_proc.storage.manifests import merge_manifests

_RAW_FILES = Path(__file__).parent.parent / "ingest" / "raw_files.py"
_SPEC = importlib.util.spec_from_file_location("raw_files_of_ingest", _RAW_FILES)
raw_files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(raw_files)

TIMES = [f"2017-09-28T08:1{n}:07.975" for n in range(6)]


def write(directory: Path, number: int, **cards: object) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    time = TIMES[number]
    path = directory / f"SPHER.{time}.fits"
    return raw_files.write_raw(path, DATE_OBS=time, MJD_OBS=None, ARCFILE=path.name, **cards)


@pytest.fixture
def archive(tmp_path):
    return Archive.init(tmp_path / "A")


def ingest(archive, *paths):
    """As `archive.ingest`, without publishing."""
    return take_in(archive.layout, archive.settings, [Path(one) for one in paths], IntakeOptions())


def manifests(archive):
    return {one.name: one.stat().st_mtime_ns for one in archive.layout.manifests.glob("*.parquet")}


def rows(archive):
    """Frames in all manifests together, repeated ones counted."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(one).num_rows for one in archive.layout.manifests.glob("*.parquet"))


def test_an_unchanged_directory_writes_nothing(archive, tmp_path):
    for number in range(3):
        write(tmp_path / "raw", number)
    (tmp_path / "raw" / "SPHER.2017-09-28T09:00:00.000.fits").write_bytes(b"")
    ingest(archive, tmp_path / "raw")
    before, merged = manifests(archive), merge_manifests(archive.layout)
    again = ingest(archive, tmp_path / "raw")
    part = ingest(archive, tmp_path / "raw" / f"SPHER.{TIMES[1]}.fits")
    assert (again.manifest_id, part.manifest_id) == (None, None)
    assert len(again.result.rejected) == 1
    assert manifests(archive) == before
    assert merge_manifests(archive.layout) == merged


def test_manifests_grow_with_the_frames_not_with_the_ingests(archive, tmp_path):
    for number in range(len(TIMES)):
        write(tmp_path / "raw", number)
        ingest(archive, tmp_path / "raw")
    assert rows(archive) == len(TIMES)
    assert len(merge_manifests(archive.layout).frames) == len(TIMES)


def test_a_mended_file_settles_its_rejection(archive, tmp_path):
    write(tmp_path / "raw", 0)
    bad = tmp_path / "raw" / f"SPHER.{TIMES[1]}.fits"
    bad.write_bytes(b"")
    ingest(archive, tmp_path / "raw")
    assert [one.code for one in merge_manifests(archive.layout).issues] == ["AP-ING-002"]
    bad.unlink()
    assert ingest(archive, tmp_path / "raw").manifest_id is not None
    assert merge_manifests(archive.layout).issues == ()
    assert ingest(archive, tmp_path / "raw").manifest_id is None


def test_rejects_of_two_directories_are_both_remembered_and_have_their_own_roots(archive, tmp_path):
    for place in ("x", "y"):
        (tmp_path / place / "raw").mkdir(parents=True)
        (tmp_path / place / "raw" / f"SPHER.{TIMES[0]}.fits").write_bytes(b"")
        ingest(archive, tmp_path / place / "raw")
    assert len({one.subject_id for one in merge_manifests(archive.layout).issues}) == 2
    assert len(Archive.open(archive.root).settings.raw_roots) == 2


def test_two_open_handles_lose_no_root(archive, tmp_path):
    other = Archive.open(archive.root)
    write(tmp_path / "one", 0)
    write(tmp_path / "two", 1)
    ingest(archive, tmp_path / "one")
    ingest(other, tmp_path / "two")
    assert set(Archive.open(archive.root).settings.raw_roots) == {"one", "two"}


def replaced(archive, tmp_path):
    """An archive whose first file was replaced by one of the same size with other content, and ingested again."""
    raw = tmp_path / "raw"
    path = write(raw, 0)
    write(raw, 1)
    ingest(archive, raw)
    kept = path.read_bytes()
    write(raw, 0, OBJECT="HR8799")
    assert path.stat().st_size == len(kept)
    os.utime(path, (1, 1))
    (old, _) = merge_manifests(archive.layout).frames
    with pytest.raises(DataFailure, match="AP-ING-032"):
        RawReader({"raw": raw}).read_planes(old, [0])
    ingest(archive, raw)
    return path, kept, old


def test_a_replaced_file_blocks_its_frame_until_it_is_back(archive, tmp_path):
    path, kept, old = replaced(archive, tmp_path)
    (issue,) = merge_manifests(archive.layout).issues
    assert (issue.code, issue.severity, issue.subject_id) == ("AP-ING-010", "blocking", old.file_id)
    before = manifests(archive)
    ingest(archive, path.parent)
    assert manifests(archive) == before
    path.write_bytes(kept)
    ingest(archive, path.parent)
    merged = merge_manifests(archive.layout)
    assert merged.issues == ()
    assert merged.frames[0].content_id == old.content_id
    assert RawReader({"raw": path.parent}).read_planes(merged.frames[0], [0]).size


def test_a_replaced_file_can_be_taken_as_the_remedy_says(archive, tmp_path):
    path, _, old = replaced(archive, tmp_path)
    (issue,) = merge_manifests(archive.layout).issues
    assert "move manifests/*.parquet and headers/ away and ingest every raw root again" in issue.remedy
    archive.layout.headers.rename(tmp_path / "headers")
    for manifest in archive.layout.manifests.glob("*.parquet"):
        manifest.rename(tmp_path / manifest.name)
    ingest(archive, path.parent)
    merged = merge_manifests(archive.layout)
    assert (merged.issues, len(merged.frames)) == ((), 2)
    assert merged.frames[0].content_id != old.content_id
    assert RawReader({"raw": path.parent}).read_planes(merged.frames[0], [0]).size
    assert {card.key: card.value for card in read_header(archive.layout, old.file_id)}["OBJECT"] == "HR8799"
