"""The detector flat and its bad pixels: lamp levels at several DITs, minus dark or instrument background of each.

One pass over stripes of rows: per DIT a combined lamp level and its variance. Closing sees the whole field: lit field,
common non-linearity, response per half, bad pixels with their reasons (notes/irdis 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure, Measured
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.bad_pixels import flat_flags, lit_field, touched_field
from archive_proc.kernels.calibrate import (
    DetectorLevel,
    detector_level,
    join_halves,
    output_offsets,
    split_halves,
    subtract_output_offsets,
    unlit_pixels,
)
from archive_proc.kernels.combine import combine_planes
from archive_proc.kernels.figures import plane_slope
from archive_proc.kernels.flat import Response, response
from archive_proc.model.flags import Flag
from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.detector import join_stripes, no_planes, true_dit, usable_rows
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import (
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


@dataclass(frozen=True, slots=True)
class FlatParameters:
    """What makes a pixel bad, and which lamp levels count (notes/irdis 4.1)."""

    dead_below: float = 0.5
    dead_above: float = 1.6
    suspect: float = 0.12
    """Difference to the local 9 x 9 median."""
    nonlinear_chi: float = 8.0
    highest_lamp_adu: float = 30_000.0
    """Lamp levels whose median is above this are left out: the detector bends there."""
    accept_refused: bool = False
    """Make the flat though its figures are beyond the limits that refuse it (`qc_limits`)."""


def dark_of(inputs: RecipeInputs, file: int) -> tuple[tuple[Calibration, ...], float]:
    """The darks that serve one main file, and the DIT their level is wanted at."""
    return inputs.serving("dark", file), true_dit(inputs.frames[file])


def stripe_level(calibrations: Sequence[Calibration], dit_s: float, rows: slice) -> DetectorLevel | None:
    """The detector level at a DIT in some rows (n, 2048); None where no dark is given."""
    if not calibrations:
        return None
    return detector_level(
        dit_s,
        [
            DetectorLevel(
                dit_s=float(one.attrs["dit_s"]),
                level=one.arrays["level"][rows],
                variance=one.arrays["variance"][rows],
                read_noise=one.arrays["read_noise"][rows],
                flags=one.arrays["flags"][rows],
            )
            for one in calibrations
        ],
    )


def lamp_stripe(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """Per DIT, shortest first: lamp minus dark (m, rows, 2048) ADU, its variance, and the darks' flags."""
    raw = np.asarray(block.pixels["raw"], np.float32)
    rows = slice(block.first, block.first + raw.shape[1])
    chosen = usable_rows(block, inputs)
    if not chosen.size:
        raise no_planes(inputs.subject.subject_id)
    files = inputs.planes.file[block.planes]
    dits = np.array([round(true_dit(inputs.frames[file]), 4) for file in files])
    levels, variances, found, counts = [], [], [], []
    flags = np.zeros(raw.shape[1:], np.uint16)
    for dit in np.unique(dits[chosen]):
        planes = chosen[dits[chosen] == dit]
        calibrations, exact_dit = dark_of(inputs, int(files[planes[0]]))
        dark = stripe_level(calibrations, exact_dit, rows)
        signal = raw[planes]
        noise2: NDArray[np.float32] | float = 0.0
        if dark is not None:
            signal = signal - dark.level
            noise2 = dark.read_noise**2
            flags |= dark.flags
        combined = combine_planes(signal)
        gain = inputs.frames[int(files[planes[0]])].gain or load_tables().irdis.detector.gain_e_per_adu
        variance = (np.maximum(combined.mean, 0.0) / np.float32(gain) + noise2) / len(planes)
        levels.append(combined.mean)
        variances.append(variance + (dark.variance if dark is not None else 0.0))
        found.append(dit)
        counts.append(len(planes))
    # Rows first: stripes are joined along the first axis.
    return BlockOutput(
        {
            "lamp": np.stack(levels, axis=1),
            "variance": np.stack(variances, axis=1).astype(np.float32),
            "dark_flags": flags,
            "dits": np.array(found) if block.first == 0 else np.empty(0),
            "counts": np.array(counts) if block.first == 0 else np.empty(0, np.int64),
        }
    )


