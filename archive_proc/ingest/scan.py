"""Bounded scan of one raw file: its image header's cards, structure, problems and content id, no pixel read.

How to get raw frames from files:

>>> from archive_proc.ingest import raw_frame, scan_header  # doctest: +SKIP
>>> scan = scan_header(path)  # doctest: +SKIP
>>> frame = raw_frame(scan, uri=f"samples/{path.name}")  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from archive_proc.errors import InputError
from archive_proc.ingest.cards import CARD
from archive_proc.ingest.header import Header, header_of, parse_header
from archive_proc.ingest.source import (
    BLOCK,
    MAX_HEADER,
    READ,
    OpenedFile,
    Source,
    inflated_size,
    source_of,
)
from archive_proc.ingest.structure import Structure, cards_of_original, read_structure
from archive_proc.model.cards import Card

_END = b"END     "
_MAX_HDUS = 64
"""Header-data units looked at in one file; a raw frame has at most four."""


@dataclass(frozen=True)
class HeaderScan:
    """What the scanner found in one file. Not slotted: `content_id` is made when first asked for."""

    path: Path
    compression: str
    """none, gz, Z, fz."""
    size_bytes: int
    """Bytes on disk."""
    mtime: float
    """POSIX s."""
    header: bytes
    """The image header's cards as the file has them, without END and padding; `len % 80 == 0`."""
    parsed: Header
    """The same, parsed; for `.fz` as of the uncompressed image (Z-keywords mapped back)."""
    structure: Structure

    @property
    def cards(self) -> tuple[Card, ...]:
        """Every card in its place."""
        return self.parsed.cards

    @property
    def values(self) -> dict[str, Card]:
        """Card by keyword; the first of a repeated keyword."""
        return self.parsed.values

    @property
    def problems(self) -> tuple[str, ...]:
        """`KEYWORD: why`, sorted."""
        return self.parsed.problems

    @cached_property
    def content_id(self) -> str:
        """sha256 (64 hex) of the sorted canonical lines and the declared data size (DESIGN 6)."""
        return self.parsed.digest(self.structure.declared_bytes)

    @property
    def header_sha256(self) -> str:
        """sha256 (64 hex) of `header`."""
        return hashlib.sha256(self.header).hexdigest()


def scan_header(path: Path) -> HeaderScan:
    """Read the image header of a `.fits`, `.fits.gz`, `.fits.fz` or `.fits.Z` file (told by content, not by name).

    The image header is the primary one, or the first extension's where the primary is an empty shell around a
    compressed or extended image. Reads at most 256 blocks a header and allocates nothing from a header's number.

    Raises InputError: AP-ING-001 not a regular file, -002 empty, -003 not FITS, -004 no END, -005 illegal structure,
    -006 damaged compression. What is merely odd is in `problems`; a cut file has `structure.truncated`.
    """
    with OpenedFile(path) as opened:
        if opened.size == 0:
            raise InputError("AP-ING-002", "file is empty", subject=str(path), remedy="fetch the file again")
        source = source_of(opened)
        try:
            return _scan(opened, source)
        finally:
            source.close()


def file_sha256(path: Path) -> str:
    """sha256 (64 hex) of the bytes on disk. Raises InputError AP-ING-001 as `scan_header` does."""
    digest = hashlib.sha256()
    with OpenedFile(path) as opened:
        offset = 0
        while piece := opened.at(offset, 1 << 20):
            digest.update(piece)
            offset += len(piece)
    return digest.hexdigest()


