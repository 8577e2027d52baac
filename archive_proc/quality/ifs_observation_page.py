"""The page of an IFS observation: detector and residual, two spectra, channels, medians, PSF, tracks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.quality.canvas import Page, say_why, styled
from archive_proc.quality.ifs_spectra import COUNTED, KIND, LENSLETS
from archive_proc.quality.ifs_track_panels import draw_tracks
from archive_proc.quality.images import (
    mark_mask,
    mark_star,
    north_east,
    pixel_frame,
    scale_bar,
    show_image,
    sky_frame,
    strip,
)
from archive_proc.quality.master_sheet import MasterSheet
from archive_proc.quality.measured import Measured
from archive_proc.quality.observation_page import planes_words
from archive_proc.quality.orders import PageOrder
from archive_proc.quality.residual import show_residual
from archive_proc.quality.scales import Scale
from archive_proc.quality.spectrum_panel import show_spectrum
from archive_proc.quality.tracks import show_shares
from archive_proc.quality.words import LEGEND, provenance, qc_table, title_block

HEIGHT = 2290
SIDE = 286
"""Pixels along an image panel."""
DETECTOR_SIDE = 258
"""The same of detector frames, whose axes have four digits beside the values of the strip to their left."""
LEFTS = (74, 432, 790, 1148)
COLUMNS, SMALL = 7, 184
"""Channels in a row of the mosaic, and pixels along each."""
PSF_SIDE = 136


@dataclass(frozen=True, slots=True)
class IfsSheet:
    """A page being drawn."""

    page: Page
    order: PageOrder
    found: Measured
    scales: Mapping[str, Scale]

    @property
    def mode(self) -> str:
        """YJ or YJH, as scales name it."""
        return "+".join(self.order.bands)

    def scale(self, name: str) -> Scale | None:
        """The night's scale of what has this name in this mode."""
        return self.scales.get(f"{name}|{self.mode}")

    def why(self, product: str) -> str:
        """Why a product's panels are empty."""
        return self.found.notes.get(product) or self.order.why(product)


def draw_ifs_observation(order: PageOrder, found: Measured, scales: Mapping[str, Scale]) -> bytes:
    """The page as PNG."""
    with styled():
        page = Page(height=HEIGHT)
        sheet = IfsSheet(page, order, found, scales)
        title_block(page, order)
        page.text(40, 108, LEGEND, fontsize=5.8)
        if "stack_planes" in found.facts:
            words = f"medians of {found.facts['stack_planes']}, rotation {found.facts['rotation']}"
            page.text(page.width - 40, 108, words, fontsize=5.8, ha="right")
        _detector(sheet, 150)
        show_two_spectra(sheet, 494)
        _mosaic(sheet, 764)
        _medians(sheet, 1214)
        draw_tracks(sheet, 1568)
        page.text(page.width - 40, 1972, planes_words(order), fontsize=5.8, ha="right")
        qc_table(page, 40, 1984, page.width - 80, order.qc, 16)
        provenance(page, HEIGHT - 50, order)
        return page.png()


def _detector(sheet: IfsSheet, top: float) -> None:
    """The raw plane, and what the joint fit leaves of the calibrated ones."""
    found, order = sheet.found, sheet.order
    axes = sheet.page.axes(LEFTS[0], top, DETECTOR_SIDE, DETECTOR_SIDE)
    scale = sheet.scale("raw")
    if "raw" in found.arrays and scale is not None:
        step = int(found.arrays["raw_step"][0])
        # The day is the night's: the whole name would run into the strip's unit.
        title = f"Raw: {found.facts['raw_plane'].partition('T')[2]}"
        show_image(axes, found.arrays["raw"], scale, pixel_frame(found.arrays["raw"].shape, step), title)
        strip(sheet.page, axes, scale, "adu")
    else:
        say_why(axes, "Raw", found.notes.get("raw") or order.raw_missing)
    others = [sheet.page.axes(left, top, DETECTOR_SIDE, DETECTOR_SIDE) for left in LEFTS[1:]]
    if KIND in order.products and KIND not in found.notes:
        show_residual(MasterSheet(sheet.page, order, found, sheet.scales, KIND), others, "Planes minus model")
        # It would stand on the values of the raw plane's shades.
        others[0].set_ylabel("")
    else:
        for one in others:
            say_why(one, "Planes minus model", sheet.why(KIND))


def show_two_spectra(sheet: IfsSheet, top: float) -> None:
    """A bright lenslet's spectrum and an ordinary one's, with errors and flags."""
    for left, name in zip((84, 812), LENSLETS, strict=True):
        axes = sheet.page.axes(left, top, 610, 190)
        if f"flux_{name}" not in sheet.found.arrays:
            say_why(axes, f"Spectrum of the {name} lenslet", sheet.found.notes.get("spectrum") or sheet.why(KIND))
            continue
        show_spectrum(axes, sheet.found, name)


