"""The driver in a job of its own, and job scripts without a job: what `run --detach` and `run --no-submit` do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from archive_proc.errors import LockedError, MisuseError, PreconditionError, TemporaryError
from archive_proc.execution.driver_memory import driver_needs_gb, known_raw_files
from archive_proc.execution.lock import holder_of
from archive_proc.settings import SiteProfile
from archive_proc.storage.layout import Layout
from archive_proc.storage.runs import run_ids

DRIVER_JOB = "driver.job"
"""Beside the scripts: the number of a driver's job, until SLURM says that it has ended."""


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


def expect_driver_memory(layout: Layout, site: SiteProfile) -> None:
    """Raise PreconditionError AP-RUN-074 where the driver's job asks for less than planning this archive takes.

    SLURM would kill it before there is a run, or, later, the process that makes its catalog.
    """
    if site.slurm is None:
        return
    raw_files = known_raw_files(layout)
    needs, asks = driver_needs_gb(raw_files), site.slurm.driver_memory_gb
    if raw_files and asks < needs:
        raise PreconditionError(
            "AP-RUN-074",
            f"the driver's job asks for {asks:g} GB; an archive of {raw_files} raw files needs about {needs:.1f}",
            subject=f"site {site.name}",
            remedy=f"slurm.driver_memory_gb = {needs:.1f} or more in the site's profile",
        )


def detach(layout: Layout, site: SiteProfile, arguments: Sequence[str]) -> tuple[str, Path]:
    """Submit the driver as a job; its number and the file it writes to.

    Raises LockedError (AP-RUN-001) while another driver lives, PreconditionError AP-RUN-042 where SLURM refuses,
    AP-RUN-074 where the job's memory is too little, TemporaryError AP-RUN-044 where it does not answer.
    """
    holder = holder_of(layout)
    if holder is not None:
        raise LockedError(
            "AP-RUN-001",
            f"held for `{holder.purpose}` by pid {holder.writer.pid} on {holder.writer.host} since {holder.since}",
            subject="archive",
            remedy="wait for it, or archive-proc cancel",
        )
    expect_driver_memory(layout, site)
    scripts = write_scripts(layout, site, arguments)
    from archive_proc.execution.slurm import need_slurm
    from archive_proc.execution.slurm_queries import submit

    need_slurm()
    job = submit(scripts.driver)
    (scripts.driver.parent / DRIVER_JOB).write_text(f"{job}\n")
    return job, Path(str(scripts.output).replace("%j", job))


def detached(layout: Layout) -> dict[str, str]:
    """Jobs of detached drivers that wait, or have not ended: number -> SLURM's word, with its reason.

    Until such a driver holds the archive there is no run that would tell of it. What SLURM lists no more is forgotten.
    """
    places = _driver_jobs(layout)
    if not places:
        return {}
    from archive_proc.execution.slurm_queries import answer
    from archive_proc.execution.slurm_scripts import job_name
    from archive_proc.execution.slurm_text import ENDING, QUEUE_FORMAT, parse_queue

    named = [f"--name={job_name('driver')}", "-j", ",".join(places)]  # SLURM gives numbers again
    got = answer(["squeue", "-h", "-t", "all", *named, "-O", QUEUE_FORMAT])
    if got is None:
        return dict.fromkeys(places, "SLURM does not answer")
    states = parse_queue(got[0])
    listed = {job: one for job, one in states.items() if job in places and not one.over and one.state != ENDING}
    for job in places.keys() - listed.keys():
        places[job].unlink(missing_ok=True)
    return {job: f"{one.state} ({one.reason})" if one.reason else one.state for job, one in sorted(listed.items())}


def refused(layout: Layout) -> str:
    """What the newest detached driver said when it ended without a run, and its log, which is all that tells; else
    empty.
    """
    logs = sorted(layout.jobs.glob("*/driver-*.log"))
    if not logs or (logs[-1].parent / DRIVER_JOB).exists():
        return ""
    submitted = min((one.stat().st_mtime for one in logs[-1].parent.glob("driver.sh")), default=0.0)
    if any((layout.run_dir(one) / "run.json").stat().st_mtime > submitted for one in run_ids(layout)[-1:]):
        return ""
    said = [one for one in logs[-1].read_text(errors="replace").splitlines() if one.startswith("error: ")]
    return f"{said[-1].removeprefix('error: ')} ({logs[-1].relative_to(layout.root)})" if said else ""


def cancel_detached(layout: Layout) -> tuple[str, ...]:
    """Cancel drivers that have not begun to work; their numbers. Raises TemporaryError (AP-RUN-044) without SLURM."""
    jobs = tuple(detached(layout))
    if not jobs:
        return ()
    from archive_proc.execution.slurm_queries import answer
    from archive_proc.execution.slurm_scripts import job_name

    if answer(["scancel", "--quiet", f"--name={job_name('driver')}", *jobs]) is None:
        raise TemporaryError(
            "AP-RUN-044",
            f"SLURM does not answer: job {', '.join(jobs)} may still begin",
            subject="SLURM",
            remedy="give the same command again",
        )
    return jobs


def _driver_jobs(layout: Layout) -> dict[str, Path]:
    found = {path.read_text().strip(): path for path in sorted(layout.jobs.glob(f"*/{DRIVER_JOB}"))}
    return {job: path for job, path in found.items() if job.isdecimal()}
