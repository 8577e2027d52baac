"""Figures of a laser frame extracted like science: where the lines stand, how they scatter, which are missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from archive_proc.bench.ifs.known import Float, Known
from archive_proc.bench.ifs.spectra import Spectra, mean_over_planes

REACH_NM = {"YJ": 36.0, "YH": 62.0}
"""A line's light is summed this far on both sides: three channels."""
SEEN = 0.2
"""A line is there when it has this share of the median lenslet's light."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Per laser, ascending."""

    offset_nm: Float
    """Median over lenslets of line minus laser."""
    scatter_nm: Float
    missing: float
    """Share of complete lenslets without one of the lines, flagged ones included."""


def laser_lines(known: Known, spectra: Spectra) -> Lines:
    """From the planes' mean; the centroid of each line about its own peak."""
    flux = mean_over_planes(spectra.flux)[known.complete]
    reach, edges = REACH_NM[known.mode], spectra.edges_nm
    offsets, scatters = [], []
    there = np.ones(len(flux), np.bool_)
    for laser in known.laser_nm:
        # Channels that the window's ends cut count by the share inside: whole ones would make it lopsided.
        low, high = np.maximum(edges[:-1], laser - reach), np.minimum(edges[1:], laser + reach)
        share = np.clip(high - low, 0.0, None) / spectra.bandwidth_nm
        near = share > 0.0
        at, light = 0.5 * (low + high)[near], flux[:, near] * share[near]
        total = light.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            centre = (light * at).sum(axis=1) / total
        seen = np.isfinite(centre) & (total > SEEN * np.nanmedian(total)) & (np.abs(centre - laser) < 0.5 * reach)
        there &= seen
        offset = centre[seen] - laser
        offsets.append(float(np.median(offset)) if seen.any() else np.nan)
        scatters.append(float(1.482602 * np.median(np.abs(offset - np.median(offset)))) if seen.any() else np.nan)
    return Lines(np.array(offsets), np.array(scatters), float(1.0 - there.mean()))
