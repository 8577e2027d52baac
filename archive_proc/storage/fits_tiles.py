"""Is the table of a tile-compressed image sound? Looked at before a decoder is given any of its numbers.

A decoder trusts the header: tiles of 7 TiB, descriptors that point outside the file, a gzip tile that inflates without
end. Here every number is compared with the file's size first. Reference: FITS standard 4.0, section 10.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.storage.fits_streams import damaged

if TYPE_CHECKING:
    from astropy.io import fits

_HCOMPRESS = "HCOMPRESS_1"
_DECODERS = frozenset({"RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", _HCOMPRESS})
"""Others are never used for raw frames."""
_HCOMPRESS_HEAD = 14
"""Bytes of a tile's magic number, its two axes and its scale."""
_HCOMPRESS_MAGIC = b"\xdd\x99"
_HCOMPRESS_PIXELS = 2**22
"""Of a tile at most: one plane of the larger detector. A constant tile takes thirty bytes whatever its size."""
_GZIPPED = ("GZIP_1", "GZIP_2")
_MOST = 1032
"""A tile cannot expand by more: deflate's limit; Rice stays below 410."""
_SHORTEST = 5
"""Bytes of a Rice tile at least: its decoder reads the first pixel without looking at the length."""
_TILE_COLUMNS = ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA")
_MOST_FIELDS = 999
"""Columns of a table at most (FITS standard 4.0, 7.3.1)."""
_WIDTHS = {"B": 1, "I": 2, "J": 4, "E": 4, "D": 8}


@dataclass(frozen=True, slots=True)
class _Table:
    rows: NDArray[np.void]
    """One row a tile, native byte order."""
    heap: int
    """Offset of the heap in the file."""
    tile: tuple[int, ...]
    axes: tuple[int, ...]
    """Pixels of a tile and of the image along axis 1, 2, ..."""
    method: str
    widths: dict[str, int]
    """Bytes of an element by tile column."""


