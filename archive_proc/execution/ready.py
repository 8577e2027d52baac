"""What could be sent to workers now: longest chain first, short tasks of one night together. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from archive_proc.model.ids import ProcessId


@dataclass(frozen=True, slots=True)
class Entry:
    """A process of which something could run."""

    process_id: ProcessId
    priority: float
    """Predicted seconds from here to the end of its longest chain."""
    seconds: float
    """Predicted, of the next task."""
    waiting_s: float
    """Predicted, of all its tasks that could be sent now."""
    group: str
    """Processes of one group share their calibrations."""
    follows: bool = True
    """Short enough to travel behind another; what does not follow only leads."""
    alone: bool = False
    """To be tried with nothing else in flight."""
    memory_gb: float = 0.0
    """Of the larger worker that it needs; 0: a normal one will do."""

    @property
    def _place(self) -> tuple[float, ProcessId]:
        return -self.priority, self.process_id


@dataclass(slots=True)
class ReadyQueue:
    """Entries by priority, over all and within their group; a process is in it at most once."""

    seconds: float = 0.0
    """Predicted, of all that could be sent."""
    _entries: dict[ProcessId, Entry] = field(default_factory=dict)
    # Heaps of (-priority, process id). What was taken through the one stays in the other until it comes up there.
    _all: list[tuple[float, ProcessId]] = field(default_factory=list)
    _groups: dict[str, list[tuple[float, ProcessId]]] = field(default_factory=dict)
    _short: list[tuple[float, ProcessId]] = field(default_factory=list)
    """Of all groups, like `_groups`: those that may follow."""

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, entry: Entry) -> None:
        """Add an entry, in place of an earlier one of its process."""
        before = self._entries.get(entry.process_id)
        self._entries[entry.process_id] = entry
        self.seconds += entry.waiting_s - (before.waiting_s if before is not None else 0.0)
        heapq.heappush(self._all, entry._place)
        if entry.follows:
            heapq.heappush(self._groups.setdefault(entry.group, []), entry._place)
            heapq.heappush(self._short, entry._place)

    def best(self) -> Entry | None:
        """The one with the longest chain behind it; it stays."""
        return self._head(self._all)

    def pop(self) -> Entry | None:
        """The same, taken out."""
        best = self.best()
        return self._take(best) if best is not None else None

    def mates(self, group: str, wanted_s: float, count: int) -> Iterator[Entry]:
        """What may follow, longest chain first, those of a group before the others, each taken out as it is given: up
        to `count`, until `wanted_s` are together.
        """
        together, given = 0.0, 0
        for heap in (self._groups.get(group, []), self._short):
            while given < count and together < wanted_s and (head := self._head(heap)) is not None:
                together, given = together + head.seconds, given + 1
                yield self._take(head)
        if not self._groups.get(group, True):
            del self._groups[group]

    def _head(self, heap: list[tuple[float, ProcessId]]) -> Entry | None:
        while heap:
            entry = self._entries.get(heap[0][1])
            if entry is not None and entry._place == heap[0] and (entry.follows or heap is self._all):
                return entry
            heapq.heappop(heap)
        return None

    def _take(self, entry: Entry) -> Entry:
        del self._entries[entry.process_id]
        self.seconds = self.seconds - entry.waiting_s if self._entries else 0.0
        return entry
