"""How loops are compiled: once per machine type, for one thread, with IEEE arithmetic to the letter.

No `fastmath`: NaN marks missing pixels, and sums keep the order they are written in, so results do not depend on the
machine's vector width. Compiled code is kept beside the source or in the user's cache folder; where neither can be
written, every process compiles anew. What is kept is renewed when the loop's own file changes, and only then: a loop
calls loops of its own file alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Loop = TypeVar("Loop", bound=Callable[..., object])


def compiled(loop: Loop) -> Loop:
    """The loop as machine code; types are those of the first call, divisions by zero give infinities as in numpy."""
    try:
        return cast(Loop, numba.njit(cache=True, error_model="numpy", nogil=True)(loop))
    except RuntimeError:
        # numba found no folder that it may write to.
        return cast(Loop, numba.njit(error_model="numpy", nogil=True)(loop))
