"""Raw roots that are not there: a mount that is missing must not look like files that are.

An unmounted root is an empty directory, or none; one that goes while it is read fails file by file. Both are told from
what is known of it, and end the ingest before anything is written: the same command continues when it is back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from archive_proc.errors import TemporaryError

Mark = tuple[int, int] | None
"""Device and inode of a directory; None where there is none."""


def expect_mounted(paths: Sequence[Path], roots: Mapping[str, Path], known: Iterable[str]) -> None:
    """Raise TemporaryError AP-ING-022 for a path that is gone or empty while frames are known below it."""
    held = list(known)
    for given in paths:
        path = os.path.realpath(given)
        if _has_entries(path):
            continue
        for name, root in roots.items():
            base = os.path.realpath(root).rstrip("/")
            if path != base and not path.startswith(f"{base}/"):
                continue
            uri = f"{name}{path[len(base) :]}"
            below = sum(one == uri or one.startswith(f"{uri}/") for one in held)
            if below:
                there = "is empty" if os.path.exists(path) else "is not there"  # noqa: PTH110
                raise _not_mounted(str(given), f"{below} raw frames are known below it, and it {there}")


def marks(roots: Mapping[str, Path]) -> dict[str, Mark]:
    """What the raw roots are now, to be compared later."""
    return {name: _mark(root) for name, root in roots.items()}


def expect_still_mounted(roots: Mapping[str, Path], before: Mapping[str, Mark]) -> None:
    """Raise TemporaryError AP-ING-022 for a raw root that is not what it was."""
    for name, root in roots.items():
        if _mark(root) != before[name] or (before[name] and not _has_entries(str(root))):
            raise _not_mounted(str(root), f"raw root `{name}` went away while it was read")


def _mark(root: Path) -> Mark:
    try:
        status = os.stat(root)  # noqa: PTH116
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _has_entries(path: str) -> bool:
    """True for a file, and for a directory with something in it; where it cannot be listed, walking says why."""
    try:
        return bool(os.listdir(path))  # noqa: PTH208  # one name is enough
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _not_mounted(subject: str, why: str) -> TemporaryError:
    return TemporaryError(
        "AP-ING-022",
        f"{why}: nothing was changed",
        subject=subject,
        remedy="mount it and give the same command; if its files were moved for good, ingest them where they are now",
    )
