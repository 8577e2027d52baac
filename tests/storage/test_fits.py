"""Raw pixels: the same planes from every form, in the order asked for, and named failures for broken files."""

import dataclasses
import datetime as dt
import gzip
import hashlib
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits

from archive_proc.errors import DataFailure, InfraFailure
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.storage.fits import RawReader, plane_digests, read_planes, write_fits

SHAPE = (5, 6, 16)


def frame_at(path, **changes):
    """The row that ingest would give, found here by astropy."""
    with fits.open(path, do_not_scale_image_data=True) as units:
        number = next(n for n, unit in enumerate(units) if unit.data is not None)
        unit = units[number]
        compression = "fz" if isinstance(unit, fits.CompImageHDU) else "gz" if path.suffix == ".gz" else "none"
        axes = dict(zip(("naxis1", "naxis2", "naxis3"), reversed(unit.shape), strict=False))
        facts = {
            "bitpix": unit.header["BITPIX"],
            "bzero": float(unit.header.get("BZERO", 0)),
            "bscale": float(unit.header.get("BSCALE", 1)),
            "data_offset": units.fileinfo(number)["datLoc"] if compression != "fz" else 0,
        }
    start = dt.datetime(2017, 9, 28)
    row = {
        "file_id": "SPHER.2017-09-28T00:00:00.000", "content_id": "00" * 32, "uri": f"raw/{path.name}",
        "compression": compression, "size_bytes": path.stat().st_size, "arm": Arm.IRDIS, "date_obs": start,
        "mjd_obs": 58024.0, "mjd_end": 58024.0, "night": start.date(), "period_date": 99,
    }  # fmt: skip
    return RawFrame(**{**row, **axes, **facts, **changes})


@pytest.fixture
def planes():
    return np.random.default_rng(11).integers(-900, 30000, SHAPE)


@pytest.mark.parametrize("kind", ["float32", "float64", "int16", "int32", "int64", "uint8"])
@pytest.mark.parametrize("form", ["none", "gz"])
def test_every_fits_type_is_read_as_native_float32(tmp_path, planes, kind, form):
    values = np.abs(planes % 200).astype(kind)
    path = tmp_path / ("a.fits.gz" if form == "gz" else "a.fits")
    fits.PrimaryHDU(values).writeto(path)
    read = read_planes(path, frame_at(path), [0, 1, 2, 3, 4])
    assert (read.dtype, read.shape) == (np.float32, SHAPE)
    assert read.dtype.isnative
    assert np.array_equal(read, values.astype(np.float32))


@pytest.mark.parametrize("form", ["none", "gz", "fz"])
def test_planes_come_in_the_order_asked_for_also_twice(tmp_path, planes, form):
    path = tmp_path / {"none": "a.fits", "gz": "a.fits.gz", "fz": "a.fits.fz"}[form]
    image = planes.astype(np.int32)
    if form == "fz":
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image)]).writeto(path)
    else:
        fits.PrimaryHDU(image).writeto(path)
    read = read_planes(path, frame_at(path), [3, 0, 3])
    assert np.array_equal(read, planes[[3, 0, 3]].astype(np.float32))
    assert read_planes(path, frame_at(path), []).shape == (0, *SHAPE[1:])


@pytest.mark.parametrize("zero", [32668, 32768, 0, -5])
def test_any_zero_point_is_applied(tmp_path, planes, zero):
    path = tmp_path / "a.fits"
    inside = planes % 20000
    write_fits(path, [("OBJECT", "x")], inside, bzero=zero)
    assert np.array_equal(read_planes(path, frame_at(path), range(5)), inside.astype(np.float32))
    with fits.open(path) as units:
        assert np.array_equal(units[0].data, inside)


def test_scales_are_applied(tmp_path, planes):
    path = tmp_path / "a.fits"
    write_fits(path, [], planes.astype(np.int16))
    read = read_planes(path, frame_at(path, bscale=0.25, bzero=3.5), [2])
    assert np.array_equal(read[0], (planes[2] * 0.25 + 3.5).astype(np.float32))


