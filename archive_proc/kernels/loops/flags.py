"""How many pixels of a plane have what flags."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.loops.compiling import compiled

Flags = NDArray[np.uint16]


@compiled
def count_flags(
    flags: Flags, static: Flags, outside: np.uint16, wanted: Flags, unless: Flags, own: Flags, out: NDArray[np.int64]
) -> None:
    """Add to out (halves, k) the pixels of flags (halves, ny, nx) that are not `outside` and have flag wanted[k].

    Pixels with any flag of unless[k] do not count, nor those whose `static` flags (as flags) hold any of own[k].
    """
    for half in range(flags.shape[0]):
        for y in range(flags.shape[1]):
            for k in range(wanted.size):
                out[half, k] += count_row(flags[half, y], static[half, y], outside, wanted[k], unless[k], own[k])


@compiled
def count_row(
    flags: Flags, static: Flags, outside: np.uint16, wanted: np.uint16, unless: np.uint16, own: np.uint16
) -> int:
    """The count of one row for one flag."""
    n = 0
    for i in range(flags.size):
        n += (flags[i] & wanted != 0) & (flags[i] & (outside | unless) == 0) & (static[i] & own == 0)
    return n
