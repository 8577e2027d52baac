"""What is handed to sbatch, as text and values: nothing here needs a scheduler."""

from __future__ import annotations

import getpass
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from archive_proc.execution.worker_config import JOB_BEGAN, SETTINGS, WORKER_ENVIRONMENT
from archive_proc.settings import SiteProfile, SlurmProfile, walltime_seconds

CONFIG_NAME = "dask.yaml"
"""In the run's directory: Dask's configuration as resolved for this run."""
LOGS = "logs"
"""There, too: what its jobs say."""
WORKER_SCRIPT = "worker.sh"
DRIVER_SCRIPT = "driver.sh"
LOOPBACK = "lo"
WARNING_S = 120
"""Before the walltime SLURM sends SIGTERM: without a lifetime that is all the warning there is."""
_STAGGER = 0.1
_MIB = 2**20


def job_name(kind: str) -> str:
    """How squeue shows our jobs."""
    return f"archive-proc-{kind}"


def slurm_of(site: SiteProfile) -> SlurmProfile:
    """The table `[slurm]` of a site that has one."""
    return site.slurm or SlurmProfile()


def n_jobs(site: SiteProfile, workers: int) -> int:
    """Jobs for so many workers."""
    return max(1, math.ceil(workers / slurm_of(site).workers_per_job))


def encrypted(site: SiteProfile) -> bool:
    """Whether the scheduler's traffic is: it always is once it leaves the host."""
    slurm = slurm_of(site)
    return slurm.tls == "always" or slurm.interface != LOOPBACK


def mebibytes(gigabytes: float) -> str:
    """Memory as sbatch takes it; its M is 2^20 bytes.

    >>> mebibytes(1.0)
    '954M'
    """
    return f"{math.ceil(gigabytes * 1e9 / _MIB)}M"


def lifetime_s(slurm: SlurmProfile) -> tuple[int, int]:
    """(seconds a worker lives, give or take so many): it ends before the walltime; (0, 0) where it never does.

    >>> lifetime_s(SlurmProfile(walltime="04:00:00", retire_minutes=20))
    (12000, 1200)
    """
    if not slurm.retire_minutes:
        return 0, 0
    room = (walltime_seconds(slurm.walltime) or 0) - 60 * slurm.retire_minutes
    lifetime = room / (1 + _STAGGER)
    return max(1, int(lifetime)), int(_STAGGER * lifetime)


def warning_s(walltime: str) -> int:
    """Seconds before the walltime at which SLURM sends SIGTERM; a quarter of a short one."""
    return min(WARNING_S, (walltime_seconds(walltime) or 0) // 4)


def config_text() -> str:
    """`dask.yaml` of a run: what `worker_config.SETTINGS` says, as Dask reads it from a file."""
    tree: dict[str, Any] = {}  # Any: a tree of mixed values, as Dask's own
    for name, value in SETTINGS.items():
        *path, last = name.split(".")
        place = tree
        for one in path:
            place = place.setdefault(one, {})
        place[last] = value
    return "# Dask as this run set it up; worker jobs read it through DASK_CONFIG.\n" + yaml.safe_dump(tree)


def prologue(slurm: SlurmProfile, config: Path) -> list[str]:
    """Shell lines before the worker: the site's, then ours, so that nothing of the site undoes them."""
    return [
        *slurm.prologue,
        "ulimit -c 0",
        "# Variables overrule a file: sbatch hands on those of whoever gave the command.",
        'for one in "${!DASK_@}"; do unset "$one"; done',
        f"export DASK_CONFIG={shlex.quote(str(config))}",
        f"export {JOB_BEGAN}=$(date +%s)",
        *(f"export {name}={value}" for name, value in WORKER_ENVIRONMENT.items()),
    ]


def _pattern(path: Path) -> str:
    """A file name with `%j` as sbatch takes it: of its directories no character is special."""
    return '"' + str(path.parent).replace("%", "%%").replace('"', '\\"') + f'/{path.name}"'


def _asked(slurm: SlurmProfile) -> list[str]:
    """Options that worker and driver jobs share."""
    return [
        "-N 1",
        "--no-requeue",  # a requeued job comes back as a twin of the one that replaced it
        *([f"--qos={slurm.qos}"] if slurm.qos else []),
    ]


def cluster_arguments(site: SiteProfile, config: Path, logs: Path, mark: str) -> dict[str, Any]:
    """Keyword arguments of `SLURMCluster` and `SLURMJob`, those about security apart; `mark` tells whose."""
    slurm = slurm_of(site)
    given: dict[str, Any] = {  # Any: keyword arguments of several types
        "cores": slurm.workers_per_job,
        "processes": slurm.workers_per_job,  # one thread per process
        "memory": f"{int(site.memory_per_worker_gb * 1e9) * slurm.workers_per_job}B",
        "job_mem": mebibytes(site.job_memory_gb),
        "walltime": slurm.walltime,
        "queue": slurm.partition or None,
        "account": slurm.account or None,
        "interface": slurm.interface or None,
        "job_name": job_name("worker"),
        "local_directory": f'"{slurm.scratch}"',
        "death_timeout": int(slurm.death_timeout_seconds),
        # Without exec the shell, not Python, gets SLURM's warning. Without -P a checkout in whose directory the command
        # is given would come before the package that is installed, and that the driver has.
        "python": f"exec {shlex.quote(slurm.python or sys.executable)} -P",
        # The worker's own pages would listen on every interface of the node.
        "worker_extra_args": ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
        "job_extra_directives": [
            *_asked(slurm),
            f"--output={_pattern(logs / 'worker-%j.log')}",
            f"--signal=B:TERM@{warning_s(slurm.walltime)}",
            *slurm.directives,
            f"--comment={mark}",
        ],
        "job_script_prologue": prologue(slurm, config),
        "shebang": "#!/usr/bin/env bash",
        "config_name": "slurm",
    }
    return given


def driver_script(site: SiteProfile, arguments: Sequence[str], output: Path) -> str:
    """The driver's own small job: the same command, on a node."""
    slurm = slurm_of(site)
    partition = slurm.driver_partition or slurm.partition
    directives = [
        f"-J {job_name('driver')}",
        f"--output={_pattern(output)}",
        *([f"-p {partition}"] if partition else []),
        *([f"-A {slurm.account}"] if slurm.account else []),
        "-n 1",
        "--cpus-per-task=1",
        f"--mem={mebibytes(slurm.driver_memory_gb)}",
        f"-t {slurm.driver_walltime}",
        *_asked(slurm),
        # The driver stops gracefully; the same command continues.
        f"--signal=B:TERM@{warning_s(slurm.driver_walltime)}",
    ]
    command = [slurm.python or sys.executable, "-P", "-m", "archive_proc.cli.main", *arguments]
    return "\n".join(
        [
            "#!/usr/bin/env bash",
            f"# archive-proc's driver for {_user()}: submit it with sbatch, or run the last line anywhere.",
            *(f"#SBATCH {one}" for one in directives),
            "",
            *slurm.prologue,
            f"exec {shlex.join(command)}",
            "",
        ]
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "this user"
