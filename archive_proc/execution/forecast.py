"""When a run will end: a band from what is left, from how runs and processes went, and from the longest chain. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from archive_proc.execution.course import STEPS, Past, RecipeCourse, RunCourse, seconds

UNKNOWN = 2.0
"""Without any history a prediction is trusted within this factor."""
LOW, HIGH = 0.1, 0.9
"""Quantiles of the band."""
_FEW = 5
"""Processes of this run from which on their own mean says more than earlier runs."""


def band(course: RunCourse, until: float) -> tuple[float, float] | None:
    """Between which times from now, s, the run ends; None where nothing predicted is left.

    What is left, by recipe, times measured over predicted, shared among the workers; never less than the longest
    chain. The upper bound is that of any list schedule: shared work, and the chain on top of what shares it.
    """
    low = high = predicted = 0.0
    for name, recipe in course.recipes.items():
        spent = sum(one.spent_s for one in course.running.values() if one.recipe == name)
        ratio = _ratio(recipe, course.past.get(name, Past()))
        predicted += recipe.left_s
        low += max(0.0, recipe.left_s * ratio[0] - spent)
        high += max(0.0, recipe.left_s * ratio[1] - spent)
    if predicted <= 0:
        return None
    workers = max(1, sum(course.census.get(one, 0) for one in ("busy", "idle")) or course.workers)
    chain = min(course.chain_s or 0.0, predicted)
    low_chain, high_chain = (chain * one / predicted for one in (low, high))
    # The head of the longest chain may have been running for as long as the oldest process.
    oldest = max((until - seconds(one.since) for one in course.running.values()), default=0.0)
    return max(low / workers, low_chain - oldest, 0.0), high / workers + high_chain * (1 - 1 / workers)


def _ratio(recipe: RecipeCourse, past: Past) -> tuple[float, float]:
    """Measured over predicted time of what is left of a recipe: low and high.

    Two spreads add: that of single processes, which evens out over many, and that of whole runs, which does not.
    """
    own = recipe.measured_s / recipe.done_s if recipe.done_s > 0 else None
    runs = sorted([*past.runs, *([own] if own else [])])
    if not runs:
        return 1 / UNKNOWN, UNKNOWN
    enough = own is not None and sum(recipe.ratios.values()) >= _FEW
    middle = own if own is not None and (enough or not past.runs) else _quantile(runs, 0.5)
    counts = dict(past.ratios)
    for at, number in recipe.ratios.items():
        counts[at] = counts.get(at, 0) + number
    single = (_quantile_of(counts, HIGH) - _quantile_of(counts, LOW)) / 2
    whole = math.log(_quantile(runs, HIGH) / _quantile(runs, LOW)) / 2
    half = math.sqrt(single**2 / max(1, recipe.open) + whole**2)
    if len(runs) == 1 and not enough:
        half = max(half, math.log(UNKNOWN))
    return middle * math.exp(-half), middle * math.exp(half)


def _quantile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def _quantile_of(counts: Mapping[int, int], part: float) -> float:
    """Quantile of a histogram of ratios, as a natural logarithm."""
    wanted, seen = part * sum(counts.values()), 0
    for at in sorted(counts):
        seen += counts[at]
        if seen >= wanted:
            return at / STEPS * math.log(2)
    return 0.0
