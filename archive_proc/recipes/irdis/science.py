"""Calibrated science planes, not resampled: background subtracted, flat-divided, with variance, flags, times, angles.

One pass writes the pixels; closing copies what the tracks know about each plane (star, relative flux, background) into
the cube's coordinates. Main input: the raw science planes of an observation in order of time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import irdis_tables
from archive_proc.kernels.background import background_of_plane, still_light
from archive_proc.kernels.calibrate import USELESS, Detector, calibrate_plane, common_variance
from archive_proc.kernels.cosmic import ENOUGH, Witnesses, chosen_witnesses, cosmic_rays
from archive_proc.kernels.figures import noise_ratio
from archive_proc.model.flags import Flag
from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.irdis.backgrounds import PlaneBackground, background_for
from archive_proc.recipes.irdis.calibrations import detector_for, level_for
from archive_proc.recipes.irdis.coordinates import PlaneRows, plane_coordinates
from archive_proc.recipes.irdis.cube_figures import COUNTED, count_pixels, cube_figures, figures_of_cube
from archive_proc.recipes.irdis.pointing import ANGLE_CONVENTION
from archive_proc.recipes.irdis.scenes import scene_of
from archive_proc.recipes.recipe import (
    Arrays,
    Block,
    BlockOutput,
    Cost,
    Halo,
    InputRole,
    Pass,
    ProductContent,
    RawMain,
    Recipe,
    RecipeInputs,
    RecipeResult,
    TableRead,
)

Float32 = NDArray[np.float32]

PRODUCT = "irdis_science_cube"


@dataclass(frozen=True, slots=True)
class ScienceParameters:
    """What a user may choose."""

    find_cosmic_rays: bool = True


@dataclass(frozen=True, slots=True)
class _Masters:
    """What the planes of files served alike share; halves (2, 1024, 1024)."""

    detector: Detector
    background: PlaneBackground
    still: Float32
    """The light of the background's basis itself."""
    good: NDArray[np.bool_]
    """Lit pixels with no fault."""
    level_variance: Float32
    """(adu/s)^2 of the level subtracted: part of what pixels scatter by, and the same in all planes."""


@dataclass(slots=True)
class _MastersByFile:
    """Masters of each main file, built once a block."""

    inputs: RecipeInputs
    built: dict[tuple[str, ...], _Masters] = field(default_factory=dict)

    def of(self, file: int) -> _Masters:
        """Those of one main file; files served by the same calibrations at one DIT share them."""
        roles = ("flat", "bad_pixels", "dark", "background")
        frame = self.inputs.frames[file]
        key = tuple(one.product_id for role in roles for one in self.inputs.serving(role, file))
        key += (str(frame.dit_s), str(frame.realdit_s), str(frame.gain))
        if key not in self.built:
            detector, background = detector_for(self.inputs, file), background_for(self.inputs, file)
            good = (detector.flags & (USELESS | int(Flag.OUTSIDE))) == 0
            of_level = _level_variance(self.inputs, file, detector)
            no_light = np.zeros_like(of_level)
            shared = common_variance(no_light, of_level, detector)
            self.built[key] = _Masters(detector, background, still_light(background.basis), good, shared)
        return self.built[key]


