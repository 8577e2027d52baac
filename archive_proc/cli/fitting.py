"""How text meets the width of a terminal: tables cut to fit, long lines broken. Elsewhere nothing is cut."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

_NARROWEST = 8
_PAGE = 118
"""Width of running text where there is no terminal."""


def folded(text: str, indent: int) -> str:
    """Running text with its lines broken, further lines `indent` deep; ids and words stay whole."""
    width = max(60, shutil.get_terminal_size((_PAGE, 24)).columns) if sys.stdout.isatty() else _PAGE
    return textwrap.fill(
        text,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def fitted(widths: Sequence[int], room: int) -> list[int] | None:
    """Column widths that fit into `room` with two blanks between: the widest give way first.

    None where even the narrowest would not fit.
    """
    found = list(widths)
    excess = sum(found) + 2 * (len(found) - 1) - room
    while excess > 0:
        most = max(found)
        if most <= _NARROWEST:
            return None
        widest = [at for at, width in enumerate(found) if width == most]
        below = max([width for width in found if width < most], default=_NARROWEST)
        # All the widest together come down to the next width, or as far as needed.
        step = max(1, min(most - max(below, _NARROWEST), -(-excess // len(widest))))
        for at in widest:
            found[at] -= step
        excess -= step * len(widest)
    return found


def cut(text: str, width: int) -> str:
    """Text of at most `width` characters, the cut marked."""
    return text if len(text) <= width else text[: width - 1] + "…"


def terminal_width() -> int | None:
    """Columns of the terminal that results go to; None where they go to a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
