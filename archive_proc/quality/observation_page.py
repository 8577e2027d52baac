"""The page of an observation: from the raw plane to the derotated median, then what was measured over time."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from archive_proc.model.flags import Flag
from archive_proc.quality.canvas import Page, say_why, styled
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
from archive_proc.quality.measured import Measured
from archive_proc.quality.observation import BIN, ZOOM_ARCSEC, channel_names, shown_channels
from archive_proc.quality.orders import PageOrder, figures_beyond
from archive_proc.quality.readable import shortened
from archive_proc.quality.scales import Scale
from archive_proc.quality.tracks import Series, mark_unusable, mark_verdicts, show_shares, show_tracks
from archive_proc.quality.words import LEGEND, provenance, qc_table, scales_note, title_block

MJD_EPOCH = dt.datetime(1858, 11, 17)
GROUPS_LEFT = (40, 764)
"""Left edge of the two groups of panels: one a band."""
SIDE = 300
"""Pixels along an image panel."""


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A page being drawn."""

    page: Page
    order: PageOrder
    found: Measured
    scales: Mapping[str, Scale]
    names: tuple[str, ...]
    """Names of the channels."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Those shown."""
        return shown_channels(len(self.names))

    def why(self, ending: str) -> str:
        """Why a product's panels are empty."""
        return self.found.notes.get(ending) or self.order.why(ending)


def draw_observation(order: PageOrder, found: Measured, scales: Mapping[str, Scale]) -> bytes:
    """The page as PNG."""
    names = tuple(found.facts["channels"].split("\t")) if "channels" in found.facts else ()
    count = len(names) or len(order.bands) or 2
    with styled():
        page = Page()
        sheet = _Sheet(page, order, found, scales, names or channel_names(order, {}, count))
        title_block(page, order)
        page.text(40, 108, LEGEND, fontsize=5.8)
        page.text(page.width - 40, 108, _stack_words(found), fontsize=5.8, ha="right")
        _detector_row(sheet, 150)
        _stack_row(sheet, 508, inner=False)
        _stack_row(sheet, 866, inner=True)
        _psf_row(sheet, 1226)
        _tracks(sheet, 1530)
        page.text(page.width - 40, 1812, planes_words(order), fontsize=5.8, ha="right")
        qc_table(page, 40, 1812, page.width - 80, order.qc, 15)
        provenance(page, 2056, order)
        return page.png()


def planes_words(order: PageOrder) -> str:
    """How many planes are beyond a limit, and by which figures."""
    if not order.planes_judged:
        return "planes: not judged"
    verdicts = Counter(one.verdict for one in order.planes_beyond)
    figures = figures_beyond(order.planes_beyond).most_common(4)
    named = ", ".join(f"{name.replace('_', ' ')} ({number})" for name, number in figures)
    warned, refused = f"{verdicts['warn']} warned of (triangles)", f"{verdicts['refuse']} refused (crosses)"
    words = f"of {order.planes_judged} planes {warned}, {refused}"
    return shortened(f"{words}: {named}" if named else words, 150)


def _stack_words(found: Measured) -> str:
    if "stack_planes" not in found.facts:
        return ""
    return f"medians of {found.facts['stack_planes']}, rotation {found.facts['rotation']}"


def _detector_row(sheet: _Sheet, top: float) -> None:
    page, found, order = sheet.page, sheet.found, sheet.order
    axes = page.axes(GROUPS_LEFT[0] + 34, top, 2 * SIDE, SIDE)
    key = f"raw|{'+'.join(order.bands) or order.setup}"
    if "raw" in found.arrays and key in sheet.scales:
        step = int(found.arrays["raw_step"][0])
        image = found.arrays["raw"]
        show_image(axes, image, sheet.scales[key], pixel_frame(image.shape, step), f"Raw: {found.facts['raw_plane']}")
        strip(page, axes, sheet.scales[key], "adu")
        if "star" in found.arrays and found.facts.get("science_plane") == found.facts["raw_plane"]:
            half = image.shape[-1] * step / len(found.arrays["star"])
            for channel, (x, y) in enumerate(found.arrays["star"]):
                mark_star(axes, x + half * channel, y, 60)
    else:
        say_why(axes, "Raw", found.notes.get("raw") or order.raw_missing)
    for place, channel in enumerate(sheet.channels):
        axes = page.axes(GROUPS_LEFT[1] + 34 + place * 340, top, 278, 278)
        name = sheet.names[channel]
        which = found.facts.get("science_plane", "")
        # The whole name of the file would run into the panel beside.
        same = which == found.facts.get("raw_plane") or place > 0
        title = f"Calibrated {name}: " + ("same plane" if same else which.partition("T")[2])
        plane = found.arrays.get(f"calibrated_{channel}")
        scale = sheet.scales.get(f"calibrated|{name}")
        if plane is None or scale is None:
            say_why(axes, f"Calibrated {name}", sheet.why("_science_cube"))
            continue
        show_image(
            axes, plane, scale, pixel_frame(plane.shape, BIN), title, found.arrays[f"calibrated_flagged_{channel}"]
        )
        strip(page, axes, scale, "adu/s")
        if place:
            axes.set_ylabel("")
            axes.set_yticklabels([])
        x, y = found.arrays["star"][channel]
        if np.isfinite([x, y]).all():
            mark_star(axes, x, y, 60)
            if order.mask_diameter_mas:
                mark_mask(axes, x, y, order.mask_diameter_mas / 2 / found.arrays["pixel_scale"][channel])


