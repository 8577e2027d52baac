"""Figures that say how good a master or a plane is: outputs against each other, slopes, noise against its claim, jumps.

Everything here is sampled: a figure needs thousands of pixels, not millions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.combine import OUTPUT_COLUMNS

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

EVERY_ROW = 8
"""Rows looked at for the noise of a plane: one in so many."""
FAR = 300.0
"""Pixels from the star beyond which its light no longer changes from one pixel to the next as noise does."""


def by_output(values: Float32) -> Float64:
    """(n,) median of each 64-column output of an array (ny, nx), every fourth row; NaN where an output has none."""
    nx = values.shape[1]
    outputs = nx // OUTPUT_COLUMNS
    sampled = values[::4, : outputs * OUTPUT_COLUMNS].reshape(-1, outputs, OUTPUT_COLUMNS)
    flat = np.moveaxis(sampled, 1, 0).reshape(outputs, -1).astype(np.float64)
    known = np.isfinite(flat).any(axis=1)
    found = np.full(outputs, np.nan)
    found[known] = np.nanmedian(flat[known], axis=1)
    return found


def plane_slope(response: Float32) -> float:
    """Highest less lowest point of the plane that fits a half's response (ny, nx), over its lit field (finite).

    Fitted to medians of 32 x 32 blocks; NaN with fewer than ten blocks.
    """
    size = 32
    ny, nx = (length // size * size for length in response.shape)
    tiles = response[:ny, :nx].reshape(ny // size, size, nx // size, size).swapaxes(1, 2)
    blocks = tiles.reshape(ny // size, nx // size, -1)
    full = np.isfinite(blocks).mean(axis=2) > 0.9
    if int(full.sum()) < 10:
        return float("nan")
    row, column = np.nonzero(full)
    level = np.nanmedian(blocks[full].astype(np.float64), axis=1)
    design = np.stack([np.ones(row.size), row, column], axis=1)
    _, down, right = np.linalg.lstsq(design, level, rcond=None)[0]
    plane = down * row + right * column
    return float(np.ptp(plane))


def noise_ratio(flux: Float32, variance: Float32, shared: Float32, star: tuple[float, float]) -> float:
    """Scatter of neighbouring pixels over the noise their variances claim, one half (ny, nx); 1 where they are honest.

    `variance`: of this plane alone; `shared`: what all planes share (a master's noise), which pixels side by side
    scatter by just as well. From differences of pixels side by side, further than `FAR` pixels from the star, both
    with a variance: for planes that are not resampled. Robust (median of absolute values), so stars and hits do not
    count; NaN with fewer than a thousand pairs.
    """
    rows = slice(EVERY_ROW // 2, None, EVERY_ROW)
    value, claimed = flux[rows], variance[rows] + shared[rows]
    y = np.arange(flux.shape[0])[rows, None]
    x = np.arange(flux.shape[1] - 1)[None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.abs(value[:, 1:] - value[:, :-1]) / np.sqrt(claimed[:, 1:] + claimed[:, :-1])
    chosen = np.isfinite(steps) & ((x - star[0]) ** 2 + (y - star[1]) ** 2 > FAR**2)
    if int(chosen.sum()) < 1000:
        return float("nan")
    return 1.4826 * float(np.median(steps[chosen]))


def jumps(xy: Float64, trusted: NDArray[np.bool_], reach: int = 2) -> Float64:
    """(n,) distance of each place (n, 2) in a series from the median of its neighbours, up to `reach` on each side.

    Neighbours are those of `trusted` that have a place; NaN with fewer than two of them, or without a place.
    """
    found = np.full(len(xy), np.nan)
    placed = np.isfinite(xy).all(axis=1)
    members = np.flatnonzero(placed & trusted)
    for index in np.flatnonzero(placed):
        before, after = members[members < index][-reach:], members[members > index][:reach]
        near = np.concatenate([before, after])
        if near.size >= 2:
            found[index] = float(np.hypot(*(xy[index] - np.median(xy[near], axis=0))))
    return found
