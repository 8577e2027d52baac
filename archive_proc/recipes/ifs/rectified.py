"""What both cubes of the IFS are made of: planes of spectra on squares, coordinates of spectra and tracks, sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.rectify import SquareGrid
from archive_proc.recipes.ifs.cube_figures import plane_counts
from archive_proc.recipes.ifs.squares import Scale, common_variance, copied, one_plane, resampling, scale_of, spectra_of
from archive_proc.recipes.ifs.track_rows import track_coordinates
from archive_proc.recipes.recipe import Arrays, Block, BlockOutput, Cost, InputRole, RecipeInputs

Float64 = NDArray[np.float64]

TRACKS = (
    InputRole("center", ("center",), source="subject"),
    InputRole("photometry", ("photometry",), source="subject"),
)
"""What a cube needs beside the spectra."""
CUBE_COST = Cost(
    cpu_s=2.0, cpu_s_per_plane=0.5, memory_gb=1.2, bytes_out=20_000_000, bytes_out_per_plane=14_000_000, inodes=60
)


def tracks_of(inputs: RecipeInputs) -> dict[str, NDArray[Any]]:
    """Star and relative flux (frame, channel) of the planes of the spectra."""
    center, photometry = (inputs.calibrations[role.role][0] for role in TRACKS)
    return track_coordinates(spectra_of(inputs), center, photometry)


def rectified_block(
    product: str, block: Block, inputs: RecipeInputs, grid: SquareGrid, centers: Float64
) -> BlockOutput:
    """16 planes of spectra onto squares; centers: (frame, k, 2) pixel of the field's centre, NaN: no values at all."""
    n, channels = len(block.planes), centers.shape[1]
    shape = (n, channels, grid.size, grid.size)
    flux, variance = (block.room.array(name, shape, np.float32) for name in ("flux", "variance"))
    flags = block.room.array("flags", shape, np.uint16)
    counts = []
    for index, plane in enumerate(block.planes):
        given = block.pixels["flux"][index], block.pixels["variance"][index], block.pixels["flags"][index]
        into = flux[index], variance[index], flags[index]
        one_plane(grid, centers[plane], given, into)
        counts.append(plane_counts(into))
    return BlockOutput({"counts": np.stack(counts)}, {product: {"flux": flux, "variance": variance, "flags": flags}})


def gather_counts(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Counted pixels of every plane."""
    return {"counts": np.concatenate([one["counts"] for one in summaries])}


def cube_arrays(inputs: RecipeInputs, scale: Scale, grid: SquareGrid, typical: Float64) -> dict[str, NDArray[Any]]:
    """Everything of a cube but its planes; typical: (k, 2) where the field's centre stands for the common variance."""
    spectra = spectra_of(inputs)
    arrays = copied(spectra) | tracks_of(inputs)
    arrays["usable"] = np.asarray(inputs.planes.usable, bool)
    arrays["reason"] = np.array(list(inputs.planes.reason), dtype=np.dtypes.StringDType())
    arrays["pixel_scale"] = np.full(len(typical), scale.pixel_mas)
    arrays["variance_common"] = common_variance(grid, typical, spectra)
    arrays["resampling_correlation"] = resampling(grid)
    return arrays


def cube_sizes(product: str) -> Callable[[RecipeInputs], Mapping[str, Mapping[str, int]]]:
    """The `sizes` of a recipe that makes this cube."""

    def sizes(inputs: RecipeInputs) -> Mapping[str, Mapping[str, int]]:
        spectra = spectra_of(inputs)
        size = scale_of(spectra).size
        channels = len(spectra.arrays["wavelength"])
        return {product: {"frame": len(inputs.planes), "channel": channels, "y": size, "x": size}}

    return sizes
