"""archive_proc: reprocesses the VLT/SPHERE archive, homogeneously and in parallel.

`import archive_proc as ap; ap.open("sphere/")`. Light: nothing heavy is imported before it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archive_proc.version import __version__

__all__ = ["__version__", "open"]

if TYPE_CHECKING:
    from pathlib import Path

    from archive_proc.archive import Archive


def open(path: str | Path | None = None) -> Archive:  # noqa: A001 - the API's word, as in `ap.open(...)`
    """Open the archive at `path`, else `$ARCHIVE_PROC_HOME`, else the nearest parent with an `archive.toml`.

    Raises NotFoundError where there is none.
    """
    from archive_proc.archive import Archive

    return Archive.open(path)
