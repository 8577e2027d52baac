"""Size and sha256 of one file, digest of one block of values: the units of seals and receipts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from archive_proc.model.records import SealedObject


@dataclass(frozen=True, slots=True)
class BlockDigest:
    """Digest of the decoded values of one shard's planes of one array."""

    product_type: str
    array: str
    first: int
    digest: str
    """`values.value_digest`."""


def hashed(base: Path, name: str) -> SealedObject:
    """Size and sha256 of the file `name` below `base`."""
    with (base / name).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return SealedObject(name, stream.tell(), digest)
