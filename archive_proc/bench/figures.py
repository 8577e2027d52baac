"""A measured figure beside its aim and its reference, as a table and as the JSON of DESIGN 10."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np

_PACKAGES = (
    "numpy", "scipy", "numba", "pyerfa", "xarray", "zarr", "dask", "duckdb",
    "vlt-sphere", "vip-hci", "irdap", "photutils",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Beside:
    """A figure of another reduction."""

    label: str
    """classic chain, independent lenslets, true PSFlets."""
    value: float | None
    invalid: bool = False
    """A reference that does not reproduce what was published of its kind: its value is no yardstick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of one case."""

    case: str
    """What was measured on: `DB_H23`, `DB_K12 seed 3`."""
    name: str
    value: float | None
    """None: could not be measured, which counts as missed."""
    unit: str
    aim: float | None = None
    """Reached at or below (`at_least`: at or above); None where there is none."""
    at_least: bool = False
    aim_from: float | None = None
    """Reached only at or above this too: with `aim` a range."""
    reference: str = ""
    """What the reference value is: doing nothing, median sky, dither only."""
    reference_value: float | None = None
    compared: str = ""
    """What is compared with what, where a name does not say it all; stands where there is no reference."""
    n: int = 0
    """Samples behind the value."""
    spread: float | None = None
    """Scatter of the samples about their mean, or spread between seeds; same unit."""
    beside: tuple[Beside, ...] = ()
    """The same figure of other reductions of the same frames, in columns of their own."""

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None without an aim."""
        if self.aim is None:
            return None
        if self.value is None or not math.isfinite(self.value):
            return False
        if self.aim_from is not None and self.value < self.aim_from:
            return False
        return self.value >= self.aim if self.at_least else self.value <= self.aim


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one bench."""

    bench: str
    figures: tuple[Figure, ...]

    @property
    def missed(self) -> tuple[Figure, ...]:
        """Figures whose aim is not reached."""
        return tuple(one for one in self.figures if one.met is False)


def report_json(report: Report) -> str:
    """The JSON of DESIGN 10; non-finite numbers become null."""
    return json.dumps(
        {
            "bench": report.bench,
            "environment": environment(),
            "figures": [
                {
                    "name": f"{one.case}: {one.name}",
                    "value": _finite(one.value),
                    "unit": one.unit,
                    "aim": one.aim,
                    "aim_is": None if one.aim is None else "at least" if one.at_least else "at most",
                    "aim_from": one.aim_from,
                    "met": one.met,
                    "reference": one.reference,
                    "reference_value": _finite(one.reference_value),
                    "compared": one.compared,
                    "n": one.n,
                    "spread": _finite(one.spread),
                    "beside": {
                        other.label: "invalid" if other.invalid else _finite(other.value) for other in one.beside
                    },
                }
                for one in report.figures
            ],
        },
        indent=1,
    )


def environment() -> dict[str, str | int | float]:
    """Machine, load and versions that a figure depends on."""
    found: dict[str, str | int | float] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count() or 1,
        "load_1min": round(os.getloadavg()[0], 2),
    }
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def table(report: Report) -> str:
    """The figures in columns under their case, one a line; a closing line counts aims and repeats the missed ones."""
    others = tuple(dict.fromkeys(other.label for one in report.figures for other in one.beside))
    said = not others or any(one.reference or one.compared for one in report.figures)
    head = ("figure", "value", "aim", "met", *others, *(("reference",) if said else ()), "n", "spread")
    rows = [head] + [
        (
            f"  {one.name} [{one.unit}]",
            _text(one.value),
            _aim(one),
            {True: "yes", False: "NO", None: ""}[one.met],
            *(_beside(one, label) for label in others),
            *((_reference(one),) if said else ()),
            str(one.n),
            _text(one.spread),
        )
        for one in report.figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    drawn = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines, case = drawn[:1], ""
    for one, line in zip(report.figures, drawn[1:], strict=True):
        if one.case != case:
            lines += ["", one.case]
            case = one.case
        lines.append(line)
    aims = [one for one in report.figures if one.aim is not None]
    lines += ["", *(f"missed  {one.case}: {one.name}: {_text(one.value)}" for one in report.missed)]
    lines.append(f"{len(aims) - len(report.missed)} of {len(aims)} aims met")
    return "\n".join(lines)


def _aim(one: Figure) -> str:
    if one.aim is None:
        return ""
    if one.aim_from is not None:
        return f"{_text(one.aim_from)} - {_text(one.aim)}"
    return f"{'>=' if one.at_least else '<='} {_text(one.aim)}"


def _reference(one: Figure) -> str:
    if not one.reference:
        return one.compared
    return f"{_text(one.reference_value)} {one.reference}" if one.unit != "yes" else one.reference


def _beside(one: Figure, label: str) -> str:
    for other in one.beside:
        if other.label == label:
            return "invalid" if other.invalid else _text(other.value)
    return ""


def _text(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    # Ratios near 1 are told apart by their distance from it.
    return f"{value:.4g}" if 0.9 < value < 1.1 else f"{value:.3g}"


def across_seeds(case: str, runs: Sequence[Sequence[Figure]]) -> tuple[Figure, ...]:
    """One figure a name over several seeds: the median value, its spread the seeds' standard deviation.

    A seed that could not be measured makes the figure None: a missing one counts as missed.
    """
    names: dict[str, None] = {one.name: None for run in runs for one in run}
    found = []
    for name in names:
        same = [one for run in runs for one in run if one.name == name]
        values = [one.value for one in same if one.value is not None]
        references = [one.reference_value for one in same if one.reference_value is not None]
        first = same[0]
        whole = len(values) == len(runs)
        found.append(
            Figure(
                case=case,
                name=name,
                value=float(np.median(values)) if whole else None,
                unit=first.unit,
                aim=first.aim,
                at_least=first.at_least,
                aim_from=first.aim_from,
                beside=_beside_across(same),
                reference=first.reference,
                reference_value=float(np.median(references)) if references else None,
                compared=first.compared,
                n=sum(one.n for one in same),
                spread=float(np.std(values)) if len(values) > 1 else None,
            )
        )
    return tuple(found)


def _beside_across(same: Sequence[Figure]) -> tuple[Beside, ...]:
    """Medians over the seeds; invalid where any seed's is."""
    found = []
    for label in dict.fromkeys(other.label for one in same for other in one.beside):
        those = [other for one in same for other in one.beside if other.label == label]
        values = [one.value for one in those if one.value is not None and math.isfinite(one.value)]
        found.append(Beside(label, float(np.median(values)) if values else None, any(one.invalid for one in those)))
    return tuple(found)
