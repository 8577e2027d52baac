"""Compressed deliveries: the planes of every form, damage and cuts noticed, bombs bounded, no process left behind."""

import dataclasses
import gzip
import os
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from archive_proc.errors import DataFailure, InputError, PreconditionError
from archive_proc.ingest import raw_frame, scan_header
from archive_proc.simulate.lzw import compress
from archive_proc.storage import fits, fits_streams
from archive_proc.storage.fits import OpenFrame, read_planes, write_fits
from archive_proc.storage.fits_streams import open_stream

CARDS = [
    ("INSTRUME", "SPHERE"), ("DATE-OBS", "2017-09-28T08:13:07.975"), ("SEQ ARM", "IRDIS"), ("DPR TYPE", "DARK"),
    ("DET SEQ1 DIT", 16.0),
]  # fmt: skip
PACK = {"Z": compress, "gz": lambda content: gzip.compress(content, mtime=0)}


@pytest.fixture
def planes():
    # 4200 bytes a plane: the pixels do not end with a block.
    return np.random.default_rng(5).normal(200, 30, (5, 30, 35)).astype(np.float32)


@pytest.fixture
def content(tmp_path, planes):
    write_fits(tmp_path / "plain.fits", CARDS, planes)
    return (tmp_path / "plain.fits").read_bytes()


def packed(path, form, content):
    path.write_bytes(PACK[form](content))
    return path, raw_frame(scan_header(path), uri=f"raw/{path.name}")


def replaced(path, frame, content):
    """The same row for a file of other bytes: what a disk does, not what a delivery is."""
    path.write_bytes(content)
    return dataclasses.replace(frame, size_bytes=len(content))


def all_children():
    """Processes whose parent we are, zombies included."""
    return Path("/proc/self/task").joinpath(str(os.getpid()), "children").read_text().split()


@pytest.fixture(autouse=True)
def earlier(monkeypatch):
    """Other tests of this process may have left servers of their own."""
    monkeypatch.setattr(sys.modules[__name__], "EARLIER", frozenset(all_children()))


EARLIER: frozenset[str] = frozenset()


def children():
    """Those that came since the test began."""
    return [one for one in all_children() if one not in EARLIER]


@pytest.mark.parametrize("form", PACK)
@pytest.mark.parametrize("wanted", [[0, 1, 2, 3, 4], [4], [3, 0, 3], [2]])
def test_planes_of_compressed_files_are_those_of_the_plain_one(tmp_path, planes, content, form, wanted):
    path, frame = packed(tmp_path / "a.fits", form, content)
    assert (frame.compression, frame.truncated) == (form, False)
    assert np.array_equal(read_planes(path, frame, wanted), planes[wanted])
    assert children() == []


