"""Sources that do not belong to the star: far brighter than the speckles at their separation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from archive_proc.kernels.registration import Patch

Mask = NDArray[np.bool_]

BRIGHT = 8.0
"""Robust standard deviations of the fine structure at the same separation: speckles reach six."""
CLEARANCE = 1.2
"""lambda / D about such a pixel that is left out."""
RINGS = np.arange(2.0, 24.0)
"""Inner edges of rings one lambda / D wide."""
FEWEST = 20


def clear_of_sources(patches: Sequence[Patch], stars: Sequence[tuple[float, float]], lambda_d: Sequence[float]) -> Mask:
    """(h, size, size) pixels that no source reaches in any of the planes.

    A companion turns with the sky while speckles stand still: it would hold or drag the planes' registration. `stars`:
    (x, y) in the patches' pixels, one an image of a plane, as `lambda_d` in pixels.
    """
    count, size = patches[0].values.shape[:2]
    y, x = np.mgrid[:size, :size]
    clear = np.ones((count, size, size), bool)
    for image, ((at_x, at_y), scale) in enumerate(zip(stars, lambda_d, strict=True)):
        ring = np.floor(np.hypot(x - at_x, y - at_y) / scale)
        hit = np.zeros((size, size), bool)
        for patch in patches:
            value, known = patch.values[image], patch.weight[image] > 0
            for inner in RINGS:
                here = known & (ring == inner)
                if here.sum() >= FEWEST:
                    typical = 1.4826 * float(np.median(np.abs(value[here])))
                    hit |= here & (value > BRIGHT * typical)
        if hit.any():
            clear[image] = scipy.ndimage.distance_transform_edt(~hit) > CLEARANCE * scale
    return clear
