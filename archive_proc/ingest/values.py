"""Header values to typed manifest values by the keyword table: missing is None, nonsense is None and a problem."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from functools import cache

from archive_proc.ingest.cards import number_of
from archive_proc.instruments.keywords import KeywordColumn, keyword_table
from archive_proc.model.cards import Card

Value = str | int | float | bool | dt.datetime | None
Reader = Callable[[Card, list[str]], Value]

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z?")
_INT64 = 2**63


def column_values(values: Mapping[str, Card], problems: list[str]) -> dict[str, Value]:
    """Every manifest column that the keyword table fills, by name. What cannot be read adds to `problems`."""
    found: dict[str, Value] = {}
    for name, keys, read, sign in _readers():
        value: Value = None
        for key in keys:
            card = values.get(key)
            if card is not None:
                value = read(card, problems)
                if value is not None:
                    if sign:
                        found[sign] = card.value.startswith("-")
                    break
        found[name] = value
    return found


def lamps_on(values: Mapping[str, Card]) -> str | None:
    """Names of the lamps switched on, joined by `+` in order of their number; None when none is."""
    table = keyword_table()
    names: list[str] = []
    for prefix in table.lamp_prefixes:
        for number in range(1, table.lamp_numbers + 1):
            state = values.get(f"{prefix}{number} ST")
            if state is not None and state.value == "T":
                named = values.get(f"{prefix}{number} NAME")
                names.append(named.value if named is not None else f"{prefix}{number}")
    return "+".join(names) or None


def time_of(text: str) -> dt.datetime | None:
    """A naive UTC time from ISO 8601 text, to the microsecond; None for anything else.

    >>> time_of("2020-03-08T07:12:03.7194")
    datetime.datetime(2020, 3, 8, 7, 12, 3, 719400)
    """
    found = _TIME.fullmatch(text)
    if not found:
        return None
    try:
        whole = dt.datetime.fromisoformat(found[1])
    except ValueError:
        return None
    return whole.replace(microsecond=int((found[2] or "0").ljust(6, "0")[:6]))


@cache
def _readers() -> tuple[tuple[str, tuple[str, ...], Reader, str], ...]:
    """One bound reader a column, made once: ninety columns are read from every header."""
    makers = {"text": _text, "integer": _number, "number": _number, "flag": _flag, "time": _time}
    return tuple((row.name, row.keys, makers[row.type](row), row.sign) for row in keyword_table().column)


def _text(row: KeywordColumn) -> Reader:
    nulls = frozenset(word.casefold() for word in keyword_table().null_words)

    def read(card: Card, problems: list[str]) -> str | None:
        value = card.value.strip()
        if value.casefold() in nulls:
            return None
        if not value.isascii() or not value.isprintable() or not any(map(str.isalnum, value)):
            problems.append(f"{card.key}: corrupt text")
            return None
        if row.words:
            value = row.words.get(value, value)
        return value.upper() if row.upper else value

    return read


def _number(row: KeywordColumn) -> Reader:
    table = keyword_table()
    words = frozenset(word.casefold() for word in table.null_words)
    nulls = frozenset((*table.null_numbers, *row.null))
    integer = row.type == "integer"
    low = -float("inf") if row.minimum is None else row.minimum
    high = float("inf") if row.maximum is None else row.maximum

    def read(card: Card, problems: list[str]) -> int | float | None:
        number = number_of(card.value)
        if number is None:
            if card.value.strip().casefold() not in words:
                problems.append(f"{card.key}: no number")
            return None
        if number in nulls:
            return None
        if not low <= number <= high:
            problems.append(f"{card.key}: {card.value} is outside {low} to {high}")
            return None
        if not integer:
            return float(number)
        if not float(number).is_integer() or abs(number) >= _INT64:
            problems.append(f"{card.key}: no 64-bit integer")
            return None
        return int(number)

    return read


def _flag(row: KeywordColumn) -> Reader:
    def read(card: Card, problems: list[str]) -> bool | None:
        if card.value in ("T", "F"):
            return card.value == "T"
        if card.value:
            problems.append(f"{card.key}: neither T nor F")
        return None

    return read


def _time(row: KeywordColumn) -> Reader:
    words = frozenset(word.casefold() for word in keyword_table().null_words)

    def read(card: Card, problems: list[str]) -> dt.datetime | None:
        value = time_of(card.value)
        if value is None and card.value.strip().casefold() not in words:
            problems.append(f"{card.key}: no ISO time")
        return value

    return read
