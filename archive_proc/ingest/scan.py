"""Bounded scan of one raw file: its image header's cards, structure, problems and content id, no pixel read.

How to get raw frames from files:

>>> from archive_proc.ingest import raw_frame, scan_header  # doctest: +SKIP
>>> scan = scan_header(path)  # doctest: +SKIP
>>> frame = raw_frame(scan, uri=f"samples/{path.name}")  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path

import numpy as np

from archive_proc.errors import InputError
from archive_proc.ingest.cards import CARD, parse_cards
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

_PRINTABLE = bytes(range(0x20, 0x7F))
_RANGE = np.uint8(0x7E - 0x20)
_END = b"END     "
_KEY, _CANONICAL = itemgetter(0), itemgetter(3)
"""Fields of a card, by position: these run a thousand times a file."""
_FREE = ("", "COMMENT", "HISTORY")
"""Keywords that may come any number of times."""
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
    cards: tuple[Card, ...]
    """The same, parsed; for `.fz` as of the uncompressed image (Z-keywords mapped back)."""
    values: dict[str, Card]
    """Card by keyword; the first of a repeated keyword."""
    structure: Structure
    problems: tuple[str, ...]
    """`KEYWORD: why`, sorted."""

    @cached_property
    def content_id(self) -> str:
        """sha256 (64 hex) of the sorted canonical lines and the declared data size (DESIGN 6)."""
        lines = sorted(filter(None, map(_CANONICAL, self.values.values())))
        lines.append(f"declared bytes {self.structure.declared_bytes}")
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

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
    cards, card_problems = parse_cards(_text(header))
    values = _by_key(cards)
    structure = read_structure(values, offset, path)
    compression = source.compression
    if not structure.axes and "INSTRUME" not in values and source.upto(offset + 8)[offset:] == b"XTENSION":
        # An empty shell around a compressed (fpack) or extended image: that one is the image header.
        header, offset = _header_at(source, offset, path)
        cards, card_problems = parse_cards(_text(header))
        values = _by_key(cards)
        stored = read_structure(values, offset, path)
        if "ZIMAGE" in values:
            compression = "fz"
            cards = cards_of_original(cards)
            values = _by_key(cards)
        structure = read_structure(values, offset, path, stored=stored)
    structure = structure.cut(_size_found(opened, source, structure))
    problems = sorted({*card_problems, *_repeated(cards, values), *_unprintable(header)})
    return HeaderScan(
        path=path,
        compression=compression,
        size_bytes=opened.size,
        mtime=opened.status.st_mtime,
        header=header,
        cards=cards,
        values=values,
        structure=structure,
        problems=tuple(problems),
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


def _text(header: bytes) -> str:
    return header.decode("ascii", "replace")


def _by_key(cards: tuple[Card, ...]) -> dict[str, Card]:
    # Backwards, so that the first of a repeated keyword is the one that stays.
    backwards = cards[::-1]
    return dict(zip(map(_KEY, backwards), backwards, strict=True))


def _repeated(cards: tuple[Card, ...], values: dict[str, Card]) -> list[str]:
    keys = list(map(_KEY, cards))
    # Told by counting in C: hardly any header repeats a keyword, and every one would pay for looking it up.
    if len(keys) == len(values) + sum(max(keys.count(free) - 1, 0) for free in _FREE):
        return []
    counts = Counter(key for key in keys if key not in _FREE)
    return [f"{key}: repeated, first value kept" for key, count in counts.items() if count > 1]


def _unprintable(header: bytes) -> list[str]:
    # Vectors, since all of a hundred thousand bytes are looked at in every file; below a blank wraps around to > 94.
    if not (np.frombuffer(header, np.uint8) - np.uint8(0x20) > _RANGE).any():
        return []
    wrong = []
    for start in range(0, len(header), CARD):
        card = header[start : start + CARD]
        if card.translate(None, _PRINTABLE):
            name = card.split(b"=")[0][:40].removeprefix(b"HIERARCH ESO ").strip()
            wrong.append(f"{name.decode('ascii', 'replace')}: bytes that are no printable ASCII")
    return wrong


def _size_found(opened: OpenedFile, source: Source, structure: Structure) -> int | None:
    """Uncompressed bytes of the file, None where only reading it all would tell (`.Z`)."""
    if source.compression == "none":
        if not structure.stored_bytes and structure.data_offset < opened.size:
            return _walked(opened, structure)
        return opened.size
    if source.compression == "gz":
        if structure.stored_bytes:
            return inflated_size(opened, structure.file_bytes)
        return None
    return None


def _walked(opened: OpenedFile, structure: Structure) -> int:
    """File size as far as the chain of extensions behind an empty primary fits it (SPARTA tables, ZIMPOL images)."""
    offset = structure.data_offset
    for _ in range(_MAX_HDUS):
        if offset >= opened.size:
            break
        try:
            header, data = _header_at(_Later(opened, offset), 0, opened.path)
            part = read_structure(_by_key(parse_cards(_text(header))[0]), offset + data, opened.path)
        except InputError:
            return structure.data_offset - 1
        offset = part.data_offset + -(-part.stored_bytes // BLOCK) * BLOCK
        if part.data_offset + part.stored_bytes > opened.size:
            return structure.data_offset - 1
    return opened.size


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
