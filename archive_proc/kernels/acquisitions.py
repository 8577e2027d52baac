"""Acquisitions of an unocculted star against each other: one that went wrong is faint, off centre, without a core.

Used for the FLUX files of an observation and for any stack of PSF images (notes/irdis 6.10: a real product has its
second acquisition 104 times fainter than the first, and 8 pixels off in one channel).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

CORE = 4.0
"""Pixels about the brightest box in which the centroid is taken."""
WHOLE = 3.0
"""Radius in lambda / D that counts as the whole star for the concentration."""
PROFILE_STEP = 0.5
"""Pixels between points of the radial profile."""


@dataclass(frozen=True, slots=True)
class StarShapes:
    """Figures of n images in c channels, arrays (n, c); NaN where an image shows no positive light."""

    x: Float64
    y: Float64
    """Centroid, pixels of the image, 0-based."""
    peak: Float64
    """Highest value of the radial profile above the outermost ring, unit of the images."""
    flux: Float64
    """Sum within three lambda / D above the outermost ring."""
    fwhm: Float64
    """Full width at half maximum of the radial profile, pixels."""
    concentration: Float64
    """Sum within one lambda / D over that within three: about 0.8 for a perfect round pupil, 0.1 for flat light."""
    background: Float64
    """Median of the outermost ring over the peak."""


def star_shapes(images: NDArray[np.floating], lambda_d: tuple[float, ...]) -> StarShapes:
    """Place, brightness and shape of the star in images (n, c, ny, nx), NaN where nothing is known.

    `lambda_d`: pixels, one a channel. The star is the brightest 3 x 3 box: neither a hot pixel nor a ring.
    """
    n, channels = images.shape[:2]
    found = np.full((7, n, channels), np.nan)
    for index in range(n):
        for channel in range(channels):
            found[:, index, channel] = _shape(np.asarray(images[index, channel], np.float64), lambda_d[channel])
    return StarShapes(*found)


def _shape(image: Float64, lambda_d: float) -> tuple[float, ...]:
    ny, nx = image.shape
    y, x = np.mgrid[:ny, :nx].astype(np.float64)
    known = np.isfinite(image)
    rim = known & (np.hypot(x - (nx - 1) / 2, y - (ny - 1) / 2) > 0.42 * min(ny, nx))
    nothing = (np.nan,) * 7
    if not rim.any():
        return nothing
    level = float(np.median(image[rim]))
    light = np.where(known, image - level, 0.0)
    row, column = np.unravel_index(int(np.argmax(scipy.ndimage.uniform_filter(light, 3))), light.shape)
    at_x, at_y = float(column), float(row)
    for _ in range(3):
        near = np.clip(light, 0.0, None) * (np.hypot(x - at_x, y - at_y) <= CORE)
        if near.sum() <= 0.0:
            return nothing
        at_x, at_y = float((near * x).sum() / near.sum()), float((near * y).sum() / near.sum())
    radius = np.hypot(x - at_x, y - at_y)
    whole = float(light[radius <= WHOLE * lambda_d].sum())
    peak, fwhm = _profile(light, radius, known, 2.0 * lambda_d)
    if peak <= 0.0 or whole <= 0.0:
        return nothing
    core = float(light[radius <= lambda_d].sum())
    return at_x, at_y, peak, whole, fwhm, core / whole, level / peak


def _profile(light: Float64, radius: Float64, known: NDArray[np.bool_], reach: float) -> tuple[float, float]:
    """Peak and full width at half maximum of the radial profile; width NaN where it does not fall to half."""
    steps = np.arange(0.0, reach, PROFILE_STEP)
    inside = known & (radius < reach)
    place = np.digitize(radius[inside], steps) - 1
    total = np.bincount(place, light[inside], minlength=steps.size)
    where = np.bincount(place, radius[inside], minlength=steps.size)
    count = np.bincount(place, minlength=steps.size)
    seen = count > 0
    profile, at = total[seen] / count[seen], where[seen] / count[seen]
    peak = float(profile.max(initial=0.0))
    below = np.flatnonzero(profile < 0.5 * peak)
    if peak <= 0.0 or not below.size or below[0] == 0:
        return peak, float("nan")
    last = int(below[0])
    step = (profile[last - 1] - 0.5 * peak) / (profile[last - 1] - profile[last])
    return peak, 2.0 * float(at[last - 1] + step * (at[last] - at[last - 1]))


@dataclass(frozen=True, slots=True)
class Agreement:
    """n acquisitions against the best of them."""

    kept: NDArray[np.bool_]
    """(n,) the largest set within the factor; of two as large, the brighter."""
    reference: int
    """The brightest of those kept; -1 where none is known."""
    ratio: Float64
    """(n,) reference over this one, or this one over it where brighter: 1 or more; the worse channel. NaN unknown."""
    offset: Float64
    """(n,) pixels from the reference, the worse channel; NaN unknown."""


def agreement(peak: Float64, xy: Float64, factor: float) -> Agreement:
    """Which acquisitions belong together.

    peak: (n, c) brightness of the core, NaN or not positive where no star was found; xy: (n, c, 2) pixels, dither taken
    out; factor: how far apart peaks may be. Acquisitions gone wrong are faint, but one that is too bright (another
    neutral density than its header says) does not throw the others out either.
    """
    n = peak.shape[0]
    known = (np.isfinite(peak) & (peak > 0)).all(axis=1)
    kept = np.zeros(n, bool)
    nothing = np.full(n, np.nan)
    if not known.any():
        return Agreement(kept, -1, nothing, nothing.copy())
    members = np.flatnonzero(known)
    apart = np.array([[_apart(peak[one], peak[other]) for other in members] for one in members])
    brightness = np.log(peak[members]).mean(axis=1)
    # From each acquisition downwards: itself and the fainter ones within the factor. Brightest first, so it wins ties.
    best: NDArray[np.bool_] = np.zeros(members.size, bool)
    for first in np.argsort(-brightness, kind="stable"):
        near = (apart[first] <= factor) & (brightness <= brightness[first])
        if near.sum() > best.sum():
            best = near
    kept[members[best]] = True
    reference = int(members[best][np.argmax(brightness[best])])
    ratio, offset = nothing, nothing.copy()
    for one in members:
        ratio[one] = _apart(peak[one], peak[reference])
        offset[one] = float(np.hypot(*(xy[one] - xy[reference]).T).max())
    return Agreement(kept, reference, ratio, offset)


def _apart(one: Float64, other: Float64) -> float:
    ratio = one / other
    return float(np.maximum(ratio, 1.0 / ratio).max())
