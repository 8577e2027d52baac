"""What the air does to the spectra of a process: how strong its water is, and where its bands say the spectra stand.

The table's water is fitted to the summed light of each file on the sky (`kernels.air`). Where it explains the light, it
becomes the shape of the prior, one for all files: spectra of a sequence share one resolution. The same fit places the
bands against the wavelength solution, which a laser at 1.124 um holds right there: the shift along the dispersion, that
free spectra hide (notes/ifs 6.5). Light that shows no air, as a brown dwarf's does not, lends the prior its own shape,
which hundreds of lenslets share (`kernels.common_light`). Lamps and lasers keep a flat prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.air import Air, Window, fit_air
from archive_proc.kernels.common_light import Summed, as_prior, common_spectrum
from archive_proc.model.frames import RawFrame
from archive_proc.recipes.ifs.spectrograph import WAVE, Spectrograph, spectrograph
from archive_proc.recipes.recipe import Arrays, RecipeInputs

Float64 = NDArray[np.float64]

LEAST_GAIN = 5.0
"""By which the water must lessen the residual, or there is none to be seen."""
PLACE_WORST_PX = 0.05
"""Where the best file's place has a larger error from the fit, none is used. Poorer ones count by their errors: were
they left out, a hair's breadth would decide which of two alike files counts."""
DOUBT_PX = 0.05
"""Of the place along the dispersion, where nothing measures it, right after the calibrations."""
DRIFT_PX = 0.12
"""What the night adds to that doubt: nobody has published how far the spectra move; 0.2 px is taken for the most."""
DRIFT_D = 0.3
"""Time, d, within which the drift is complete: it is one of temperature, day to night."""
TYPICAL_AIRMASS = 1.2
SHIFT_STEP_PX = 0.02
"""Templates stand at whole multiples of this: at most half of it from the measured shift, which costs nothing (6.5)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one file's light says."""

    strength: float
    strength_error: float
    y: float
    """Shift along the dispersion, px."""
    y_error: float
    """From the fit alone."""


def settle_air(summaries: Sequence[Arrays], inputs: RecipeInputs) -> Arrays:
    """`settled` of all files on the sky; `summaries` as `extraction.shift_block` leaves them."""
    found = []
    if inputs.parameters.air:
        for one in summaries:
            for row, file in enumerate(one["file"]):
                light, frame = one["light"][row], inputs.frames[int(file)]
                if on_sky(frame) and light.size and np.any(light > 0):
                    seen = _look(light, one["resolution"], spectrograph(inputs, int(file)), frame)
                    found += [] if seen is None else [seen]
    airmass = float(np.median([airmass_of(frame) for frame in inputs.frames])) if inputs.frames else np.nan
    floor = load_tables().air.band_of(spectrograph(inputs, 0).solution.mode).place_error_px
    answer = settled(found, airmass, _doubt(inputs), floor)
    return {**answer, "common": np.empty(0) if found else _common(summaries, inputs)}


def _common(summaries: Sequence[Arrays], inputs: RecipeInputs) -> Float64:
    """(m,) the prior's shape from the light that lenslets share, as the templates show it; empty where none is known.

    Only of light from the sky: of a lamp it is not asked, and a laser's lines would be their own prior.
    """
    equations = [
        Summed(one["normal"][row], one["pull"][row], one["noise"][row])
        for one in summaries
        for row, file in enumerate(one["file"])
        if inputs.parameters.common and on_sky(inputs.frames[int(file)]) and one["pull"].size
    ]
    shape = common_spectrum(equations)
    return np.empty(0) if shape is None else as_prior(shape, np.diff(spectrograph(inputs, 0).edges_um))


