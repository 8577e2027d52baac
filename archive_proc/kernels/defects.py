"""Pixels that glow, waver or couple: what darks of one or several DITs say about each pixel (notes/ifs 6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, permutations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.combine import local_median, robust_sigma

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

LIGHT_SHARE = 0.3
"""Of the local light, added to what a pixel may stand above it: response varies from pixel to pixel."""
NEIGHBOURHOOD = 9
"""Pixels along a side of what a pixel is compared with."""


def hot_pixels(level: Float32, least_adu: float, sigmas: float) -> tuple[Mask, Float32]:
    """Pixels of a dark, (ny, nx), that stand above their neighbourhood, and by how many ADU they do.

    Beyond `least_adu` and beyond `sigmas` robust standard deviations of all such differences: a short DIT cannot show
    a slow pixel, a long one shows more than matter.
    """
    local = local_median(level, NEIGHBOURHOOD)
    excess = level - local
    light = np.maximum(local - np.float32(np.percentile(local, 5.0)), 0.0)
    limit = max(least_adu, sigmas * robust_sigma(excess)) + np.float32(LIGHT_SHARE) * light
    return np.asarray(excess > limit), np.asarray(excess, np.float32)


def coupled_pixels(excess: Float32, least_adu: float, coupling: float) -> Mask:
    """The four neighbours of pixels so hot that `coupling` of their excess alone is beyond `least_adu`."""
    source = excess * np.float32(coupling) > least_adu
    found = np.zeros_like(source)
    found[1:] |= source[:-1]
    found[:-1] |= source[1:]
    found[:, 1:] |= source[:, :-1]
    found[:, :-1] |= source[:, 1:]
    return found


def plane_spread(planes: Float32) -> tuple[Float32, int]:
    """Variance of a pixel over planes (n, ny, nx), ADU^2, and its degrees of freedom; NaN and 0 with one plane.

    From four planes on the highest is left out, which a cosmic ray may have hit; that makes the variance of a quiet
    pixel smaller than it would be, never larger.
    """
    n = len(planes)
    if n < 2:
        return np.full(planes.shape[1:], np.nan, np.float32), 0
    if n > 3:
        planes = np.sort(planes, axis=0)[:-1]
    return np.var(planes, axis=0, ddof=1, dtype=np.float32), len(planes) - 1


def unstable_pixels(spread: Float32, freedom: int, expected: Float32, sigmas: float) -> Mask:
    """Pixels, (ny, nx), whose variance over planes a quiet pixel would show no oftener than `sigmas` of a Gaussian.

    `spread` and `freedom` as `plane_spread` gives them; `expected` ADU^2 of a quiet pixel. With two planes that is
    |difference| > sigmas sqrt(2 expected).
    """
    if freedom < 1:
        return np.zeros(spread.shape, bool)
    from scipy.stats import chi2, norm

    limit = float(chi2.isf(2.0 * norm.sf(sigmas), freedom)) / freedom
    return np.asarray(spread > np.float32(limit) * expected)


def flickering_pixels(
    excess: Float32, variance: Float32, predicted: Float32, predicted_variance: Float32, sigmas: tuple[float, float]
) -> Mask:
    """Pixels, (ny, nx), that stand above their neighbourhood now and did not at another time.

    `excess` ADU above the neighbourhood; `predicted` what another plane or dark lets expect; both with variances.
    `sigmas`: beyond the first above the neighbourhood *and* beyond the second above what is predicted. A quiet pixel
    does the first by 4 once in 30,000; a warm one always does, and the second by 2.5 once in 160. Either alone would
    have to be asked for 5 sigma to flag as few, and would miss most of the pixels that jump by a few times the noise.
    """
    above, apart = (np.float32(one) for one in sigmas)
    return np.asarray(
        (excess > above * np.sqrt(variance)) & (excess - predicted > apart * np.sqrt(variance + predicted_variance))
    )


def highest_planes(planes: Float32) -> tuple[Float32, Float32, int]:
    """The highest of planes (n, ny, nx), the mean of those below it, and of how many; needs two.

    From four planes on the highest is left out, which a cosmic ray may have hit: the next takes its place.
    """
    ordered = np.sort(planes, axis=0)
    if len(planes) > 3:
        ordered = ordered[:-1]
    return ordered[-1], ordered[:-1].mean(axis=0, dtype=np.float32), len(ordered) - 1


def inconsistent_pixels(
    levels: Sequence[Float32],
    variances: Sequence[Float32],
    dits_s: Sequence[float],
    sigmas: float,
    flicker_sigmas: tuple[float, float],
) -> Mask:
    """Pixels whose darks contradict each other: no steady dark current, or one below zero.

    `levels` and `variances` (ny, nx), ADU and ADU^2, of darks at `dits_s` (equal ones too, from different files). From
    each the median of its neighbourhood is taken off, so thermal light that changes from file to file does not count;
    `variances` do not know how differently pixels respond to that light: 3 % of its level are added. A pixel that is
    bright in a short dark must be brighter in a long one by the ratio of their DITs (`flickering_pixels`).
    """
    found = np.zeros(levels[0].shape, bool)
    if len(levels) < 2:
        return found
    local = [local_median(one, NEIGHBOURHOOD) for one in levels]
    own = [level - around for level, around in zip(levels, local, strict=True)]
    spread = [
        variance + np.square(np.float32(0.03) * np.maximum(around - np.float32(np.percentile(around, 1.0)), 0.0))
        for variance, around in zip(variances, local, strict=True)
    ]
    order = np.argsort(dits_s, kind="stable")
    for before, after in pairwise(order):
        step = own[after] - own[before]
        limit = np.float32(sigmas) * np.sqrt(spread[after] + spread[before])
        if _alike(dits_s[before], dits_s[after]):
            found |= np.abs(step) > limit
        else:
            found |= step < -limit
    for one, other in permutations(order, 2):
        if dits_s[one] < dits_s[other] or _alike(dits_s[one], dits_s[other]):
            share = np.float32(dits_s[one] / dits_s[other])
            found |= flickering_pixels(
                own[one], spread[one], share * own[other], share**2 * spread[other], flicker_sigmas
            )
    return found


def _alike(one_s: float, other_s: float) -> bool:
    return abs(one_s - other_s) <= 0.01 * max(one_s, other_s)
