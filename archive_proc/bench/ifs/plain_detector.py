"""Detector steps of the reference reductions, as open pipelines do them: background, flat, a map of bad pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from archive_proc.bench.ifs.raw_set import GAIN, Float32, RawFile, RawSet, mean_plane

READ_NOISE_E = 10.0
"""What the reductions take it for (notes/ifs 1: 6 to 10 e-)."""
_TILE = 64
"""The lamp's shape is taken out on this scale, pixels."""
_RESPONSE = (0.75, 1.25)
_HOT_SIGMA = 6.0
_HOT_E_S = 12.0
_REACH = 10
"""Bad pixels are bridged along the column over this many pixels at most, each way."""


@dataclass(frozen=True, slots=True)
class PlainDetector:
    """What all frames of a night share."""

    raw: RawSet
    response: Float32
    """(2048, 2048), 1 in bad pixels."""
    bad: NDArray[np.bool_]

    def background(self, dit_s: float) -> Float32:
        """(2048, 2048) ADU of one plane without light. Shared: change nothing in it."""
        return _mean_of(self.raw.backgrounds(dit_s))

    def light(self, planes: Float32, background: Float32) -> Float32:
        """(n, 2048, 2048) ADU after background and flat; bad pixels as they are."""
        return (planes - background) / self.response


@lru_cache(maxsize=2)
def _mean_of(files: tuple[RawFile, ...]) -> Float32:
    """Made once for all frames of a DIT."""
    return mean_plane(files)


def plain_detector(raw: RawSet) -> PlainDetector:
    """Flat from the white lamp's two DITs, bad pixels from it and from the backgrounds."""
    flats = [one for one in raw.of_type("FLAT,LAMP", tech="IMAGE") if "_BB_" in one.comb]
    short, long = min(flats, key=lambda one: one.dit_s), max(flats, key=lambda one: one.dit_s)
    slope = mean_plane([long]) - mean_plane([short])
    count = len(slope) // _TILE
    tiles = np.median(slope.reshape(count, _TILE, count, _TILE).swapaxes(1, 2).reshape(count, count, -1), axis=2)
    tiles = ndimage.gaussian_filter(tiles, 1.0, mode="nearest")
    response = slope / ndimage.zoom(tiles, _TILE, order=1, mode="nearest", grid_mode=True)
    darks = raw.of_type("DARK", "DARK,BACKGROUND")
    shortest, longest = min(one.dit_s for one in darks), max(one.dit_s for one in darks)
    rate = (mean_plane(raw.backgrounds(longest)) - mean_plane(raw.backgrounds(shortest))) / (longest - shortest)
    above = rate - ndimage.median_filter(rate, 5)
    sigma = 1.4826 * float(np.median(np.abs(above)))
    bad = (response < _RESPONSE[0]) | (response > _RESPONSE[1])
    bad |= above > max(_HOT_SIGMA * sigma, _HOT_E_S / GAIN)
    bad |= _unstable(np.concatenate([one.read() for one in raw.backgrounds(longest)]))
    return PlainDetector(raw, np.where(bad, 1.0, response).astype(np.float32), bad)


def _unstable(darks: Float32) -> NDArray[np.bool_]:
    """Pixels that scatter from dark to dark by more than five times what others do."""
    if len(darks) < 2:
        return np.zeros(darks.shape[1:], np.bool_)
    scatter = darks.std(axis=0, ddof=1)
    limit = 5.0 * float(np.median(scatter))
    if len(darks) == 2:
        # Of two values the scatter is often small by chance: its median is 0.67 sigma.
        limit = 5.0 * float(np.median(scatter)) / 0.6745
    return np.asarray(scatter > limit)


def bridged(image: Float32, bad: NDArray[np.bool_]) -> Float32:
    """(ny, nx) with bad pixels on the straight line between the nearest good ones of their column, within 10 pixels."""
    out = image.copy()
    rows = np.arange(len(image))
    for column in np.flatnonzero(bad.any(axis=0)):
        holes = np.flatnonzero(bad[:, column])
        good = np.flatnonzero(~bad[:, column])
        if not len(good):
            continue
        filled = np.interp(holes, rows[good], image[good, column])
        nearest = good[np.clip(np.searchsorted(good, holes), 0, len(good) - 1)]
        before = good[np.clip(np.searchsorted(good, holes) - 1, 0, len(good) - 1)]
        far = np.minimum(np.abs(nearest - holes), np.abs(before - holes)) > _REACH
        out[holes, column] = np.where(far, 0.0, filled)
    return out
