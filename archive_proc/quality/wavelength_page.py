"""The page of a wavelength solution: what it leaves of every laser's spots, the lines of its own check, its law."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.dispersion import Dispersion
from archive_proc.kernels.lenslets import ROW_STEP
from archive_proc.quality.canvas import INK, say_why
from archive_proc.quality.hexagons import extent_frame, hexagon_field, mark_stop
from archive_proc.quality.master_sheet import MasterKind, MasterReading, MasterSheet, even_limits
from archive_proc.quality.panels import LINES, show_histogram
from archive_proc.quality.scales import Limits

WIDTH, HEIGHT = 286, 252
"""Pixels of a map of the field."""
STEP, ROW = 362, HEIGHT + 62
"""Pixels from one panel to the next, along a row and down."""
LINE_REACH_NM = 2.0
"""A line's offset is drawn within this much: refusal begins at a quarter of it."""
PLACES = ((0.5, 0.5), (0.06, 0.06), (0.94, 0.06), (0.06, 0.94), (0.94, 0.94))
"""Where in the field the law is drawn: middle and corners, as parts of the stop."""


def read_wavelength(given: MasterReading) -> None:
    """Residuals of every laser on hexagons, offsets of the checked lines, nanometres a pixel over the field."""
    q, r, x, y = (np.asarray(given.array(name)) for name in ("hex_q", "hex_r", "lenslet_x", "lenslet_y"))
    dispersion = Dispersion(np.asarray(given.array("coefficients"), float))
    lasers = np.asarray(given.array("laser"), float)
    # Products of before lenslets had places of their own have the smooth map alone.
    own = [
        np.asarray(given.array(f"offset_{axis}"), float) if given.has(f"offset_{axis}") else 0.0 * x for axis in "xy"
    ]
    model = dispersion.positions(x, y, lasers) + np.array(own)[:, :, None]
    field = hexagon_field(q, r, x, y, fine=2)
    complete = np.asarray(given.array("complete"), bool)
    given.keep("laser", lasers)
    given.keep("extent", np.array(field.frame.extent))
    everything = []
    for axis, name in enumerate("xy"):
        residual = np.asarray(given.array(f"spot_{name}"), float) - model[axis]
        # Spots of lenslets that are cut by the edge are measured worse, and not published.
        residual[~complete] = np.nan
        everything.append(residual)
        for laser in range(len(lasers)):
            given.keep(f"residual_{name}_{laser}", field.image(residual[:, laser]))
            given.keep(f"residual_{name}_{laser}|flagged", field.holes(residual[:, laser]))
    for name, offset in zip("xy", own, strict=True):
        given.keep(f"offset_{name}", field.image(offset))
    given.limit("offset", even_limits(np.concatenate(own)))
    given.keep("residuals", np.stack(everything).astype(np.float32))
    given.limit("residual", even_limits(np.concatenate(everything)))
    checked = np.asarray(given.array("checked_lenslet"), int)
    given.keep("line_offset", np.asarray(given.array("line_offset"), float))
    given.keep("checked_places", np.stack([x[checked], y[checked]], axis=1))
    throughput = np.asarray(given.array("throughput"), float)
    given.keep("throughput", field.image(throughput))
    given.keep("throughput|flagged", field.holes(throughput))
    given.keep("throughputs", throughput[complete])
    given.limit("throughput", Limits(0.9, 1.1))
    _law(given, dispersion)


def _law(given: MasterReading, dispersion: Dispersion) -> None:
    """Nanometres a pixel along the dispersion, and how far a trace leans, at a few places of the field."""
    tables = load_tables().ifs
    mode = str(given.loaded.attrs.get("mode", ""))
    low, high = tables.modes[mode].wavelength_um
    left, right, below, above = tables.lenslets.field_stop
    given.keep("stop", np.array(tables.lenslets.field_stop))
    at = np.array([(left + (right - left) * u, below + (above - below) * v) for u, v in PLACES])
    wavelengths = np.linspace(low, high, 60)
    places = dispersion.positions(at[:, 0], at[:, 1], wavelengths)
    given.keep("law_um", 0.5 * (wavelengths[1:] + wavelengths[:-1]))
    given.keep("law_nm", 1000.0 * np.diff(wavelengths) / np.diff(places[1], axis=1))
    given.keep("lean", places[0] - places[0, :, :1])
    given.keep("lean_um", wavelengths)
    # Lenslet (0, 0) stands half a pitch beside the middle.
    first = tables.lasers_of(mode)[0]
    zero = dispersion.positions(np.array([tables.lenslets.x_offset]), np.array([0.0 * ROW_STEP]),
                                np.array([first.wavelength_um]))[:, 0, 0]  # fmt: skip
    moved = zero - np.array(tables.geometry(mode).first_laser_px)
    given.say("moved", f"lenslet (0, 0) stands ({moved[0]:+.2f}, {moved[1]:+.2f}) px from the table's place")


def wavelength_height(sheet: MasterSheet) -> int:
    """Pixels that the panels need."""
    return (len(sheet.array("laser")) + 2) * ROW


