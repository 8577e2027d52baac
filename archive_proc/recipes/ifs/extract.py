"""Spectra of science planes, and of any single raw frame: calibrated, extracted jointly, with variance and flags.

First pass: every file's shift across the dispersion. Second pass: the joint fit, which writes the spectra. Closing adds
what planes, lenslets and channels are, and what calibrations leave uncertain for all planes alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.dispersion import REFERENCE_UM
from archive_proc.kernels.flexure import wander
from archive_proc.kernels.joint_fit import LAGS, REACH
from archive_proc.kernels.spectra_shift import turned
from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.detector import true_dit
from archive_proc.recipes.ifs.extraction import (
    REGIONS,
    ExtractionParameters,
    Instrument,
    extract_block,
    settle_shifts,
    shift_block,
)
from archive_proc.recipes.ifs.plane_coordinates import ANGLE_CONVENTION, plane_coordinates
from archive_proc.recipes.ifs.planes import BACKGROUND, BAD_PIXELS, DARK, FLAT
from archive_proc.recipes.ifs.spectrograph import PSFLETS, WAVE, Spectrograph
from archive_proc.recipes.ifs.through_air import LENSLET_FLAT_ROLE, PLACE, SHIFT_STEP_PX, middle_of
from archive_proc.recipes.ifs.unread import EMPTY
from archive_proc.recipes.irdis.coordinates import strings
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import (
    Arrays,
    Block,
    BlockOutput,
    Cost,
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
Float64 = NDArray[np.float64]

PRODUCT = "ifs_spectra"
LENSLET_FLAT = InputRole(LENSLET_FLAT_ROLE, ("ifs_lenslet_flat",), required=False, without=("residual",))
SYSTEMATIC = 0.01
"""Relative error of a channel that no statistic shows: resolution, channel weights (notes/ifs 6.8)."""


def spectra_block(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """Flux, variance and flags of 16 planes in ADU/s; summary: sums of light, figures of planes."""
    instrument = Instrument.of(block, inputs)
    found = extract_block(block, inputs, shared, instrument)
    throughput, _ = throughput_of(inputs, instrument.spectrograph(0))
    files = inputs.planes.file[block.planes]
    seconds = np.array([true_dit(inputs.frames[int(file)]) for file in files])
    gains = np.array([instrument.masters(int(file)).gain for file in files])
    usable = inputs.planes.usable[block.planes] & shared["read"][block.planes]
    light = np.zeros(found.flux.shape[1:])
    flagged = np.zeros(len(files))
    background = np.array([instrument.masters(int(file)).typical_level for file in files])
    for row in range(len(files)):
        factor = (1.0 / (gains[row] * seconds[row] * throughput)).astype(np.float32)[:, None]
        found.flux[row] *= factor
        found.variance[row] *= factor**2
        flagged[row] = (found.flags[row] != 0).mean()
        if usable[row]:
            light += found.flux[row]
    summary = {
        "light": light,
        "usable": np.array([usable.sum()]),
        "chi2": found.chi2,
        "last_step": found.last_step,
        "clipped": found.clipped,
        "flagged": flagged,
        "residual": found.residual,
        "ridge": found.ridge / gains,
        "saturated": found.saturated,
        "background": (background + found.background / gains) / seconds,
        "gain": gains,
        "detector": np.array(instrument.masters(int(files[0])).common),
    }
    if block.first == 0:
        # One frame is large: the first shard's planes stand for the sequence.
        summary |= {
            "correlation": found.correlation,
            "resolution": found.resolution,
            "unexplained": found.unexplained,
        }
    arrays: Arrays = {"flux": found.flux, "variance": found.variance, "flags": found.flags}
    return BlockOutput(summary, {PRODUCT: arrays})


def throughput_of(inputs: RecipeInputs, where: Spectrograph) -> tuple[Float64, Float64]:
    """Throughput of the complete lenslets and its variance, joined by lattice index; 1 where no flat knows them."""
    complete = np.flatnonzero(where.solution.complete)
    lenslets = where.lenslets
    flat = inputs.only(LENSLET_FLAT.role)
    throughput, variance = np.ones(complete.size), np.zeros(complete.size)
    if flat is None:
        return throughput, variance
    asked = _index(lenslets.q[complete], lenslets.r[complete])
    known = _index(flat.arrays["hex_q"], flat.arrays["hex_r"])
    order = np.argsort(known)
    at = order[np.clip(np.searchsorted(known, asked, sorter=order), 0, known.size - 1)]
    there = known[at] == asked
    throughput[there], variance[there] = (flat.arrays[name][at[there]] for name in ("throughput", "variance"))
    return throughput, variance


def _index(q: NDArray[np.int32], r: NDArray[np.int32]) -> NDArray[np.int64]:
    """One number for each place on the lattice."""
    return np.asarray(q, np.int64) * 4096 + r


_OF_PLANES = ("last_step", "chi2", "clipped", "flagged", "residual", "ridge", "saturated", "background", "gain")


def gather_spectra(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Mean light of the usable planes, figures of all planes, the shifts as they were."""
    usable = int(np.sum([one["usable"] for one in summaries]))
    joined = {name: np.concatenate([one[name] for one in summaries]) for name in _OF_PLANES}
    return {
        **shared,
        **joined,
        "light": np.sum([one["light"] for one in summaries], axis=0) / max(usable, 1),
        "detector": summaries[0]["detector"],
        "correlation": summaries[0]["correlation"],
        "resolution": summaries[0]["resolution"],
        "unexplained": summaries[0]["unexplained"],
    }


