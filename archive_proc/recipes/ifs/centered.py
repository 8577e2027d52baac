"""`ifs_centered`: the cube users download, star on pixel n // 2 in every channel, resampled once from the spectra.

The star's place in each plane and channel goes into the areas of overlap; not derotated, not stacked, native scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.ifs.cube_figures import centered_figures
from archive_proc.recipes.ifs.rectified import (
    CUBE_COST,
    TRACKS,
    cube_arrays,
    cube_sizes,
    gather_counts,
    rectified_block,
    tracks_of,
)
from archive_proc.recipes.ifs.squares import Scale, attributes, grid_of, scale_of, spectra_of
from archive_proc.recipes.recipe import (
    Arrays,
    Block,
    BlockOutput,
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
    tracks = tracks_of(inputs)
    star = np.stack([tracks["star_x"], tracks["star_y"]], axis=-1)
    return np.asarray(scale.middle - (star - scale.middle) * np.array(scale.anamorphism))


def center_block(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """16 planes; a plane or channel without a star position is NaN and LOW_WEIGHT throughout."""
    scale = _scale(inputs)
    return rectified_block(PRODUCT, block, inputs, grid_of(spectra_of(inputs), scale), field_places(inputs, scale))


def close_centered(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """Coordinates with the star on the middle pixel; common variance moved by the median shift.

    Raises DataFailure AP-IFS-092 when no usable plane has a star position.
    """
    spectra = spectra_of(inputs)
    scale = _scale(inputs)
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
    middle = np.nanmedian(np.where(judged[..., None], places, np.nan)[:, judged.any(axis=0)], axis=0)
    typical = np.full(places.shape[1:], np.nan)
    typical[judged.any(axis=0)] = middle
    arrays = cube_arrays(inputs, scale, grid_of(spectra, scale), typical)
    for name in ("star_x", "star_y"):
        arrays[name] = np.where(centred, float(scale.middle), np.nan)
    lost = int((~centred.any(axis=1)).sum())
    remarks = (Remark("AP-IFS-091", f"{lost} planes have no star position and are NaN"),) if lost else ()
    attrs = {**attributes(spectra, scale), "star_pixel": scale.middle}
    return RecipeResult(
        {PRODUCT: ProductContent(arrays, attrs)}, centered_figures(PRODUCT, inputs, shared["counts"], lost), remarks
    )


def _scale(inputs: RecipeInputs) -> Scale:
    given: CenteredParameters = inputs.parameters
    return scale_of(spectra_of(inputs), correct_anamorphism=given.correct_anamorphism)


IFS_CENTERED = Recipe(
    name="ifs_centered",
    version="1.1.0",
    arm=Arm.IFS,
    subject_kind="observation",
    main=ProductMain("ifs_spectra"),
    inputs=TRACKS,
    outputs=(PRODUCT,),
    parameters=CenteredParameters,
    tables=(TableRead("ifs.lenslets"), TableRead("ifs.orientation")),
    sizes=cube_sizes(PRODUCT),
    passes=(Pass("center", center_block, gather_counts),),
    close=close_centered,
    cost=CUBE_COST,
)
