"""PSF and photometry of an observation from the rows of its planes (notes/irdis 4.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.photometry import SPOT_NOISE, RelativeFlux, shrunk, unidentified
from archive_proc.kernels.psf import APERTURE, PSF_SIZE, combine_stars
from archive_proc.model.processes import Remark
from archive_proc.recipes.irdis.amplitudes import Amplitude, put_amplitudes
from archive_proc.recipes.irdis.centers import roles_of
from archive_proc.recipes.irdis.flux_files import FluxChoice
from archive_proc.recipes.irdis.looks import science_role
from archive_proc.recipes.recipe import Arrays, ProductContent, RecipeInputs

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Photometry:
    """Rows of the product `photometry` (n, 2 halves)."""

    flux: RelativeFlux
    method: NDArray[np.str_]
    remarks: tuple[Remark, ...]


def relative_fluxes(
    inputs: RecipeInputs, rows: Arrays, choice: FluxChoice, amplitude: Amplitude, expected_scatter: float
) -> Photometry:
    """Factors of all planes.

    Science planes: from the amplitude of their fine structure, waffle spots included where they have them, drawn
    towards 1 by what it can be trusted. With the differential tip-tilt loop open, light that leaks past the mask
    changes with every motion, and the amplitude is worse than nothing (notes/irdis 4.5): then factor 1 with the
    expected scatter as error. CENTER and FLUX planes: against the median of their own kind; of FLUX, of those whose
    star is combined.
    """
    roles = roles_of(inputs)
    usable = inputs.planes.usable
    n = roles.size
    flux = unidentified(n, expected_scatter)
    factor, error = flux.factor, flux.error
    method = np.full((n, 2), "none", dtype="U16")
    remarks: list[Remark] = []
    for role, name, estimates, noise, trusted in (
        ("CENTER", "spots", rows["spot_flux"], np.full(2, SPOT_NOISE), usable),
        ("FLUX", "aperture", rows["aperture"], _aperture_noise(rows), choice.chosen),
    ):
        here = roles == role
        seen = here[:, None] & np.isfinite(estimates) & (estimates > 0)
        if not (seen & trusted[:, None]).any():
            continue
        judged = shrunk(np.where(seen, estimates, np.nan), trusted & here, float(noise.max()), expected_scatter)
        factor[seen], error[seen], method[seen] = judged.factor[seen], judged.error[seen], name
        factor[here[:, None] & ~seen] = np.nan
        error[here[:, None] & ~seen] = np.nan
    science = roles == science_role(inputs)
    put_amplitudes(inputs, amplitude, science, expected_scatter, (factor, error, method))
    if science.any() and not (method[science] != "none").any():
        remarks.append(
            Remark(
                "AP-IRD-047",
                f"photometry of science planes is not identified: factor 1, error {expected_scatter:g}",
            )
        )
    return Photometry(RelativeFlux(factor, error), method, tuple(remarks))


def _aperture_noise(rows: Arrays) -> Float64:
    """(2,) fractional noise of one FLUX plane; half a percent at least (flat, ND, aperture losses)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = rows["aperture_error"] / rows["aperture"]
    found = [relative[np.isfinite(relative[:, half]), half] for half in range(2)]
    return np.array([max(float(np.median(one)), 0.005) if one.size else 0.005 for one in found])


def psf_content(inputs: RecipeInputs, rows: Arrays, choice: FluxChoice) -> tuple[ProductContent, tuple[Remark, ...]]:
    """The product `psf`: mean of the chosen FLUX planes; NaN with a remark where there is none."""
    optics = load_tables().irdis.filter(inputs.frames[0].inst_filter)
    planes = rows["star_planes"].astype(np.int64)
    stars, weights = rows["stars"][:, :, 0], rows["stars"][:, :, 1]
    remarks = list(choice.remarks)
    has_flux = "FLUX" in inputs.frame_roles
    chosen = choice.chosen[planes]
    shape = (2, PSF_SIZE, PSF_SIZE)
    flux, variance = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    borrowed = inputs.borrowed()[planes] & chosen
    if borrowed.any():
        files = dict.fromkeys(inputs.frames[int(one)].file_id for one in inputs.planes.file[planes[borrowed]])
        what = f"the only FLUX is of another acquisition ({', '.join(files)}): a shape, no zero point of contrasts"
        remarks.append(Remark("AP-IRD-060", what))
    if chosen.any():
        flux, variance = combine_stars(stars[chosen], weights[chosen])
    else:
        why = "no star was found in any FLUX plane" if has_flux else "no FLUX frame"
        remarks.append(Remark("AP-IRD-051", f"{why}: the PSF is NaN and contrasts have no zero point"))
    each = np.where(weights > 0, stars, np.float32(np.nan)) if planes.size else np.full((1, *shape), np.nan, np.float32)
    content = ProductContent(
        {
            "flux": flux,
            "variance": variance,
            "plane_flux": each.astype(np.float32),
            "wavelength": np.array(optics.wavelength_um, np.float64),
        },
        {
            "planes": [
                [inputs.frames[int(inputs.planes.file[plane])].file_id, int(inputs.planes.plane[plane])]
                for plane in planes
            ],
            "planes_combined": [bool(one) for one in chosen],
            "of_another_acquisition": bool(borrowed.any()),
            "star_pixel": PSF_SIZE // 2,
            "aperture_radius_px": APERTURE,
            "nd_filter": next(
                (
                    frame.nd_filter
                    for frame, role in zip(inputs.frames, inputs.frame_roles, strict=True)
                    if role == "FLUX"
                ),
                None,
            ),
        },
    )
    return content, tuple(remarks)
