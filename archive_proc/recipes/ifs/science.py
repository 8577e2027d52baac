"""`ifs_science`: the spectra of all science planes on square pixels, one flux-conserving resampling (notes/ifs 6.10).

The field's centre stands on pixel n // 2 of every plane; where the star is, the coordinates say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.ifs.cube_figures import cube_figures
from archive_proc.recipes.ifs.rectified import (
    CUBE_COST,
    TRACKS,
    cube_arrays,
    cube_sizes,
    gather_counts,
    rectified_block,
)
from archive_proc.recipes.ifs.squares import attributes, grid_of, scale_of, spectra_of
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

PRODUCT = "ifs_science_cube"


@dataclass(frozen=True, slots=True)
class ScienceParameters:
    """None yet: pixel scale and size are part of the product's definition."""


def rectify_block(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """16 planes, the field's centre on the middle pixel of each."""
    spectra = spectra_of(inputs)
    scale = scale_of(spectra)
    centers = np.full((len(inputs.planes), len(spectra.arrays["wavelength"]), 2), float(scale.middle))
    return rectified_block(PRODUCT, block, inputs, grid_of(spectra, scale), centers)


def close_science(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """Coordinates of spectra and tracks, common variance, correlation."""
    spectra = spectra_of(inputs)
    scale = scale_of(spectra)
    middle = np.full((len(spectra.arrays["wavelength"]), 2), float(scale.middle))
    arrays = cube_arrays(inputs, scale, grid_of(spectra, scale), middle)
    lost = int((~np.isfinite(arrays["star_x"]).any(axis=1)).sum())
    remarks = (
        (
            Remark(
                "AP-IFS-091", f"{lost} of {len(arrays['star_x'])} planes have no star position: they cannot be centred"
            ),
        )
        if lost
        else ()
    )
    attrs = {**attributes(spectra, scale), "field_center_pixel": scale.middle}
    return RecipeResult(
        {PRODUCT: ProductContent(arrays, attrs)},
        cube_figures(PRODUCT, inputs, shared["counts"], arrays),
        remarks,
    )


IFS_SCIENCE = Recipe(
    name="ifs_science",
    version="1.1.0",
    arm=Arm.IFS,
    subject_kind="observation",
    main=ProductMain("ifs_spectra"),
    inputs=TRACKS,
    outputs=(PRODUCT,),
    parameters=ScienceParameters,
    tables=(TableRead("ifs.lenslets"), TableRead("ifs.orientation")),
    sizes=cube_sizes(PRODUCT),
    passes=(Pass("rectify", rectify_block, gather_counts),),
    close=close_science,
    cost=CUBE_COST,
)
