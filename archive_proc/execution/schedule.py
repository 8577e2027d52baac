"""Which process may run next: dependencies resolved by the driver, longest remaining path first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from archive_proc.model.ids import ProcessId
from archive_proc.model.processes import PlannedProcess, State

SETTLED = frozenset(
    {State.DONE, State.CACHED, State.FAILED, State.BLOCKED, State.LOST, State.CANCELLED, State.QUARANTINED}
)


class Schedule:
    """States of a plan's processes. Processes appear in it once each; sources outside it were judged before."""

    def __init__(self, processes: Sequence[PlannedProcess]) -> None:
        self.planned = {one.process.process_id: one for one in processes}
        self.states: dict[ProcessId, State] = dict.fromkeys(self.planned, State.PLANNED)
        self.blocked: dict[ProcessId, ProcessId] = {}
        self._sources = {
            process_id: tuple(source for source in one.process.sources if source in self.planned)
            for process_id, one in self.planned.items()
        }
        # Numbers and tuples, not sets: a set of nine takes 700 bytes, and there are 100,000.
        self._waits = {process_id: len(sources) for process_id, sources in self._sources.items()}
        self._feeds: dict[ProcessId, list[ProcessId]] = {}
        for process_id, sources in self._sources.items():
            for source in sources:
                self._feeds.setdefault(source, []).append(process_id)
        self.priorities = self._longest_paths()

    def _longest_paths(self) -> Mapping[ProcessId, float]:
        """Predicted CPU seconds from a process to the end of its longest chain, its own included."""
        left = {process_id: len(self._feeds.get(process_id, ())) for process_id in self.planned}
        path = {process_id: one.prediction.cpu_s for process_id, one in self.planned.items()}
        tail = dict.fromkeys(self.planned, 0.0)
        ends = [process_id for process_id, count in left.items() if not count]
        while ends:
            process_id = ends.pop()
            path[process_id] += tail[process_id]
            for source in self._sources[process_id]:
                tail[source] = max(tail[source], path[process_id])
                left[source] -= 1
                if not left[source]:
                    ends.append(source)
        return path

    def ready(self) -> list[ProcessId]:
        """Every process that waits for nothing and was not yet taken."""
        return [one for one, state in self.states.items() if state is State.PLANNED and not self._waits[one]]

    def settle(self, process_id: ProcessId, state: State) -> list[ProcessId]:
        """A process is done or cached; gives those that became ready by it."""
        settled_before = self.states[process_id] in (State.DONE, State.CACHED)
        self.states[process_id] = state
        freed: list[ProcessId] = []
        for one in self._feeds.get(process_id, ()) if not settled_before else ():
            self._waits[one] -= 1
            if not self._waits[one] and self.states[one] is State.PLANNED:
                freed.append(one)
        return freed

    def fail(self, process_id: ProcessId, state: State = State.FAILED) -> list[ProcessId]:
        """A process failed; gives its descendants, now blocked and naming it, in a stable order."""
        self.states[process_id] = state
        return self.block_below(process_id, process_id)

    def block_below(self, process_id: ProcessId, root: ProcessId) -> list[ProcessId]:
        """Block every descendant that is not settled."""
        found: list[ProcessId] = []
        queue = list(self._feeds.get(process_id, ()))
        while queue:
            one = queue.pop(0)
            if self.states[one] not in SETTLED:
                self.states[one] = State.BLOCKED
                self.blocked[one] = root
                found.append(one)
                queue.extend(self._feeds.get(one, ()))
        return found

    def block(self, process_id: ProcessId, root: ProcessId) -> list[ProcessId]:
        """Block one process and its descendants."""
        self.states[process_id] = State.BLOCKED
        self.blocked[process_id] = root
        return [process_id, *self.block_below(process_id, root)]

    def open(self) -> Iterable[ProcessId]:
        """Processes without a final state."""
        return [one for one, state in self.states.items() if state not in SETTLED]

    def counts(self) -> dict[State, int]:
        """Processes by state; adds up to the plan."""
        found: dict[State, int] = {}
        for state in self.states.values():
            found[state] = found.get(state, 0) + 1
        return dict(sorted(found.items()))
