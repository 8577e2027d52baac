"""Relative flux of every plane, and the PSF, from what planes say by themselves (notes/irdis 4.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.qc_limits import QcSetup
from archive_proc.kernels.acquisitions import agreement
from archive_proc.kernels.photometry import SPOT_NOISE, WAFFLE_NOISE, RelativeFlux, shrunk, speckle_noise, unidentified
from archive_proc.kernels.psf import combine_stars
from archive_proc.kernels.registration import Registered
from archive_proc.model.processes import Remark
from archive_proc.recipes.ifs.frame_looks import FrameLooks
from archive_proc.recipes.ifs.star_light import APERTURE, PSF_SIZE
from archive_proc.recipes.ifs.track_looks import Field
from archive_proc.recipes.ifs.track_planes import PlaneList
from archive_proc.recipes.measuring import refusing_factor
from archive_proc.recipes.recipe import Arrays, ProductContent

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

FEWEST_PLANES = 3
"""Science planes below which the scatter of amplitudes says nothing about them."""
PRIOR_PLANES = 8.0
"""How many planes' worth of trust the expected scatter has against that of the amplitudes."""
COLOUR_TERMS = 2
"""Of the amplitude over wavelength: constant and slope with wavelength^-2, as the logarithm of the Strehl changes."""
APERTURE_NOISE = 0.005
"""Least fractional error of a star's light: flat, neutral density, aperture losses (as for IRDIS)."""


@dataclass(frozen=True, slots=True)
class StarFluxes:
    """Rows of the product `photometry` (n, k)."""

    flux: RelativeFlux
    method: NDArray[np.str_]
    """(n,) waffle, speckles, spots, aperture, none."""
    aperture: Float64
    """adu/s, FLUX planes, neutral density corrected."""
    spot_flux: Float64
    """adu/s, mean of four spots."""
    amplitude: Float64
    """Of fine structure over the sequence's, science planes."""
    amplitude_error: Float64
    combined: Mask
    """(n,) FLUX planes whose star is in the PSF."""
    ratio: Float64
    """(files,) brightest acquisition over this one."""
    offset: Float64
    """(files,) pixels from the best acquisition."""
    left_out: int
    """FLUX files of which no plane is combined."""
    remarks: tuple[Remark, ...]


def star_fluxes(
    field: Field,
    planes: PlaneList,
    rows: Arrays,
    frames: FrameLooks,
    common: Registered | None,
    expected_scatter: float,
    setup: QcSetup,
) -> StarFluxes:
    """Factors of all planes, each kind against its own median."""
    n, k = len(planes), field.optics.wavelength_um.size
    aperture, error_of_aperture, spot_flux = (np.full((n, k), np.nan) for _ in range(3))
    for place, plane in enumerate(frames.flux_planes):
        light = frames.lights[place]
        if light is not None:
            aperture[plane], error_of_aperture[plane] = light.flux, light.error
    science = np.flatnonzero(planes.science)
    spot_flux[science] = rows["spot_flux"][planes.main[science]]
    if frames.center_planes.size:
        spot_flux[frames.center_planes] = frames.waffles["spot_flux"]
    remarks: list[Remark] = []
    combined, ratio, offset, left_out = _choose(field, planes, frames, aperture, setup, remarks)
    amplitude, amplitude_error = np.full((n, k), np.nan), np.full((n, k), np.nan)
    if common is not None:
        amplitude[science], amplitude_error[science] = _amplitudes(field, rows, common, planes.main[science])
    flux = unidentified(n, expected_scatter)
    factor, error = np.repeat(flux.factor[:, :1], k, axis=1), np.repeat(flux.error[:, :1], k, axis=1)
    method = np.full(n, "none", "U16")
    out = factor, error, method
    centers = (planes.frame_type == "CENTER") & ~planes.science
    _put(out, centers, spot_flux, centers & planes.usable, SPOT_NOISE, expected_scatter, "spots")
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = error_of_aperture / aperture
    noise = max(float(np.nanmedian(relative)), APERTURE_NOISE) if np.isfinite(relative).any() else APERTURE_NOISE
    _put(out, planes.frame_type == "FLUX", aperture, combined, noise, expected_scatter, "aperture")
    _put_science(planes, amplitude, amplitude_error, field, expected_scatter, out)
    if not (method[planes.science] != "none").any():
        remarks.append(
            Remark(
                "AP-IFS-097", f"photometry of science planes is not identified: factor 1, error {expected_scatter:g}"
            )
        )
    return StarFluxes(
        RelativeFlux(factor, error),
        method,
        aperture,
        spot_flux,
        amplitude,
        amplitude_error,
        combined,
        ratio,
        offset,
        left_out,
        tuple(remarks),
    )


