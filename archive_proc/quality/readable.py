"""Names from headers as text that shows what it is: no control turns a line around, none breaks a layout."""

from __future__ import annotations


def plain(words: str) -> str:
    """Words that draw as they read: controls and direction marks become a visible sign."""
    return "".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in words)


def shortened(words: str, most: int) -> str:
    """At most so many characters, the cut shown.

    >>> shortened("coronagraph", 6)
    'coron…'
    """
    clean = plain(words).replace("\n", " ")
    return clean if len(clean) <= most else clean[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
