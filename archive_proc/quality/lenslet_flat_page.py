"""The page of a lenslet flat: throughput on hexagons, the lamp's spectrum, what the fit leaves of the frame."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from archive_proc.quality.canvas import FIRST, say_why
from archive_proc.quality.hexagons import extent_frame, hexagon_field
from archive_proc.quality.master_sheet import MasterKind, MasterReading, MasterSheet
from archive_proc.quality.panels import show_histogram
from archive_proc.quality.residual import SIDE, draw_residual, keep_residual
from archive_proc.quality.scales import Limits

WIDTH, HEIGHT = 560, 494
"""Pixels of a map of the field."""


def read_lenslet_flat(given: MasterReading) -> None:
    """Throughput and its error on hexagons, lamp, residual."""
    q, r, x, y = (np.asarray(given.array(name)) for name in ("hex_q", "hex_r", "lenslet_x", "lenslet_y"))
    field = hexagon_field(q, r, x, y)
    known = np.asarray(given.array("flags")) == 0
    throughput = np.where(known, np.asarray(given.array("throughput"), float), np.nan)
    error = np.where(known, np.sqrt(np.asarray(given.array("variance"), float)), np.nan)
    given.keep("extent", np.array(field.frame.extent))
    for name, values in (("throughput", throughput), ("error", error)):
        given.keep(name, field.image(values))
        given.keep(f"{name}|flagged", field.holes(values))
    given.keep("throughputs", throughput)
    given.limit("throughput", Limits(0.9, 1.1))
    if np.isfinite(error).any():
        given.limit("error", Limits(0.0, float(np.nanpercentile(error, 99))))
    for name in ("lamp", "wavelength", "bandwidth"):
        given.keep(name, np.asarray(given.array(name), float))
    given.keep("core", np.array(given.loaded.attrs.get("core_channels", ()), int))
    given.say("unknown", f"{int((~known).sum())} of {len(known)} lenslets not measured")
    if given.has("residual"):
        keep_residual(given, np.asarray(given.array("residual")))


def lenslet_flat_height(sheet: MasterSheet) -> int:
    """Pixels that the panels need."""
    return HEIGHT + 62 + SIDE + 62 + 260


def draw_lenslet_flat(sheet: MasterSheet, top: float) -> None:
    """Maps, residual and its middle, lamp and distribution."""
    page = sheet.page
    frame = extent_frame(sheet.array("extent"))
    title = f"Throughput, median 1; {sheet.fact('unknown')}"
    sheet.image(page.axes(84, top, WIDTH, HEIGHT), "throughput", "throughput", frame, title, "")
    sheet.image(page.axes(808, top, WIDTH, HEIGHT), "error", "error", frame, "Standard error of the throughput", "")
    below = top + HEIGHT + 62
    draw_residual(sheet, below, "Lamp frame minus model")
    last = below + SIDE + 66
    _lamp(sheet, page.axes(110, last, 620, 180))
    show_histogram(page.axes(880, last, 500, 180), sheet.array("throughputs"), "Throughput", "1", "lenslets",
                   limits=(0.9, 1.1))  # fmt: skip


def _lamp(sheet: MasterSheet, axes: Axes) -> None:
    lamp, wavelength, width = (sheet.array(name) for name in ("lamp", "wavelength", "bandwidth"))
    if not np.isfinite(lamp).any():
        say_why(axes, "Lamp", "its spectrum has no value")
        return
    edges = np.append(wavelength - width / 2, wavelength[-1] + width[-1] / 2)
    axes.stairs(lamp, edges, color=FIRST, linewidth=1.0)
    core = sheet.array("core")
    if core.size:
        chosen = np.zeros(len(lamp), bool)
        chosen[core] = True
        axes.stairs(np.where(chosen, lamp, 0.0), edges, fill=True, color="#d8d8d8", zorder=0)
    axes.set_title("Lamp through the instrument, median lenslet; shaded: channels that the throughput is taken from")
    axes.set_xlabel("wavelength [um]")
    axes.set_ylabel("adu/s per channel")
    axes.grid(True)


LENSLET_FLAT = MasterKind(
    read=read_lenslet_flat, height=lenslet_flat_height, draw=draw_lenslet_flat, pictures=(("throughput", "throughput"),)
)
