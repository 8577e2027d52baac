"""Lists of names in files that others made: Parquet, and VOTable as ESO's archive saves a query.

XML from elsewhere is hostile until read: a document type or an entity is refused before it can expand, nesting and
texts are bounded, and nothing is kept but the texts of one column.
"""

from __future__ import annotations

import struct
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from xml.parsers import expat

import pyarrow as pa
import pyarrow.parquet as pq

from archive_proc.errors import InputError

MOST_BYTES = 1 << 28
"""Bytes of a list at most: the whole archive of the instrument is a tenth of it."""
_PIECE = 1 << 20
_DEEPEST = 32
"""Elements inside each other; a VOTable has nine."""
_LONGEST = 4096
"""Characters of a cell at most."""

Choose = Callable[[Sequence[str], Sequence[str]], int | None]
"""(column names, first row) -> the column that holds names; None where none does."""


def parquet_names(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    """The texts of the first of these columns that the file has (compared without regard to case).

    Raises InputError AP-ING-042 when it is no Parquet file or has none of them.
    """
    try:
        found = {name.casefold(): name for name in pq.read_schema(path).names}
        column = next(found[one.casefold()] for one in columns if one.casefold() in found)
        values = pq.read_table(path, columns=[column])[column].cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, OSError, StopIteration) as error:
        why = str(error) or f"has none of the columns {', '.join(columns)}"
        raise no_list(path, why) from error
    return tuple(value for value in values if value is not None)


def votable_names(path: Path, choose: Choose) -> tuple[tuple[int, str], ...]:
    """(line, text) of the column that `choose` takes, of every table of a VOTable (TABLEDATA, BINARY or BINARY2).

    Raises InputError: AP-ING-042 no VOTable, or no such column; AP-ING-044 the query failed or was cut at its row
    limit; AP-ING-045 a document type, an entity, or nesting and cells without end.
    """
    reader = _VoTable(path, choose)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            reader.feed(piece)
    reader.feed(b"", last=True)
    return tuple(reader.found)


def no_list(path: Path, why: str, remedy: str = "give one name a line") -> InputError:
    """The error of a file that is no list of archive names."""
    return InputError("AP-ING-042", f"is no list of archive names: {why}", subject=str(path), remedy=remedy)


def cut_list(path: Path, why: str) -> InputError:
    """The error of a query whose answer is not whole: taken for the list, it would hide what is missing."""
    return InputError(
        "AP-ING-044",
        f"is not the whole answer: {why}",
        subject=str(path),
        remedy="save the query again with a larger row limit, or in parts (one list a part)",
    )


