"""Master darks and instrument backgrounds: the detector's level at one DIT, its noise, its hot and noisy pixels.

One pass over stripes of rows of all planes: levels of planes are aligned by output within the stripe, combined with
clipping, and flagged once whole (DESIGN 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.bad_pixels import dark_flags
from archive_proc.kernels.calibrate import join_halves, split_halves
from archive_proc.kernels.combine import align_outputs, combine_planes
from archive_proc.kernels.figures import by_output
from archive_proc.model.flags import Flag
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.processes import Remark
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import (
    Arrays,
    Block,
    BlockOutput,
    Cost,
    Pass,
    ProductContent,
    RawMain,
    Recipe,
    RecipeInputs,
    RecipeResult,
    TableRead,
)


@dataclass(frozen=True, slots=True)
class DarkParameters:
    """What makes a pixel bad (notes/irdis 4.1)."""

    hot_adu: float = 40.0
    """ADU above the local median in 16 s; scales with the DIT."""
    noisy_factor: float = 4.0
    """Temporal scatter over the typical one."""
    accept_refused: bool = False
    """Make the master though its figures are beyond the limits that refuse it (`qc_limits`)."""


def true_dit(frame: RawFrame) -> float:
    """Integration time of one plane, s: `DET SEQ1 REALDIT` where the header has it, else the keyword DIT.

    Raises DataFailure AP-IRD-002 without either.
    """
    value = frame.realdit_s or frame.dit_s
    if not value or value <= 0.0:
        raise DataFailure(
            "AP-IRD-002",
            "the header gives no integration time (DET SEQ1 DIT)",
            subject=frame.file_id,
            remedy="correct the header with an override of kind `header`, or quarantine the file",
        )
    return float(value)


def usable_rows(block: Block, inputs: RecipeInputs) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Positions within a block of the planes that overrides leave usable."""
    return np.flatnonzero(inputs.planes.usable[block.planes])


def no_planes(subject: str) -> DataFailure:
    """What a master raises when overrides exclude every plane."""
    return DataFailure(
        "AP-IRD-003",
        "no usable plane is left: overrides exclude all of them",
        subject=subject,
        remedy="withdraw an exclude-planes override, or quarantine the files so that another group is taken",
    )


def combine_stripe(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """One stripe of the master: level, noise, variance, scatter (rows, 2048), ADU."""
    chosen = usable_rows(block, inputs)
    if not chosen.size:
        raise no_planes(inputs.subject.subject_id)
    raw = np.asarray(block.pixels["raw"], np.float32)[chosen]
    combined = combine_planes(align_outputs(raw))
    return BlockOutput(
        {
            "level": combined.mean,
            "noise": combined.noise,
            "variance": combined.variance,
            "scatter": combined.scatter,
            "typical_noise": np.array([combined.typical_noise]),
            "n_planes": np.array([chosen.size], np.int64),
            # One row a stripe, one column a plane: every fourth pixel tells the level well enough.
            "plane_levels": np.median(raw[:, ::2, ::2], axis=(1, 2))[None, :],
        }
    )


def join_stripes(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Whole-frame arrays from the stripes."""
    return {key: np.concatenate([one[key] for one in summaries]) for key in summaries[0]}


def _close(product_type: str, inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    limits: DarkParameters = inputs.parameters
    frame = inputs.frames[0]
    dit = true_dit(frame)
    typical = float(np.median(shared["typical_noise"]))
    n = int(shared["n_planes"][0])
    flags = join_halves(
        dark_flags(
            split_halves(shared["level"]),
            split_halves(shared["scatter"]),
            typical,
            dit,
            hot_adu=limits.hot_adu,
            noisy_factor=limits.noisy_factor,
        )
    )
    figures = _figures(product_type, inputs, shared, flags, typical)
    figures.expect_none_refused(
        "AP-IRD-004",
        frame.file_id,
        "look at the frames; quarantine those with light or a reset fault: another group is taken then",
        accept=limits.accept_refused,
    )
    remarks = () if n >= 3 else (Remark("AP-IRD-005", f"{n} plane(s): the noise of single pixels is not known"),)
    content = ProductContent(
        {
            "level": shared["level"],
            "variance": shared["variance"],
            "read_noise": shared["noise"],
            "flags": flags,
        },
        {
            "dit_s": dit,
            "gain": frame.gain,
            "n_planes": n,
            "inst_filter": frame.inst_filter,
            "nd_filter": frame.nd_filter,
            "typical_noise_adu": round(typical, 4),
        },
    )
    return RecipeResult({product_type: content}, figures.values, remarks)


def _figures(
    product_type: str, inputs: RecipeInputs, shared: Arrays, flags: NDArray[np.uint16], typical: float
) -> Figures:
    found = Figures(inputs)
    level = float(np.median(shared["level"]))
    gain = float(inputs.frames[0].gain or load_tables().irdis.detector.gain_e_per_adu)
    # Light adds photon noise: an instrument background may be as noisy as its level makes it.
    photons = max(level, 0.0) / gain if product_type == "instrument_background" else 0.0
    found.add(product_type, "typical_noise", float(np.sqrt(max(typical**2 - photons, 0.0))), "adu")
    found.add(product_type, "median_level", level, "adu")
    hot = float(np.mean((flags & int(Flag.HOT)) != 0))
    noisy = float(np.mean((flags & int(Flag.NOISY)) != 0))
    found.add(product_type, "hot_fraction", hot)
    found.add(product_type, "noisy_fraction", noisy)
    found.add(product_type, "bad_fraction", hot + noisy)
    noise = by_output(shared["noise"])
    found.add(product_type, "output_noise_ratio", float(np.nanmax(noise) / np.nanmedian(noise)))
    found.add(product_type, "output_level_spread", float(np.ptp(by_output(shared["level"]))), "adu")
    found.add(product_type, "level_drift", float(np.ptp(np.median(shared["plane_levels"], axis=0))), "adu")
    found.add(product_type, "planes", float(shared["n_planes"][0]))
    return found


def close_dark(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The product `dark`. Raises DataFailure AP-IRD-004 where noise or bad pixels are beyond the limits."""
    return _close("dark", inputs, shared)


def close_instrument_background(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The product `instrument_background`; raises as `close_dark`."""
    return _close("instrument_background", inputs, shared)


_STRIPES = Pass("combine", combine_stripe, join_stripes)
_COST = Cost(cpu_s=2.0, cpu_s_per_plane=0.15, memory_gb=0.6, bytes_out=14_000_000, bytes_out_per_plane=0)

IRDIS_DARK = Recipe(
    name="irdis_dark",
    version="1.1.0",
    arm=Arm.IRDIS,
    subject_kind="group",
    main=RawMain(frame_types=("IRD_DARK_RAW",)),
    inputs=(),
    outputs=("dark",),
    parameters=DarkParameters,
    tables=(TableRead("irdis.detector"), TableRead("qc.dark")),
    axis="rows",
    passes=(_STRIPES,),
    close=close_dark,
    cost=_COST,
)

IRDIS_INSTRUMENT_BACKGROUND = Recipe(
    name="irdis_instrument_background",
    version="1.1.0",
    arm=Arm.IRDIS,
    subject_kind="group",
    main=RawMain(frame_types=("IRD_INS_BG_RAW",)),
    inputs=(),
    outputs=("instrument_background",),
    parameters=DarkParameters,
    tables=(TableRead("irdis.detector"), TableRead("qc.instrument_background")),
    axis="rows",
    passes=(_STRIPES,),
    close=close_instrument_background,
    cost=_COST,
)
