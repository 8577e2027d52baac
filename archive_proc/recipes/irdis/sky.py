"""The sky basis: master level of a group of SKY frames and the modes of its change.

Two passes over stripes of rows: block means and output offsets of every plane, then the master with all large-scale
differences between the skies taken out. Closing finds the modes (notes/irdis 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure, Measured
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.blocks import BLOCK, block_means, fill_nearest, upsample
from archive_proc.kernels.calibrate import (
    MIN_UNLIT,
    OUTPUT_COLUMNS,
    USELESS,
    DetectorLevel,
    join_halves,
    split_halves,
)
from archive_proc.kernels.sky import (
    CHANGES,
    SkyModes,
    join_estimates,
    master_pixels,
    reference_blocks,
    sky_modes,
    structure_variance,
)
from archive_proc.kernels.sky_sources import COLUMNS, bridged, find_sources, hidden_blocks, hidden_pixels
from archive_proc.model.flags import Flag
from archive_proc.model.frames import Arm
from archive_proc.model.processes import QcValue, Remark
from archive_proc.recipes.detector import no_planes, true_dit
from archive_proc.recipes.irdis.flat import stripe_level
from archive_proc.recipes.irdis.scenes import scene_of
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import (
    STRIPE_ROWS,
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

UNKNOWN_LEVEL_VARIANCE = 1e6
"""ADU^2: without a dark, the detector's level is taken from the skies alone."""


@dataclass(frozen=True, slots=True)
class SkyParameters:
    """How skies become a basis."""

    max_modes: int = 6
    """Singular vectors tried at most; cross-validation chooses (notes/irdis 4.2.6)."""
    odd_level: float = 0.5
    """A sky whose level differs from the group's by more than this fraction is none: other ND, closed beam, a star."""


@dataclass(frozen=True, slots=True)
class _Stripe:
    """What one stripe of rows needs: halves (2, rows, 1024)."""

    level: Float32
    level_variance: Float32
    read_noise: Float32
    response: Float32
    """0 where not lit."""
    flags: NDArray[np.uint16]

    @property
    def good(self) -> NDArray[np.bool_]:
        """Lit pixels with no fault."""
        fine: NDArray[np.bool_] = (self.response > 0) & ((self.flags & (USELESS | int(Flag.OUTSIDE))) == 0)
        return fine


def _stripe(inputs: RecipeInputs, first: int) -> _Stripe:
    rows = slice(first, first + STRIPE_ROWS)
    flat = inputs.calibrations["flat"][0].arrays
    detector = load_tables().irdis.detector
    gain = _gain(inputs)
    response = np.nan_to_num(split_halves(np.asarray(flat["response"][rows], np.float32)))
    flags = split_halves(np.asarray(flat["flags"][rows], np.uint16)).copy()
    dark: DetectorLevel | None = stripe_level(inputs.calibrations.get("dark", ()), true_dit(inputs.frames[0]), rows)
    if dark is None:
        shape = response.shape
        noise = np.float32(detector.read_noise_e / gain)
        unknown = np.float32(UNKNOWN_LEVEL_VARIANCE)
        return _Stripe(np.zeros(shape, np.float32), np.full(shape, unknown), np.full(shape, noise), response, flags)
    flags |= split_halves(np.asarray(dark.flags))
    level, variance, noise_map = (
        np.asarray(split_halves(one), np.float32) for one in (dark.level, dark.variance, dark.read_noise)
    )
    return _Stripe(level, variance, noise_map, response, flags)


