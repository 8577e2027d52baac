"""Panels over time of an IFS observation: star, shift across the dispersion, background, flux, quality of the fit."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from archive_proc.quality.canvas import say_why
from archive_proc.quality.ifs_spectra import KIND
from archive_proc.quality.readable import shortened
from archive_proc.quality.scales import Scale
from archive_proc.quality.tracks import Series, mark_unusable, mark_verdicts, show_tracks

if TYPE_CHECKING:
    from archive_proc.quality.ifs_observation_page import IfsSheet

MJD_EPOCH = dt.datetime(1858, 11, 17)
LEFTS, WIDTH, HEIGHT, ROW = (84, 812), 600, 92, 128
LEAST_CHI_AXIS = 1.5


def draw_tracks(sheet: IfsSheet, top: float) -> None:
    """Six panels, two a row."""
    found = sheet.found
    names = ("center_time", "time")
    known = [found.arrays[name] for name in names if name in found.arrays]
    start = float(min(np.nanmin(one) for one in known)) if known else 0.0
    length = (float(max(np.nanmax(one) for one in known)) - start) * 1440 if known else 1.0
    unusable = (found.arrays["time"][~found.arrays["usable"]] - start) * 1440 if "time" in found.arrays else np.zeros(0)
    panels = (_center, _background, _shift, _fit, _flux, _colour)
    for at, panel in enumerate(panels):
        axes = sheet.page.axes(LEFTS[at % 2], top + ROW * (at // 2), WIDTH, HEIGHT)
        panel(sheet, axes, start)
        if panel is _colour:
            axes.set_xlabel("wavelength [um]")
        if not axes.lines or panel is _colour:
            continue
        mark_unusable(axes, unusable)
        axes.set_xlim(-0.02 * length - 0.2, 1.02 * length + 0.2)
        if at // 2 == 2:
            axes.set_xlabel(f"minutes after {MJD_EPOCH + dt.timedelta(days=start):%Y-%m-%d %H:%M:%S} UTC")
        else:
            axes.set_xticklabels([])
    if len(unusable):
        words = f"crosses on the time axis: {len(unusable)} not usable ({found.facts['unusable']})"
        sheet.page.text(84, top + 3 * ROW + 8, shortened(words, 100), fontsize=5.8)


def _center(sheet: IfsSheet, axes: Axes, start: float) -> None:
    found = sheet.found
    scale = sheet.scales.get("center|mas")
    if "center_time" not in found.arrays or scale is None:
        say_why(axes, "Star", sheet.why("center"))
        return
    minutes = (found.arrays["center_time"] - start) * 1440
    science = found.arrays["center_science"]
    spots = (found.arrays["center_role"] == "CENTER") & ~science
    series = []
    for look, name in enumerate("xy"):
        values, errors = found.arrays["center_track"][look], found.arrays["center_track_error"][look]
        series.append(
            Series(name=name, minutes=minutes[science], values=values[science], errors=errors[science], look=look)
        )
        if spots.any():
            series.append(Series(name=f"{name} CENTER", minutes=minutes[spots], values=values[spots], look=2 + look))
    show_tracks(axes, series, "Star, median of lit channels", "mas", (scale.low, scale.high))
    judged = {f"{one.file_id} {one.plane}": one.verdict for one in sheet.order.planes_beyond}
    mark_verdicts(axes, minutes, [judged.get(key, "") for key in found.facts["center_keys"].split("\t")])


def _colour(sheet: IfsSheet, axes: Axes, start: float) -> None:
    """The star over wavelength: refraction that the corrector leaves."""
    found = sheet.found
    scale = sheet.scales.get("colour|mas")
    wavelength = found.arrays.get("wavelength")
    values = found.arrays.get("center_colour")
    if values is None or wavelength is None or scale is None or values.shape[1] != len(wavelength):
        say_why(axes, "Star by channel", sheet.why("center"))
        return
    lit = found.arrays["lit"]
    series = [
        Series(
            name=name, minutes=wavelength[lit], values=values[axis, lit],
            errors=found.arrays["center_colour_error"][axis, lit], look=axis,
        )
        for axis, name in enumerate("xy")
    ]  # fmt: skip
    show_tracks(axes, series, "Star by wavelength, median of science planes", "mas", (scale.low, scale.high))


def _shift(sheet: IfsSheet, axes: Axes, start: float) -> None:
    scale = sheet.scale("shift_x")
    _simple(sheet, axes, start, scale, "Shift of spectra across the dispersion", "pixel", "shift_x", "shift_x_error")


def _background(sheet: IfsSheet, axes: Axes, start: float) -> None:
    scale = sheet.scale("background_level")
    _simple(sheet, axes, start, scale, "Background subtracted, median a pixel", "adu/s", "background_level")


def _simple(
    sheet: IfsSheet, axes: Axes, start: float, scale: Scale | None, title: str, unit: str, name: str, error: str = ""
) -> None:
    found = sheet.found
    if name not in found.arrays or scale is None:
        say_why(axes, title, sheet.why(KIND))
        return
    minutes = (found.arrays["time"] - start) * 1440
    errors = np.nan_to_num(found.arrays[error]) if error else None
    one = Series(name=title, minutes=minutes, values=found.arrays[name], errors=errors)
    show_tracks(axes, [one], title, unit, (scale.low, scale.high))


def _flux(sheet: IfsSheet, axes: Axes, start: float) -> None:
    found = sheet.found
    scale = sheet.scales.get("relative flux|")
    if "relative_flux" not in found.arrays or scale is None:
        say_why(axes, "Relative flux", sheet.why("photometry"))
        return
    minutes = (found.arrays["flux_time"] - start) * 1440
    errors = found.arrays["relative_flux_error"]
    series = [
        Series(name=name, minutes=minutes, values=found.arrays["relative_flux"][:, look], look=look,
               errors=errors if look == 0 else None)
        for look, name in enumerate(("lit channels", "bluest third", "reddest third"))
    ]  # fmt: skip
    title = f"Relative flux, median 1 ({found.facts['flux_method'] or 'no estimator'})"
    show_tracks(axes, series, title, "1", (1 + scale.low, 1 + scale.high))


def _fit(sheet: IfsSheet, axes: Axes, start: float) -> None:
    """Chi squared of each plane, and the share of pixels taken as outliers."""
    found = sheet.found
    scale, other = sheet.scale("chi2"), sheet.scale("clipped")
    if "chi2" not in found.arrays or scale is None or other is None:
        say_why(axes, "Fit", sheet.why(KIND))
        return
    minutes = (found.arrays["time"] - start) * 1440
    twin = axes.twinx()
    show_tracks(
        twin, [Series(name="clipped", minutes=minutes, values=found.arrays["clipped"], look=1)], "", "clipped [%]",
        (other.low, other.high),
    )  # fmt: skip
    twin.grid(False)
    one = Series(name="chi2", minutes=minutes, values=found.arrays["chi2"])
    title = "Fit: reduced chi2 (filled circles, left), pixels taken as outliers (open squares, right)"
    show_tracks(axes, [one], title, "chi2", (scale.low, scale.high))
