"""Quality figures of the tracks of an IFS observation: centres, photometry, PSF; one value a sequence, and by plane."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.acquisitions import star_shapes
from archive_proc.kernels.figures import jumps
from archive_proc.model.processes import QcValue
from archive_proc.recipes.ifs.star_fluxes import StarFluxes
from archive_proc.recipes.ifs.star_places import StarPlaces
from archive_proc.recipes.ifs.track_looks import Field
from archive_proc.recipes.ifs.track_planes import PlaneList
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import Array, RecipeInputs

Float64 = NDArray[np.float64]

MEASURED = ("speckles", "waffle")
"""Centring methods that look at the plane itself."""
METHODS = ("waffle", "speckles", "spots", "aperture", "none")
"""Photometry methods."""


def median_of(values: Float64) -> Float64:
    """(n,) median over channels of (n, k), NaN where none has a value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=1))


def track_figures(
    inputs: RecipeInputs, field: Field, planes: PlaneList, places: StarPlaces, fluxes: StarFluxes, psf: Array
) -> tuple[QcValue, ...]:
    """All figures; `psf` (k, ny, nx) is the combined one."""
    found = Figures(inputs)
    _centers(found, field, planes, places)
    _photometry(found, planes, fluxes)
    if (planes.frame_type == "FLUX").any():
        _psf(found, field, planes, fluxes, psf)
    return found.values


def _centers(found: Figures, field: Field, planes: PlaneList, places: StarPlaces) -> None:
    scale = field.scale.pixel_mas
    science = planes.science & planes.usable
    closure = places.closure[np.isfinite(places.closure)]
    if closure.size:
        found.add("center", "closure", float(np.median(closure)), "mas")
    if science.any():
        error = median_of(np.hypot(places.x_error, places.y_error))[science] * scale
        known = error[np.isfinite(error)]
        found.add("center", "science_error", float(np.median(known)) if known.size else float("nan"), "mas")
        found.add("center", "science_measured", float(np.mean(np.isin(places.method[science], MEASURED))))
    spots = np.flatnonzero((places.method == "waffle") & planes.usable)
    if spots.size > 1:
        middle = np.stack([places.x[spots].mean(axis=1), places.y[spots].mean(axis=1)], axis=1)
        found.add("center", "drift", float(np.hypot(*np.ptp(middle, axis=0))) * scale, "mas")
    if spots.size:
        colour = np.stack([np.ptp(places.x[spots], axis=1), np.ptp(places.y[spots], axis=1)], axis=1)
        found.add("center", "colour", float(np.median(np.hypot(*colour.T))) * scale, "mas")
    found.add("center", "borrowed_planes", float((planes.borrowed & (places.method == "waffle")).sum()))
    waffles = (planes.frame_type == "CENTER") & planes.usable
    if waffles.any():
        found.add("center", "planes_without_waffle", float((waffles & (places.method != "waffle")).sum()))


def _photometry(found: Figures, planes: PlaneList, fluxes: StarFluxes) -> None:
    science = planes.science & planes.usable
    if fluxes.combined.any():
        light = median_of(fluxes.aperture)[fluxes.combined]
        found.add("photometry", "star_flux", float(np.median(light)), "adu/s")
        found.add("photometry", "star_flux_spread", float(np.ptp(light) / np.median(light)))
        files = [str(one) for one in dict.fromkeys(planes.file_id[fluxes.combined])]
        if len(files) > 1:
            first, last = (
                float(np.median(light[planes.file_id[fluxes.combined] == one])) for one in (files[0], files[-1])
            )
            found.add("photometry", "star_flux_change", last / first - 1.0)
    for method in METHODS:
        found.add("photometry", f"planes_by_{method}", float((fluxes.method == method).sum()))
    error = median_of(fluxes.flux.error)[science]
    known = error[np.isfinite(error)]
    if known.size:
        found.add("photometry", "science_flux_error", float(np.median(known)))


def _psf(found: Figures, field: Field, planes: PlaneList, fluxes: StarFluxes, psf: Array) -> None:
    found.add("psf", "planes", float(fluxes.combined.sum()))
    found.add("psf", "borrowed_planes", float((planes.borrowed & fluxes.combined).sum()))
    files = len(dict.fromkeys(planes.file_id[planes.frame_type == "FLUX"]))
    found.add("psf", "acquisitions", float(files))
    found.add("psf", "acquisitions_left_out", float(fluxes.left_out))
    known = np.isfinite(fluxes.ratio)
    if known.sum() > 1:
        found.add("psf", "acquisition_ratio", float(fluxes.ratio[known].max()))
        found.add("psf", "acquisition_offset", float(fluxes.offset[known].max()), "pixel")
    if not fluxes.combined.any():
        return
    lambda_d = field.lambda_d
    shape = star_shapes(psf[None][:, field.witnesses], tuple(float(one) for one in lambda_d[field.witnesses]))
    for name, values in (
        ("fwhm", shape.fwhm[0] / lambda_d[field.witnesses]),
        ("concentration", shape.concentration[0]),
        ("background_residual", shape.background[0]),
    ):
        seen = values[np.isfinite(values)]
        found.add("psf", name, float(np.median(seen)) if seen.size else float("nan"))


def figures_of_planes(field: Field, planes: PlaneList, places: StarPlaces, fluxes: StarFluxes) -> dict[str, Array]:
    """Columns of the catalog table `plane_qc`: one row a plane, medians over its channels; (n, 1), NaN where none."""
    scale = field.scale.pixel_mas
    middle = np.stack([median_of(places.x), median_of(places.y)], axis=1)
    middle[planes.frame_type == "FLUX"] = np.nan
    figures = {
        "center_error": median_of(np.hypot(places.x_error, places.y_error)) * scale,
        "center_closure": median_of(places.closure),
        "center_jump": jumps(middle, planes.usable) * scale,
        "relative_flux": median_of(fluxes.flux.factor),
        "relative_flux_error": median_of(fluxes.flux.error),
        "star_flux": median_of(fluxes.aperture),
    }
    return {
        "file_id": planes.file_id,
        "plane": planes.plane,
        "frame_type": planes.frame_type,
        "time": planes.time,
        "dit_s": planes.exposure_time,
        "usable": planes.usable,
        **{name: values[:, None] for name, values in figures.items()},
    }
