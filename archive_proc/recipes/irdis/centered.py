"""The cube users download: every science plane with the star on pixel n // 2, free of anamorphism, one resampling.

Main input: the un-resampled science cube, which carries the star's position in each plane. Not derotated, not stacked,
native plate scale; half the sky's planes go through exactly one interpolation (notes/irdis 4.6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.kernels.resampling import Placement, SharedNoise, correlation, resample_half, shared_noise
from archive_proc.model.flags import Flag
from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.irdis.coordinates import strings
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import (
    Arrays,
    Block,
    BlockOutput,
    Calibration,
    Cost,
    Pass,
    ProductContent,
    ProductMain,
    Recipe,
    RecipeInputs,
    RecipeResult,
)

PRODUCT = "irdis_centered_cube"
LAGS = 4
"""Lags of the resampling correlation, 0 ... 3 pixels."""

BY_BLOCK = ("flux", "variance", "flags")
OWN = (*BY_BLOCK, "variance_common", "resampling_correlation", "star_x", "star_y", "usable", "reason")
"""Variables this recipe computes; every other one is copied from the science cube."""


@dataclass(frozen=True, slots=True)
class CenteredParameters:
    """None yet: size and kernel are part of the product's definition."""


def _main(inputs: RecipeInputs) -> Calibration:
    if inputs.main is None:
        raise DataFailure(
            "AP-IRD-020",
            "the science cube is missing",
            subject=inputs.subject.subject_id,
            remedy="run irdis_science for this observation first",
        )
    return inputs.main


def side(main: Calibration) -> int:
    """Pixels along each side, those of the science cube: 1024 (DESIGN 8); the star is on index 512, the middle one."""
    return int(main.arrays["variance_common"].shape[-1])


def placement(main: Calibration) -> Placement:
    """Output grid: native scale along x, square pixels on the sky."""
    return Placement(size=side(main), step_x=1.0, step_y=1.0 / float(main.attrs["anamorphism_y"]))


