"""What the air does to the spectra of a process: how strong its water is, and where its bands say the spectra stand.

The table's water is fitted to the summed light of each file on the sky (`kernels.air`). Where it explains the light, it
becomes the shape of the prior, one for all files: spectra of a sequence share one resolution. The same fit places the
bands against the wavelength solution, which a laser at 1.124 um holds right there: the shift along the dispersion, that
free spectra hide (notes/ifs 6.5). Other files of the night say theirs too (`ifs_place`), and all are weighed together
(`kernels.flexure`). Light that shows no air, as a brown dwarf's does not, lends the prior its own shape, which hundreds
of lenslets share (`kernels.common_light`). Lamps and lasers keep a flat prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.air import Air, Window, fit_air
from archive_proc.kernels.common_light import (
    Known,
    Summed,
    agreement,
    as_prior,
    beyond_expected,
    common_spectrum,
    features_in,
)
from archive_proc.kernels.flexure import DRIFT_D, DRIFT_PX, Doubt, Sighting, place_at
from archive_proc.model.frames import RawFrame
from archive_proc.recipes.ifs.spectrograph import WAVE, Spectrograph, products_of, spectrograph
from archive_proc.recipes.recipe import Arrays, InputRole, RecipeInputs

Float64 = NDArray[np.float64]

LEAST_GAIN = 5.0
"""By which the water must lessen the residual, or there is none to be seen."""
PLACE = InputRole("place", ("ifs_place",), required=False, each_may_lack=True)
"""What files near in time say of their place along the dispersion."""
LENSLET_FLAT_ROLE = "lenslet_flat"
DOUBT_PX = 0.05
"""Of the place along the dispersion, where nothing measures it, right after the calibrations; drift comes on top."""
SAME_STAR_DEG = 15.0 / 3600.0
"""Pointings nearer to each other are at one star, as targets are told apart."""
TYPICAL_AIRMASS = 1.2
FAINTEST = 0.03
"""Of the clearest channel: what the air lets through at the least, as the prior has it. Where no light is expected the
prior still holds the spectrum."""
BESIDE_EDGE = 2
"""Channels beside a filter's edge that its light bends: as many as a spectrum's resolution holds."""
SHIFT_STEP_PX = 0.02
"""Templates stand at whole multiples of this across the dispersion: at most half of it from the measured shift, which
costs nothing (6.5)."""
ALONG_STEP_PX = 0.005
"""The same along it, where a process has one place and one set of templates: a brown dwarf's light shows 0.01 px."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one file's light says."""

    strength: float
    strength_error: float
    y: float
    """Shift along the dispersion, px."""
    y_error: float
    """From the fit alone."""
    uneven: float = 1.0
    """How differently the lenslets were lit: 0 to 1."""
    moved_um: float = 0.0
    """Channels see light that is redder by this than they say."""


@dataclass(slots=True)
class Stars:
    """Names of the stars that frames point at, in whatever file they are seen: by position, as targets are."""

    _known: list[tuple[float, float]] = field(default_factory=list)

    def name(self, ra_deg: float, dec_deg: float) -> str:
        """The same for pointings at one star.

        Frames that do not say where they pointed count as one: they may be.
        """
        if not np.isfinite([ra_deg, dec_deg]).all():
            return "unknown"
        for number, (ra, dec) in enumerate(self._known):
            along = ((ra_deg - ra + 180.0) % 360.0 - 180.0) * np.cos(np.radians(dec))
            if np.hypot(along, dec_deg - dec) < SAME_STAR_DEG:
                return f"star {number}"
        self._known.append((ra_deg, dec_deg))
        return f"star {len(self._known) - 1}"


def pointing(frame: RawFrame) -> tuple[float, float]:
    """(RA, DEC) of the telescope, deg; NaN where the header has none."""
    if frame.ra_deg is None or frame.dec_deg is None:
        return np.nan, np.nan
    return frame.ra_deg, frame.dec_deg


def settle_air(summaries: Sequence[Arrays], inputs: RecipeInputs) -> Arrays:
    """`settled` of all files on the sky; `summaries` as `extraction.shift_block` leaves them."""
    found = seen_in(summaries, inputs) if inputs.parameters.air else {}
    stars = Stars()
    sightings = [
        Sighting(middle_of(frame), one.y, one.y_error, stars.name(*pointing(frame)), one.uneven)
        for frame, one in ((inputs.frames[file], one) for file, one in sorted(found.items()))
    ]
    # Who says that spectra stand where the wavelength solution puts them is not told otherwise.
    if inputs.parameters.measure_shift:
        sightings += sightings_of_others(inputs, stars)
    airmass = float(np.median([airmass_of(frame) for frame in inputs.frames])) if inputs.frames else np.nan
    floor = load_tables().air.band_of(spectrograph(inputs, 0).solution.mode).place_error_px
    place = place_at(_middle(inputs), sightings, Doubt(_doubt(inputs), floor))
    answer = settled(list(found.values()), airmass, place)
    if not found:
        return {**answer, "common": _common(summaries, inputs, float(answer["shift_y_used"][0]))}
    shape = air_shape(float(answer["air"][0]), airmass, spectrograph(inputs, 0).edges_um)
    shape = np.maximum(shape / shape.max(), FAINTEST) * beyond_table(summaries, found, inputs)
    return {**answer, "common": shape / shape.max()}


def seen_in(summaries: Sequence[Arrays], inputs: RecipeInputs) -> dict[int, Seen]:
    """What each file on the sky says whose light shows the air: of the part of it that shows its place best."""
    found: dict[int, Seen] = {}
    for one in summaries:
        for row, number in enumerate(one["file"]):
            light, file = one["light"][row], int(number)
            if not (on_sky(inputs.frames[file]) and light.size and np.any(light > 0)):
                continue
            seen = _look(light, one["response"][row], spectrograph(inputs, file), inputs.frames[file])
            if seen is not None and (file not in found or seen.y_error < found[file].y_error):
                found[file] = replace(seen, uneven=float(one["uneven"][row]))
    return found


def sightings_of_others(inputs: RecipeInputs, stars: Stars) -> list[Sighting]:
    """What files beside the main ones say, as far as they were held against the same wavelength solution.

    What the main files themselves say there is left out: it is theirs already.
    """
    own = {frame.file_id for frame in inputs.frames}
    solutions = set(products_of(inputs, 0, (WAVE.role,)))
    return [
        Sighting(
            time_d=float(arrays["time"][row]),
            place_px=float(arrays["shift_y"][row]),
            error_px=float(arrays["shift_y_error"][row]),
            source=stars.name(float(arrays["ra"][row]), float(arrays["dec"][row])),
            uneven=float(arrays["uneven"][row]),
        )
        for arrays in (one.arrays for one in inputs.calibrations.get(PLACE.role, ()))
        for row, name in enumerate(arrays["file_id"])
        if str(name) not in own and str(arrays["solution"][row]) in solutions and np.isfinite(arrays["shift_y"][row])
    ]


def beyond_table(summaries: Sequence[Arrays], found: dict[int, Seen], inputs: RecipeInputs) -> Float64:
    """(m,) by what the table's air must be multiplied in each channel to be that of the light: 1 where it is thin.

    Depths of two tables differ by a tenth where lines are saturated; in a band that takes half of the light the prior
    would bend spectra by what its shape is wrong.
    """
    ratios = []
    for one in summaries:
        for row, number in enumerate(one["file"]):
            seen = found.get(int(number))
            if seen is None or not one["pull"].size:
                continue
            sums = Summed(one["normal"][row], one["pull"][row], one["noise"][row])
            edges, airmass = spectrograph(inputs, int(number)).edges_um, airmass_of(inputs.frames[int(number)])
            shape = np.maximum(_air().transmission(edges, seen.strength, airmass, seen.moved_um), FAINTEST)
            doubt = -load_tables().air.depth_error * np.log(shape / shape.max())
            # Where the filter ends within a channel its light stands aside, which is not the air's doing, and channels
            # beside it are bent by that.
            mode = spectrograph(inputs, int(number)).solution.mode
            low, high = load_tables().ifs.band(mode).edges_um
            whole = np.flatnonzero((edges[:-1] >= low) & (edges[1:] <= high))[BESIDE_EDGE:-BESIDE_EDGE]
            doubt[np.setdiff1d(np.arange(doubt.size), whole)] = 0.0
            ratios.append(beyond_expected(sums, shape, doubt))
    return np.asarray(np.median(ratios, axis=0)) if ratios else np.ones(spectrograph(inputs, 0).edges_um.size - 1)


def _common(summaries: Sequence[Arrays], inputs: RecipeInputs, shift_y: float) -> Float64:
    """(m,) the prior's shape from the light that lenslets share; empty where none is known.

    It bends as the lamp of the lenslet flat does, and as the lines of a brown dwarf. Its equations were set up where
    the wavelength solution has the spectra, `shift_y` px from where they stand. Only of light from the sky: of a lamp
    it is not asked, and a laser's lines would be their own prior.
    """
    equations = [
        Summed(one["normal"][row], one["pull"][row], one["noise"][row])
        for one in summaries
        for row, file in enumerate(one["file"])
        if inputs.parameters.common and on_sky(inputs.frames[int(file)]) and one["pull"].size
    ]
    where = spectrograph(inputs, 0)
    widths, ends = np.diff(where.edges_um), _ends(where, shift_y)
    lamp = lamp_shape(inputs, widths)
    # Lamp and sky need not have the same filter's edges in them.
    through = lamp is not None and agreement(equations, Known(ends, lamp)) > agreement(equations, Known(ends))
    lines = features_in(where.edges_um, load_tables().air.dwarf_lines_um)
    shape = common_spectrum(equations, Known(ends, lamp if through else None, lines))
    return np.empty(0) if shape is None else as_prior(shape, widths)


def lamp_shape(inputs: RecipeInputs, widths: Float64) -> Float64 | None:
    """(m,) density of the lamp in the lenslet flat: what the instrument lets through. None without a flat."""
    flat = inputs.only(LENSLET_FLAT_ROLE)
    lamp = np.empty(0) if flat is None else np.nan_to_num(np.asarray(flat.arrays["lamp"], np.float64))
    return as_prior(lamp, widths) if lamp.size == widths.size and lamp.max() > 0 else None


def _ends(where: Spectrograph, shift_y: float) -> Float64:
    """(m + 1,) wavelengths that stand at the channels' ends when spectra are moved by `shift_y` px, in channels."""
    y = np.median(where.solution.places(where.edges_um, np.flatnonzero(where.solution.complete))[1], axis=0)
    step = np.gradient(y)
    return np.asarray(np.arange(y.size) - shift_y / step)