def close_spectra(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """Coordinates, common variance, correlation and attributes of `ifs_spectra`."""
    where = Instrument(inputs, inputs.parameters.channel_weight).spectrograph(0)
    coordinates, remarks = plane_coordinates(inputs)
    arrays: dict[str, NDArray[Any]] = dict(coordinates)
    arrays |= _without_empty(inputs, shared["read"])
    arrays |= lenslet_coordinates(where, float(np.median(shared["shift"])), shared)
    arrays |= {
        "variance_common": _variance_common(inputs, where, shared),
        "correlation": shared["correlation"],
        "resolution": shared["resolution"],
        "residual": shared["unexplained"],
        "shift_x": shared["shift"],
        "shift_x_error": shared["shift_error"],
        "shift_y": np.full(len(inputs.planes), shared["shift_y"][0]),
        "shift_y_error": _error_along(inputs, float(shared["shift_y_error"][0])),
        "turn": np.full(len(inputs.planes), np.degrees(shared["turn"][0])),
        "turn_error": np.full(len(inputs.planes), np.degrees(shared["turn_error"][0])),
        "background_level": shared["background"],
        "chi2": shared["chi2"],
        "clipped": shared["clipped"],
        "wavelength": 0.5 * (where.edges_um[1:] + where.edges_um[:-1]),
        "bandwidth": np.diff(where.edges_um),
        "gain": np.full(where.edges_um.size - 1, float(np.median(shared["gain"]))),
    }
    figures = _figures(inputs, shared)
    return RecipeResult(
        {PRODUCT: ProductContent(arrays, _attributes(inputs, where, shared))},
        figures.values,
        (*remarks, *_remarks(inputs, shared)),
    )


def _error_along(inputs: RecipeInputs, error: float) -> Float64:
    """(planes,) px: `shift_y` is of the middle of all files, each of which may have drifted away from it."""
    times = np.array([middle_of(frame) for frame in inputs.frames])
    return np.asarray(np.hypot(error, wander(times - times.mean()))[inputs.planes.file])


def _without_empty(inputs: RecipeInputs, read: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """`usable` and `reason` of all planes: those that were not read are of no use either."""
    usable = np.asarray(inputs.planes.usable, bool)
    reasons = [
        EMPTY if use and not one else why for use, one, why in zip(usable, read, inputs.planes.reason, strict=True)
    ]
    return {"usable": usable & read, "reason": strings(reasons)}


def lenslet_coordinates(where: Spectrograph, shift_x: float, shared: Arrays) -> dict[str, NDArray[Any]]:
    """What the complete lenslets are and where their light of the reference wavelength falls.

    `shared` as `settle_shifts` leaves it.
    """
    complete = where.solution.complete
    lenslets = where.lenslets.choose(complete)
    places = where.solution.dispersion.positions(lenslets.x, lenslets.y, np.array([REFERENCE_UM]))[..., 0]
    places = places + turned(float(shared["turn"][0]), places)
    return {
        "hex_q": lenslets.q,
        "hex_r": lenslets.r,
        "lenslet_x": lenslets.x,
        "lenslet_y": lenslets.y,
        "detector_x": places[0] + shift_x,
        "detector_y": places[1] + float(shared["shift_y"][0]),
    }


def _variance_common(inputs: RecipeInputs, where: Spectrograph, shared: Arrays) -> Float32:
    """(lenslets, m) of what all planes share: the lenslet flat, the pixel response, the level that was taken off."""
    _, relative = throughput_of(inputs, where)
    response, level = shared["detector"]
    light = shared["light"]
    # A channel of a lenslet rests on some twelve pixels (noise-equivalent area of a PSFlet).
    area = 12.0
    total = light**2 * (np.nan_to_num(relative)[:, None] + response / area) + area * level
    return np.asarray(total, np.float32)


def _figures(inputs: RecipeInputs, shared: Arrays) -> Figures:
    usable = np.asarray(inputs.planes.usable, bool) & shared["read"]
    some = usable if usable.any() else np.ones(usable.size, bool)
    found = Figures(inputs)
    found.add(PRODUCT, "planes", float(usable.size))
    found.add(PRODUCT, "usable_planes", float(usable.sum()))
    found.add(PRODUCT, "chi2", float(np.median(shared["chi2"][some])))
    found.add(PRODUCT, "last_step", float(np.max(shared["last_step"][some])))
    found.add(PRODUCT, "clipped_fraction", float(np.median(shared["clipped"][some])))
    found.add(PRODUCT, "flagged_fraction", float(np.median(shared["flagged"][some])))
    found.add(PRODUCT, "saturated_fraction", float(np.max(shared["saturated"][some])))
    found.add(PRODUCT, "fit_residual", float(np.median(shared["residual"][some])))
    found.add(PRODUCT, "ridge", float(np.median(shared["ridge"][some])), "adu")
    found.add(PRODUCT, "evenness", _evenness(shared["light"]) if _on_sky(inputs) else np.nan)
    largest = np.argmax(np.abs(shared["shift"][some]))
    found.add(PRODUCT, "shift_x", float(shared["shift"][some][largest]), "pixel")
    errors = shared["shift_error"][some]
    found.add(PRODUCT, "shift_x_error", float(np.nanmax(errors)) if np.isfinite(errors).any() else np.nan, "pixel")
    found.add(PRODUCT, "shift_drift", float(np.ptp(shared["shift"][some])), "pixel")
    found.add(PRODUCT, "background_level", float(np.median(shared["background"][some])), "adu/s")
    return found


def _evenness(light: Float64) -> float:
    """Light in the faintest tenth of the lenslets over that in the brightest tenth; `light` (lenslets, m) adu/s."""
    faint, bright = np.percentile(light.sum(axis=1), (10.0, 90.0))
    return float(faint / bright) if bright > 0 else float("nan")


def _on_sky(inputs: RecipeInputs) -> bool:
    """Whether a target was looked at: neither a lamp nor empty sky."""
    return not {"CALIB", "SKY"} & set(inputs.frame_roles)


def _attributes(inputs: RecipeInputs, where: Spectrograph, shared: Arrays) -> Mapping[str, Any]:
    frame, prior = inputs.frames[0], inputs.parameters.prior(shared, where.edges_um)
    return {
        "mode": where.solution.mode,
        "coronagraph": frame.coro_ir,
        "nd_filter": frame.nd_filter,
        "rot_mode": frame.rot_mode,
        "waffle_orient": frame.waffle_orient,
        "reference_wavelength_um": REFERENCE_UM,
        "angle_convention": ANGLE_CONVENTION,
        "flux_convention": (
            "adu/s per channel and lenslet after detector and lenslet flat, PSFlet sum 1; divide by bandwidth for a "
            "density. The instrument's transmission is not divided out"
        ),
        "variance_convention": (
            "variance differs from plane to plane (photons, read noise) and is NaN where FILLED; variance_common is "
            "shared by all planes (lenslet flat, pixel response, level) and does not average down"
        ),
        "correlation_convention": (
            f"correlation[lag - 1, k] is that of channels k and k + lag, lag 1 to {LAGS - 1}, beyond it is below 0.01; "
            "variance of a sum over channels = sum variance_k + 2 sum_lag sum_k correlation sqrt(variance_k "
            "variance_(k + lag)). Lenslets are independent to 0.5 %"
        ),
        "resolution_convention": (
            "expected flux of channel k = sum over o of resolution[region, k, o] x true flux of channel "
            f"k + o - {REACH}; "
            f"regions: {REGIONS} x {REGIONS} equal parts of the field, rows along lenslet_x first"
        ),
        "systematic_relative": SYSTEMATIC,
        "shift_convention": (
            "shift_x is measured in each file by variable projection, or is that of the file nearest in time where too "
            f"few lenslets are lit; templates stand at the nearest {SHIFT_STEP_PX} px; both shifts are of the "
            "detector's middle, turn counts counter-clockwise about it; "
            "shift_y is read off the water bands of the air in these files and in others of the night (ifs_place), one "
            "value a process, and templates are moved by it; where none shows the air it is zero and shift_y_error "
            "what flexure since the calibrations may have done. The error is the doubt of the wavelength scale (about "
            "11 nm per pixel in YJ, 20 in YJH)"
        ),
        "lenslet_flat": inputs.only(LENSLET_FLAT.role) is not None,
        "mu": inputs.parameters.mu,
        "outliers_sought": inputs.parameters.find_outliers,
        "air_strength": round(float(shared["air"][0]), 4) if np.isfinite(shared["air"][0]) else None,
        "air_convention": (
            "air_strength: the water of instruments/air.toml times this, in the light of the frames. null: none was "
            "seen. The air is not divided out of flux"
        ),
        "prior_shape": None if prior is None else [round(float(one), 4) for one in prior],
        "prior_convention": (
            "prior_shape: density relative to its brightest channel; flux over it is held smooth. It is channel_weight "
            "where that was given; where air_strength is known the air's, with what the light of all lenslets shows "
            "its deep bands to be off the table; else the spectrum that lenslets share. null: flux itself is held "
            "smooth"
        ),
    }


def _remarks(inputs: RecipeInputs, shared: Arrays) -> tuple[Remark, ...]:
    found = []
    unmeasured = ~np.asarray(shared["shift_measured"], bool) & shared["read"]
    empty = int((~shared["read"]).sum())
    if empty:
        were = "plane was not read: its" if empty == 1 else "planes were not read: their"
        found.append(Remark("AP-IFS-069", f"{empty} of {len(inputs.planes)} {were} pixels are zero"))
    if inputs.parameters.measure_shift and unmeasured.any():
        count, known = int(unmeasured.sum()), bool(np.isfinite(shared["shift_error"][unmeasured]).all())
        instead = "that of the file nearest in time" if known else "none, for no file near in time shows one"
        planes = "1 plane" if count == 1 else f"{count} planes"
        found.append(Remark("AP-IFS-066", f"the shift of {planes} was not measurable: taken is {instead}"))
    if inputs.only(LENSLET_FLAT.role) is None:
        found.append(Remark("AP-IFS-067", "no lenslet flat: lenslets are taken to be equal (they differ by 1.3 %)"))
    if np.median(shared["clipped"]) > 0.03:
        found.append(Remark("AP-IFS-068", "more than 3 % of the pixels disagree with the fit: the model is wrong"))
    return tuple(found)


def _sizes(inputs: RecipeInputs) -> Mapping[str, Mapping[str, int]]:
    where = Instrument(inputs).spectrograph(0)
    size = {
        "frame": len(inputs.planes),
        "lenslet": int(where.solution.complete.sum()),
        "channel": where.edges_um.size - 1,
    }
    return {PRODUCT: size}


_TABLES = (
    TableRead("ifs.detector"),
    TableRead("ifs.channels"),
    TableRead("ifs.bands"),
    TableRead("air"),
    TableRead("ifs.orientation"),
    TableRead("earth_rotation"),
)
_PASSES = (Pass("shift", shift_block, settle_shifts), Pass("extract", spectra_block, gather_spectra))
_COST = Cost(
    cpu_s=4.0, cpu_s_per_plane=1.0, memory_gb=1.5, bytes_out=12_000_000, bytes_out_per_plane=4_500_000, inodes=60
)

IFS_EXTRACT = Recipe(
    name="ifs_extract",
    version="1.26.2",
    arm=Arm.IFS,
    subject_kind="observation",
    main=RawMain(roles=("SCIENCE",)),
    inputs=(BACKGROUND, FLAT, BAD_PIXELS, WAVE, PSFLETS, LENSLET_FLAT, PLACE),
    outputs=(PRODUCT,),
    parameters=ExtractionParameters,
    tables=_TABLES,
    sizes=_sizes,
    passes=_PASSES,
    close=close_spectra,
    cost=_COST,
)

EXTRACTED_FRAMES = (
    "IFS_SCIENCE_DR_RAW",
    "IFS_STAR_CENTER_WAFFLE_RAW",
    "IFS_FLUX_CALIB_RAW",
    "IFS_SKY_BG_RAW",
    "IFS_FLAT_RAW",
    "IFS_SPECPOS_RAW",
    "IFS_WAVECALIB_RAW",
)

IFS_EXTRACT_FRAME = Recipe(
    name="ifs_extract_frame",
    version="1.26.2",
    arm=Arm.IFS,
    subject_kind="frame",
    main=RawMain(frame_types=EXTRACTED_FRAMES),
    inputs=(
        replace(BACKGROUND, required=False),
        replace(DARK, required=False),
        FLAT,
        BAD_PIXELS,
        WAVE,
        PSFLETS,
        LENSLET_FLAT,
        PLACE,
    ),
    outputs=(PRODUCT,),
    parameters=ExtractionParameters,
    tables=_TABLES,
    sizes=_sizes,
    passes=_PASSES,
    close=close_spectra,
    cost=_COST,
)
