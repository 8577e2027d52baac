"""A SLURM site: its commands, its controller, its partition, and whether its jobs fit."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator, Mapping

from archive_proc.execution.doctor.finding import Finding, judged
from archive_proc.execution.driver_memory import driver_needs_gb
from archive_proc.execution.slurm_queries import answer
from archive_proc.execution.slurm_scripts import encrypted, lifetime_s, slurm_of
from archive_proc.settings import SiteProfile, walltime_seconds

PART = "scheduler"
TOOLS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
LIMITLESS = frozenset({"UNLIMITED", "INFINITE", ""})
_MIB = 2**20


def scheduler(site: SiteProfile) -> Iterator[Finding]:
    """Commands, controller, partition and its limits."""
    missing = [one for one in TOOLS if shutil.which(one) is None]
    yield judged(
        PART,
        "commands",
        "AP-DOC-020",
        f"not on this machine: {', '.join(missing)}" if missing else ", ".join(TOOLS),
        fail=bool(missing),
        remedy="work on a login node of the cluster, or load the site's SLURM module",
    )
    if missing:
        return
    ping = answer(["scontrol", "ping"])
    up = ping is not None and " UP" in ping[0]
    yield judged(
        PART,
        "controller",
        "AP-DOC-021",
        " ".join((ping[0] if ping else "it does not answer").split()),
        fail=not up,
        remedy="wait for it, or ask the site: nothing can be submitted now",
    )
    if up:
        yield from partition(site)


def partition(site: SiteProfile) -> Iterator[Finding]:
    """The partition of worker jobs, and of a detached driver."""
    slurm = slurm_of(site)
    known = partitions((answer(["scontrol", "-o", "show", "partition"]) or ("", ""))[0])
    default = next((name for name, facts in known.items() if facts.get("Default") == "YES"), "")
    name = slurm.partition or default
    facts = known.get(name)
    if facts is None:
        yield judged(
            PART,
            "partition",
            "AP-DOC-022",
            f"there is no {name!r}" if name else "the site has no default partition",
            fail=True,
            remedy=f"set slurm.partition to one of {', '.join(sorted(known)) or 'those that sinfo shows'}",
        )
        return
    state = facts.get("State", "")
    yield judged(
        PART,
        "partition",
        "AP-DOC-022",
        f"{name}{'' if slurm.partition else ' (default)'}, {state}, {facts.get('TotalNodes', '?')} nodes, "
        f"jobs up to {facts.get('MaxTime', '?')}",
        fail=state != "UP",
        remedy="choose another, or wait: jobs would be refused or never start",
    )
    yield fits_time("walltime", slurm.walltime, name, facts)
    driver = slurm.driver_partition or name
    if driver in known:
        yield fits_time("driver_walltime", slurm.driver_walltime, driver, known[driver], needed=False)
    nodes = answer(["sinfo", "-h", "-e", "-p", name, "-o", "%c %m %D %T"])
    if nodes is not None:
        yield fits_nodes(site, nodes[0])


def partitions(text: str) -> dict[str, Mapping[str, str]]:
    """Partitions of `scontrol -o show partition`: name -> its facts."""
    found: dict[str, Mapping[str, str]] = {}
    for line in text.splitlines():
        facts = dict(re.findall(r"(\S+?)=(\S*)", line))
        if "PartitionName" in facts:
            found[facts["PartitionName"]] = facts
    return found


def fits_time(key: str, asked: str, name: str, facts: Mapping[str, str], *, needed: bool = True) -> Finding:
    """Whether the partition takes jobs that long; `needed`: without it no work is done."""
    limit = facts.get("MaxTime", "")
    most = None if limit in LIMITLESS else walltime_seconds(limit)
    wanted = walltime_seconds(asked) or 0
    long = most is not None and wanted > most
    return judged(
        PART,
        key,
        "AP-DOC-023",
        f"{asked} of at most {limit or 'any'} in {name}",
        fail=long and needed,
        warn=long,
        remedy=f"slurm.{key} = {limit!r} or less in the site's profile",
    )


def fits_nodes(site: SiteProfile, text: str) -> Finding:
    """Whether a worker job fits any node; `text`: CPUs, MiB, number and state a line."""
    slurm = slurm_of(site)
    rows = [line.split() for line in text.splitlines()]
    sizes = [(int(row[0].rstrip("+")), int(row[1].rstrip("+"))) for row in rows if len(row) == 4]
    size = f"{slurm.workers_per_job} CPUs and {site.job_memory_gb:.1f} GB"
    need_mib = site.job_memory_gb * 1e9 / _MIB
    fit = any(cpus >= slurm.workers_per_job and mib >= need_mib for cpus, mib in sizes)
    largest = max(sizes, default=(0, 0), key=lambda one: (one[1], one[0]))
    states = sorted({row[3].rstrip("*~#!%$@^-") for row in rows if len(row) == 4})
    return judged(
        PART,
        "job size",
        "AP-DOC-024",
        f"{size} a job; largest node {largest[0]} CPUs, {largest[1] * _MIB / 1e9:.1f} GB; nodes {', '.join(states)}",
        fail=not fit,
        remedy="fewer workers_per_job, or a lower memory_per_worker_gb: such a job never starts",
    )


def worker_jobs(site: SiteProfile) -> Iterator[Finding]:
    """What the profile says about its jobs, apart from what SLURM says."""
    slurm = slurm_of(site)
    limits = slurm.workers_per_job * site.memory_per_worker_gb
    yield judged(
        "site",
        "job memory",
        "AP-DOC-024",
        f"{site.job_memory_gb:.1f} GB for {slurm.workers_per_job} workers of {site.memory_per_worker_gb:g} GB",
        warn=site.job_memory_gb < 1.1 * limits,
        remedy="job_memory_gb = 0 lets it follow the workers: SLURM counts their nannies, too",
    )
    lifetime, stagger = lifetime_s(slurm)
    wall = walltime_seconds(slurm.walltime) or 0
    said = f"workers take tasks for {lifetime / 60:.0f} min, give or take {stagger / 60:.0f}, of {wall / 60:.0f}"
    yield judged(
        "site",
        "lifetime",
        "AP-DOC-025",
        said if lifetime else f"workers run into the walltime of {slurm.walltime}",
        warn=not lifetime or lifetime + stagger > wall,
        remedy="retire_minutes of at least the longest chunk and 5 min: a worker ends once its last task is done, and "
        "what runs at the walltime is lost",
    )
    yield from network(site)


def driver_job(site: SiteProfile, raw_files: int) -> Finding:
    """Whether the job of a detached driver holds what the archive knows."""
    asks, needs = slurm_of(site).driver_memory_gb, driver_needs_gb(raw_files)
    return judged(
        "site",
        "driver memory",
        "AP-RUN-074",
        f"{asks:g} GB with run --detach; {raw_files} raw files need about {needs:.1f}",
        warn=asks < needs,  # without --detach no job limits it
        remedy=f"slurm.driver_memory_gb = {needs:.1f} or more in the site's profile",
    )


def network(site: SiteProfile) -> Iterator[Finding]:
    """Interface, a port on it, encryption."""
    import psutil

    slurm = slurm_of(site)
    known = psutil.net_if_addrs()
    addresses = [one.address for one in known.get(slurm.interface, ()) if one.family == socket.AF_INET]
    yield judged(
        "site",
        "interface",
        "AP-RUN-047",
        f"{slurm.interface} {', '.join(addresses)}" if addresses else slurm.interface or "the one with the route",
        fail=bool(slurm.interface) and not addresses,
        remedy=f"slurm.interface: one of {', '.join(sorted(known))} that driver and nodes share",
    )
    yield port(addresses[0] if addresses else "")
    safe = encrypted(site)
    try:
        import cryptography  # noqa: F401
    except ImportError:
        able = False
    else:
        able = True
    yield judged(
        "site",
        "encryption",
        "AP-DOC-026",
        ("TLS, keys made for each run" if able else "TLS is needed, and cryptography is not installed")
        if safe
        else "none: the traffic stays on this host",
        fail=safe and not able,
        remedy="pip install '.[slurm]'",
    )


def port(address: str) -> Finding:
    """Whether the scheduler could listen: it takes any free port, so none can be in use."""
    try:
        with socket.create_server((address, 0)) as server:
            said, wrong = f"any free one, now {server.getsockname()[1]}", False
    except OSError as error:
        said, wrong = f"cannot listen on {address or 'this host'}: {error.strerror}", True
    return judged(
        "site",
        "port",
        "AP-DOC-027",
        said,
        fail=wrong,
        remedy="close what holds the ports, or ask the site to let programs listen on this host",
    )
