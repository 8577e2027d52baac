"""Light scattered far beyond the PSFlets' windows: a halo of all of a frame's light (notes/ifs 6.7).

Its surface brightness falls with the third power of the distance, as the published cross-talk of the instrument does
(Vigan et al. 2015, MNRAS 454, 129). What it puts under a spot, PSFlets hold; here only its slow decline counts, so that
it is computed on squares of eight pixels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

CORE_PX = 6.0
"""Radius at which the decline begins: within the windows of PSFlets, which know better."""
SLOPE = 3.0
REACH_PX = 120.0
_SQUARE = 8
_FINE = 4
"""Samples along a square's side in the kernel's mean over it."""


def _kernel(squares: int, side: int) -> NDArray[np.float64]:
    """(squares, squares) light that falls into each square from the first, in the order of an FFT; sum 1."""
    at = np.fft.fftfreq(squares, 1.0 / squares)
    inside = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    places = side * (at[:, None] + inside[None, :])
    square = (places**2)[:, None, :, None] + (places**2)[None, :, None, :]
    light = np.where(square < REACH_PX**2, 1.0 / (1.0 + (square / CORE_PX**2) ** (0.5 * SLOPE)), 0.0)
    mean = light.mean(axis=(2, 3))
    return np.asarray(mean / mean.sum())


def take_scattered_off(light: Float32, share: float, good: Mask | None = None) -> None:
    """Take a share of an image's light, scattered, off the image (ny, nx), in place.

    The light is the image's own: what is scattered twice is neglected, a hundredth of what is scattered once. `good` as
    in `spread_light`.
    """
    if share > 0:
        light -= np.float32(share) * spread_light(light, good)


def spread_light(image: Float32, good: Mask | None = None) -> Float32:
    """(ny, nx) the light of an image (ny, nx), all of it scattered; dark beyond the image's edges.

    `good` (ny, nx): pixels that count, others are taken to be like the rest of their square of eight, and a square
    without any is dark; None: all.
    """
    from scipy import fft, ndimage

    ny, nx = image.shape
    side = math.gcd(math.gcd(ny, nx), _SQUARE)
    shape = (ny // side, side, nx // side, side)
    if good is None:
        coarse = image.reshape(shape).mean(axis=(1, 3), dtype=np.float64)
    else:
        count = good.reshape(shape).sum(axis=(1, 3))
        total = np.where(good, image, np.float32(0)).reshape(shape).sum(axis=(1, 3), dtype=np.float64)
        coarse = total / np.maximum(count, 1)
    margin = int(np.ceil(REACH_PX / side))
    size = max(coarse.shape) + margin
    turned = fft.rfft2(coarse, (size, size)) * fft.rfft2(_kernel(size, side))
    wide = fft.irfft2(turned, (size, size))[: coarse.shape[0], : coarse.shape[1]].astype(np.float32)
    return np.asarray(ndimage.zoom(wide, side, order=1, mode="nearest", grid_mode=True), np.float32)
