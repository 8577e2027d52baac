"""The page of PSFlets: how a lenslet's light lies on the detector at nine places of the field, for each laser."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from scipy import ndimage

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.psflets import HALF, START, PsfletModel
from archive_proc.quality.canvas import hatch, say_why, shades
from archive_proc.quality.images import Frame, strip
from archive_proc.quality.master_sheet import MasterKind, MasterReading, MasterSheet, even_limits
from archive_proc.quality.panels import LINES
from archive_proc.quality.scales import Limits, Scale

Float64 = NDArray[np.float64]

FINE = 4
"""Samples a pixel, along each axis: the shape between pixels shows."""
PARTS = (0.15, 0.5, 0.85)
"""Where the nine places are, as parts of the field stop."""
PROFILE_PX = 8.0


def read_psflets(given: MasterReading) -> None:
    """Oversampled PSFlets at nine places for each laser, their widths, profiles in the middle of the field."""
    low, high = (float(one) for one in given.loaded.attrs["colour_um"])
    model = PsfletModel(
        terms=np.asarray(given.array("terms"), np.float64),
        powers=np.asarray(given.array("powers"), np.int64),
        colour_um=(low, high),
        orthonormal=np.asarray(given.array("orthonormal"), np.float64),
    )
    named = set(given.loaded.attrs.get("lasers", ()))
    lasers = [one.wavelength_um for one in load_tables().ifs.lasers if one.name in named] or [low, high]
    left, right, below, above = load_tables().ifs.lenslets.field_stop
    x = np.array([left + (right - left) * part for _ in PARTS for part in PARTS])
    y = np.array([below + (above - below) * part for part in PARTS for _ in PARTS])
    shapes = np.stack([[_shape(one) for one in model.coefficients(x, y, wavelength)] for wavelength in lasers])
    given.keep("laser", np.array(lasers))
    given.keep("shapes", shapes.astype(np.float32))
    given.keep("change", (shapes - shapes[:, 4:5]).astype(np.float32))
    given.keep("places", np.stack([x, y], axis=1))
    given.keep("area", _noise_area(shapes))
    given.keep("mosaic", _mosaic(shapes[0]))
    peak = float(shapes.max())
    # Three decades: the wings that neighbours must not take over.
    given.limit("shape", Limits(-1e-3 * peak, peak, 2e-3 * peak))
    given.limit("change", even_limits(shapes - shapes[:, 4:5], 99.5))
    given.keep("profile", np.stack([_profile(one[4]) for one in shapes]))


def _shape(coefficients: NDArray[np.float32]) -> Float64:
    """(17 FINE, 17 FINE) the spline sampled about its centre; each value is what a pixel there would hold."""
    offsets = (np.arange((2 * HALF + 1) * FINE) + 0.5) / FINE - (HALF + 0.5)
    nodes = 2.0 * (offsets + START)
    grid = np.meshgrid(nodes, nodes, indexing="ij")
    return np.asarray(
        ndimage.map_coordinates(coefficients.astype(float), grid, order=3, prefilter=False, mode="constant")
    )


def _noise_area(shapes: Float64) -> Float64:
    """Noise-equivalent area, px^2, of the last two axes."""
    return np.asarray(shapes.sum(axis=(-2, -1)) ** 2 / (shapes**2).sum(axis=(-2, -1)) / FINE**2)


def _mosaic(shapes: Float64) -> NDArray[np.float32]:
    """Nine shapes as one picture, the field's upper places on top."""
    rows = [np.concatenate(list(shapes[3 * row : 3 * row + 3]), axis=1) for row in range(3)]
    return np.concatenate(rows, axis=0).astype(np.float32)


def _profile(shape: Float64) -> Float64:
    """Mean over rings of half a pixel, out to PROFILE_PX."""
    side = (np.arange(shape.shape[0]) + 0.5) / FINE - (HALF + 0.5)
    ring = (np.hypot(*np.meshgrid(side, side)) * 2.0).astype(int).ravel()
    sums = np.bincount(ring, shape.ravel())
    return np.asarray((sums / np.maximum(np.bincount(ring), 1))[: int(2 * PROFILE_PX)])


