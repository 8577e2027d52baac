"""The structure a header declares: type, axes, sizes; checked with Python's integers before anything is allocated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from archive_proc.errors import InputError
from archive_proc.ingest.cards import number_of
from archive_proc.model.cards import Card

BITPIX_LEGAL = frozenset({8, 16, 32, 64, -32, -64})
MAX_DATA = 2**40
"""Bytes of pixels above which a header lies: the largest real raw cube has 4 GB."""
MAX_AXIS = 2**31

_TABLE_OWN = re.compile(r"XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|T(?:TYPE|FORM|UNIT|DIM|NULL)\d+|THEAP|EXTNAME")
_MAPPED = re.compile(r"Z(BITPIX|NAXIS\d*|DATASUM)")
_COMPRESSION = re.compile(
    r"Z(?:IMAGE|TENSION|SIMPLE|EXTEND|BLOCKED|CMPTYPE|TILE\d+|NAME\d+|VAL\d+|MASKCMP|QUANTIZ|DITHER0|HECKSUM"
    r"|PCOUNT|GCOUNT|BLANK|SCALE|ZERO)|CHECKSUM|DATASUM"
)
_BLOCK = 2880


@dataclass(frozen=True, slots=True)
class Structure:
    """What the image header promises about the pixels."""

    bitpix: int
    axes: tuple[int, ...]
    """NAXIS1, NAXIS2, ...; empty without an image."""
    declared_bytes: int
    """Bytes of pixels of the uncompressed image, unpadded."""
    stored_bytes: int
    """Bytes of this unit's data as stored (table and heap of a compressed image)."""
    data_offset: int
    """Where the stored data begin in the file (uncompressed by gzip or LZW first)."""
    truncated: bool = False

    @property
    def file_bytes(self) -> int:
        """Size of a whole file that ends with this unit."""
        return self.data_offset + -(-self.stored_bytes // _BLOCK) * _BLOCK

    def cut(self, size: int | None) -> Structure:
        """The same, truncated where `size` bytes of file do not hold the data (padding may be missing)."""
        if size is not None and size < self.data_offset + self.stored_bytes:
            return replace(self, truncated=True)
        return self


def read_structure(
    first: Mapping[str, Card], data_offset: int, path: Path, stored: Structure | None = None
) -> Structure:
    """Structure of a header-data unit from its cards by keyword; `stored` is that of the table which holds this image.

    Raises InputError AP-ING-005 for an illegal BITPIX, NAXIS or axis, or more than 2^40 bytes of data.
    """
    bitpix = _integer(first, "BITPIX", path)
    if bitpix not in BITPIX_LEGAL:
        raise _illegal(path, f"BITPIX is {bitpix}, none of -64, -32, 8, 16, 32, 64")
    naxis = _integer(first, "NAXIS", path)
    if not 0 <= naxis <= 999:
        raise _illegal(path, f"NAXIS is {naxis}, not within 0 to 999")
    axes = tuple(_axis(first, number, path) for number in range(1, naxis + 1))
    declared = prod(axes) * abs(bitpix) // 8 if axes else 0
    groups = _integer(first, "GCOUNT", path, 1)
    heap = _integer(first, "PCOUNT", path, 0)
    if groups < 0 or heap < 0:
        raise _illegal(path, f"PCOUNT {heap} or GCOUNT {groups} is negative")
    total = groups * (declared + heap * abs(bitpix) // 8) if axes else 0
    if max(declared, total) > MAX_DATA:
        raise _illegal(path, f"declares {max(declared, total)} bytes of data (axes {axes}), more than 2^40")
    return Structure(bitpix, axes, declared, stored.stored_bytes if stored else total, data_offset)


def cards_of_original(cards: tuple[Card, ...]) -> tuple[Card, ...]:
    """The cards of the image inside a compressed-image table; other extensions' cards come back as they are.

    Z-keywords are mapped back, the table's own and the compression's dropped.
    """
    if not any(card.key == "ZIMAGE" for card in cards):
        return cards
    kept: list[Card] = []
    for card in cards:
        mapped = _MAPPED.fullmatch(card.key)
        if mapped:
            kept.append(Card(mapped[1], card.value, card.comment, card.canonical.removeprefix("Z")))
        elif not (_TABLE_OWN.fullmatch(card.key) or _COMPRESSION.fullmatch(card.key)):
            kept.append(card)
    return tuple(kept)


def _integer(first: Mapping[str, Card], key: str, path: Path, default: int | None = None) -> int:
    card = first.get(key)
    if card is None:
        if default is not None:
            return default
        raise _illegal(path, f"{key} is missing")
    number = number_of(card.value)
    if number is None or not float(number).is_integer():
        raise _illegal(path, f"{key} is `{card.value[:40]}`, not an integer")
    return int(number)


def _axis(first: Mapping[str, Card], number: int, path: Path) -> int:
    length = _integer(first, f"NAXIS{number}", path)
    if not 0 <= length < MAX_AXIS * 2**31:
        raise _illegal(path, f"NAXIS{number} is {length}, not within 0 to 2^62")
    return length


def _illegal(path: Path, why: str) -> InputError:
    return InputError("AP-ING-005", f"illegal structure: {why}", subject=str(path), remedy="fetch the file again")
