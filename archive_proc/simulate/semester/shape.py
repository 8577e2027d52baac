"""What a semester looks like, in numbers: measured on 563 real IRDIS DB_H23 sequences, or fitted to published totals.

The reference for all of it is notes/archive.md, section 9; the simulator keeps its own copy, as `simulate.facts` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

NIGHTS = 110
"""Nights with SPHERE in a busy semester."""
SEQUENCES: Mapping[str, int] = MappingProxyType(
    {"irdifs": 300, "irdis": 100, "dpi": 80, "long_slit": 6, "aperture_mask": 6, "zimpol": 30}
)
"""Science sequences by kind; `irdifs` ones have a half in each arm: 492 IRDIS, 300 IFS, 30 ZIMPOL observations."""

FILTERS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "irdifs": {"DB_H23": 0.60, "DB_K12": 0.30, "BB_H": 0.10},
        "irdis": {"DB_H23": 0.35, "BB_H": 0.20, "DB_K12": 0.15, "BB_Ks": 0.15, "BB_J": 0.10, "DB_J23": 0.05},
        "dpi": {"BB_H": 0.60, "BB_J": 0.20, "BB_Ks": 0.20},
        "long_slit": {"BB_H": 1.0},
        "aperture_mask": {"DB_H23": 0.5, "DB_K12": 0.5},
        "zimpol": {"BB_H": 1.0},
    }
)
"""IRDIS filters of each kind. ZIMPOL's frames carry the other arm's, as real ones do."""
IFS_MODES: Mapping[str, str] = MappingProxyType({"DB_H23": "YJ", "DB_K12": "YH", "BB_H": "YH"})
"""Prism beside an IRDIS filter: 40 % of the IFS sequences are YH."""
IFS_DITS: Mapping[float, float] = MappingProxyType({64.0: 0.50, 32.0: 0.25, 16.0: 0.13, 8.0: 0.07, 4.0: 0.05})

DIT_NDIT: Mapping[float, Mapping[int, int]] = MappingProxyType(
    {
        0.837464: {16: 4, 40: 3, 30: 2, 7: 2, 15: 1, 20: 1, 18: 1},
        1.0: {52: 1, 1: 1},
        2.0: {32: 6, 16: 4, 15: 4, 30: 3, 57: 3, 20: 2, 8: 2, 17: 2, 28: 1, 21: 1},
        4.0: {15: 6, 16: 6, 30: 3, 60: 3, 64: 3, 13: 2, 10: 2, 8: 1, 5: 1, 4: 1, 14: 1, 26: 1, 32: 1, 40: 1, 80: 1},
        8.0: {8: 13, 4: 6, 1: 5, 32: 5, 3: 5, 20: 4, 16: 3, 15: 2, 2: 2, 10: 1, 6: 1, 30: 1, 26: 1, 24: 1, 184: 1},
        16.0: {4: 12, 16: 11, 1: 8, 15: 7, 9: 6, 2: 6, 8: 5, 20: 3, 13: 3, 12: 2, 40: 2, 10: 2, 18: 1, 5: 1, 30: 1},
        32.0: {2: 20, 1: 20, 5: 17, 8: 15, 4: 7, 6: 5, 3: 2, 7: 1, 24: 1, 45: 1, 10: 1},
        48.0: {30: 3, 16: 1, 14: 1},
        64.0: {4: 96, 3: 54, 1: 29, 2: 23, 5: 17, 6: 4, 13: 3, 8: 3, 12: 3, 20: 2, 10: 1, 23: 1},
        96.0: {15: 6, 2: 5, 8: 3, 3: 2, 1: 2, 10: 1},
    }
)
"""DIT, s, and NDIT together: how many of the measured OBs had them."""

_DURATION_S = (
    (0.0, 60.0), (0.05, 295.0), (0.25, 1507.0), (0.5, 2661.0), (0.75, 4152.0), (0.95, 5392.0), (0.99, 8101.0),
    (1.0, 11900.0),
)  # fmt: skip
_SEEING_ARCSEC = ((0.0, 0.4), (0.05, 0.51), (0.25, 0.69), (0.5, 0.88), (0.75, 1.11), (0.95, 1.57), (1.0, 2.87))
_TAU0_S = ((0.0, 0.0008), (0.05, 0.0013), (0.25, 0.0021), (0.5, 0.0031), (0.75, 0.0055), (0.95, 0.0107), (1.0, 0.033))
_MAG_H = ((0.0, 1.5), (0.05, 3.51), (0.25, 5.49), (0.5, 6.75), (0.75, 7.66), (0.95, 8.92), (1.0, 10.9))
"""(quantile, value) of what 563 OBs had."""
_PLANNED = 1.02
"""Planned over executed length: what goes wrong shortens some, and the measured lengths are of what was executed."""
IFS_LONGER = 1.18
"""Length of the IFS's science over that of IRDIS, which pauses for sky and dithers: fitted to both arms' frames."""

LONGEST = (2.0, 56, 60)
"""DIT, NDIT and files of the longest sequence: 3,360 planes."""
MOST_FRAMES = 3360
"""No other sequence has more planes than the longest measured."""
LONGEST_FROM_SCALE = 0.5
"""A smaller part of a semester has no place for the longest sequence."""

WAFFLE = 0.15
"""Sequences with the waffle on throughout."""
SKY: Mapping[bool, float] = MappingProxyType({True: 0.95, False: 0.55})
"""Sequences that end with two sky files, in thermal filters and in others."""
IFS_SKY = 0.25
FIELD_TRACKING = 0.08
TIP_TILT_OPEN = 0.05
VISITOR = 0.34
"""OBs of visitor runs, whose ids are of another range."""
DIT_MIX = 0.03
"""IRDIS-only executions with science frames of two DITs."""
REPEATED = 0.06
"""Executions that repeat an OB of some night before; most of the first ones had been aborted."""
FAULTS: Mapping[str, float] = MappingProxyType(
    {"no_flux": 0.05, "no_center": 0.02, "aborted": 0.03, "gap": 0.015, "short_cube": 0.01}
)
"""What goes wrong with executions beside repeats. Assumed: nobody published it."""
ABORTED_EARLY = 0.01
"""Executions that ended before their first science frame, on top of the sequences."""
MISSING_CALIBRATIONS = 0.04
"""Nights after which one kind of calibration was not taken."""
REDELIVERED = 0.004
"""Files that were delivered a second time, compressed."""

FLUX = (0.837464, 16, "ND_1.0")
"""DIT, NDIT and neutral density of IRDIS's FLUX files."""
IFS_FLUX = (8.0, 4)
ZIMPOL = (20.0, 8, 64)
"""DIT, NDIT, files of a ZIMPOL sequence."""
FLAT_DITS_S = (1.0, 3.0)
FLAT_FILES = (2, 3)
"""Of each DIT: five flats a filter."""
DARKS = 3
"""Files of a DIT, and of a DIT and filter for backgrounds."""
DISTORTION_EVERY = 8
"""Nights between two distortion maps."""


