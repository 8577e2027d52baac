"""What spectra of the joint fit show of light in steps finer than their channels.

A channel that holds the flank of a band is not lit evenly: its light stands to one side, and where the band lies in the
channel decides to which. A spectrum blurred from channel to channel knows nothing of it, and is off by a tenth of a
pixel with the channels' phase; light in finer steps, each brought to the detector by templates of its own and fitted
with those of the channels, is not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.joint_fit import Equations
from archive_proc.kernels.microspectra import HIGH, WIDE, Templates

Float64 = NDArray[np.float64]


def finer_edges(edges_um: Float64, parts: int) -> Float64:
    """(m parts + 1,) edges of equal parts of channels."""
    at = np.arange((edges_um.size - 1) * parts + 1) / parts
    return np.asarray(np.interp(at, np.arange(edges_um.size), edges_um), np.float64)


def fine_response(equations: Equations, members: NDArray[np.intp], fine: Templates) -> Float64:
    """(m, f) mean over lenslets: expected flux in each channel of one unit of light in each of f steps.

    `members` positions in the equations; `fine` templates of the same lenslets, in that order. What neighbours share is
    left out, as in the resolution matrix: half a per cent.
    """
    templates = equations.templates
    total = np.zeros((templates.y0.shape[1], fine.y0.shape[1]))
    for row, lens in enumerate(members):
        bottom = min(templates.y0[lens].min(), fine.y0[row].min())
        top = max(templates.y0[lens].max(), fine.y0[row].max()) + HIGH
        left = min(templates.x0[lens], fine.x0[row])
        right = max(templates.x0[lens], fine.x0[row]) + WIDE
        window = (int(bottom), int(top), int(left), int(right))
        weight = _cut(equations.weight, window).ravel()
        coarse = _spread(templates, int(lens), window) * weight
        # A Cholesky factor with inverted pivots, in lower band form.
        band = equations.factor[np.searchsorted(equations.members, lens)].astype(np.float64)
        lower = np.zeros((len(band), len(band)))
        np.fill_diagonal(lower, 1.0 / band[:, 0])
        for d in range(1, min(band.shape[1], len(band))):
            at = np.arange(len(band) - d)
            lower[at + d, at] = band[at, d]
        total += np.linalg.solve(lower @ lower.T, coarse @ _spread(fine, row, window).T)
    return total / max(len(members), 1)


def _cut(image: NDArray[np.float32], window: tuple[int, int, int, int]) -> Float64:
    """Rows and columns of a window; zero beyond the image."""
    bottom, top, left, right = window
    out = np.zeros((top - bottom, right - left))
    ny, nx = image.shape
    y0, y1, x0, x1 = max(bottom, 0), min(top, ny), max(left, 0), min(right, nx)
    if y0 < y1 and x0 < x1:
        out[y0 - bottom : y1 - bottom, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return out


def _spread(templates: Templates, lens: int, window: tuple[int, int, int, int]) -> Float64:
    """(channels, pixels) templates of one lenslet in a window that holds them all."""
    bottom, top, left, right = window
    counts, scale, y0 = templates.counts[lens], templates.scale[lens], templates.y0[lens]
    out = np.zeros((scale.size, top - bottom, right - left))
    column = int(templates.x0[lens]) - left
    for k in range(scale.size):
        row = int(y0[k]) - bottom
        out[k, row : row + HIGH, column : column + WIDE] = counts[k, :, :WIDE] * scale[k]
    return out.reshape(scale.size, -1)
