"""What was read for one page: small arrays, what they span, and words where something could not be read."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.quality.scales import Limits


@dataclass(slots=True)
class Measured:
    """Everything that drawing needs besides the order."""

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    """Words found with the pixels: which plane, how many planes, rotation."""
    notes: dict[str, str] = field(default_factory=dict)
    """Panel -> why it cannot be shown."""
    limits: dict[str, Limits] = field(default_factory=dict)
    """Key of a scale -> what this page spans."""

    def limit(self, key: str, found: Limits | None) -> None:
        """Widen the limits of a key; nothing where there is none."""
        if found is None:
            return
        known = self.limits.get(key)
        self.limits[key] = found if known is None else _wider(known, found)

    def write(self, path: Path) -> None:
        """Keep the arrays and words for the process that draws."""
        texts = json.dumps([self.facts, self.notes])
        out = io.BytesIO()
        # numpy's stub takes any keyword for `allow_pickle`.
        np.savez(out, **self.arrays, words=np.array(texts))  # type: ignore[arg-type]
        path.write_bytes(out.getvalue())


def read_measured(path: Path, limits: Mapping[str, Limits]) -> Measured:
    """What `Measured.write` kept."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "words"}
        facts, notes = json.loads(str(stored["words"]))
    return Measured(arrays, facts, notes, dict(limits))


def _wider(one: Limits, other: Limits) -> Limits:
    knees = [value for value in (one.knee, other.knee) if value is not None]
    return Limits(min(one.low, other.low), max(one.high, other.high), max(knees) if knees else None)
