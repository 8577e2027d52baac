"""An ingest of directories that hold a found manifest in place of files: the rows are taken as they stand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from archive_proc.ingest.ingest import IngestResult, one_each
from archive_proc.ingest.walk import root_of
from archive_proc.model.frames import RawFrame
from archive_proc.storage.found import is_found, read_found


@dataclass(frozen=True, slots=True)
class FoundIntake:
    """What one such directory gives."""

    directory: Path
    """Where its header table lies."""
    result: IngestResult


def split_found(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Directories that hold a manifest, and the other paths."""
    found = [path for path in paths if is_found(path)]
    return found, [path for path in paths if path not in found]


def ingest_found(directory: Path, roots: Mapping[str, Path], known: Mapping[str, RawFrame]) -> FoundIntake:
    """The rows of a directory's manifest beside what is known by uri; rules for copies and conflicts as for files.

    Raises InputError AP-ING-050 for a manifest that cannot be used, MisuseError AP-ING-021 for a directory outside
    every raw root.
    """
    path = os.path.realpath(directory)
    name, base = root_of(path, directory, {one: os.path.realpath(root) for one, root in roots.items()})
    below = f"{name}{path[len(base) :]}"
    rows = read_found(directory, below)
    unchanged = [one.uri for one in rows if _same(one, known.get(one.uri))]
    standing = frozenset(unchanged)
    frames, conflicts, duplicates = one_each((one for one in rows if one.uri not in standing), known, standing)
    return FoundIntake(
        directory,
        IngestResult(
            frames=frames,
            cards=(),
            not_raw=(),
            rejected=(),
            conflicts=conflicts,
            duplicates=duplicates,
            unchanged=tuple(sorted(unchanged)),
            covered=(below,),
        ),
    )


def _same(row: RawFrame, known: RawFrame | None) -> bool:
    return known is not None and (known.file_id, known.content_id, known.size_bytes, known.pixels) == (
        row.file_id,
        row.content_id,
        row.size_bytes,
        row.pixels,
    )
