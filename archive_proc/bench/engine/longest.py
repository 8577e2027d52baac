"""One sequence of 3,360 planes in a semester's mix: who works while it is reduced, and when it ends.

Stand-ins of measured cost on the real engine, every second shortened alike: bundles, chunks and priorities are those of
life, and what the engine needs between two tasks weighs as much more.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from archive_proc.bench.engine import cookbook
from archive_proc.bench.engine.measuring import Order, apart
from archive_proc.bench.engine.semester import LONGEST, RAW_NAME, ROOT, THE_LONGEST, semester_plan
from archive_proc.bench.figures import Figure
from archive_proc.bench.run_records import seconds
from archive_proc.execution.clusters import DaskLocal
from archive_proc.execution.executor import execute
from archive_proc.execution.outcome import RunOptions
from archive_proc.execution.played import DaskPlayed
from archive_proc.model.events import TaskEnded
from archive_proc.model.processes import State
from archive_proc.settings import SiteProfile
from archive_proc.storage.journal import read_journal
from archive_proc.storage.layout import Layout

BUSY_AIM = 0.9
END_AIM = 0.95
"""Of the run: what ends later is its tail."""
_HEIGHT, _WIDTH = 32, 64
"""Of a plane, pixels: nothing is to be read. Chunks hold as many planes as of those of the detector's size."""
_CHUNK_GB = SiteProfile(name="", backend="").chunk_gb * _HEIGHT * _WIDTH / (1024 * 2048)
_SPEED = {False: 60.0, True: 10.0}
_PROCESSES = {False: 120, True: 2000}
"""Stand-ins beside it, on real workers and on played ones: a run of a minute or two, its chain a part of that."""


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """Of a run with one long sequence."""

    processes: int
    not_done: int
    tasks: int
    """Of the long sequence."""
    busy: float
    """Share of the workers' time that they spent in tasks, from its first one to its last."""
    hands: int
    """Worker processes that did a part of it."""
    ended: float
    """When its last task did, as a share of the run: 1 is the run's end."""
    stretch: float
    """The run over what all tasks take, shared evenly."""


def measure(order: Order) -> Shares:
    """Run it in this process. `order.root`: an empty directory."""
    root = Path(order.root)
    plan, frames = semester_plan(order.processes, speed=order.speed, longest=True, height=_HEIGHT, width=_WIDTH)
    layout = Layout(root / "archive")
    (root / "raw").mkdir(parents=True)
    (root / "raw" / RAW_NAME).touch()
    backend = DaskPlayed(order.workers, order.speed, seal=True) if order.played else DaskLocal(order.workers, 2.0)
    options = RunOptions(raw_roots={ROOT: root / "raw"}, cookbook=cookbook.MODULE, progress=False, backend=backend)
    outcome = execute(plan, layout, frames, SiteProfile(name="bench", backend="local", chunk_gb=_CHUNK_GB), options)
    tasks = [one for one in read_journal(layout.journal(outcome.run_id)).events if isinstance(one, TaskEnded)]
    long = {one.process.process_id for one in plan.processes if one.process.subject.subject_id == THE_LONGEST}
    n = len(plan.processes)
    return shares(tasks, long, order.workers, processes=n, not_done=n - outcome.counts.get(State.DONE, 0))


def shares(tasks: Sequence[TaskEnded], long: Collection[str], workers: int, *, processes: int, not_done: int) -> Shares:
    """From the tasks of a run; `long`: processes of the long sequence."""
    spans = [(seconds(one.started_at), seconds(one.started_at) + one.wall_s) for one in tasks]
    mine = [at for at, one in enumerate(tasks) if one.process_id in long]
    begin, end = min(spans[at][0] for at in mine), max(spans[at][1] for at in mine)
    first, last = min(start for start, _ in spans), max(stop for _, stop in spans)
    busy = sum(max(0.0, min(stop, end) - max(start, begin)) for start, stop in spans)
    return Shares(
        processes=processes,
        not_done=not_done,
        tasks=len(mine),
        busy=busy / (workers * (end - begin)),
        hands=len({(tasks[at].host, tasks[at].pid) for at in mine}),
        ended=(end - first) / (last - first),
        stretch=workers * (last - first) / sum(stop - start for start, stop in spans),
    )


def longest_figures(workers: int, work: Path, *, played: bool) -> list[Figure]:
    """The figures of one run, in a process of its own, on so many real or played workers."""
    order = Order(
        kind="longest",
        processes=_PROCESSES[played],
        workers=workers,
        root=str(work),
        speed=_SPEED[played],
        played=played,
    )
    found = apart(__name__, order, Shares)
    kind = f"{'played' if played else 'real'} workers, {_SPEED[played]:g} x"
    case = f"{LONGEST} planes among {found.processes} stand-ins of a semester, {workers} {kind}"
    n = found.tasks
    figures = [
        Figure(case=case, name="workers' time in tasks, while it is reduced", value=found.busy, unit="1",
               aim=BUSY_AIM, at_least=True, n=n),
        Figure(case=case, name="its end, of the run", value=found.ended, unit="1", aim=END_AIM, n=n),
        Figure(case=case, name="the run, over its tasks shared evenly", value=found.stretch, unit="1", n=n),
        Figure(case=case, name="not done", value=float(found.not_done), unit="1", aim=0.0, n=found.processes),
    ]  # fmt: skip
    if not played:  # players share a process
        hands = Figure(
            case=case, name="workers that did a part of it", value=float(found.hands), unit="1", aim=float(workers),
            at_least=True, n=n,
        )  # fmt: skip
        figures.insert(1, hands)
    return figures


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(measure(msgspec.json.decode(sys.argv[1], type=Order))).decode())
