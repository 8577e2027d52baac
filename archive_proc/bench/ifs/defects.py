"""Figures of bad pixels and cosmic rays: what of them is left unflagged, and what is flagged without cause."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from archive_proc.bench.ifs.compared import Compared
from archive_proc.bench.ifs.known import BAD_KINDS, Float, Known, Scene

REACH_PX = 1.5
"""An element is touched by a bad pixel this near to its place on the detector (README of the sample set)."""
WRONG = 0.10
SIGMAS = 6.0
"""Catastrophic: wrong by more than this share of the truth, and by more than this many claimed sigma."""
Mask = NDArray[np.bool_]


def touched(known: Known, scene: Scene, wavelength_nm: Float) -> dict[str, Mask]:
    """(n, l, k) by kind of `BAD_KINDS` and `cosmic`: whether such a pixel lies within reach of an element."""
    shape = (scene.planes, len(known.x), len(wavelength_nm))
    found = {kind: np.zeros(shape, np.bool_) for kind in (*BAD_KINDS, "cosmic")}
    at = np.clip(wavelength_nm, known.position_nm[0], known.position_nm[-1])
    for plane in range(scene.planes):
        x, y = known.positions(at, scene.pose[plane])
        places = np.stack([y.reshape(-1), x.reshape(-1)], axis=1)
        for kind in BAD_KINDS:
            found[kind][plane] = _near(places, known.bad[kind]).reshape(shape[1:])
        hits = scene.cosmics[scene.cosmics[:, 0] == plane, 1:]
        found["cosmic"][plane] = _near(places, hits).reshape(shape[1:])
    return found


def _near(places: Float, pixels: NDArray[np.int64]) -> Mask:
    if not len(pixels):
        return np.zeros(len(places), np.bool_)
    distance, _ = cKDTree(pixels.astype(np.float64)).query(places, distance_upper_bound=REACH_PX)
    return np.asarray(np.isfinite(distance))


def catastrophic(one: Compared, where: Mask) -> tuple[float | None, int]:
    """Share (per cent) of the unflagged elements there that are catastrophically wrong, and how many are unflagged."""
    kept = where & ~one.flagged & _scored(one)
    error = np.abs(one.found - one.truth)[kept]
    if not error.size:
        return None, 0
    wrong = (error > WRONG * one.truth[kept]) & (error > SIGMAS * one.sigma[kept])
    return 100.0 * float(wrong.mean()), int(kept.sum())


def flagged_share(one: Compared, where: Mask) -> tuple[float | None, int]:
    """Share (per cent) of the elements there that are flagged, have no value or are not published; their number."""
    asked = where & _scored(one)
    return (100.0 * float(one.flagged[asked].mean()), int(asked.sum())) if asked.any() else (None, 0)


def _scored(one: Compared) -> Mask:
    return np.broadcast_to(one.scored[None, :, None] & one.core[None, None, :], one.found.shape)
