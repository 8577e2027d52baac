"""Which pixels are not to be trusted, and why: flags from masters (notes/irdis 4.1, item 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.combine import local_median
from archive_proc.model.flags import Flag

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Flags = NDArray[np.uint16]


def dark_flags(
    level: Float32,
    scatter: Float32,
    typical_noise: float,
    dit_s: float,
    *,
    hot_adu: float,
    noisy_factor: float,
) -> Flags:
    """HOT and NOISY pixels of a dark or instrument background, (..., ny, nx) uint16; halves apart.

    HOT: `hot_adu` at 16 s, scaled with the DIT but not below four times the typical noise, above the local median.
    Instrument backgrounds carry light, whose pixel response varies: 30 % of the local level is added to the limit.
    NOISY: temporal scatter (NaN: unknown) over `noisy_factor` times typical, or not finite.
    """
    local = local_median(level)
    limit = max(hot_adu * dit_s / 16.0, 4.0 * typical_noise)
    light = np.maximum(local - np.float32(np.percentile(local, 5.0)), 0.0)
    flags = np.zeros(level.shape, np.uint16)
    flags[level - local > limit + 0.3 * light] |= int(Flag.HOT)
    with np.errstate(invalid="ignore"):
        flags[scatter > np.sqrt(noisy_factor**2 * (typical_noise**2 + light))] |= int(Flag.NOISY)
    flags[~np.isfinite(level)] |= int(Flag.NOISY)
    return flags


def lit_field(lamp: Float32, *, threshold: float = 0.25) -> Mask:
    """Where light falls on one half, (ny, nx): the largest area brighter than `threshold` of the lamp's typical level.

    Closed and opened by 4 pixels and without holes, so that dead pixels inside and hot ones outside do not count.
    """
    # scipy.ndimage costs a fifth of a second to import, which planning need not pay.
    from scipy import ndimage

    bright = lamp > threshold * float(np.percentile(lamp, 75.0))
    square = np.ones((3, 3), bool)
    padded = np.pad(bright, 8)
    padded = ndimage.binary_closing(padded, square, iterations=4)
    padded = ndimage.binary_opening(padded, square, iterations=4)
    labels, count = ndimage.label(padded)
    if not count:
        return np.zeros(lamp.shape, bool)
    largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    lit = ndimage.binary_fill_holes(labels == largest)
    return np.asarray(lit[8:-8, 8:-8], bool)


def touched_field(lamp: Float32, *, threshold: float = 0.01) -> Mask:
    """Where any light falls on one half, (ny, nx): as `lit_field` at 1 % of the lamp, grown by 3 pixels."""
    from scipy import ndimage

    return np.asarray(
        ndimage.binary_dilation(lit_field(lamp, threshold=threshold), np.ones((3, 3), bool), iterations=3)
    )


def flat_flags(
    response: Float32,
    chi: Float32,
    lit: Mask,
    touched: Mask,
    *,
    dead_below: float,
    dead_above: float,
    suspect: float,
    nonlinear_chi: float,
) -> Flags:
    """Flags of one half's response, (ny, nx) uint16.

    OUTSIDE where not `lit`; DEAD outside [dead_below, dead_above] or not finite; SUSPECT where it differs from the
    local 9 x 9 median by more than `suspect`; NONLINEAR where `chi` (NaN: unknown) exceeds `nonlinear_chi`; EDGE
    within 2 pixels of the border, and outside it where some light falls (`touched`): such pixels are neither lit nor
    unlit, and must not serve to measure offsets.
    """
    from scipy import ndimage

    flags = np.zeros(response.shape, np.uint16)
    inside = np.where(lit, response, np.float32(np.nan))
    with np.errstate(invalid="ignore"):
        flags[(response < dead_below) | (response > dead_above) | ~np.isfinite(response)] |= int(Flag.DEAD)
        flags[np.abs(response - local_median(inside)) > suspect] |= int(Flag.SUSPECT)
        flags[np.abs(chi) > nonlinear_chi] |= int(Flag.NONLINEAR)
    core = ndimage.binary_erosion(lit, np.ones((3, 3), bool), iterations=2)
    flags[lit & ~core] |= int(Flag.EDGE)
    flags[~lit] = int(Flag.OUTSIDE)
    flags[touched & ~lit] |= int(Flag.EDGE)
    return flags
