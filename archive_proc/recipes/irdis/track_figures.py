"""Quality figures of an observation's tracks: centres, background, photometry, PSF; one value a sequence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.acquisitions import star_shapes
from archive_proc.model.processes import QcValue
from archive_proc.recipes.irdis.centers import Centers, roles_of
from archive_proc.recipes.irdis.flux_files import FluxChoice
from archive_proc.recipes.irdis.looks import science_role
from archive_proc.recipes.irdis.scenes import Scene
from archive_proc.recipes.irdis.stars import Photometry
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import Arrays, RecipeInputs

Float64 = NDArray[np.float64]

MEASURED = ("speckles", "waffle")
"""Centring methods that look at the plane itself."""
METHODS = ("waffle", "speckles", "spots", "aperture", "none")
"""Photometry methods."""


def track_figures(
    inputs: RecipeInputs,
    rows: Arrays,
    centers: Centers,
    photometry: Photometry,
    choice: FluxChoice,
    psf: NDArray[np.float32],
    scenes: list[Scene],
) -> tuple[QcValue, ...]:
    """All of them; `psf` (2, ny, nx) is the combined one."""
    found = Figures(inputs)
    _centers(found, inputs, rows, centers, scenes)
    _background(found, rows)
    _photometry(found, inputs, rows, photometry, choice)
    if "FLUX" in inputs.frame_roles:
        found.add("psf", "planes_of_another_acquisition", float((inputs.borrowed() & choice.chosen).sum()))
        _psf(found, choice, psf, scenes[0])
    return found.values


def _centers(found: Figures, inputs: RecipeInputs, rows: Arrays, centers: Centers, scenes: list[Scene]) -> None:
    scale = np.array([one.pixel_scale_mas for one in scenes[0].optics])
    roles = roles_of(inputs)
    science = (roles == science_role(inputs)) & inputs.planes.usable
    closure = rows["closure"][np.isfinite(rows["closure"])]
    if closure.size:
        found.add("center", "closure", float(np.median(closure)), "mas")
    if science.any():
        error = np.hypot(centers.x_error, centers.y_error)[science] * scale
        found.add("center", "science_error", float(np.nanmedian(error)), "mas")
        found.add("center", "science_measured", float(np.mean(np.isin(centers.method[science], MEASURED))))
    spots = np.flatnonzero((roles == "CENTER") & (centers.method[:, 0] == "waffle") & inputs.planes.usable)
    if spots.size > 1:
        dither = np.array([scenes[int(inputs.planes.file[plane])].dither for plane in spots])
        still = np.stack([centers.x[spots, 0], centers.y[spots, 0]], axis=1) - dither
        found.add("center", "drift", float(np.hypot(*np.ptp(still, axis=0))) * float(scale[0]), "mas")
    lent = inputs.borrowed() & (centers.method[:, 0] == "waffle")
    found.add("center", "planes_of_another_acquisition", float(lent.sum()))
    waffles = (roles == "CENTER") & inputs.planes.usable
    if waffles.any():
        lost = waffles & ~np.isfinite(rows["center"]).all(axis=(1, 2))
        found.add("center", "planes_without_waffle", float(lost.sum()))


def _background(found: Figures, rows: Arrays) -> None:
    chi2, level = _medians(rows["chi2"]), _medians(rows["level"])
    found.add_halves("background", "chi2", chi2)
    found.add_halves("background", "level", level, "adu/s")
    found.add("background", "unconstrained_fraction", float(np.mean(~rows["constrained"])))


def _photometry(found: Figures, inputs: RecipeInputs, rows: Arrays, photometry: Photometry, choice: FluxChoice) -> None:
    science = (roles_of(inputs) == science_role(inputs)) & inputs.planes.usable
    if choice.chosen.any():
        flux = rows["aperture"][choice.chosen]
        found.add_halves("photometry", "star_flux", _medians(flux), "adu/s")
        found.add_halves("photometry", "star_flux_spread", list(np.ptp(flux, axis=0) / np.median(flux, axis=0)))
    seen = np.flatnonzero(np.isfinite(choice.flux).all(axis=1))
    if seen.size > 1:
        found.add_halves("photometry", "star_flux_change", list(choice.flux[seen[-1]] / choice.flux[seen[0]] - 1.0))
    for method in METHODS:
        found.add("photometry", f"planes_by_{method}", float((photometry.method == method).any(axis=1).sum()))
    if science.any():
        found.add("photometry", "science_flux_error", float(np.nanmedian(photometry.flux.error[science])))


def _psf(found: Figures, choice: FluxChoice, psf: NDArray[np.float32], scene: Scene) -> None:
    found.add("psf", "planes", float(choice.chosen.sum()))
    found.add("psf", "acquisitions", float(len(choice.files)))
    found.add("psf", "acquisitions_left_out", float(len(choice.left_out)))
    known = np.isfinite(choice.ratio)
    if known.sum() > 1:
        found.add("psf", "acquisition_ratio", float(choice.ratio[known].max()))
        found.add("psf", "acquisition_offset", float(choice.offset[known].max()), "pixel")
    if choice.chosen.any():
        shape = star_shapes(psf[None], scene.lambda_d)
        found.add_halves("psf", "fwhm", list(shape.fwhm[0] / np.array(scene.lambda_d)))
        found.add_halves("psf", "concentration", list(shape.concentration[0]))
        found.add_halves("psf", "background_residual", list(shape.background[0]))


def _medians(values: Float64) -> list[float]:
    """Median of each half over the planes that have a value; NaN where none has."""
    found = [values[np.isfinite(values[:, half]), half] for half in range(2)]
    return [float(np.median(one)) if one.size else float("nan") for one in found]