def draw_wavelength(sheet: MasterSheet, top: float) -> None:
    """One row a laser; below, places and brightness of the lenslets, then the law."""
    lasers = sheet.array("laser")
    for number, wavelength in enumerate(lasers):
        _laser_row(sheet, top + ROW * number, number, float(wavelength))
    below = top + ROW * len(lasers)
    frame = extent_frame(sheet.array("extent"))
    for column, axis in enumerate("xy"):
        axes = sheet.page.axes(84 + STEP * column, below, WIDTH, HEIGHT)
        sheet.image(axes, f"offset_{axis}", "offset", frame, f"Lenslet off the smooth map, {axis}", "pixel")
        _stop(sheet, axes)
        if column:
            axes.set_ylabel("")
    axes = sheet.page.axes(84 + 2 * STEP, below, WIDTH, HEIGHT)
    sheet.image(axes, "throughput", "throughput", frame, "Brightness of spots over surroundings", "")
    _stop(sheet, axes)
    axes.set_ylabel("")
    axes = sheet.page.axes(84 + 3 * STEP + 16, below, WIDTH - 16, HEIGHT - 20)
    show_histogram(axes, sheet.array("throughputs"), "Brightness", "1", "", limits=(0.85, 1.15))
    last = below + ROW
    _curves(sheet, sheet.page.axes(84, last, STEP + WIDTH, HEIGHT - 62), "law", "Dispersion [nm a pixel]")
    _curves(
        sheet, sheet.page.axes(84 + 2 * STEP, last, STEP + WIDTH, HEIGHT - 62), "lean", "Lean of the trace in x [pixel]"
    )
    words = "Lines of the check: full where too red, open where too blue, by size; a cross where no line was found"
    sheet.page.text(
        84, last + HEIGHT - 14, f"{words}. Histograms count lenslets. Drift: {sheet.fact('moved')}.", fontsize=5.8
    )


def _stop(sheet: MasterSheet, axes: Axes) -> None:
    stop = sheet.array("stop")
    mark_stop(axes, (stop[0], stop[1], stop[2], stop[3]))


def _laser_row(sheet: MasterSheet, top: float, number: int, wavelength_um: float) -> None:
    frame = extent_frame(sheet.array("extent"))
    name = f"{1000 * wavelength_um:.2f} nm"
    for column, axis in enumerate("xy"):
        axes = sheet.page.axes(84 + STEP * column, top, WIDTH, HEIGHT)
        title = f"{name}: spot minus solution, {axis}"
        sheet.image(axes, f"residual_{axis}_{number}", "residual", frame, title, "pixel")
        _stop(sheet, axes)
        if column:
            axes.set_ylabel("")
    residuals = sheet.array("residuals")[:, :, number]
    scale = sheet.scale("residual")
    # The image's scale beside it needs room for its numbers.
    axes = sheet.page.axes(84 + 2 * STEP + 16, top, WIDTH - 16, HEIGHT - 20)
    if scale is None:
        say_why(axes, f"{name}: residuals", "no spot was measured")
    else:
        show_histogram(axes, residuals[0], name, "pixel", "", limits=(scale.low, scale.high),
                       other=residuals[1], names=("x", "y"))  # fmt: skip
    _lines(sheet, sheet.page.axes(84 + 3 * STEP, top, WIDTH, HEIGHT), number)


def _lines(sheet: MasterSheet, axes: Axes, number: int) -> None:
    """Lines of the checked lenslets: size and sense of the offset, crosses where no line was found."""
    offsets: NDArray[np.float64] = sheet.array("line_offset")[:, number]
    places = sheet.array("checked_places")
    found = np.isfinite(offsets)
    left, right, low, high = sheet.array("extent")
    size = 1.0 + 22.0 * np.minimum(np.abs(offsets), LINE_REACH_NM) / LINE_REACH_NM
    for chosen, marker, face in ((found & (offsets >= 0), "o", INK), (found & (offsets < 0), "o", "white")):
        axes.scatter(places[chosen, 0], places[chosen, 1], s=size[chosen], marker=marker, facecolors=face,
                     edgecolors=INK, linewidths=0.4)  # fmt: skip
    axes.scatter(places[~found, 0], places[~found, 1], s=14, marker="x", color=INK, linewidths=0.8)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")
    axes.set_xlabel("x [pitch]")
    axes.set_ylabel("y [pitch]")
    axes.locator_params(nbins=5)
    words = f"{np.median(offsets[found]):+.2f} nm, scatter {_scatter(offsets[found]):.2f}, " if found.any() else ""
    axes.set_title(f"Line {words}{int((~found).sum())} without")


def _scatter(values: NDArray[np.float64]) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _curves(sheet: MasterSheet, axes: Axes, kind: str, title: str) -> None:
    """A curve a place of the field, over wavelength."""
    wavelengths = sheet.array("law_um" if kind == "law" else "lean_um")
    values = sheet.array("law_nm" if kind == "law" else "lean")
    names = ("middle", "low left", "low right", "top left", "top right")
    for name, look, curve in zip(names, LINES, values, strict=True):
        axes.plot(wavelengths, curve, label=name, **look)
    axes.legend(ncols=1, handlelength=2.6, borderpad=0.1)
    axes.set_title(title)
    axes.set_xlabel("wavelength [um]")
    axes.grid(True)
    for laser in sheet.array("laser"):
        axes.axvline(laser, color="#6b6b6b", linewidth=0.5, linestyle=(0, (1, 2)))


WAVELENGTH = MasterKind(
    read=read_wavelength, height=wavelength_height, draw=draw_wavelength,
    pictures=(("residual_y_1", "residual"), ("residual_y_0", "residual"), ("throughput", "throughput")),
)  # fmt: skip
