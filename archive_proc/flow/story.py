"""What a run's report is made from."""

from __future__ import annotations

from dataclasses import dataclass

from archive_proc.flow.run_states import RunStates
from archive_proc.model.ids import shown
from archive_proc.model.processes import Plan
from archive_proc.quality.content import Card
from archive_proc.quality.drawing import Drawn
from archive_proc.quality.orders import PageOrder
from archive_proc.settings import ArchiveSettings
from archive_proc.storage.layout import Layout


@dataclass(frozen=True, slots=True)
class Story:
    """Everything a report is made from."""

    layout: Layout
    settings: ArchiveSettings
    plan: Plan
    status: RunStates
    cards: tuple[Card, ...]
    drawn: tuple[Drawn, ...]
    orders: tuple[PageOrder, ...]

    @property
    def names(self) -> dict[str, str]:
        """Subject id -> its name with night and short id."""
        return {one.subject_id: f"{one.name}, {one.night}, {one.short_id}" for one in self.orders}

    def named(self, kind: str, subject_id: str) -> str:
        """A subject as people know it."""
        prefix = {"observation": "obs", "group": "group"}.get(kind, kind)
        return self.names.get(subject_id) or (subject_id if kind == "file" else shown(prefix, subject_id))