def settled(found: Sequence[Seen], airmass: float, place: tuple[float, float]) -> Arrays:
    """One answer for all planes: no file may have a resolution of its own.

    `air` (3,) strength of the water, its error, and airmass, NaN where none was seen; `shift_y` and `shift_y_error`
    (1,) px: `place` and its error; `shift_y_used` (1,), the step that templates stand at.
    """
    air = np.full(3, np.nan)
    if found:
        strength, strength_error = (
            float(np.median([getattr(one, name) for one in found])) for name in ("strength", "strength_error")
        )
        air = np.array([strength, strength_error, airmass])
    return {
        "air": air,
        "shift_y": np.array([place[0]]),
        "shift_y_error": np.array([place[1]]),
        "common": np.empty(0),
        "shift_y_used": np.array([np.round(place[0] / ALONG_STEP_PX) * ALONG_STEP_PX]),
    }


def on_sky(frame: RawFrame) -> bool:
    """Whether the light of a frame came through the air."""
    return frame.dpr_catg == "SCIENCE"


def air_shape(strength: float, airmass: float, edges_um: Float64) -> Float64:
    """(m,) transmission of the air in channels: the prior's shape."""
    return _air().transmission(edges_um, strength, airmass)


def _look(light: Float64, response: Float64, where: Spectrograph, frame: RawFrame) -> Seen | None:
    band = load_tables().air.band_of(where.solution.mode)
    window = Window(band.from_um, band.to_um, band.degree, band.lines_um)
    fit = fit_air(light, response, where.edges_um, _air(), airmass_of(frame), window)
    if fit is None or fit.residual > band.worst_residual or fit.without < LEAST_GAIN * fit.residual:
        return None
    ends = where.solution.places(np.array([band.from_um, band.to_um]))[1]
    um_per_px = (band.to_um - band.from_um) / float(np.median(ends[:, 1] - ends[:, 0]))
    # Light that stands further up the detector than it should falls into channels that are redder than itself.
    y, y_error = -fit.moved_um / um_per_px, fit.moved_error_um / um_per_px
    return Seen(fit.strength, fit.strength_error, y, y_error, moved_um=fit.moved_um)


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


def middle_of(frame: RawFrame) -> float:
    """Middle of a file, MJD."""
    return 0.5 * (frame.mjd_obs + frame.mjd_end)


def _middle(inputs: RecipeInputs) -> float:
    """Of all main files."""
    return float(np.mean([middle_of(frame) for frame in inputs.frames])) if inputs.frames else 0.0


def _doubt(inputs: RecipeInputs) -> float:
    """Of the place along the dispersion, px, by the time since the lasers."""
    solutions = inputs.calibrations.get(WAVE.role, ())
    times = [float(one.attrs["mjd_obs"]) for one in solutions if "mjd_obs" in one.attrs]
    if not times or not inputs.frames:
        return float(np.hypot(DOUBT_PX, DRIFT_PX))
    away = max(min(abs(frame.mjd_obs - time) for time in times) for frame in inputs.frames)
    return float(np.hypot(DOUBT_PX, DRIFT_PX * min(away / DRIFT_D, 1.0)))
