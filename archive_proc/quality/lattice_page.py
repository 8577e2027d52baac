"""The page of spectra positions: labelled lattice over the detector, what each tile says, lamp light in the field."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.dispersion import field_terms
from archive_proc.kernels.lenslets import ROW_STEP
from archive_proc.quality.canvas import FIRST, INK, SECOND
from archive_proc.quality.hexagons import extent_frame, hexagon_field, mark_stop
from archive_proc.quality.images import HALO
from archive_proc.quality.master_sheet import Array, MasterKind, MasterReading, MasterSheet
from archive_proc.quality.panels import show_histogram, show_tiles
from archive_proc.quality.scales import Limits

EVERY = 20
"""Lattice lines that are drawn over the detector: every twentieth of q and of r."""
SPAN_PX = 150
"""Side of the part of the detector that is shown with the label of every lenslet."""
LARGE, TILES = 720, 330
"""Pixels along the map of the detector, and along the maps of tiles."""


def read_lattice(given: MasterReading) -> None:
    """Places of the lenslets, misfit of the tiles, lamp light on hexagons."""
    arrays = {name: np.asarray(given.array(name)) for name in _NEEDED}
    q, r, x, y = (arrays[name] for name in ("hex_q", "hex_r", "lenslet_x", "lenslet_y"))
    coefficients = np.asarray(arrays["coefficients"], float)
    for name in ("hex_q", "hex_r"):
        given.keep(name, arrays[name])
    given.keep("places", (field_terms(x, y) @ coefficients.T).astype(np.float32))
    given.keep("light_of", np.asarray(arrays["light"], np.float32))
    lenslets = load_tables().ifs.lenslets
    given.keep("outline", _outline(lenslets.field_stop, coefficients))
    given.keep("stop", np.array(lenslets.field_stop))
    tile_q, tile_r = np.asarray(arrays["tile_number"], float).T
    model = field_terms(tile_q + tile_r / 2.0 + lenslets.x_offset, tile_r * ROW_STEP) @ coefficients.T
    given.keep("tile_center", np.asarray(arrays["tile_center"], float))
    given.keep("tile_misfit", np.asarray(arrays["tile_origin"], float) - model)
    given.keep("tile_quality", np.asarray(arrays["tile_quality"], float))
    field = hexagon_field(q, r, x, y)
    given.keep("light", field.image(arrays["light"]))
    given.keep("light|flagged", field.holes(arrays["light"]))
    given.keep("extent", np.array(field.frame.extent))
    known = arrays["light"][np.isfinite(arrays["light"])]
    if known.size:
        given.limit("light", Limits(0.0, max(1.5, float(np.percentile(known, 99.9)))))
    attrs = given.loaded.attrs
    mode = str(attrs.get("mode", ""))
    given.say("mode", mode)
    given.keep("trace_px", np.array([load_tables().ifs.geometry(mode).trace_px]))
    margin, step = attrs.get("index_margin", "unknown"), tuple(attrs.get("index_step", ()))
    given.say("labels", f"step {step or 'unknown'} from the nominal place, margin {margin} nodes")


_NEEDED = (
    "coefficients", "hex_q", "hex_r", "lenslet_x", "lenslet_y", "light", "tile_center", "tile_origin", "tile_number",
    "tile_quality",
)  # fmt: skip


def _outline(stop: tuple[float, float, float, float], coefficients: NDArray[np.float64]) -> Array:
    """(n, 2) the field stop's edges on the detector, px."""
    left, right, low, high = stop
    along = np.linspace(0.0, 1.0, 40)
    x = np.concatenate([left + (right - left) * along, np.full(40, right), right - (right - left) * along,
                        np.full(40, left)])  # fmt: skip
    y = np.concatenate([np.full(40, low), low + (high - low) * along, np.full(40, high), high - (high - low) * along])
    return np.asarray(field_terms(x, y) @ coefficients.T)


def lattice_height(sheet: MasterSheet) -> int:
    """Pixels that the panels need."""
    return LARGE + 62 + TILES + 62