def stratified(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(n,) numbers of [0, 1), one in each n-th, in any order: sums hardly hang on the seed."""
    return np.asarray((rng.permutation(n) + rng.random(n)) / max(n, 1))


def shared(weights: Mapping[str, float], n: int, rng: np.random.Generator) -> list[str]:
    """N names, each as often as its weight says (largest remainders), in any order."""
    total = sum(weights.values())
    ideal = {name: n * weight / total for name, weight in weights.items()}
    counts = {name: int(value) for name, value in ideal.items()}
    for name in sorted(ideal, key=lambda one: (counts[one] - ideal[one], one))[: n - sum(counts.values())]:
        counts[name] += 1
    names = [name for name, count in counts.items() for _ in range(count)]
    return [names[at] for at in rng.permutation(n)]


def dit_ndit_at(quantiles: NDArray[np.float64]) -> list[tuple[float, int]]:
    """DIT, s, and NDIT at these quantiles of the measured pairs, ordered by DIT."""
    pairs = [(dit, ndit) for dit, some in DIT_NDIT.items() for ndit in sorted(some, reverse=True)]
    weights = np.array([DIT_NDIT[dit][ndit] for dit, ndit in pairs], float)
    edges = np.cumsum(weights) / weights.sum()
    return [pairs[min(at, len(pairs) - 1)] for at in np.searchsorted(edges, quantiles, side="right").tolist()]


def durations_s(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Planned length of a sequence's science, s."""
    return _PLANNED * _at(quantiles, _DURATION_S)


def seeings_arcsec(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seeing, arcsec."""
    return _at(quantiles, _SEEING_ARCSEC)


def tau0s_s(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coherence time, s."""
    return _at(quantiles, _TAU0_S)


def magnitudes_h(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """H magnitude of the star."""
    return _at(quantiles, _MAG_H)


def _at(quantiles: NDArray[np.float64], curve: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    at, values = zip(*curve, strict=True)
    return np.asarray(np.interp(quantiles, at, values))
