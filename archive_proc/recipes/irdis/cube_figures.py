"""Quality figures of a science cube: pixels lost, noise against its claim, field rotation, conditions; by plane too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.model.flags import Flag
from archive_proc.model.processes import QcValue
from archive_proc.recipes.irdis.plane_figures import plane_columns
from archive_proc.recipes.irdis.scenes import scene_of
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import Array, Arrays, RecipeInputs

Flags = NDArray[np.uint16]
Float64 = NDArray[np.float64]
Coordinates = Mapping[str, NDArray[Any]]

COUNTED = ("filled_pixels", "cosmic_pixels", "saturated_pixels", "nonlinear_pixels")
"""Pixels of the lit field that are counted in every plane."""
SMEAR_AT_MAS = 800.0
"""Separation at which turning within a plane is judged (notes/irdis 1, times and angles)."""


def count_pixels(flags: Flags, of_detector: Flags) -> NDArray[np.int64]:
    """(2, 4) COUNTED pixels of each half; `flags` of a plane, `of_detector` those that all planes share, (2, ny, nx).

    Non-linear: too bright in this plane, not saturated; pixels that never follow the lamp do not count.
    """
    from archive_proc.kernels.loops.flags import count_flags

    wanted, unless, own = np.array(
        [
            (Flag.FILLED, 0, 0),
            (Flag.COSMIC, 0, 0),
            (Flag.SATURATED, 0, 0),
            (Flag.NONLINEAR, Flag.SATURATED, Flag.NONLINEAR),
        ],
        np.uint16,
    ).T.copy()
    counts = np.zeros((len(flags), len(COUNTED)), np.int64)
    count_flags(flags, of_detector, np.uint16(Flag.OUTSIDE), wanted, unless, own, counts)
    return counts


def smear(inputs: RecipeInputs, coordinates: Coordinates) -> Float64:
    """(n, 2) motion of a source at 0.8 arcsec within the plane, in lambda / D."""
    turned = np.radians(np.abs(coordinates["derotation_angle_end"] - coordinates["derotation_angle_start"]))
    optics = scene_of(inputs.frames[0]).optics
    return np.stack([turned * SMEAR_AT_MAS / (one.pixel_scale_mas * one.lambda_d) for one in optics], axis=1)


def cube_figures(
    product_type: str, inputs: RecipeInputs, shared: Arrays, coordinates: Coordinates, n_lit: int
) -> tuple[QcValue, ...]:
    """One value a cube; `shared`: `counts` (n, 2, 4) and `noise` (n, 2) of its planes; `n_lit`: lit pixels."""
    found = Figures(inputs)
    usable = np.asarray(inputs.planes.usable, bool)
    n = len(inputs.planes)
    found.add(product_type, "planes", float(n))
    found.add(product_type, "usable_planes", float(usable.sum()))
    found.add(product_type, "usable_fraction", float(usable.sum()) / max(n, 1))
    totals = dict(zip(COUNTED, shared["counts"].sum(axis=1).T, strict=True))
    found.add(product_type, "cosmic_pixels", float(np.median(totals["cosmic_pixels"])), "pixel")
    for name in ("saturated_pixels", "nonlinear_pixels"):
        found.add(product_type, name, float(np.max(totals[name])), "pixel")
    found.add(product_type, "filled_fraction", float(np.median(totals["filled_pixels"])) / n_lit)
    found.add(product_type, "rotation", float(np.ptp(coordinates["derotation_angle"])), "degree")
    noise = [shared["noise"][np.isfinite(shared["noise"][:, half]), half] for half in range(2)]
    found.add_halves(
        product_type, "noise_ratio", [float(np.median(one)) if one.size else float("nan") for one in noise]
    )
    found.add(product_type, "smear", float(np.max(smear(inputs, coordinates))))
    _conditions(found, product_type, inputs, coordinates)
    return found.values


def _conditions(found: Figures, product_type: str, inputs: RecipeInputs, coordinates: Coordinates) -> None:
    for name, unit in (("airmass", "1"), ("seeing", "arcsec")):
        seen = coordinates[name][np.isfinite(coordinates[name])]
        found.add(product_type, f"{name}_min", float(seen.min()) if seen.size else float("nan"), unit)
        found.add(product_type, f"{name}_max", float(seen.max()) if seen.size else float("nan"), unit)
    loops = np.array([(frame.ao_ir or "").upper() for frame in inputs.frames])[inputs.planes.file]
    told = loops != ""
    is_open = np.char.find(loops, "OPEN") >= 0
    share = float(is_open[told].mean()) if told.any() else float("nan")
    found.add(product_type, "loop_open_fraction", share)


def figures_of_cube(inputs: RecipeInputs, shared: Arrays, coordinates: Coordinates) -> dict[str, Array]:
    """Columns of the catalog table `plane_qc` for the planes of the cube; figures (n, 2 halves)."""
    counts = {name: shared["counts"][:, :, place].astype(np.float64) for place, name in enumerate(COUNTED)}
    return {
        **plane_columns(inputs, coordinates["time"]),
        **counts,
        "noise_ratio": shared["noise"],
        "smear": smear(inputs, coordinates),
    }
