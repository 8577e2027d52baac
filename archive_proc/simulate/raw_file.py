"""Writes a raw FITS file plane by plane: one header, BITPIX -32, big-endian, padded to 2880 bytes.

The simulator's own writer, so that a fault in the archive's reader cannot hide behind the same fault in its writer.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

CardValue: TypeAlias = bool | int | float | str
BLOCK = 2880


@dataclass(frozen=True, slots=True)
class Card:
    """One header card; keys as in manifests: `DATE-OBS`, `DET SEQ1 DIT` (HIERARCH ESO is added)."""

    key: str
    value: CardValue
    comment: str = ""

    def text(self) -> str:
        """80 characters, as ESO's own software lays them out."""
        long = " " in self.key or len(self.key) > 8
        if isinstance(self.value, bool):
            value = "T" if self.value else "F"
        elif isinstance(self.value, str):
            value = "'" + self.value.replace("'", "''").ljust(8) + "'"
        else:
            value = _number(self.value)
        if long:
            head = f"HIERARCH ESO {self.key} = {value}"
        elif isinstance(self.value, str):
            head = f"{self.key:8}= {value}"
        else:
            head = f"{self.key:8}= {value:>20}"
        if len(head) > 80:
            raise ValueError(f"card too long: {head}")
        if self.comment and len(head) < 76:
            head = f"{head} / {self.comment}"
        return head[:80].ljust(80)


def _number(value: float) -> str:
    """Shortest text that reads back the same, with a point for floats."""
    if isinstance(value, int):
        return str(value)
    text = repr(float(value)).replace("e", "E")
    return text if "." in text or "E" in text else text + "."


def header_bytes(cards: Sequence[Card]) -> bytes:
    """The header with END, padded to whole blocks."""
    text = "".join(card.text() for card in cards) + "END".ljust(80)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")


def write_raw(
    path: Path, cards: Sequence[Card], planes: Iterable[NDArray[np.float32]], *, compress: bool = False
) -> None:
    """Write header and planes, each (ny, nx) float32; `compress` makes gzip (time stamp 0: equal bytes for a seed)."""
    if not compress:
        with path.open("wb") as stream:
            _write(stream, cards, planes)
        return
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed:
        _write(packed, cards, planes)


def _write(stream: BinaryIO | gzip.GzipFile, cards: Sequence[Card], planes: Iterable[NDArray[np.float32]]) -> None:
    stream.write(header_bytes(cards))
    written = 0
    for plane in planes:
        data = plane.astype(">f4").tobytes()
        stream.write(data)
        written += len(data)
    stream.write(bytes(-written % BLOCK))
