"""What an archive is understood from, as one short text: equal texts, nothing to do anew.

Names, sizes and times of files: a hint that spares work, never an identity.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from archive_proc.catalog.standing import refused
from archive_proc.model.ids import sha256_hex
from archive_proc.storage.layout import Layout
from archive_proc.storage.snapshots import find_current


def archive_state(layout: Layout) -> object:
    """Settings, manifests and overrides of an archive, as names, sizes and times."""
    files = [layout.archive_toml, *layout.manifests.glob("*"), *layout.overrides.glob("*.yaml")]
    return sorted([str(one.relative_to(layout.root)), *_stamp(one)] for one in files)


def source_state(layout: Layout) -> str:
    """All that an understanding depends on: the archive's files, what processes refused, and this package's code."""
    before = find_current(layout)
    bad = sorted(refused(before)) if before is not None else []
    return sha256_hex([archive_state(layout), bad, _code_state()])


@cache
def _code_state() -> str:
    """The package's own files: with other code, rules and tables, the same archive may be understood otherwise."""
    package = Path(__file__).parents[1]
    files = [one for ending in ("*.py", "*.toml") for one in package.rglob(ending)]
    return sha256_hex(sorted([str(one.relative_to(package)), *_stamp(one)] for one in files))


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