def _side(sheet: MasterSheet) -> int:
    """Pixels along a stamp: three, a laser, and room for the values of shades."""
    return min(140, (1364 // len(sheet.array("laser")) - 40) // 3)


def psflets_height(sheet: MasterSheet) -> int:
    """Pixels that the panels need."""
    return 2 * (3 * (_side(sheet) + 20) + 50) + 300


def draw_psflets(sheet: MasterSheet, top: float) -> None:
    """Shapes, their change from the field's middle, profiles and areas."""
    lasers = sheet.array("laser")
    block = 3 * (_side(sheet) + 20) + 50
    for number, wavelength in enumerate(lasers):
        left = 60 + number * (1364 // len(lasers))
        _nine(sheet, left, top + 16, number, "shape", f"{1000 * wavelength:.2f} nm: share of the light a pixel holds")
        _nine(sheet, left, top + 16 + block, number, "change", f"{1000 * wavelength:.2f} nm: minus the field's middle")
    below = top + 2 * block + 20
    _profiles(sheet, sheet.page.axes(100, below, 560, 200))
    _areas(sheet, sheet.page.axes(790, below, 560, 200))


def _nine(sheet: MasterSheet, left: float, top: float, number: int, kind: str, title: str) -> None:
    scale = sheet.scale(kind)
    side = _side(sheet)
    sheet.page.text(left, top - 20, title, fontsize=6.8)
    images = sheet.array("shapes" if kind == "shape" else kind)[number]
    areas = sheet.array("area")[number]
    for at, (x, y) in enumerate(sheet.array("places")):
        column, row = at % 3, 2 - at // 3
        axes = sheet.page.axes(left + column * (side + 4), top + 14 + row * (side + 20), side, side)
        if scale is None:
            say_why(axes, "", "no value")
            continue
        words = f"{x:.0f}, {y:.0f}   {areas[at]:.1f} px2" if kind == "shape" else f"{x:.0f}, {y:.0f}"
        _stamp(axes, images[at], scale, words)
        if column == 2 and row == 0 and number == len(sheet.array("laser")) - 1:
            strip(sheet.page, axes, scale, "")


def _stamp(axes: Axes, image: NDArray[np.float32], scale: Scale, words: str) -> None:
    half = HALF + 0.5
    frame = Frame(extent=(-half, half, -half, half), unit="pixel")
    hatch(axes)
    axes.imshow(shades(scale.shade(image)), origin="lower", extent=frame.extent, interpolation="nearest")
    axes.set_xticks([-5, 0, 5], ["", "", ""])
    axes.set_yticks([-5, 0, 5], ["", "", ""])
    axes.set_title(words, fontsize=5.2, pad=1.5)


def _profiles(sheet: MasterSheet, axes: Axes) -> None:
    for laser, look, profile in zip(sheet.array("laser"), LINES, sheet.array("profile"), strict=False):
        radius = (np.arange(len(profile)) + 0.5) / 2.0
        axes.plot(radius, np.where(profile > 0, profile, np.nan), label=f"{1000 * laser:.2f} nm", **look)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(1e-6, 0.5)
    axes.set_title("Mean over rings, middle of the field (negative rings are not drawn)")
    axes.set_xlabel("radius [pixel]      ticks of the stamps: 5 pixels; titles: place [pitch], noise-equivalent area")
    axes.set_ylabel("share of the light a pixel holds")
    axes.grid(True)
    axes.legend(handlelength=2.6)


def _areas(sheet: MasterSheet, axes: Axes) -> None:
    areas = sheet.array("area")
    for at, ((x, y), look) in enumerate(zip(sheet.array("places"), LINES * 2, strict=False)):
        axes.plot(sheet.array("laser"), areas[:, at], label=f"{x:.0f}, {y:.0f}", marker="o", **look)
    axes.set_title("Noise-equivalent area by laser, at the nine places [pixel2]")
    axes.set_xlabel("wavelength [um]")
    axes.grid(True)
    axes.legend(ncols=3, handlelength=2.6, fontsize=5.2)


PSFLETS = MasterKind(read=read_psflets, height=psflets_height, draw=draw_psflets, pictures=(("mosaic", "shape"),))