def calibrate_block(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """Flux, variance and flags of 16 planes; summary: sums of light on 4 x 4 blocks, counts per plane."""
    from archive_proc.kernels.loops.calibrate import CELL, add_cells

    parameters: ScienceParameters = inputs.parameters
    by_file = _MastersByFile(inputs)
    raw = np.asarray(block.pixels["raw"], np.float32)
    n, (ny, width) = len(block.planes), raw.shape[1:]
    shape = (n, 2, ny, width // 2)
    flux, variance = (block.room.array(name, shape, np.float32) for name in ("flux", "variance"))
    flags = block.room.array("flags", shape, np.uint16)
    light = np.zeros((2, ny // CELL, width // 2 // CELL))
    counts = np.zeros((n, 2, len(COUNTED)), np.int64)
    noise = np.full((n, 2), np.nan)
    rows = PlaneRows(inputs, inputs.calibrations["background_fit"][0])
    coefficients = np.asarray(rows.product.arrays["coefficients"], np.float64)
    level = np.empty(shape[1:], np.float32)
    for index, plane in enumerate(block.planes):
        file = int(inputs.planes.file[plane])
        masters = by_file.of(file)
        basis = masters.background.basis
        row = rows.of_plane(int(plane))
        fitted = np.zeros((2, max(len(basis.terms), coefficients.shape[2])))
        if row >= 0:
            fitted[:, : coefficients.shape[2]] = np.nan_to_num(coefficients[row])
        background_of_plane(basis, fitted, still=masters.still, into=level)
        hits = None
        if parameters.find_cosmic_rays:
            hits = cosmic_rays(raw[index], _witnesses(block, inputs, int(plane), masters, level))
        constrained = masters.background.constrained and row >= 0
        calibrate_plane(
            raw[index],
            level,
            masters.detector,
            hits,
            always=0 if constrained else int(Flag.BACKGROUND_UNCONSTRAINED),
            into=(flux[index], variance[index], flags[index]),
        )
        counts[index] = count_pixels(flags[index], masters.detector.flags)
        guess = scene_of(inputs.frames[file]).guess
        noise[index] = [
            noise_ratio(flux[index, half], variance[index, half], masters.level_variance[half], guess[half])
            for half in range(2)
        ]
        if inputs.planes.usable[plane]:
            add_cells(flux[index], light)
    usable = int(inputs.planes.usable[block.planes].sum())
    return BlockOutput(
        {"light": light, "usable": np.array([usable]), "counts": counts, "noise": noise},
        {PRODUCT: {"flux": flux, "variance": variance, "flags": flags}},
    )


def _witnesses(block: Block, inputs: RecipeInputs, plane: int, masters: _Masters, level: Float32) -> Witnesses:
    """What a plane's cosmic rays are told by."""
    detector = masters.detector
    return Witnesses(
        neighbours=_neighbours(block, inputs, plane),
        background=level,
        pedestal=detector.pedestal,
        read_noise=detector.read_noise,
        gain=detector.gain,
        good=masters.good,
    )


def _neighbours(block: Block, inputs: RecipeInputs, plane: int) -> list[Float32]:
    """Raw planes of the same dither and DIT (`chosen_witnesses`); excluded ones have no say."""
    here = {int(one): block.pixels["raw"][index] for index, one in enumerate(block.planes)}
    own = frozenset(here)
    here |= {int(one): block.halo_pixels["raw"][index] for index, one in enumerate(block.halo_planes)}
    mine = _same(inputs, plane)
    alike = [one for one in here if inputs.planes.usable[one] and _same(inputs, one) == mine]
    return [np.asarray(here[one], np.float32) for one in chosen_witnesses(plane, alike, own)]


def _same(inputs: RecipeInputs, plane: int) -> tuple[float | int | None, ...]:
    """What neighbours in time must share with a plane."""
    frame = inputs.frames[int(inputs.planes.file[plane])]
    return (frame.dit_ms, frame.dit_s, round(frame.dith_x or 0.0, 2), round(frame.dith_y or 0.0, 2))


def gather(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Sum of light over usable planes, counts of all planes."""
    light = summaries[0]["light"].copy()
    for one in summaries[1:]:
        light += one["light"]
    return {
        "light": light,
        "usable": np.sum([one["usable"] for one in summaries], axis=0),
        "counts": np.concatenate([one["counts"] for one in summaries]),
        "noise": np.concatenate([one["noise"] for one in summaries]),
    }


def close_science(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """Coordinates, common variance and attributes of `irdis_science_cube`."""
    coordinates, remarks = plane_coordinates(inputs)
    frame = inputs.frames[0]
    optics = irdis_tables(frame.binning).filter(frame.inst_filter)
    detector = detector_for(inputs, 0)
    arrays: dict[str, NDArray[Any]] = dict(coordinates)
    arrays["variance_common"] = _common(inputs, shared, detector)
    arrays["wavelength"] = np.array(optics.wavelength_um)
    arrays["bandwidth"] = np.array(optics.bandwidth_um)
    arrays["pixel_scale"] = np.array(optics.pixel_scale_mas)
    arrays["gain"] = np.full(2, detector.gain)
    geometry = irdis_tables(frame.binning).geometry(frame.mjd_obs)
    attrs: Mapping[str, Any] = {
        "bands": list(optics.bands),
        "inst_filter": optics.name,
        "coronagraph": frame.coro_ir,
        "nd_filter": frame.nd_filter,
        "rot_mode": frame.rot_mode,
        "angle_convention": ANGLE_CONVENTION,
        "anamorphism_y": geometry.anamorphism_y / geometry.anamorphism_x,
        "anamorphism_convention": "sky offset along y = anamorphism_y x pixels; this array is not corrected for it",
        "true_north_deg": geometry.true_north_deg,
        "pupil_offset_deg": geometry.pupil_offset_deg,
        "flux_convention": "adu/s per detector pixel after background and flat",
        "variance_convention": (
            "variance differs from plane to plane (photons, read noise); variance_common is shared by all planes "
            "(master level, flat) and does not average down"
        ),
    }
    n_lit = max(int(((detector.flags & int(Flag.OUTSIDE)) == 0).sum()), 1)
    return RecipeResult(
        {PRODUCT: ProductContent(arrays, attrs)},
        cube_figures(PRODUCT, inputs, shared, coordinates, n_lit),
        (*remarks, *_remarks(inputs)),
        figures_of_cube(inputs, shared, coordinates),
    )


def _common(inputs: RecipeInputs, shared: Arrays, detector: Detector) -> Float32:
    mean = shared["light"] / max(int(shared["usable"][0]), 1)
    # The light was kept as means over small cells: the flat's share of the variance needs no finer one.
    cell = detector.response.shape[2] // mean.shape[2]
    full = np.repeat(np.repeat(mean, cell, axis=1), cell, axis=2).astype(np.float32)
    return common_variance(full, _level_variance(inputs, 0, detector), detector)


def _level_variance(inputs: RecipeInputs, file: int, detector: Detector) -> Float32:
    """(2, ny, nx) ADU^2 of the level that is subtracted from the planes of a file; 0 where nothing is."""
    level = level_for(inputs, file, "background") or level_for(inputs, file, "dark")
    return level.variance if level is not None else np.zeros_like(detector.response)


def _remarks(inputs: RecipeInputs) -> tuple[Remark, ...]:
    found = []
    alone = len({_same(inputs, plane) for plane in range(len(inputs.planes))}) == len(inputs.planes)
    if inputs.parameters.find_cosmic_rays and alone:
        found.append(Remark("AP-IRD-014", "no plane shares its dither with another: cosmic rays were not looked for"))
    if not inputs.calibrations.get("background"):
        found.append(Remark("AP-IRD-015", "no background: the level is that of unlit pixels"))
    return tuple(found)


def _sizes(inputs: RecipeInputs) -> Mapping[str, Mapping[str, int]]:
    frame = inputs.frames[0]
    return {
        PRODUCT: {
            "frame": len(inputs.planes),
            "channel": 2,
            "y": frame.naxis2 or 1024,
            "x": (frame.naxis1 or 2048) // 2,
        }
    }


IRDIS_SCIENCE = Recipe(
    name="irdis_science",
    version="1.6.0",
    arm=Arm.IRDIS,
    subject_kind="observation",
    main=RawMain(roles=("SCIENCE",)),
    inputs=(
        InputRole("flat", ("detector_flat",)),
        InputRole("bad_pixels", ("bad_pixels",), association_roles=("flat",)),
        InputRole("background", ("sky_basis", "instrument_background", "dark"), required=False),
        InputRole("dark", ("dark", "instrument_background"), required=False),
        InputRole("background_fit", ("background",), source="subject"),
        InputRole("center", ("center",), source="subject"),
        InputRole("photometry", ("photometry",), source="subject"),
        InputRole("psf", ("psf",), source="subject", required=False),
    ),
    outputs=(PRODUCT,),
    parameters=ScienceParameters,
    tables=(
        TableRead("irdis.detector"),
        TableRead("irdis.filters", by="inst_filter"),
        TableRead("irdis.geometry", by="mjd_obs"),
        TableRead("earth_rotation", by="mjd_obs"),
    ),
    sizes=_sizes,
    passes=(Pass("calibrate", calibrate_block, gather, Halo(n=2, within="dither", enough=ENOUGH)),),
    close=close_science,
    cost=Cost(
        cpu_s=3.0, cpu_s_per_plane=0.6, memory_gb=1.6, bytes_out=12_000_000, bytes_out_per_plane=9_000_000, inodes=60
    ),
    modes=("dual_band", "classical"),
)