def expect_sound_tiles(path: Path, unit: fits.BinTableHDU, planes: Sequence[int]) -> None:
    """Raise DataFailure where the tiles of these planes cannot be what the table says.

    `unit`: the table as a table (`disable_image_compression`). AP-ING-030: the file ends before them; AP-ING-031: the
    table contradicts itself, names an unknown decoder, or a tile inflates to more than a tile.
    """
    with open(path, "rb", buffering=0) as file:
        table = _table(path, unit, file.fileno())
        if table.method == _HCOMPRESS:
            _expect_sum(path, unit)
        per_step = math.prod(_count(n, t) for n, t in zip(table.axes[:2], table.tile[:2], strict=True))
        depth = table.tile[2] if len(table.axes) > 2 else 1
        for step in sorted({plane // depth for plane in planes}):
            _expect_step(path, table, file.fileno(), step * per_step, per_step)


def _table(path: Path, unit: fits.BinTableHDU, fd: int) -> _Table:
    header = unit.header
    number = {key: _integer(path, header, key) for key in ("NAXIS1", "NAXIS2", "PCOUNT", "ZNAXIS", "ZBITPIX")}
    method = str(header.get("ZCMPTYPE", "")).strip()
    if method not in _DECODERS:
        raise damaged(path, f"tiles are compressed by `{method[:20]}`, which is none of {', '.join(sorted(_DECODERS))}")
    if not 1 <= number["ZNAXIS"] <= 3:
        raise damaged(path, f"the compressed image has {number['ZNAXIS']} axes")
    _expect_settings(path, header)
    axes = tuple(_integer(path, header, f"ZNAXIS{n}") for n in range(1, number["ZNAXIS"] + 1))
    # The standard's default: a tile is a row.
    tile = tuple(_integer(path, header, f"ZTILE{n}", axes[0] if n == 1 else 1) for n in range(1, number["ZNAXIS"] + 1))
    if min(*axes, 1) < 0 or min(tile) < 1:
        raise damaged(path, f"tiles of {tile} in an image of {axes}")
    if number["NAXIS2"] != math.prod(map(_count, axes, tile)):
        raise damaged(path, f"{number['NAXIS2']} tiles of {tile} make no image of {axes}")
    fields = _integer(path, header, "TFIELDS")
    # astropy makes a dictionary for each, before it looks for any.
    if not 0 <= fields <= _MOST_FIELDS:
        raise damaged(path, f"a table of {fields} columns")
    # Any: astropy ships no types.
    dtype = np.dtype(unit.columns.dtype).newbyteorder(">")
    if dtype.itemsize != number["NAXIS1"]:
        raise damaged(path, f"columns of {dtype.itemsize} bytes in rows of {number['NAXIS1']}")
    start, size = int(unit.fileinfo()["datLoc"]), os.fstat(fd).st_size
    length = number["NAXIS1"] * number["NAXIS2"]
    heap = start + _integer(path, header, "THEAP", length)
    if length < 0 or number["PCOUNT"] < 0 or not start + length <= heap <= start + length + number["PCOUNT"]:
        raise damaged(path, "its heap lies outside the table")
    # A whole image in one step is read with its whole heap.
    whole = math.prod(axes[2:]) <= 1
    if start + length > size or (whole and start + length + number["PCOUNT"] > size):
        raise _cut(path)
    rows = np.frombuffer(os.pread(fd, length, start), dtype)
    widths = {}
    for name in _TILE_COLUMNS:
        if name in (dtype.names or ()):
            form = str(unit.columns[name].format)
            width = _WIDTHS.get(form.lstrip("01QP")[:1])
            if ("P" not in form and "Q" not in form) or width is None or dtype[name].shape != (2,):
                raise damaged(path, f"column {name} has the form {form[:20]}")
            widths[name] = width
    if "COMPRESSED_DATA" not in widths:
        raise damaged(path, "it has no column COMPRESSED_DATA")
    return _Table(rows, heap, tile, axes, method, widths)


def _expect_settings(path: Path, header: fits.Header) -> None:
    """The decoder's own settings: a block size or pixel width out of range would be believed."""
    allowed = {"BLOCKSIZE": (16, 32), "BYTEPIX": (1, 2, 4, 8)}
    for number in range(1, 1000):
        name = header.get(f"ZNAME{number}")
        if name is None:
            return
        values = allowed.get(str(name).strip().upper())
        if values and header.get(f"ZVAL{number}") not in values:
            raise damaged(path, f"{name} is `{str(header.get(f'ZVAL{number}'))[:20]}`, none of {values}")


def _expect_step(path: Path, table: _Table, fd: int, first: int, count: int) -> None:
    """Look at the tiles of one step along the last axis."""
    rows = table.rows[first : first + count]
    size = os.fstat(fd).st_size
    pixels = math.prod(map(min, table.tile, table.axes))
    stored = np.zeros(len(rows), np.int64)
    for name, width in table.widths.items():
        length, offset = rows[name][:, 0].astype(np.int64), rows[name][:, 1].astype(np.int64)
        used = length > 0
        if (length < 0).any() or (offset < 0).any():
            raise damaged(path, f"{name} points outside the heap")
        if (used & (table.heap + offset + length * width > size)).any():
            raise _cut(path)
        stored += length * width
        gzipped = name == "GZIP_COMPRESSED_DATA" or (name == "COMPRESSED_DATA" and table.method in _GZIPPED)
        if name == "COMPRESSED_DATA" and not gzipped and (used & (length * width < _SHORTEST)).any():
            raise damaged(path, "a tile is shorter than its first pixel")
        if name == "COMPRESSED_DATA" and table.method == _HCOMPRESS:
            for index in np.flatnonzero(used):
                head = os.pread(fd, _HCOMPRESS_HEAD, table.heap + int(offset[index]))
                _expect_hcompress(path, head, _tile_pixels(table, first + int(index)))
        if gzipped:
            for at, held in zip(offset[used].tolist(), (length[used] * width).tolist(), strict=True):
                _expect_bounded(path, os.pread(fd, held, table.heap + at), 8 * pixels)
    if table.method != _HCOMPRESS and (stored * _MOST < pixels).any():
        raise damaged(path, f"tiles of {int(stored.min())} bytes cannot hold {pixels} pixels")


def _expect_bounded(path: Path, held: bytes, most: int) -> None:
    """A gzip tile inflates to no more than a tile of the widest pixels; the decoder itself knows no limit."""
    inflate = zlib.decompressobj(wbits=31)
    try:
        inflate.decompress(held, most)
    except zlib.error as error:
        raise damaged(path, str(error)) from error
    if not inflate.eof and inflate.unconsumed_tail:
        raise damaged(path, f"a tile inflates to more than {most} bytes")


def _expect_sum(path: Path, unit: fits.BinTableHDU) -> None:
    """Compare the sum: the decoder reads on where a damaged stream leads it, so the data must be those written."""
    if unit.verify_datasum() != 1:
        raise damaged(path, f"its {_HCOMPRESS} tiles have no valid DATASUM, without which they are not decoded")


def _expect_hcompress(path: Path, head: bytes, pixels: int) -> None:
    """A tile says its own size, and the decoder believes it."""
    size = int.from_bytes(head[2:6], "big") * int.from_bytes(head[6:10], "big")
    if len(head) < _HCOMPRESS_HEAD or head[:2] != _HCOMPRESS_MAGIC or size != pixels or size > _HCOMPRESS_PIXELS:
        raise damaged(path, f"a tile of {pixels} pixels says it has {size}")


def _tile_pixels(table: _Table, index: int) -> int:
    """Pixels of one tile: fewer at the image's far edges."""
    pixels = 1
    for length, tile in zip(table.axes, table.tile, strict=True):
        tiles = _count(length, tile)
        index, place = divmod(index, tiles)
        pixels *= min(tile, length - place * tile)
    return pixels


def _count(length: int, tile: int) -> int:
    return -(-length // tile)


def _integer(path: Path, header: fits.Header, key: str, default: int | None = None) -> int:
    value = header.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise damaged(path, f"{key} is `{str(value)[:20]}`, not an integer")
    return value


def _cut(path: Path) -> DataFailure:
    return DataFailure(
        "AP-ING-030",
        "file ends before its compressed tiles do",
        subject=f"file {path.name}",
        remedy="fetch the file again, ingest it and run --retry, or quarantine it in overrides/",
    )
