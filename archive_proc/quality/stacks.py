"""Planes of a cube for looking at: evenly chosen ones, read in runs, binned, centred cut-outs, medians, derotated.

Memory is bounded whatever the sequence's length: at most `MOST_PLANES` planes, four at a time at full size, and the
stack of binned ones (32 x 2 x 512 x 512 float32: 67 MB).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from archive_proc.model.flags import Flag
from archive_proc.storage.products import PlaneSource

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Flags = NDArray[np.uint16]

MOST_PLANES = 32
RUN = 4
"""Planes of one inner chunk: any one of them costs the decoding of all four, picking single planes forty times that."""

WEIGHTLESS = (
    Flag.DEAD
    | Flag.HOT
    | Flag.NOISY
    | Flag.NONLINEAR
    | Flag.SATURATED
    | Flag.COSMIC
    | Flag.PERSISTENCE
    | Flag.FILLED
    | Flag.LOW_WEIGHT
    | Flag.NEW_BAD
    | Flag.NEVER_WRITTEN
)
"""Flags that a page shows black: the value has weight zero. OUTSIDE pixels are NaN already."""


def chosen_planes(usable: Mask, most: int = MOST_PLANES) -> NDArray[np.int32]:
    """Usable planes to look at: all, or runs of four evenly spread in time, `most` at the utmost; sorted.

    >>> chosen_planes(np.ones(100, bool), 8).tolist()
    [0, 1, 2, 3, 96, 97, 98, 99]
    """
    rows = np.flatnonzero(usable)
    if len(rows) <= most:
        return rows.astype(np.int32)
    runs = max(1, most // RUN)
    # Runs begin on chunks of four planes, so that each decodes one chunk.
    chunks = np.unique(rows // RUN)
    picked = chunks[np.unique(np.round(np.linspace(0, len(chunks) - 1, runs)).astype(int))]
    return rows[np.isin(rows // RUN, picked)][:most].astype(np.int32)


def runs_of(planes: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    """Consecutive planes, at most one chunk at a time."""
    start = 0
    for at in range(1, len(planes) + 1):
        if at == len(planes) or planes[at] != planes[at - 1] + 1 or planes[at] % RUN == 0:
            yield planes[start:at]
            start = at


def read_runs(group: Path, planes: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.int32], Float32, Flags]]:
    """(planes, flux, flags) of a cube, run by run; arrays (n, channel, y, x).

    Raises DataFailure AP-STO-014 where the product cannot be read.
    """
    source = PlaneSource(group, ("flux", "flags"))
    for run in runs_of(planes):
        arrays = source.read(run)
        yield run, arrays["flux"], arrays["flags"]


def binned(values: Float32, step: int) -> Float32:
    """Means of step x step pixels over those that are finite, (..., y / step, x / step); NaN where none is."""
    if step == 1:
        return values
    *front, ny, nx = values.shape
    cells = values[..., : ny // step * step, : nx // step * step].reshape(*front, ny // step, step, nx // step, step)
    finite = np.isfinite(cells)
    count = finite.sum(axis=(-3, -1))
    total = np.where(finite, cells, 0).sum(axis=(-3, -1), dtype=np.float32)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def any_binned(mask: Mask, step: int, share: float = 0.5) -> Mask:
    """True where at least `share` of step x step pixels is."""
    if step == 1:
        return mask
    *front, ny, nx = mask.shape
    cells = mask[..., : ny // step * step, : nx // step * step].reshape(*front, ny // step, step, nx // step, step)
    return np.asarray(cells.mean(axis=(-3, -1)) >= share)


def median_of(stack: Float32) -> Float32:
    """Median along the first axis over finite values, NaN where there are none."""
    ordered = np.sort(stack, axis=0)
    count = np.isfinite(stack).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(stack) - 1)
    below = np.take_along_axis(ordered, low[None], axis=0)[0]
    above = np.take_along_axis(ordered, high[None], axis=0)[0]
    return np.where(count > 0, (below + above) / 2, np.nan).astype(np.float32)


def derotated(image: Float32, angle_deg: float, center: tuple[float, float]) -> Float32:
    """The image turned counter-clockwise by `angle_deg` about `center` (x, y), bilinear: north up when the angle is the
    plane's `derotation_angle` (DESIGN 8). NaN where a neighbour is.
    """
    angle = np.radians(angle_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    # Output (y, x) -> input (y, x): the inverse turn, clockwise.
    matrix = np.array([[cos, -sin], [sin, cos]])
    middle = np.array([center[1], center[0]])
    turned = ndimage.affine_transform(
        image, matrix, offset=middle - matrix @ middle, order=1, mode="constant", cval=np.nan, output=np.float32
    )
    return np.asarray(turned, np.float32)


def cut(values: NDArray[np.generic], center: int, radius: int) -> NDArray[np.generic]:
    """The square of 2 radius + 1 pixels about a central pixel of the last two axes, smaller at the array's edge."""
    low_y, low_x = max(0, center - radius), max(0, center - radius)
    return values[..., low_y : center + radius + 1, low_x : center + radius + 1]


def holes(image: Float32) -> Mask:
    """NaN pixels enclosed by values: flagged in every plane. What is open to the edge lies outside the lit field."""
    empty = np.isnan(image)
    regions, _ = ndimage.label(empty)
    edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    sizes = np.bincount(regions.ravel())
    # A flagged pixel at the very edge of a cut-out is no field edge.
    open_ones = [one for one in np.unique(edge) if one and sizes[one] > image.shape[0]]
    return empty & ~np.isin(regions, open_ones)
