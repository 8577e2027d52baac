"""`ifs_tracks`: star and flux of every OBJECT, CENTER and FLUX plane of an IFS observation, channel by channel.

One sweep over the spectra of the science planes (`track_sweep`), one look at CENTER and FLUX frames (`frame_looks`),
then the whole sequence at once: centres tied and transported (`star_places`), PSF and factors (`star_fluxes`). Nothing
is resampled here that is kept but the PSF: both cubes are made from the spectra with these tracks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from archive_proc.instruments.tables import load_tables
from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.ifs.frame_looks import FrameLooks, look_at_frames
from archive_proc.recipes.ifs.squares import spectra_of
from archive_proc.recipes.ifs.star_fluxes import psf_content, star_fluxes
from archive_proc.recipes.ifs.star_light import nd_filter_of
from archive_proc.recipes.ifs.star_places import StarPlaces, common_reference, place_stars
from archive_proc.recipes.ifs.track_figures import figures_of_planes, track_figures
from archive_proc.recipes.ifs.track_looks import field_of
from archive_proc.recipes.ifs.track_planes import CENTER_ROLE, FLUX_ROLE, PlaneList, plane_list
from archive_proc.recipes.ifs.track_sweep import join_rows, look
from archive_proc.recipes.measuring import setup_of
from archive_proc.recipes.recipe import (
    Array,
    Arrays,
    Cost,
    InputRole,
    Pass,
    ProductContent,
    ProductMain,
    Recipe,
    RecipeInputs,
    RecipeResult,
    TableRead,
)

ANGLE_AGREES_DEG = 3.0
"""Between the spots' angle and the table's: beyond it the table, the header or the spots found are wrong."""


@dataclass(frozen=True, slots=True)
class TracksParameters:
    """What is assumed where nothing can be measured."""

    expected_flux_scatter: float = 0.07
    """rms of transmission x Strehl from plane to plane: 6-8 % (notes/irdis 3)."""


def close(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The products `center`, `photometry` and `psf`.

    Never refuses: an even field has no star, and its spectra are good all the same.
    """
    given: TracksParameters = inputs.parameters
    main = spectra_of(inputs)
    field = field_of(main)
    planes = plane_list(inputs)
    frames = look_at_frames(planes)
    common = common_reference(field, shared)
    places = place_stars(field, planes, shared, frames, common)
    if not np.isfinite(places.x[planes.science]).any():
        # Nothing that could be followed is the star's.
        common = None
    fluxes = star_fluxes(field, planes, shared, frames, common, given.expected_flux_scatter, setup_of(inputs))
    of_flux = inputs.calibrations.get(FLUX_ROLE, ())
    psf, psf_remarks = psf_content(
        field, planes, frames, fluxes.combined, nd_filter_of(of_flux[0].attrs) if of_flux else None
    )
    k = field.optics.wavelength_um.size
    center = ProductContent(
        {
            "star_x": places.x,
            "star_y": places.y,
            "star_x_error": places.x_error,
            "star_y_error": places.y_error,
            "closure": places.closure,
            "centering_method": _in_channels(places.method, k),
            **planes.rows,
        },
        {
            "science_role": "CENTER" if (planes.frame_type[planes.science] == "CENTER").all() else "OBJECT",
            "star_pixels_of": "the rectified field: its centre on pixel n // 2 of 290 x 290, as in ifs_science_cube",
            "of_another_acquisition": bool((planes.borrowed & (planes.frame_type == "CENTER")).any()),
            **_waffle_attributes(planes, shared, frames),
        },
    )
    photometry = ProductContent(
        {
            "relative_flux": fluxes.flux.factor,
            "relative_flux_error": fluxes.flux.error,
            "photometry_method": _in_channels(fluxes.method, k),
            "aperture_flux": fluxes.aperture,
            "spot_flux": fluxes.spot_flux,
            "speckle_amplitude": fluxes.amplitude,
            "speckle_amplitude_error": fluxes.amplitude_error,
            **planes.rows,
        },
        {"relative_to": "median of the usable planes of the same frame_type"},
    )
    combined = np.asarray(psf.arrays["flux"], np.float32)
    return RecipeResult(
        {"center": center, "photometry": photometry, "psf": psf},
        track_figures(inputs, field, planes, places, fluxes, combined),
        (
            *planes.remarks,
            *places.remarks,
            *fluxes.remarks,
            *psf_remarks,
            *_starless(planes, places),
            *_angle_remarks(inputs, planes, shared, frames),
        ),
        figures_of_planes(field, planes, places, fluxes),
    )


