"""Panels that show an image: its scale, marks of star and mask, north and east, a bar, the values of shades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from archive_proc.quality.canvas import INK, Page, hatch, shades
from archive_proc.quality.readable import plain
from archive_proc.quality.scales import Scale

HALO = [withStroke(linewidth=1.6, foreground="white")]
"""Marks must be seen on any shade: dark ink in a white outline."""

LABEL_PX = 12.0
"""Height of a scale's number on the page, with air above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where an image's pixels lie."""

    extent: tuple[float, float, float, float]
    """x left, x right, y below, y above of its outer edges, in `unit`."""
    unit: str
    """pixel or arcsec."""


def pixel_frame(shape: tuple[int, ...], step: int = 1) -> Frame:
    """Detector pixels; `step` of them along each side of an image pixel."""
    return Frame(extent=(-0.5, shape[-1] * step - 0.5, -0.5, shape[-2] * step - 0.5), unit="pixel")


def sky_frame(shape: tuple[int, ...], scale_mas: float, step: int, star: float) -> Frame:
    """Arcseconds from the star; `star`: its index along both axes of the unbinned array."""
    size = scale_mas / 1000
    low = (-0.5 - star) * size
    return Frame(extent=(low, low + shape[-1] * step * size, low, low + shape[-2] * step * size), unit="arcsec")


def show_image(
    axes: Axes, image: NDArray[Any], scale: Scale, frame: Frame, title: str, flagged: NDArray[np.bool_] | None = None
) -> None:
    """An image in shades of its scale; hatched where there is no value, black where flagged."""
    hatch(axes)
    axes.imshow(
        shades(scale.shade(image), flagged),
        origin="lower",
        extent=frame.extent,
        interpolation="nearest",
        aspect="equal",
    )
    axes.set_title(plain(title))
    axes.set_xlabel(f"x [{frame.unit}]")
    axes.set_ylabel(f"y [{frame.unit}]")
    axes.locator_params(nbins=5)


def strip(page: Page, axes: Axes, scale: Scale, unit: str) -> None:
    """The shades of an image and their values, to the right of it."""
    box = axes.get_position()
    beside = page.figure.add_axes((box.x1 + 5 / page.width, box.y0, 9 / page.width, box.height))
    values = np.linspace(0, 1, 128)[:, None]
    beside.imshow(shades(values), origin="lower", extent=(0, 1, 0, 1), aspect="auto", interpolation="nearest")
    beside.set_xticks([])
    beside.yaxis.tick_right()
    places: list[float] = []
    words: list[str] = []
    near = max(0.055, LABEL_PX / (box.height * page.height))
    for tick in scale.ticks():
        place = float(scale.shade(tick))
        # Labels nearer than their own height would run into each other; the ends come first and last and stay.
        if places and place - places[-1] < near:
            if tick == scale.high:
                places.pop()
                words.pop()
            else:
                continue
        places.append(place)
        words.append(f"{tick:g}")
    beside.set_yticks(places, words, fontsize=5.4)
    beside.set_title(plain(unit), fontsize=5.4, loc="left", pad=2)


def mark_star(axes: Axes, x: float, y: float, size: float) -> None:
    """An open cross at the star: four strokes that leave it free; `size` is their reach in data units."""
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        axes.plot(
            [x + 0.45 * size * dx, x + size * dx], [y + 0.45 * size * dy, y + size * dy],
            color=INK, linewidth=0.9, path_effects=HALO, scalex=False, scaley=False,
        )  # fmt: skip


def mark_mask(axes: Axes, x: float, y: float, radius: float) -> None:
    """The coronagraphic mask's edge, dashed."""
    axes.add_patch(
        Circle((x, y), radius, fill=False, edgecolor=INK, linewidth=0.8, linestyle=(0, (3, 2)), path_effects=HALO)
    )


def north_east(axes: Axes, up_deg: float = 0.0) -> None:
    """Arrows to north and east (left of north); `up_deg`: position angle of the image's +y axis."""
    x0, y0, reach = 0.93, 0.07, 0.12
    for name, angle in (("N", -up_deg), ("E", 90.0 - up_deg)):
        # Counter-clockwise from +y.
        turn = np.radians(angle)
        dx, dy = -reach * np.sin(turn), reach * np.cos(turn)
        axes.add_patch(
            FancyArrowPatch(
                (x0, y0), (x0 + dx, y0 + dy), transform=axes.transAxes, arrowstyle="-|>", mutation_scale=6,
                linewidth=0.9, color=INK, shrinkA=0, shrinkB=0, path_effects=HALO,
            )
        )  # fmt: skip
        axes.text(
            x0 + 1.45 * dx, y0 + 1.45 * dy, name, transform=axes.transAxes, ha="center", va="center", fontsize=6,
            path_effects=HALO, fontweight="bold",
        )  # fmt: skip


def scale_bar(axes: Axes, length: float, words: str) -> None:
    """A bar of known length, lower left; in the units of the axes."""
    (left, right), (below, above) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    x0, y0 = left + 0.05 * (right - left), below + 0.05 * (above - below)
    axes.plot(
        [x0, x0 + length], [y0, y0], color=INK, linewidth=1.6, solid_capstyle="butt", path_effects=HALO,
        scalex=False, scaley=False,
    )  # fmt: skip
    above_bar = y0 + 0.025 * (above - below)
    axes.text(x0 + length / 2, above_bar, words, ha="center", va="bottom", fontsize=6, path_effects=HALO)