def _scan(opened: OpenedFile, source: Source) -> HeaderScan:
    path = opened.path
    _check_magic(path, source.upto(CARD))
    header, offset = _header_at(source, 0, path)
    parsed = parse_header(header)
    structure = read_structure(parsed.values, offset, path)
    compression = source.compression
    if not structure.axes and "INSTRUME" not in parsed.values and source.upto(offset + 8)[offset:] == b"XTENSION":
        # An empty shell around a compressed (fpack) or extended image: that one is the image header.
        header, offset = _header_at(source, offset, path)
        parsed = parse_header(header)
        stored = read_structure(parsed.values, offset, path)
        if "ZIMAGE" in parsed.values:
            compression = "fz"
            parsed = header_of(cards_of_original(parsed.cards), parsed.problems)
        structure = read_structure(parsed.values, offset, path, stored=stored)
    size, odd = _size_found(opened, source, structure)
    if odd:
        parsed = replace(parsed, problems=tuple(sorted({*parsed.problems, odd})))
    return HeaderScan(
        path=path,
        compression=compression,
        size_bytes=opened.size,
        mtime=opened.status.st_mtime,
        header=header,
        parsed=parsed,
        structure=structure.cut(size),
    )


def _check_magic(path: Path, first: bytes) -> None:
    if re.match(rb"SIMPLE  = +[TF]", first):
        return
    looks = "HTML or XML" if first.lstrip()[:1] == b"<" else "not FITS"
    if not first.strip(b"\0"):
        looks = "only zeros"
    raise InputError(
        "AP-ING-003",
        f"does not begin with a FITS primary header: {looks}",
        subject=str(path),
        remedy="fetch the file again, or move it out of the raw root",
    )


def _header_at(source: Source, start: int, path: Path) -> tuple[bytes, int]:
    """Cards of the header beginning at `start` (without END), and the offset of its data."""
    limit = start + MAX_HEADER
    end, searched = min(start + READ, limit), start
    while True:
        held = source.upto(end)
        found = held.find(_END, searched)
        while found >= 0 and ((found - start) % CARD or held[found : found + CARD].strip() != b"END"):
            found = held.find(_END, found + 1)
        if found >= 0:
            data = found + CARD
            return held[start:found], start + -(-(data - start) // BLOCK) * BLOCK
        if len(held) < end or end >= limit:
            where = "the file ends" if len(held) < end else f"{MAX_HEADER} bytes"
            raise InputError(
                "AP-ING-004",
                f"header has no END card within {where} ({len(held) - start} bytes read)",
                subject=str(path),
                remedy="the file was cut while it was copied, or is no SPHERE frame: fetch it again",
            )
        searched = max(start, len(held) - len(_END))
        end = min(end + READ * 2, limit)


def _size_found(opened: OpenedFile, source: Source, structure: Structure) -> tuple[int | None, str]:
    """Uncompressed bytes of the file, None where only reading it all would tell (`.Z`); and what is odd about them."""
    if source.compression == "gz" and structure.stored_bytes:
        return inflated_size(opened, structure.file_bytes)
    if source.compression != "none":
        return None, ""
    if not structure.stored_bytes and structure.data_offset < opened.size:
        return _walked(opened, structure), ""
    return opened.size, ""


def _walked(opened: OpenedFile, structure: Structure) -> int:
    """File size as far as the chain of extensions behind an empty primary fits it (SPARTA tables, ZIMPOL images).

    Raises InputError AP-ING-005 for a chain longer than a raw frame's.
    """
    offset = structure.data_offset
    for _ in range(_MAX_HDUS):
        if offset >= opened.size:
            return opened.size
        try:
            header, data = _header_at(_Later(opened, offset), 0, opened.path)
            part = read_structure(parse_header(header).values, offset + data, opened.path)
        except InputError:
            return structure.data_offset - 1
        offset = part.data_offset + -(-part.stored_bytes // BLOCK) * BLOCK
        if part.data_offset + part.stored_bytes > opened.size:
            return structure.data_offset - 1
    raise InputError(
        "AP-ING-005",
        f"illegal structure: more than {_MAX_HDUS} header-data units",
        subject=str(opened.path),
        remedy="fetch the file again; a raw frame has at most four units",
    )


class _Later:
    """The bytes of an open plain file from an offset on, as a source."""

    compression = "none"

    def __init__(self, opened: OpenedFile, start: int) -> None:
        self._opened = opened
        self._start = start

    def upto(self, end: int) -> bytes:
        return self._opened.at(self._start, end)

    def close(self) -> None:
        """Nothing is held."""
