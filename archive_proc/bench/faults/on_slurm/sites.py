"""Profiles of the disturbed runs: two workers, a window of three, jobs that hand the poisons on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from archive_proc.bench.poisons import POISONS
from archive_proc.settings import SiteProfile

ORDINARY, BRIEF = "faults-slurm", "faults-brief"
WORKERS = 2
WINDOW = WORKERS * SiteProfile(name="", backend="").window_per_worker
"""Tasks that may be in flight when something dies."""
_MEMORY_GB = 0.7
MEMORY_BYTES: Mapping[str, int] = {"memory": int(1.02e9 * _MEMORY_GB), "job-memory": int(1.6e9 * _MEMORY_GB)}
"""What a poisoned task lets its worker hold, or a child: more than the nanny allows, more than SLURM does."""
_SITE = """\
name = "{name}"
backend = "slurm"
workers = {workers}
memory_per_worker_gb = {memory}
# Chunks of one shard of the small night's planes: several tasks a process.
chunk_gb = 0.0008
# A busy machine needs a minute for a worker's first task; nothing else of this night takes seconds.
task_hours = 0.01

[slurm]
partition = "{partition}"
walltime = "{walltime}"
retire_minutes = {retire}
interface = "lo"
query_seconds = 1.0
queue_wait_minutes = 6.0
# Many jobs are ended here on purpose.
lost_jobs = 30
death_timeout_seconds = 30.0
prologue = [{prologue}]
"""


def write_sites(root: Path, poisons: Path) -> None:
    """Write both profiles into an archive; workers find the poisons through their jobs' prologue."""
    export = f"export {POISONS}={shlex.quote(str(poisons))}"
    prologue = '"' + export.replace("\\", "\\\\").replace('"', '\\"') + '"'
    for name, partition, walltime, retire in (
        (ORDINARY, "work", "00:20:00", "2.0"),
        (BRIEF, "brief", "00:02:00", "0.0"),
    ):
        text = _SITE.format(
            name=name,
            workers=WORKERS,
            memory=_MEMORY_GB,
            partition=partition,
            walltime=walltime,
            retire=retire,
            prologue=prologue,
        )
        (root / "sites" / f"{name}.toml").write_text(text)
