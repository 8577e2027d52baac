"""The driver in a job of its own, and job scripts without a job: what `run --detach` and `run --no-submit` do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from archive_proc.errors import LockedError, MisuseError
from archive_proc.execution.lock import holder_of
from archive_proc.settings import SiteProfile
from archive_proc.storage.layout import Layout


@dataclass(frozen=True, slots=True)
class Scripts:
    """Job scripts of a site, on disk."""

    driver: Path
    """Gives the same command in a small job."""
    worker: Path
    """As the driver will submit it, but for the scheduler's address."""
    output: Path
    """Where the driver's job writes; `%j` is its number."""


def write_scripts(layout: Layout, site: SiteProfile, arguments: Sequence[str]) -> Scripts:
    """Write the scripts of a run under `jobs/`; `arguments` are those of `archive-proc`.

    Raises MisuseError (AP-RUN-048) for a site that is no SLURM, PreconditionError (AP-RUN-040) without dask-jobqueue.
    """
    if site.backend != "slurm":
        raise MisuseError(
            "AP-RUN-048",
            f"has back end {site.backend}: there are no jobs to write or to detach",
            subject=f"site {site.name}",
            remedy="--site slurm:NAME, or leave the option out",
        )
    from archive_proc.execution.slurm import worker_script, write_config
    from archive_proc.execution.slurm_scripts import DRIVER_SCRIPT, WORKER_SCRIPT, driver_script

    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    directory = (layout.jobs / f"{stamp}-{site.name}").resolve()
    directory.mkdir(parents=True)
    made = Scripts(directory / DRIVER_SCRIPT, directory / WORKER_SCRIPT, directory / "driver-%j.log")
    write_config(directory)
    made.driver.write_text(driver_script(site, arguments, made.output))
    made.worker.write_text(worker_script(site, directory))
    return made


def detach(layout: Layout, site: SiteProfile, arguments: Sequence[str]) -> tuple[str, Path]:
    """Submit the driver as a job; its number and the file it writes to.

    Raises LockedError (AP-RUN-001) while another driver lives, PreconditionError AP-RUN-042 where SLURM refuses,
    TemporaryError AP-RUN-044 where it does not answer.
    """
    holder = holder_of(layout)
    if holder is not None:
        raise LockedError(
            "AP-RUN-001",
            f"held for `{holder.purpose}` by pid {holder.writer.pid} on {holder.writer.host} since {holder.since}",
            subject="archive",
            remedy="wait for it, or archive-proc cancel",
        )
    scripts = write_scripts(layout, site, arguments)
    from archive_proc.execution.slurm import need_slurm
    from archive_proc.execution.slurm_queries import submit

    need_slurm()
    job = submit(scripts.driver)
    return job, Path(str(scripts.output).replace("%j", job))
