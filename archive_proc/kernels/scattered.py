"""Light scattered far beyond the PSFlets' windows: a halo of all of a frame's light (notes/ifs 6.7).

Its surface brightness falls with the third power of the distance, as the published cross-talk of the instrument does
(Vigan et al. 2015, MNRAS 454, 129). What falls into a PSFlet's own window, the PSFlet holds: taken off here as well, as
light smeared over squares, it would be missing from the wings. Beyond, only its slow decline counts, so that it is
computed on squares of four pixels.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.psflets import HALF

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

CORE_PX = 6.0
"""Radius at which the decline begins."""
SLOPE = 3.0
REACH_PX = 120.0
_SQUARE = 4


@lru_cache(maxsize=2)
def _turned_kernel(squares: int, side: int) -> NDArray[np.complex128]:
    """FFT of the (squares, squares) light that falls into each square from the first; its sum is 1."""
    from scipy import fft

    reach = math.ceil(REACH_PX / side)
    # Distances between the pixels of two squares, and how many pairs of pixels are so far apart.
    apart = np.arange(1 - side, side)
    pairs = (side - np.abs(apart)) / side**2
    away = side * np.arange(-reach, reach + 1)[:, None] + apart
    square = (away**2)[:, None, :, None] + (away**2)[None, :, None, :]
    light = np.where(square < REACH_PX**2, 1.0 / (1.0 + (square / CORE_PX**2) ** (0.5 * SLOPE)), 0.0)
    own = np.abs(away) <= HALF
    light[own[:, None, :, None] & own[None, :, None, :]] = 0.0
    mean = np.einsum("abij,i,j->ab", light, pairs, pairs)
    out = np.zeros((squares, squares))
    at = np.arange(-reach, reach + 1) % squares
    out[at[:, None], at[None, :]] = mean / mean.sum()
    return np.asarray(fft.rfft2(out))


def take_scattered_off(light: Float32, share: float, good: Mask | None = None) -> None:
    """Take a share of an image's light, scattered, off the image (ny, nx), in place.

    The light is the image's own: what is scattered twice is neglected, a hundredth of what is scattered once. `good` as
    in `spread_light`.
    """
    from archive_proc.kernels.loops.scattered import add_from_squares

    if share > 0:
        squares = _spread_squares(light, good)
        add_from_squares(squares, np.float32(-share), light)


def spread_light(image: Float32, good: Mask | None = None) -> Float32:
    """(ny, nx) the light of an image (ny, nx), all of it scattered; dark beyond the image's edges.

    `good` (ny, nx): pixels that count, others are taken to be like the rest of their square, and a square without any
    is dark; None: all.
    """
    from archive_proc.kernels.loops.scattered import add_from_squares

    out = np.zeros(image.shape, np.float32)
    add_from_squares(_spread_squares(image, good), np.float32(1.0), out)
    return out


def _spread_squares(image: Float32, good: Mask | None) -> Float32:
    """The scattered light at the middles of the squares."""
    from scipy import fft

    from archive_proc.kernels.loops.scattered import mean_of_squares

    ny, nx = image.shape
    side = math.gcd(math.gcd(ny, nx), _SQUARE)
    coarse = np.empty((ny // side, nx // side))
    mean_of_squares(np.asarray(image, np.float32), np.ones(image.shape, bool) if good is None else good, coarse)
    # Room beyond the image: what leaves it on one side must not come back on the other.
    size = fft.next_fast_len(max(coarse.shape) + math.ceil(REACH_PX / side), real=True)
    turned = fft.rfft2(coarse, (size, size)) * _turned_kernel(size, side)
    return np.asarray(fft.irfft2(turned, (size, size))[: coarse.shape[0], : coarse.shape[1]], np.float32)
