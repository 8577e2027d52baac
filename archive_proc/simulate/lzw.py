"""Files as `compress` writes them (`.Z`): the form in which the archive delivers raw frames.

Format: three bytes of head, then codes of 9 to 16 bits, lowest bit first, in groups of eight codes; a group is padded
when the width changes. Reference: the manual page compress(1) and T. Welch, Computer 17, 8 (1984).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_HEAD = b"\x1f\x9d\x90"
"""Magic, then: at most 16 bits a code, code 256 clears the table."""
_FIRST, _CLEAR, _LEAST, _MOST = 257, 256, 9, 16


def compress(content: bytes, *, literal: bool = False) -> bytes:
    """The LZW stream of some bytes. `literal` looks for no repetition: quick, valid, and longer than the content."""
    codes = np.frombuffer(content, np.uint8).astype(np.uint32) if literal else _codes(content)
    return _HEAD + _packed(codes)


def _codes(content: bytes) -> NDArray[np.uint32]:
    """Codes of the longest known strings; the table is cleared when it is full."""
    if not content:
        return np.empty(0, np.uint32)
    codes: list[int] = []
    known: dict[int, int] = {}
    free, last = _FIRST, content[0]
    for byte in content[1:]:
        key = last << 8 | byte
        found = known.get(key)
        if found is not None:
            last = found
            continue
        codes.append(last)
        if free < 1 << _MOST:
            known[key] = free
            free += 1
        else:
            codes.append(_CLEAR)
            known.clear()
            free = _FIRST
        last = byte
    codes.append(last)
    return np.array(codes, np.uint32)


def _packed(codes: NDArray[np.uint32]) -> bytes:
    """Codes as bits, the width following the size of the reader's table."""
    clears = np.flatnonzero(codes == _CLEAR) + 1
    out = []
    for start, stop in pairwise([0, *clears.tolist(), len(codes)]):
        for first, last, width in _runs(stop - start):
            out.append(_group(codes[start + first : start + last], width, whole=start + last < len(codes)))
    return b"".join(out)


def _runs(count: int) -> list[tuple[int, int, int]]:
    """(first, stop, width) of the codes after a clearing: a width lasts until its codes are used up."""
    runs, first = [], 0
    for width in range(_LEAST, _MOST + 1):
        # The code that makes the table outgrow a width is the last one written in it.
        stop = count if width == _MOST else min(count, (1 << width) - _FIRST + 1)
        if first < stop:
            runs.append((first, stop, width))
        first = stop
    return runs


def _group(codes: NDArray[np.uint32], width: int, *, whole: bool) -> bytes:
    """Codes of one width; `whole` pads to a multiple of eight codes, as before a change of width."""
    bits = (codes[:, None] >> np.arange(width, dtype=np.uint32) & 1).astype(np.uint8).ravel()
    packed = np.packbits(bits, bitorder="little").tobytes()
    return packed.ljust(-(-len(codes) // 8) * width, b"\0") if whole else packed
