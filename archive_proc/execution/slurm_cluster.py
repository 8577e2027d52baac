"""dask-jobqueue's cluster and Dask's scheduler as a keeper of jobs needs them: they tell, and decide nothing."""

from __future__ import annotations

import copy
import shlex
from dataclasses import dataclass
from typing import Any, Literal

from distributed.core import Status
from distributed.deploy.cluster import Cluster
from distributed.scheduler import Scheduler

from archive_proc.execution.jobqueue import SLURMCluster


@dataclass(slots=True)
class Seen:
    """A job at one moment."""

    number: str
    """SLURM's."""
    alive: int = 0
    """Its workers."""
    held: int = 0
    """Tasks that they have."""
    left: bool = False
    """Whether a worker of it is gone."""


class TellingScheduler(Scheduler):
    """Dask's scheduler, which tells of every task that a worker leaves behind, also of one that ends in good order.

    Dask would begin such a task elsewhere by itself, while the thread of a closing worker still writes. Told of it, the
    driver sends it under a new attempt, and the old one's paths are gone.
    """

    # Any: arguments of Dask's own; names of workers may be anything.
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.departed: set[Any] = set()
        """Names of workers that are gone: some come and go between two looks."""

    async def remove_worker(
        self, address: str, *, stimulus_id: str, expected: bool = False, close: bool = True
    ) -> Literal["OK", "already-removed"]:
        """As for a worker that vanished."""
        if (leaving := self.workers.get(address)) is not None:
            self.departed.add(leaving.name)
        return await super().remove_worker(address, stimulus_id=stimulus_id, expected=False, close=close)


class JobCluster(SLURMCluster):
    """dask-jobqueue's cluster, which writes scripts and submits them; which jobs there are is decided outside."""

    # Any: dask's security.
    def _get_worker_security(self, security: Any) -> Any:
        """Paths of the keys as the job's shell wants them: an archive may lie under a name with blanks."""
        if security is None:
            return None
        quoted = copy.copy(security)
        for name in ("tls_ca_file", "tls_worker_cert", "tls_worker_key"):
            setattr(quoted, name, shlex.quote(getattr(security, name)))
        return quoted

    # Any: dask's messages.
    def _update_worker_status(self, op: Any, msg: Any) -> None:
        """Leave out what SpecCluster does here: it cancels the job of a worker that its nanny is just restarting."""
        Cluster._update_worker_status(self, op, msg)

    def _new_worker_name(self, worker_number: int) -> str:
        """A new name for every job: a late word of an ended one must not be taken for its successor's."""
        self._named = getattr(self, "_named", 0) + 1
        return f"job{self._named}"

    async def submit_jobs(self, number: int) -> None:
        """Submit so many more. Raises RuntimeError with sbatch's own words."""
        for _ in range(number):
            self.worker_spec.update(self.new_worker_spec())
        try:
            await self._correct_state()
        finally:
            for name in [name for name, job in self.workers.items() if not job.job_id]:
                self.workers.pop(name).status = Status.closed  # or closing the cluster would miss it
            for name in set(self.worker_spec) - set(self.workers):
                self.worker_spec.pop(name)

    async def forget_job(self, name: str, *, cancel: bool) -> None:
        """Let a job go; with `cancel`, its workers in peace first."""
        self.worker_spec.pop(name, None)
        job = self.workers.pop(name, None)
        if job is None:
            return
        if cancel:
            busy = [one.address for one in self._states() if self.job_of(one.name) == name]
            if busy:
                await self._scheduler.retire_workers(workers=busy, close_workers=True, remove=True)
            await job.close()
        job.job_id = None  # SLURM may give a number again: nothing is cancelled by it later
        job.status = Status.closed

    async def look(self) -> dict[str, Seen]:
        """What there is to see of every job, by its name."""
        found = {name: Seen(str(job.job_id)) for name, job in self.workers.items() if job.job_id}
        for one in self._states():
            if (mine := found.get(self.job_of(one.name))) is not None:
                mine.alive += 1
                mine.held += len(one.processing)
        for name in {self.job_of(one) for one in self._scheduler.departed} & found.keys():
            found[name].left = True
        return found

    def _states(self) -> list[Any]:
        return list(self._scheduler.workers.values())

    # Any: as above; it is there once the cluster has started.
    @property
    def _scheduler(self) -> Any:
        return self.scheduler

    # Any: a worker's name may be anything.
    def job_of(self, worker: Any) -> str:
        """The job of a worker by its name: `job3`, or `job3-0` where a job has several."""
        return str(worker).partition("-")[0]
