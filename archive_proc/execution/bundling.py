"""Bundles: one task that lasts, or short ones, about a minute together.

What Dask costs a task is shared among them. Chunks of the same process come first, then processes of the same night,
whose calibrations the worker has in its cache, then any: to send them by themselves would load theirs all the same. The
less is left to do, the shorter bundles are, so that all workers end together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from archive_proc.execution.calls import Bundle, TaskCall, WorkerSettings
from archive_proc.execution.memory_sizes import MARGIN, fitting_gb
from archive_proc.execution.ready import Entry, ReadyQueue
from archive_proc.execution.work import ProcessWork
from archive_proc.model.ids import ProcessId
from archive_proc.model.processes import PlannedProcess, Process

BUNDLE_S = (60.0, 120.0)
"""Predicted length that a bundle aims at, and that it never exceeds by adding to it."""
FOLLOWS_S = BUNDLE_S[1] - BUNDLE_S[0]
"""What lasts longer is never added to a bundle."""
Due = tuple[TaskCall, float]
"""A task that could be sent, and its predicted seconds."""
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
    workers: int = 1
    """That a run may have at once."""
    queue: ReadyQueue = field(default_factory=ReadyQueue)
    _made: int = 0

    def add(self, planned: PlannedProcess, priority: float) -> None:
        """A process that nobody has begun with."""
        seconds, larger = planned.prediction.cpu_s, self._larger(MARGIN * planned.prediction.memory_gb)
        self.queue.push(self._entry(planned.process, priority, (seconds, seconds), larger, alone=False))

    def _entry(
        self, process: Process, priority: float, seconds: tuple[float, float], larger: float, *, alone: bool
    ) -> Entry:
        alone = alone or (bool(larger) and self.one_machine)
        return Entry(
            process_id=process.process_id,
            priority=priority,
            seconds=seconds[0],
            waiting_s=seconds[1],
            group=f"{process.night} {process.subject.arm}",
            follows=seconds[0] <= FOLLOWS_S and not (alone or larger),
            alone=alone,
            memory_gb=larger,
        )

    def _larger(self, needs_gb: float) -> float:
        """Size of the larger worker that is needed; 0 for a normal one."""
        size = fitting_gb(self.sizes, needs_gb)
        return size if self.sizes and size > self.sizes[0] else 0.0

    def add_work(self, work: ProcessWork) -> None:
        """A process with waiting tasks."""
        larger = self._larger(work.needs_gb)
        work.had_gb = larger or (self.sizes[0] if self.sizes else 0.0)
        each = [work.seconds(one) for one in work.waiting]
        self.queue.push(self._entry(work.process, work.priority, (each[0], sum(each)), larger, alone=work.alone))

    @property
    def wanted_s(self) -> float:
        """What a bundle should last now."""
        return min(BUNDLE_S[0], self.queue.seconds / self.window)

    @property
    def whole_s(self) -> float:
        """Up to so many seconds a process is not worth cutting into chunks: other work keeps the workers busy."""
        return min(BUNDLE_S[1], 2.0 * self.wanted_s)

    def make(self, due: Callable[[ProcessId], Due | None]) -> Bundle | None:
        """A bundle that begins with the longest chain. `due` gives the next task of a process; None: it has none."""
        wanted, lead = self.wanted_s, self.queue.pop()
        first = due(lead.process_id) if lead is not None else None
        if lead is None or first is None:
            return None
        calls, seconds = [first[0]], first[1]
        others = first[0].task.kind == "all" or not self._is_the_tail(lead)
        for mate in self._mates(lead, wanted - seconds, others=others):
            if (task := due(mate.process_id)) is not None:
                calls.append(task[0])
                seconds += task[1]
        self._made += 1
        return Bundle(
            number=self._made,
            settings=self.settings,
            calls=tuple(calls),
            seconds=seconds,
            memory_gb=lead.memory_gb,
        )

    def _is_the_tail(self, lead: Entry) -> bool:
        """Whether a chain lasts longer than all else that is known to be left, shared evenly.

        In chunks, its next step waits for the bundle to end: a minute of other work at each of the nine of a sequence
        of 3,360 planes, and the whole run would wait for that.
        """
        return lead.priority * self.workers > self.queue.seconds

    def _mates(self, lead: Entry, wanted_s: float, *, others: bool) -> Iterator[Entry]:
        """What goes with the leader: chunks of its process, and `others`.

        Chunks of a process that is short of memory, or suspected, go with none but it.
        """
        count = BUNDLE_CALLS - 1
        while not lead.alone and wanted_s > 0 and count:
            more = self.queue.best()
            if more is None or more.process_id != lead.process_id or more.seconds > FOLLOWS_S:
                break
            self.queue.pop()
            wanted_s, count = wanted_s - more.seconds, count - 1
            yield more
        if others and not (lead.alone or lead.memory_gb):
            yield from self.queue.mates(lead.group, wanted_s, count)