@pytest.mark.parametrize("form", PACK)
def test_a_cut_stream_gives_what_it_has_and_names_the_first_plane_it_has_not(tmp_path, planes, content, form):
    path, frame = packed(tmp_path / "a.fits", form, content)
    whole = path.read_bytes()
    frame = replaced(path, frame, whole[: len(whole) * 2 // 3])
    assert np.array_equal(read_planes(path, frame, [0, 1]), planes[:2])
    with pytest.raises(DataFailure, match=r"AP-ING-030.*ends before plane [23] of 5"):
        read_planes(path, frame, range(5))
    assert children() == []


def test_a_gzip_stream_cut_in_its_checksum_is_noticed(tmp_path, content):
    path, frame = packed(tmp_path / "a.fits.gz", "gz", content)
    frame = replaced(path, frame, path.read_bytes()[:-5])
    read_planes(path, frame, [0])
    with pytest.raises(DataFailure, match=r"AP-ING-031.*ends before its checksum"):
        read_planes(path, frame, [4])


def test_a_damaged_lzw_stream_is_noticed_by_the_program_that_reads_it(tmp_path, content):
    path, frame = packed(tmp_path / "a.fits.Z", "Z", content)
    broken = bytearray(path.read_bytes())
    broken[-4000:-3900] = b"\xff" * 100
    frame = replaced(path, frame, bytes(broken))
    with pytest.raises(DataFailure, match=r"AP-ING-031.*corrupt input") as caught:
        read_planes(path, frame, range(5))
    assert str(tmp_path) not in caught.value.line
    assert children() == []


@pytest.mark.parametrize("form", PACK)
@pytest.mark.parametrize("more", [b"\x01" * 5000, b"XYZ" * 3000])
def test_bytes_that_belong_to_nothing_are_noticed(tmp_path, content, form, more):
    path, frame = packed(tmp_path / "a.fits", form, content + more)
    read_planes(path, frame, [0])
    with pytest.raises(DataFailure, match=r"AP-ING-031.*belong to nothing"):
        read_planes(path, frame, [4])


def test_garbage_behind_a_gzip_stream_is_noticed_and_zeros_are_not(tmp_path, planes, content):
    path, frame = packed(tmp_path / "a.fits.gz", "gz", content)
    whole = path.read_bytes()
    frame = replaced(path, frame, whole + bytes(512))
    assert np.array_equal(read_planes(path, frame, [4]), planes[4:])
    frame = replaced(path, frame, whole + b"garbage")
    with pytest.raises(DataFailure, match=r"AP-ING-031.*no gzip"):
        read_planes(path, frame, [4])


def test_gzip_members_behind_each_other_are_one_file(tmp_path, planes, content):
    path = tmp_path / "a.fits.gz"
    path.write_bytes(b"".join(gzip.compress(content[at : at + 7000]) for at in range(0, len(content), 7000)))
    frame = raw_frame(scan_header(path), uri="a")
    assert np.array_equal(read_planes(path, frame, [1, 4]), planes[[1, 4]])


@pytest.mark.parametrize("form", PACK)
def test_a_file_that_ends_in_the_padding_has_all_its_planes(tmp_path, planes, content, form):
    path, frame = packed(tmp_path / "a.fits", form, content[:-1000])
    assert np.array_equal(read_planes(path, frame, [4]), planes[4:])


@pytest.mark.parametrize("form", ["plain", "Z"])
def test_nothing_is_allocated_for_planes_that_the_file_cannot_hold(tmp_path, content, form):
    forged = content.replace(b"NAXIS1  =                   35", b"NAXIS1  =               100000")
    forged = forged.replace(b"NAXIS2  =                   30", b"NAXIS2  =                10000")
    assert forged != content
    path = tmp_path / "a.fits"
    path.write_bytes(forged if form == "plain" else PACK[form](forged))
    frame = raw_frame(scan_header(path), uri="a")
    tracemalloc.start()
    try:
        with pytest.raises(DataFailure, match=r"AP-ING-030.*plane 3 of 5"):
            read_planes(path, frame, [3])
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()


def test_a_bomb_is_inflated_no_further_than_the_plane_asked_for(tmp_path, planes, content):
    path = tmp_path / "a.fits.gz"
    packer = zlib.compressobj(wbits=31)
    with path.open("wb") as bomb:
        bomb.write(packer.compress(content))
        for _ in range(200):
            bomb.write(packer.compress(bytes(1 << 20)))
        bomb.write(packer.flush())
    frame = raw_frame(scan_header(path), uri="a")
    with open_stream(path) as stream:
        tracemalloc.start()
        assert stream.fill(frame.data_offset, memoryview(bytearray(4200)))
        assert stream._file.tell() <= 1 << 17
        assert tracemalloc.get_traced_memory()[1] < 4e6
        tracemalloc.stop()
    with pytest.raises(DataFailure, match="belong to nothing"):
        read_planes(path, frame, [4])


def test_without_gzip_a_z_file_is_a_missing_precondition(tmp_path, content, monkeypatch):
    path, frame = packed(tmp_path / "a.fits.Z", "Z", content)
    plain = tmp_path / "plain.fits"
    monkeypatch.setenv("PATH", str(tmp_path))
    for read in (lambda: scan_header(path), lambda: read_planes(path, frame, [0])):
        with pytest.raises(PreconditionError, match=r"AP-ING-007.*gzip") as caught:
            read()
        assert caught.value.exit_status == 5
    assert not scan_header(plain).structure.truncated


def test_a_z_file_that_is_damaged_in_its_header_is_named(tmp_path, content):
    path = tmp_path / "a.fits.Z"
    path.write_bytes(compress(content)[:200] + b"\xff" * 300)
    with pytest.raises(InputError, match=r"AP-ING-006.*corrupt input"):
        scan_header(path)
    path.write_bytes(b"\x1f\x9d")
    with pytest.raises(InputError, match=r"AP-ING-00[36]"):
        scan_header(path)
    assert children() == []


def test_the_users_gzip_options_are_not_ours(tmp_path, planes, content, monkeypatch):
    monkeypatch.setenv("GZIP", "--verbose --keep")
    path, frame = packed(tmp_path / "a.fits.Z", "Z", content)
    assert np.array_equal(read_planes(path, frame, [4]), planes[4:])
    assert fits_streams.shutil.which("gzip")


@pytest.mark.parametrize("form", PACK)
def test_a_compressed_file_read_forward_is_inflated_once(tmp_path, planes, content, form, monkeypatch):
    path, frame = packed(tmp_path / "a.fits", form, content)
    opened = []
    real = fits.open_stream
    monkeypatch.setattr(fits, "open_stream", lambda path: opened.append(path) or real(path))
    out = np.empty((2, 30, 35), np.float32)
    with OpenFrame(path, frame) as file:
        for wanted in ([0, 1], [2, 3], [4]):
            file.read_into(wanted, out[: len(wanted)])
            assert np.array_equal(out[: len(wanted)], planes[wanted])
        assert len(opened) == 1
        file.read_into([1], out[:1])
        assert np.array_equal(out[0], planes[1]), "going back opens it anew"
        assert len(opened) == 2
    assert children() == []


@pytest.mark.parametrize("form", PACK)
def test_a_file_exchanged_while_it_is_open_is_noticed(tmp_path, planes, content, form):
    path, frame = packed(tmp_path / "a.fits", form, content)
    out = np.empty((1, 30, 35), np.float32)
    with OpenFrame(path, frame) as file:
        file.read_into([0], out)
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(DataFailure, match="AP-ING-032"):
            file.read_into([1], out)
