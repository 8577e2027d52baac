"""The keyword table: which header keyword fills which manifest column (`keywords.toml`), validated at load."""

from __future__ import annotations

import dataclasses
from functools import cache
from importlib import resources
from typing import Literal

import msgspec

from archive_proc.errors import MisuseError
from archive_proc.model.frames import RawFrame

_FILE = "keywords.toml"


class KeywordColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One manifest column and the keywords that may hold it."""

    name: str
    type: Literal["text", "integer", "number", "flag", "time"]
    keys: tuple[str, ...]
    """In order of preference, without `HIERARCH ESO `."""
    unit: str = ""
    null: tuple[float, ...] = ()
    """Numbers that mean missing in this column."""
    minimum: float | None = None
    maximum: float | None = None
    """Values outside are missing, with a problem noted."""
    upper: bool = False
    words: dict[str, str] = {}
    """Respellings of a text."""
    sign: str = ""
    """Boolean column that keeps the sign as written: a packed -0 deg loses it as a number."""


class KeywordTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole table."""

    null_words: tuple[str, ...]
    null_numbers: tuple[float, ...]
    lamp_prefixes: tuple[str, ...]
    lamp_numbers: int
    column: tuple[KeywordColumn, ...]


def parse_keywords(text: str, source: str = _FILE) -> KeywordTable:
    """The table that a TOML text holds.

    Raises MisuseError AP-TAB-090 with file, line and rule when a row is wrong.
    """
    try:
        table = msgspec.toml.decode(text, type=KeywordTable)
    except msgspec.DecodeError as error:
        raise _wrong(source, _line_of(text, str(error)), str(error)) from error
    fields = {field.name for field in dataclasses.fields(RawFrame)}
    seen: set[str] = set()
    for position, row in enumerate(table.column):
        fault = _fault(row, fields, seen)
        if fault:
            raise _wrong(source, _header_line(text, position), fault)
        seen.add(row.name)
    return table


@cache
def keyword_table() -> KeywordTable:
    """The packaged table, read once."""
    return parse_keywords(resources.files(__package__).joinpath(_FILE).read_text("utf-8"))


def _fault(row: KeywordColumn, fields: set[str], seen: set[str]) -> str:
    if row.name not in fields:
        return f"`{row.name}` is no column of the manifest"
    if row.name in seen:
        return f"column `{row.name}` has two rows"
    if not row.keys:
        return f"column `{row.name}` names no keyword"
    if row.sign and row.sign not in fields:
        return f"`{row.sign}` is no column of the manifest"
    if row.type in ("text", "flag", "time") and (row.null or row.minimum is not None or row.maximum is not None):
        return f"column `{row.name}` is {row.type}: null numbers and ranges belong to numbers"
    return ""


def _header_line(text: str, position: int) -> int:
    """1-based line of the n-th `[[column]]`."""
    found = [number for number, line in enumerate(text.splitlines(), 1) if line.strip() == "[[column]]"]
    return found[position] if position < len(found) else 0


def _line_of(text: str, message: str) -> int:
    """Line of the row that msgspec's path (`$.column[3]`) names; 0 when it names none."""
    before, _, rest = message.partition("column[")
    number = rest.partition("]")[0]
    return _header_line(text, int(number)) if before and number.isdigit() else 0


def _wrong(source: str, line: int, fault: str) -> MisuseError:
    where = f"{source}:{line}" if line else source
    return MisuseError("AP-TAB-090", fault, subject=where, remedy="correct this row of the keyword table")
