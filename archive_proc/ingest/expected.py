"""Expected manifests: the list of files a campaign counts on, and how what was found compares with it."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from archive_proc.errors import InputError
from archive_proc.ingest.names import canonical_file_id
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId
from archive_proc.model.observations import Issue
from archive_proc.storage.name_lists import parquet_names

COLUMNS = ("file_id", "dp_id", "DP.ID", "arcfile", "ARCFILE", "file", "name")
"""Columns that hold archive names, in order of preference: ours, ESO's TAP and query form, plain words."""

_SHOWN = 40


@dataclass(frozen=True, slots=True)
class ExpectedManifest:
    """A campaign's list."""

    name: str
    file_ids: tuple[FileId, ...]
    """Canonical, sorted, each once."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found against what was expected."""

    manifest: str
    present: tuple[FileId, ...]
    missing: tuple[FileId, ...]
    surplus: tuple[FileId, ...]
    """Found and not expected."""

    @property
    def issues(self) -> tuple[Issue, ...]:
        """AP-ING-040 for each missing file, AP-ING-041 for each surplus one."""
        return (
            *(
                Issue(
                    code="AP-ING-040",
                    severity="warning",
                    subject_kind="file",
                    subject_id=file_id,
                    message=f"{file_id} is expected by {self.manifest} and was not found",
                    remedy="fetch it and ingest it, or take it off the list",
                    file_id=file_id,
                )
                for file_id in self.missing
            ),
            *(
                Issue(
                    code="AP-ING-041",
                    severity="note",
                    subject_kind="file",
                    subject_id=file_id,
                    message=f"{file_id} was found and is not expected by {self.manifest}",
                    remedy="nothing, or add it to the list",
                    file_id=file_id,
                )
                for file_id in self.surplus
            ),
        )


def read_expected(path: Path) -> ExpectedManifest:
    """A list of archive names: text (one a line, `#` comments), CSV or Parquet with one of `COLUMNS`.

    Any spelling of a name is understood. Raises InputError AP-ING-042 naming the line that holds none, or an empty
    list (zero expected files is never what was meant).
    """
    parquet = path.suffix == ".parquet"
    named = list(enumerate(parquet_names(path, COLUMNS), 1)) if parquet else _lines(path)
    found: set[FileId] = set()
    for line, text in named:
        file_id = canonical_file_id(text)
        if file_id is None:
            raise _wrong(path, f"line {line} holds no archive name: `{text[:_SHOWN]}`")
        found.add(file_id)
    if not found:
        raise _wrong(path, "it names no file")
    return ExpectedManifest(path.name, tuple(sorted(found)))


def compare(expected: ExpectedManifest, frames: Iterable[RawFrame]) -> Comparison:
    """Missing and surplus files, sorted."""
    wanted = set(expected.file_ids)
    found = {frame.file_id for frame in frames}
    return Comparison(
        manifest=expected.name,
        present=tuple(sorted(wanted & found)),
        missing=tuple(sorted(wanted - found)),
        surplus=tuple(sorted(found - wanted)),
    )


def _lines(path: Path) -> list[tuple[int, str]]:
    """(line number, text that should hold a name)."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, str(error)) from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if path.suffix.lower() != ".csv" or not lines:
        return lines
    rows = [(number, next(csv.reader([line]))) for number, line in lines]
    header = [cell.strip() for cell in rows[0][1]]
    column = next((header.index(one) for one in COLUMNS if one in header), None)
    if column is None:
        if canonical_file_id(rows[0][1][0]) is None:
            raise _wrong(path, f"line {rows[0][0]} has none of the columns {', '.join(COLUMNS)}")
        return [(number, row[0]) for number, row in rows]
    return [(number, row[column] if column < len(row) else "") for number, row in rows[1:]]


def _wrong(path: Path, why: str) -> InputError:
    return InputError(
        "AP-ING-042", f"is no list of archive names: {why}", subject=str(path), remedy="give one name a line"
    )
