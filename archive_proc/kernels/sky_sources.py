"""Stars in sky frames: found by their shape, so that a single sky file can be freed of them.

Skies of several files can be clipped against each other; the planes of one file show the same star. What is compact on
a scale of a few pixels is no thermal light, which is smooth over more than 30 (notes/irdis 4.2).
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from archive_proc.kernels.blocks import block_centres
from archive_proc.kernels.fill import box_mean

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

COLUMNS = ("half", "y", "x", "peak")
"""Of a table of sources: half, pixels of the half, 3 x 3 mean over the noise of one pixel."""
SURROUNDINGS = 15
"""Pixels along the side of the box that gives the light around a source."""
PIXEL_SIGMA, MEAN_SIGMA = 3.0, 8.0
"""Nearly all pixels of the 3 x 3 above the first, their mean above the second of its own: cosmic rays and hot pixels
are rarely as wide, noise never."""
NEARLY_ALL = 0.85
MARGIN, FARTHEST = 4.0, 150.0
"""Pixels."""
BRIDGE = 2.0
"""Blocks (Gaussian sigma)."""


def find_sources(light: Float32, good: Mask, *, gain: float, read_noise: float) -> Float64:
    """Compact sources in part of a sky plane: a table (m, 4) of `COLUMNS`, y relative to the part's first row.

    light, good: (2, ny, nx) ADU above the detector's level, after the flat; the lowest of a file's planes, so that
    cosmic rays are out. `read_noise` ADU.
    """
    values = np.where(good, light, np.float32(0))
    weight = good.astype(np.float32)
    found: list[tuple[float, float, float, float]] = []
    for half in range(light.shape[0]):
        share = scipy.ndimage.uniform_filter(weight[half], SURROUNDINGS, mode="constant")
        around = scipy.ndimage.uniform_filter(values[half], SURROUNDINGS, mode="constant") / np.maximum(share, 1e-3)
        # The source itself is part of its surroundings: that makes it fainter by a few percent, nothing else.
        above = np.where(good[half], values[half] - around, np.float32(0))
        noise = np.sqrt(np.maximum(around, 0.0) / np.float32(gain) + np.float32(read_noise) ** 2)
        members = scipy.ndimage.uniform_filter(weight[half], 3, mode="constant") * 9.0
        mean = box_mean(above, good[half])
        hit = good[half] & (members >= 4.5) & (mean > MEAN_SIGMA * noise / np.sqrt(np.maximum(members, 1.0)))
        if not hit.any():
            continue
        high = (
            scipy.ndimage.uniform_filter(
                (good[half] & (above > PIXEL_SIGMA * noise)).astype(np.float32), 3, mode="constant"
            )
            * 9.0
        )
        hit &= high >= NEARLY_ALL * members
        places, n = scipy.ndimage.label(scipy.ndimage.binary_dilation(hit, iterations=2))
        for index in range(1, n + 1):
            y, x = np.nonzero((places == index) & hit)
            best = int(np.argmax(mean[y, x]))
            found.append((half, y[best], x[best], mean[y[best], x[best]] / noise[y[best], x[best]]))
    return np.array(found, np.float64).reshape(len(found), len(COLUMNS))


def reach(peak: Float64, lambda_d: tuple[float, float], half: NDArray[np.int64]) -> Float64:
    """(m,) pixels from a source's middle within which its light exceeds the noise of one pixel.

    Envelope of the diffraction pattern with the halo about it: falls as the third power of the radius in lambda / D.
    """
    return np.minimum(np.array(lambda_d)[half] * np.cbrt(peak) + MARGIN, FARTHEST)


def hidden_pixels(sources: Float64, lambda_d: tuple[float, float], rows: slice, nx: int) -> Mask:
    """(2, rows, nx) True where one of the sources (m, 4) shines; `rows` of the half."""
    y, x = np.arange(rows.start, rows.stop)[:, None], np.arange(nx)[None, :]
    return _within(sources, lambda_d, y, x, 0.0)


def hidden_blocks(sources: Float64, lambda_d: tuple[float, float], n_blocks: int) -> Mask:
    """(2, by, bx) True for blocks that one of the sources (m, 4) reaches."""
    centres = block_centres(n_blocks)
    return _within(sources, lambda_d, centres[:, None], centres[None, :], 11.0)


def _within(
    sources: Float64, lambda_d: tuple[float, float], y: NDArray[np.number], x: NDArray[np.number], more: float
) -> Mask:
    hidden = np.zeros((2, y.size, x.size), bool)
    half = sources[:, 0].astype(np.int64)
    for one, at, radius in zip(sources, half, reach(sources[:, 3], lambda_d, half), strict=True):
        hidden[at] |= np.hypot(y - one[1], x - one[2]) <= radius + more
    return hidden


def bridged(blocks: Float64, hidden: Mask) -> Float64:
    """Block means (2, by, bx) with the hidden ones taken from those around them; NaN elsewhere stays."""
    seen = np.isfinite(blocks) & ~hidden
    out = blocks.copy()
    for half in range(len(blocks)):
        if not (hidden[half].any() and seen[half].any()):
            continue
        # Wide holes: a wider kernel until every hidden block has neighbours that count.
        for sigma in (BRIDGE, 2 * BRIDGE, 4 * BRIDGE, 16 * BRIDGE):
            weight = scipy.ndimage.gaussian_filter(seen[half].astype(np.float64), sigma, mode="constant")
            mean = scipy.ndimage.gaussian_filter(np.where(seen[half], blocks[half], 0.0), sigma, mode="constant")
            missing = hidden[half] & (weight > 1e-3) & ~np.isfinite(np.where(hidden[half], out[half], 0.0))
            out[half][missing] = mean[missing] / weight[missing]
    return out
