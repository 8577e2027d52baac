"""`ifs_centered`: the cube users download, star on pixel n // 2 in every channel, resampled once from the spectra.

The star's place in each plane and channel goes into the areas of overlap; not derotated, not stacked, native scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.ifs.cube_figures import centered_figures, plane_counts
from archive_proc.recipes.ifs.squares import (
    Scale,
    attributes,
    common_variance,
    copied,
    grid_of,
    one_plane,
    resampling,
    scale_of,
    spectra_of,
)
from archive_proc.recipes.ifs.track_rows import track_coordinates
from archive_proc.recipes.recipe import (
    Array,
    Arrays,
    Block,
    BlockOutput,
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

PRODUCT = "ifs_centered_cube"
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CenteredParameters:
    """What is done beside the shift."""

    correct_anamorphism: bool = False
    """Stretch the field by the table's factors. Off: they were measured with IRDIS, and how they lie in the field of
    the IFS, turned by 100 deg, is published nowhere."""


def field_places(inputs: RecipeInputs, scale: Scale) -> Float64:
    """(n, k, 2) pixel of the field's centre that brings the star to the middle pixel; NaN without a star."""
    spectra = spectra_of(inputs)
    tracks = track_coordinates(spectra, inputs.calibrations["center"][0], inputs.calibrations["photometry"][0])
    star = np.stack([tracks["star_x"], tracks["star_y"]], axis=-1)
    return np.asarray(scale.middle - (star - scale.middle) * np.array(scale.anamorphism))


def center_block(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """16 planes; a plane or channel without a star position is NaN and LOW_WEIGHT throughout."""
    spectra = spectra_of(inputs)
    scale = _scale(inputs)
    grid = grid_of(spectra, scale)
    places = field_places(inputs, scale)
    n, channels = len(block.planes), len(spectra.arrays["wavelength"])
    shape = (n, channels, scale.size, scale.size)
    flux, variance = (block.room.array(name, shape, np.float32) for name in ("flux", "variance"))
    flags = block.room.array("flags", shape, np.uint16)
    counts = []
    for index, plane in enumerate(block.planes):
        given = tuple(block.pixels[name][index] for name in ("flux", "variance", "flags"))
        into = flux[index], variance[index], flags[index]
        one_plane(grid, places[plane], (given[0], given[1], given[2]), into)
        counts.append(plane_counts(into))
    return BlockOutput({"counts": np.stack(counts)}, {PRODUCT: {"flux": flux, "variance": variance, "flags": flags}})


def gather(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Counted pixels of every plane."""
    return {"counts": np.concatenate([one["counts"] for one in summaries])}


def close_centered(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """Coordinates with the star on the middle pixel; common variance moved by the median shift.

    Raises DataFailure AP-IFS-092 when no usable plane has a star position.
    """
    spectra = spectra_of(inputs)
    scale = _scale(inputs)
    grid = grid_of(spectra, scale)
    places = field_places(inputs, scale)
    centred = np.asarray(np.isfinite(places).all(axis=2), bool)
    judged = centred & np.asarray(inputs.planes.usable, bool)[:, None]
    if not judged.any():
        raise DataFailure(
            "AP-IFS-092",
            "no usable plane has a star position",
            subject=inputs.subject.subject_id,
            remedy="add an OBJECT,CENTER file of the observation, or look at why centring failed (product `center`)",
        )
    arrays: dict[str, Array] = copied(spectra)
    arrays |= track_coordinates(spectra, inputs.calibrations["center"][0], inputs.calibrations["photometry"][0])
    for name in ("star_x", "star_y"):
        arrays[name] = np.where(centred, float(scale.middle), np.nan)
    arrays["usable"] = np.asarray(inputs.planes.usable, bool)
    arrays["reason"] = np.array(list(inputs.planes.reason), dtype=np.dtypes.StringDType())
    arrays["pixel_scale"] = np.full(places.shape[1], scale.pixel_mas)
    middle = np.nanmedian(np.where(judged[..., None], places, np.nan)[:, judged.any(axis=0)], axis=0)
    typical = np.full(places.shape[1:], np.nan)
    typical[judged.any(axis=0)] = middle
    arrays["variance_common"] = common_variance(grid, typical, spectra)
    arrays["resampling_correlation"] = resampling(grid)
    lost = int((~centred.any(axis=1)).sum())
    remarks = (Remark("AP-IFS-091", f"{lost} planes have no star position and are NaN"),) if lost else ()
    attrs = {**attributes(spectra, scale), "star_pixel": scale.middle}
    return RecipeResult(
        {PRODUCT: ProductContent(arrays, attrs)}, centered_figures(PRODUCT, inputs, shared["counts"], lost), remarks
    )


def _scale(inputs: RecipeInputs) -> Scale:
    given: CenteredParameters = inputs.parameters
    return scale_of(spectra_of(inputs), correct_anamorphism=given.correct_anamorphism)


def _sizes(inputs: RecipeInputs) -> Mapping[str, Mapping[str, int]]:
    spectra = spectra_of(inputs)
    size = scale_of(spectra).size
    channels = len(spectra.arrays["wavelength"])
    return {PRODUCT: {"frame": len(inputs.planes), "channel": channels, "y": size, "x": size}}


IFS_CENTERED = Recipe(
    name="ifs_centered",
    version="1.1.0",
    arm=Arm.IFS,
    subject_kind="observation",
    main=ProductMain("ifs_spectra"),
    inputs=(
        InputRole("center", ("center",), source="subject"),
        InputRole("photometry", ("photometry",), source="subject"),
    ),
    outputs=(PRODUCT,),
    parameters=CenteredParameters,
    tables=(TableRead("ifs.lenslets"), TableRead("ifs.orientation")),
    sizes=_sizes,
    passes=(Pass("center", center_block, gather),),
    close=close_centered,
    cost=Cost(
        cpu_s=2.0, cpu_s_per_plane=0.5, memory_gb=1.2, bytes_out=20_000_000, bytes_out_per_plane=14_000_000, inodes=60
    ),
)
