"""Long sequences at little cost: a few planes rendered, then repeated under the headers of a whole sequence.

For measuring speed and memory, where every plane must have its full size and its own header, not its own sky. Truth
is kept of the rendered planes only.
"""

from __future__ import annotations

import datetime as dt
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate.raw_file import BLOCK, Card, header_bytes
from archive_proc.simulate.spec import NightSpec, SequenceSpec, Star

LONGEST_FILE = 64
"""Planes of one science file at most."""
SHORTEST_FILE = 8
"""Planes of one science file at least: sequences whose length no larger number divides are rounded up."""
ZERO = 32768
"""BZERO of integers: 0 to 65535 ADU."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One plane as a file holds it."""

    content: bytes
    packed: bytes = b""
    """Deflated, ending on a byte: pieces one after the other are one stream. Empty in files that are not packed."""


def piece_of(plane: NDArray[np.float32], *, whole_numbers: bool, packed: bool) -> Piece:
    """A plane (ny, nx) ADU as bytes of a file: float32, or 16 bits (`whole_numbers`, 0 to 65535 ADU)."""
    if whole_numbers:
        content = (np.clip(np.rint(plane), 0, 65535) - ZERO).astype(">i2").tobytes()
    else:
        content = plane.astype(">f4").tobytes()
    return Piece(content, _deflated(content) if packed else b"")


def _deflated(content: bytes) -> bytes:
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return squeeze.compress(content) + squeeze.flush(zlib.Z_FULL_FLUSH)


def stored_cards(cards: Iterable[Card], *, whole_numbers: bool) -> list[Card]:
    """The cards of a file whose planes are whole numbers where asked for."""
    found: list[Card] = []
    for card in cards:
        if whole_numbers and card.key == "BITPIX":
            found.append(Card("BITPIX", 16, card.comment))
            continue
        found.append(card)
        if whole_numbers and card.key == "NAXIS3":
            found += [Card("BZERO", float(ZERO), "physical = BZERO + value"), Card("BSCALE", 1.0)]
    return found


def write_pieces(path: Path, cards: Iterable[Card], pieces: Iterable[Piece], *, packed: bool) -> None:
    """Write header and planes; `packed`: as one gzip member, made of the pieces as they are."""
    head = header_bytes(list(cards))
    size = 0
    with path.open("wb") as stream:
        if not packed:
            stream.write(head)
            for piece in pieces:
                stream.write(piece.content)
                size += len(piece.content)
            stream.write(bytes(-size % BLOCK))
            return
        stream.write(b"\x1f\x8b\x08\0\0\0\0\0\x04\xff")  # no name, no time: equal files for equal frames
        check = zlib.crc32(head)
        stream.write(_deflated(head))
        for piece in pieces:
            stream.write(piece.packed)
            check = zlib.crc32(piece.content, check)
            size += len(piece.content)
        padding = bytes(-size % BLOCK)
        end = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        stream.write(end.compress(padding) + end.flush())
        check = zlib.crc32(padding, check)
        stream.write(struct.pack("<II", check, (len(head) + size + len(padding)) & 0xFFFFFFFF))


def long_night(
    planes: int, *, filter_name: str = "DB_H23", distinct: int = 4, whole_numbers: bool = False, packed: bool = False
) -> NightSpec:
    """One sequence of about `planes` science planes with CENTER, FLUX, SKY and all calibrations.

    `distinct`: planes rendered for each of four dithers. Files are as long as divides `planes`, 64 planes and a
    quarter of them at most; where nothing from 8 on does, `planes` is rounded up to whole files of 16.
    """
    longest = min(planes, LONGEST_FILE, max(SHORTEST_FILE, planes // 4))
    sizes = [n for n in range(longest, 0, -1) if planes % n == 0]
    ndit = sizes[0] if sizes[0] >= min(SHORTEST_FILE, planes) else 2 * SHORTEST_FILE
    files = -(-planes // ndit)
    # Short integrations, as the longest sequences of the instrument have.
    sequence = SequenceSpec(
        star=Star(name="SIM_LONG", ra_deg=341.25, dec_deg=-33.26, flux_adu_s=(1.2e7, 1.1e7)),
        start=dt.datetime(2017, 9, 29, 1, 30, 0),
        filter=filter_name,
        order="FC" + "O" * files + "CFS",
        dit_s=2.0,
        ndit=ndit,
        center_ndit=2,
        sky_ndit=4,
        gap_s=0.0,
        ob_id=2100021,
        program="099.C-9997(A)",
    )
    return NightSpec(sequences=(sequence,), compress=packed, distinct_planes=distinct, whole_numbers=whole_numbers)
