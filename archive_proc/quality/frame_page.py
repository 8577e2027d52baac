"""The page of a single raw frame that was extracted: its light in the field, residual, two spectra, flags."""

from __future__ import annotations

import numpy as np

from archive_proc.quality.hexagons import extent_frame
from archive_proc.quality.ifs_observation_page import IfsSheet, show_flags, show_two_spectra
from archive_proc.quality.ifs_spectra import measure_spectra
from archive_proc.quality.master_sheet import MasterKind, MasterSheet
from archive_proc.quality.residual import SIDE, draw_residual

WIDTH, HEIGHT = 560, 494
"""Pixels of the map of the field."""


def frame_height(sheet: MasterSheet) -> int:
    """Pixels that the panels need."""
    return HEIGHT + 62 + SIDE + 62 + 270


def draw_frame(sheet: MasterSheet, top: float) -> None:
    """Field and flags, residual, spectra; figures of its planes in words."""
    page, found = sheet.page, sheet.found
    axes = page.axes(84, top, WIDTH, HEIGHT)
    frame = extent_frame(sheet.array("extent"))
    sheet.image(axes, "field", "field", frame, f"Mean of the lit channels: {found.facts['plane_shown']}", "adu/s")
    spectra = IfsSheet(page, sheet.order, found, sheet.scales)
    show_flags(spectra, page.axes(1010, top, 380, 300))
    for at, words in enumerate(_plane_words(sheet)):
        page.text(860, top + 370 + 18 * at, words, fontsize=6.2)
    below = top + HEIGHT + 62
    draw_residual(sheet, below, "Planes minus model")
    show_two_spectra(spectra, below + SIDE + 66)


def _plane_words(sheet: MasterSheet) -> list[str]:
    """Figures of the planes: the middle one's, and how far they differ."""
    found = sheet.found
    named = {
        "shift_x": "shift across the dispersion [pixel]", "background_level": "background subtracted [adu/s]",
        "chi2": "reduced chi2 of the fit", "clipped": "pixels taken as outliers [%]",
    }  # fmt: skip
    words = [f"planes: {len(found.arrays['time'])}, usable {int(found.arrays['usable'].sum())}"]
    for name, title in named.items():
        values = found.arrays[name][np.isfinite(found.arrays[name])]
        said = f"{np.median(values):.4g} ({values.min():.4g} to {values.max():.4g})" if values.size else "unknown"
        words.append(f"{title}: {said}")
    return words


FRAME_SPECTRA = MasterKind(read=measure_spectra, height=frame_height, draw=draw_frame, pictures=(("field", "field"),))