def test_two_dimensional_images_have_one_plane(tmp_path, planes):
    path = tmp_path / "a.fits"
    write_fits(path, [], planes[0].astype(np.float32))
    assert np.array_equal(read_planes(path, frame_at(path), [0]), planes[:1].astype(np.float32))
    packed = tmp_path / "b.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(planes[0].astype(np.int32))]).writeto(packed)
    assert np.array_equal(read_planes(packed, frame_at(packed), [0]), planes[:1].astype(np.float32))


@pytest.mark.parametrize("form", ["none", "gz"])
def test_a_cut_file_gives_the_planes_it_has_and_names_the_first_it_has_not(tmp_path, planes, form):
    whole = tmp_path / "w.fits"
    write_fits(whole, [], planes.astype(np.float32))
    cut = whole.read_bytes()[: 2880 + int(2.5 * planes[0].size * 4)]
    path = tmp_path / ("a.fits.gz" if form == "gz" else "a.fits")
    path.write_bytes(gzip.compress(cut) if form == "gz" else cut)
    frame = dataclasses.replace(frame_at(whole), compression=form, size_bytes=path.stat().st_size)
    assert np.array_equal(read_planes(path, frame, [0, 1]), planes[:2].astype(np.float32))
    with pytest.raises(DataFailure, match=r"AP-ING-030.*plane 2 of 5"):
        read_planes(path, frame, [1, 2])


def test_damaged_streams_and_tiles_are_data_failures(tmp_path, planes):
    path = tmp_path / "a.fits.gz"
    write_fits(path, [], planes.astype(np.float32), compress=True)
    frame = frame_at(path)
    broken = bytearray(path.read_bytes())
    broken[400:600] = bytes(200)
    path.write_bytes(broken)
    with pytest.raises(DataFailure, match=r"AP-ING-03[01]"):
        read_planes(path, frame, [4])
    packed = tmp_path / "b.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(planes.astype(np.int32))]).writeto(packed)
    frame = frame_at(packed)
    broken = packed.read_bytes()[: packed.stat().st_size - 2880 * 1]
    packed.write_bytes(broken)
    with pytest.raises(DataFailure, match=r"AP-ING-030.*compressed tiles"):
        read_planes(packed, dataclasses.replace(frame, size_bytes=len(broken)), range(5))


def hcompressed(path, planes, *, checksum=True):
    """Planes in tiles of HCOMPRESS, those at the far edges smaller than the rest."""
    tiles = (1, planes.shape[1] // 2 + 4, planes.shape[2] // 2 + 4)
    image = fits.CompImageHDU(planes.astype(np.int32), compression_type="HCOMPRESS_1", tile_shape=tiles)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path, checksum=checksum)


def test_hcompress_tiles_are_read_where_their_sum_holds(tmp_path, planes):
    path, unsummed = tmp_path / "a.fits.fz", tmp_path / "b.fits.fz"
    hcompressed(path, planes)
    assert np.array_equal(read_planes(path, frame_at(path), [1, 4]), planes[[1, 4]].astype(np.float32))
    hcompressed(unsummed, planes, checksum=False)
    with pytest.raises(DataFailure, match=r"AP-ING-031.*DATASUM"):
        read_planes(unsummed, frame_at(unsummed), [0])


def test_hcompress_tiles_that_lie_about_their_size_or_are_damaged_reach_no_decoder(tmp_path, planes):
    path = tmp_path / "a.fits.fz"
    hcompressed(path, planes)
    frame = frame_at(path)
    broken = bytearray(path.read_bytes())
    head = broken.index(b"\xdd\x99")
    broken[head + 2 : head + 6] = (2**30).to_bytes(4, "big")
    path.write_bytes(broken)
    with pytest.raises(DataFailure, match=r"AP-ING-031.*DATASUM"):
        read_planes(path, frame, [0])
    with fits.open(path, mode="update", disable_image_compression=True) as units:
        units[1].add_datasum()
    with pytest.raises(DataFailure, match=r"AP-ING-031.*says it has"):
        read_planes(path, dataclasses.replace(frame, size_bytes=path.stat().st_size), [0])


