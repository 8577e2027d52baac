"""YAML with line numbers: nodes of a document read into plain values, each with the line it stands on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from archive_proc.errors import MisuseError

Scalar = str | int | float | bool | dt.date | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One mapping of the list: its fields as nodes, and where it begins."""

    fields: Mapping[str, yaml.Node]
    key_lines: Mapping[str, int]
    line: int


def entries(text: str, source: str) -> tuple[Entry, ...]:
    """The mappings of a YAML list; none for an empty document.

    Raises MisuseError AP-OVR-001 where the text is no YAML or no list of mappings.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise fault("AP-OVR-001", source, line, f"not YAML: {getattr(error, 'problem', None) or error}") from error
    if root is None:
        return ()
    if not isinstance(root, yaml.SequenceNode):
        raise fault("AP-OVR-001", source, line_of(root), "the file must be a list of entries, each beginning with `- `")
    return tuple(entry_of(node, source) for node in root.value)


def entry_of(node: yaml.Node, source: str) -> Entry:
    """A mapping's fields. Raises MisuseError AP-OVR-001 for another node or a key given twice."""
    if not isinstance(node, yaml.MappingNode):
        raise fault("AP-OVR-001", source, line_of(node), "a mapping was expected here, `key: value`")
    fields: dict[str, yaml.Node] = {}
    lines: dict[str, int] = {}
    for key, value in node.value:
        name = str(key.value)
        if name in fields:
            raise fault("AP-OVR-001", source, line_of(key), f"`{name}` is given twice")
        fields[name] = value
        lines[name] = line_of(key)
    return Entry(fields, lines, line_of(node))


def scalar(node: yaml.Node, source: str) -> Scalar:
    """A typed scalar. Raises MisuseError AP-OVR-004 for a list or mapping, or a time that was not quoted."""
    if not isinstance(node, yaml.ScalarNode):
        raise fault("AP-OVR-004", source, line_of(node), "a single value was expected here")
    if node.tag == "tag:yaml.org,2002:int" and ":" in node.value:
        # YAML 1.1 reads 12:30 as a number of base 60.
        raise fault("AP-OVR-004", source, line_of(node), f"quote {node.value!r}: YAML reads it as a number")
    value: object = yaml.SafeLoader("").construct_object(node, deep=True)
    if isinstance(value, dt.datetime):
        raise fault("AP-OVR-004", source, line_of(node), f"quote {node.value!r}: YAML reads it as a time")
    if value is None or isinstance(value, str | int | float | bool | dt.date):
        return value
    raise fault("AP-OVR-004", source, line_of(node), f"{node.value!r} is no plain value")


def text_of(node: yaml.Node, source: str) -> str:
    """A text. Raises MisuseError AP-OVR-004 where YAML read something else: quote it."""
    value = scalar(node, source)
    if not isinstance(value, str) or not value.strip():
        raise fault("AP-OVR-004", source, line_of(node), f"a text was expected, found {value!r}: quote it")
    return value.strip()


def texts_of(node: yaml.Node, source: str) -> tuple[str, ...]:
    """One text or a list of texts."""
    if isinstance(node, yaml.SequenceNode):
        return tuple(text_of(one, source) for one in node.value)
    return (text_of(node, source),)


def integers_of(node: yaml.Node, source: str) -> tuple[int, ...]:
    """One whole number or a list of them."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    found = []
    for one in nodes:
        value = scalar(one, source)
        if not isinstance(value, int) or isinstance(value, bool):
            raise fault("AP-OVR-004", source, line_of(one), f"a whole number was expected, found {value!r}")
        found.append(value)
    return tuple(found)


def date_of(node: yaml.Node, source: str) -> dt.date:
    """A date, `2026-11-02`, quoted or not."""
    value = scalar(node, source)
    if isinstance(value, dt.date):
        return value
    try:
        return dt.date.fromisoformat(str(value))
    except ValueError as error:
        raise fault("AP-OVR-004", source, line_of(node), f"a date like 2026-11-02 was expected: {value!r}") from error


def line_of(node: yaml.Node) -> int:
    """Line of a node, from 1."""
    return int(node.start_mark.line) + 1


def fault(code: str, source: str, line: int, message: str, remedy: str = "") -> MisuseError:
    """An error that names file and line."""
    return MisuseError(code, message, subject=f"{source} line {line}", remedy=remedy or "correct this line")
