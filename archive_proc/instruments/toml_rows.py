"""Typed TOML tables: a wrong row is named by file, line and rule."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from archive_proc.errors import MisuseError

RowT = TypeVar("RowT", bound=msgspec.Struct)

_HEADER = re.compile(r"^\s*\[\[?\s*([\w.]+)\s*\]?\]")
_PLACE = re.compile(r"at `\$([^`]*)`")
_STEP = re.compile(r"\.?([A-Za-z_]\w*)|\[(\d+)\]")
_FIELD = re.compile(r"field `([^`]+)`")


def read_table(text: str, kind: type[RowT], source: str) -> RowT:
    """The table that a TOML text holds, every field checked.

    Raises MisuseError AP-TAB-001 where it is no TOML, AP-TAB-002 where a row has a wrong, unknown or missing field.
    """
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MisuseError(
            "AP-TAB-001", f"not TOML: {error}", subject=source, remedy="correct the line it names"
        ) from error
    try:
        return msgspec.convert(parsed, type=kind)
    except msgspec.ValidationError as error:
        place, field = _where(str(error))
        line = line_of(text, place, field)
        raise MisuseError(
            "AP-TAB-002",
            f"{_row_name(parsed, place)}: {error}",
            subject=f"{source} line {line}",
            remedy="correct the row; the comments at the head of the file say what each field means",
        ) from error


def wrong_row(text: str, source: str, place: Sequence[str | int], rule: str, field: str | None = None) -> MisuseError:
    """AP-TAB-003: a row that is well formed and breaks a rule of its table."""
    parsed = tomllib.loads(text)
    return MisuseError(
        "AP-TAB-003",
        f"{_row_name(parsed, place)}: {rule}",
        subject=f"{source} line {line_of(text, place, field)}",
        remedy="correct the row; the comments at the head of the file say what each field means",
    )


def line_of(text: str, place: Sequence[str | int], field: str | None = None) -> int:
    """The line (from 1) of the row at a place like ("rule", 3, "candidate", 1), or of a field in it."""
    lines = text.splitlines()
    start, end, prefix = 0, len(lines), ""
    steps = list(place)
    while steps:
        name = str(steps.pop(0))
        number = steps.pop(0) if steps and isinstance(steps[0], int) else None
        dotted = f"{prefix}.{name}" if prefix else name
        headers = [at for at in range(start, end) if (found := _HEADER.match(lines[at])) and found[1] == dotted]
        if not headers:
            field = field or name
            break
        at = headers[number if isinstance(number, int) and number < len(headers) else 0]
        later = (
            one
            for one in range(at + 1, end)
            if (found := _HEADER.match(lines[one])) and not found[1].startswith(f"{dotted}.")
        )
        start, end, prefix = at, next(later, end), dotted
    if field is not None:
        for at in range(start, end):
            if re.match(rf"\s*{re.escape(field)}\s*=", lines[at]):
                return at + 1
    return start + 1


def _where(message: str) -> tuple[list[str | int], str | None]:
    found = _PLACE.search(message)
    steps: list[str | int] = []
    if found:
        steps = [int(number) if number else name for name, number in _STEP.findall(found[1])]
    field = named[1] if (named := _FIELD.search(message)) else None
    if field is None and steps:
        # The last name in the place is the field itself, unless it is a row.
        names = [at for at, one in enumerate(steps) if isinstance(one, str)]
        last = names[-1]
        if last > 0:
            field = str(steps[last])
            steps = steps[:last]
    return steps, field


def _row_name(parsed: object, place: Sequence[str | int]) -> str:
    """`rule irdis.flat`, `filter DB_H23`: the row as its table calls it."""
    at: object = parsed
    label, name = "table", ""
    for step in place:
        if isinstance(step, str):
            if isinstance(at, dict) and step in at:
                at, label = at[step], step
            continue
        if isinstance(at, list) and step < len(at):
            at = at[step]
            if isinstance(at, dict):
                name = str(
                    at.get("id") or at.get("name") or at.get("type") or at.get("frame_type") or f"number {step + 1}"
                )
    return f"{label} {name}".strip()
