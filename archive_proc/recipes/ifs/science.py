"""`ifs_science`: the spectra of all science planes on square pixels, one flux-conserving resampling (notes/ifs 6.10).

The field's centre stands on pixel n // 2 of every plane; where the star is, the coordinates say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.ifs.cube_figures import cube_figures, plane_counts
from archive_proc.recipes.ifs.squares import (
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

PRODUCT = "ifs_science_cube"


@dataclass(frozen=True, slots=True)
class ScienceParameters:
    """None yet: pixel scale and size are part of the product's definition."""


def rectify_block(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """16 planes of spectra onto squares."""
    spectra = spectra_of(inputs)
    scale = scale_of(spectra)
    grid = grid_of(spectra, scale)
    n, channels = len(block.planes), len(spectra.arrays["wavelength"])
    shape = (n, channels, scale.size, scale.size)
    flux, variance = (block.room.array(name, shape, np.float32) for name in ("flux", "variance"))
    flags = block.room.array("flags", shape, np.uint16)
    centers = np.full((channels, 2), float(scale.middle))
    counts = []
    for index in range(n):
        given = tuple(block.pixels[name][index] for name in ("flux", "variance", "flags"))
        into = flux[index], variance[index], flags[index]
        one_plane(grid, centers, (given[0], given[1], given[2]), into)
        counts.append(plane_counts(into))
    return BlockOutput({"counts": np.stack(counts)}, {PRODUCT: {"flux": flux, "variance": variance, "flags": flags}})


def gather(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Counted pixels of every plane."""
    return {"counts": np.concatenate([one["counts"] for one in summaries])}


def close_science(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """Coordinates of spectra and tracks, common variance, correlation."""
    spectra = spectra_of(inputs)
    scale = scale_of(spectra)
    grid = grid_of(spectra, scale)
    channels = len(spectra.arrays["wavelength"])
    arrays: dict[str, Array] = copied(spectra)
    arrays |= track_coordinates(spectra, inputs.calibrations["center"][0], inputs.calibrations["photometry"][0])
    arrays["usable"] = np.asarray(inputs.planes.usable, bool)
    arrays["reason"] = np.array(list(inputs.planes.reason), dtype=np.dtypes.StringDType())
    arrays["pixel_scale"] = np.full(channels, scale.pixel_mas)
    arrays["variance_common"] = common_variance(grid, np.full((channels, 2), float(scale.middle)), spectra)
    arrays["resampling_correlation"] = resampling(grid)
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


def _sizes(inputs: RecipeInputs) -> Mapping[str, Mapping[str, int]]:
    spectra = spectra_of(inputs)
    size = scale_of(spectra).size
    channels = len(spectra.arrays["wavelength"])
    return {PRODUCT: {"frame": len(inputs.planes), "channel": channels, "y": size, "x": size}}


IFS_SCIENCE = Recipe(
    name="ifs_science",
    version="1.1.0",
    arm=Arm.IFS,
    subject_kind="observation",
    main=ProductMain("ifs_spectra"),
    inputs=(
        InputRole("center", ("center",), source="subject"),
        InputRole("photometry", ("photometry",), source="subject"),
    ),
    outputs=(PRODUCT,),
    parameters=ScienceParameters,
    tables=(TableRead("ifs.lenslets"), TableRead("ifs.orientation")),
    sizes=_sizes,
    passes=(Pass("rectify", rectify_block, gather),),
    close=close_science,
    cost=Cost(
        cpu_s=2.0, cpu_s_per_plane=0.5, memory_gb=1.2, bytes_out=20_000_000, bytes_out_per_plane=14_000_000, inodes=60
    ),
)
