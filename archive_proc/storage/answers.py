"""What a full, read-only or silent file system says, as answers to the user: a code, what is free, what to do."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from archive_proc.errors import ArchiveProcError, PreconditionError, TemporaryError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""A disk or a quota without room."""
_UNWRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_SILENT = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN})


def is_full(error: BaseException) -> bool:
    """Whether a disk or a quota without room is behind an exception."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in FULL:
            return True
        cause = cause.__cause__
    return False


def no_room(root: Path, needed: int | None = None) -> PreconditionError:
    """The answer to a full disk or quota (AP-RUN-035); `needed`: bytes that are still to be written, where known."""
    wanted = "" if needed is None else f"about {size_text(needed)} are still to be written, "
    return PreconditionError(
        "AP-RUN-035",
        f"no room on the disk, or none left of the quota: {wanted}{size_text(free_bytes(root))} are free on the disk",
        subject=str(root),
        remedy="free space or raise the quota, then give the same command again: what is sealed is kept",
    )


def free_bytes(root: Path) -> int:
    """Free bytes where a directory lies; 0 where the file system does not say."""
    try:
        return shutil.disk_usage(root).free
    except OSError:
        return 0


def size_text(size: int) -> str:
    """A number of bytes for people.

    >>> size_text(5_100_000_000_000), size_text(42_000)
    ('5100.0 GB', '0.04 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.{0 if size >= 1e7 else 2}f} MB"


@contextlib.contextmanager
def answering(root: Path) -> Iterator[None]:
    """Turn what the archive's file system refuses into an answer.

    Raises PreconditionError for no room (AP-RUN-035) and for an archive that may not be written (AP-RUN-037),
    TemporaryError (AP-RUN-038) for a file system that does not answer; any other exception as it comes.
    """
    try:
        yield
    except ArchiveProcError:
        raise
    except OSError as error:
        answer = _answer(root, error)
        if answer is None:
            raise
        raise answer from error


def _answer(root: Path, error: OSError) -> ArchiveProcError | None:
    if error.errno in FULL:
        return no_room(root)
    named = Path(str(error.filename)) if error.filename else root
    name = named.relative_to(root).as_posix() if named.is_relative_to(root) else str(named)
    if error.errno in _UNWRITABLE:
        return PreconditionError(
            "AP-RUN-037",
            f"{name} cannot be written: {error.strerror}",
            subject=str(root),
            remedy="mount the archive for writing, or mend its permissions; query, show and verify work as it is",
        )
    if error.errno in _SILENT:
        return TemporaryError(
            "AP-RUN-038",
            f"{name}: {error.strerror}",
            subject=str(root),
            remedy="look at the file system, then give the same command again",
        )
    return None
