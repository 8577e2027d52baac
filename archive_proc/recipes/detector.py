"""Master darks and instrument backgrounds: the detector's level at one DIT, its noise, its hot and noisy pixels.

One pass over stripes of rows of all planes: levels of planes are aligned by output within the stripe, combined with
clipping, and flagged once whole (DESIGN 4). The arms differ in what they call bad: IRDIS judges halves by ADU, the IFS
its whole detector by dark current and by the scatter between planes, as few as two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.instruments.qc_limits import setup_of_frame
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.bad_pixels import dark_flags
from archive_proc.kernels.calibrate import join_halves, split_halves
from archive_proc.kernels.combine import align_outputs, combine_planes
from archive_proc.kernels.defects import (
    coupled_pixels,
    flickering_pixels,
    highest_planes,
    hot_pixels,
    plane_spread,
    unstable_pixels,
)
from archive_proc.kernels.figures import by_output
from archive_proc.model.flags import Flag
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.processes import Remark
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import (
    Array,
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


@dataclass(frozen=True, slots=True)
class IfsDarkParameters:
    """What makes a pixel of the IFS bad (notes/ifs 6.1)."""

    hot_e_s: float = 12.0
    """Dark current above the neighbourhood's, and"""
    hot_sigma: float = 6.0
    """robust standard deviations of the neighbourhood."""
    unstable_sigma: float = 5.0
    """Scatter between planes, as the Gaussian deviate of its probability."""
    flicker_sigmas: tuple[float, float] = (4.0, 2.5)
    """Or: by which one plane stands above the neighbourhood, and above the pixel's other planes."""
    coupling: float = 0.02
    """Share of its charge that a neighbour sees: the hottest take their four neighbours along."""
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


def aligned_planes(block: Block, inputs: RecipeInputs) -> NDArray[np.float32]:
    """The usable planes of a stripe, (n, rows, 2048) ADU, outputs aligned.

    Raises DataFailure AP-IRD-003 without any.
    """
    chosen = usable_rows(block, inputs)
    if not chosen.size:
        raise no_planes(inputs.subject.subject_id)
    return align_outputs(np.asarray(block.pixels["raw"], np.float32)[chosen])


