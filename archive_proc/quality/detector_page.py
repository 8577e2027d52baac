"""The page of a master of the detector: images, flags, distributions, levels by detector output; modes of a sky."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from archive_proc.quality.canvas import FIRST, SECOND, hatch, say_why, shades
from archive_proc.quality.detector_master import IMAGES, OUTSIDE_NUMBER, counted_flags
from archive_proc.quality.images import pixel_frame, show_image, strip
from archive_proc.quality.master_sheet import MasterSheet
from archive_proc.quality.readable import plain
from archive_proc.quality.scales import Scale
from archive_proc.quality.tracks import LOOKS, show_shares
from archive_proc.quality.words import scales_note

WIDTH, HEIGHT = 600, 300
"""Pixels of an image panel of two halves side by side."""
SQUARE = 512
"""Pixels along an image panel of a square frame."""
LEFT = (84, 808)
ROW_GAP = 62
"""Pixels between rows of images."""
SHADES = {"DEAD": "#000000", "HOT": "#c05a00", "NOISY": "#1b4f8f", "NONLINEAR": "#8db4dd", "NEW_BAD": "#e9b48a"}
"""Map of flags: strong shades for pixels that are lost; all others share a mid-grey."""
OTHER = "#a8a8a8"


def detector_height(sheet: MasterSheet) -> int:
    """Pixels that the panels need."""
    return _rows(sheet) * (_size(sheet)[1] + ROW_GAP) + 462


def draw_detector(sheet: MasterSheet, top: float) -> None:
    """Images and maps of the detector, then distributions, then levels by output."""
    _slots(sheet, top)
    below = top + _rows(sheet) * (_size(sheet)[1] + ROW_GAP)
    _small_panels(sheet, below)
    _outputs(sheet, below + 270)


def _images(sheet: MasterSheet) -> tuple[str, ...]:
    """Images of this master."""
    return tuple(name for name in (*IMAGES, "error", "read_noise") if sheet.has(name))


def _rows(sheet: MasterSheet) -> int:
    return (len(_images(sheet)) + 1 + int(sheet.has("modes")) + 1) // 2


def _size(sheet: MasterSheet) -> tuple[int, int]:
    """Width and height of an image panel."""
    ny, nx = sheet.array("flag_image").shape
    return (WIDTH, HEIGHT) if nx >= 2 * ny else (SQUARE, SQUARE)


def _words(sheet: MasterSheet, name: str) -> tuple[str, str]:
    """Title and unit of an image."""
    title, _, unit = sheet.fact(name).partition("\t")
    return title, unit


def _step(sheet: MasterSheet) -> int:
    return int(sheet.array("step")[0])


def _slots(sheet: MasterSheet, top: float) -> None:
    """Images, the map of flags, modes: two a row; shares of flags fill a slot left over."""
    panels: list[Callable[[Axes], None]] = [_image_panel(sheet, name) for name in _images(sheet)]
    panels.append(lambda axes: _flag_map(sheet, axes))
    if sheet.has("modes"):
        panels.append(lambda axes: _modes(sheet, axes))
    width, height = _size(sheet)
    row = height + ROW_GAP
    for at, panel in enumerate(panels):
        panel(sheet.page.axes(LEFT[at % 2], top + row * (at // 2), width, height))
    if len(panels) % 2:
        _shares(sheet, sheet.page.axes(LEFT[1] + 90, top + row * (len(panels) // 2), width - 90, height))


def _image_panel(sheet: MasterSheet, name: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        title, unit = _words(sheet, name)
        image = sheet.array(name)
        scale = sheet.scale(name)
        if scale is None:
            say_why(axes, title, "no pixel inside the lit field has a value")
            return
        flagged = sheet.array(f"{name}|flagged")
        show_image(axes, image, scale, pixel_frame(image.shape, _step(sheet)), title, flagged)
        strip(sheet.page, axes, scale, "" if unit == "1" else unit)

    return draw


def _flag_map(sheet: MasterSheet, axes: Axes) -> None:
    """Which flag each pixel has; the legend names those that occur."""
    chosen = sheet.array("flag_image")
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
    frame = pixel_frame(chosen.shape, _step(sheet))
    axes.imshow(picture, origin="lower", extent=frame.extent, interpolation="nearest", aspect="equal")
    axes.set_title("Flags by type: white has none")
    axes.set_xlabel("x [pixel]")
    axes.set_ylabel("y [pixel]")
    axes.locator_params(nbins=5)
    if handles:
        axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), borderpad=0.1,
                    handlelength=1.0, columnspacing=1.0, borderaxespad=0.2)  # fmt: skip


def _shares(sheet: MasterSheet, axes: Axes) -> None:
    shares = sheet.array("flag_shares").tolist()
    names = [flag.name or "" for flag in counted_flags()]
    show_shares(axes, dict(zip(names, shares, strict=True)), "Flags", "% of lit pixels")


def _small_panels(sheet: MasterSheet, top: float) -> None:
    """Distribution of each image; shares of flags where no slot was left for them; every scale in words."""
    slots = len(_images(sheet)) + 1 + int(sheet.has("modes"))
    shares = slots % 2 == 0
    left, room = 84.0, 1324.0 - (420 if shares else 0)
    step = room / max(1, len(_images(sheet)))
    for name in _images(sheet):
        _histogram(sheet, name, sheet.page.axes(left, top, step - 76, 190))
        left += step
    if shares:
        _shares(sheet, sheet.page.axes(1178, top, 230, 190))
    listed = {}
    for name in _images(sheet):
        unit = _words(sheet, name)[1]
        scale = sheet.scale(name)
        if scale is not None:
            listed[name.replace("_", " ")] = (scale, "" if unit == "1" else unit)
    scales_note(sheet.page, 1206, top + 262, listed)


def _histogram(sheet: MasterSheet, name: str, axes: Axes) -> None:
    title, unit = _words(sheet, name)
    scale = sheet.scale(name)
    if scale is None or not sheet.has(f"{name}|histogram"):
        say_why(axes, title, "no pixel has a value")
        return
    counts, edges = sheet.array(f"{name}|histogram"), sheet.array(f"{name}|edges")
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


def _outputs(sheet: MasterSheet, top: float) -> None:
    """Median of the image and of its error by detector output, each with an axis of its own."""
    axes = sheet.page.axes(110, top, 1034, 150)
    series = [name for name in _images(sheet) if sheet.has(f"{name}|columns")]
    count = sheet.order.outputs
    if not series or not count:
        say_why(axes, "Level by output", "the detector's outputs are not known, or no pixel has a value")
        return
    drawn = []
    for look, name in enumerate(series[:2]):
        columns = sheet.array(f"{name}|columns")
        parts = [part[np.isfinite(part)] for part in np.array_split(columns, count)]
        levels = np.array([np.median(part) if part.size else np.nan for part in parts])
        unit = _words(sheet, name)[1]
        target = axes if look == 0 else axes.twinx()
        target.plot(np.arange(1, count + 1), levels, markeredgewidth=0.6, **LOOKS[look])
        target.ticklabel_format(axis="y", useOffset=False)
        target.set_ylabel(
            plain(f"{name.replace('_', ' ')}" + ("" if unit == "1" else f" [{unit}]")), color=(FIRST, SECOND)[look]
        )
        drawn.append(f"{name.replace('_', ' ')} ({_OUTPUT_LOOKS[look]})")
    axes.set_title(plain(f"Median by detector output: {'; '.join(drawn)}"))
    axes.set_xlim(0.3, count + 0.7)
    axes.set_xticks(range(2, count + 1, 2))
    axes.set_xlabel("output")
    axes.grid(True)


def _modes(sheet: MasterSheet, axes: Axes) -> None:
    """First mode and the modes of change of each channel, small; each on its own span."""
    first = sheet.array("first_mode")
    modes = sheet.array("modes")
    sigma = sheet.array("mode_sigma")
    count = int(sheet.array("mode_count")[0])
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
