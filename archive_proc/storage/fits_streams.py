"""Bytes of raw files at growing offsets, from plain, gzip and LZW files: inflated no further than asked for.

What a stream can only tell at its end (checksum, exit status of the inflating program, bytes that belong to nothing)
is asked for by `finish`, once the last plane is read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from archive_proc.errors import DataFailure, PreconditionError

_BLOCK = 2880
_PIECE = 1 << 20
"""Bytes inflated at a time while skipping."""
_TRAILER = 16
"""Pieces read behind the last plane at most, where an extension follows it."""
_GZIP, _LZW = b"\x1f\x8b", b"\x1f\x9d"
_LIKELY = 64
"""Times its own size that a compressed frame may promise without being counted: real ones have 1.3 to 4."""


class Stream(AbstractContextManager["Stream"]):
    """Bytes of an uncompressed file image at growing offsets."""

    path: Path
    forward_only = False
    """Whether an offset once passed is gone."""

    def holds(self, size: int) -> bool:
        """Whether the file image has so many bytes, where that can be told without inflating a likely one."""
        raise NotImplementedError

    def fill(self, offset: int, view: memoryview) -> bool:
        """Fill the view from the offset on; False where the file ends before. Raises DataFailure AP-ING-031."""
        raise NotImplementedError

    def finish(self) -> None:
        """Check what only the end tells, the last plane being read. Raises DataFailure AP-ING-031."""

    def close(self) -> None:
        """Let go of file and processes."""
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_stream(path: Path) -> Stream:
    """The bytes of a file, inflated as its first bytes call for (its name does not matter).

    Raises OSError where it cannot be opened, PreconditionError AP-ING-007 where `gzip` is missing for a `.Z` file.
    """
    with open(path, "rb") as file:
        magic = file.read(2)
    if magic == _GZIP:
        return _Gzip(path)
    return _Lzw(path) if magic == _LZW else _Plain(path)


class _Plain(Stream):
    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def holds(self, size: int) -> bool:
        return os.fstat(self._fd).st_size >= size

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


class _Inflated(Stream):
    """What gzip and LZW share: a position that only grows, and the look behind the last plane."""

    forward_only = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0

    def holds(self, size: int) -> bool:
        """Counted to the promised size, into nothing, where the promise is unlikely."""
        if size <= _LIKELY * self.path.stat().st_size:
            return True
        with open_stream(self.path) as again:
            return again.fill(size, memoryview(b""))

    def fill(self, offset: int, view: memoryview) -> bool:
        if self._position < offset:
            scrap = memoryview(bytearray(min(_PIECE, offset - self._position)))
            while self._position < offset:
                count = self._into(scrap[: offset - self._position])
                if not count:
                    return False
                self._position += count
        done = 0
        while done < len(view):
            count = self._into(view[done:])
            if not count:
                return False
            self._position += count
            done += count
        return True

    def finish(self) -> None:
        """Read the padding and what is behind it: a damaged stream may inflate without a word until its end."""
        padding = -self._position % _BLOCK
        behind = self._more(padding + _BLOCK)[padding:]
        if behind and not behind.startswith(b"XTENSION"):
            raise damaged(self.path, "bytes that belong to nothing follow the pixels")
        scrap = memoryview(bytearray(_PIECE)) if behind else memoryview(b"")
        for _ in range(_TRAILER):
            if not behind or not self._into(scrap):
                break

    def _more(self, most: int) -> bytes:
        held = bytearray(most)
        view, done = memoryview(held), 0
        while done < most and (count := self._into(view[done:])):
            done += count
        return bytes(held[:done])

    def _into(self, view: memoryview) -> int:
        """Bytes put at the start of a view (not empty): at least one, 0 at the end of a sound stream.

        Raises DataFailure AP-ING-031 where the stream is damaged.
        """
        raise NotImplementedError


class _Gzip(_Inflated):
    """One member behind another; inflated in bounded pieces."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = open(path, "rb")  # noqa: SIM115  # closed by the stream
        self._inflate = zlib.decompressobj(wbits=31)
        self._pending = b""

    def _into(self, view: memoryview) -> int:
        while True:
            if self._inflate.eof and not self._next_member():
                return 0
            if not self._pending:
                self._pending = self._file.read(1 << 16)
                if not self._pending:
                    # Cut: the planes before the cut are whole; `fill` says which one is not.
                    return 0
            try:
                piece = self._inflate.decompress(self._pending, min(len(view), _PIECE))
            except zlib.error as error:
                raise damaged(self.path, str(error)) from error
            self._pending = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if piece:
                view[: len(piece)] = piece
                return len(piece)

    def _next_member(self) -> bool:
        """Whether another member follows; zeros behind the last (tape blocks) are nothing."""
        self._pending = self._pending.lstrip(b"\0")
        while not self._pending:
            more = self._file.read(1 << 16)
            if not more:
                return False
            self._pending = more.lstrip(b"\0")
        if len(self._pending) < 2:
            self._pending += self._file.read(1)
        if not self._pending.startswith(_GZIP):
            raise damaged(self.path, "bytes that are no gzip follow the stream")
        self._inflate = zlib.decompressobj(wbits=31)
        return True

    def finish(self) -> None:
        super().finish()
        if not self._inflate.eof:
            raise damaged(self.path, "the stream ends before its checksum")

    def close(self) -> None:
        self._file.close()


