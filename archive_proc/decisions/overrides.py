"""Overrides: human decisions that change inputs, parameters or header facts, read from YAML."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import yaml

from archive_proc.decisions import yaml_nodes as nodes
from archive_proc.decisions.yaml_nodes import Entry, Scalar, fault
from archive_proc.model.decisions import Match
from archive_proc.model.ids import digest32

KINDS = ("exclude-planes", "quarantine", "pin-cal", "ban-cal", "param", "header", "waive")

_COMMON = ("match", "kind", "reason", "author", "date")
_WANTED: dict[str, tuple[str, ...]] = {
    "exclude-planes": ("planes",),
    "quarantine": (),
    "pin-cal": ("role", "calibration"),
    "ban-cal": ("calibration",),
    "param": ("recipe", "parameter", "value"),
    "header": ("keyword", "new"),
    "waive": (),
}
_ALLOWED: dict[str, tuple[str, ...]] = {"ban-cal": ("role",), "header": ("old",)}
_GENERAL = ("obs", "group", "night", "arm", "filter", "program", "ob")
_MATCHES: dict[str, tuple[str, ...]] = {
    "exclude-planes": ("obs", "file"),
    "quarantine": ("file",),
    "pin-cal": (*_GENERAL, "file"),
    "ban-cal": (*_GENERAL, "file"),
    "param": (*_GENERAL, "file"),
    "header": ("file", "night", "arm", "filter", "program", "ob"),
    "waive": ("obs", "group", "file", "process", "code"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One entry of an overrides file. Fields that its kind does not have are None or empty."""

    override_id: str
    """From kind, match and value: the same wherever it stands and whoever wrote it."""
    kind: str
    match: Match
    reason: str
    author: str
    date: dt.date
    expires: dt.date | None
    """Last day in force; None: never expires."""
    source: str
    """File name."""
    line: int
    planes: tuple[int, ...] = ()
    """exclude-planes: of the file, or on the observation's axis (`axis.plane_axis`), from 0."""
    role: str = ""
    calibration: str = ""
    """`group:...` or a raw file id."""
    recipe: str = ""
    parameter: str = ""
    value: Scalar | tuple[Scalar, ...] = None
    keyword: str = ""
    old: str = ""
    """header: the value it must have now; empty: any."""
    new: str = ""

    def in_force(self, as_of: dt.date) -> bool:
        """Whether it still holds on a day."""
        return self.expires is None or as_of <= self.expires


def parse_overrides(text: str, source: str) -> tuple[Override, ...]:
    """The overrides of one YAML text, in the order of the file.

    Raises MisuseError with file and line: AP-OVR-001 no YAML list of mappings, AP-OVR-002 an unknown key, AP-OVR-003 a
    missing key, AP-OVR-004 a wrong value, AP-OVR-005 an unknown kind.
    """
    return tuple(_override(entry, source) for entry in nodes.entries(text, source))


def _override(entry: Entry, source: str) -> Override:
    if "kind" not in entry.fields:
        raise fault("AP-OVR-003", source, entry.line, "`kind` is missing", f"one of {', '.join(KINDS)}")
    kind = nodes.text_of(entry.fields["kind"], source)
    if kind not in KINDS:
        line = entry.key_lines["kind"]
        raise fault("AP-OVR-005", source, line, f"unknown kind {kind!r}", f"one of {', '.join(KINDS)}")
    wanted = (*_COMMON, *_WANTED[kind])
    allowed = (*wanted, *_ALLOWED.get(kind, ()), "expires")
    for name in entry.fields:
        if name not in allowed:
            rule = f"unknown key `{name}` for {kind}"
            raise fault("AP-OVR-002", source, entry.key_lines[name], rule, f"it takes {', '.join(allowed)}")
    for name in wanted:
        if name not in entry.fields:
            raise fault("AP-OVR-003", source, entry.line, f"`{name}` is missing for {kind}", "add it")
    match = _match(entry.fields["match"], kind, source)
    # Any: values of one dataclass's several field types, checked by the reader of each.
    given = [name for name in (*_WANTED[kind], *_ALLOWED.get(kind, ())) if name in entry.fields]
    values: dict[str, Any] = {name: _READERS[name](entry.fields[name], source) for name in given}
    shown = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    matched = {one.name: list(getattr(match, one.name)) for one in fields(match) if getattr(match, one.name)}
    return Override(
        override_id=digest32("override", kind, matched, shown),
        kind=kind,
        match=match,
        reason=nodes.text_of(entry.fields["reason"], source),
        author=nodes.text_of(entry.fields["author"], source),
        date=nodes.date_of(entry.fields["date"], source),
        expires=_expiry(entry.fields.get("expires"), source),
        source=source,
        line=entry.line,
        **values,
    )


def _match(node: yaml.Node, kind: str, source: str) -> Match:
    entry = nodes.entry_of(node, source)
    allowed = _MATCHES[kind]
    values: dict[str, Any] = {}  # Any: as in _override
    for name, value in entry.fields.items():
        line = entry.key_lines[name]
        if name not in allowed:
            rule = f"{kind} cannot match by `{name}`"
            raise fault("AP-OVR-002", source, line, rule, f"it matches by {', '.join(allowed)}")
        if name == "ob":
            values[name] = nodes.integers_of(value, source)
        elif name == "night":
            some = value.value if isinstance(value, yaml.SequenceNode) else [value]
            values[name] = tuple(nodes.date_of(one, source).isoformat() for one in some)
        elif name == "arm":
            values[name] = tuple(one.upper() for one in nodes.texts_of(value, source))
        else:
            values[name] = nodes.texts_of(value, source)
    if not values:
        raise fault("AP-OVR-003", source, entry.line, "`match` is empty: it would apply to everything", "say to what")
    return Match(**values)


def _expiry(node: yaml.Node | None, source: str) -> dt.date | None:
    if node is None or (isinstance(node, yaml.ScalarNode) and node.value.strip().lower() == "never"):
        return None
    return nodes.date_of(node, source)


def _value(node: yaml.Node, source: str) -> Scalar | tuple[Scalar, ...]:
    if isinstance(node, yaml.SequenceNode):
        return tuple(_plain(nodes.scalar(one, source)) for one in node.value)
    return _plain(nodes.scalar(node, source))


def _plain(value: Scalar) -> Scalar:
    """Parameters are JSON values: a date is its text."""
    return value.isoformat() if isinstance(value, dt.date) else value


def _planes(node: yaml.Node, source: str) -> tuple[int, ...]:
    found = nodes.integers_of(node, source)
    if not found or min(found) < 0:
        raise fault("AP-OVR-004", source, nodes.line_of(node), "planes are counted from 0, and at least one is named")
    return tuple(sorted(set(found)))


def _header_value(node: yaml.Node, source: str) -> str:
    """Header values are texts of cards: a number keeps its spelling."""
    if not isinstance(node, yaml.ScalarNode):
        raise fault("AP-OVR-004", source, nodes.line_of(node), "a single value was expected here")
    return str(node.value).strip()


_READERS: dict[str, Callable[[yaml.Node, str], Any]] = {  # Any: as in _override
    "planes": _planes,
    "role": nodes.text_of,
    "calibration": nodes.text_of,
    "recipe": nodes.text_of,
    "parameter": nodes.text_of,
    "value": _value,
    "keyword": nodes.text_of,
    "old": _header_value,
    "new": _header_value,
}
