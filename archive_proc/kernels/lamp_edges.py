"""Where a lamp's spectrum ends: the one feature by which smooth light tells its place along the dispersion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_INSIDE = slice(2, 6)
"""Channels from an edge that say how bright the lamp is there: farther in its slope counts, nearer the edge itself."""

_END = 3
"""Channels at either end: their median, for light from beyond piles up in the very last."""


def lamp_edges(lamp: Float64, wavelength: Float64) -> Float64:
    """(2,) blue and red wavelength where the lamp has half of its level beside the edge, unit of `wavelength`.

    `lamp` (m,) per channel, NaN without light; `wavelength` (m,) rising. NaN for an edge that is not seen: the light
    ends beyond the channels, or slowly. Looked for from the middle outwards, for light beyond the channels piles up in
    the last ones.
    """
    light = np.nan_to_num(np.asarray(lamp, np.float64))
    middle = light.size // 2
    blue = _edge(light[middle::-1], wavelength[middle::-1])
    return np.array([blue, _edge(light[middle:], wavelength[middle:])])


def goes_on(lamp: Float64) -> NDArray[np.bool_]:
    """(2,) whether the lamp is as bright as half of the typical channel at its blue and red end: lit beyond it."""
    light = np.nan_to_num(np.asarray(lamp, np.float64))
    half = 0.5 * float(np.median(light))
    return np.array([half > 0.0 and float(np.median(one)) >= half for one in (light[:_END], light[-_END:])])


def _edge(light: Float64, wavelength: Float64) -> float:
    """The first one from the inside outwards."""
    for at in range(_INSIDE.stop, light.size):
        half = 0.5 * float(np.median(light[at - _INSIDE.stop + 1 : at - _INSIDE.start + 1]))
        if half > 0.0 and light[at] < half:
            share = (light[at - 1] - half) / (light[at - 1] - light[at])
            return float(wavelength[at - 1] + share * (wavelength[at] - wavelength[at - 1]))
    return float("nan")
