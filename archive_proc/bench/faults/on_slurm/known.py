"""What the plan of the undisturbed night says: which process is whose, what stands on it, what it executes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from archive_proc.bench.faults.grounds import Grounds
from archive_proc.catalog.selection import Selection


@dataclass(frozen=True, slots=True)
class Known:
    """A process of the plan."""

    process_id: str
    recipe: str
    subject: str
    sources: tuple[str, ...]
    files: tuple[str, ...]
    """Raw files that are its main input."""
    steps: tuple[str, ...]
    """Of its stand-in, as the tally names them, each once."""
    tasks: int
    """Lines that it adds to the tally, undisturbed."""


@dataclass(frozen=True, slots=True)
class Night:
    """All of them."""

    processes: Mapping[str, Known]

    @property
    def in_order(self) -> tuple[Known, ...]:
        """By their ids."""
        return tuple(self.processes[one] for one in sorted(self.processes))

    def below(self, roots: Iterable[str]) -> set[str]:
        """Processes that cannot be made without these, these left out."""
        gone = set(roots)
        given = set(gone)
        while more := {one.process_id for one in self.processes.values() if gone & set(one.sources)} - gone:
            gone |= more
        return gone - given

    def related(self, one: str, other: str) -> bool:
        """Whether one of them stands on the other."""
        return other in self.below([one]) or one in self.below([other])


def night_of(grounds: Grounds) -> Night:
    """Plan the night of these grounds."""
    plan = grounds.open(grounds.template).plan(Selection())
    by_owner: dict[tuple[str, str], list[str]] = {}
    for line in grounds.steps:
        step, subject, _ = line.split(" ")
        by_owner.setdefault((step.partition("/")[0], subject), []).append(step)
    found = {}
    for planned in plan.processes:
        process = planned.process
        steps = by_owner.get((process.recipe, process.subject.subject_id), [])
        found[str(process.process_id)] = Known(
            process_id=str(process.process_id),
            recipe=process.recipe,
            subject=process.subject.subject_id,
            sources=tuple(str(one) for one in process.sources),
            files=tuple(entry.input_id for entry in process.main if entry.kind == "file"),
            steps=tuple(dict.fromkeys(steps)),
            tasks=len(steps),
        )
    return Night(found)


def lines_without(lines: Sequence[str], owners: Iterable[Known]) -> list[str]:
    """Lines of a tally that are not of these processes."""
    left_out = {(one.recipe, one.subject) for one in owners}
    return [line for line in lines if (line.partition("/")[0], line.split(" ")[1]) not in left_out]
