"""The site profile of these tests, and the queue."""

from __future__ import annotations

import subprocess
from pathlib import Path

SITE = """\
name = "{name}"
backend = "slurm"
workers = 2
memory_per_worker_gb = 1.0
chunk_gb = 0.0008

[slurm]
partition = "work"
walltime = "00:10:00"
retire_minutes = 2.0
interface = "lo"
query_seconds = 1.0
queue_wait_minutes = 2.0
death_timeout_seconds = 20.0
driver_walltime = "00:10:00"
driver_memory_gb = 0.8
{more}
"""


def write_site(root: Path, name: str, more: str = "", **changed: str) -> None:
    """A SLURM profile of an archive."""
    text = SITE.format(name=name, more=more)
    for key, value in changed.items():
        (line,) = [one for one in text.splitlines() if one.startswith(f"{key} =")]
        text = text.replace(line, f"{key} = {value}")
    (root / "sites" / f"{name}.toml").write_text(text)


def queue() -> list[str]:
    """Jobs that wait or run."""
    asked = ["squeue", "-h", "-o", "%i"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
