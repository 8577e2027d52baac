"""`irdis_tracks`: star, background and flux of every OBJECT, CENTER and FLUX plane of an observation.

One sweep over the raw planes (`looks`), then the whole sequence at once: centres tied and transported (`centers`), PSF
and factors (`stars`). No pixel is written: `irdis_science` reads these tracks and makes the cube.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archive_proc.errors import DataFailure
from archive_proc.kernels.background import FIXED_TERMS, HALO_RADIUS, HALO_TERMS
from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.irdis.amplitudes import speckle_amplitude
from archive_proc.recipes.irdis.centers import common_reference, join_rows, roles_of, track
from archive_proc.recipes.irdis.flux_files import choose_flux
from archive_proc.recipes.irdis.looks import look, n_terms, science_role
from archive_proc.recipes.irdis.plane_figures import figures_of_tracks
from archive_proc.recipes.irdis.pointing import plane_times
from archive_proc.recipes.irdis.scenes import scene_of
from archive_proc.recipes.irdis.stars import psf_content, relative_fluxes
from archive_proc.recipes.irdis.track_figures import track_figures
from archive_proc.recipes.recipe import (
    Array,
    Arrays,
    Cost,
    InputRole,
    Pass,
    ProductContent,
    RawMain,
    Recipe,
    RecipeInputs,
    RecipeResult,
    TableRead,
)


@dataclass(frozen=True, slots=True)
class TracksParameters:
    """What is assumed where nothing can be measured."""

    expected_flux_scatter: float = 0.07
    """rms of transmission x Strehl from plane to plane: 6-8 % (notes/irdis 3)."""


def gather(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """All shards' rows in plane order."""
    return join_rows(list(summaries), len(inputs.planes))


