"""Dask on SLURM: the scheduler in the driver's process, workers in jobs that dask-jobqueue submits.

What the scripts say: `slurm_scripts.py`; which jobs there are: `slurm_jobs.py`; what SLURM says: `slurm_text.py`.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

import dask
import distributed

from archive_proc.errors import PreconditionError, TemporaryError
from archive_proc.execution.backends import Finished, JobEnd, JobNews
from archive_proc.execution.calls import Bundle
from archive_proc.execution.dask_backend import DaskBackend
from archive_proc.execution.jobqueue import SLURMJob
from archive_proc.execution.liveness import Writer
from archive_proc.execution.open_files import allow_files
from archive_proc.execution.slurm_cluster import JobCluster, TellingScheduler
from archive_proc.execution.slurm_jobs import JobKeeper
from archive_proc.execution.slurm_left import JobRegister, archive_mark, cancel_left
from archive_proc.execution.slurm_queries import answer
from archive_proc.execution.slurm_scripts import (
    CONFIG_NAME,
    LOGS,
    WORKER_SCRIPT,
    cluster_arguments,
    config_text,
    encrypted,
    lifetime_s,
    n_jobs,
    slurm_of,
)
from archive_proc.execution.slurm_security import KEY_DIRECTORY, forget_keys, temporary_keys
from archive_proc.execution.worker_config import SETTINGS, WorkerSetup, expected
from archive_proc.settings import SiteProfile

EXPLAIN_S = 90.0
"""A lost task waits at most so long for SLURM's word about its job."""


def need_slurm() -> None:
    """Raise PreconditionError (AP-RUN-040) where sbatch or squeue are not installed."""
    for tool in ("sbatch", "squeue", "scancel"):
        if shutil.which(tool) is None:
            raise PreconditionError(
                "AP-RUN-040",
                f"there is no {tool} on this machine",
                subject="SLURM",
                remedy="give the command on a login node of the cluster, or run with --site local",
            )


