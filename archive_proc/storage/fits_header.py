"""Is a raw file still the one ingested? The digest of its image header, read once a file and process."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from archive_proc.storage.fits_streams import open_stream

_CARD, _BLOCK = 80, 2880


def header_digest(path: Path, status: os.stat_result, data_offset: int) -> str | None:
    """sha256 (64 hex) of the image header ending at `data_offset`, as `RawFrame.header_sha256`; None where none does.

    `status` is the file's, just taken: while nothing of it changes, the file is not read again. Raises OSError,
    DataFailure AP-ING-031 on a damaged stream.
    """
    # The time of the last change of the inode too: copying with the old time kept does not hide a new content.
    stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _digest(path, stamp, data_offset)


@lru_cache(maxsize=4096)
def _digest(path: Path, stamp: tuple[int, ...], data_offset: int) -> str | None:
    # `stamp` is there for the cache alone.
    held = bytearray(data_offset)
    with open_stream(path) as stream:
        if not stream.fill(0, memoryview(held)):
            return None
    header = _image_header(bytes(held))
    return None if header is None else hashlib.sha256(header).hexdigest()


def _image_header(held: bytes) -> bytes | None:
    """The cards before END of the header whose padding ends with these bytes (behind an empty primary one or not)."""
    start = 0
    for at in range(0, len(held), _CARD):
        if at < start or held[at : at + _CARD].rstrip() != b"END":
            continue
        stop = start + -(-(at + _CARD - start) // _BLOCK) * _BLOCK
        if stop == len(held):
            return held[start:at]
        start = stop
    return None
