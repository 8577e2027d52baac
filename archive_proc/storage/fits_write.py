"""A small writer of plain FITS images: for simulated raw frames and for tests. One primary unit, no surprises."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CARD, _BLOCK = 80, 2880
_OWN = frozenset({"SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "BZERO", "BSCALE", "END"})

Value = str | bool | int | float | None
Cards = Sequence[tuple[str, Value] | tuple[str, Value, str]]
"""(keyword, value[, comment]); a keyword with blanks is written `HIERARCH ESO <keyword>`."""


def write_fits(
    path: Path, cards: Cards, array: NDArray[np.generic] | None, compress: bool = False, *, bzero: int = 0
) -> None:
    """Write a primary image; `compress` gzips it (same bytes every time), whatever the path's ending.

    array: (ny, nx) or (n, ny, nx). Floats become BITPIX -32; integers BITPIX 16 as `value - bzero`, which must fit
    16 bits (ValueError); None writes a header without image. Cards for the structure and scaling are ours: given ones
    are left out.
    """
    stored, structure = _stored(array, bzero)
    lines = [format_card(*card) for card in structure]
    lines += [format_card(*card) for card in cards if card[0] not in _OWN]
    header = "".join([*lines, "END".ljust(_CARD)]).encode("ascii")
    content = _padded(header, b" ") + _padded(stored, b"\0")
    # No time stamp and no name in the gzip header: equal frames give equal files.
    path.write_bytes(gzip.compress(content, compresslevel=4, mtime=0) if compress else content)


def format_card(key: str, value: Value, comment: str = "") -> str:
    """One card of 80 characters; a comment that does not fit is cut, a value that does not fit is a ValueError.

    >>> format_card("DET SEQ1 DIT", 16.0, "s").rstrip()
    'HIERARCH ESO DET SEQ1 DIT = 16.0 / s'
    """
    if key in ("COMMENT", "HISTORY"):
        return f"{key:<8}{value}"[:_CARD].ljust(_CARD)
    spelt = _spelt(value)
    if len(key) <= 8 and " " not in key:
        line = f"{key:<8}= {spelt:<20}" if isinstance(value, str) else f"{key:<8}= {spelt:>20}"
    else:
        line = f"HIERARCH ESO {key} = {spelt}"
    if len(line) > _CARD:
        raise ValueError(f"the value of {key} does not fit a card")
    return (f"{line} / {comment}" if comment else line)[:_CARD].ljust(_CARD)


def _spelt(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, str):
        doubled = value.replace("'", "''")
        return f"'{doubled:<8}'"
    return repr(value).upper() if isinstance(value, float) else str(value)


def _stored(array: NDArray[np.generic] | None, bzero: int) -> tuple[bytes, list[tuple[str, Value]]]:
    if array is None:
        return b"", [("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)]
    axes: list[tuple[str, Value]] = [("NAXIS", array.ndim)]
    axes += [(f"NAXIS{number}", length) for number, length in enumerate(reversed(array.shape), 1)]
    if array.dtype.kind == "f":
        return array.astype(">f4").tobytes(), [("SIMPLE", True), ("BITPIX", -32), *axes]
    shifted = array.astype(np.int64) - bzero
    if shifted.size and (shifted.min() < -(2**15) or shifted.max() >= 2**15):
        raise ValueError(f"values {array.min()} to {array.max()} do not fit 16 bits with BZERO {bzero}")
    scaling: list[tuple[str, Value]] = [("BZERO", bzero), ("BSCALE", 1)] if bzero else []
    return shifted.astype(">i2").tobytes(), [("SIMPLE", True), ("BITPIX", 16), *axes, *scaling]


def _padded(content: bytes, filling: bytes) -> bytes:
    return content + filling * (-len(content) % _BLOCK)
