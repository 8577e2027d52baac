"""The page of a product that has none of its own: its images, and every array in numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.quality.canvas import PALE
from archive_proc.quality.detector_master import step_of
from archive_proc.quality.images import pixel_frame
from archive_proc.quality.master_sheet import Array, MasterKind, MasterReading, MasterSheet
from archive_proc.quality.readable import shortened
from archive_proc.quality.scales import image_limits
from archive_proc.quality.stacks import binned
from archive_proc.quality.words import LINE

MOST_IMAGES = 4
SIDE = 512
COLUMNS = (84, 360, 560, 640, 780, 920, 1060)
_HEADS = ("array", "size", "unit", "finite", "least", "median", "greatest")


def read_plain(given: MasterReading) -> None:
    """Images of the product, and a line about each of its arrays."""
    form = load_tables().product_types[given.kind]
    images: list[str] = []
    lines: list[str] = []
    for one in form.variables:
        if not given.has(one.name):
            continue
        values = np.asarray(given.array(one.name))
        lines.append("\t".join((one.name, _size(one.dims, values), one.units, *_numbers(values))))
        if tuple(one.dims) == ("y", "x") and values.dtype.kind == "f" and len(images) < MOST_IMAGES:
            step = step_of(values.shape)
            given.keep(one.name, binned(np.asarray(values, np.float32), step))
            given.limit(one.name, image_limits(np.asarray(values, np.float32), asinh=False))
            images.append(f"{one.name}\t{step}\t{one.long_name}\t{one.units}")
    given.say("images", "\n".join(images))
    given.say("lines", "\n".join(lines))


def _size(dims: tuple[str, ...], values: Array) -> str:
    return ", ".join(f"{dim} {n}" for dim, n in zip(dims, values.shape, strict=True))


def _numbers(values: Array) -> tuple[str, ...]:
    if values.dtype.kind not in "fiub":
        return ("", "", "", "")
    numbers: NDArray[np.float64] = np.asarray(values, np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return ("none", "", "", "")
    middle = (finite.min(), np.median(finite), finite.max())
    return (f"{100 * finite.size / numbers.size:.4g} %", *(f"{one:.5g}" for one in middle))


def _images(sheet: MasterSheet) -> list[list[str]]:
    return [one.split("\t") for one in sheet.fact("images").split("\n") if one]


def plain_height(sheet: MasterSheet) -> int:
    """Pixels that the panels need."""
    rows = (len(_images(sheet)) + 1) // 2
    return rows * (SIDE + 62) + 60 + int(LINE * len(sheet.fact("lines").split("\n")))


def draw_plain(sheet: MasterSheet, top: float) -> None:
    """Images two a row, then the table."""
    images = _images(sheet)
    for at, (name, step, title, unit) in enumerate(images):
        axes = sheet.page.axes((84, 808)[at % 2], top + (SIDE + 62) * (at // 2), SIDE, SIDE)
        frame = pixel_frame(sheet.array(name).shape, int(step))
        sheet.image(axes, name, name, frame, title, "" if unit == "1" else unit)
    line = top + (SIDE + 62) * ((len(images) + 1) // 2)
    for left, head in zip(COLUMNS, _HEADS, strict=True):
        sheet.page.text(left, line, head, fontsize=5.6, color=PALE)
    for number, row in enumerate(sheet.fact("lines").split("\n")):
        for left, cell in zip(COLUMNS, row.split("\t"), strict=False):
            sheet.page.text(left, line + 18 + LINE * number, shortened(cell, 40), fontsize=5.6)


PLAIN = MasterKind(read=read_plain, height=plain_height, draw=draw_plain, pictures=())
