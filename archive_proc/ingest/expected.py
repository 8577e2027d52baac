"""Expected manifests: the list of files a campaign counts on, and how what was found compares with it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from archive_proc.ingest.names import canonical_file_id, canonical_file_ids
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId
from archive_proc.model.observations import Issue
from archive_proc.storage.name_lists import MOST_BYTES, cut_list, no_list, parquet_names, votable_names

COLUMNS = ("file_id", "dp_id", "DP.ID", "Dataset ID", "arcfile", "file", "name")
"""Columns that hold archive names, in order of preference: ours, ESO's TAP and query form, plain words. Compared
without regard to case."""

_SHOWN = 40
_DELIMITERS = ",;\t|"
_NUMBER = r"(?<![\d,'/.:-])(\d{1,3}(?:[,']\d{3})+|\d+)(?![\d,'/.:-]*\d)"
"""Of rows; not a part of a date or of a decimal number."""
_ROWS = r"(?:rows?|records?|files?|frames?|entries|results?|matches|observations?|data ?sets?)"
_COUNTS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\btotal of:?\s+{_NUMBER}",
        rf"\b(?:found|matched|returned):?\s+{_NUMBER}(?=\s*(?:{_ROWS}\b|[.;)]|$))",
        rf"{_NUMBER}\s+(?:{_ROWS}\s+)?(?:(?:were|was|have been)\s+)?(?:found|matched|matching)\b",
    )
)
"""What query forms say in a comment: how many rows there are, of which they may have given fewer. Not years that stand
beside such words (`found in 2017`)."""


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
    """A list of archive names: text (any number a line, `#` comments), CSV, TSV, Parquet or VOTable.

    CSV, Parquet and VOTable have a column of `COLUMNS`, or else one column whose first cell is an archive name. Any
    spelling of a name is understood, and any words around it (an address, a download command).

    Raises InputError AP-ING-042 naming the line that holds none, or an empty list (zero expected files is never what
    was meant), AP-ING-044 for a query that failed or was cut, AP-ING-045 for XML that is refused.
    """
    found: set[FileId] = set()
    for line, text in _named(path):
        file_ids = canonical_file_ids(text)
        if not file_ids:
            raise no_list(path, f"line {line} holds no archive name: `{text[:_SHOWN]}`")
        found.update(file_ids)
    if not found:
        raise no_list(path, "it names no file")
    return ExpectedManifest(path.name, tuple(sorted(found)))


def _named(path: Path) -> Sequence[tuple[int, str]]:
    """(line or row number, text that should hold a name)."""
    if path.suffix.lower() == ".parquet":
        return list(enumerate(parquet_names(path, COLUMNS), 1))
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise no_list(path, f"it has {size} bytes, more than {MOST_BYTES}", "split it into several lists")
        with path.open("rb") as file:
            head = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")
        if head.startswith((b"<?xml", b"<VOTABLE", b"<!")) and b"<html" not in head.lower():
            return votable_names(path, _column)
        if head.startswith(b"<"):
            raise no_list(path, "it is an HTML page", "save the query's result, not the page that shows it")
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror or "cannot be read" if isinstance(error, OSError) else "it is not UTF-8 text"
        raise no_list(path, why) from error
    return _cells(path, text) if path.suffix.lower() in (".csv", ".tsv") else _lines(text)


def _column(names: Sequence[str], first: Sequence[str]) -> int | None:
    """The column that holds archive names."""
    known = [one.strip().casefold() for one in names]
    places = [known.index(wanted.casefold()) for wanted in COLUMNS if wanted.casefold() in known]
    holding = [at for at, cell in enumerate(first) if canonical_file_id(cell)]
    # `name` may be the star's: what is called so must hold one, unless no other column does.
    likely = [at for at in places if at in holding] or (holding if len(holding) == 1 else places)
    return likely[0] if likely else None


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


def _lines(text: str) -> list[tuple[int, str]]:
    """(line number, line without its comment), blank ones left out."""
    lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1)]
    return [(number, line) for number, line in lines if line]


def _rows_promised(note: str) -> int:
    """How many rows a comment says there are; 0 where it does not say."""
    found = [match[1] for pattern in _COUNTS for match in pattern.finditer(note)]
    return max((int(re.sub(r"\D", "", one)) for one in found), default=0)


def _cells(path: Path, text: str) -> list[tuple[int, str]]:
    """(line number, cell of the column with names) of a table; comments say whether it is whole."""
    lines = text.splitlines()
    notes = [line for line in lines if line.lstrip().startswith("#")]
    kept = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and line not in notes]
    if not kept:
        return []
    delimiter = max(_DELIMITERS, key=kept[0][1].count)
    reader = csv.reader((line for _, line in kept), delimiter=delimiter)
    try:
        # A quoted cell may run over lines: a row is known by its last one.
        rows = [(kept[reader.line_num - 1][0], row) for row in reader]
    except csv.Error as error:
        raise no_list(path, f"its rows are broken ({error})") from error
    head = rows[0][1]
    without_head = any(canonical_file_id(cell) for cell in head)
    body = rows if without_head else rows[1:]
    column = _column([] if without_head else head, body[0][1]) if body else None
    if column is None:
        raise no_list(path, f"line {rows[0][0]} has none of the columns {', '.join(COLUMNS)}, or no row follows it")
    for note in notes:
        if "truncated" in note.lower() or _rows_promised(note) > len(body):
            raise cut_list(path, f"{len(body)} rows, and it says `{note.strip(' #')[:80]}`")
    return [(number, row[column] if column < len(row) else "") for number, row in body]
