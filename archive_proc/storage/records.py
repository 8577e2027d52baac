"""`process.json`: the record of a process, typed on both sides; and JSON texts of processes and frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from archive_proc.errors import InputError
from archive_proc.model.frames import RawFrame
from archive_proc.model.processes import Parameter, Process, ProcessInput, QcValue, Subject
from archive_proc.model.records import RECORD_SCHEMA, ProcessRecord
from archive_proc.storage.numbers import finite, unfinite

RECORD_NAME = "process.json"

# Any: JSON trees; each function below turns one into a dataclass.
_Tree = Mapping[str, Any]


def process_tree(process: Process) -> dict[str, Any]:
    """JSON tree of a process."""
    tree = finite(msgspec.to_builtins(process))
    assert isinstance(tree, dict)
    return tree


def process_bytes(process: Process) -> bytes:
    """JSON of a process, the text of its tree. Most have no number that is none, and then no tree is needed."""
    plain = all(_plain(one) for one in process.parameters.values()) and all(
        _plain(one.dt_days) for one in process.inputs
    )
    return msgspec.json.encode(process if plain else process_tree(process))


def _plain(value: Parameter) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, tuple) or all(map(_plain, value))


def process_of(tree: _Tree) -> Process:
    """The process of a JSON tree. Raises msgspec.ValidationError naming the field that does not fit."""
    rest = dict(tree)
    rest["parameters"] = {name: _parameter(value) for name, value in rest["parameters"].items()}
    rest["subject"] = msgspec.convert(rest["subject"], Subject)
    rest["inputs"] = msgspec.convert(rest["inputs"], tuple[ProcessInput, ...])
    rest["excluded_planes"] = msgspec.convert(rest.get("excluded_planes", ()), tuple[tuple[int, int], ...])
    rest["corrections"] = msgspec.convert(rest.get("corrections", ()), tuple[tuple[str, str, str], ...])
    for name in ("product_types", "override_ids", "fallbacks"):
        rest[name] = msgspec.convert(rest.get(name, ()), tuple[str, ...])
    return Process(**rest)


def _parameter(value: Any) -> Parameter:
    return tuple(value) if isinstance(value, list) else value


def frames_bytes(frames: Sequence[RawFrame]) -> bytes:
    """JSON of raw frames."""
    return msgspec.json.encode(list(frames))


def frames_of(content: bytes | msgspec.Raw) -> tuple[RawFrame, ...]:
    """The raw frames of a JSON text."""
    return msgspec.json.decode(content, type=tuple[RawFrame, ...])


def record_bytes(record: ProcessRecord) -> bytes:
    """The text of `process.json`: indented, keys in the order of the dataclass."""
    return msgspec.json.format(msgspec.json.encode(finite(msgspec.to_builtins(record))), indent=1) + b"\n"


def record_of(content: bytes, source: str) -> ProcessRecord:
    """The record of a `process.json` text; fields of newer packages are ignored.

    Raises InputError naming `source`: AP-STO-001 where the text is not a record, AP-STO-003 where a newer package
    wrote it.
    """
    try:
        tree = msgspec.json.decode(content)
        version = int(tree.get("schema_version", RECORD_SCHEMA))
        process, qc = process_of(tree.pop("process")), tuple(unfinite(one, QcValue) for one in tree.pop("qc", ()))
        rest = msgspec.convert({**tree, "process": None, "qc": ()}, _Rest)
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(
            "AP-STO-001",
            f"not the record of a process: {problem}",
            subject=source,
            remedy="archive-proc verify, then remove the damaged process and run again",
        ) from None
    if version > RECORD_SCHEMA:
        raise InputError(
            "AP-STO-003",
            f"record of version {version}, this package reads up to {RECORD_SCHEMA}",
            subject=source,
            remedy="use the archive_proc release that made the product, or a newer one",
        )
    return ProcessRecord(
        **{**{name: getattr(rest, name) for name in rest.__struct_fields__}, "process": process, "qc": qc}
    )


def _rest_fields() -> list[tuple[str, Any, Any]]:
    import dataclasses
    import typing

    hints = typing.get_type_hints(ProcessRecord)
    fields: list[tuple[str, Any, Any]] = []
    for one in dataclasses.fields(ProcessRecord):
        kind = Any if one.name in ("process", "qc") else hints[one.name]
        if one.default is not dataclasses.MISSING:
            fields.append((one.name, kind, one.default))
        elif one.default_factory is not dataclasses.MISSING:
            fields.append((one.name, kind, msgspec.field(default_factory=one.default_factory)))
        else:
            fields.append((one.name, kind, msgspec.NODEFAULT))
    return fields


_Rest = msgspec.defstruct("_Rest", _rest_fields(), kw_only=True)


def write_record(path: Path, record: ProcessRecord) -> None:
    """Write `process.json`."""
    path.write_bytes(record_bytes(record))


def read_record(product_dir: Path) -> ProcessRecord:
    """The record of a sealed process.

    Raises InputError (AP-STO-001) where it is missing or unreadable.
    """
    path = product_dir / RECORD_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            "AP-STO-001",
            "no process.json in it",
            subject=str(product_dir),
            remedy="archive-proc verify, then remove the damaged process and run again",
        ) from None
    return record_of(content, str(path))
