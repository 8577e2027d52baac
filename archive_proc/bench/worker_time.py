"""Where the time of a run's workers went: every moment of every worker in one category, 100 % by construction."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archive_proc.bench.run_records import RunRecords, Stretch, seconds
from archive_proc.model.events import TaskEnded
from archive_proc.model.phases import Phase, PhaseCost

CATEGORIES = {
    Phase.START: "start-up: interpreter, imports, connecting, loading compiled kernels",
    Phase.COMPILE: "compile kernels: once a machine and package",
    Phase.RAW: "read raw FITS planes, inflating them",
    Phase.READ: "read Zarr of the main product, keep planes between blocks",
    Phase.CALIBRATIONS: "load calibrations",
    Phase.BLOCK: "recipe: block",
    Phase.REDUCE: "recipe: reduce",
    Phase.CLOSE: "recipe: close",
    Phase.WRITE: "encode and write Zarr",
    Phase.DIGEST: "digests and checksums",
    Phase.SEAL: "verify, seal, fsync, rename",
    Phase.TASK: "task overhead: spec, receipts, plane tables",
}
BETWEEN = "between tasks: scheduler, network (gaps up to 0.2 s)"
IDLE = "idle: nothing to do, waiting for others"
SHORT_GAP_S = 0.2
"""Between two tasks of one worker: shorter is the engine's doing, longer a lack of work."""


@dataclass(frozen=True, slots=True)
class Share:
    """One category of the budget."""

    name: str
    wall_s: float
    cpu_s: float
    share: float
    """Of workers x wall, %."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Where the time of a run's workers went."""

    shares: tuple[Share, ...]
    """Add up to 100 %."""
    worker_s: float
    """Workers x wall time."""
    cpu_s: float
    """CPU of the workers, start-up included."""


def worker_time(records: RunRecords) -> Budget:
    """The budget of a run. What a vanished worker did is idle: nobody told."""
    spent: dict[str, PhaseCost] = dict.fromkeys([*CATEGORIES.values(), BETWEEN], PhaseCost())

    def add(name: str, wall_s: float, cpu_s: float = 0.0) -> None:
        spent[name] = spent.get(name, PhaseCost()).plus(PhaseCost(wall_s, cpu_s))

    total = 0.0
    for stretch in records.stretches:
        total += stretch.workers * stretch.wall_s
        for wall_s, cpu_s in _starts(stretch):
            add(CATEGORIES[Phase.START], wall_s, cpu_s)
        for task in stretch.tasks:
            for phase, cost in task.phases.items():
                known = phase in {one.value for one in Phase}
                add(CATEGORIES[Phase(phase)] if known else phase, cost.wall_s, cost.cpu_s)
        add(BETWEEN, sum(gap for gap in _gaps(stretch.tasks) if gap <= SHORT_GAP_S))
    busy = sum(one.wall_s for one in spent.values())
    # Clocks of several hosts may disagree by more than the idle time: then there was none.
    total = max(total, busy)
    spent[IDLE] = PhaseCost(total - busy)
    shares = tuple(
        Share(name, cost.wall_s, cost.cpu_s, 100.0 * cost.wall_s / total if total else 0.0)
        for name, cost in spent.items()
    )
    return Budget(shares, total, sum(one.cpu_s for one in shares))


def _starts(stretch: Stretch) -> Iterable[tuple[float, float]]:
    """(wall, CPU) s until each worker could begin: of the first ones since the run began, of later ones since birth."""
    for number, one in enumerate(sorted(stretch.ready, key=lambda ready: ready.ready_at)):
        since_begin = max(0.0, seconds(one.ready_at) - stretch.begin)
        yield (since_begin if number < stretch.workers else one.wall_s), one.cpu_s


def _gaps(tasks: Sequence[TaskEnded]) -> Iterable[float]:
    """S between two tasks of one worker."""
    for mine in by_worker(tasks).values():
        for before, after in itertools.pairwise(mine):
            yield max(0.0, seconds(after.started_at) - seconds(before.started_at) - before.wall_s)


def by_worker(tasks: Iterable[TaskEnded]) -> dict[tuple[str, int], list[TaskEnded]]:
    """Tasks by (host, pid), in order of their starts."""
    found: dict[tuple[str, int], list[TaskEnded]] = {}
    for one in sorted(tasks, key=lambda task: task.started_at):
        found.setdefault((one.host, one.pid), []).append(one)
    return found


def idle_while_blocks_were_left(tasks: Sequence[TaskEnded], workers: int) -> tuple[float, ...]:
    """Idle share (0 to 1) of each worker from the first start of a block to the last one, the idlest last.

    As long as a block is still to start there is work for everybody. Empty where there are fewer than two blocks a
    worker.
    """
    blocks = [one for one in tasks if one.task.startswith("block")]
    if len(blocks) < 2 * workers:
        return ()
    starts = [seconds(one.started_at) for one in blocks]
    begin, stop = min(starts), max(starts)
    if stop <= begin:
        return ()
    idle = []
    for mine in by_worker(blocks).values():
        spans = [(seconds(one.started_at), seconds(one.started_at) + one.wall_s) for one in mine]
        busy = sum(max(0.0, min(stop, end) - start) for start, end in spans)
        idle.append(max(0.0, 1.0 - busy / (stop - begin)))
    idle += [1.0] * (workers - len(idle))
    return tuple(sorted(idle))
