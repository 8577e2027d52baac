"""Loops over stored values that numba compiles: at the speed of memory, where numpy and hashlib take several times it.

Imported inside the functions that call them, and only for large arrays: whoever looks at a catalog does not pay for
numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Loop = TypeVar("Loop", bound=Callable[..., object])

# XXH64 (Collet, "xxHash fast digest algorithm", version 0.1.1): four of its five primes.
_P1 = np.uint64(11400714785074694791)
_P2 = np.uint64(14029467366897019727)
_P3 = np.uint64(1609587929392839161)
_P4 = np.uint64(9650029242287828579)


def compiled(loop: Loop) -> Loop:
    """The loop as machine code, kept beside the source or in the user's cache folder where either can be written."""
    try:
        return cast(Loop, numba.njit(cache=True, nogil=True)(loop))
    except RuntimeError:
        # numba found no folder that it may write to.
        return cast(Loop, numba.njit(nogil=True)(loop))


@compiled
def round_bits(raw: NDArray[np.uint32], half: np.uint32, drop: np.uint32, kept: np.uint32) -> None:  # pragma: no cover
    """Round float32 bit patterns in place: half to even at bit `drop`; NaN and infinities untouched."""
    exponent = np.uint32(0x7F800000)
    for i in range(raw.size):
        bits = raw[i]
        rounded = (bits + half + ((bits >> drop) & np.uint32(1))) & kept
        raw[i] = bits if (bits & exponent) == exponent else rounded


@compiled
def xxh64_of_pieces(words: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:  # pragma: no cover
    """XXH64, seed 0, of each of out.size pieces that `words` divides into; a multiple of four words each."""
    size = words.size // out.size
    for piece in range(out.size):
        # Four lanes by name: in an array they would go to memory and back for each word.
        a, b, c, d = _P1 + _P2, _P2, np.uint64(0), np.uint64(0) - _P1
        for i in range(piece * size, (piece + 1) * size, 4):
            a += words[i] * _P2
            a = ((a << np.uint64(31)) | (a >> np.uint64(33))) * _P1
            b += words[i + 1] * _P2
            b = ((b << np.uint64(31)) | (b >> np.uint64(33))) * _P1
            c += words[i + 2] * _P2
            c = ((c << np.uint64(31)) | (c >> np.uint64(33))) * _P1
            d += words[i + 3] * _P2
            d = ((d << np.uint64(31)) | (d >> np.uint64(33))) * _P1
        total = ((a << np.uint64(1)) | (a >> np.uint64(63))) + ((b << np.uint64(7)) | (b >> np.uint64(57)))
        total += ((c << np.uint64(12)) | (c >> np.uint64(52))) + ((d << np.uint64(18)) | (d >> np.uint64(46)))
        for lane in (a, b, c, d):
            mixed = lane * _P2
            total ^= ((mixed << np.uint64(31)) | (mixed >> np.uint64(33))) * _P1
            total = total * _P1 + _P4
        total += np.uint64(8 * size)
        total = (total ^ (total >> np.uint64(33))) * _P2
        total = (total ^ (total >> np.uint64(29))) * _P3
        out[piece] = total ^ (total >> np.uint64(32))