class _Lzw(_Inflated):
    """A `.Z` file through `gzip -dc`: no Python library comes near its speed (notes/storage 3.2)."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with open(path, "rb") as file:
            self._pipe = lzw_pipe(file.fileno(), path)

    def _into(self, view: memoryview) -> int:
        assert self._pipe.stdout is not None
        # Any: typeshed gives the pipe of Popen[bytes] as IO[bytes], which does not promise what a buffered reader has.
        count: int = self._pipe.stdout.readinto(view)  # type: ignore[attr-defined]
        if not count:
            fault = lzw_fault(self._pipe)
            if fault:
                raise damaged(self.path, fault)
        return count

    def close(self) -> None:
        end_pipe(self._pipe)


def lzw_pipe(fd: int, path: Path) -> subprocess.Popen[bytes]:
    """`gzip -dc` reading an open file from where it stands; end it with `end_pipe`.

    Raises PreconditionError AP-ING-007 where there is no such program.
    """
    program = shutil.which("gzip")
    if program is None:
        raise no_gzip(path.name)
    # By descriptor: the program sees no name, and repeats none in its messages. No $GZIP with options of the user.
    return subprocess.Popen(
        [program, "-dc"], stdin=fd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"LC_ALL": "C"}
    )


def lzw_fault(pipe: subprocess.Popen[bytes]) -> str:
    """Why `gzip -dc` ended as it did, its output being read to the end; empty when all was well."""
    if pipe.wait() == 0:
        return ""
    assert pipe.stderr is not None
    said = pipe.stderr.read(400).decode("ascii", "replace")
    words = " ".join("".join(one if one.isprintable() else " " for one in said).split())
    return words.removeprefix("gzip: ").removeprefix("stdin: ") or f"gzip ended with status {pipe.returncode}"


def end_pipe(pipe: subprocess.Popen[bytes]) -> None:
    """Stop the program, whatever it still had to say, and collect it: no zombie stays."""
    for stream in (pipe.stdout, pipe.stderr):
        assert stream is not None
        stream.close()
    pipe.kill()
    pipe.wait()


def no_gzip(subject: str) -> PreconditionError:
    """The error of a machine that cannot inflate `.Z` files."""
    return PreconditionError(
        "AP-ING-007",
        "needs the program gzip, which is not on the PATH",
        subject=subject,
        remedy="install gzip on every host that reads raw files, then give the same command",
    )


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
