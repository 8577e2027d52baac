"""The IFS's detector flat and bad-pixel map: the light one lamp adds between two DITs, less the lamp's shape.

Each lamp (`INS2 COMB IFS`: white, or one of the coloured ones) is a group and gives a product of its own. No dark is
needed for the response: whatever is the same at both DITs drops out. Darks of the night tell hot and unstable pixels,
each by itself and by contradicting each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.combine import combine_planes, robust_sigma
from archive_proc.kernels.defects import inconsistent_pixels
from archive_proc.kernels.pixel_response import lamp_shape, light_between, line_residual
from archive_proc.model.flags import Flag
from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.detector import join_stripes, no_planes, true_dit, usable_rows
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import (
    Array,
    Arrays,
    Block,
    BlockOutput,
    Calibration,
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
Flags = NDArray[np.uint16]

FULL_SHARE = 0.01
"""A DIT with more saturated pixels than this share is left out."""


@dataclass(frozen=True, slots=True)
class DetectorFlatParameters:
    """What makes a pixel bad (notes/ifs 6.1)."""

    dead_below: float = 0.75
    dead_above: float = 1.25
    nonlinear_chi: float = 8.0
    """Residual of the straight line, where three DITs give one."""
    contradiction_sigma: float = 5.0
    """By which darks of different files and DITs must contradict each other in a pixel to make it unstable."""
    flicker_sigmas: tuple[float, float] = (4.0, 2.5)
    """Or: by which a dark stands above the neighbourhood there, and above what another dark lets expect."""
    accept_refused: bool = False
    """Make the flat though its figures are beyond the limits that refuse it (`qc_limits`)."""


def lamp_levels(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """Per DIT, shortest first: level (rows, m, nx) ADU, its variance, number of saturated pixels.

    Raises DataFailure AP-IRD-003 without a usable plane.
    """
    raw = np.asarray(block.pixels["raw"], np.float32)
    chosen = usable_rows(block, inputs)
    if not chosen.size:
        raise no_planes(inputs.subject.subject_id)
    detector = load_tables().ifs.detector
    gain = np.float32(inputs.frames[0].gain or detector.gain_e_per_adu)
    read_noise2 = np.float32((detector.read_noise_e / float(gain)) ** 2)
    files = inputs.planes.file[block.planes]
    dits = np.array([round(true_dit(inputs.frames[file]), 4) for file in files])
    found = np.unique(dits[chosen])
    levels, variances, full = [], [], []
    for dit in found:
        planes = raw[chosen[dits[chosen] == dit]]
        level = combine_planes(planes).mean
        levels.append(level)
        variances.append((np.maximum(level, 0.0) / gain + read_noise2) / np.float32(len(planes)))
        full.append(int((planes > detector.saturation_adu).any(axis=0).sum()))
    first = block.first == 0
    # Rows first: stripes are joined along the first axis.
    return BlockOutput(
        {
            "level": np.stack(levels, axis=1),
            "variance": np.stack(variances, axis=1).astype(np.float32),
            "full": np.array([full], np.int64),
            "dits": found if first else np.empty(0),
        }
    )


def close_detector_flat(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The products `detector_flat` and `bad_pixels`.

    Raises DataFailure with all figures: AP-IFS-006 with one DIT only, AP-IFS-008 where the others are saturated,
    AP-IFS-007 without lamp light, AP-IFS-009 where the light is no flat or too many pixels are useless.
    """
    limits: DetectorFlatParameters = inputs.parameters
    subject = inputs.frames[0].file_id
    dits = np.asarray(shared["dits"], np.float64)
    saturated = shared["full"].sum(axis=0) / shared["level"][:, 0].size
    kept = np.flatnonzero(saturated <= FULL_SHARE)
    figures = Figures(inputs)
    _expect_two_dits(figures, dits, saturated, kept, subject)
    levels = [np.ascontiguousarray(shared["level"][:, at]) for at in kept]
    variances = [np.ascontiguousarray(shared["variance"][:, at]) for at in kept]
    light, variance = light_between(levels, variances, dits[kept])
    span = float(np.ptp(dits[kept]))
    figures.add("detector_flat", "added_light", float(np.median(light)) * span, "adu")
    figures.expect_none_refused("AP-IFS-007", subject, "quarantine these files: the lamp was off or the beam closed")
    lamp = lamp_shape(light)
    floor = np.maximum(lamp.shape, np.float32(1e-3 * np.median(light)))
    response = np.asarray(light / floor, np.float32)
    response_variance = np.asarray(variance / floor**2, np.float32)
    chi = line_residual(levels, variances, dits[kept], light)
    flags = _flags(response, chi, inputs, limits)
    _measure(figures, response, response_variance, flags, lamp.faintest)
    figures.expect_none_refused(
        "AP-IFS-009",
        subject,
        "look at the lamp frames; quarantine those that are not flat: another group is taken then",
        accept=limits.accept_refused,
    )
    attrs = {
        "inst_filter": inputs.frames[0].ifs_comb,
        "lamp": inputs.frames[0].lamp,
        "lamp_dit_s": [float(one) for one in dits[kept]],
        "lamp_adu_s": round(float(np.median(light)), 4),
    }
    whole: dict[str, Array] = {"response": response, "variance": response_variance, "flags": flags}
    return RecipeResult(
        {
            "detector_flat": ProductContent(whole, attrs),
            "bad_pixels": ProductContent({"flags": flags, "chi": chi}, {"inst_filter": attrs["inst_filter"]}),
        },
        figures.values,
        _remarks(inputs, len(dits) - kept.size),
    )