def _put(
    out: tuple[Float64, Float64, NDArray[np.str_]],
    here: Mask,
    estimates: Float64,
    trusted: Mask,
    noise: float,
    expected_scatter: float,
    word: str,
) -> None:
    """Factors of one kind of planes against its trusted ones; where they have no estimate NaN."""
    factor, error, method = out
    seen = here[:, None] & np.isfinite(estimates) & (estimates > 0)
    if not (seen & trusted[:, None]).any():
        return
    judged = shrunk(np.where(seen, estimates, np.nan), trusted, noise, expected_scatter)
    factor[here[:, None] & ~seen], error[here[:, None] & ~seen] = np.nan, np.nan
    factor[seen], error[seen] = judged.factor[seen], judged.error[seen]
    method[seen.any(axis=1)] = word


def _amplitudes(field: Field, rows: Arrays, common: Registered, at: NDArray[np.int64]) -> tuple[Float64, Float64]:
    """(m, k) how bright each science plane's fine structure is, smooth in wavelength, and its error as a fit."""
    k = field.optics.wavelength_um.size
    value, error = np.full((at.size, k), np.nan), np.full((at.size, k), np.nan)
    shard = rows["reference_of"]
    bluer = field.optics.wavelength_um**-2.0
    everywhere = np.polynomial.polynomial.polyvander(bluer - bluer[field.witnesses].mean(), COLOUR_TERMS - 1)
    design = everywhere[field.witnesses]
    for place, row in enumerate(at):
        if not rows["registered"][row] or shard[row] < 0 or not common.shifts[int(shard[row])].good:
            continue
        against = common.shifts[int(shard[row])].brightness
        bright, spread = rows["brightness"][row] * against, rows["brightness_error"][row] * against
        # The sole plane of a reference is the reference itself: its error is 0.
        weight = 1.0 / np.maximum(spread, 1e-3) ** 2
        known = np.isfinite(bright) & (bright > 0) & np.isfinite(spread)
        if known.sum() < COLOUR_TERMS:
            continue
        normal = (design[known] * weight[known, None]).T @ design[known]
        inverse = np.linalg.inv(normal)
        terms = inverse @ (design[known] * weight[known, None]).T @ bright[known]
        value[place] = everywhere @ terms
        left = bright[known] - design[known] @ terms
        chi2 = float((left**2 * weight[known]).sum() / max(int(known.sum()) - COLOUR_TERMS, 1))
        error[place] = np.sqrt(np.einsum("ki,ij,kj->k", everywhere, inverse, everywhere) * max(chi2, 1.0))
    return np.where(value > 0, value, np.nan), error


def _put_science(
    planes: PlaneList,
    amplitude: Float64,
    amplitude_error: Float64,
    field: Field,
    expected_scatter: float,
    out: tuple[Float64, Float64, NDArray[np.str_]],
) -> None:
    """Science planes' factors from their amplitudes, drawn towards 1 by what they can be trusted."""
    factor, error, method = out
    seen = planes.science & np.isfinite(amplitude).all(axis=1)
    judging = seen & planes.usable
    if judging.sum() < FEWEST_PLANES:
        return
    waffle = bool((planes.frame_type[planes.science] == "CENTER").all())
    floor = WAFFLE_NOISE if waffle else speckle_noise(float(field.optics.wavelength_um.mean()))
    noise = float(np.hypot(floor, np.median(amplitude_error[judging])))
    judged = shrunk(amplitude, judging, noise, expected_scatter, prior_planes=PRIOR_PLANES)
    factor[seen], error[seen] = judged.factor[seen], judged.error[seen]
    method[seen] = "waffle" if waffle else "speckles"


