"""Values of lenslets as they lie in the field: an image of hexagons, in pitches from the field's centre."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from archive_proc.kernels.lenslets import ROW_STEP
from archive_proc.quality.images import HALO, Frame

Array = NDArray[Any]
Float32 = NDArray[np.float32]

FINE = 4
"""Image pixels along a pitch: hexagons keep their form on panels of 500 pixels and more."""


@dataclass(frozen=True, slots=True)
class HexagonField:
    """Which lenslet each pixel of an image of the field belongs to."""

    owner: NDArray[np.int32]
    """(ny, nx) position of the lenslet, -1 where there is none."""
    frame: Frame

    def image(self, values: Array) -> Float32:
        """(ny, nx) float32 of a value a lenslet (n,); NaN outside the field, and where the value is."""
        padded = np.append(np.asarray(values, np.float32), np.float32(np.nan))
        return np.asarray(padded[self.owner], np.float32)

    def holes(self, values: Array) -> NDArray[np.bool_]:
        """(ny, nx) True on lenslets without a value."""
        return np.append(~np.isfinite(np.asarray(values, float)), False)[self.owner]


def hexagon_field(q: Array, r: Array, x: Array, y: Array, fine: int = FINE) -> HexagonField:
    """The field of n lenslets with lattice indices (q, r) at (x, y) pitches; `fine` pixels along a pitch.

    The nearest lenslet of a place follows from rounding cube coordinates (q, r, -q - r), of which the one that was
    rounded most is made to fit. Raises ValueError for no lenslet at all.
    """
    if not len(q):
        raise ValueError("no lenslet is in the product")
    offset = float(np.median(x - q - r / 2.0))
    left, low = float(x.min()) - 1.0, float(y.min()) - 1.0
    nx, ny = (int(np.ceil((float(one.max()) + 1.0 - start) * fine)) for one, start in ((x, left), (y, low)))
    px, py = np.meshgrid(left + (np.arange(nx) + 0.5) / fine, low + (np.arange(ny) + 0.5) / fine)
    exact_r = py / ROW_STEP
    exact_q = px - offset - exact_r / 2.0
    near_q, near_r, near_s = np.rint(exact_q), np.rint(exact_r), np.rint(-exact_q - exact_r)
    away_q, away_r = np.abs(near_q - exact_q), np.abs(near_r - exact_r)
    away_s = np.abs(near_s + exact_q + exact_r)
    worst_q = (away_q > away_r) & (away_q > away_s)
    near_q = np.where(worst_q, -near_r - near_s, near_q)
    near_r = np.where(~worst_q & (away_r > away_s), -near_q - near_s, near_r)
    column, row = near_q.astype(int) - int(q.min()), near_r.astype(int) - int(r.min())
    table = np.full((int(r.max() - r.min()) + 1, int(q.max() - q.min()) + 1), -1, np.int32)
    table[r - r.min(), q - q.min()] = np.arange(len(q), dtype=np.int32)
    inside = (column >= 0) & (row >= 0) & (column < table.shape[1]) & (row < table.shape[0])
    owner = np.full(px.shape, -1, np.int32)
    owner[inside] = table[row[inside], column[inside]]
    return HexagonField(owner, Frame(extent=(left, left + nx / fine, low, low + ny / fine), unit="pitch"))


def extent_frame(extent: Array) -> Frame:
    """The frame of a field that was kept as its four edges, pitches."""
    left, right, low, high = (float(one) for one in extent)
    return Frame(extent=(left, right, low, high), unit="pitch")


def mark_stop(axes: Axes, stop: tuple[float, float, float, float]) -> None:
    """The field stop's edges (x from, x to, y from, y to; pitches), dashed."""
    left, right, low, high = stop
    axes.add_patch(
        Rectangle((left, low), right - left, high - low, fill=False, edgecolor="black", linewidth=0.7,
                  linestyle=(0, (4, 2)), path_effects=HALO)
    )  # fmt: skip
