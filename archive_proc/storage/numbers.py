"""NaN and infinities through JSON, which knows neither: as the words `NaN`, `Infinity`, `-Infinity`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

Kind = TypeVar("Kind")

_PLAIN = (str, int, bool, type(None))
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def finite(value: Any) -> Any:
    """The same tree of builtins with non-finite floats as words. Any: JSON trees have no other type."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    # Leaves are told by their type here: most of a tree is words, and a call for each is most of the time.
    if isinstance(value, dict):
        return {key: one if type(one) in _PLAIN else finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [one if type(one) in _PLAIN else finite(one) for one in value]
    return value


def unfinite(row: Mapping[str, Any], kind: type[Kind]) -> Kind:
    """The dataclass `kind` of a row, whose float fields may hold the words."""
    numeric = {
        one.name
        for one in dataclasses.fields(kind)  # type: ignore[arg-type]  # callers pass dataclasses only
        if str(one.type).startswith("float")
    }
    back = {key: _WORDS.get(value, value) if key in numeric else value for key, value in row.items()}
    return msgspec.convert(back, kind)
