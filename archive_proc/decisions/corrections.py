"""Header corrections: a keyword's new value, as the manifest column it fills."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import cache
from typing import Any

from archive_proc.instruments.keywords import KeywordColumn, keyword_table
from archive_proc.model.frames import RawFrame


@cache
def _column_of() -> dict[str, KeywordColumn]:
    return {key: row for row in keyword_table().column for key in row.keys}


def keyword_name(keyword: str) -> str:
    """A keyword as the table spells it: upper case, single blanks, without `HIERARCH ESO`."""
    words = keyword.upper().replace(".", " ").split()
    if words[:2] == ["HIERARCH", "ESO"]:
        words = words[2:]
    elif words[:1] == ["ESO"]:
        words = words[1:]
    return " ".join(words)


def corrected_value(frame: RawFrame, keyword: str, new: str) -> RawFrame:
    """The frame with a keyword's new value in its column, and in what follows from it (dit_ms from the DIT).

    Problems that ingest noted of this keyword are gone from the frame.

    Raises ValueError for a keyword that fills no column, and for a value of another type.
    """
    row = _column_of().get(keyword_name(keyword))
    if row is None:
        raise ValueError(f"keyword {keyword} fills no manifest column")
    value = _typed(row, new)
    # Any: one dictionary of the dataclass's own field types.
    changed: dict[str, Any] = {row.name: value}
    if row.sign:
        changed[row.sign] = new.strip().startswith("-")
    if row.name == "dit_s":
        changed["dit_ms"] = round(1000 * float(new))
    # What ingest found wrong with the keyword is settled by the value that a person states.
    settled = keyword_name(keyword)
    changed["problems"] = tuple(one for one in frame.problems if keyword_name(one.partition(":")[0]) != settled)
    return replace(frame, **changed)


def _typed(row: KeywordColumn, new: str) -> str | int | float | bool | dt.datetime:
    try:
        if row.type == "integer":
            return int(new)
        if row.type == "number":
            return float(new)
        if row.type == "time":
            return dt.datetime.fromisoformat(new.rstrip("Z"))
        if row.type == "flag":
            return {"T": True, "TRUE": True, "F": False, "FALSE": False}[new.upper()]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{new!r} is no {row.type}, which {row.name} is") from error
    text = new.strip()
    text = row.words.get(text, text)
    return text.upper() if row.upper else text


def present_value(frame: RawFrame, keyword: str) -> object:
    """What the frame has now in the keyword's column, None for an unknown keyword."""
    row = _column_of().get(keyword_name(keyword))
    return getattr(frame, row.name) if row else None
