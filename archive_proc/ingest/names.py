"""Archive names: one canonical spelling of `SPHER.<date>` out of the three found on disk."""

from __future__ import annotations

import datetime as dt
import re

from archive_proc.model.ids import FileId

_NAME = re.compile(r"SPHERE?[._](\d{4})-(\d\d)-(\d\d)T(\d\d)[:_.-](\d\d)[:_.-](\d\d)(?:[._,](\d{1,6}))?", re.IGNORECASE)

SUFFIXES = (".fits", ".fits.gz", ".fits.fz", ".fits.z", ".fit", ".fts")
"""Endings of raw files, lower case."""


def canonical_file_id(name: str) -> FileId | None:
    """The canonical id inside a file or archive name (`:`, `_`, `-` or `.` between the digits, any type suffix).

    None when the name holds no archive date, or an impossible one.

    >>> canonical_file_id("SPHER.2019-11-25T06-44-20.835IRD_SCIENCE_DBI_RAW.fits")
    'SPHER.2019-11-25T06:44:20.835'
    >>> canonical_file_id("SPHER.2019-11-25T16.55.48.472IFS_DETECTOR_FLAT_FIELD_RAW.fits")
    'SPHER.2019-11-25T16:55:48.472'
    """
    found = _NAME.search(name)
    return _canonical(found) if found else None


def canonical_file_ids(text: str) -> tuple[FileId, ...]:
    """The canonical ids of all archive names in a text, each once, in order of their first mention.

    >>> canonical_file_ids("wget -O SPHER.2019-11-25T06_44_20.835.fits.Z https://host/SPHER.2019-11-25T06:44:20.835")
    ('SPHER.2019-11-25T06:44:20.835',)
    """
    found = (_canonical(one) for one in _NAME.finditer(text))
    return tuple(dict.fromkeys(one for one in found if one is not None))


def _canonical(found: re.Match[str]) -> FileId | None:
    year, month, day, hour, minute, second = (int(one) for one in found.groups()[:6])
    try:
        start = dt.datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    fraction = (found[7] or "").ljust(3, "0")[:3]
    return FileId(f"SPHER.{start.isoformat()}.{fraction}")


def file_id_at(utc: dt.datetime) -> FileId:
    """The archive name of an exposure that began at this time: rounded to the millisecond."""
    rounded = utc + dt.timedelta(microseconds=500)
    return FileId(f"SPHER.{rounded.isoformat(timespec='milliseconds')}")


def has_raw_name(name: str) -> bool:
    """True for names that raw frames have: a FITS ending, or an archive name with any ending."""
    lowered = name.lower()
    return lowered.endswith(SUFFIXES) or (lowered.startswith("spher.") and canonical_file_id(name) is not None)