def _choose(
    field: Field, planes: PlaneList, frames: FrameLooks, aperture: Float64, setup: QcSetup, remarks: list[Remark]
) -> tuple[Mask, Float64, Float64, int]:
    """Which FLUX planes make the PSF: not the saturated, not an acquisition that went wrong."""
    chosen = np.zeros(len(planes), bool)
    flux = frames.flux_planes
    if not flux.size:
        return chosen, np.zeros(0), np.zeros(0), 0
    band = (
        np.nanmedian(np.where(np.isfinite(aperture[flux]), aperture[flux], np.nan), axis=1) if flux.size else aperture
    )
    seen = planes.usable[flux] & np.isfinite(band) & (np.nan_to_num(band) > 0)
    if (seen & frames.saturated).any():
        if (seen & ~frames.saturated).any():
            remarks.append(
                Remark("AP-IFS-098", f"{int((seen & frames.saturated).sum())} saturated FLUX plane(s) left out")
            )
            seen &= ~frames.saturated
        else:
            remarks.append(Remark("AP-IFS-098", "the star is saturated in every FLUX plane: the PSF is clipped"))
    files = list(dict.fromkeys(planes.file_id[flux]))
    peak, xy = np.full((len(files), 1), np.nan), np.full((len(files), 1, 2), np.nan)
    middle = field.optics.wavelength_um.size // 2
    for place, name in enumerate(files):
        here = seen & (planes.file_id[flux] == name)
        if here.any():
            peak[place] = np.median(band[here])
            centers = [
                star.center[middle] for star, one in zip(frames.stars, here, strict=True) if one and star is not None
            ]
            xy[place] = field.pixels(np.median(centers, axis=0))
    factor = refusing_factor("psf", "acquisition_ratio", setup)
    judged = agreement(peak, xy, factor)
    for place, name in enumerate(files):
        mine = planes.file_id[flux] == name
        if judged.kept[place]:
            with np.errstate(invalid="ignore", divide="ignore"):
                apart = np.maximum(band / peak[place], peak[place] / band)
            chosen[flux[mine & seen & (apart <= factor)]] = True
            continue
        ratio = judged.ratio[place]
        why = f"its star is a factor {ratio:.3g} off" if np.isfinite(ratio) else "no unsaturated star found in it"
        remarks.append(Remark("AP-IFS-099", f"{name} (FLUX file {place + 1} of {len(files)}) left out: {why}"))
    return chosen, judged.ratio, judged.offset, int((~judged.kept).sum())


def psf_content(
    field: Field, planes: PlaneList, frames: FrameLooks, combined: Mask, nd_filter: str | None
) -> tuple[ProductContent, tuple[Remark, ...]]:
    """The product `psf`: mean of the chosen FLUX planes, every plane beside it; NaN with a remark where none is."""
    k = field.optics.wavelength_um.size
    shape = (k, PSF_SIZE, PSF_SIZE)
    held = [(plane, light) for plane, light in zip(frames.flux_planes, frames.lights, strict=True) if light is not None]
    images = np.stack([one.image for _, one in held]) if held else np.full((1, *shape), np.nan, np.float32)
    chosen = np.array([combined[plane] for plane, _ in held], bool)
    flux, variance = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    remarks: tuple[Remark, ...] = ()
    borrowed = bool((planes.borrowed & combined).any())
    if borrowed:
        files = dict.fromkeys(str(one) for one in planes.file_id[planes.borrowed & combined])
        remarks = (
            Remark(
                "AP-IFS-105",
                f"the only FLUX is of another acquisition ({', '.join(files)}): a shape, no zero point of contrasts",
            ),
        )
    if chosen.any():
        weights = np.stack([one.weight for _, one in held])[chosen]
        flux, variance = combine_stars(np.nan_to_num(images[chosen]), weights)
    else:
        why = "no star was found in any FLUX plane" if frames.flux_planes.size else "no FLUX frame"
        remarks = (Remark("AP-IFS-100", f"{why}: the PSF is NaN and contrasts have no zero point"),)
    content = ProductContent(
        {"flux": flux, "variance": variance, "plane_flux": images, "wavelength": field.optics.wavelength_um},
        {
            "planes": [[str(planes.file_id[plane]), int(planes.plane[plane])] for plane, _ in held],
            "planes_combined": [bool(one) for one in chosen],
            "of_another_acquisition": borrowed,
            "star_pixel": PSF_SIZE // 2,
            "aperture_radius_px": APERTURE,
            "pixel_scale_mas": field.scale.pixel_mas,
            "nd_filter": nd_filter,
        },
    )
    return content, remarks