def close_flat(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The products `detector_flat` and `bad_pixels`.

    Raises DataFailure AP-IRD-006 without lamp light, and AP-IRD-007 where the field or its pixels are unusable.
    """
    limits: FlatParameters = inputs.parameters
    subject = inputs.frames[0].file_id
    lamp = split_halves(np.moveaxis(shared["lamp"], 1, 0))
    variance = split_halves(np.moveaxis(shared["variance"], 1, 0))
    figures = Figures(inputs)
    lit = _lit(lamp[-1], figures, subject, accept=limits.accept_refused)
    dark_flags = split_halves(shared["dark_flags"])
    touched = np.stack([touched_field(half) for half in lamp[-1]])
    lamp = _without_offsets(lamp, touched, dark_flags)
    typical = np.array([min(float(np.median(one[half][lit[half]])) for half in range(2)) for one in lamp])
    kept = np.flatnonzero(typical < limits.highest_lamp_adu)
    if not kept.size:
        raise DataFailure(
            "AP-IRD-006",
            f"every lamp level is above {limits.highest_lamp_adu:g} ADU (lowest {typical.min():.0f})",
            subject=subject,
            remedy="add FLAT,LAMP files of a shorter DIT",
            qc=(Measured("lowest_lamp_level", float(typical.min()), "adu", "detector_flat"),),
        )
    halves = [response(lamp[kept][:, half], variance[kept][:, half], lit[half]) for half in range(2)]
    flags = _flags(halves, lit, touched, limits) | dark_flags
    outside = ~lit
    flags[outside] &= ~np.uint16(int(Flag.DEAD | Flag.SUSPECT | Flag.NONLINEAR))
    _measure(figures, halves, flags, lit, typical)
    figures.expect_none_refused(
        "AP-IRD-007",
        subject,
        "look at the lamp frames; quarantine those that are not flat",
        accept=limits.accept_refused,
    )
    attrs = {
        "lamp_adu": [[round(level, 3) for level in one.lamp] for one in halves],
        "lamp_dit_s": [float(one) for one in shared["dits"][kept]],
        "nonlinearity_per_adu": [one.nonlinearity.a for one in halves],
        "nonlinearity_error_per_adu": [
            one.nonlinearity.error if np.isfinite(one.nonlinearity.error) else None for one in halves
        ],
        "inst_filter": inputs.frames[0].inst_filter,
    }
    whole = {
        "response": join_halves(np.stack([one.response for one in halves])),
        "variance": join_halves(np.stack([one.variance for one in halves])),
        "flags": join_halves(flags),
    }
    chi = join_halves(np.stack([one.chi for one in halves]))
    return RecipeResult(
        {
            "detector_flat": ProductContent(whole, attrs),
            "bad_pixels": ProductContent({"flags": whole["flags"], "chi": chi}, {"inst_filter": attrs["inst_filter"]}),
        },
        figures.values,
        _remarks(inputs, len(kept), len(typical)),
    )


def _lit(brightest: NDArray[np.float32], figures: Figures, subject: str, *, accept: bool) -> NDArray[np.bool_]:
    figures.add("detector_flat", "brightest_lamp_level", float(np.percentile(brightest, 50.0)), "adu")
    # Nobody can accept a flat without light: there is nothing to divide by.
    figures.expect_none_refused(
        "AP-IRD-006", subject, "quarantine these lamp files: the lamp was off or the beam closed"
    )
    lit = np.stack([lit_field(half) for half in brightest])
    figures.add("detector_flat", "lit_fraction", float(lit.mean(axis=(1, 2)).min()))
    figures.expect_none_refused(
        "AP-IRD-007", subject, "quarantine these lamp files: the field is blocked", accept=accept
    )
    return lit


def _without_offsets(
    lamp: NDArray[np.float32], touched: NDArray[np.bool_], dark_flags: NDArray[np.uint16]
) -> NDArray[np.float32]:
    """Lamp levels (m, 2, ny, nx) without the offsets that outputs had against the dark."""
    unlit = unlit_pixels(np.where(touched, dark_flags, dark_flags | np.uint16(Flag.OUTSIDE)).astype(np.uint16))
    lamp = np.ascontiguousarray(lamp)
    for one in lamp:
        subtract_output_offsets(one, output_offsets(one, unlit))
    return lamp


def _flags(
    halves: Sequence[Response], lit: NDArray[np.bool_], touched: NDArray[np.bool_], limits: FlatParameters
) -> NDArray[np.uint16]:
    return np.stack(
        [
            flat_flags(
                one.response,
                one.chi,
                lit[half],
                touched[half],
                dead_below=limits.dead_below,
                dead_above=limits.dead_above,
                suspect=limits.suspect,
                nonlinear_chi=limits.nonlinear_chi,
            )
            for half, one in enumerate(halves)
        ]
    )


def _measure(
    figures: Figures,
    halves: Sequence[Response],
    flags: NDArray[np.uint16],
    lit: NDArray[np.bool_],
    lamp: NDArray[np.float64],
) -> None:
    inside = flags[lit]
    figures.add("detector_flat", "lamp_level", float(lamp.max()), "adu")
    figures.add("detector_flat", "lowest_lamp_level", float(lamp.min()), "adu")
    error = np.median([np.sqrt(np.median(one.variance[lit[half]])) for half, one in enumerate(halves)])
    figures.add("detector_flat", "response_error", float(error))
    # Median of chi squared with one degree of freedom is 0.455 of its mean: outliers do not count.
    chi = [float(np.sqrt(np.median(one.chi[lit[half]] ** 2) / 0.455)) for half, one in enumerate(halves)]
    figures.add_halves("detector_flat", "chi", chi)
    figures.add_halves("detector_flat", "nonlinearity", [2e4 * one.nonlinearity.a for one in halves])
    figures.add_halves("detector_flat", "slope", [plane_slope(one.response) for one in halves])
    useless = int(Flag.DEAD | Flag.HOT | Flag.NOISY | Flag.NONLINEAR)
    figures.add("bad_pixels", "useless_fraction", float(np.mean((inside & useless) != 0)))
    for flag in (Flag.DEAD, Flag.HOT, Flag.NOISY, Flag.NONLINEAR, Flag.SUSPECT):
        name = f"{str(flag.name).lower()}_fraction"
        figures.add("bad_pixels", name, float(np.mean((inside & int(flag)) != 0)))


def _remarks(inputs: RecipeInputs, kept: int, given: int) -> tuple[Remark, ...]:
    remarks = []
    if kept < 2:
        remarks.append(Remark("AP-IRD-008", "one lamp level: non-linear pixels cannot be told"))
    if kept < given:
        remarks.append(Remark("AP-IRD-008", f"{given - kept} lamp level(s) left out: too bright"))
    if not inputs.calibrations.get("dark"):
        remarks.append(Remark("AP-IRD-009", "no dark: the lamp levels hold the detector's pedestal"))
    elif any(one.method != "match" for one in inputs.calibrations["dark"]):
        remarks.append(Remark("AP-IRD-009", "dark level from the rate of other DITs"))
    return tuple(remarks)


IRDIS_FLAT = Recipe(
    name="irdis_flat",
    version="1.1.0",
    arm=Arm.IRDIS,
    subject_kind="group",
    main=RawMain(frame_types=("IRD_FLAT_FIELD_RAW",)),
    inputs=(InputRole("dark", ("dark", "instrument_background"), required=False),),
    outputs=("detector_flat", "bad_pixels"),
    parameters=FlatParameters,
    tables=(TableRead("irdis.detector"), TableRead("qc.detector_flat"), TableRead("qc.bad_pixels")),
    axis="rows",
    passes=(Pass("lamp", lamp_stripe, join_stripes),),
    close=close_flat,
    cost=Cost(cpu_s=8.0, cpu_s_per_plane=0.2, memory_gb=1.0, bytes_out=16_000_000, bytes_out_per_plane=0),
)
