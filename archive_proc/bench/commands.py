"""Reduces a set as a user would: init, ingest, run, each a command of its own process, without options."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from archive_proc.errors import InfraFailure
from archive_proc.execution.interpreters import module_command, same_paths
from archive_proc.storage.layout import Layout

FINISHED = (0, 3)
"""Exit statuses of `run` after which there is something to measure: all done, or some processes failed."""
INPUT_REJECTED, NOTHING_MATCHED = 4, 8
"""Exit statuses of `ingest` and of `run` on nights that something is wrong with."""


def reduce_by_commands(archive: Path, raw: Path, run_options: tuple[str, ...] = ()) -> None:
    """Make `archive`, ingest `raw` and run; progress and errors pass through to stderr.

    Raises InfraFailure AP-SIM-007 with the command that failed.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    _call("init", str(archive), good=(0,))
    _call("--archive", str(archive), "ingest", str(raw), good=(0,))
    _call("--archive", str(archive), "run", *run_options, good=FINISHED)


def reduce_beside(archive: Path, raw: Path, other: Path | None) -> None:
    """As `reduce_by_commands`, going on in an archive that is there; sealed products of another are linked in first.

    What has the same process id there is not made again: the ids say that it would be the same.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    if not Layout(archive).archive_toml.is_file():
        _call("init", str(archive), good=(0,))
    if other is not None:
        shutil.copytree(Layout(other).products, Layout(archive).products, copy_function=os.link, dirs_exist_ok=True)
    _call("--archive", str(archive), "ingest", str(raw), good=(0, INPUT_REJECTED))
    _call("--archive", str(archive), "run", good=(*FINISHED, NOTHING_MATCHED))


def extract_by_commands(archive: Path, file_id: str) -> None:
    """Extract one laser frame like science. Raises InfraFailure AP-SIM-007 with the command that failed."""
    _call("--archive", str(archive), "run", "--preset", "ifs_line", "--to", "ifs_spectra", file_id, good=FINISHED)


def _call(*words: str, good: tuple[int, ...]) -> None:
    done = subprocess.run(
        module_command("archive_proc.cli.main", *words),
        stdout=subprocess.DEVNULL,
        env=same_paths(),
        check=False,
    )
    if done.returncode not in good:
        raise InfraFailure(
            "AP-SIM-007",
            f"exit status {done.returncode}",
            subject=f"archive-proc {' '.join(words)}",
            remedy="read what it wrote to stderr, then run it by hand",
        )