def _stack_row(sheet: _Sheet, top: float, *, inner: bool) -> None:
    """Centred and derotated median of each band, whole or its inner arcsecond."""
    page, found = sheet.page, sheet.found
    suffix = "_inner" if inner else ""
    words = f", inner {ZOOM_ARCSEC:g} arcsec" if inner else ""
    for place, channel in enumerate(sheet.channels):
        name = sheet.names[channel]
        scale = sheet.scales.get(f"{'inner' if inner else 'stack'}|{name}")
        for column, (kind, title) in enumerate((("median", "Centred median"), ("derotated", "Derotated median"))):
            axes = page.axes(GROUPS_LEFT[place] + 34 + column * (SIDE + 12), top, SIDE, SIDE)
            image = found.arrays.get(f"{kind}{suffix}_{channel}")
            if image is None or scale is None:
                say_why(axes, f"{title} {name}{words}", sheet.why("_centered_cube"))
                continue
            flagged = found.arrays[f"{kind}{suffix}_flagged_{channel}"]
            _stack(sheet, axes, image, scale, channel, inner, f"{title} {name}{words}", flagged)
            if column:
                axes.set_ylabel("")
                axes.set_yticklabels([])
                north_east(axes)
                strip(page, axes, scale, "adu/s")


def _stack(
    sheet: _Sheet,
    axes: Axes,
    image: NDArray[Any],
    scale: Scale,
    channel: int,
    inner: bool,
    title: str,
    flagged: NDArray[np.bool_],
) -> None:
    found, order = sheet.found, sheet.order
    mas = float(found.arrays["pixel_scale"][channel])
    middle = float(found.arrays["stack_middle"][0])
    star, step = (image.shape[-1] // 2, 1) if inner else (middle, BIN)
    frame = sky_frame(image.shape, mas, step, star)
    show_image(axes, image, scale, frame, title, flagged)
    if inner:
        axes.set_xticks([-0.5, 0.0, 0.5])
        axes.set_yticks([-0.5, 0.0, 0.5])
    scale_bar(axes, 0.5 if inner else 2.0, '0.5"' if inner else '2"')
    mark_star(axes, 0.0, 0.0, 0.07 if inner else 0.55)
    if order.mask_diameter_mas and inner:
        mark_mask(axes, 0.0, 0.0, order.mask_diameter_mas / 2000)


def _psf_row(sheet: _Sheet, top: float) -> None:
    page, found = sheet.page, sheet.found
    side = 240
    for place, channel in enumerate(sheet.channels):
        name = sheet.names[channel]
        axes = page.axes(GROUPS_LEFT[0] + 34 + place * 336, top, side, side)
        image, scale = found.arrays.get(f"psf_{channel}"), sheet.scales.get(f"psf|{name}")
        if image is None or scale is None:
            say_why(axes, f"PSF {name}", sheet.why("psf"))
            continue
        mas = float(found.arrays["pixel_scale"][channel]) if "pixel_scale" in found.arrays else float("nan")
        known = np.isfinite(mas)
        frame = sky_frame(image.shape, mas, 1, image.shape[-1] // 2) if known else pixel_frame(image.shape)
        show_image(axes, image, scale, frame, f"PSF {name}, ND corrected")
        strip(page, axes, scale, "adu/s")
        if place:
            axes.set_ylabel("")
            axes.set_yticklabels([])
        if known:
            scale_bar(axes, 0.1, '0.1"')
    axes = page.axes(GROUPS_LEFT[1] + 124, top, 230, side)
    if "flag_shares" in found.arrays:
        names = [flag.name or "" for flag in Flag if flag is not Flag.OUTSIDE]
        shares = dict(zip(names, found.arrays["flag_shares"].tolist(), strict=True))
        show_shares(axes, shares, f"Flags of {found.facts['flag_planes']}", "% of lit pixels")
    else:
        say_why(axes, "Flags", sheet.why("_science_cube"))
    listed = {_scale_name(key): (scale, _unit(key)) for key, scale in sheet.scales.items() if key in found.limits}
    scales_note(page, GROUPS_LEFT[1] + 384, top, listed)


def _scale_name(key: str) -> str:
    kind, _, band = key.partition("|")
    kind = {"stack": "medians", "inner": "inner medians", "center": "centre tracks"}.get(kind, kind)
    return f"{kind} {band}".strip() if kind != "centre tracks" else kind


def _unit(key: str) -> str:
    kind, _, band = key.partition("|")
    if kind == "center":
        return band
    return {"raw": "adu", "relative flux": ""}.get(kind, "adu/s")


def _tracks(sheet: _Sheet, top: float) -> None:
    page, found = sheet.page, sheet.found
    starts = [np.nanmin(found.arrays[name]) for name in ("center_time", "science_time") if name in found.arrays]
    start = float(min(starts)) if starts else 0.0
    ends = [np.nanmax(found.arrays[name]) for name in ("center_time", "science_time") if name in found.arrays]
    length = (float(max(ends)) - start) * 1440 if ends else 1.0
    height, gap = 98, 34
    width = 640
    panels = [
        (page.axes(GROUPS_LEFT[side] + 44, top + row * (height + gap), width, height), side, row)
        for side in (0, 1) for row in (0, 1)
    ]  # fmt: skip
    unusable = np.zeros(0)
    if "science_time" in found.arrays:
        unusable = (found.arrays["science_time"][~found.arrays["science_usable"]] - start) * 1440
    if len(unusable):
        words = f"crosses on the time axis: {len(unusable)} not usable ({found.facts['unusable']})"
        page.text(230, top + 282, shortened(words, 80), fontsize=5.8)
    for axes, side, row in panels:
        if side == 0:
            _center_panel(sheet, axes, row, start)
        elif row == 0:
            _background_panel(sheet, axes, start)
        else:
            _flux_panel(sheet, axes, start)
        if axes.lines:
            mark_unusable(axes, unusable)
            axes.set_xlim(-0.02 * length, 1.02 * length)
            if row == 1:
                moment = MJD_EPOCH + dt.timedelta(days=start)
                axes.set_xlabel(f"minutes after {moment:%Y-%m-%d %H:%M:%S} UTC")
            else:
                axes.set_xticklabels([])


def _center_panel(sheet: _Sheet, axes: Axes, row: int, start: float) -> None:
    found = sheet.found
    if row >= len(sheet.channels):
        say_why(axes, "Centre", "the arm has one channel")
        return
    channel = sheet.channels[row]
    title = f"Centre {sheet.names[channel]}, dither taken out"
    unit = found.facts.get("center_unit", "")
    scale = sheet.scales.get(f"center|{unit}")
    if "center_time" not in found.arrays or scale is None:
        say_why(axes, title, sheet.why("center"))
        return
    minutes = (found.arrays["center_time"] - start) * 1440
    science = found.arrays["center_science"]
    spots = (found.arrays["center_role"] == "CENTER") & ~science
    series = []
    for look, name in enumerate("xy"):
        values = found.arrays[f"center_{name}"][:, channel]
        errors = found.arrays[f"center_{name}_error"][:, channel]
        series.append(
            Series(name=name, minutes=minutes[science], values=values[science], errors=errors[science], look=look)
        )
    for look, name in enumerate("xy"):
        values = found.arrays[f"center_{name}"][:, channel]
        if spots.any():
            series.append(Series(name=f"{name} CENTER", minutes=minutes[spots], values=values[spots], look=2 + look))
    reach = max(abs(scale.low), abs(scale.high))
    show_tracks(axes, series, title, unit, (-reach, reach))
    judged = {f"{one.file_id} {one.plane}": one.verdict for one in sheet.order.planes_beyond}
    mark_verdicts(axes, minutes, [judged.get(key, "") for key in found.facts["center_keys"].split("\t")])


def _background_panel(sheet: _Sheet, axes: Axes, start: float) -> None:
    found = sheet.found
    key = f"background|{'+'.join(sheet.names)}"
    if "background_level" not in found.arrays or key not in sheet.scales:
        say_why(axes, "Background", sheet.why("background"))
        return
    minutes = (found.arrays["background_time"] - start) * 1440
    series = [
        Series(
            name=sheet.names[channel], minutes=minutes, values=found.arrays["background_level"][:, channel], look=look
        )
        for look, channel in enumerate(sheet.channels)
    ]
    scale = sheet.scales[key]
    title = f"Background subtracted, median of the lit field ({found.facts['background_method']})"
    show_tracks(axes, series, title, "adu/s", (min(0.0, scale.low), max(0.0, scale.high)))


def _flux_panel(sheet: _Sheet, axes: Axes, start: float) -> None:
    found = sheet.found
    scale = sheet.scales.get("relative flux|")
    if "relative_flux" not in found.arrays or scale is None:
        say_why(axes, "Relative flux", sheet.why("photometry"))
        return
    minutes = (found.arrays["flux_time"] - start) * 1440
    series = [
        Series(
            name=sheet.names[channel], minutes=minutes, values=found.arrays["relative_flux"][:, channel],
            errors=found.arrays["relative_flux_error"][:, channel], look=look,
        )
        for look, channel in enumerate(sheet.channels)
    ]  # fmt: skip
    title = f"Relative flux, median 1 ({found.facts['flux_method'] or 'no estimator'})"
    show_tracks(axes, series, title, "1", (1 + scale.low, 1 + scale.high))