def settled(found: Sequence[Seen], airmass: float, doubt_px: float, floor_px: float) -> Arrays:
    """One answer for all planes: no file may have a resolution of its own.

    `air` (3,) strength of the water, its error, and airmass, NaN where none was seen; `shift_y` and `shift_y_error`
    (1,) px; `shift_y_used` (1,), the step that templates stand at. `doubt_px`: how far the spectra may have moved since
    the calibrations; that they have not is a measurement too, with this error. `floor_px`: error of the bands' place
    that the fit does not show.
    """
    place, error = 0.0, doubt_px
    able = [one for one in found if one.y_error < doubt_px]
    best = min((one.y_error for one in able), default=np.inf)
    if best < min(PLACE_WORST_PX, doubt_px):
        y, own = np.array([one.y for one in able]), np.array([one.y_error for one in able])
        weight = 1.0 / (own**2 + floor_px**2)
        place = float(np.sum(weight * y) / weight.sum())
        scatter = float(np.sqrt(np.sum(weight * (y - place) ** 2) / weight.sum()))
        # Files share what the table and the speckles do to them: their mean is no better than the best of them.
        seen = best**2 + floor_px**2 + scatter**2
        place *= doubt_px**2 / (doubt_px**2 + seen)
        error = float(np.sqrt(seen * doubt_px**2 / (doubt_px**2 + seen)))
    air = np.full(3, np.nan)
    if found:
        strength, strength_error = (
            float(np.median([getattr(one, name) for one in found])) for name in ("strength", "strength_error")
        )
        air = np.array([strength, strength_error, airmass])
    return {
        "air": air,
        "shift_y": np.array([place]),
        "shift_y_error": np.array([error]),
        "common": np.empty(0),
        "shift_y_used": np.array([np.round(place / SHIFT_STEP_PX) * SHIFT_STEP_PX]),
    }


def on_sky(frame: RawFrame) -> bool:
    """Whether the light of a frame came through the air."""
    return frame.dpr_catg == "SCIENCE"


def air_shape(strength: float, airmass: float, edges_um: Float64) -> Float64:
    """(m,) transmission of the air in channels: the prior's shape."""
    return _air().transmission(edges_um, strength, airmass)


def _look(light: Float64, resolution: Float64, where: Spectrograph, frame: RawFrame) -> Seen | None:
    band = load_tables().air.band_of(where.solution.mode)
    window = Window(band.from_um, band.to_um, band.degree, band.lines_um)
    fit = fit_air(light, resolution, where.edges_um, _air(), airmass_of(frame), window)
    if fit is None or fit.residual > band.worst_residual or fit.without < LEAST_GAIN * fit.residual:
        return None
    ends = where.solution.places(np.array([band.from_um, band.to_um]))[1]
    um_per_px = (band.to_um - band.from_um) / float(np.median(ends[:, 1] - ends[:, 0]))
    # Light that stands further up the detector than it should falls into channels that are redder than itself.
    return Seen(fit.strength, fit.strength_error, -fit.moved_um / um_per_px, fit.moved_error_um / um_per_px)


def _air() -> Air:
    table = load_tables().air
    return Air(
        table.first_edge_um,
        table.step_um,
        np.asarray(table.depth.water, np.float64),
        np.asarray(table.depth.dry, np.float64),
    )


def airmass_of(frame: RawFrame) -> float:
    """Of the frame's middle; a typical one where the header has none."""
    known = [one for one in (frame.airmass_start, frame.airmass_end) if one is not None and one >= 1.0]
    return float(np.mean(known)) if known else TYPICAL_AIRMASS


def _doubt(inputs: RecipeInputs) -> float:
    """Of the place along the dispersion, px, by the time since the lasers."""
    solutions = inputs.calibrations.get(WAVE.role, ())
    times = [float(one.attrs["mjd_obs"]) for one in solutions if "mjd_obs" in one.attrs]
    if not times or not inputs.frames:
        return float(np.hypot(DOUBT_PX, DRIFT_PX))
    away = max(min(abs(frame.mjd_obs - time) for time in times) for frame in inputs.frames)
    return float(np.hypot(DOUBT_PX, DRIFT_PX * min(away / DRIFT_D, 1.0)))