def center_block(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """Resample 16 planes; a plane without a star position is NaN and LOW_WEIGHT throughout."""
    main = _main(inputs)
    grid = placement(main)
    n = len(block.planes)
    shape = (n, 2, grid.size, grid.size)
    flux, variance = (block.room.array(name, shape, np.float32) for name in ("flux", "variance"))
    flags = block.room.array("flags", shape, np.uint16)
    finite = np.zeros(n, np.int64)
    moved = [_not_shared(inputs, grid, channel) for channel in range(2)]
    for index, plane in enumerate(block.planes):
        for channel in range(2):
            into = flux[index, channel], variance[index, channel], flags[index, channel]
            star = (float(main.arrays["star_x"][plane, channel]), float(main.arrays["star_y"][plane, channel]))
            if not np.isfinite(star).all():
                into[0][:], into[1][:], into[2][:] = np.nan, np.nan, int(Flag.LOW_WEIGHT)
                continue
            half = block.pixels["flux"][index, channel], block.pixels["variance"][index, channel]
            marks = block.pixels["flags"][index, channel]
            finite[index] += resample_half(*half, marks, star, grid, added=moved[channel], into=into).finite
    return BlockOutput({"finite": finite}, {PRODUCT: {"flux": flux, "variance": variance, "flags": flags}})


def _judged(inputs: RecipeInputs) -> NDArray[np.bool_]:
    """(n, 2) usable planes with a star position."""
    main = _main(inputs)
    centred = np.isfinite(main.arrays["star_x"]) & np.isfinite(main.arrays["star_y"])
    return np.asarray(centred & np.asarray(inputs.planes.usable, bool)[:, None])


def _shared(inputs: RecipeInputs, grid: Placement, channel: int) -> SharedNoise:
    """How much of the common variance stays common once the star stands still; all of it where nothing is judged."""
    main = _main(inputs)
    rows = _judged(inputs)[:, channel]
    if not rows.any():
        return SharedNoise(1.0, 1.0)
    stars = np.stack([np.asarray(main.arrays[name], np.float64)[rows, channel] for name in ("star_x", "star_y")], 1)
    return shared_noise(stars, grid)


def _not_shared(inputs: RecipeInputs, grid: Placement, channel: int) -> NDArray[np.float32]:
    """(ny, nx) the part of the science cube's common variance that differs from plane to plane here."""
    common = np.asarray(_main(inputs).arrays["variance_common"][channel], np.float32)
    share = _shared(inputs, grid, channel).share
    moved: NDArray[np.float32] = np.nan_to_num(common * np.float32(1.0 - share))
    return moved


def gather(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Finite pixels of every plane."""
    return {"finite": np.concatenate([one["finite"] for one in summaries])}


def close_centered(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """Coordinates copied, star on the middle pixel, common variance moved by the median shift."""
    main = _main(inputs)
    grid = placement(main)
    star_x, star_y = (np.asarray(main.arrays[name], np.float64) for name in ("star_x", "star_y"))
    centred = np.isfinite(star_x) & np.isfinite(star_y)
    judged = _judged(inputs)
    if not judged.any(axis=0).all():
        raise DataFailure(
            "AP-IRD-021",
            "no usable plane has a star position in both halves",
            subject=inputs.subject.subject_id,
            remedy="add an OBJECT,CENTER file of the observation, or look at why centring failed (product `center`)",
        )
    arrays: dict[str, NDArray[Any]] = {name: value for name, value in main.arrays.items() if name not in OWN}
    common = np.full((2, grid.size, grid.size), np.nan, np.float32)
    correlations = []
    for channel in range(2):
        rows = judged[:, channel]
        middle = (float(np.median(star_x[rows, channel])), float(np.median(star_y[rows, channel])))
        # A copy: for a read-only array the loops would be compiled a second time.
        given = np.array(main.arrays["variance_common"][channel], np.float32)
        none = np.zeros(given.shape, np.uint16)
        spread = resample_half(np.zeros_like(given), given, none, middle, grid).variance
        # The median star's kernel has an energy of its own: what counts is the overlap of all planes' kernels.
        energy = [(axis.weights**2).sum(axis=1) for axis in grid.axes(*middle)]
        overlap = _shared(inputs, grid, channel).common / np.outer(*energy)
        common[channel] = spread * overlap.astype(np.float32)
        for plane in np.flatnonzero(rows)[:: max(1, int(rows.sum()) // 16)]:
            axes = grid.axes(float(star_x[plane, channel]), float(star_y[plane, channel]))
            correlations.append(correlation(axes, LAGS))
    arrays["variance_common"] = common
    arrays["resampling_correlation"] = np.stack(correlations).mean(axis=0)
    # An override may exclude planes here that the science cube still counts.
    arrays["usable"] = np.asarray(inputs.planes.usable, bool)
    arrays["reason"] = strings(inputs.planes.reason)
    arrays["star_x"] = np.where(centred, float(grid.size // 2), np.nan)
    arrays["star_y"] = np.where(centred, float(grid.size // 2), np.nan)
    lost = int((~centred).any(axis=1).sum())
    figures = Figures(inputs)
    figures.add(PRODUCT, "finite_fraction", float(np.median(shared["finite"])) / (2 * grid.size**2))
    figures.add(PRODUCT, "planes_without_centre", float(lost))
    remarks = (Remark("AP-IRD-016", f"{lost} planes have no star position and are NaN"),) if lost else ()
    return RecipeResult({PRODUCT: ProductContent(arrays, _attrs(main))}, figures.values, remarks)


def _attrs(main: Calibration) -> Mapping[str, Any]:
    copied = ("bands", "inst_filter", "coronagraph", "nd_filter", "rot_mode", "angle_convention")
    attrs: dict[str, Any] = {name: main.attrs[name] for name in copied if name in main.attrs}
    attrs |= {name: main.attrs[name] for name in ("true_north_deg", "pupil_offset_deg") if name in main.attrs}
    attrs["anamorphism_y"] = 1.0
    attrs["anamorphism_convention"] = "corrected in the resampling: pixels are square on the sky, of the scale along x"
    attrs["resampling"] = "Lanczos 4, shift and anamorphism in one interpolation, not derotated"
    attrs["flux_convention"] = "adu/s per output pixel: sums over the field are those of the science cube"
    attrs["variance_of_sum"] = (
        "the variance of a sum over many pixels is the sum of variance times the sum of resampling_correlation over "
        "all lags of both signs (it is even in dy and dx); variance_common is correlated in the same way"
    )
    attrs["variance_convention"] = (
        "variance differs from plane to plane: photons, read noise, and what dither and jitter make differ of the "
        "noise of master level and flat, which sits still on the detector; variance_common is what a stack of all "
        "planes keeps of that, so a stack of n planes spread over the dithers has variance / n + variance_common"
    )
    return attrs


def _sizes(inputs: RecipeInputs) -> Mapping[str, Mapping[str, int]]:
    size = side(_main(inputs))
    return {PRODUCT: {"frame": len(inputs.planes), "channel": 2, "y": size, "x": size}}


IRDIS_CENTERED = Recipe(
    name="irdis_centered",
    version="1.1.0",
    arm=Arm.IRDIS,
    subject_kind="observation",
    main=ProductMain("irdis_science_cube"),
    inputs=(),
    outputs=(PRODUCT,),
    parameters=CenteredParameters,
    tables=(),
    sizes=_sizes,
    passes=(Pass("center", center_block, gather),),
    close=close_centered,
    cost=Cost(
        cpu_s=1.0, cpu_s_per_plane=0.7, memory_gb=1.6, bytes_out=12_000_000, bytes_out_per_plane=9_500_000, inodes=60
    ),
    modes=("dual_band", "classical"),
)