def look(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """Per plane: block means above the detector's level, and the light seen by unlit pixels of each output."""
    stripe = _stripe(inputs, block.first)
    raw = np.asarray(block.pixels["raw"], np.float32)
    n, rows = raw.shape[0], raw.shape[1]
    good = stripe.good
    inverse = np.where(good, 1.0 / np.where(good, stripe.response, 1.0), 0.0).astype(np.float32)
    # EDGE outside the lit field: some light falls there, so it cannot show an offset.
    unlit = (stripe.flags & (int(Flag.OUTSIDE | Flag.EDGE) | USELESS)) == int(Flag.OUTSIDE)
    means = np.full((n, 2, rows // BLOCK, raw.shape[2] // 2 // BLOCK), np.nan)
    counts = np.zeros_like(means)
    offsets = np.zeros((n, 2, 2, raw.shape[2] // 2 // OUTPUT_COLUMNS))
    for index in range(n):
        residual = split_halves(raw[index]) - stripe.level
        means[index], counts[index] = block_means(residual, good, inverse)
        offsets[index] = _unlit_sums(residual, unlit)
    per_flat, _ = block_means(inverse, good)
    files = inputs.planes.file[block.planes]
    sources = [np.zeros((0, len(COLUMNS) + 1))]
    for file in np.unique(files[inputs.planes.usable[block.planes]]):
        # The lowest of a file's planes: cosmic rays are in one, a star in all.
        lowest = (split_halves(raw[files == file].min(axis=0)) - stripe.level) * inverse
        found = find_sources(lowest, good, gain=_gain(inputs), read_noise=float(np.median(stripe.read_noise)))
        found[:, 1] += block.first
        sources.append(np.column_stack([np.full(len(found), file), found]))
    return BlockOutput(
        {
            "planes": block.planes,
            "means": means,
            "counts": counts,
            "unlit": offsets,
            "inverse": per_flat,
            "noise": np.array([float(np.median(stripe.read_noise))]),
            "sources": np.concatenate(sources),
        }
    )


def _gain(inputs: RecipeInputs) -> float:
    return float(inputs.frames[0].gain or load_tables().irdis.detector.gain_e_per_adu)


def _hidden_by(shared: Arrays, file: int) -> Float64:
    """The sources (m, 4) of `COLUMNS` in one sky file."""
    table = shared["sources"]
    own: Float64 = table[table[:, 0] == file][:, 1:]
    return own


def _unlit_sums(residual: Float32, unlit: NDArray[np.bool_]) -> Float64:
    """(2 halves, 2, outputs): clipped sum and number of the unlit pixels of each output in this stripe."""
    halves, _, nx = residual.shape
    out = np.zeros((2, halves, nx // OUTPUT_COLUMNS))
    for half in range(halves):
        for output in range(nx // OUTPUT_COLUMNS):
            columns = slice(output * OUTPUT_COLUMNS, (output + 1) * OUTPUT_COLUMNS)
            values = residual[half][:, columns][unlit[half][:, columns]].astype(np.float64)
            if values.size:
                away = np.abs(values - np.median(values))
                kept = values[away <= 3.5 * max(1.4826 * float(np.median(away)), 0.5)]
                out[:, half, output] = kept.sum(), kept.size
    return np.moveaxis(out, 0, 1)


def compare(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Offsets, block means and their reference, and which planes are skies at all."""
    limits: SkyParameters = inputs.parameters
    planes = summaries[0]["planes"]
    means = np.concatenate([one["means"] for one in summaries], axis=2)
    counts = np.concatenate([one["counts"] for one in summaries], axis=2)
    inverse = np.concatenate([one["inverse"] for one in summaries], axis=1)
    half_way = len(summaries) // 2
    parts = [
        np.sum([one["unlit"] for one in summaries[where]], axis=0)
        for where in (slice(0, half_way), slice(half_way, None))
    ]
    # (n, half, part, output): mean of unlit pixels, 0 where too few exist (notes/irdis 4.1).
    offsets = np.stack(
        [np.where(one[:, :, 1] >= MIN_UNLIT, one[:, :, 0] / np.maximum(one[:, :, 1], 1), 0.0) for one in parts], axis=2
    )
    spread = np.repeat(offsets, OUTPUT_COLUMNS // BLOCK, axis=3)
    spread = np.repeat(spread, means.shape[2] // 2, axis=2)
    means = means - spread * np.nan_to_num(inverse)
    sources = np.concatenate([one["sources"] for one in summaries])
    lambda_d = scene_of(inputs.frames[0]).lambda_d
    hidden = np.zeros(means.shape, bool)
    for index, file in enumerate(inputs.planes.file[planes]):
        hidden[index] = hidden_blocks(_hidden_by({"sources": sources}, int(file)), lambda_d, means.shape[2])
    means[hidden] = np.nan
    kept = inputs.planes.usable[planes].copy()
    if not kept.any():
        raise no_planes(inputs.subject.subject_id)
    level = np.nanmedian(means.reshape(*means.shape[:2], -1), axis=2)
    middle = np.median(level[kept], axis=0)
    noise = float(np.median([one["noise"][0] for one in summaries]))
    odd = np.abs(level - middle) > limits.odd_level * np.abs(middle) + noise
    kept &= ~odd.any(axis=1)
    if not kept.any():
        raise DataFailure(
            "AP-IRD-040",
            "the sky planes have no level in common: each differs from the median by more than "
            f"{100 * limits.odd_level:.0f} %",
            subject=inputs.frames[0].file_id,
            remedy="quarantine the SKY files that are none (closed beam, other ND, star in the field)",
            qc=(Measured("level_spread", float(np.max(np.abs(level - middle))), "adu", "sky_basis"),),
        )
    return {
        "planes": planes,
        "means": means,
        "counts": counts,
        "offsets": offsets.astype(np.float32),
        "kept": kept,
        "reference": bridged(reference_blocks(means[kept]), np.asarray(hidden[kept].all(axis=0))),
        "sources": sources,
        "noise": np.array([noise]),
    }


def master(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """One stripe of the master level: (rows, 2048) level, variance, flags."""
    stripe = _stripe(inputs, block.first)
    kept = np.flatnonzero(shared["kept"])
    raw = np.asarray(block.pixels["raw"], np.float32)
    rows = slice(block.first, block.first + raw.shape[1])
    part = 0 if block.first < shared["reference"].shape[1] * BLOCK // 2 else 1
    reference = fill_nearest(shared["reference"])
    gain = np.float32(_gain(inputs))
    smooth = stripe.response * upsample(reference, rows=rows)
    noise = np.sqrt(np.maximum(smooth, 0) / gain + stripe.read_noise**2).astype(np.float32)
    planes = np.empty((kept.size, *smooth.shape), np.float32)
    for place, index in enumerate(kept):
        change = fill_nearest(shared["means"][index] - shared["reference"])
        columns = np.repeat(shared["offsets"][index, :, part], OUTPUT_COLUMNS, axis=1)[:, None, :]
        planes[place] = split_halves(raw[index]) - stripe.level - columns
        planes[place] -= stripe.response * upsample(change, rows=rows)
    lit = stripe.response > 0
    valid = _valid(inputs, shared, kept, rows, raw.shape[2] // 2)
    flags = stripe.flags.copy()
    if valid is not None:
        flags[lit & ~valid.any(axis=0)] |= np.uint16(Flag.BACKGROUND_UNCONSTRAINED)
    level, variance = np.empty_like(smooth), np.empty_like(smooth)
    for half in range(2):
        mean, its_variance = master_pixels(
            planes[:, half], lit[half], noise[half], None if valid is None else valid[:, half]
        )
        dark_variance = stripe.level_variance[half]
        away = mean - smooth[half]
        fine = structure_variance(away, its_variance + dark_variance, stripe.good[half], STRIPE_ROWS)
        level[half], variance[half] = join_estimates(mean, its_variance, smooth[half], dark_variance, fine)
    # Outside the lit field there is no light to join with: the skies' own level, next to the detector's.
    level = np.where(lit, level, 0.0) + stripe.level
    return BlockOutput(
        {
            "level": join_halves(level.astype(np.float32)),
            "variance": join_halves(np.where(lit, variance, stripe.level_variance).astype(np.float32)),
            "flags": join_halves(flags),
        }
    )


def _valid(
    inputs: RecipeInputs, shared: Arrays, kept: NDArray[np.intp], rows: slice, nx: int
) -> NDArray[np.bool_] | None:
    """(kept planes, 2, rows, nx) False where a plane's file shows a star; None where none does."""
    if not len(shared["sources"]):
        return None
    lambda_d = scene_of(inputs.frames[0]).lambda_d
    files = inputs.planes.file[shared["planes"]][kept]
    hidden = [hidden_pixels(_hidden_by(shared, int(file)), lambda_d, rows, nx) for file in files]
    return ~np.stack(hidden)


def join(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Whole-frame arrays beside what the first pass found."""
    whole = {key: np.concatenate([one[key] for one in summaries]) for key in ("level", "variance", "flags")}
    return {**shared, **whole}


def close(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The product `sky_basis`."""
    limits: SkyParameters = inputs.parameters
    tables = load_tables().irdis
    frame = inputs.frames[0]
    kept = np.flatnonzero(shared["kept"])
    files = inputs.planes.file[shared["planes"]][kept].astype(np.int64)
    means, counts = shared["means"][kept], shared["counts"][kept]
    gain = _gain(inputs)
    noise = float(shared["noise"][0])
    sigma = np.sqrt((np.maximum(np.nan_to_num(means), 0.0) / gain + noise**2) / np.maximum(counts, 1.0))
    optics = tables.filter(frame.inst_filter)
    dither = np.array([[inputs.frames[file].dith_x or 0.0, inputs.frames[file].dith_y or 0.0] for file in files])
    mean_dither = dither.mean(axis=0)
    star = tuple((x + mean_dither[0], y + mean_dither[1]) for x, y in optics.first_guess_px)
    modes = sky_modes(means, sigma, files, max_modes=limits.max_modes, star=star)
    content = ProductContent(
        {
            "level": shared["level"],
            "variance": shared["variance"],
            "flags": shared["flags"],
            "first_mode": modes.first_mode,
            "modes": modes.modes,
            "mode_sigma": modes.mode_sigma,
            "scale_sigma": modes.scale_sigma,
        },
        {
            "dit_s": true_dit(frame),
            "gain": gain,
            "read_noise_adu": round(noise, 4),
            "inst_filter": frame.inst_filter,
            "nd_filter": frame.nd_filter,
            "dither_x": float(mean_dither[0]),
            "dither_y": float(mean_dither[1]),
            "mode_names": list(modes.mode_names),
            "n_planes": int(kept.size),
            "n_files": int(np.unique(files).size),
            "detector_level": "dark" if inputs.calibrations.get("dark") else "unlit pixels",
        },
    )
    figures = _figures(inputs, shared, modes)
    return RecipeResult({"sky_basis": content}, figures, _remarks(inputs, shared, kept))


def _figures(inputs: RecipeInputs, shared: Arrays, modes: SkyModes) -> tuple[QcValue, ...]:
    kept, planes = shared["kept"], shared["planes"]
    found = Figures(inputs)
    found.add("sky_basis", "planes", float(kept.sum()))
    found.add("sky_basis", "files", float(np.unique(inputs.planes.file[planes][kept]).size))
    found.add("sky_basis", "planes_left_out", float((inputs.planes.usable[planes] & ~kept).sum()))
    found.add("sky_basis", "files_with_star", float(np.unique(shared["sources"][:, 0]).size))
    found.add("sky_basis", "modes", float(modes.modes.shape[0]))
    found.add("sky_basis", "read_noise", float(shared["noise"][0]), "adu")
    level = np.nanmedian(modes.first_mode, axis=(1, 2))
    found.add_halves("sky_basis", "level", [float(one) for one in level], "adu")
    # Of one plane it is assumed, not measured.
    spread = modes.scale_sigma if kept.sum() > 1 else np.full(2, np.nan)
    found.add_halves("sky_basis", "scale_spread", [float(one) for one in spread])
    if np.isfinite(modes.held_out_error).any():
        sky = len(modes.mode_names) - len(CHANGES)
        found.add("sky_basis", "held_out_error", float(modes.held_out_error[sky]))
    return found.values


def _remarks(inputs: RecipeInputs, shared: Arrays, kept: NDArray[np.intp]) -> tuple[Remark, ...]:
    remarks = []
    left_out = np.flatnonzero(inputs.planes.usable[shared["planes"]] & ~shared["kept"])
    for index in left_out:
        plane = shared["planes"][index]
        file = inputs.frames[int(inputs.planes.file[plane])].file_id
        remarks.append(Remark("AP-IRD-041", f"{file} plane {inputs.planes.plane[plane]} left out: another level"))
    if np.unique(inputs.planes.file[shared["planes"]][kept]).size < 2:
        remarks.append(Remark("AP-IRD-042", "one sky file: how the sky changes is assumed, not measured"))
    for number in np.unique(shared["sources"][:, 0]).astype(int):
        n = len(_hidden_by(shared, number))
        name = inputs.frames[number].file_id
        remarks.append(Remark("AP-IRD-058", f"{name} shows {n} star(s): not used there"))
    darks = inputs.calibrations.get("dark", ())
    if not darks:
        remarks.append(Remark("AP-IRD-043", "no dark: the detector's level is that of unlit pixels"))
    elif any(one.method != "match" for one in darks):
        remarks.append(Remark("AP-IRD-043", "detector level from the rate of other DITs"))
    return tuple(remarks)


IRDIS_SKY = Recipe(
    name="irdis_sky",
    version="1.2.0",
    arm=Arm.IRDIS,
    subject_kind="group",
    main=RawMain(frame_types=("IRD_SKY_BG_RAW",)),
    inputs=(
        InputRole("dark", ("dark", "instrument_background"), required=False),
        InputRole("flat", ("detector_flat",)),
    ),
    outputs=("sky_basis",),
    parameters=SkyParameters,
    tables=(TableRead("irdis.detector"), TableRead("irdis.filter", by="inst_filter")),
    axis="rows",
    passes=(Pass("look", look, compare), Pass("master", master, join)),
    close=close,
    cost=Cost(cpu_s=4.0, cpu_s_per_plane=0.4, memory_gb=0.8, bytes_out=20_000_000, bytes_out_per_plane=0),
)
