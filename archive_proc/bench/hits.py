"""Whether cosmic rays and pixels that turned hot since the calibrations are flagged, against what was really hit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.background import NO_MEASUREMENT, usable
from archive_proc.bench.figures import Figure
from archive_proc.bench.reductions import cube_planes
from archive_proc.model.flags import Flag
from archive_proc.simulate.facts import GAIN, read_noise_adu
from archive_proc.simulate.truth import SequenceTruth

STRONG_SIGMA = 10.0
"""Hits of at least this many times the plane's background noise are asked for."""


def hit_figures(case: str, truth: SequenceTruth, science: Path | None) -> tuple[Figure, ...]:
    """Percent of strong hits left unflagged, of good pixels flagged as hit, of new hot pixels left; no aims.

    Empty for sets whose read-out is not known.
    """
    rows = [int(row) for row in np.flatnonzero(truth.in_sequence)]
    if science is None or not rows or truth.read_out(rows[0]) is None:
        return ()
    good = usable(truth)
    new_hot = _halves(truth.new_hot, good.shape)
    missed, strong, false, normal, left, hot = 0, 0, 0, 0, 0, 0
    for plane in cube_planes(science):
        row = int(truth.rows(np.array([plane.file_id]), np.array([plane.plane]))[0])
        known = truth.read_out(row) if row >= 0 else None
        if known is None:
            continue
        noise = np.sqrt(float(np.median(truth.thermal[row])) / GAIN + read_noise_adu(float(truth.dit[row])) ** 2)
        bright = _halves(known.hits[known.hit_adu > STRONG_SIGMA * noise], good.shape) & good
        any_hit = _grown(_halves(known.hits, good.shape))
        cosmic = (plane.flags & int(Flag.COSMIC)) != 0
        useless = (plane.flags & NO_MEASUREMENT) != 0
        missed, strong = missed + int((bright & ~useless).sum()), strong + int(bright.sum())
        innocent = good & ~any_hit & ~new_hot
        false, normal = false + int((cosmic & innocent).sum()), normal + int(innocent.sum())
        left, hot = left + int((new_hot & ~useless).sum()), hot + int(new_hot.sum())
    figures = [
        _share(case, f"cosmic rays beyond {STRONG_SIGMA:g} sigma, pixels not flagged", missed, strong),
        _share(case, "good pixels flagged as cosmic rays", false, normal),
    ]
    if hot:
        figures.append(_share(case, "pixels newly hot, not flagged", left, hot))
    return tuple(figures)


def _share(case: str, name: str, part: int, whole: int) -> Figure:
    return Figure(case=case, name=name, value=100.0 * part / whole if whole else None, unit="%", n=whole)


def _halves(index: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(2, ny, nx) True at flat indices of the detector (ny, 2 nx)."""
    frame = np.zeros((shape[1], 2 * shape[2]), bool)
    frame.reshape(-1)[index] = True
    return np.stack([frame[:, : shape[2]], frame[:, shape[2] :]])


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True within one pixel of the mask."""
    grown = mask.copy()
    for axis in (1, 2):
        for step in (-1, 1):
            grown |= np.roll(mask, step, axis)
    return grown
