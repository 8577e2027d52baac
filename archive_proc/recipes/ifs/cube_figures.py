"""Quality figures of the rectified cubes: pixels lost, field rotation, conditions; one value a cube."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.waffle import MAS, TELESCOPE_D
from archive_proc.model.flags import Flag
from archive_proc.model.processes import QcValue
from archive_proc.recipes.ifs.squares import Planes
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import RecipeInputs

Coordinates = Mapping[str, NDArray[Any]]

COUNTED = ("field", "filled_pixels", "cosmic_pixels", "saturated_pixels", "lost_pixels")
"""What is counted in every plane, over all channels: pixels of the field; those that took in a lenslet with such a
flag; those without a value."""
SMEAR_AT_MAS = 800.0
"""Separation at which turning within a plane is judged, as in the IRDIS cubes."""


def plane_counts(images: Planes) -> NDArray[np.int64]:
    """(5,) COUNTED pixels of one plane's images, all channels together."""
    flux, _, flags = images
    inside = (flags & np.uint16(Flag.OUTSIDE)) == 0
    marked = [int(np.count_nonzero(flags & np.uint16(one))) for one in (Flag.FILLED, Flag.COSMIC, Flag.SATURATED)]
    field = int(np.count_nonzero(inside))
    return np.array([field, *marked, field - int(np.count_nonzero(np.isfinite(flux)))], np.int64)


def cube_figures(
    product: str, inputs: RecipeInputs, counts: NDArray[np.int64], found: Coordinates
) -> tuple[QcValue, ...]:
    """One value a cube; counts (n, 5) as `plane_counts`; found: its coordinates."""
    figures = Figures(inputs)
    usable = np.asarray(inputs.planes.usable, bool)
    n = len(inputs.planes)
    figures.add(product, "planes", float(n))
    figures.add(product, "usable_planes", float(usable.sum()))
    figures.add(product, "usable_fraction", float(usable.sum()) / max(n, 1))
    share = counts[:, 1:] / np.maximum(counts[:, :1], 1)
    figures.add(product, "filled_fraction", float(np.median(share[:, 0])))
    figures.add(product, "cosmic_fraction", float(np.median(share[:, 1])))
    figures.add(product, "saturated_fraction", float(share[:, 2].max(initial=0.0)))
    figures.add(product, "lost_fraction", float(np.median(share[:, 3])))
    figures.add(product, "rotation", _range(found["derotation_angle"]), "degree")
    turned = np.radians(np.abs(found["derotation_angle_end"] - found["derotation_angle_start"]))
    middle = float(np.median(found["wavelength"]))
    lambda_d_mas = middle * 1e-6 / TELESCOPE_D * MAS
    figures.add(product, "smear", _largest(turned) * SMEAR_AT_MAS / lambda_d_mas)
    for name, unit in (("airmass", "1"), ("seeing", "arcsec")):
        seen = found[name][np.isfinite(found[name])]
        figures.add(product, f"{name}_min", float(seen.min()) if seen.size else float("nan"), unit)
        figures.add(product, f"{name}_max", float(seen.max()) if seen.size else float("nan"), unit)
    return figures.values


def centered_figures(product: str, inputs: RecipeInputs, counts: NDArray[np.int64], lost: int) -> tuple[QcValue, ...]:
    """One value a cube: how much of the field has a value, and planes without a star (`lost`)."""
    figures = Figures(inputs)
    field = np.maximum(counts[:, 0], 1)
    figures.add(product, "lost_fraction", float(np.median(counts[:, 4] / field)))
    figures.add(product, "planes_without_centre", float(lost))
    return figures.values


def _range(values: NDArray[np.float64]) -> float:
    seen = values[np.isfinite(values)]
    return float(np.ptp(seen)) if seen.size else float("nan")


def _largest(values: NDArray[np.float64]) -> float:
    seen = values[np.isfinite(values)]
    return float(seen.max()) if seen.size else float("nan")