def _expect_two_dits(
    figures: Figures, dits: NDArray[np.float64], saturated: NDArray[np.float64], kept: NDArray[np.intp], subject: str
) -> None:
    figures.add("detector_flat", "lamp_dits", float(kept.size))
    figures.add("detector_flat", "saturated_fraction", float(saturated.max()))
    full = kept.size < len(dits)
    remedy = (
        "quarantine the saturated files; add FLAT,LAMP files of a shorter DIT"
        if full
        else ("add FLAT,LAMP files of the lamp with another DIT: the flat is the light between two")
    )
    figures.expect_none_refused("AP-IFS-008" if full else "AP-IFS-006", subject, remedy)


def _flags(response: Float32, chi: Float32, inputs: RecipeInputs, limits: DetectorFlatParameters) -> Flags:
    flags = np.zeros(response.shape, np.uint16)
    dead = (response < limits.dead_below) | (response > limits.dead_above) | ~np.isfinite(response)
    flags[dead] |= np.uint16(Flag.DEAD)
    flags[chi > limits.nonlinear_chi] |= np.uint16(Flag.NONLINEAR)
    darks = inputs.calibrations.get("darks", ())
    for one in darks:
        if one.arrays["flags"].shape != flags.shape:
            raise DataFailure(
                "AP-IFS-003",
                f"a dark has {one.arrays['flags'].shape} pixels, the lamp frames {flags.shape}",
                subject=inputs.frames[0].file_id,
                remedy="quarantine the files of the odd size: the IFS reads out the whole detector",
            )
        flags |= np.asarray(one.arrays["flags"], np.uint16)
    flags[_contradicted(darks, flags.shape, limits)] |= np.uint16(Flag.NOISY)
    return flags


def _contradicted(
    darks: Sequence[Calibration], shape: tuple[int, ...], limits: DetectorFlatParameters
) -> NDArray[np.bool_]:
    if len(darks) < 2:
        return np.zeros(shape, bool)
    ordered = sorted(darks, key=lambda one: (float(one.attrs["dit_s"]), one.product_id))
    return inconsistent_pixels(
        [np.asarray(one.arrays["level"], np.float32) for one in ordered],
        [np.asarray(one.arrays["variance"], np.float32) for one in ordered],
        [float(one.attrs["dit_s"]) for one in ordered],
        limits.contradiction_sigma,
        limits.flicker_sigmas,
    )


def _measure(figures: Figures, response: Float32, variance: Float32, flags: Flags, faintest: float) -> None:
    alive = (flags & int(Flag.DEAD)) == 0
    figures.add("detector_flat", "illumination_contrast", faintest)
    figures.add("detector_flat", "response_scatter", robust_scatter(response))
    figures.add(
        "detector_flat", "response_error", float(np.sqrt(np.median(variance[alive]))) if alive.any() else np.nan
    )
    useless = int(Flag.DEAD | Flag.HOT | Flag.NOISY | Flag.NONLINEAR)
    figures.add("bad_pixels", "useless_fraction", float(np.mean((flags & useless) != 0)))
    for flag in (Flag.DEAD, Flag.HOT, Flag.NOISY, Flag.NONLINEAR):
        figures.add("bad_pixels", f"{str(flag.name).lower()}_fraction", float(np.mean((flags & int(flag)) != 0)))


def robust_scatter(response: Float32) -> float:
    """Robust standard deviation of values about their median; NaN without any."""
    if not response.size:
        return float("nan")
    # `robust_sigma` starts from half a unit: values are scaled to per mille first.
    return robust_sigma(1000.0 * (response - np.median(response))) / 1000.0


def _remarks(inputs: RecipeInputs, left_out: int) -> tuple[Remark, ...]:
    found = []
    if left_out:
        found.append(Remark("AP-IFS-010", f"{left_out} lamp DIT(s) left out: saturated"))
    darks = inputs.calibrations.get("darks", ())
    if not darks:
        found.append(Remark("AP-IFS-010", "no dark of the night: hot and unstable pixels are not in the map"))
    return tuple(found)


IFS_DETECTOR_FLAT = Recipe(
    name="ifs_detector_flat",
    version="1.1.0",
    arm=Arm.IFS,
    subject_kind="group",
    main=RawMain(frame_types=("IFS_DETECTOR_FLAT_FIELD_RAW",)),
    inputs=(InputRole("darks", ("dark", "instrument_background"), required=False),),
    outputs=("detector_flat", "bad_pixels"),
    parameters=DetectorFlatParameters,
    tables=(TableRead("ifs.detector"), TableRead("qc.detector_flat"), TableRead("qc.bad_pixels")),
    axis="rows",
    passes=(Pass("lamp", lamp_levels, join_stripes),),
    close=close_detector_flat,
    cost=Cost(cpu_s=9.0, cpu_s_per_plane=0.3, memory_gb=1.2, bytes_out=32_000_000, bytes_out_per_plane=0),
)
