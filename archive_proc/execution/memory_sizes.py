"""How much memory a worker can have: a normal one, the larger ones of the profile, on one machine all there is."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import psutil

from archive_proc.settings import SiteProfile

MACHINE_SHARE = 0.9
"""Of a machine's memory that one process may have while nothing else runs: driver and system keep the rest."""
MARGIN = 1.1
"""Between what is predicted and what a worker must have."""
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def sizes_gb(site: SiteProfile) -> tuple[float, ...]:
    """Memory of the workers a site can start, GB, the normal one first, then larger ones; empty: there is no limit.

    Backend local adds what one process may have that runs alone.
    """
    normal = site.memory_per_worker_gb
    if not normal:
        return ()
    larger = {*site.larger_workers_gb, *([machine_gb()] if site.backend == "local" else [])}
    return (normal, *sorted(one for one in larger if one > normal))


def fitting_gb(sizes: Sequence[float], needed_gb: float) -> float:
    """The smallest size that is enough, else the largest; 0 where there is no limit."""
    return next((one for one in sizes if one >= needed_gb), sizes[-1] if sizes else 0.0)


def machine_gb() -> float:
    """What one process of this machine may have, GB: of its memory, or of what its control group leaves it."""
    total = int(psutil.virtual_memory().total)
    with contextlib.suppress(OSError, ValueError):  # no control group, or one without a limit
        total = min(total, int(_CGROUP.read_text()))
    return round(MACHINE_SHARE * total / 1e9, 1)
