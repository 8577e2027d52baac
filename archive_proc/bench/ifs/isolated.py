"""Figures of isolated lenslets: what of their light is recovered, and what their neighbours are given of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from archive_proc.bench.ifs.compared import Compared
from archive_proc.bench.ifs.known import Known
from archive_proc.bench.ifs.spectra import mean_over_planes

NEIGHBOURS = ((1, 0), (0, 1), (-1, 1), (-1, 0), (0, -1), (1, -1))
"""Steps of (q, r) to the six neighbours."""


@dataclass(frozen=True, slots=True)
class Isolated:
    """Of a scene with few lenslets lit."""

    recovered: float
    """Median band flux over the truth."""
    scatter: float
    worst_mean_leak: float
    """Largest of the six directions' median band flux, share of the lit lenslet's; without sign."""
    worst_channel_leak: float
    """The same in the worst core channel."""
    n: int


def isolated(known: Known, one: Compared) -> Isolated | None:
    """None where no lit lenslet was extracted."""
    core = one.core
    truth = one.truth.mean(axis=0)
    found = mean_over_planes(one.found)
    lit = truth[:, core].sum(axis=1) > 0.0
    some = np.flatnonzero(lit & one.scored & np.isfinite(found[:, core]).all(axis=1))
    if not len(some):
        return None
    light = truth[some].mean(axis=0)
    ratio = found[some][:, core].sum(axis=1) / truth[some][:, core].sum(axis=1)
    place = {(int(q), int(r)): i for i, (q, r) in enumerate(zip(known.q, known.r, strict=True))}
    means, channels = [], []
    for step_q, step_r in NEIGHBOURS:
        beside = [place.get((int(known.q[i]) + step_q, int(known.r[i]) + step_r), -1) for i in some]
        dark = np.array([i for i in beside if i >= 0 and one.scored[i] and not lit[i]], np.int64)
        leak = found[dark]
        means.append(float(np.nanmedian(leak[:, core].sum(axis=1))) / float(light[core].sum()))
        channels.append(float(np.max(np.abs(np.nanmedian(leak[:, core], axis=0) / light[core]))))
    middle = float(np.median(ratio))
    return Isolated(
        recovered=middle,
        scatter=float(1.482602 * np.median(np.abs(ratio - middle))),
        worst_mean_leak=float(np.max(np.abs(means))),
        worst_channel_leak=float(np.max(channels)),
        n=len(some),
    )
