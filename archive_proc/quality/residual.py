"""What a model of all spectra leaves of a detector frame: the whole in blocks, and its middle pixel by pixel."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from archive_proc.quality.canvas import say_why
from archive_proc.quality.images import Frame, pixel_frame
from archive_proc.quality.master_sheet import MasterReading, MasterSheet, even_limits
from archive_proc.quality.scales import Limits
from archive_proc.quality.stacks import binned

SIDE = 366
"""Pixels along a panel: between two there is room for the values of a strip and those of the next panel's axis."""
CUT_PX = 128
"""Side of the part that is shown pixel by pixel: some eight lenslets across."""


def keep_residual(given: MasterReading, residual: NDArray[np.float32]) -> None:
    """Keep (ny, nx) adu/s, NaN where no pixel counts, for `draw_residual`."""
    step = max(1, round(residual.shape[0] / 512))
    values = np.asarray(residual, np.float32)
    # The root mean square keeps what means of neighbours would hide: lobes of either sign along a trace.
    with np.errstate(invalid="ignore"):
        rms = np.sqrt(binned(values**2, step))
    given.keep("residual_rms", rms)
    given.keep("residual_mean", binned(values, step))
    given.keep("residual_step", np.array([step]))
    low = max(0, values.shape[0] // 2 - CUT_PX // 2)
    cut = values[low : low + CUT_PX, low : low + CUT_PX]
    given.keep("residual_cut", cut)
    given.keep("residual_cut|flagged", ~np.isfinite(cut))
    given.keep("residual_low", np.array([low]))
    given.limit("residual_mean", even_limits(given.found.arrays[f"{given.kind}|residual_mean"], 99.5))
    given.limit("residual_cut", even_limits(cut, 99.5))
    known = rms[np.isfinite(rms)]
    given.limit("residual_rms", Limits(0.0, float(np.percentile(known, 99))) if known.size else None)


def draw_residual(sheet: MasterSheet, top: float, title: str) -> None:
    """Three panels across a page."""
    show_residual(sheet, [sheet.page.axes(left, top, SIDE, SIDE) for left in (84, 550, 1016)], title)


def show_residual(sheet: MasterSheet, axes: list[Axes], title: str) -> None:
    """In three panels: means and root mean squares of blocks of the frame, the middle pixel by pixel."""
    if not sheet.has("residual_cut"):
        for one in axes:
            say_why(one, title, "the product has no residual image: it was made before products kept one")
        return
    step, low = int(sheet.array("residual_step")[0]), int(sheet.array("residual_low")[0])
    frame = pixel_frame(sheet.array("residual_mean").shape, step)
    sheet.image(axes[0], "residual_mean", "residual_mean", frame, f"{title}, means of {step} x {step}", "adu/s")
    sheet.image(axes[1], "residual_rms", "residual_rms", frame, "The same, root mean squares", "adu/s")
    side = sheet.array("residual_cut").shape[0]
    frame = Frame(extent=(low - 0.5, low + side - 0.5, low - 0.5, low + side - 0.5), unit="pixel")
    sheet.image(axes[2], "residual_cut", "residual_cut", frame, "Its middle, pixel by pixel", "adu/s")
    for one in axes[1:]:
        # It would stand on the values of the panel beside.
        one.set_ylabel("")
