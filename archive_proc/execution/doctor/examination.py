"""Everything that `doctor` looks at, in the order it is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from archive_proc.execution.doctor.environment import environment
from archive_proc.execution.doctor.file_system import file_system
from archive_proc.execution.doctor.finding import Finding, Verdict
from archive_proc.execution.doctor.tree import tree
from archive_proc.settings import SiteProfile
from archive_proc.storage.layout import Layout


def examine(
    site: SiteProfile, root: Path, raw_roots: Mapping[str, Path] | None, job_patience_s: float | None = None
) -> tuple[Finding, ...]:
    """All findings. `raw_roots` None: `root` is no archive, only a place for one. `job_patience_s`: wait so long for
    one tiny job of a SLURM site; None: submit none.
    """
    found = [*environment(site), *file_system(root)]
    if raw_roots is not None:
        found += tree(Layout(root), raw_roots)
    if site.backend == "slurm":
        # Imported here: elsewhere nothing of SLURM need be installed.
        from archive_proc.execution.doctor.slurm import driver_job, scheduler, worker_jobs
        from archive_proc.execution.driver_memory import known_raw_files

        found += worker_jobs(site)
        if raw_roots is not None:
            found.append(driver_job(site, known_raw_files(Layout(root))))
        asked = list(scheduler(site))
        found += asked
        if job_patience_s is not None and not any(one.verdict is Verdict.FAIL for one in asked):
            from archive_proc.execution.doctor.node import node

            found += node(site, root, job_patience_s)
    return tuple(found)
