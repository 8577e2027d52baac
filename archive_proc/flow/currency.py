"""Which product is current in each slot (DESIGN 6), from plans that were run and products that are sealed.

The sealed product that the newest ended run whose plan covers the slot names for it; where that process has none, the
product before stays current and is stale. Time stamps play no part: undoing an override makes the old product current
again because the newest run names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from archive_proc.model.ids import PlanId, ProcessId, ProductId, RunId, product_id


class Slot(NamedTuple):
    """The place that one current product fills. A tuple: a compaction looks up hundreds of thousands."""

    subject_kind: str
    subject_id: str
    product_type: str
    preset: str


@dataclass(frozen=True, slots=True)
class Named:
    """One process in the plan of a run that ended."""

    process_id: ProcessId
    subject_kind: str
    subject_id: str
    preset: str
    product_types: tuple[str, ...]

    def slots(self) -> Iterable[Slot]:
        """The slots that it is to fill."""
        return (Slot(self.subject_kind, self.subject_id, one, self.preset) for one in self.product_types)


@dataclass(frozen=True, slots=True)
class SealedProduct:
    """A product that stands."""

    product_id: ProductId
    process_id: ProcessId
    slot: Slot
    run_id: RunId
    """The run that made it."""


@dataclass(slots=True)
class Currency:
    """What is current, stale and superseded."""

    current: dict[Slot, ProcessId] = field(default_factory=dict)
    wanted: dict[Slot, ProcessId] = field(default_factory=dict)
    """What the newest ended run names, sealed or not."""
    named_by: dict[Slot, RunId] = field(default_factory=dict)
    """The ended run that made the current one current."""

    def is_current(self, one: SealedProduct) -> bool:
        """Whether it fills its slot."""
        return self.current.get(one.slot) == one.process_id

    def is_stale(self, one: SealedProduct) -> bool:
        """Whether it fills its slot although the newest ended run named another process, which has no product."""
        return self.is_current(one) and self.wanted.get(one.slot) != one.process_id

    def superseded_by(self, one: SealedProduct) -> ProductId | None:
        """The product in its place; None also for one that a run still going has made, whose time may come."""
        holder = self.current.get(one.slot)
        if holder is None or holder == one.process_id or one.run_id > self.named_by[one.slot]:
            return None
        return product_id(holder, one.slot.product_type)


def currency(
    ended: Iterable[tuple[RunId, PlanId]],
    plans: Mapping[PlanId, Sequence[Named]],
    sealed: frozenset[ProcessId],
) -> Currency:
    """What is current, from ended runs (any order), what their plans name, and which processes are sealed."""
    found = Currency()
    for run_id, plan in sorted(ended, reverse=True):
        for one in plans.get(plan, ()):
            for slot in one.slots():
                found.wanted.setdefault(slot, one.process_id)
                if slot not in found.current and one.process_id in sealed:
                    found.current[slot] = one.process_id
                    found.named_by[slot] = run_id
    return found
