"""Hostile and broken files: a named error or a list of problems, soon, and never an exception of another kind."""

import contextlib
import gzip
import os
import random
import time
import zlib

import pytest
from raw_files import cards_of, header, lines_of, write_lines, write_raw

from archive_proc.errors import InputError
from archive_proc.ingest import raw_frame, scan_header

GOOD = lines_of(cards_of())


def with_axes(*axes: object, bitpix: object = -32) -> list[str]:
    lines = ["SIMPLE  =                    T", f"BITPIX  = {bitpix}", f"NAXIS   = {len(axes)}"]
    return [*lines, *(f"NAXIS{n}  = {axis}" for n, axis in enumerate(axes, 1)), *GOOD[6:]]


BROKEN = {
    "empty": (b"", "AP-ING-002"),
    "html": (b"<!DOCTYPE html><html>" + bytes(5000), "AP-ING-003"),
    "zeros": (bytes(10000), "AP-ING-003"),
    "noise": (random.Random(1).randbytes(100_000), "AP-ING-003"),
    "no end": (header(GOOD, end=False) + bytes(2880), "AP-ING-004"),
    "cut in the header": (header(GOOD)[:1000], "AP-ING-004"),
    "endless header": (header(GOOD[:9], end=False) + b"COMMENT " * 400_000, "AP-ING-004"),
    "negative axis": (header(with_axes(8, -4)), "AP-ING-005"),
    "axis near 2^63": (header(with_axes(2**63 - 1, 2)), "AP-ING-005"),
    "axes of 8 TiB": (header(with_axes(2_000_000, 2_000_000)), "AP-ING-005"),
    "axis in words": (header(with_axes("'many'")), "AP-ING-005"),
    "sixty digits": (header(with_axes("9" * 60)), "AP-ING-005"),
    "too many axes": (header(["SIMPLE  =                    T", "BITPIX  = 8", "NAXIS   = 1000"]), "AP-ING-005"),
    "missing axis": (header(["SIMPLE  =                    T", "BITPIX  = 8", "NAXIS   = 2"]), "AP-ING-005"),
    "illegal bitpix": (header(with_axes(8, 4, bitpix=12)), "AP-ING-005"),
    "no bitpix": (header(["SIMPLE  =                    T", "NAXIS   = 0"]), "AP-ING-005"),
    "damaged gzip": (gzip.compress(header(GOOD))[:20] + b"damaged" * 50, "AP-ING-006"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_named(tmp_path, case):
    content, code = BROKEN[case]
    path = tmp_path / "SPHER.2017-09-28T08:13:07.975.fits"
    path.write_bytes(content)
    started = time.process_time()
    with pytest.raises(InputError) as caught:
        scan_header(path)
    assert caught.value.code == code
    assert caught.value.subject == str(path)
    assert time.process_time() - started < 0.5


@pytest.mark.timeout(20)
def test_pipes_links_and_directories_are_refused(tmp_path):
    pipe, link, device = tmp_path / "a.fits", tmp_path / "b.fits", tmp_path / "c.fits"
    os.mkfifo(pipe)
    link.symlink_to(write_raw(tmp_path / "real.fits"))
    device.symlink_to("/dev/zero")
    for path in (pipe, link, device, tmp_path, tmp_path / "absent.fits"):
        with pytest.raises(InputError, match="AP-ING-001"):
            scan_header(path)


def test_a_gzip_bomb_costs_no_more_than_a_header(tmp_path):
    path = tmp_path / "bomb.fits.gz"
    packer = zlib.compressobj(wbits=31)
    with path.open("wb") as bomb:
        bomb.write(packer.compress(header(GOOD)))
        for _ in range(100):
            bomb.write(packer.compress(bytes(1 << 20)))
        bomb.write(packer.flush())
    started = time.process_time()
    assert scan_header(path).structure.axes == (8, 4, 3)
    assert time.process_time() - started < 0.2


def test_a_forged_compressed_image_allocates_nothing(tmp_path):
    shell = header(["SIMPLE  =                    T", "BITPIX  = 8", "NAXIS   = 0"])
    table = [
        "XTENSION= 'BINTABLE'", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 8", "NAXIS2  = 10", "PCOUNT  = 0",
        "GCOUNT  = 1", "TFIELDS = 1", "ZIMAGE  = T", "ZBITPIX = 32", "ZNAXIS  = 2", "ZNAXIS1 = 2000000",
        "ZNAXIS2 = 2000000", *GOOD[6:],
    ]  # fmt: skip
    path = tmp_path / "x.fits.fz"
    path.write_bytes(shell + header(table) + bytes(2880))
    with pytest.raises(InputError, match="AP-ING-005"):
        scan_header(path)


@pytest.mark.parametrize("missing", [1, 2880, 2880 * 2])
def test_a_cut_file_is_a_fact_of_its_row(tmp_path, missing):
    whole = write_raw(tmp_path / "a.fits", shape=(3, 24, 32))
    assert not scan_header(whole).structure.truncated
    data = 3 * 24 * 32 * 4
    cut = tmp_path / "b.fits"
    cut.write_bytes(whole.read_bytes()[: len(header(GOOD)) + data - missing])
    scan = scan_header(cut)
    assert scan.structure.truncated
    assert raw_frame(scan, uri="b").truncated
    assert raw_frame(scan, uri="b").content_id == raw_frame(scan_header(whole), uri="a").content_id


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_cut_gzip_file_is_a_fact_of_its_row(tmp_path, keep):
    whole = gzip.compress(write_raw(tmp_path / "a.fits", shape=(3, 24, 32)).read_bytes())
    path = tmp_path / "c.fits.gz"
    path.write_bytes(whole[: int(len(whole) * keep)])
    assert scan_header(path).structure.truncated
    path.write_bytes(whole)
    assert not scan_header(path).structure.truncated


def test_padding_may_be_missing(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(header(GOOD) + bytes(3 * 4 * 8 * 4))
    assert not scan_header(path).structure.truncated


def test_odd_cards_are_problems_and_the_rest_is_read(tmp_path):
    extra = [
        "HIERARCH ESO TEL AMBI RHUM = 400.0",
        "HIERARCH ESO TEL AMBI TEMP = warm",
        "HIERARCH ESO OBS NAME = 'never closed",
        "HIERARCH ESO NO EQUALS SIGN",
        "HIERARCH ESO DET SEQ1 DIT = 99.0",
        "TEMPER  = 1e999",
        "BADCARD",
        "BYTES   = 'a\x01b\xff'",
    ]
    scan = scan_header(write_raw(tmp_path / "a.fits", extra=extra))
    frame = raw_frame(scan, uri="a")
    assert (frame.rhum_pct, frame.temp_c, frame.dit_s) == (None, None, 16.0)
    named = {problem.split(":")[0] for problem in frame.problems}
    assert named >= {
        "TEL AMBI RHUM", "TEL AMBI TEMP", "OBS NAME", "NO EQUALS SIGN", "DET SEQ1 DIT", "BADCARD", "BYTES"
    }  # fmt: skip


def test_long_strings_continue_only_where_told(tmp_path):
    extra = ["LONGKEY = 'first &'", "CONTINUE  'and second' / remark", "OTHER   = 'alone'", "CONTINUE  'stray'"]
    scan = scan_header(write_raw(tmp_path / "a.fits", extra=extra))
    assert (scan.values["LONGKEY"].value, scan.values["OTHER"].value) == ("first and second", "alone")
    assert any(problem.startswith("CONTINUE") for problem in scan.problems)


@pytest.mark.parametrize("key", ["DATE-OBS", "SEQ ARM"])
def test_a_frame_without_time_or_arm_is_refused(tmp_path, key):
    cards = [card for card in cards_of() if card[0] not in (key, "MJD-OBS", "ARCFILE", "DET ID")]
    path = write_lines(tmp_path / "a.fits", lines_of(cards))
    with pytest.raises(InputError, match="AP-ING-008"):
        raw_frame(scan_header(path), uri="a")


def test_names_from_headers_never_become_paths(tmp_path):
    evil = ["../../x", "; rm -rf ~", "a\tb", "CON", "x" * 60]
    for number, name in enumerate(evil):
        frame = raw_frame(scan_header(write_raw(tmp_path / f"{number}.fits", OBJECT=name)), uri=f"raw/{number}.fits")
        assert frame.file_id == "SPHER.2017-09-28T08:13:07.975"
        assert frame.object_raw in (name, None)


def test_mutated_headers_raise_nothing_but_input_errors(tmp_path):
    whole = bytearray(write_raw(tmp_path / "a.fits").read_bytes())
    rng = random.Random(20170928)
    path = tmp_path / "m.fits"
    for _ in range(400):
        mutant = bytearray(whole)
        for _ in range(rng.choice([1, 3, 30])):
            mutant[rng.randrange(len(header(GOOD)))] = rng.randrange(256)
        if rng.random() < 0.3:
            del mutant[rng.randrange(len(mutant)) :]
        path.write_bytes(mutant)
        with contextlib.suppress(InputError):
            raw_frame(scan_header(path), uri="m")