@pytest.mark.parametrize("fields", [10_000_000, -1])
def test_a_table_of_more_columns_than_there_can_be_is_not_set_up(tmp_path, planes, fields):
    path = tmp_path / "a.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(planes.astype(np.int32))]).writeto(path)
    frame = frame_at(path)
    forged = bytearray(path.read_bytes())
    card = forged.index(b"TFIELDS =")
    forged[card + 10 : card + 30] = f"{fields:>20}".encode()
    path.write_bytes(forged)
    tracemalloc.start()
    try:
        with pytest.raises(DataFailure, match=rf"AP-ING-031.*{fields} columns"):
            read_planes(path, frame, [0])
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_replaced_file_is_refused(tmp_path, planes):
    path = tmp_path / "a.fits"
    write_fits(path, [], planes.astype(np.float32))
    frame = frame_at(path)
    with path.open("ab") as more:
        more.write(bytes(2880))
    with pytest.raises(DataFailure, match="AP-ING-032"):
        read_planes(path, frame, [0])


@pytest.mark.parametrize("plane", [-1, 5])
def test_planes_that_are_not_there_are_refused(tmp_path, planes, plane):
    path = tmp_path / "a.fits"
    write_fits(path, [], planes.astype(np.float32))
    with pytest.raises(DataFailure, match="AP-ING-032"):
        read_planes(path, frame_at(path), [plane])


def test_files_out_of_reach_may_be_tried_again(tmp_path, planes):
    path = tmp_path / "a.fits"
    write_fits(path, [], planes.astype(np.float32))
    frame = frame_at(path)
    assert np.array_equal(RawReader({"raw": tmp_path}).read_planes(frame, [1]), planes[1:2].astype(np.float32))
    with pytest.raises(InfraFailure, match="AP-ING-033"):
        RawReader({"raw": tmp_path / "gone"}).read_planes(frame, [0])
    with pytest.raises(InfraFailure, match="AP-ING-033"):
        RawReader({}).read_planes(frame, [0])


def test_digests_are_of_the_values_not_of_the_layout(planes):
    values = planes.astype(np.float32)
    digests = plane_digests(values)
    assert digests[1] == hashlib.sha256(values[1].astype("<f4").tobytes()).hexdigest()
    assert plane_digests(np.asfortranarray(values)) == digests
    assert len(set(digests)) == 5


def test_the_writer_says_what_it_was_told(tmp_path):
    path = tmp_path / "a.fits.gz"
    cards = [("OBJECT", "O'Neill", "who"), ("DET SEQ1 DIT", 0.837464, "s"), ("DET NDIT", 3), ("INS4 SHUT ST", True)]
    write_fits(path, [*cards, ("HISTORY", "made")], np.zeros((2, 3, 4), np.float32), compress=True)
    with fits.open(path) as units:
        units.verify("exception")
        header = units[0].header
        assert (header["OBJECT"], header["HIERARCH ESO DET SEQ1 DIT"]) == ("O'Neill", 0.837464)
        assert (header["HIERARCH ESO DET NDIT"], header["HIERARCH ESO INS4 SHUT ST"]) == (3, True)
        assert units[0].data.shape == (2, 3, 4)
    again = path.read_bytes()
    write_fits(path, [*cards, ("HISTORY", "made")], np.zeros((2, 3, 4), np.float32), compress=True)
    assert path.read_bytes() == again


def test_the_writer_refuses_what_does_not_fit(tmp_path):
    with pytest.raises(ValueError, match="16 bits"):
        write_fits(tmp_path / "a.fits", [], np.array([[70000]]))
    with pytest.raises(ValueError, match="does not fit a card"):
        write_fits(tmp_path / "a.fits", [("OBJECT", "x" * 80)], None)


def test_real_samples_equal_what_astropy_reads(shared):
    from archive_proc.ingest import ingest

    root = shared / "samples"
    result = ingest([root / "irdis" / "DB_H23", root / "ifs" / "raw"], roots={"s": root})
    reader = RawReader({"s": root})
    chosen = [frame for frame in result.frames if frame.n_planes == 2][:3]
    assert {frame.compression for frame in chosen} == {"fz", "gz"}
    for frame in chosen:
        with fits.open(reader.path(frame)) as units:
            theirs = next(unit.data for unit in units if unit.data is not None and unit.is_image)
            assert np.array_equal(reader.read_planes(frame, [1, 0]), theirs[[1, 0]].astype(np.float32))
