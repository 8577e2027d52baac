"""One image has one content id, however it is packed; another image or header has another."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from raw_files import cards_of, write_raw

from archive_proc.ingest import raw_frame, scan_header
from archive_proc.storage.fits import read_planes, write_fits


def packed(path, compression):
    """The file in another form, made by other programs than ours."""
    if compression == "gz":
        target = path.with_suffix(".fits.gz")
        target.write_bytes(gzip.compress(path.read_bytes()))
        return target
    target = path.with_suffix(".fits.fz")
    with fits.open(path, do_not_scale_image_data=True) as units:
        image = units[0]
        floats = image.data.dtype.kind == "f"
        packed_image = fits.CompImageHDU(
            image.data,
            image.header,
            compression_type="GZIP_2" if floats else "RICE_1",
            quantize_level=0 if floats else 16,
        )
        fits.HDUList([fits.PrimaryHDU(), packed_image]).writeto(target, checksum=True)
    return target


@pytest.mark.parametrize("compression", ["gz", "fz"])
@pytest.mark.parametrize("kind", ["float32", "int16"])
def test_compression_changes_neither_identity_nor_pixels(tmp_path, kind, compression):
    planes = np.random.default_rng(7).integers(-300, 9000, (3, 24, 32)).astype(kind)
    path = tmp_path / "SPHER.2017-09-28T08:13:07.975.fits"
    write_fits(path, cards_of(), planes)
    other = packed(path, compression)
    plain, small = (raw_frame(scan_header(one), uri=f"raw/{one.name}") for one in (path, other))
    assert (plain.compression, small.compression) == ("none", compression)
    assert plain.content_id == small.content_id
    assert (plain.naxis1, plain.naxis2, plain.naxis3, plain.bitpix) == (
        small.naxis1,
        small.naxis2,
        small.naxis3,
        small.bitpix,
    )
    assert plain.declared_bytes == small.declared_bytes == planes.nbytes
    assert np.array_equal(read_planes(other, small, range(3)), planes.astype(np.float32))


def lzw(content: bytes) -> bytes:
    """The simplest `.Z` stream: nine-bit literals, the table cleared every 247, before codes would grow."""
    out = bytearray(b"\x1f\x9d\x90")
    for first in range(0, len(content), 247):
        codes = [*content[first : first + 247], 256]
        bits = sum(code << (9 * place) for place, code in enumerate(codes))
        # Eight codes fill nine bytes; a cleared table begins with a fresh group.
        out += bits.to_bytes(9 * -(-len(codes) // 8), "little")
    return bytes(out)


def test_lzw_files_have_the_same_identity(tmp_path):
    path = write_raw(tmp_path / "a.fits")
    plain = raw_frame(scan_header(path), uri="a")
    packed_path = tmp_path / "a.fits.Z"
    packed_path.write_bytes(lzw(path.read_bytes()))
    frame = raw_frame(scan_header(packed_path), uri="a")
    assert (frame.compression, frame.content_id) == ("Z", plain.content_id)
    assert np.array_equal(read_planes(packed_path, frame, [2]), np.arange(64, 96, dtype=np.float32).reshape(1, 4, 8))


def test_spelling_of_values_does_not_matter(tmp_path):
    one = scan_header(write_raw(tmp_path / "a.fits", extra=["KEY     = 'word    ' / said so", "NUM     = 1.50E1"]))
    two = scan_header(write_raw(tmp_path / "b.fits", extra=["NUM     =                 15.0", "KEY     = 'word'"]))
    assert one.content_id == two.content_id


def test_comments_and_checksums_do_not_enter(tmp_path):
    extra = ["COMMENT by another program", "CHECKSUM= 'abc'", "DATASUM = '17'", "HISTORY packed", "EXTEND  = T"]
    assert (
        scan_header(write_raw(tmp_path / "a.fits", extra=extra)).content_id
        == scan_header(write_raw(tmp_path / "b.fits")).content_id
    )


@pytest.mark.parametrize("changes", [{"OBJECT": "HR 8799"}, {"RA": 69.40056}, {"EXPTIME": None}])
def test_a_changed_header_is_other_content(tmp_path, changes):
    assert (
        scan_header(write_raw(tmp_path / "a.fits", **changes)).content_id
        != scan_header(write_raw(tmp_path / "b.fits")).content_id
    )


def test_another_shape_is_other_content(tmp_path):
    assert (
        scan_header(write_raw(tmp_path / "a.fits", shape=(2, 4, 8))).content_id
        != scan_header(write_raw(tmp_path / "b.fits")).content_id
    )


def test_the_frames_of_the_samples_unpacked_are_the_same_frames(shared, tmp_path):
    packed_path = sorted((shared / "samples/irdis/DB_K12").glob("*.fits.gz"))[1]
    plain = tmp_path / packed_path.name.removesuffix(".gz")
    plain.write_bytes(gzip.decompress(packed_path.read_bytes()))
    one, two = (raw_frame(scan_header(path), uri="x") for path in (packed_path, plain))
    assert one.content_id == two.content_id
    assert np.array_equal(read_planes(packed_path, one, [0]), read_planes(plain, two, [0]))
