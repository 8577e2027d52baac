"""A header's cards by place and keyword, read through what the header before it had in common.

Nine in ten cards of consecutive headers are the same in the same place. One header of each length is kept as a pattern,
so that only the cards that differ from it are cut out, decoded and parsed: that is where the speed of an ingest comes
from. The result is that of reading every card, which the first header of a length and every odd one are given.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from archive_proc.ingest.cards import CARD, parse_cards, parse_same
from archive_proc.model.cards import Card

_PRINTABLE = bytes(range(0x20, 0x7F))
_LEAST, _RANGE = np.uint8(0x20), np.uint8(0x7E - 0x20)
_KEY, _CANONICAL = itemgetter(0), itemgetter(3)
"""Fields of a card, by position: these run a thousand times a file."""
_FREE = ("", "COMMENT", "HISTORY")
"""Keywords that may come any number of times."""
_KEPT = 64
"""Lengths of headers remembered: a night has a dozen."""
_WORDS = CARD // 8
"""A card is compared as ten words of eight bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """The cards of one header. Equal only to itself: what is worked out of one is kept for those like it."""

    cards: tuple[Card, ...]
    values: dict[str, Card]
    """Card by keyword; the first of a repeated keyword."""
    problems: tuple[str, ...]
    """`KEYWORD: why`, sorted."""
    lines: Sequence[str]
    """Canonical lines of `values`, sorted; empty ones say nothing."""
    like: Header | None = None
    """A header with the same keywords in the same places, read before; None where there is none."""
    changed: frozenset[str] = frozenset()
    """Keywords whose cards differ from those of `like`."""

    def digest(self, declared_bytes: int) -> str:
        """The content id: sha256 (64 hex) of the sorted canonical lines and the declared data size (DESIGN 6)."""
        text = "\n".join([*filter(None, self.lines), f"declared bytes {declared_bytes}"])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A header that others of its length are compared with."""

    words: NDArray[np.uint64]
    """(n cards, 10)."""
    header: Header
    keys: tuple[str, ...]
    """Keyword of each card."""
    places: tuple[int, ...]
    """Position in `header.lines` of each card; -1 where it has no line."""


_patterns: dict[int, _Pattern] = {}
"""By bytes of header."""


def parse_header(content: bytes) -> Header:
    """The header that these cards make (without END; a multiple of 80 bytes). What is odd becomes a problem."""
    words = np.frombuffer(content, np.uint64).reshape(-1, _WORDS)
    pattern = _patterns.get(len(content))
    if pattern is not None:
        header = _revised(words, pattern)
        if header is not None:
            return header
    header = _read(content)
    if not header.problems and "CONTINUE" not in header.values:
        if len(_patterns) >= _KEPT:
            _patterns.clear()
        _patterns[len(content)] = _pattern(words, header)
    return header


def _pattern(words: NDArray[np.uint64], header: Header) -> _Pattern:
    at = {line.partition("=")[0]: place for place, line in enumerate(header.lines)}
    keys = tuple(map(_KEY, header.cards))
    return _Pattern(words, header, keys, tuple(at.get(key, -1) for key in keys))


def header_of(cards: tuple[Card, ...], problems: Sequence[str] = ()) -> Header:
    """The header of parsed cards."""
    # Backwards, so that the first of a repeated keyword is the one that stays.
    backwards = cards[::-1]
    values = dict(zip(map(_KEY, backwards), backwards, strict=True))
    lines = sorted(filter(None, map(_CANONICAL, values.values())))
    return Header(cards, values, tuple(sorted({*problems, *_repeated(cards, values)})), lines)


def _read(content: bytes) -> Header:
    cards, problems = parse_cards(content.decode("ascii", "replace"))
    return header_of(cards, [*problems, *_unprintable(content)])


def _revised(words: NDArray[np.uint64], pattern: _Pattern) -> Header | None:
    """The header as the pattern's with some values changed; None where more than that differs."""
    rows = np.flatnonzero((words != pattern.words).any(axis=1))
    if 3 * len(rows) > len(words):
        return None
    content = words[rows].tobytes()
    if content.translate(None, _PRINTABLE):
        return None
    keys = [pattern.keys[row] for row in rows.tolist()]
    found = parse_same(content.decode("ascii"), keys)
    if found is None:
        return None
    header = pattern.header
    cards, lines = list(header.cards), list(header.lines)
    for row, card in zip(rows.tolist(), found, strict=True):
        cards[row] = card
        place = pattern.places[row]
        if place >= 0:
            lines[place] = card.canonical
        elif card.canonical:
            return None
    values = header.values | dict(zip(keys, found, strict=True))
    return Header(tuple(cards), values, (), lines, header, frozenset(keys))


def _repeated(cards: tuple[Card, ...], values: dict[str, Card]) -> list[str]:
    keys = list(map(_KEY, cards))
    # Told by counting in C: hardly any header repeats a keyword, and every one would pay for looking it up.
    if len(keys) == len(values) + sum(max(keys.count(free) - 1, 0) for free in _FREE):
        return []
    counts = Counter(key for key in keys if key not in _FREE)
    return [f"{key}: repeated, first value kept" for key, count in counts.items() if count > 1]


def _unprintable(content: bytes) -> list[str]:
    # Vectors, since all of a hundred thousand bytes are looked at; below a blank wraps around to > 94.
    if not (np.frombuffer(content, np.uint8) - _LEAST > _RANGE).any():
        return []
    wrong = []
    for start in range(0, len(content), CARD):
        card = content[start : start + CARD]
        if card.translate(None, _PRINTABLE):
            name = card.split(b"=")[0][:40].removeprefix(b"HIERARCH ESO ").strip()
            wrong.append(f"{name.decode('ascii', 'replace')}: bytes that are no printable ASCII")
    return wrong
