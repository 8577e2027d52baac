"""A file that is no longer the one ingested is refused, though its size is the same; whatever its form."""

import os

import numpy as np
import pytest
from astropy.io import fits

from archive_proc.errors import DataFailure
from archive_proc.ingest import raw_frame, scan_header
from archive_proc.simulate.lzw import compress
from archive_proc.storage import fits_header
from archive_proc.storage.fits import read_planes, write_fits

CARDS = [
    ("INSTRUME", "SPHERE"), ("DATE-OBS", "2017-09-28T08:13:07.975"), ("SEQ ARM", "IRDIS"), ("DPR TYPE", "DARK"),
    ("DET SEQ1 DIT", 16.0), ("OBJECT", "one"),
]  # fmt: skip
FORMS = ["plain", "gz", "Z", "fz", "shell"]


def write(path, form, word):
    """A frame of two planes in a form, its OBJECT being `word` (three letters: every word gives the same size)."""
    cards = [(key, word if key == "OBJECT" else value) for key, value in CARDS]
    planes = np.arange(2 * 4 * 8, dtype=np.int32).reshape(2, 4, 8)
    plain = path.with_name("plain.tmp")
    write_fits(plain, cards, planes.astype(np.float32))
    if form == "Z":
        path.write_bytes(compress(plain.read_bytes()))
    elif form == "gz":
        write_fits(path, cards, planes.astype(np.float32), compress=True)
    elif form == "plain":
        plain.replace(path)
    else:
        unit = fits.CompImageHDU(planes) if form == "fz" else fits.ImageHDU(planes)
        for key, value in cards:
            unit.header[f"HIERARCH ESO {key}" if " " in key else key] = value
        fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path, overwrite=True)
    plain.unlink(missing_ok=True)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_another_header_at_the_same_size_is_refused(tmp_path, form):
    path = write(tmp_path / "a.fits", form, "one")
    frame = raw_frame(scan_header(path), uri="raw/a.fits")
    assert read_planes(path, frame, [1]).shape == (1, 4, 8)
    other = write(tmp_path / "b.fits", form, "two")
    other.write_bytes(other.read_bytes().ljust(frame.size_bytes, b"\0")[: frame.size_bytes])
    os.utime(other, ns=(path.stat().st_mtime_ns,) * 2)
    other.replace(path)
    with pytest.raises(DataFailure, match=r"AP-ING-03[12]"):
        read_planes(path, frame, [1])


def test_the_remedy_is_one_that_ingest_heeds(tmp_path):
    path = write(tmp_path / "a.fits", "plain", "one")
    frame = raw_frame(scan_header(path), uri="raw/a.fits")
    write(path, "plain", "two")
    os.utime(path, (frame.mtime, frame.mtime))
    with pytest.raises(DataFailure, match="AP-ING-032") as same_time:
        read_planes(path, frame, [0])
    assert same_time.value.remedy.startswith("touch the file")
    os.utime(path, (1, 1))
    with pytest.raises(DataFailure, match="AP-ING-032") as newer:
        read_planes(path, frame, [0])
    assert newer.value.remedy.startswith("ingest the directory again")


def test_a_header_of_another_length_is_refused(tmp_path):
    path = write(tmp_path / "a.fits", "plain", "one")
    frame = raw_frame(scan_header(path), uri="raw/a.fits")
    write_fits(path, [*CARDS, *((f"KEY{n}", n) for n in range(40))], np.zeros((2, 4, 8), np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: frame.size_bytes])
    with pytest.raises(DataFailure, match="AP-ING-032"):
        read_planes(path, frame, [0])


def test_a_header_is_read_once_while_the_file_stays_as_it_is(tmp_path):
    path = write(tmp_path / "a.fits", "gz", "one")
    frame = raw_frame(scan_header(path), uri="raw/a.fits")
    before = fits_header._digest.cache_info()
    for plane in (0, 1, 0):
        read_planes(path, frame, [plane])
    after = fits_header._digest.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)


def test_a_touched_file_is_still_the_one_ingested(tmp_path):
    path = write(tmp_path / "a.fits", "plain", "one")
    frame = raw_frame(scan_header(path), uri="raw/a.fits")
    os.utime(path, (1, 1))
    assert read_planes(path, frame, [0, 1]).shape == (2, 4, 8)
