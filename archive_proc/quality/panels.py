"""Small panels that several pages share: distributions, values of tiles, curves over wavelength."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from archive_proc.quality.canvas import FIRST, SECOND, hatch, say_why
from archive_proc.quality.images import HALO
from archive_proc.quality.readable import plain

Array = NDArray[Any]

BINS = 80


def show_histogram(
    axes: Axes, values: Array, title: str, unit: str, counted: str, *, limits: tuple[float, float],
    other: Array | None = None, names: tuple[str, str] = ("", ""),
) -> None:  # fmt: skip
    """How values are distributed within limits: filled grey, a second set as a dashed line; medians in the title."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        say_why(axes, title, "nothing of it was measured")
        return
    edges = np.linspace(limits[0], limits[1], BINS + 1)
    axes.stairs(np.histogram(np.clip(finite, *limits), edges)[0], edges, fill=True, color="#b0b0b0", label=names[0])
    middle = float(np.median(finite))
    axes.axvline(middle, color=FIRST, linewidth=0.9)
    words = f"median {middle:.4g}, scatter {_scatter(finite):.2g}"
    if other is not None and np.isfinite(other).any():
        second = other[np.isfinite(other)]
        axes.stairs(np.histogram(np.clip(second, *limits), edges)[0], edges, color=SECOND, linestyle=(0, (3, 1.5)),
                    linewidth=1.0, label=names[1])  # fmt: skip
        words = f"scatter {_scatter(finite):.2g}, {_scatter(second):.2g}"
        axes.legend(loc="upper right", handlelength=1.6)
    axes.set_title(plain(f"{title}: {words}"))
    axes.set_xlim(*limits)
    axes.set_xlabel("" if unit == "1" else plain(unit))
    axes.set_ylabel(counted)
    axes.locator_params(nbins=5)


def _scatter(values: Array) -> float:
    """Robust standard deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def show_tiles(axes: Axes, center: Array, values: Array, title: str, form: str) -> None:
    """A value a tile, written where the tile's centre lies on the detector; darker is greater."""
    hatch(axes)
    axes.set_title(plain(title))
    axes.set_xlim(-0.5, 2047.5)
    axes.set_ylim(-0.5, 2047.5)
    axes.set_aspect("equal")
    axes.set_xlabel("x [pixel]")
    axes.set_ylabel("y [pixel]")
    axes.locator_params(nbins=5)
    if not len(values):
        return
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    for (x, y), value in zip(center, values, strict=True):
        level = 0.0 if high <= low else (float(value) - low) / (high - low)
        # Never darker than what black words are read on.
        shade = str(0.97 - 0.42 * level)
        axes.add_patch(Rectangle((x - 128, y - 128), 256, 256, facecolor=shade, edgecolor="white", linewidth=0.5))
        axes.text(x, y + 55, form.format(float(value)), fontsize=5.8, ha="center", va="center", path_effects=HALO)


LINES: tuple[dict[str, Any], ...] = (
    {"color": "#1a1a1a", "linestyle": "-", "linewidth": 1.1},
    {"color": FIRST, "linestyle": "-", "linewidth": 0.8},
    {"color": SECOND, "linestyle": (0, (5, 2)), "linewidth": 0.8},
    {"color": FIRST, "linestyle": (0, (3, 1.5, 1, 1.5)), "linewidth": 0.8},
    {"color": SECOND, "linestyle": (0, (1, 1.5)), "linewidth": 1.0},
)
"""Looks of up to five curves: they differ in line, not in colour alone."""
