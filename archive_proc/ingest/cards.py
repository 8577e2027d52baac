"""Cards of a FITS header: 80 characters to keyword, value, comment and the canonical line of `content_id`.

Bytes stay text until a value is asked for; nothing here raises on what a card says. Cards repeat from file to file
(600 of 980 in real SPHERE headers), so parsed ones are kept in a bounded cache: that is where the speed comes from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from archive_proc.model.cards import Card

CARD = 80
"""Characters of a card."""

_CACHE_LIMIT = 60_000
"""Cards kept (some 40 MB): a real header brings about 100 new ones, so emptying the cache costs next to nothing."""

_EIGHTY = re.compile(".{80}", re.DOTALL)
_STRING = re.compile(r"\s*'([^']*(?:''[^']*)*)'\s*(?:/(.*))?", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:\d{1,68}(?:\.\d{0,40})?|\.\d{1,40})(?:[Ee][+-]?\d{1,4}|([Dd][+-]?\d{1,4}))?")
_COMMENTARY = frozenset({"COMMENT", "HISTORY", ""})
_UNLIKE = _COMMENTARY | {"CONTINUE"}
"""Keywords whose cards mean something by their place."""

_SENSOR = re.compile(
    r"HIERARCH (?:ESO )?([!-<>-~]+(?: [!-<>-~]+)*) *= *([+-]?\d{1,17}\.\d{0,17}) *(?:/([^\0]*))?", re.ASCII
)
"""Nearly all cards that differ from file to file are decimals of sensors: told by one look."""

_STORAGE = re.compile(
    r"SIMPLE|XTENSION|EXTEND|PCOUNT|GCOUNT|BLOCKED|GROUPS|TFIELDS|THEAP|EXTNAME|EXTVER|EXTLEVEL|INHERIT|LONGSTRN"
    r"|T(?:TYPE|FORM|UNIT|DIM|NULL|SCAL|ZERO|DISP)\d+|CHECKSUM|DATASUM|END|CONTINUE"
    r"|Z(?:IMAGE|TABLE|TENSION|SIMPLE|EXTEND|BLOCKED|CMPTYPE|TILE\d+|NAME\d+|VAL\d+|MASKCMP|QUANTIZ|DITHER0|HECKSUM"
    r"|DATASUM|PCOUNT|GCOUNT|BLANK|SCALE|ZERO|FORM\d+|CTYP\d+|TILELEN|THEAP)|FZ\w+"
)
"""Keywords that say how an image is stored, not what it is (DESIGN 6): outside `content_id`."""

_DEFAULTS = frozenset({"BZERO=0", "BSCALE=1"})
"""Scaling by nothing equals no scaling cards: compressors drop or add them."""


class _Known(dict[str, Card]):
    """Parsed cards by their 80 characters; what is not there yet is parsed when asked for."""

    def __missing__(self, raw: str) -> Card:
        card = self[raw] = _parse(raw)
        return card


_known = _Known()
_faults: dict[str, str] = {}
"""Cards among them that are wrong in themselves: why."""


def parse_cards(text: str) -> tuple[tuple[Card, ...], tuple[str, ...]]:
    """All cards of a header text (its length a multiple of 80, END excluded), and the problems of single cards."""
    _forget()
    raws = _EIGHTY.findall(text)
    cards = tuple(map(_known.__getitem__, raws))
    problems = [] if _faults.keys().isdisjoint(raws) else [_faults[raw] for raw in raws if raw in _faults]
    if "CONTINUE" in text:
        cards, loose = _joined(cards)
        problems += loose
    return cards, tuple(problems)


def parse_same(text: str, keys: Sequence[str]) -> list[Card] | None:
    """The cards of a text, where each is a sound one of the keyword given and stands for itself; else None."""
    _forget()
    raws = _EIGHTY.findall(text)
    cards = list(map(_known.__getitem__, raws))
    if not _faults.keys().isdisjoint(raws) or [card[0] for card in cards] != keys:
        return None
    return cards if _UNLIKE.isdisjoint(keys) else None


def _forget() -> None:
    if len(_known) > _CACHE_LIMIT:
        _known.clear()
        _faults.clear()


def parse_card(raw: str) -> Card:
    """One card; also longer than 80 characters, as archive displays write them."""
    return _parse(raw)


def number_of(text: str) -> int | float | None:
    """The number a value text states (FITS's D exponents included); None for anything else, infinity included.

    >>> number_of("1.5D3"), number_of("-007"), number_of("1e999"), number_of("12 00")
    (1500.0, -7, None, None)
    """
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    if text.lstrip("+-").isdigit():
        return int(text)
    value = float(text) if found[1] is None else float(text.replace("D", "E").replace("d", "e"))
    return value if abs(value) < float("inf") else None


def _parse(raw: str) -> Card:
    sensor = _SENSOR.fullmatch(raw)
    if sensor is not None:
        key, value, comment = sensor.groups("")
        return Card(key, value, comment.strip(), _line(key, float(value)))
    head, sign, rest = raw.partition("=")
    if head.startswith("HIERARCH "):
        key = head[9:].strip().removeprefix("ESO ")
        if "  " in key:
            key = " ".join(key.split())
        if not sign:
            _faults[raw] = f"{key[:40]}: HIERARCH card without ="
            return Card(key, "", "", "")
        return _valued(raw, key, rest, image=True)
    key = raw[:8].rstrip()
    if key in _COMMENTARY:
        return Card(key, raw[8:].rstrip(), "", "")
    if raw[8:9] != "=":
        if key == "CONTINUE":
            return _valued(raw, key, raw[8:], image=False)
        _faults[raw] = f"{key}: card without value indicator"
        return Card(key, raw[8:].strip(), "", "")
    return _valued(raw, key, raw[9:], image=not _STORAGE.fullmatch(key))


def _valued(raw: str, key: str, rest: str, *, image: bool) -> Card:
    bare, _, comment = rest.partition("/")
    value = bare.strip()
    if not value.startswith("'"):
        return Card(key, value, comment.strip(), _canonical(key, value) if image else "")
    found = _STRING.fullmatch(rest)
    if found is None:
        _faults[raw] = f"{key}: string without end"
        value = rest.strip()[1:]
        return Card(key, value, "", f"{key}={value}" if image else "")
    value, comment = found[1].rstrip().replace("''", "'"), found[2] or ""
    return Card(key, value, comment.strip(), f"{key}='{value}'" if image else "")


def _canonical(key: str, value: str) -> str:
    number = number_of(value)
    return f"{key}={value}" if number is None else _line(key, number)


def _line(key: str, number: int | float) -> str:
    # 1., 1.0 and 1 are one value; beyond 2^53 only the digits tell integers apart.
    if isinstance(number, float) and number.is_integer() and abs(number) < 2**53:
        number = int(number)
    line = f"{key}={number!r}"
    return "" if line in _DEFAULTS else line


def _joined(cards: tuple[Card, ...]) -> tuple[tuple[Card, ...], list[str]]:
    """Long strings put together; a CONTINUE that continues nothing is a problem."""
    joined: list[Card] = []
    loose = []
    for card in cards:
        if card.key != "CONTINUE":
            joined.append(card)
        elif joined and joined[-1].value.endswith("&"):
            joined[-1] = _continued(joined[-1], card)
        else:
            loose.append("CONTINUE: no value ending in & before it")
    return tuple(joined), loose


def _continued(first: Card, more: Card) -> Card:
    value = first.value[:-1] + more.value
    return Card(first.key, value, first.comment or more.comment, f"{first.key}='{value}'" if first.canonical else "")
