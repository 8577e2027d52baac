"""Where a coronagraphic image is its own mirror image through a point: a witness of the star where no waffle tells.

Halo, ring of the mask and speckles of phase are symmetric about the star; companions and discs are not, so the result
is good to a fraction of a pixel only (notes/irdis 4.4.5).
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

FINE, COARSE = 1.5, 12.0
"""Pixels: what is smaller is noise, what is larger is the field's own slope."""
REACH = 75.0
"""Pixels about the guess that are looked at."""
SEARCH = 16
"""Pixels about the guess that are searched."""
SIGNIFICANT = 5.5
"""Robust standard deviations of the agreement at all places searched: 2.5 to 4.6 in fields without a star, 6.6 to 17
with one (simulated nights)."""


def symmetric_centre(images: Float32, guess: tuple[float, float]) -> tuple[float, float] | None:
    """x, y (pixels) about which images (k, n, n), NaN where nothing is known, agree best with themselves turned round.

    Local contrast is compared, limited to +-1: neither bright sources nor bright channels rule. None where no place
    agrees much better than others.
    """
    reach = int(REACH + 2.0 * COARSE)
    left, low = (max(round(one) - reach, 0) for one in guess)
    images = images[:, low : low + 2 * reach + 1, left : left + 2 * reach + 1]
    guess = guess[0] - left, guess[1] - low
    size = max(images.shape[1:])
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    near = np.hypot(x - guess[0], y - guess[1]) < REACH
    # Room for twice the size, or somewhat more: sizes with large prime factors take several times as long.
    room = scipy.fft.next_fast_len(2 * size, real=True)
    squares = np.zeros((room, room // 2 + 1), np.complex128)
    for image in images:
        known = np.isfinite(image)
        weight, value = known.astype(np.float64), np.where(known, image, 0.0)
        smooth = [
            scipy.ndimage.gaussian_filter(value, width) / np.maximum(scipy.ndimage.gaussian_filter(weight, width), 1e-3)
            for width in (FINE, COARSE)
        ]
        level = np.abs(smooth[1])
        contrast = np.clip((smooth[0] - smooth[1]) / np.where(level > 0, level, np.inf), -1.0, 1.0)
        squares += scipy.fft.rfft2(np.where(known & near, contrast, 0.0), (room, room)) ** 2
    # Correlation of the images with themselves turned by 180 degrees: its peak stands at twice the centre.
    score = np.asarray(scipy.fft.irfft2(squares, (room, room)))
    middle = [round(2.0 * one) for one in guess]
    rows = slice(max(middle[1] - 2 * SEARCH, 1), middle[1] + 2 * SEARCH + 1)
    columns = slice(max(middle[0] - 2 * SEARCH, 1), middle[0] + 2 * SEARCH + 1)
    part = score[rows, columns]
    if not part.size or not np.ptp(part) > 0.0:
        return None
    level = float(np.median(part))
    scatter = 1.4826 * float(np.median(np.abs(part - level)))
    if not part.max() - level > SIGNIFICANT * scatter:
        return None
    row, column = np.unravel_index(int(np.argmax(part)), part.shape)
    at = int(row) + rows.start, int(column) + columns.start
    return left + _finer(score, at, 1) / 2.0, low + _finer(score, at, 0) / 2.0


def _finer(score: NDArray[np.float64], at: tuple[int, int], axis: int) -> float:
    """Vertex of the parabola through the peak and its neighbours."""
    before, after = list(at), list(at)
    before[axis] -= 1
    after[axis] += 1
    low, peak, high = float(score[tuple(before)]), float(score[at]), float(score[tuple(after)])
    curve = low - 2.0 * peak + high
    return at[axis] + (float(np.clip(0.5 * (low - high) / curve, -0.5, 0.5)) if curve < 0.0 else 0.0)
