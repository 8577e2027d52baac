"""Headers as the archive displays them: one card a line in free columns, some lines over 80 characters."""

from __future__ import annotations

from archive_proc.ingest.cards import CARD, parse_card
from archive_proc.model.cards import Card

_BLOCK = 2880


def cards_of_display(text: str) -> tuple[Card, ...]:
    """The cards of a displayed header, up to END; blank lines and lines of markup are left out.

    Tolerant: keywords, `=`, value and comment may stand in any column, a comment may be cut anywhere.
    """
    cards = []
    for line in text.splitlines():
        line = line.strip()
        if line == "END":
            break
        if line and not line.startswith("<"):
            cards.append(parse_card(_aligned(line)))
    return tuple(cards)


def header_of_display(text: str) -> bytes:
    """A FITS header, padded to 2880 bytes, of a displayed one: what does not fit 80 characters loses its comment.

    Raises ValueError where a value alone does not fit.
    """
    lines = []
    for line in text.splitlines():
        line = line.strip()
        if line == "END":
            break
        if line and not line.startswith("<"):
            card = _aligned(line)
            if len(card) > CARD:
                card = _fitted(card)
            lines.append(card.ljust(CARD))
    header = "".join([*lines, "END".ljust(CARD)]).encode("ascii", "replace")
    return header + b" " * (-len(header) % _BLOCK)


def _aligned(line: str) -> str:
    """The line with a standard keyword in columns 1-8 and `= ` after it."""
    if line.startswith(("HIERARCH ", "COMMENT", "HISTORY")):
        return line
    key, sign, rest = line.partition("=")
    return f"{key.strip():<8}= {rest.lstrip()}" if sign else line


def _fitted(card: str) -> str:
    """The card within 80 characters: comment cut, or dropped, or no blanks around `=` either."""
    wanted = parse_card(card)
    key, _, rest = card.partition("=")
    value = rest.removesuffix(wanted.comment).rstrip(" /").strip()
    for shorter in (card[:CARD], f"{key.rstrip()} = {value}", f"{key.rstrip()}={value}"):
        if len(shorter) <= CARD and parse_card(shorter)[::3] == wanted[::3]:
            return shorter
    raise ValueError(f"the value of `{card[:40]}` does not fit a card")
