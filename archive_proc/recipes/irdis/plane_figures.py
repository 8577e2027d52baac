"""Figures of single planes, as rows of the catalog table `plane_qc`: what tracks and science cube say of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.figures import jumps
from archive_proc.recipes.detector import true_dit
from archive_proc.recipes.irdis.centers import Centers, roles_of
from archive_proc.recipes.irdis.scenes import Scene
from archive_proc.recipes.irdis.stars import Photometry
from archive_proc.recipes.recipe import Array, Arrays, RecipeInputs

Float64 = NDArray[np.float64]


def plane_columns(inputs: RecipeInputs, times: Float64) -> dict[str, Array]:
    """What identifies each plane: file, plane, type, mid-exposure (MJD UTC), DIT (s), whether it is usable."""
    frames, table = inputs.frames, inputs.planes
    dits = np.array([true_dit(frame) for frame in frames])
    return {
        "file_id": np.array([str(frame.file_id) for frame in frames], object)[table.file],
        "plane": table.plane.astype(np.int32),
        "frame_type": roles_of(inputs),
        "time": np.asarray(times, np.float64),
        "dit_s": dits[table.file],
        "usable": np.asarray(table.usable, bool),
    }


def figures_of_tracks(
    inputs: RecipeInputs, rows: Arrays, times: Float64, centers: Centers, photometry: Photometry, scenes: list[Scene]
) -> dict[str, Array]:
    """Columns of all OBJECT, CENTER and FLUX planes; figures (n, 2 halves), NaN where a plane has none."""
    scale = np.array([one.pixel_scale_mas for one in scenes[0].optics])
    return {
        **plane_columns(inputs, times),
        "background_level": rows["level"],
        "background_chi2": rows["chi2"],
        "center_error": np.hypot(centers.x_error, centers.y_error) * scale,
        "center_closure": rows["closure"],
        "center_jump": center_jumps(inputs, centers, scenes) * scale,
        "relative_flux": photometry.flux.factor,
        "relative_flux_error": photometry.flux.error,
        "star_flux": rows["aperture"],
    }


def center_jumps(inputs: RecipeInputs, centers: Centers, scenes: list[Scene]) -> Float64:
    """(n, 2) pixels from the median of the neighbours in time, dither taken out; NaN for FLUX planes."""
    dither = np.array([scenes[int(file)].dither for file in inputs.planes.file], np.float64).reshape(-1, 2)
    behind = roles_of(inputs) != "FLUX"
    found = np.full(centers.x.shape, np.nan)
    for half in range(2):
        still = np.stack([centers.x[:, half], centers.y[:, half]], axis=1) - dither
        still[~behind] = np.nan
        found[:, half] = jumps(still, inputs.planes.usable)
    return found
