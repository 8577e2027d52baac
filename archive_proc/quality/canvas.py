"""Paper and ink: figures on Agg without pyplot's state, one type face, shades, deterministic PNG bytes."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from archive_proc.quality.readable import plain, shortened
from archive_proc.storage.atomic import write_bytes

DPI = 150
PAPER_INCHES = (9.92, 14.03)
"""1.2 times A4, upright: 1488 x 2104 pixels, prints on one sheet."""

INK, PALE, RULE = "#1a1a1a", "#6b6b6b", "#c8c8c8"
"""Text, secondary text, lines: greys, so that a page loses nothing without colour."""
FIRST, SECOND = "#1b4f8f", "#c05a00"
"""Two series: dark blue and orange differ in lightness too, and always in marker and line as well."""

DARKEST = 0.24
"""Shade of the lowest value: black is kept for flagged pixels."""

STYLE: Any = {  # Any: matplotlib types its keys one by one
    "font.family": "DejaVu Sans",
    "font.size": 6.4,
    "axes.titlesize": 6.8,
    "axes.titlelocation": "left",
    "axes.titlepad": 3.0,
    "axes.labelsize": 6.2,
    "axes.labelpad": 1.5,
    "axes.linewidth": 0.5,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.labelsize": 5.8,
    "ytick.labelsize": 5.8,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.pad": 1.5,
    "ytick.major.pad": 1.5,
    "hatch.linewidth": 0.4,
    "lines.linewidth": 0.8,
    "lines.markersize": 2.6,
    "legend.fontsize": 5.8,
    "legend.frameon": False,
    "grid.color": RULE,
    "grid.linewidth": 0.3,
    "path.simplify": True,
}


class Page:
    """One sheet: boxes are placed in pixels from its upper left corner."""

    def __init__(self, width: int = 1488, height: int = 2104) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        self.canvas = FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """A box of these pixels."""
        return self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )

    def text(self, left: float, top: float, words: str, **style: Any) -> None:
        """Words whose upper left corner is here."""
        given = {"va": "top", "ha": "left", **style}
        self.figure.text(left / self.width, 1 - top / self.height, plain(words), **given)

    def rule(self, top: float, left: float = 40, right: float | None = None) -> None:
        """A thin line across."""
        end = (self.width - 40) if right is None else right
        self.figure.add_artist(
            Rectangle(
                (left / self.width, 1 - top / self.height), (end - left) / self.width, 0.6 / self.height,
                facecolor=RULE, edgecolor="none", transform=self.figure.transFigure,
            )
        )  # fmt: skip

    def png(self) -> bytes:
        """The page as PNG: a palette of greys and our two colours, no text chunk, no time; equal input, equal bytes."""
        canvas: Any = self.canvas  # Any: matplotlib leaves these two calls untyped
        canvas.draw()
        return encoded(_with_palette(np.asarray(canvas.buffer_rgba())[:, :, :3]))


GREYS, TINTS = 192, 32
"""Entries of the palette: shades of grey, then steps from white to each of the two colours. A third of the bytes."""


def _with_palette(pixels: NDArray[np.uint8]) -> Image.Image:
    """(y, x, 3) as an image of 256 colours. All there is are greys and blends of two colours with greys."""
    high, low = pixels.max(axis=2), pixels.min(axis=2)
    chroma = (high - low).astype(np.uint16)
    index = ((pixels[:, :, 1].astype(np.uint16) * (GREYS - 1) + 127) // 255).astype(np.uint8)
    coloured = chroma > 12
    for place, colour in enumerate((FIRST, SECOND)):
        full = to_rgb(colour)
        span = 255 * (max(full) - min(full))
        mine = coloured & ((pixels[:, :, 2] > pixels[:, :, 0]) == (full[2] > full[0]))
        steps = np.minimum(TINTS - 1, np.round(chroma[mine] / span * (TINTS - 1))).astype(np.uint8)
        index[mine] = GREYS + TINTS * place + steps
    image = Image.fromarray(index, "P")
    image.putpalette(_palette())
    return image


def _palette() -> bytes:
    greys = np.repeat(np.round(np.linspace(0, 255, GREYS))[:, None], 3, axis=1)
    share = np.linspace(0, 1, TINTS)[:, None]
    tints = [255 * (1 - share * (1 - np.array(to_rgb(colour)))) for colour in (FIRST, SECOND)]
    return np.round(np.concatenate([greys, *tints])).astype(np.uint8).tobytes()


def styled() -> Any:  # Any: matplotlib's context manager
    """The style of all pages, for as long as one is drawn."""
    return rc_context(STYLE)


def encoded(image: Image.Image) -> bytes:
    """PNG bytes without any metadata."""
    out = io.BytesIO()
    image.save(out, "PNG", optimize=False, compress_level=6)
    return out.getvalue()


def save(path: Path, content: bytes) -> None:
    """Put a picture in its place, whole or not at all."""
    write_bytes(path, content)


def shades(level: NDArray[Any], flagged: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """(y, x, 4) RGBA of levels 0 to 1: greys; flagged pixels black; transparent where NaN."""
    grey = np.round(255 * (DARKEST + (1 - DARKEST) * np.nan_to_num(level))).astype(np.uint8)
    alpha = np.where(np.isfinite(level), 255, 0).astype(np.uint8)
    if flagged is not None:
        grey = np.where(flagged, 0, grey)
        alpha = np.where(flagged, 255, alpha)
    return np.stack([grey, grey, grey, alpha], axis=-1)


def hatch(axes: Axes) -> None:
    """The ground of an image: what stays uncovered has no value."""
    axes.add_patch(
        Rectangle((0, 0), 1, 1, transform=axes.transAxes, facecolor="white", edgecolor="#9a9a9a", hatch="//////",
                  linewidth=0, zorder=-5)
    )  # fmt: skip


def say_why(axes: Axes, title: str, words: str) -> None:
    """A panel that cannot show its product: it says why."""
    axes.set_title(plain(title))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("#f4f4f4")
    box = axes.get_window_extent()
    # A character of this size is about 7.4 pixels wide.
    columns = max(16, int(box.width / 7.4) - 2)
    rows = max(1, int(box.height / 16) - 1)
    lines = textwrap.wrap(plain(f"Not shown: {words}"), columns)
    kept = lines if len(lines) <= rows else [*lines[: rows - 1], shortened(lines[rows - 1], columns - 1) + "…"]
    axes.text(0.5, 0.5, "\n".join(kept), transform=axes.transAxes, ha="center", va="center", fontsize=6.2, color=INK)
