"""The page of a master: images, map and shares of flags, distribution, levels by detector output; modes of a sky."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from archive_proc.quality.canvas import FIRST, SECOND, Page, hatch, say_why, shades, styled
from archive_proc.quality.images import pixel_frame, show_image, strip
from archive_proc.quality.master import IMAGES, OUTSIDE_NUMBER, STEP, counted_flags, scale_key
from archive_proc.quality.measured import Measured
from archive_proc.quality.orders import PageOrder
from archive_proc.quality.readable import plain
from archive_proc.quality.scales import Scale
from archive_proc.quality.tracks import LOOKS, show_shares
from archive_proc.quality.words import LEGEND, LINE, provenance, qc_table, scales_note, title_block

WIDTH, HEIGHT = 600, 300
"""Pixels of an image panel: a detector is twice as wide as high."""
LEFT = (84, 808)
ROW = HEIGHT + 62
SHADES = {"DEAD": "#000000", "HOT": "#c05a00", "NOISY": "#1b4f8f", "NONLINEAR": "#8db4dd", "NEW_BAD": "#e9b48a"}
"""Map of flags: strong shades for pixels that are lost; all others share a mid-grey."""
OTHER = "#a8a8a8"


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A page being drawn."""

    page: Page
    order: PageOrder
    found: Measured
    scales: Mapping[str, Scale]
    kind: str
    """Product type."""

    def array(self, name: str) -> bool:
        """Whether this array was measured."""
        return f"{self.kind}|{name}" in self.found.arrays

    @property
    def images(self) -> tuple[str, ...]:
        """Images of this master."""
        return tuple(name for name in (*IMAGES, "error", "read_noise") if self.array(name))

    def scale(self, name: str) -> Scale | None:
        """The night's scale of an image; None where it has no value."""
        return self.scales.get(scale_key(self.kind, name, self.found.facts["band"]))

    def words(self, name: str) -> tuple[str, str]:
        """Title and unit of an image."""
        title, _, unit = self.found.facts[f"{self.kind}|{name}"].partition("\t")
        return title, unit


