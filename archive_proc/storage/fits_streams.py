"""Bytes of raw files at growing offsets, from plain, gzip and LZW files: inflated no further than asked for."""

from __future__ import annotations

import os
import subprocess
import zlib
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from archive_proc.errors import DataFailure

_PIECE = 1 << 20
"""Bytes inflated at a time while skipping."""
_TRAILER = 16
"""Pieces read behind the last plane at most, should more than padding follow."""
_GZIP, _LZW = b"\x1f\x8b", b"\x1f\x9d"


class Stream(AbstractContextManager["Stream"]):
    """Bytes of an uncompressed file image at growing offsets."""

    def fill(self, offset: int, view: memoryview) -> bool:
        """Fill the view from the offset on; False where the file ends before."""
        raise NotImplementedError

    def finish(self) -> None:
        """Check what a stream can only tell at its end, the end being near."""

    def close(self) -> None:
        """Let go of file and processes."""
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_stream(path: Path) -> Stream:
    """The bytes of a file, inflated as its first bytes call for (its name does not matter); raises OSError."""
    with open(path, "rb") as file:
        magic = file.read(2)
    if magic == _GZIP:
        return _Gzip(path)
    return _Lzw(path) if magic == _LZW else _Plain(path)


class _Plain(Stream):
    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def fill(self, offset: int, view: memoryview) -> bool:
        done = 0
        while done < len(view):
            count = os.preadv(self._fd, [view[done:]], offset + done)
            if count == 0:
                return False
            done += count
        return True

    def close(self) -> None:
        os.close(self._fd)


class _Gzip(Stream):
    """Inflates no further than the last byte asked for, in bounded pieces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(path, "rb")  # noqa: SIM115  # closed by the stream
        self._inflate = zlib.decompressobj(wbits=31)
        self._pending = b""
        self._position = 0

    def fill(self, offset: int, view: memoryview) -> bool:
        while self._position < offset:
            if not self._piece(min(_PIECE, offset - self._position)):
                return False
        done = 0
        while done < len(view):
            piece = self._piece(min(_PIECE, len(view) - done))
            if not piece:
                return False
            view[done : done + len(piece)] = piece
            done += len(piece)
        return True

    def _piece(self, most: int) -> bytes:
        """Up to `most` bytes further on; empty at the end."""
        while not self._inflate.eof:
            if not self._pending:
                self._pending = self._file.read(1 << 16)
                if not self._pending:
                    return b""
            try:
                piece = self._inflate.decompress(self._pending, most)
            except zlib.error as error:
                raise damaged(self._path, str(error)) from error
            self._pending = self._inflate.unconsumed_tail
            if piece:
                self._position += len(piece)
                return piece
        return b""

    def finish(self) -> None:
        """Read the padding, so that the checksum behind it is compared: a damaged stream may inflate without a word."""
        for _ in range(_TRAILER):
            if not self._piece(_PIECE):
                break

    def close(self) -> None:
        self._file.close()


class _Lzw(Stream):
    """A `.Z` file through `gzip -dc`: no Python library comes near its speed (notes/storage 3.2)."""

    def __init__(self, path: Path) -> None:
        self._pipe = subprocess.Popen(
            ["gzip", "-dc", "--", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._position = 0

    def fill(self, offset: int, view: memoryview) -> bool:
        assert self._pipe.stdout is not None
        while self._position < offset:
            skipped = len(self._pipe.stdout.read(min(_PIECE, offset - self._position)))
            if not skipped:
                return False
            self._position += skipped
        done = 0
        while done < len(view):
            piece = self._pipe.stdout.read(min(_PIECE, len(view) - done))
            if not piece:
                return False
            view[done : done + len(piece)] = piece
            done += len(piece)
        self._position += done
        return True

    def close(self) -> None:
        assert self._pipe.stdout is not None
        self._pipe.stdout.close()
        self._pipe.kill()
        self._pipe.wait()


def named(path: Path) -> str:
    """The file as journals and the catalog name it: nothing in an archive holds an absolute path."""
    return f"file {path.name}"


def damaged(path: Path, why: str) -> DataFailure:
    """The error of a file whose bytes cannot be decoded."""
    return DataFailure(
        "AP-ING-031",
        f"pixels cannot be decoded ({why})",
        subject=named(path),
        remedy="fetch the file again, ingest it and run --retry, or quarantine it in overrides/",
    )