class _VoTable:
    """What the parser tells, element by element."""

    def __init__(self, path: Path, choose: Choose) -> None:
        self._path, self._choose = path, choose
        self.found: list[tuple[int, str]] = []
        self._open: list[str] = []
        self._text: list[str] = []
        self._length = 0
        self._limit = 0
        """Characters that the text being collected may have; 0: none is."""
        self._fields: list[dict[str, str]] = []
        self._row: list[str] = []
        self._column: int | None = None
        self._chosen = False
        self._tables = 0
        self._status = ""
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.EntityDeclHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def feed(self, piece: bytes, *, last: bool = False) -> None:
        """Read a piece of the file."""
        try:
            self._parser.Parse(piece, last)
        except expat.ExpatError as error:
            raise no_list(self._path, f"its XML is broken ({error})", "save the query again") from error
        if last and not self._tables:
            raise no_list(self._path, "it holds no table", "save the query as VOTable or CSV")

    def _refuse(self, *_: object) -> None:
        raise self._hostile("it declares a document type or an entity, which no VOTable needs")

    def _hostile(self, why: str) -> InputError:
        return InputError(
            "AP-ING-045",
            f"XML is refused: {why} (line {self._parser.CurrentLineNumber})",
            subject=str(self._path),
            remedy="save the query again as CSV, from the archive itself",
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(":")[2]
        self._open.append(tag)
        if len(self._open) > _DEEPEST:
            raise self._hostile(f"more than {_DEEPEST} elements inside each other")
        if tag == "TABLE":
            self._fields, self._chosen = [], False
            self._tables += 1
        elif tag == "FIELD":
            self._fields.append(attributes)
        elif tag == "TR":
            self._row = []
        elif tag == "TD":
            self._collect(_LONGEST)
        elif tag == "STREAM":
            if "href" in attributes:
                raise no_list(self._path, "its rows lie in another file", "save the query as VOTable or CSV")
            self._collect(MOST_BYTES)
        elif tag == "INFO" and attributes.get("name") == "QUERY_STATUS":
            self._status = attributes.get("value", "").upper()
            self._collect(_LONGEST)
            if self._status == "OVERFLOW":
                raise cut_list(self._path, "the query ran into its row limit (OVERFLOW)")

    def _collect(self, limit: int) -> None:
        self._text, self._length, self._limit = [], 0, limit

    def _characters(self, text: str) -> None:
        if not self._limit:
            return
        self._length += len(text)
        if self._length > self._limit:
            raise self._hostile(f"a cell of more than {self._limit} characters")
        self._text.append(text)

    def _end(self, name: str) -> None:
        tag = self._open.pop()
        text = "".join(self._text).strip() if self._limit else ""
        if tag == "TD":
            self._row.append(text)
        elif tag == "TR":
            self._take(self._row)
        elif tag == "STREAM" and self._open[-1:] in (["BINARY"], ["BINARY2"]):
            for row in self._unpacked(text, masked=self._open[-1] == "BINARY2"):
                self._take(row)
        elif tag == "INFO" and self._status == "ERROR":
            raise cut_list(self._path, f"the query failed: {text[:200]}")
        if tag in ("TD", "STREAM", "INFO"):
            self._limit, self._status = 0, ""

    def _take(self, row: list[str]) -> None:
        line = self._parser.CurrentLineNumber
        if not self._chosen:
            names = [one.get("name", one.get("ID", "")) for one in self._fields]
            self._column, self._chosen = self._choose(names, row), True
            if self._column is None:
                raise no_list(self._path, f"no column of {', '.join(names)[:200]} holds archive names")
        assert self._column is not None
        self.found.append((line, row[self._column] if self._column < len(row) else ""))

    def _unpacked(self, text: str, *, masked: bool) -> Iterator[list[str]]:
        """Rows of a binary stream: texts as they are, everything else skipped by its width."""
        try:
            content = b64decode(text)
            at = 0
            while at < len(content):
                if masked:
                    at += -(-len(self._fields) // 8)
                row = []
                for field in self._fields:
                    cell, at = _cell(content, at, field)
                    row.append(cell)
                yield row
        except (Base64Error, struct.error, ValueError, KeyError) as error:
            raise no_list(self._path, f"its binary rows are broken ({error})", "save the query as CSV") from error


_WIDTHS = {
    "boolean": 1, "bit": 1, "unsignedByte": 1, "char": 1, "short": 2, "unicodeChar": 2, "int": 4, "float": 4,
    "long": 8, "double": 8, "floatComplex": 8, "doubleComplex": 16,
}  # fmt: skip
"""Bytes of one element by `datatype` (VOTable 1.4, section 6)."""


def _cell(content: bytes, at: int, field: dict[str, str]) -> tuple[str, int]:
    """One cell of a binary row as text (empty where it is none), and where the next begins."""
    kind, size = field["datatype"], field.get("arraysize", "1")
    if size.endswith("*"):
        (count,) = struct.unpack_from(">I", content, at)
        at += 4
    else:
        count = 1
        for side in size.split("x"):
            count *= int(side)
    length = -(-count // 8) if kind == "bit" else count * _WIDTHS[kind]
    if count < 0 or at + length > len(content):
        raise ValueError(f"a cell of {length} bytes, {len(content) - at} are left")
    held = content[at : at + length]
    if kind == "char":
        return held.rstrip(b"\0 ").decode("utf-8", "replace")[:_LONGEST], at + length
    if kind == "unicodeChar":
        return held.decode("utf-16-be", "replace").rstrip("\0 ")[:_LONGEST], at + length
    return "", at + length
