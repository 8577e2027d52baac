"""What ends by force, or freezes, while a run goes on: jobs, workers, nannies, the driver, SLURM's controller."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

from archive_proc.bench.faults.children import Child
from archive_proc.bench.faults.on_slurm.cluster import Cluster
from archive_proc.execution.liveness import alive
from archive_proc.execution.meters import Mark
from archive_proc.storage.layout import Layout

PATIENCE_S = 240.0
"""For somebody to strike at: on a busy machine a replaced worker needs a minute until it works."""
KILL_DRIVER, CONTROLLER_AWAY, FREEZE = "kill driver", "slurmctld away", "job frozen"
MOST_KILLS = 2
"""A process whose worker dies under it for a third time is poison, and rightly so: no process is struck that often."""


@dataclass(slots=True)
class Scene:
    """A run that goes on, and what was done to it so far."""

    cluster: Cluster
    root: Path
    child: Child
    rng: random.Random
    spared: frozenset[str]
    """Processes that misbehave by themselves."""
    down_s: float
    """How long the controller stays away."""
    kills: Counter[str] = field(default_factory=Counter)
    """Process -> workers killed under it."""
    struck: set[int] = field(default_factory=set)
    """Workers that are dead or about to be."""


@dataclass(frozen=True, slots=True)
class Victim:
    """A task that executes in a worker of a job."""

    process_id: str
    task: str
    pid: int
    job: str


def executing(root: Path) -> list[Victim]:
    """Tasks that execute now, in living workers."""
    found = []
    for path in sorted(Layout(root).pending.glob("*/marks/*.json")):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            mark = msgspec.json.decode(path.read_bytes(), type=Mark)
            if mark.writer.job and alive(mark.writer):
                process_id = path.parents[1].name.partition(".")[0]
                found.append(Victim(process_id, mark.task.label, mark.writer.pid, mark.writer.job))
    return found


def _victim(scene: Scene) -> Victim | None:
    """Somebody at work who may be struck; None where the run ended first, or nobody came."""
    until = time.monotonic() + PATIENCE_S
    while scene.child.poll() is None and time.monotonic() < until:
        able = [
            one
            for one in executing(scene.root)
            if one.process_id not in scene.spared
            and scene.kills[one.process_id] < MOST_KILLS
            and one.pid not in scene.struck
        ]
        if able:
            chosen = scene.rng.choice(able)
            scene.struck.add(chosen.pid)
            return chosen
        time.sleep(0.02)
    return None


def _scancel(scene: Scene) -> str:
    one = _victim(scene)
    if one is None or scene.cluster.tell("scancel", one.job):
        return ""
    return f"job {one.job} at {one.task}"


def _kill_worker(scene: Scene) -> str:
    one = _victim(scene)
    if one is None or not _killed(one.pid):
        return ""
    scene.kills[one.process_id] += 1
    return f"worker of job {one.job} at {one.task}"


def _kill_nanny(scene: Scene) -> str:
    one = _victim(scene)
    if one is None:
        return ""
    with contextlib.suppress(psutil.Error):
        nanny = psutil.Process(one.pid).parent()
        # Never anybody but a nanny: an orphan's parent is process 1.
        if nanny is not None and "dask_worker" in " ".join(nanny.cmdline()) and _killed(nanny.pid):
            scene.kills[one.process_id] += 1
            return f"nanny of job {one.job} at {one.task}"
    return ""


def _freeze(scene: Scene) -> str:
    """Stop a worker and its nanny: deaf to SLURM's warning, until it wakes them at the walltime to end them."""
    one = _victim(scene)
    if one is None:
        return ""
    with contextlib.suppress(psutil.Error):
        worker = psutil.Process(one.pid)
        nanny = worker.parent()
        if nanny is not None and "dask_worker" in " ".join(nanny.cmdline()):
            nanny.suspend()
            worker.suspend()
            return f"job {one.job} at {one.task}"
    return ""


def _killed(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _requeue(scene: Scene) -> str:
    """Our jobs forbid it; an administrator may still, and then a twin comes back."""
    one = _victim(scene)
    if one is None:
        return ""
    scene.cluster.tell("scontrol", "update", f"JobId={one.job}", "Requeue=1")
    if scene.cluster.tell("scontrol", "requeue", one.job):
        return ""
    return f"job {one.job} at {one.task}"


def _kill_driver(scene: Scene) -> str:
    # Somebody executes: there is something to lose.
    if _victim(scene) is None or scene.child.poll() is not None:
        return ""
    os.kill(scene.child.pid, signal.SIGKILL)
    return "driver and scheduler"


def _controller_away(scene: Scene) -> str:
    if (not executing(scene.root) and _victim(scene) is None) or not scene.cluster.kill_controller():
        return ""
    until = time.monotonic() + scene.down_s
    other = ""
    if (one := _victim(scene)) is not None and scene.kills[one.process_id] == 0 and _killed(one.pid):
        scene.kills[one.process_id] += 1  # a worker that dies while nobody can be asked about its job
        other = ", a worker killed meanwhile"
    while time.monotonic() < until:
        time.sleep(0.2)
    scene.cluster.mend()
    return f"slurmctld away for {scene.down_s:.0f} s{other}"


STRIKES: Mapping[str, Callable[[Scene], str]] = {
    "scancel": _scancel,
    "kill worker": _kill_worker,
    "kill nanny": _kill_nanny,
    "requeue": _requeue,
    FREEZE: _freeze,
    KILL_DRIVER: _kill_driver,
    CONTROLLER_AWAY: _controller_away,
}
"""Each says what it struck; empty where the run had ended, or it was refused."""