def close(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The products `center`, `photometry`, `psf` and `background`.

    Raises DataFailure AP-IRD-052 when the star was found in no plane at all: neither spots in CENTER nor a star in
    FLUX, though such planes exist.
    """
    given: TracksParameters = inputs.parameters
    times = plane_times(inputs.frames, inputs.planes)
    scenes = [scene_of(frame) for frame in inputs.frames]
    _refuse_starless(inputs, shared)
    common = common_reference(inputs, shared, scenes)
    centers = track(inputs, shared, times, scenes, common)
    choice = choose_flux(inputs, shared)
    amplitude = speckle_amplitude(inputs, shared, common)
    photometry = relative_fluxes(inputs, shared, choice, amplitude, given.expected_flux_scatter)
    psf, psf_remarks = psf_content(inputs, shared, choice)
    rows = _plane_columns(inputs)
    rows_in_time = {**rows, "frame_type": roles_of(inputs).astype(object), "time": times}
    center = ProductContent(
        {
            "star_x": centers.x,
            "star_y": centers.y,
            "star_x_error": centers.x_error,
            "star_y_error": centers.y_error,
            "closure": shared["closure"],
            "centering_method": centers.method.astype(object),
            **rows_in_time,
        },
        {
            "science_role": science_role(inputs),
            "of_another_acquisition": bool((inputs.borrowed() & (roles_of(inputs) == "CENTER")).any()),
            **_waffle_attributes(shared),
        },
    )
    fluxes = ProductContent(
        {
            "relative_flux": photometry.flux.factor,
            "relative_flux_error": photometry.flux.error,
            "photometry_method": photometry.method.astype(object),
            "aperture_flux": shared["aperture"],
            "spot_flux": shared["spot_flux"],
            "speckle_amplitude": amplitude.value,
            "speckle_amplitude_error": amplitude.error,
            **rows_in_time,
        },
        {"relative_to": "median of the usable planes of the same frame_type"},
    )
    combined = np.asarray(psf.arrays["flux"], np.float32)
    return RecipeResult(
        {"center": center, "photometry": fluxes, "psf": psf, "background": _background(inputs, shared, rows)},
        track_figures(inputs, shared, centers, photometry, choice, combined, scenes),
        (*centers.remarks, *photometry.remarks, *psf_remarks, *_remarks(inputs, shared)),
        figures_of_tracks(inputs, shared, times, centers, photometry, scenes),
    )


def _plane_columns(inputs: RecipeInputs) -> dict[str, Array]:
    files = np.array([frame.file_id for frame in inputs.frames], dtype=object)
    return {"file_id": files[inputs.planes.file], "plane": inputs.planes.plane.astype(np.int32)}


def _refuse_starless(inputs: RecipeInputs, rows: Arrays) -> None:
    roles = roles_of(inputs)
    marked = (roles == "CENTER") | (roles == "FLUX")
    if marked.any() and not np.isfinite(rows["center"]).all(axis=(1, 2)).any():
        raise DataFailure(
            "AP-IRD-052",
            f"the star is in no plane: no waffle spots in {int((roles == 'CENTER').sum())} CENTER planes, no star in "
            f"{int((roles == 'FLUX').sum())} FLUX planes",
            subject=inputs.subject.subject_id,
            remedy="look at the frames: loop open, closed beam, or a first guess of another epoch in irdis.toml",
        )


def _background(inputs: RecipeInputs, rows: Arrays, columns: dict[str, Array]) -> ProductContent:
    modes = n_terms(inputs) - len(FIXED_TERMS)
    return ProductContent(
        {
            "coefficients": rows["coefficients"],
            "background_level": rows["level"],
            "chi2": rows["chi2"],
            "halo": rows["halo"],
            "method": rows["method"].astype(object),
            **columns,
        },
        {
            "terms": [*FIXED_TERMS, *(f"mode_{index + 1}" for index in range(modes))],
            "halo_terms": list(HALO_TERMS),
            "halo_radius_px": HALO_RADIUS,
            "constrained": [bool(one) for one in rows["constrained"]],
            "level_is": "light above the detector's level for sky_basis, else light above the master",
        },
    )


def _waffle_attributes(rows: Arrays) -> dict[str, float | None]:
    seen = rows["waffle"][np.isfinite(rows["waffle"]).all(axis=1)]
    if not len(seen):
        return {"waffle_radius_lambda_d": None, "waffle_angle_deg": None}
    return {
        "waffle_radius_lambda_d": round(float(np.median(seen[:, 0])), 5),
        "waffle_angle_deg": round(float(np.degrees(np.median(seen[:, 1]))), 5),
    }


def _remarks(inputs: RecipeInputs, rows: Arrays) -> tuple[Remark, ...]:
    found = []
    roles = roles_of(inputs)
    if not rows["constrained"].all():
        n = int((~rows["constrained"]).sum())
        found.append(Remark("AP-IRD-053", f"{n} plane(s) of thermal light without a sky: background unconstrained"))
    if (rows["method"] == "unlit").any():
        n = int((rows["method"] == "unlit").sum())
        found.append(Remark("AP-IRD-054", f"{n} plane(s) without any background: level of unlit pixels used"))
    missing = int(((roles == "CENTER") & ~np.isfinite(rows["center"]).all(axis=(1, 2))).sum())
    if missing and (roles == "CENTER").sum() > missing:
        found.append(Remark("AP-IRD-056", f"{missing} CENTER plane(s) without clear waffle spots"))
    return tuple(found)


IRDIS_TRACKS = Recipe(
    name="irdis_tracks",
    version="1.6.0",
    arm=Arm.IRDIS,
    subject_kind="observation",
    main=RawMain(roles=("OBJECT", "CENTER", "FLUX")),
    inputs=(
        InputRole("flat", ("detector_flat",)),
        InputRole("bad_pixels", ("bad_pixels",), association_roles=("flat",)),
        InputRole("background", ("sky_basis", "instrument_background", "dark"), required=False),
    ),
    outputs=("center", "photometry", "psf", "background"),
    parameters=TracksParameters,
    tables=(
        TableRead("irdis.detector"),
        TableRead("irdis.filter", by="inst_filter"),
        TableRead("irdis.neutral_density"),
        TableRead("irdis.geometry", by="mjd_obs"),
        TableRead("earth_rotation", by="mjd_obs"),
        TableRead("qc.psf"),
    ),
    passes=(Pass("look", look, gather),),
    close=close,
    cost=Cost(cpu_s=4.0, cpu_s_per_plane=0.4, memory_gb=1.0, bytes_out=1_000_000, bytes_out_per_plane=52_000),
    modes=("dual_band", "classical"),
)
