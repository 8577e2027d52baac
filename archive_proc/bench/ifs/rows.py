"""One row a figure: the product's value beside its aim and beside other reductions of the same frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archive_proc.bench.figures import Beside, Figure
from archive_proc.bench.ifs.aims import AIMS, HEADLINES, PUBLISHED, PUBLISHED_WITHIN
from archive_proc.bench.ifs.values import Value, Values


@dataclass(frozen=True, slots=True)
class Other:
    """Another reduction of the same frames."""

    label: str
    values: Values
    on_sample: Values | None = None
    """Of a reference: what it reaches on the sample set, None where that was not at hand: it is then no yardstick."""
    is_reference: bool = True
    """False for our own with more knowledge, which has nothing to reproduce."""


def reproduced(label: str, name: str, on_sample: Values | None) -> bool:
    """Whether a reference comes within 30 % of the notes' figure; of its headline figures where the row has none."""
    if on_sample is None:
        return False
    published = PUBLISHED[label]
    asked = (name,) if name in published else HEADLINES[label]
    return all(_near(on_sample.get(one), published[one]) for one in asked)


def _near(found: Value | None, published: float) -> bool:
    if found is None or found.value is None:
        return False
    return abs(found.value - published) <= PUBLISHED_WITHIN * published


def rows(
    case: str, mode: str, ours: Values, others: Sequence[Other], only: Sequence[str] | None = None
) -> list[Figure]:
    """A figure per aim of the mode, in their order; `only` names those that the case's scenes allow.

    What was not made is a row without value, which counts as missed.
    """
    figures = []
    for name, aim in AIMS[mode].items():
        if only is not None and name not in only:
            continue
        value = ours.get(name, Value(None))
        figures.append(
            Figure(
                case=case,
                name=name,
                value=value.value,
                unit=aim.unit,
                aim=aim.most,
                aim_from=aim.least,
                compared=aim.judged,
                n=value.n,
                spread=value.spread,
                beside=tuple(_beside(one, name) for one in others),
            )
        )
    return figures


def _beside(other: Other, name: str) -> Beside:
    value = other.values.get(name, Value(None)).value
    wrong = other.is_reference and value is not None and not reproduced(other.label, name, other.on_sample)
    return Beside(other.label, value, wrong)
