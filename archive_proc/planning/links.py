"""Links: products given to a process, with the main files each serves."""

from __future__ import annotations

from dataclasses import dataclass, field

from archive_proc.model.ids import product_id, shown
from archive_proc.model.observations import Association
from archive_proc.model.processes import Process, ProcessInput


@dataclass(slots=True)
class Link:
    """One associated product; it grows while the main files' associations are walked."""

    made: Process
    product_type: str
    association: Association | None = None
    """The first that brought it; None for a product of the same subject."""
    positions: set[int] = field(default_factory=set)
    """Positions among the main files."""
    level: int = 0
    """Worst of the associations that bring it."""

    def as_input(self, role: str, n_main: int) -> ProcessInput:
        """The input it is to a process of `n_main` main files."""
        product = product_id(self.made.process_id, self.product_type)
        return ProcessInput(
            role=role,
            kind="product",
            input_id=product,
            content=product,
            # Serving all is said by serving none in particular, so that equal uses give equal keys.
            serves=() if len(self.positions) == n_main else tuple(sorted(self.positions)),
            level=self.level,
            dt_days=self.association.dt_days if self.association else 0.0,
            method=self.association.method if self.association else "match",
        )

    @property
    def fallback(self) -> str:
        """What stood in for an exact match, in words; empty for a match."""
        if self.association is None or self.association.method == "match":
            return ""
        return f"{self.association.method} ({shown('proc', self.made.process_id)})"
