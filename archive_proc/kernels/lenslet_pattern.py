"""Which lenslets a frame shows: each lets through a little more or less than its neighbours, and that is theirs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

LEAST_NEIGHBOURS = 4
"""Of six, that must be known for a lenslet to be held against them."""
LEAST_LENSLETS = 100
"""For two patterns to be held against each other: by chance they agree to a tenth."""
TAIL = 4.0
"""Robust sigma at which a lenslet's deviation is cut off: dust and bad pixels must not make an agreement alone."""


def beside_neighbours(values: Float64, neighbours: NDArray[np.integer]) -> Float64:
    """(n,) a lenslet's value over the median of its neighbours', less 1; NaN where fewer than four are known.

    `values` (n,) about 1, NaN where not known; `neighbours` (n, 6) places in `values`, -1 where there is none. What is
    smooth over the field (the lamp's light, the detector's response over many pixels) drops out.
    """
    beside = np.where(neighbours >= 0, values[neighbours], np.nan)
    enough = (np.isfinite(beside).sum(axis=1) >= LEAST_NEIGHBOURS) & np.isfinite(values)
    found = np.full(values.shape, np.nan)
    found[enough] = values[enough] / np.nanmedian(beside[enough], axis=1) - 1.0
    return found


def pattern_agreement(one: Float64, other: Float64) -> float:
    """Correlation of two patterns of deviations (n,), NaN where not known: 1 alike, 0 of other lenslets.

    NaN where fewer than a hundred lenslets are in both, or one of them has no pattern.
    """
    known = np.isfinite(one) & np.isfinite(other)
    if int(known.sum()) < LEAST_LENSLETS:
        return float("nan")
    first, second = (_cut(each[known]) for each in (one, other))
    norm = float(np.sqrt(np.sum(first**2) * np.sum(second**2)))
    return float(np.sum(first * second)) / norm if norm > 0.0 else float("nan")


def _cut(values: Float64) -> Float64:
    away = values - np.median(values)
    reach = TAIL * 1.4826 * float(np.median(np.abs(away)))
    away = np.clip(away, -reach, reach)
    return np.asarray(away - away.mean())
