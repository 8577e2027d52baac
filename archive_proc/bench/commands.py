"""Reduces a set as a user would: init, ingest, run, each a command of its own process, without options."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from archive_proc.errors import InfraFailure

FINISHED = (0, 3)
"""Exit statuses of `run` after which there is something to measure: all done, or some processes failed."""


def reduce_by_commands(archive: Path, raw: Path, run_options: tuple[str, ...] = ()) -> None:
    """Make `archive`, ingest `raw` and run; progress and errors pass through to stderr.

    Raises InfraFailure AP-SIM-007 with the command that failed.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    _call("init", str(archive), good=(0,))
    _call("--archive", str(archive), "ingest", str(raw), good=(0,))
    _call("--archive", str(archive), "run", *run_options, good=FINISHED)


def extract_by_commands(archive: Path, file_id: str) -> None:
    """Extract one raw IFS frame on request. Raises InfraFailure AP-SIM-007 with the command that failed."""
    _call("--archive", str(archive), "run", "--to", "ifs_spectra", file_id, good=FINISHED)


def _call(*words: str, good: tuple[int, ...]) -> None:
    # The package may be imported from a checkout that is not installed: the child must find the same one.
    home = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH", "")])])
    done = subprocess.run(
        [sys.executable, "-m", "archive_proc.cli.main", *words],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    if done.returncode not in good:
        raise InfraFailure(
            "AP-SIM-007",
            f"exit status {done.returncode}",
            subject=f"archive-proc {' '.join(words)}",
            remedy="read what it wrote to stderr, then run it by hand",
        )
