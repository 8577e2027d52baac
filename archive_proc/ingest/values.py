"""Header values to typed manifest values by the keyword table: missing is None, nonsense is None and a problem."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache

from archive_proc.ingest.cards import number_of
from archive_proc.ingest.header import Header
from archive_proc.instruments.keywords import KeywordColumn, keyword_table
from archive_proc.model.cards import Card

Value = str | int | float | bool | dt.datetime | None
Reader = Callable[[Card, list[str]], Value]
_ColumnReader = tuple[str, tuple[str, ...], Reader, str]
"""Column, keywords, how a card is read, column of its sign."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z?")
_INT64 = 2**63


def column_values(header: Header, problems: list[str]) -> dict[str, Value]:
    """Every manifest column that the keyword table fills, by name. What cannot be read adds to `problems`.

    A header like one before is asked only for what changed: a dozen of ninety columns.
    """
    if header.like is None:
        found, odd = _all_columns(header)
        problems += odd
        return dict(found)
    found, odd = _all_columns(header.like)
    if odd:
        # Whose problems they are is not kept: read all of it.
        found, now = _columns(header, _readers())
        problems += now
        return found
    affected = _readers_of()
    again = {at for key in header.changed if key in affected for at in affected[key]}
    readers = _readers()
    changed, now = _columns(header, [readers[at] for at in sorted(again)])
    problems += now
    return found | changed


def lamps_on(header: Header) -> str | None:
    """Names of the lamps switched on, joined by `+` in order of their number; None when none is."""
    if header.like is not None and header.changed.isdisjoint(_lamp_keys()):
        header = header.like
    return _lamps(header)


@lru_cache(maxsize=128)
def _lamps(header: Header) -> str | None:
    values = header.values
    names: list[str] = []
    for state_key, name_key, prefix in _lamp_places():
        state = values.get(state_key)
        if state is not None and state.value == "T":
            named = values.get(name_key)
            names.append(named.value if named is not None else prefix)
    return "+".join(names) or None


@cache
def _lamp_places() -> tuple[tuple[str, str, str], ...]:
    table = keyword_table()
    lamps = [f"{prefix}{n}" for prefix in table.lamp_prefixes for n in range(1, table.lamp_numbers + 1)]
    return tuple((f"{one} ST", f"{one} NAME", one) for one in lamps)


@cache
def _lamp_keys() -> frozenset[str]:
    return frozenset(key for state, name, _ in _lamp_places() for key in (state, name))


@lru_cache(maxsize=128)
def _all_columns(header: Header) -> tuple[dict[str, Value], tuple[str, ...]]:
    found, odd = _columns(header, _readers())
    return found, tuple(odd)


def _columns(header: Header, readers: Sequence[_ColumnReader]) -> tuple[dict[str, Value], list[str]]:
    values, problems = header.values, list[str]()
    found: dict[str, Value] = {}
    for name, keys, read, sign in readers:
        value: Value = None
        written = None
        for key in keys:
            card = values.get(key)
            if card is not None:
                value = read(card, problems)
                if value is not None:
                    written = card.value.startswith("-")
                    break
        if sign:
            found[sign] = written
        found[name] = value
    return found, problems


def time_of(text: str) -> dt.datetime | None:
    """A naive UTC time from ISO 8601 text, to the microsecond; None for anything else.

    The first and the last year of the calendar are no dates of a frame: half a day before, or a year after, is none.

    >>> time_of("2020-03-08T07:12:03.7194")
    datetime.datetime(2020, 3, 8, 7, 12, 3, 719400)
    >>> time_of("0001-01-01T00:00:00")
    >>> time_of("9999-12-31T00:00:00")
    """
    found = _TIME.fullmatch(text)
    if not found:
        return None
    try:
        whole = dt.datetime.fromisoformat(found[1])
    except ValueError:
        return None
    if not dt.MINYEAR < whole.year < dt.MAXYEAR:
        return None
    return whole.replace(microsecond=int((found[2] or "0").ljust(6, "0")[:6]))


@cache
def _readers_of() -> dict[str, tuple[int, ...]]:
    """Places in `_readers` by the keyword they read."""
    found: dict[str, tuple[int, ...]] = {}
    for at, (_, keys, _, _) in enumerate(_readers()):
        for key in keys:
            found[key] = (*found.get(key, ()), at)
    return found


@cache
def _readers() -> tuple[_ColumnReader, ...]:
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