def draw_lattice(sheet: MasterSheet, top: float) -> None:
    """Detector and its middle; below, tiles and field."""
    page = sheet.page
    _detector(sheet, page.axes(84, top, LARGE, LARGE))
    _middle(sheet, page.axes(890, top, 540, 540))
    known = sheet.array("light_of")
    title = "Light of a lenslet over its surroundings"
    show_histogram(page.axes(910, top + 610, 500, 110), known, title, "1", "lenslets", limits=(0.0, 2.0))
    below = top + LARGE + 62
    center, misfit = sheet.array("tile_center"), sheet.array("tile_misfit")
    show_tiles(
        page.axes(84, below, TILES, TILES), center, sheet.array("tile_quality"), "Tiles: wave over the noise", "{:.0f}"
    )
    axes = page.axes(84 + 450, below, TILES, TILES)
    show_tiles(axes, center, np.hypot(*misfit.T), "Tiles: distance from the smooth map [pixel]", "{:.2f}")
    if len(center):
        # A tenth of a pixel is drawn as half a tile: arrows say whether neighbours disagree alike.
        axes.quiver(center[:, 0], center[:, 1] - 60, misfit[:, 0], misfit[:, 1], angles="xy", scale_units="xy",
                    scale=0.1 / 128.0, width=0.004, color=INK, zorder=4)  # fmt: skip
    axes = page.axes(84 + 900, below, TILES + 60, TILES)
    sheet.image(axes, "light", "light", extent_frame(sheet.array("extent")), "Light in the field, stop dashed", "")
    stop = sheet.array("stop")
    mark_stop(axes, (stop[0], stop[1], stop[2], stop[3]))


def _detector(sheet: MasterSheet, axes: Axes) -> None:
    q, r, places = sheet.array("hex_q"), sheet.array("hex_r"), sheet.array("places")
    light = sheet.array("light_of")
    lit = light > 0.5
    for chosen, shade in ((lit, "#9a9a9a"), (~lit, "#1a1a1a")):
        axes.plot(places[chosen, 0], places[chosen, 1], linestyle="none", marker="o", markersize=0.9, color=shade,
                  markeredgewidth=0, rasterized=True)  # fmt: skip
    for index, other, look, name in ((q, r, {"color": FIRST, "linestyle": "-"}, "q"),
                                     (r, q, {"color": SECOND, "linestyle": (0, (4, 2))}, "r")):  # fmt: skip
        for number in np.unique(index[index % EVERY == 0]):
            on = np.flatnonzero(index == number)
            on = on[np.argsort(other[on])]
            axes.plot(places[on, 0], places[on, 1], linewidth=0.6, **look)
            _label(axes, places[on], f"{name} {number}", str(look["color"]))
    outline = sheet.array("outline")
    axes.plot(outline[:, 0], outline[:, 1], color=INK, linewidth=1.1, linestyle=(0, (6, 2, 1, 2)))
    axes.set_xlim(-0.5, 2047.5)
    axes.set_ylim(-0.5, 2047.5)
    axes.set_aspect("equal")
    axes.set_title(
        f"First laser's places of {len(q)} lenslets; labels: {sheet.fact('labels')}",
        fontsize=6.4,
    )
    axes.set_xlabel(
        f"x [pixel]      full: q a multiple of {EVERY}; dashed: r; dash-dotted: field stop; "
        f"black: {int((~lit).sum())} dark or not measured"
    )
    axes.set_ylabel("y [pixel]")


def _label(axes: Axes, line: Array, words: str, colour: str) -> None:
    """Words at the middle of what a line has on the detector."""
    seen = line[(line > 40).all(axis=1) & (line < 2008).all(axis=1)]
    if len(seen) > 4:
        x, y = seen[len(seen) * 2 // 5]
        axes.text(x, y, words, fontsize=6, color=colour, ha="center", va="center", path_effects=HALO, zorder=5)


def _middle(sheet: MasterSheet, axes: Axes) -> None:
    """Every lenslet's label in the detector's middle, its spectrum as a line upwards."""
    low = 1024 - SPAN_PX // 2
    places, length = sheet.array("places"), float(sheet.array("trace_px")[0])
    near = ((places > low - 45) & (places < low + SPAN_PX + 5)).all(axis=1)
    starts = places[near]
    ends = starts + np.array([0.0, length])
    lines = np.stack([starts, ends], axis=1).tolist()
    axes.add_collection(LineCollection(lines, colors="#c8c8c8", linewidths=3.2, zorder=1))
    axes.plot(starts[:, 0], starts[:, 1], linestyle="none", marker="o", markersize=2.4, color=INK, zorder=2)
    for (x, y), one, other in zip(starts, sheet.array("hex_q")[near], sheet.array("hex_r")[near], strict=True):
        if low < x < low + SPAN_PX and low < y < low + SPAN_PX - 3:
            axes.text(x, y + 2.2, f"{one}, {other}", fontsize=5.4, ha="center", va="bottom", path_effects=HALO,
                      clip_on=True, zorder=3)  # fmt: skip
    axes.set_xlim(low, low + SPAN_PX)
    axes.set_ylim(low, low + SPAN_PX)
    axes.set_aspect("equal")
    axes.set_title("Middle: q, r of every lenslet, dot at the first laser, line: its spectrum")
    axes.set_xlabel("x [pixel]")
    axes.set_ylabel("y [pixel]")


LATTICE = MasterKind(read=read_lattice, height=lattice_height, draw=draw_lattice, pictures=(("light", "light"),))