def _mosaic(sheet: IfsSheet, top: float) -> None:
    """Every third channel of the centred cube."""
    page, found = sheet.page, sheet.found
    scale = sheet.scale("channels")
    if "mosaic" not in found.arrays or scale is None:
        say_why(page.axes(LEFTS[0], top, page.width - 150, 2 * (SMALL + 20)), "Channels", sheet.why("_centered_cube"))
        return
    page.text(LEFTS[0], top - 22, f"Centred median by channel, every third of them; one scale [adu/s], {scale.words}, "
              f"{scale.curve}; guard: light blurred over the filter's edge", fontsize=6.4)  # fmt: skip
    images = found.arrays["mosaic"]
    # Two full rows: a channel beyond them is the reddest guard.
    for at, image in enumerate(images[: 2 * COLUMNS]):
        left, down = LEFTS[0] + (SMALL + 11) * (at % COLUMNS), top + 12 + (SMALL + 22) * (at // COLUMNS)
        axes = page.axes(left, down, SMALL, SMALL)
        _sky(sheet, axes, image, scale, found.arrays["mosaic_flagged"][at])
        guard = "" if found.arrays["mosaic_lit"][at] else ", guard"
        axes.set_title(f"{found.arrays['mosaic_um'][at]:.3f} um{guard}", pad=2)
        axes.set_xlabel("")
        axes.set_ylabel("")
        axes.set_xticklabels([])
        axes.set_yticklabels([])
        if at == len(images[:COLUMNS]) - 1:
            strip(page, axes, scale, "")


def _sky(sheet: IfsSheet, axes: Axes, image: NDArray[np.float32], scale: Scale, flagged: NDArray[np.bool_]) -> None:
    """An image about the star in arcseconds, with star and mask."""
    middle = image.shape[-1] // 2
    frame = sky_frame(image.shape, _pixel_mas(sheet.found), 1, middle)
    show_image(axes, image, scale, frame, "", flagged)
    if sheet.order.mask_diameter_mas:
        mark_mask(axes, 0.0, 0.0, sheet.order.mask_diameter_mas / 2000)


def _medians(sheet: IfsSheet, top: float) -> None:
    """All lit channels together, centred and derotated; PSF; flags."""
    page, found = sheet.page, sheet.found
    scale = sheet.scale("collapsed")
    words = found.facts.get("collapsed_channels", "all channels")
    for left, (name, title) in zip(
        LEFTS, (("collapsed", "Centred median"), ("derotated", "Derotated median")), strict=False
    ):
        axes = page.axes(left, top, SIDE, SIDE)
        if name not in found.arrays or scale is None:
            say_why(axes, title, sheet.why("_centered_cube"))
            continue
        _sky(sheet, axes, found.arrays[name], scale, found.arrays[f"{name}_flagged"])
        axes.set_title(f"{title}, {words}")
        scale_bar(axes, 0.5, '0.5"')
        mark_star(axes, 0.0, 0.0, 0.06)
        if name == "derotated":
            axes.set_ylabel("")
            north_east(axes)
            strip(page, axes, scale, "adu/s")
    _psf(sheet, LEFTS[2], top)
    show_flags(sheet, page.axes(LEFTS[3] + 110, top, 170, SIDE))


def show_flags(sheet: IfsSheet, axes: Axes) -> None:
    """Shares of the flags of spectra."""
    found = sheet.found
    if "flag_shares" in found.arrays:
        names = [flag.name or "" for flag in COUNTED]
        shares = dict(zip(names, found.arrays["flag_shares"].tolist(), strict=True))
        show_shares(axes, shares, f"Flags, {found.facts['flag_planes']}", "% of channels of lenslets")
    else:
        say_why(axes, "Flags", sheet.why(KIND))


def _psf(sheet: IfsSheet, left: float, top: float) -> None:
    """The unocculted star in four channels, each over its peak."""
    found, page = sheet.found, sheet.page
    scale = sheet.scale("psf")
    if "psf" not in found.arrays or scale is None:
        say_why(page.axes(left, top, SIDE, SIDE), "PSF", sheet.why("psf"))
        return
    mas = _pixel_mas(found)
    page.text(left, top - 30, "PSF over its peak, which is written above it [adu/s]", fontsize=6.4)
    for at, image in enumerate(found.arrays["psf"]):
        axes = page.axes(left + (PSF_SIDE + 14) * (at % 2), top + (PSF_SIDE + 20) * (at // 2), PSF_SIDE, PSF_SIDE)
        show_image(axes, image, scale, sky_frame(image.shape, mas, 1, image.shape[-1] // 2), "")
        axes.set_title(f"{found.arrays['psf_um'][at]:.3f} um: {found.arrays['psf_peak'][at]:.3g}", fontsize=5.4, pad=2)
        axes.set_xlabel("")
        axes.set_ylabel("")
        axes.set_xticks([])
        axes.set_yticks([])
        if at == 0:
            scale_bar(axes, 0.1, '0.1"')
        if at == 1:
            strip(page, axes, scale, "")


def _pixel_mas(found: Measured) -> float:
    """Pixel of the cubes, mas: of the product, else of the tables."""
    known = found.arrays.get("pixel_scale")
    return load_tables().ifs.lenslets.pixel_mas if known is None else float(known[0])
