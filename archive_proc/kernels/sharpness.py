"""Pixels that shine more sharply than light through the telescope can: newly hot ones, and hits no time comparison saw.

An image's finest structure has the width of lambda / D, so a pixel of light has eight neighbours nearly as bright: in
all of them together not less than a core's middle has. Speckles, spots and companions pass at any sub-pixel place,
where a filter on values alone would eat their cores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIGMA = 6.0
"""Of the difference to the eight neighbours."""
MARGIN = 2.5
"""On how far a core's middle may stand above the mean of its neighbours: bright speckles beside dark ones are sharper
than points, by up to a factor 1.6 in fields of pure speckle."""
FEWEST_NEAR = 6
"""Good neighbours that a judgement needs: at an edge, with five, a slope would look like a peak."""


def steepest(lambda_d: float) -> float:
    """How far light may rise from the mean of eight neighbours to a pixel, over that mean; `lambda_d` in pixels.

    A core as a Gaussian of FWHM lambda / D, on the pixel's middle: 0.42 in H, 0.23 in K, 1.4 in Y; times `MARGIN`.
    """
    sigma = lambda_d / 2.3548
    mean = 0.5 * (np.exp(-0.5 / sigma**2) + np.exp(-1.0 / sigma**2))
    return float(MARGIN * (1.0 / mean - 1.0))


def sharp_pixels(values: Float32, variance: Float32, good: Mask, lambda_d: Sequence[float]) -> NDArray[np.int64]:
    """Flat positions of the good pixels that no light explains, ascending.

    values, variance: (n, ny, nx) float32 above the background, in one unit and its square; good: pixels with a value;
    lambda_d: (n) pixels. Beside six standard deviations a pixel must exceed its neighbours' mean by `steepest` times
    the light around: in a dark spot between speckles, where neighbours are faint, the ring beyond tells it.
    """
    from archive_proc.kernels.loops.sharpness import sharp_positions

    steep = np.array([steepest(one) for one in lambda_d])
    return sharp_positions(values, variance, good, steep, SIGMA, FEWEST_NEAR)