def draw_master(order: PageOrder, found: Measured, scales: Mapping[str, Scale], product_type: str) -> bytes:
    """The page of one product as PNG."""
    shown = product_type in order.products and product_type not in found.notes
    n_images = len([name for name in (*IMAGES, "error", "read_noise") if f"{product_type}|{name}" in found.arrays])
    modes = f"{product_type}|modes" in found.arrays
    rows = (n_images + 1 + int(modes) + 1) // 2 if shown else 1
    qc = tuple(one for one in order.qc if one.product_type == product_type)
    lines = min(24, max(3, (len(qc) + 1) // 2))
    below = 150 + rows * ROW
    height = below + (230 + 170 + 62 if shown else 0) + 60 + int(LINE * lines) + 60
    with styled():
        page = Page(height=height)
        title_block(page, order, product_type)
        page.text(40, 108, LEGEND, fontsize=5.8)
        sheet = _Sheet(page, order, found, scales, product_type)
        if shown:
            _slots(sheet, 150)
            _small_panels(sheet, below)
            _outputs(sheet, below + 270)
        else:
            why = found.notes.get(product_type) or order.missing.get(product_type) or "it was not made"
            say_why(page.axes(LEFT[0], 150, page.width - 160, HEIGHT), product_type, why)
        qc_table(page, 40, height - 110 - int(LINE * lines), page.width - 80, qc, lines)
        provenance(page, height - 46, order)
        return page.png()


def _slots(sheet: _Sheet, top: float) -> None:
    """Images, the map of flags, modes: two a row; shares of flags fill a slot left over."""
    panels: list[Callable[[Axes], None]] = [_image_panel(sheet, name) for name in sheet.images]
    panels.append(lambda axes: _flag_map(sheet, axes))
    if sheet.array("modes"):
        panels.append(lambda axes: _modes(sheet, axes))
    for at, panel in enumerate(panels):
        panel(sheet.page.axes(LEFT[at % 2], top + ROW * (at // 2), WIDTH, HEIGHT))
    if len(panels) % 2:
        _shares(sheet, sheet.page.axes(LEFT[1] + 90, top + ROW * (len(panels) // 2), WIDTH - 90, HEIGHT))


def _image_panel(sheet: _Sheet, name: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        title, unit = sheet.words(name)
        image = sheet.found.arrays[f"{sheet.kind}|{name}"]
        scale = sheet.scale(name)
        if scale is None:
            say_why(axes, title, "no pixel inside the lit field has a value")
            return
        flagged = sheet.found.arrays[f"{sheet.kind}|{name}|flagged"]
        show_image(axes, image, scale, pixel_frame(image.shape, STEP), title, flagged)
        strip(sheet.page, axes, scale, "" if unit == "1" else unit)

    return draw


def _flag_map(sheet: _Sheet, axes: Axes) -> None:
    """Which flag each pixel has; the legend names those that occur."""
    chosen = sheet.found.arrays[f"{sheet.kind}|flag_image"]
    hatch(axes)
    picture = shades(np.where(chosen == OUTSIDE_NUMBER, np.nan, 1.0))
    names = [flag.name or "" for flag in counted_flags()]
    handles = []
    others = []
    for number, name in enumerate(names, start=1):
        hit = chosen == number
        if not hit.any():
            continue
        colour = SHADES.get(name, OTHER)
        picture[hit, :3] = [round(255 * one) for one in to_rgb(colour)]
        picture[hit, 3] = 255
        if name in SHADES:
            handles.append(Patch(facecolor=colour, edgecolor="black", linewidth=0.4, label=_lower(name)))
        else:
            others.append(_lower(name))
    if others:
        handles.append(Patch(facecolor=OTHER, edgecolor="black", linewidth=0.4, label=", ".join(others)))
    frame = pixel_frame(chosen.shape, STEP)
    axes.imshow(picture, origin="lower", extent=frame.extent, interpolation="nearest", aspect="equal")
    axes.set_title("Flags by type: white has none")
    axes.set_xlabel("x [pixel]")
    axes.set_ylabel("y [pixel]")
    axes.locator_params(nbins=5)
    if handles:
        axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), borderpad=0.1,
                    handlelength=1.0, columnspacing=1.0, borderaxespad=0.2)  # fmt: skip


def _shares(sheet: _Sheet, axes: Axes) -> None:
    shares = sheet.found.arrays[f"{sheet.kind}|flag_shares"].tolist()
    names = [flag.name or "" for flag in counted_flags()]
    show_shares(axes, dict(zip(names, shares, strict=True)), "Flags", "% of lit pixels")


def _small_panels(sheet: _Sheet, top: float) -> None:
    """Distribution of each image; shares of flags where no slot was left for them; every scale in words."""
    slots = len(sheet.images) + 1 + int(sheet.array("modes"))
    shares = slots % 2 == 0
    left, room = 84.0, 1324.0 - (420 if shares else 0)
    step = room / max(1, len(sheet.images))
    for name in sheet.images:
        _histogram(sheet, name, sheet.page.axes(left, top, step - 76, 190))
        left += step
    if shares:
        _shares(sheet, sheet.page.axes(1178, top, 230, 190))
    listed = {}
    for name in sheet.images:
        unit = sheet.words(name)[1]
        scale = sheet.scale(name)
        if scale is not None:
            listed[name.replace("_", " ")] = (scale, "" if unit == "1" else unit)
    scales_note(sheet.page, 1206, top + 262, listed)


def _histogram(sheet: _Sheet, name: str, axes: Axes) -> None:
    title, unit = sheet.words(name)
    key = f"{sheet.kind}|{name}"
    scale = sheet.scale(name)
    if scale is None or f"{key}|histogram" not in sheet.found.arrays:
        say_why(axes, title, "no pixel has a value")
        return
    counts, edges = sheet.found.arrays[f"{key}|histogram"], sheet.found.arrays[f"{key}|edges"]
    axes.stairs(np.maximum(counts, 0.5), edges, baseline=0.5, fill=True, color="#b0b0b0")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(_count))
    axes.set_xlim(scale.low, scale.high)
    middle = float(np.interp(0.5, np.cumsum(counts) / max(1, counts.sum()), edges[1:]))
    axes.axvline(middle, color=FIRST, linewidth=0.9)
    axes.set_title(plain(f"Distribution: {name.replace('_', ' ')}, median {middle:.4g}"))
    axes.set_xlabel("" if unit == "1" else plain(unit))
    axes.set_ylabel("pixels")
    axes.locator_params(axis="x", nbins=5)
    axes.minorticks_off()


def _count(value: float, _: int) -> str:
    return f"{value:g}"


_OUTPUT_LOOKS = ("filled circles, full line, left", "open squares, dashes, right")


def _outputs(sheet: _Sheet, top: float) -> None:
    """Median of the image and of its error by detector output, each with an axis of its own."""
    axes = sheet.page.axes(84, top, 1060, 150)
    series = [name for name in sheet.images if sheet.array(f"{name}|columns")]
    count = sheet.order.outputs
    if not series or not count:
        say_why(axes, "Level by output", "the detector's outputs are not known, or no pixel has a value")
        return
    drawn = []
    for look, name in enumerate(series[:2]):
        columns = sheet.found.arrays[f"{sheet.kind}|{name}|columns"]
        parts = [part[np.isfinite(part)] for part in np.array_split(columns, count)]
        levels = np.array([np.median(part) if part.size else np.nan for part in parts])
        unit = sheet.words(name)[1]
        target = axes if look == 0 else axes.twinx()
        target.plot(np.arange(1, count + 1), levels, markeredgewidth=0.6, **LOOKS[look])
        target.set_ylabel(
            plain(f"{name.replace('_', ' ')}" + ("" if unit == "1" else f" [{unit}]")), color=(FIRST, SECOND)[look]
        )
        drawn.append(f"{name.replace('_', ' ')} ({_OUTPUT_LOOKS[look]})")
    axes.set_title(plain(f"Median by detector output: {'; '.join(drawn)}"))
    axes.set_xlim(0.3, count + 0.7)
    axes.set_xticks(range(2, count + 1, 2))
    axes.set_xlabel("output")
    axes.grid(True)


def _modes(sheet: _Sheet, axes: Axes) -> None:
    """First mode and the modes of change of each channel, small; each on its own span."""
    first = sheet.found.arrays[f"{sheet.kind}|first_mode"]
    modes = sheet.found.arrays[f"{sheet.kind}|modes"]
    sigma = sheet.found.arrays[f"{sheet.kind}|mode_sigma"]
    count = int(sheet.found.arrays[f"{sheet.kind}|mode_count"][0])
    axes.set_axis_off()
    axes.set_title(f"Sky, block means: level, {len(modes)} of {count} modes (own span each; spread in adu)")
    box = axes.get_position()
    columns = 1 + len(modes)
    for channel in range(first.shape[0]):
        for column in range(columns):
            values = first[channel] if column == 0 else modes[column - 1, channel]
            small = sheet.page.figure.add_axes(
                (
                    box.x0 + box.width * column / columns,
                    box.y0 + box.height * (1 - (channel + 1) / first.shape[0]) + 2 / sheet.page.height,
                    box.width / columns * 0.94,
                    box.height / first.shape[0] - 20 / sheet.page.height,
                )
            )
            hatch(small)
            finite = values[np.isfinite(values)]
            low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
            scale = Scale(low, high if high > low else low + 1.0)
            small.imshow(shades(scale.shade(values)), origin="lower", interpolation="nearest")
            small.set_xticks([])
            small.set_yticks([])
            side = sheet.order.bands[channel] if channel < len(sheet.order.bands) else f"channel {channel + 1}"
            name = f"{side} level" if column == 0 else f"{side} mode {column}: {sigma[column - 1, channel]:.2g}"
            small.set_title(plain(name), fontsize=5.2, pad=1.5)


def _lower(name: str) -> str:
    return name.lower().replace("_", " ")
