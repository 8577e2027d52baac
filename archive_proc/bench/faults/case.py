"""One injected fault and what came of it; many of one kind are a row of the table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from archive_proc.bench.figures import Figure, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fault."""

    kind: str
    what: str
    """What was done, where, when."""
    found: str
    """What the program said: exit status, error code, state found."""
    beyond: int | None = None
    """Tasks executed again although they had been finished, or were in flight; None where it was not counted."""
    bound: int = 0
    """Tasks that could be in flight: `beyond` may not exceed it."""
    wrong: tuple[str, ...] = ()
    """Promises that did not hold; empty: all held."""

    @property
    def held(self) -> bool:
        """Whether every promise was kept."""
        return not self.wrong and (self.beyond is None or self.beyond <= self.bound)


def report(cases: Sequence[Case], skipped: Sequence[tuple[str, str]] = ()) -> Report:
    """Two figures a kind: broken promises (aim 0), and tasks executed beyond need (aim: those in flight).

    A kind that could not be tried is a figure without a value: it counts as missed.
    """
    figures: list[Figure] = []
    for kind in dict.fromkeys(one.kind for one in cases):
        mine = [one for one in cases if one.kind == kind]
        broken = sum(not one.held for one in mine)
        figures.append(Figure(case=kind, name="broken", value=float(broken), unit="faults", aim=0.0, n=len(mine)))
        counted = [one for one in mine if one.beyond is not None]
        if counted:
            worst = max(counted, key=lambda one: (one.beyond or 0) - one.bound)
            figures.append(
                Figure(
                    case=kind,
                    name="executed beyond need, worst",
                    value=float(worst.beyond or 0),
                    unit="tasks",
                    aim=float(worst.bound),
                    n=len(counted),
                )
            )
    figures += [
        Figure(case=kind, name="broken", value=None, unit="faults", aim=0.0, reference=f"not tried: {why}",
               reference_value=math.nan)
        for kind, why in skipped
    ]  # fmt: skip
    return Report("faults", tuple(figures))


def table(cases: Sequence[Case], skipped: Sequence[tuple[str, str]] = ()) -> str:
    """A row a kind: injected, what was found (most often first), tasks beyond need, verdict; then every miss."""
    head = ("fault", "n", "beyond need", "verdict", "what was found")
    rows = [head]
    for kind in dict.fromkeys(one.kind for one in cases):
        mine = [one for one in cases if one.kind == kind]
        broken = sum(not one.held for one in mine)
        counted = [one.beyond for one in mine if one.beyond is not None]
        found = Counter(one.found for one in mine).most_common()
        said = ", ".join(text if number == 1 else f"{number} x {text}" for text, number in found[:4])
        more = f" and {len(found) - 4} more" if len(found) > 4 else ""
        rows.append(
            (
                kind,
                str(len(mine)),
                f"{sum(counted)} in all, at most {max(counted)}" if counted else "-",
                f"{broken} BROKEN" if broken else "all held",
                said + more,
            )
        )
    rows += [(kind, "0", "-", "NOT TRIED", why) for kind, why in skipped]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for one in cases:
        if not one.held:
            why = "; ".join(one.wrong) or f"{one.beyond} tasks executed beyond need, {one.bound} were in flight"
            lines.append(f"BROKEN {one.kind}, {one.what}: {why}")
    return "\n".join(lines)
