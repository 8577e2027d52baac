"""The first bytes of a raw file, whatever its compression, without ever reading more than was asked for."""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path
from types import TracebackType
from typing import Protocol

from archive_proc.errors import InputError
from archive_proc.storage.fits_streams import end_pipe, lzw_fault, lzw_pipe

BLOCK = 2880
"""Bytes of a FITS block."""
READ = 40 * BLOCK
"""One read: real SPHERE headers have 35 blocks."""
MAX_HEADER = 256 * BLOCK
"""Bytes looked at before a header without END is given up (notes/storage 3.1)."""
_MAX_EXPANSION = 200
"""Times its size that a gzip file may promise (notes/workflow 9); noise lets raw frames expand by less than ten."""
_LIKELY_EXPANSION = 4
_QUICK = 1 << 21
"""Bytes inflated in a few milliseconds."""

GZIP, LZW = b"\x1f\x8b", b"\x1f\x9d"


class Source(Protocol):
    """Bytes of the uncompressed file from its start."""

    compression: str

    def upto(self, end: int) -> bytes:
        """The first `end` bytes, fewer where the file ends before."""

    def close(self) -> None:
        """Let go of file and processes."""


class OpenedFile:
    """A regular file, opened without following a link and without waiting on a pipe; use with `with`."""

    def __init__(self, path: Path) -> None:
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(
                "AP-ING-001",
                f"cannot be opened as a regular file ({error.strerror})",
                subject=str(path),
                remedy="ingest the directory that holds the file itself, readable and not a link",
            ) from error
        self.path = path
        self.status = os.fstat(self.fd)
        if not stat.S_ISREG(self.status.st_mode):
            os.close(self.fd)
            raise InputError(
                "AP-ING-001", "is not a regular file", subject=str(path), remedy="give the directory of the raw files"
            )

    def __enter__(self) -> OpenedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)

    def at(self, offset: int, count: int) -> bytes:
        """`count` bytes of the file as it lies on disk, fewer at its end."""
        return os.pread(self.fd, count, offset)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.status.st_size


class PlainSource:
    """An uncompressed file."""

    compression = "none"

    def __init__(self, opened: OpenedFile) -> None:
        self._opened = opened
        self._held = b""

    def upto(self, end: int) -> bytes:
        """See Source."""
        if len(self._held) < end:
            self._held += self._opened.at(len(self._held), end - len(self._held))
        return self._held[:end]

    def close(self) -> None:
        """See Source."""


class GzipSource:
    """A gzip stream, inflated only as far as asked: a bomb costs no more than a header."""

    compression = "gz"

    def __init__(self, opened: OpenedFile) -> None:
        self._opened = opened
        self._position = 0
        self._inflate = zlib.decompressobj(wbits=31)
        self._pending = b""
        self._held = bytearray()

    def upto(self, end: int) -> bytes:
        """See Source. Raises InputError AP-ING-006 on a damaged stream."""
        while len(self._held) < end and not self._inflate.eof:
            if not self._pending:
                self._pending = self._opened.at(self._position, 16384)
                self._position += len(self._pending)
                if not self._pending:
                    break
            try:
                self._held += self._inflate.decompress(self._pending, end - len(self._held))
            except zlib.error as error:
                raise damaged(self._opened.path, str(error)) from error
            self._pending = self._inflate.unconsumed_tail
        return bytes(self._held[:end])

    def close(self) -> None:
        """See Source."""


class LzwSource:
    """A `.Z` file through `gzip -dc`, which is stopped as soon as the header is read."""

    compression = "Z"

    def __init__(self, opened: OpenedFile) -> None:
        self._path = opened.path
        self._held = b""
        # The child gets a copy; `pread` never moves the position, so it starts at the first byte.
        self._pipe = lzw_pipe(opened.fd, opened.path)

    def upto(self, end: int) -> bytes:
        """See Source. Raises InputError AP-ING-006 where the stream is damaged before that."""
        assert self._pipe.stdout is not None
        while len(self._held) < end:
            more = self._pipe.stdout.read(end - len(self._held))
            if not more:
                fault = lzw_fault(self._pipe)
                if fault:
                    raise damaged(self._path, fault)
                break
            self._held += more
        return self._held[:end]

    def close(self) -> None:
        """See Source."""
        end_pipe(self._pipe)


def source_of(opened: OpenedFile) -> Source:
    """The source that the file's first bytes call for; its name does not matter."""
    magic = opened.at(0, 2)
    if magic == GZIP:
        return GzipSource(opened)
    if magic == LZW:
        return LzwSource(opened)
    return PlainSource(opened)


def inflated_size(opened: OpenedFile, expected: int) -> tuple[int, str]:
    """Bytes a gzip file inflates to, as far as that can be told cheaply, and what is odd about it (empty: nothing).

    The size in the trailer settles it when it is the expected one. Else the stream is counted, to `expected` and one
    block, where that is little; a long stream with another size in its trailer is taken for cut (0 bytes).

    Raises InputError AP-ING-006 where a file would have to expand as only bombs do.
    """
    if expected > max(_MAX_EXPANSION * opened.size, _QUICK):
        raise damaged(
            opened.path,
            f"{opened.size} bytes would have to become {expected}, more than {_MAX_EXPANSION} times as many",
        )
    stated = int.from_bytes(opened.at(max(opened.size - 4, 0), 4), "little")
    if stated == expected % 2**32:
        return expected, ""
    if min(expected, _LIKELY_EXPANSION * opened.size) > _QUICK:
        return 0, f"gzip: its trailer states {stated} bytes, the header {expected}: taken for cut"
    inflate, count, position = zlib.decompressobj(wbits=31), 0, 0
    pending = b""
    try:
        while count <= expected + BLOCK:
            if inflate.eof:
                # Another member may follow.
                pending, inflate = inflate.unused_data, zlib.decompressobj(wbits=31)
            if not pending:
                pending = opened.at(position, 1 << 16)
                position += len(pending)
                if not pending:
                    break
            count += len(inflate.decompress(pending, expected + 2 * BLOCK - count))
            pending = inflate.unconsumed_tail
    except zlib.error:
        return count, ""
    return count, f"gzip: more than {BLOCK} bytes behind the data" if count > expected + BLOCK else ""


def damaged(path: Path, why: str) -> InputError:
    """The error of a compressed stream that cannot be read."""
    return InputError(
        "AP-ING-006", f"compressed stream is damaged ({why})", subject=str(path), remedy="fetch the file again"
    )
