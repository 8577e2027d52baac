"""The Python at work, its packages, its threads, and where compiled kernels are kept."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from archive_proc.execution.doctor.finding import Finding, judged
from archive_proc.execution.open_files import NO_LIMIT, files_allowed, files_needed
from archive_proc.execution.threads import THREAD_VARIABLES
from archive_proc.settings import SiteProfile
from archive_proc.storage.answers import size_text
from archive_proc.version import __version__

PART = "environment"
OLDEST = (3, 11)
_SHOWN = 5


def environment(site: SiteProfile) -> Iterator[Finding]:
    """Everything about this process and host that a run of the site leans on."""
    yield python()
    yield packages(site)
    yield threads(os.environ)
    yield kernels_kept(os.environ)
    yield open_files(site)
    if site.backend != "slurm":
        yield cores(site)
        yield memory(site)


def python() -> Finding:
    """The interpreter."""
    return judged(
        PART,
        "python",
        "AP-DOC-001",
        f"{platform.python_version()} at {sys.executable}, archive-proc {__version__}",
        fail=sys.version_info[:2] < OLDEST,
        remedy="make the environment anew with Python 3.11 or newer",
    )


def packages(site: SiteProfile) -> Finding:
    """Every package that this one declares, the extra of the site's back end included."""
    from packaging.requirements import Requirement

    try:
        declared = importlib.metadata.requires("archive-proc") or []
    except importlib.metadata.PackageNotFoundError:
        return judged(
            PART,
            "packages",
            "AP-DOC-001",
            "archive-proc runs from a source tree that was not installed: what it needs is not declared",
            warn=True,
            remedy="pip install . in the source tree",
        )
    extra = "slurm" if site.backend == "slurm" else ""
    wrong: list[str] = []
    seen = 0
    for text in declared:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        seen += 1
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            wrong.append(f"{wanted.name} {version}, needs {wanted.specifier}")
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return judged(
        PART,
        "packages",
        "AP-DOC-001",
        "; ".join(wrong[:_SHOWN]) + more if wrong else f"all {seen} that it needs",
        fail=bool(wrong),
        remedy=f"pip install 'archive-proc{'[slurm]' if extra else ''}' from the source tree, or mend the environment",
    )


def threads(variables: Mapping[str, str]) -> Finding:
    """One thread a task: another number in the environment goes before ours."""
    other = [f"{name}={variables[name]}" for name in THREAD_VARIABLES if variables.get(name, "1") != "1"]
    return judged(
        PART,
        "threads",
        "AP-DOC-002",
        ", ".join(other) if other else "one a task",
        warn=bool(other),
        remedy="unset them: every worker would start so many threads, and sums may differ in the last bit",
    )


def kernels_kept(variables: Mapping[str, str]) -> Finding:
    """A directory for compiled kernels: without one no kernel is made at all."""
    asked = variables.get("NUMBA_CACHE_DIR")
    beside = Path(__file__).resolve().parents[2] / "kernels" / "loops" / "__pycache__"
    places = [Path(asked)] if asked else [beside, Path.home() / ".cache" / "numba"]
    kept = next((place for place in places if writable(place)), None)
    return judged(
        PART,
        "kernels' cache",
        "AP-DOC-003",
        f"{kept}" if kept else f"cannot be written: {', '.join(map(str, places))}",
        fail=kept is None,
        remedy="set NUMBA_CACHE_DIR to a directory that you may write, also in the workers' prologue",
    )


def writable(directory: Path) -> bool:
    """Whether a directory can be made and written."""
    probe = directory / f".doctor-{uuid.uuid4().hex}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def open_files(site: SiteProfile) -> Finding:
    """The limit on open files: a driver raises its own as far as it may."""
    needs, may = files_needed(site.workers or os.cpu_count() or 1), files_allowed()
    return judged(
        PART,
        "open files",
        "AP-DOC-004",
        f"{'no limit' if may >= NO_LIMIT else f'{may} at once'}; a driver of this site needs {needs}",
        warn=may < needs,
        remedy=f"ulimit -Hn {needs} before the command, or ask whoever set the limit",
    )


def cores(site: SiteProfile) -> Finding:
    """Workers against the cores that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = 1 if site.backend == "serial" else site.workers or os.cpu_count() or 1
    return judged(
        PART,
        "cores",
        "AP-DOC-005",
        f"{workers} workers on {usable} cores",
        warn=workers > usable,
        remedy=f"workers = {usable} in the site's profile, or --workers {usable}",
    )


def memory(site: SiteProfile) -> Finding:
    """What all workers together may take, against what the machine (or this process's share of it) has."""
    import psutil

    has = min(psutil.virtual_memory().total, _share() or sys.maxsize)
    workers = 1 if site.backend == "serial" else site.workers or os.cpu_count() or 1
    wants = int(workers * site.memory_per_worker_gb * 1e9)
    return judged(
        PART,
        "memory",
        "AP-DOC-005",
        f"{workers} workers of {site.memory_per_worker_gb:g} GB, the machine has {size_text(has)}",
        warn=wants > has,
        remedy="fewer workers, or a lower memory_per_worker_gb: when all are full the system ends one of them",
    )


def _share() -> int | None:
    """Memory that this process's control group may use; None where nothing limits it."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return int(Path(path).read_text())
        except (OSError, ValueError):
            continue
    return None