def _in_channels(words: Array, channels: int) -> Array:
    """(n, k) words, the same in all channels."""
    return np.asarray(np.repeat(words.astype(object)[:, None], channels, axis=1))


def _angles(planes: PlaneList, rows: Arrays, frames: FrameLooks) -> Array:
    """(m, 2) radius factor and angle of every waffle that was fitted."""
    found = np.concatenate([rows["waffle"], frames.waffles["waffle"]])
    return np.asarray(found[np.isfinite(found).all(axis=1)])


def _waffle_attributes(planes: PlaneList, rows: Arrays, frames: FrameLooks) -> dict[str, float | None]:
    seen = _angles(planes, rows, frames)
    if not len(seen):
        return {"waffle_radius_lambda_d": None, "waffle_angle_deg": None}
    return {
        "waffle_radius_lambda_d": round(float(np.median(seen[:, 0])), 5),
        "waffle_angle_deg": round(float(np.degrees(_mean_angle(seen[:, 1]))), 5),
    }


def _mean_angle(angles: Array) -> float:
    """Mean of angles modulo 90 deg, radians."""
    return float(np.mod(np.angle(np.exp(4j * angles).mean()) / 4.0, np.pi / 2))


def _starless(planes: PlaneList, places: StarPlaces) -> tuple[Remark, ...]:
    if np.isfinite(places.x).any():
        return ()
    said = f"the star is in none of {len(planes)} planes: no waffle spots, no star off the mask, no symmetry"
    return (Remark("AP-IFS-101", said),)


def _angle_remarks(inputs: RecipeInputs, planes: PlaneList, rows: Arrays, frames: FrameLooks) -> tuple[Remark, ...]:
    """Spots at another angle than header and table say; they are found by themselves all the same."""
    seen = _angles(planes, rows, frames)
    orient = [one.attrs.get("waffle_orient") for one in (spectra_of(inputs), *inputs.calibrations.get(CENTER_ROLE, ()))]
    said = next((str(one).strip() for one in orient if one), "")
    if not len(seen) or said not in ("x", "+"):
        return ()
    row = load_tables().ifs.orientation(float(planes.time[0]))
    expected = row.waffle_cross_deg if said == "x" else row.waffle_plus_deg
    measured = float(np.degrees(_mean_angle(seen[:, 1])))
    away = abs((measured - expected + 45.0) % 90.0 - 45.0)
    if away <= ANGLE_AGREES_DEG:
        return ()
    return (
        Remark(
            "AP-IFS-102",
            f"waffle spots stand at {measured:.1f} deg, the table says {expected:.1f} for OCS WAFFLE ORIENT {said}: "
            "the spots found are used",
        ),
    )


IFS_TRACKS = Recipe(
    name="ifs_tracks",
    version="1.4.1",
    arm=Arm.IFS,
    subject_kind="observation",
    main=ProductMain("ifs_spectra"),
    inputs=(
        InputRole(CENTER_ROLE, ("ifs_spectra",), source="frames", required=False, for_roles=("CENTER",), whole=True),
        InputRole(FLUX_ROLE, ("ifs_spectra",), source="frames", required=False, for_roles=("FLUX",), whole=True),
    ),
    outputs=("center", "photometry", "psf"),
    parameters=TracksParameters,
    tables=(
        TableRead("ifs.lenslets"),
        TableRead("ifs.orientation"),
        TableRead("irdis.neutral_density"),
        TableRead("irdis.filters"),
        TableRead("qc.psf"),
    ),
    passes=(Pass("look", look, join_rows),),
    close=close,
    cost=Cost(cpu_s=15.0, cpu_s_per_plane=0.4, memory_gb=1.0, bytes_out=40_000_000, bytes_out_per_plane=60_000),
)