def combine_stripe(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """One stripe of the master: level, noise, variance, scatter (rows, 2048), ADU."""
    return BlockOutput(_combined(aligned_planes(block, inputs), block, inputs))


def combine_ifs_stripe(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """As `combine_stripe`, and what tells unstable pixels: variance between planes, the highest plane and the rest."""
    planes = aligned_planes(block, inputs)
    spread, freedom = plane_spread(planes)
    found = _combined(planes, block, inputs)
    found |= {"spread": spread, "freedom": np.array([freedom], np.int64)}
    if len(planes) > 1:
        highest, rest, n_rest = highest_planes(planes)
        found |= {"highest": highest, "rest": rest, "n_rest": np.array([n_rest], np.int64)}
    return BlockOutput(found)


def _combined(planes: NDArray[np.float32], block: Block, inputs: RecipeInputs) -> dict[str, Array]:
    combined = combine_planes(planes)
    raw = np.asarray(block.pixels["raw"], np.float32)[usable_rows(block, inputs)]
    return {
        "level": combined.mean,
        "noise": combined.noise,
        "variance": combined.variance,
        "scatter": combined.scatter,
        "typical_noise": np.array([combined.typical_noise]),
        "n_planes": np.array([len(planes)], np.int64),
        # One row a stripe, one column a plane: every fourth pixel tells the level well enough.
        "plane_levels": np.median(raw[:, ::2, ::2], axis=(1, 2))[None, :],
    }


def join_stripes(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Whole-frame arrays from the stripes."""
    return {key: np.concatenate([one[key] for one in summaries]) for key in summaries[0]}


def _halves_flags(inputs: RecipeInputs, shared: Arrays, dit_s: float, typical: float) -> NDArray[np.uint16]:
    limits: DarkParameters = inputs.parameters
    return join_halves(
        dark_flags(
            split_halves(shared["level"]),
            split_halves(shared["scatter"]),
            typical,
            dit_s,
            hot_adu=limits.hot_adu,
            noisy_factor=limits.noisy_factor,
        )
    )


def _ifs_flags(inputs: RecipeInputs, shared: Arrays, dit_s: float, typical: float) -> NDArray[np.uint16]:
    limits: IfsDarkParameters = inputs.parameters
    level, gain = shared["level"], _gain(inputs)
    least = limits.hot_e_s * dit_s / gain
    hot, excess = hot_pixels(level, least, limits.hot_sigma)
    hot |= coupled_pixels(excess, least, limits.coupling)
    # What a pixel glows more than its neighbourhood scatters by its own photons.
    expected = (typical**2 + np.maximum(excess, 0.0) / gain).astype(np.float32)
    noisy = unstable_pixels(shared["spread"], int(shared["freedom"][0]), expected, limits.unstable_sigma)
    if "highest" in shared:
        local = level - excess
        others = expected / np.float32(shared["n_rest"][0])
        noisy |= flickering_pixels(
            shared["highest"] - local, expected, shared["rest"] - local, others, limits.flicker_sigmas
        )
    flags = np.zeros(level.shape, np.uint16)
    flags[hot] |= np.uint16(Flag.HOT)
    flags[noisy | ~np.isfinite(level)] |= np.uint16(Flag.NOISY)
    return flags


def _gain(inputs: RecipeInputs) -> float:
    """e-/ADU: the header's, else the table's of the arm."""
    return float(inputs.frames[0].gain or load_tables().gain(inputs.frames[0].arm))


@dataclass(frozen=True, slots=True)
class _Judging:
    """How one arm judges its masters."""

    find: Callable[[RecipeInputs, Arrays, float, float], NDArray[np.uint16]]
    """(inputs, shared, DIT, typical noise) -> flags."""
    refused: str
    """Code where a figure is beyond a limit."""
    few: str
    """Code of the remark on masters of fewer than"""
    least: int
    """planes, which cannot tell pixels by their scatter."""
    quiet: str = ""
    """Name of the figure that says whether a detector was read at all; empty: it is not looked at."""


_IRDIS = _Judging(_halves_flags, "AP-IRD-004", "AP-IRD-005", 3)
_IFS = _Judging(_ifs_flags, "AP-IFS-004", "AP-IFS-005", 2, "plane_noise")


def _close(product_type: str, inputs: RecipeInputs, shared: Arrays, arm: _Judging, *, glows: bool) -> RecipeResult:
    """`glows`: the level is light, whose photons are in the noise."""
    frame = inputs.frames[0]
    dit = true_dit(frame)
    typical = float(np.median(shared["typical_noise"]))
    n = int(shared["n_planes"][0])
    flags = arm.find(inputs, shared, dit, typical)
    figures = _figures(product_type, inputs, shared, flags, typical, glows=glows)
    if n > 1 and arm.quiet:
        figures.add(product_type, arm.quiet, typical, "adu")
    figures.expect_none_refused(
        arm.refused,
        frame.file_id,
        "look at the frames; quarantine those with light or a reset fault: another group is taken then",
        accept=inputs.parameters.accept_refused,
    )
    known = n >= arm.least
    remarks = () if known else (Remark(arm.few, f"{n} plane(s): the noise of single pixels is not known"),)
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
            "inst_filter": setup_of_frame(frame).inst_filter or None,
            "nd_filter": frame.nd_filter,
            "typical_noise_adu": round(typical, 4),
        },
    )
    return RecipeResult({product_type: content}, figures.values, remarks)


def _figures(
    product_type: str,
    inputs: RecipeInputs,
    shared: Arrays,
    flags: NDArray[np.uint16],
    typical: float,
    *,
    glows: bool,
) -> Figures:
    found = Figures(inputs)
    level = float(np.median(shared["level"]))
    # Light adds photon noise: an instrument background may be as noisy as its level makes it.
    photons = max(level, 0.0) / _gain(inputs) if glows else 0.0
    found.add(product_type, "typical_noise", float(np.sqrt(max(typical**2 - photons, 0.0))), "adu")
    found.add(product_type, "median_level", level, "adu")
    hot = float(np.mean((flags & int(Flag.HOT)) != 0))
    noisy = float(np.mean((flags & int(Flag.NOISY)) != 0))
    found.add(product_type, "hot_fraction", hot)
    found.add(product_type, "noisy_fraction", noisy)
    found.add(product_type, "bad_fraction", hot + noisy)
    noise = by_output(shared["noise"])
    middle = float(np.nanmedian(noise))
    found.add(product_type, "output_noise_ratio", float(np.nanmax(noise)) / middle if middle > 0 else float("nan"))
    found.add(product_type, "output_level_spread", float(np.ptp(by_output(shared["level"]))), "adu")
    found.add(product_type, "level_drift", float(np.ptp(np.median(shared["plane_levels"], axis=0))), "adu")
    found.add(product_type, "planes", float(shared["n_planes"][0]))
    return found


def close_dark(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The product `dark`. Raises DataFailure AP-IRD-004 where noise or bad pixels are beyond the limits."""
    return _close("dark", inputs, shared, _IRDIS, glows=False)


def close_instrument_background(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The product `instrument_background`; raises as `close_dark`."""
    return _close("instrument_background", inputs, shared, _IRDIS, glows=True)


def close_ifs_dark(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The product `dark` of the IFS. Raises DataFailure AP-IFS-004 where noise or bad pixels are beyond the limits.

    The instrument's own warmth shines into the closed IFS too: some 15 e-/s (notes/ifs 1).
    """
    return _close("dark", inputs, shared, _IFS, glows=True)


def close_ifs_instrument_background(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The product `instrument_background` of the IFS, from closed or sky frames; raises as `close_ifs_dark`."""
    return _close("instrument_background", inputs, shared, _IFS, glows=True)


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

_IFS_STRIPES = Pass("combine", combine_ifs_stripe, join_stripes)
_IFS_COST = Cost(cpu_s=5.0, cpu_s_per_plane=0.4, memory_gb=0.9, bytes_out=30_000_000, bytes_out_per_plane=0)

IFS_DARK = Recipe(
    name="ifs_dark",
    version="1.1.1",
    arm=Arm.IFS,
    subject_kind="group",
    main=RawMain(frame_types=("IFS_DARK_RAW",)),
    inputs=(),
    outputs=("dark",),
    parameters=IfsDarkParameters,
    tables=(TableRead("ifs.detector"), TableRead("qc.dark")),
    axis="rows",
    passes=(_IFS_STRIPES,),
    close=close_ifs_dark,
    cost=_IFS_COST,
)

IFS_INSTRUMENT_BACKGROUND = Recipe(
    name="ifs_instrument_background",
    version="1.1.1",
    arm=Arm.IFS,
    subject_kind="group",
    main=RawMain(frame_types=("IFS_CAL_BACKGROUND_RAW", "IFS_SKY_BG_RAW")),
    inputs=(),
    outputs=("instrument_background",),
    parameters=IfsDarkParameters,
    tables=(TableRead("ifs.detector"), TableRead("qc.instrument_background")),
    axis="rows",
    passes=(_IFS_STRIPES,),
    close=close_ifs_instrument_background,
    cost=_IFS_COST,
)
