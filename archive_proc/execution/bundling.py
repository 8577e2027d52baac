"""Bundles: one task that lasts, or short processes of one night, or chunks of one process, about a minute together.

What Dask costs a task is shared among them, and their calibrations stay in the worker's cache. The less is left to do,
the shorter they are, so that all workers end together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from archive_proc.execution.calls import Bundle, TaskCall, WorkerSettings
from archive_proc.execution.memory_sizes import MARGIN, fitting_gb
from archive_proc.execution.ready import Entry, ReadyQueue
from archive_proc.execution.work import ProcessWork
from archive_proc.model.ids import ProcessId
from archive_proc.model.processes import PlannedProcess, Process

BUNDLE_S = (60.0, 120.0)
"""Predicted length that a bundle aims at, and that it never exceeds by adding to it."""
BUNDLE_CALLS = 200
"""Tasks of one bundle, however short: what is sent back with them stays below a megabyte."""


@dataclass(slots=True, kw_only=True)
class Bundler:
    """What could be sent now (inputs committed, or tasks waiting), and the bundles made of it."""

    settings: WorkerSettings
    sizes: tuple[float, ...] = ()
    """Memory of the workers there are, GB, the normal ones first; empty: not limited."""
    one_machine: bool = False
    """A process that needs a larger worker has the machine for itself."""
    window: int = 1
    """Bundles that are in flight at a time."""
    queue: ReadyQueue = field(default_factory=ReadyQueue)
    _made: int = 0

    def add(self, planned: PlannedProcess, priority: float) -> None:
        """A process that nobody has begun with."""
        process, larger = planned.process, self._larger(MARGIN * planned.prediction.memory_gb)
        group = "" if larger else _group(process)
        alone = bool(larger) and self.one_machine
        self.queue.push(Entry(process.process_id, priority, planned.prediction.cpu_s, group, alone, larger))

    def _larger(self, needs_gb: float) -> float:
        """Size of the larger worker that is needed; 0 for a normal one."""
        size = fitting_gb(self.sizes, needs_gb)
        return size if self.sizes and size > self.sizes[0] else 0.0

    def add_work(self, work: ProcessWork) -> None:
        """A process with waiting tasks; in chunks, or to be tried alone, it travels with no other."""
        larger = self._larger(work.needs_gb)
        work.had_gb = larger or (self.sizes[0] if self.sizes else 0.0)
        alone = work.alone or (bool(larger) and self.one_machine)
        group = "" if work.chunked or alone or larger else _group(work.process)
        seconds = work.planned.prediction.cpu_s / work.tasks
        self.queue.push(Entry(work.process.process_id, work.priority, seconds, group, alone, larger))

    @property
    def wanted_s(self) -> float:
        """What a bundle should last now."""
        return min(BUNDLE_S[0], self.queue.seconds / self.window)

    @property
    def whole_s(self) -> float:
        """Up to so many seconds a process is not worth cutting into chunks: other work keeps the workers busy."""
        return min(BUNDLE_S[1], 2.0 * self.wanted_s)

    def make(self, call: Callable[[ProcessId], TaskCall | None]) -> Bundle | None:
        """A bundle that begins with the longest chain. `call` gives the next task of a process; None: it has none."""
        wanted, limit = self.wanted_s, BUNDLE_S[1]
        lead = self.queue.pop()
        first = call(lead.process_id) if lead is not None else None
        if lead is None or first is None:
            return None
        calls, seconds = [first], lead.seconds
        while lead.group == "" and not lead.alone and seconds < wanted and len(calls) < BUNDLE_CALLS:
            more = self.queue.best()
            if more is None or more.process_id != lead.process_id or seconds + more.seconds > limit:
                break
            self.queue.pop()
            if (chunk := call(more.process_id)) is not None:
                calls.append(chunk)
                seconds += more.seconds
        for mate in self.queue.mates(lead.group, wanted - seconds, limit - seconds, BUNDLE_CALLS - 1):
            if (task := call(mate.process_id)) is not None:
                calls.append(task)
                seconds += mate.seconds
        self._made += 1
        # Preparing takes no time to speak of: what is predicted of its process are the chunks that wait for it.
        seconds -= lead.seconds if first.task.kind == "prepare" else 0.0
        return Bundle(
            number=self._made,
            settings=self.settings,
            calls=tuple(calls),
            seconds=seconds,
            memory_gb=lead.memory_gb,
        )


def _group(process: Process) -> str:
    """Processes of one night and arm share their calibrations."""
    return f"{process.night} {process.subject.arm}"
