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
TIMED_OUT, PREEMPTED, NODE_FAILS = "job timed out", "job preempted", "node fails"
ENDS: Mapping[str, str] = {NODE_FAILS: "NODE_FAIL", PREEMPTED: "PREEMPTED", TIMED_OUT: "TIMEOUT"}
"""Strike -> SLURM's word for the end of the job, which has to be on record."""
URGENT = "urgent"
"""The partition whose jobs take the place of others."""
_END_S = 90.0
"""SLURM looks at time limits every half a minute."""
_AGAIN_S = 0.02
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
        if both := _with_its_nanny(one.pid):
            for process in both:
                process.suspend()
            return f"job {one.job} at {one.task}"
    return ""


def _time_out(scene: Scene) -> str:
    """The walltime is over, and nobody in the job heeds any signal: SLURM kills it when its patience ends."""
    one = _victim(scene)
    if one is None:
        return ""
    deaf = _with_its_nanny(one.pid)
    for process in deaf:
        process.suspend()
    # SLURM wakes what is stopped before it says that the time is over: it is stopped again before it can answer.
    if len(deaf) < 2 or scene.cluster.tell("scontrol", "update", f"JobId={one.job}", "EndTime=now"):
        return ""
    until = time.monotonic() + _END_S
    while deaf and time.monotonic() < until:
        deaf = [process for process in deaf if _stopped(process)]
        time.sleep(_AGAIN_S)
    return f"job {one.job} at {one.task}"


def _with_its_nanny(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        worker = psutil.Process(pid)
        nanny = worker.parent()
        if nanny is not None and "dask_worker" in " ".join(nanny.cmdline()):
            return [nanny, worker]
    return []


def _stopped(process: psutil.Process) -> bool:
    """Stop it again; False where it is gone."""
    with contextlib.suppress(psutil.Error):
        process.suspend()
        return _works(process.pid)
    return False


def _preempt(scene: Scene) -> str:
    """A job of a higher partition wants the whole node."""
    one, node = _with_its_node(scene)
    whole = ("-p", URGENT, "-w", node, "--exclusive", "-t", "1", "-D", "/", "-o", "/dev/null", "--wrap", "sleep 1")
    if one is None or scene.cluster.tell("sbatch", "-Q", *whole):
        return ""
    _wait_for_its_end(one)
    return f"job {one.job} at {one.task}"


def _fail_node(scene: Scene) -> str:
    """The node is taken for dead, with all that runs there, and is back soon."""
    one, node = _with_its_node(scene)
    if one is None or scene.cluster.tell("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=fault"):
        return ""
    _wait_for_its_end(one)
    scene.cluster.tell("scontrol", "update", f"NodeName={node}", "State=RESUME")
    return f"job {one.job} at {one.task}"


def _with_its_node(scene: Scene) -> tuple[Victim | None, str]:
    one = _victim(scene)
    node = scene.cluster.ask("squeue", "-h", "-j", one.job, "-o", "%N") if one is not None else ""
    return (one, node) if node else (None, "")


def _wait_for_its_end(one: Victim) -> None:
    until = time.monotonic() + _END_S
    while _works(one.pid) and time.monotonic() < until:
        time.sleep(_AGAIN_S)


def _works(pid: int) -> bool:
    """Whether a process is there, stopped or not."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return False


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
    TIMED_OUT: _time_out,
    PREEMPTED: _preempt,
    NODE_FAILS: _fail_node,
    KILL_DRIVER: _kill_driver,
    CONTROLLER_AWAY: _controller_away,
}
"""Each says what it struck; empty where the run had ended, or it was refused."""
