"""Identifiers: what they are made from (DESIGN 6) and how they print."""

from __future__ import annotations

import hashlib
import json
from typing import NewType

FileId = NewType("FileId", str)
"""Canonical archive name, `SPHER.2015-09-25T08:46:06.875`."""
ManifestId = NewType("ManifestId", str)
ObsId = NewType("ObsId", str)
GroupId = NewType("GroupId", str)
TargetId = NewType("TargetId", str)
ProcessId = NewType("ProcessId", str)
ProductId = NewType("ProductId", str)
"""`<process_id>.<product type>`."""
PlanId = NewType("PlanId", str)
RunId = NewType("RunId", str)

ID_DIGITS = 32
SHOWN_DIGITS = 12


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical_json(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no blanks, ASCII, no NaN. Equal values give equal bytes."""
    return _CANONICAL.encode(value).encode()


def sha256_hex(value: object) -> str:
    """sha256 of the canonical JSON, 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest32(*parts: object) -> str:
    """First 32 hex digits of the sha256 of the canonical JSON of the list of parts."""
    return sha256_hex(list(parts))[:ID_DIGITS]


def product_id(process_id: ProcessId, product_type: str) -> ProductId:
    """The id of the product of this type that this process makes."""
    return ProductId(f"{process_id}.{product_type}")


def split_product_id(product: ProductId) -> tuple[ProcessId, str]:
    """Process id and product type of a product id."""
    process, _, product_type = product.partition(".")
    return ProcessId(process), product_type


def shown(prefix: str, identifier: str) -> str:
    """An id as people see it: `proc:3fa9c0de1122` (prefix obs, group, proc, prod, plan, run)."""
    return f"{prefix}:{identifier[:SHOWN_DIGITS]}"
