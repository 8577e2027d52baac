"""Small named arrays in one file: summaries of blocks and shared values between passes.

Deterministic (equal arrays give equal bytes), without pickle, written by one rename. The file is a line of JSON with
names, dtypes and shapes, then the arrays' bytes in that order, little-endian, C order.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import InfraFailure

# Any: arrays of several dtypes under one roof, as in recipes/recipe.py.
Array = NDArray[Any]

_MAGIC = b"archive_proc blocks 1\n"


def plain(array: Array) -> Array:
    """The array as it will be read back: C order, little-endian, native text as fixed-width unicode.

    Raises TypeError for object arrays, which have no bytes of their own.
    """
    if array.dtype.kind == "T":
        array = np.asarray(array.tolist(), dtype=np.str_).reshape(array.shape)
    if array.dtype.kind == "O":
        raise TypeError("an object array cannot be a summary")
    little = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
    # asarray, not ascontiguousarray: that one turns a scalar into a vector
    return np.asarray(array, dtype=little, order="C")


def pack(arrays: Mapping[str, Array]) -> bytes:
    """The file's bytes."""
    ordered = {name: plain(np.asarray(arrays[name])) for name in sorted(arrays)}
    head = [(name, array.dtype.str, array.shape) for name, array in ordered.items()]
    line = json.dumps(head, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
    return b"".join([_MAGIC, line, *(array.tobytes() for array in ordered.values())])


def unpack(content: bytes) -> dict[str, Array]:
    """The arrays of a file's bytes, writable copies. Raises ValueError where the bytes are not such a file."""
    if not content.startswith(_MAGIC):
        raise ValueError("not a file of blocks")
    stop = content.index(b"\n", len(_MAGIC)) + 1
    arrays: dict[str, Array] = {}
    for name, dtype, shape in json.loads(content[len(_MAGIC) : stop]):
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        size = count * kind.itemsize
        if stop + size > len(content):
            raise ValueError(f"cut short in {name}")
        flat = np.frombuffer(content, kind, count, stop) if size else np.zeros(count, kind)
        arrays[name] = flat.reshape(shape).copy()
        stop += size
    return arrays


def write_blocks(path: Path, arrays: Mapping[str, Array]) -> tuple[int, str]:
    """Write by one rename; (size, sha256) of the file."""
    content = pack(arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
    return len(content), hashlib.sha256(content).hexdigest()


def read_blocks(path: Path, sha256: str | None = None) -> dict[str, Array]:
    """Read back. Raises InfraFailure (AP-STO-002) where the file is gone or not what was written."""
    try:
        content = path.read_bytes()
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError("content changed since it was written")
        return unpack(content)
    except (OSError, ValueError) as problem:
        raise InfraFailure(
            "AP-STO-002",
            f"a block summary cannot be read back: {problem}",
            subject=path.name,
            remedy="run again: the attempt is made anew",
        ) from problem
