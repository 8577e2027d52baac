"""Response of every pixel and the common non-linearity, from lamp levels at several DITs (notes/irdis 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

SURROUNDINGS = 9
"""Pixels along a side of a pixel's surroundings."""
BINS = 30
"""Bins of equal numbers of pixels, by level."""
LARGEST_NONLINEARITY = 5e-6
"""1/ADU: 10 % at 20 000 ADU; anything beyond is no detector but a lamp that changed."""


@dataclass(frozen=True, slots=True)
class Nonlinearity:
    """`measured = true (1 - a true)` of one half."""

    a: float
    """1/ADU; 0 where it was not measured or not significant."""
    error: float
    """1/ADU; NaN where it could not be measured."""


NOT_MEASURED = Nonlinearity(0.0, float("nan"))


def nonlinearity(levels: Float32, lit: Mask) -> Nonlinearity:
    """The half's quadratic coefficient, from how the ratio of two lamp levels changes with the level across the field.

    `levels` (m, ny, nx) float32 ADU, lamp minus background, faintest first. A drifting lamp changes all ratios alike
    and so cannot pass for non-linearity. With L the faint and H the bright level, L / H is to first order
    r (1 + a (H - L)): a straight line. Pixels are binned by their surroundings' level, not by their own, whose noise
    would draw the slope towards zero. Not significant (4 sigma), negative or beyond 5e-6 counts as not measured.
    """
    if len(levels) < 2:
        return NOT_MEASURED
    from scipy.ndimage import uniform_filter

    low, high = levels[0], levels[-1]
    share = uniform_filter(lit.astype(np.float32), SURROUNDINGS)
    around = uniform_filter(np.where(lit, high, np.float32(0.0)), SURROUNDINGS) / np.maximum(share, 0.1)
    normal = lit & (np.abs(high - around) < 0.3 * around)
    if int(normal.sum()) < 1000 * BINS:
        return NOT_MEASURED
    order = np.argsort(around[normal], kind="stable")
    bins = np.array_split(order, BINS)
    low, high = low[normal], high[normal]
    middle = np.median(low / high)
    spread = 1.4826 * np.median(np.abs(low / high - middle))
    keep = np.abs(low / high - middle) < 6.0 * spread
    means = np.array(
        [(low[one][keep[one]].mean(dtype=np.float64), high[one][keep[one]].mean(dtype=np.float64)) for one in bins]
    )
    x = means[:, 1] - means[:, 0]
    ratio = means[:, 0] / means[:, 1]
    slope, start = (float(one) for one in np.polyfit(x, ratio, 1))
    scatter = float(np.std(ratio - start - slope * x, ddof=2))
    a = slope / start
    error = scatter / float(np.sqrt(np.sum((x - x.mean()) ** 2))) / start
    if not (4.0 * error < a <= LARGEST_NONLINEARITY):
        return Nonlinearity(0.0, error)
    return Nonlinearity(a, error)


@dataclass(frozen=True, slots=True)
class Response:
    """One half's response, arrays (ny, nx)."""

    response: Float32
    """Median 1 over the lit field; NaN outside."""
    variance: Float32
    chi: Float32
    """Root of the reduced chi squared of the straight line through the lamp levels; NaN with one level."""
    lamp: tuple[float, ...]
    """ADU, median lit level of each lamp level, linearised."""
    nonlinearity: Nonlinearity


def response(levels: Float32, variances: Float32, lit: Mask) -> Response:
    """Slope of the pixel's signal against the lamp's level, weights 1 / variance.

    `levels` (m, ny, nx) float32 ADU, lamp minus background, faintest first, and their variances (ADU^2). The lamp's
    level of each is the half's median, not the DIT: a lamp that drifts by a percent between DITs would otherwise make
    every pixel look non-linear.
    """
    curve = nonlinearity(levels, lit)
    true = levels * (1.0 + np.float32(curve.a) * levels)
    lamp = np.array([np.median(one[lit]) for one in true], np.float64)
    weight = lamp[:, None, None] ** 2 / np.maximum(variances, 1e-6)
    total = weight.sum(axis=0)
    ratio = true / lamp[:, None, None]
    slope = (weight * ratio).sum(axis=0) / total
    chi = np.full(lit.shape, np.nan, np.float32)
    if len(levels) > 1:
        chi = np.sqrt((weight * (ratio - slope) ** 2).sum(axis=0) / (len(levels) - 1)).astype(np.float32)
    middle = float(np.median(slope[lit]))
    return Response(
        response=np.where(lit, slope / middle, np.nan).astype(np.float32),
        variance=np.where(lit, 1.0 / total / middle**2, np.nan).astype(np.float32),
        chi=chi,
        lamp=tuple(float(one) for one in lamp),
        nonlinearity=curve,
    )