class DaskSlurm(DaskBackend):
    """Worker processes in SLURM jobs."""

    name = "slurm"

    def __init__(self, site: SiteProfile, directory: Path, workers: int, *, beside: bool = False) -> None:
        """`beside`: another one of this driver has begun before, and its own directory lies around this one's."""
        super().__init__()
        slurm = slurm_of(site)
        self._site = site
        self._directory = directory.resolve()
        """The run's: configuration, keys and logs of its jobs lie there."""
        self._runs = self._directory.parents[beside]
        self._beside = beside
        self._driver = uuid.uuid4().hex[:12]
        """Keys and register are this driver's alone, though another may continue its run."""
        self._register = JobRegister(self._directory, self._driver)
        self._jobs = n_jobs(site, workers)
        self.workers = self._jobs * slurm.workers_per_job
        self._cluster: JobCluster | None = None
        self._keeper: JobKeeper | None = None
        self._lost: list[tuple[float, Finished]] = []

    def start(self) -> None:
        """Start the scheduler, submit the first jobs. Workers come when the queue lets them; tasks wait.

        Raises PreconditionError AP-RUN-040 where something is not installed, AP-RUN-042 where SLURM refuses the jobs,
        AP-RUN-047 for a network interface that is not there.
        """
        need_slurm()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        slurm = slurm_of(self._site)
        allow_files(self.workers)
        if not self._beside:
            cancel_left(self._runs)
        logs = self._directory / LOGS
        logs.mkdir(parents=True, exist_ok=True)
        config = write_config(self._directory)
        keys = self._directory / KEY_DIRECTORY
        security: dict[str, Any] = {}  # Any: dask ships no types
        if encrypted(self._site):
            self._open.callback(forget_keys, keys, self._driver)
            security = {"security": temporary_keys(keys, self._driver), "protocol": "tls://"}
        patience = f"{max(120.0, 2 * slurm.queue_wait_minutes):.0f} minutes"
        self._open.enter_context(dask.config.set({**SETTINGS, "distributed.scheduler.no-workers-timeout": patience}))
        try:
            cluster = JobCluster(
                **cluster_arguments(self._site, config, logs, archive_mark(self._runs)),
                **security,
                # No dashboard; what remains of the scheduler's HTTP server takes any free port of loopback.
                scheduler_options={"dashboard_address": "127.0.0.1:0", "dashboard": False},
                scheduler_cls=TellingScheduler,
                silence_logs=logging.CRITICAL,
            )
        except (ValueError, OSError, RuntimeError) as problem:
            raise _no_scheduler(slurm.interface, problem) from problem
        self._cluster = cluster
        self._open.callback(self._close, cluster)
        (self._directory / WORKER_SCRIPT).write_text(cluster.job_script())
        client = distributed.Client(cluster, set_as_default=False)
        self._connect(client)
        limit = int(self._site.memory_per_worker_gb * 1e9)
        self._client.register_plugin(WorkerSetup(expected(limit), *lifetime_s(slurm)))
        self._keeper = JobKeeper(cluster, slurm, self._jobs, self._directory, self._register)
        self._open.callback(self._keeper.stop)
        self._keeper.start()

    # Any: a JobCluster, untyped.
    def _close(self, cluster: Any) -> None:
        """Cancel every job; where one stays in the queue, say so to SLURM once more, all at once."""
        numbers = self._keeper.numbers() if self._keeper is not None else []
        with contextlib.suppress(TimeoutError, OSError, RuntimeError):
            cluster.close(timeout=30)
        if not numbers or answer(["scancel", "--quiet", *numbers]) is not None:
            self._register.forget()
        if not self._beside:
            # The sbatch of a killed driver waits for a controller that is away, and is heard after we began.
            cancel_left(self._runs)

    def submit(self, bundle: Bundle, priority: float) -> None:
        """As every Dask back end."""
        self._look_for_trouble()
        super().submit(bundle, priority)

    def wait_any(self, timeout_s: float) -> list[Finished]:
        """What ended. A lost task comes once SLURM has said what became of silent jobs, or would not say."""
        self._look_for_trouble()
        ended = super().wait_any(timeout_s)
        now = time.monotonic()
        self._lost += [(now, one) for one in ended if one.reports is None]
        answered = [one for one in ended if one.reports is not None]
        if answered and self._keeper is not None:
            self._keeper.worked()
        return answered + self._explained(now)

    def _explained(self, now: float) -> list[Finished]:
        keeper = self._keeper
        waiting: list[tuple[float, Finished]] = []
        ready: list[Finished] = []
        for since, one in self._lost:
            settled = keeper is None or keeper.settled(since) or now - since > EXPLAIN_S
            (ready.append(one) if settled else waiting.append((since, one)))
        self._lost = waiting
        return ready

    def _look_for_trouble(self) -> None:
        if self._keeper is not None and self._keeper.trouble is not None:
            raise self._keeper.trouble

    def expect(self, tasks: int) -> None:
        """Give back jobs that so many tasks cannot use."""
        if self._keeper is not None:
            self._keeper.wanted = min(self._jobs, n_jobs(self._site, tasks)) if tasks else 0

    def job_end(self, writer: Writer) -> JobEnd | None:
        """What SLURM said about the job of a worker."""
        return self._keeper.end_of(writer.job) if self._keeper is not None and writer.job else None

    def news(self) -> list[JobNews]:
        """Jobs submitted and ended."""
        return self._keeper.news() if self._keeper is not None else []

    # Any: dask's scheduler, in this process.
    def _scheduler(self) -> Any:
        return None if self._cluster is None else self._cluster.scheduler

    def stop(self) -> None:
        """Cancel the jobs, close the scheduler, remove the keys."""
        super().stop()
        self._cluster = None
        self._lost.clear()


def write_config(directory: Path) -> Path:
    """`dask.yaml` of a run."""
    path = directory / CONFIG_NAME
    path.write_text(config_text())
    return path


def worker_script(site: SiteProfile, directory: Path) -> str:
    """The script of a worker job as it would be submitted; the scheduler's address stands in for a real one."""
    job = SLURMJob(
        scheduler="tcp://<address of the driver>",
        name="job1",
        **cluster_arguments(site, directory / CONFIG_NAME, directory / LOGS, archive_mark(directory.parent)),
    )
    return str(job.job_script())


def _no_scheduler(interface: str, problem: BaseException) -> PreconditionError | TemporaryError:
    import psutil

    known = sorted(psutil.net_if_addrs())
    if interface and interface not in known:
        return PreconditionError(
            "AP-RUN-047",
            f"this machine has no network interface {interface!r}; it has {', '.join(known)}",
            subject="site",
            remedy="set slurm.interface of the site's profile to one that driver and nodes share",
        )
    return TemporaryError(
        "AP-RUN-030", f"the scheduler did not start: {problem}", subject="site", remedy="give the same command again"
    )
