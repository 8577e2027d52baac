"""Wavelength solution and PSFlets from a laser frame: one model of all lenslets and lasers (notes/ifs 6.3, 6.4).

Spots are never searched for one by one. The lattice is known from the white lamp; the lasers count themselves in cells
folded over hundreds of lenslets; then PSFlets, places and brightness of all spots are fitted to the whole frame at
once. What comes out is tried on the frame itself, extracted as science would be, before anyone may use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.combine import combine_planes
from archive_proc.kernels.dispersion import exact_law, field_terms, fit_field, laser_positions, lenslet_offsets
from archive_proc.kernels.laser_pattern import LaserPattern, find_lasers
from archive_proc.kernels.lenslets import ADJACENT, FieldStop, Lenslets, all_lenslets
from archive_proc.kernels.psflet_equations import Spots
from archive_proc.kernels.psflet_fit import SpotFit, fit_laser_frame
from archive_proc.kernels.scattered import take_scattered_off
from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.detector import join_stripes, no_planes, usable_rows
from archive_proc.recipes.ifs.layout import Layout, layout_of
from archive_proc.recipes.ifs.line_check import LineCheck, check_lines
from archive_proc.recipes.ifs.planes import (
    BAD_PIXELS,
    COLOURED_FLATS,
    DARK,
    FLAT,
    detector_masters,
    electrons,
    good,
    noise_variance,
)
from archive_proc.recipes.ifs.positions import KnownPositions, read_positions
from archive_proc.recipes.ifs.solutions import Solution, psflets_content, solution_content
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import (
    Array,
    Arrays,
    Block,
    BlockOutput,
    Cost,
    InputRole,
    Pass,
    RawMain,
    Recipe,
    RecipeInputs,
    RecipeResult,
    TableRead,
)

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

SOLUTION, PSFLETS = "ifs_wavelength_solution", "ifs_psflets"
RING = 1.0
"""Pitches beyond the field stop where lenslets may still send light: the stop's edge is not sharp."""
REACH_PX = 8.0
"""Spots so far outside the detector still send light onto it."""
MARGIN_PX = 4.0
"""Between the detector's edge and the spectrum of a lenslet that is published."""
_FIRST_BRIGHTNESS = 1e5
"""Electrons of a spot to begin with."""


@dataclass(frozen=True, slots=True)
class WaveParameters:
    """What a solution must be like."""

    least_throughput: float = 0.1
    """Of a lenslet in the ring beyond the stop that counts as lit."""
    clip: float = 5.0
    """Robust deviations at which a spot's place no longer counts as used."""
    accept_refused: bool = False
    """Make the solution though its figures are beyond the limits that refuse it (`qc_limits`)."""


def laser_stripe(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """Mean of the usable planes of a stripe, (rows, nx) ADU, how many they are, and which pixels are saturated.

    Raises DataFailure AP-IRD-003 without a usable plane.
    """
    chosen = usable_rows(block, inputs)
    if not chosen.size:
        raise no_planes(inputs.subject.subject_id)
    planes = np.asarray(block.pixels["raw"], np.float32)[chosen]
    full = (planes > load_tables().ifs.detector.saturation_adu).any(axis=0)
    n = np.array([chosen.size] if block.first == 0 else [], np.int64)
    return BlockOutput({"level": combine_planes(planes).mean, "full": np.asarray(full), "planes": n})


def close_wave(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The products `ifs_wavelength_solution` and `ifs_psflets`.

    Raises DataFailure with all figures: AP-IFS-030 (IFS_NO_LASER), AP-IFS-032 (IFS_LASER_PATTERN), AP-IFS-033
    (IFS_LABELS_DOUBTFUL), AP-IFS-034 (IFS_SPOTS_MISSING), AP-IFS-035 (IFS_WAVE_POOR), AP-IFS-036 (IFS_DISPERSION),
    AP-IFS-038 (IFS_PSF_POOR), AP-IFS-040 (IFS_LINES_OFF); and as `detector_masters`.
    """
    parameters: WaveParameters = inputs.parameters
    frame = inputs.frames[0]
    layout = layout_of(frame)
    masters = detector_masters(inputs, 0)
    usable = good(masters) & ~shared["full"]
    light = electrons(shared["level"], masters)
    noise = noise_variance(masters) / np.float32(shared["planes"][0])
    known = read_positions(inputs.calibrations["specpos"][0])
    judge = _Judge(Figures(inputs), frame.file_id, accept=parameters.accept_refused)
    pattern = find_lasers(light, usable, known.phases, layout.laser_offsets)
    missing = _judge_lasers(judge, pattern, layout, frame.lamp)
    spots, lonely = _first_spots(pattern, known, layout, light.shape)
    fit = fit_laser_frame(light, usable, noise, spots, lonely)
    solution, fit = _solution(fit, pattern, layout, light.shape, parameters)
    _judge_fit(judge, fit, solution, pattern, layout, parameters)
    take_scattered_off(light, fit.scattered, usable)
    lines = check_lines(light, usable, noise, solution, fit.model, fit.spots, layout.edges)
    _judge_lines(judge, lines)
    attrs = {
        "inst_filter": frame.ifs_comb,
        "lasers": [layout.lasers[one].name for one in pattern.lasers],
        "lasers_missing": list(missing),
        "planes": int(shared["planes"][0]),
        "mjd_obs": frame.mjd_obs,
    }
    return RecipeResult(
        {
            SOLUTION: solution_content(solution, _measured(fit, lines), attrs),
            PSFLETS: psflets_content(fit.model, {**attrs, "scattered": round(fit.scattered, 6)}),
        },
        judge.figures.values,
        _remarks(missing, pattern),
    )


@dataclass(frozen=True, slots=True)
class _Judge:
    """Figures of one frame, and the refusals they call for."""

    figures: Figures
    subject: str
    accept: bool

    def expect(self, code: str, name: str, remedy: str, *, accept: bool | None = None) -> None:
        """Go on, or raise DataFailure `code` for what was added and is beyond a limit that decides."""
        self.figures.expect_none_refused(
            code, self.subject, remedy, name=name, accept=self.accept if accept is None else accept
        )


def _judge_lasers(judge: _Judge, pattern: LaserPattern, layout: Layout, lamp: str | None) -> tuple[str, ...]:
    """Names of the mode's lasers that do not burn."""
    claimed = load_tables().ifs.lasers_on(layout.mode, lamp)
    burning = {layout.lasers[one].name for one in pattern.lasers}
    missing = tuple(one.name for one in layout.lasers if one.name not in burning)
    judge.figures.add(SOLUTION, "lasers_found", len(pattern.lasers))
    judge.figures.add(SOLUTION, "lasers_missing", len(missing))
    judge.figures.add(SOLUTION, "lasers_unlike_header", len(burning ^ {one.name for one in claimed}))
    judge.expect("AP-IFS-030", "IFS_NO_LASER", "quarantine the file: no laser's spots are in its cells", accept=False)
    judge.figures.add(SOLUTION, "pattern_rms", pattern.rms, "pixel")
    judge.expect("AP-IFS-032", "IFS_LASER_PATTERN", "look at the frame: its spots are not those of the mode's lasers")
    judge.figures.add(SOLUTION, "white_distance", pattern.away, "pixel")
    judge.expect(
        "AP-IFS-033",
        "IFS_LABELS_DOUBTFUL",
        "take spectra positions of the same epoch: the lasers do not stand where the white light puts them",
    )
    return missing


def _first_spots(
    pattern: LaserPattern, known: KnownPositions, layout: Layout, shape: tuple[int, ...]
) -> tuple[Spots, Mask]:
    """Spots to begin the fit with, of all lenslets that may send light, and which of them stand at the stop's edge."""
    q, r = known.numbers_of(pattern.tiles).T.astype(np.int32)
    x, y = layout.stop.places(q, r)
    firsts = np.array([one.first for one in pattern.tiles]).T
    coefficients = np.array([fit_field(x, y, firsts[axis])[0] for axis in (0, 1)])
    stop = layout.stop
    ring = FieldStop(stop.x_low - RING, stop.x_high + RING, stop.y_low - RING, stop.y_high + RING, stop.offset)
    lenslets = all_lenslets(ring)
    first = (field_terms(lenslets.x, lenslets.y) @ coefficients.T).T
    offsets = layout.laser_offsets[list(pattern.lasers)]
    places = first[:, :, None] + offsets.T[:, None, :]
    size = np.array([shape[1], shape[0]], np.float64)[:, None, None]
    near = ((places > -REACH_PX) & (places < size - 1 + REACH_PX)).all(axis=0).any(axis=1)
    inside = stop.inside(lenslets.q, lenslets.r)
    beside = lenslets.steps(ADJACENT)
    lonely = ~inside | (beside < 0).any(axis=1) | ~inside[beside].all(axis=1)
    lenslets = lenslets.choose(near)
    wavelengths = layout.laser_um[list(pattern.lasers)]
    amplitude = np.full((len(lenslets), len(wavelengths)), _FIRST_BRIGHTNESS)
    return Spots(lenslets.x, lenslets.y, wavelengths, places[:, near], amplitude), lonely[near]


def _solution(
    fit: SpotFit, pattern: LaserPattern, layout: Layout, shape: tuple[int, ...], parameters: WaveParameters
) -> tuple[Solution, SpotFit]:
    """The solution, and the fit of the lenslets that it has: lit ones."""
    spots = fit.spots
    r = np.rint(spots.y / np.sqrt(0.75)).astype(np.int32)
    q = np.rint(spots.x - r / 2.0 - layout.stop.offset).astype(np.int32)
    inside = layout.stop.inside(q, r)
    lit = inside | (fit.throughput > parameters.least_throughput)
    terms = field_terms(spots.x, spots.y)
    own = np.array([np.linalg.lstsq(terms, spots.places[axis], rcond=None)[0] for axis in (0, 1)])
    law = exact_law(laser_positions(own, pattern.lasers, layout.laser_offsets), layout.laser_um)
    lenslets = Lenslets(q[lit], r[lit], spots.x[lit], spots.y[lit])
    ends = np.array(load_tables().ifs.modes[layout.mode].wavelength_um)
    places = law.positions(lenslets.x, lenslets.y, ends)
    size = np.array([shape[1], shape[0]], np.float64)[:, None, None]
    whole = ((places > MARGIN_PX) & (places < size - 1 - MARGIN_PX)).all(axis=(0, 2))
    offset = lenslet_offsets(fit.measured[:, lit] - spots.places[:, lit])
    solution = Solution(layout.mode, law, lenslets, whole & inside[lit], fit.throughput[lit], offset)
    few = Spots(spots.x[lit], spots.y[lit], spots.wavelengths, spots.places[:, lit], spots.amplitude[lit])
    return solution, replace(fit, spots=few, measured=fit.measured[:, lit], throughput=fit.throughput[lit])


def _judge_fit(
    judge: _Judge,
    fit: SpotFit,
    solution: Solution,
    pattern: LaserPattern,
    layout: Layout,
    parameters: WaveParameters,
) -> None:
    figures = judge.figures
    figures.add(SOLUTION, "spots_used", _used(fit, solution.complete, parameters.clip))
    judge.expect("AP-IFS-034", "IFS_SPOTS_MISSING", "look at the frame: parts of its field show no spots")
    figures.add(SOLUTION, "residual_x", float(fit.residual_rms[0].max()), "pixel")
    figures.add(SOLUTION, "residual_y", float(fit.residual_rms[1].max()), "pixel")
    judge.expect("AP-IFS-035", "IFS_WAVE_POOR", "look at the frame: its spots do not follow one smooth map")
    whole = solution.complete
    # Both axes together: the solution always has offsets, if only zeros.
    own = np.zeros(1) if solution.offset is None else solution.offset[:, whole]
    figures.add(SOLUTION, "lenslet_offset", float(np.sqrt(np.mean(own**2))), "pixel")
    middle = solution.dispersion.positions(
        solution.lenslets.x[whole], solution.lenslets.y[whole], layout.laser_um
    ).mean(axis=1)
    figures.add(SOLUTION, "dispersion_deviation", _dispersion_deviation(middle, pattern, layout))
    judge.expect("AP-IFS-036", "IFS_DISPERSION", "correct the prism of the file: its lasers stand elsewhere")
    zero = np.zeros(1)
    at = solution.dispersion.positions(zero + layout.stop.offset, zero, layout.laser_um[:1])[:, 0, 0]
    for name, axis in (("shift_x", 0), ("shift_y", 1)):
        figures.add(SOLUTION, name, float(at[axis] - layout.first_laser[axis]), "pixel")
    figures.add(PSFLETS, "bright_residual", fit.bright_residual)
    figures.add(PSFLETS, "chi", fit.chi)
    figures.add(PSFLETS, "noise_area", _noise_area(fit), "pixel")
    figures.add(PSFLETS, "scattered_share", fit.scattered)
    judge.expect("AP-IFS-038", "IFS_PSF_POOR", "look at the frame: its spots are not alike")


def _used(fit: SpotFit, complete: Mask, clip: float) -> float:
    """Of complete lenslets: the least share, over lasers, of spots that the smooth map is made of."""
    away = (fit.measured - fit.spots.places)[:, complete]
    limits = clip * np.maximum(fit.residual_rms, 1e-3)[:, None, :]
    with np.errstate(invalid="ignore"):
        kept = (np.abs(away) < limits).all(axis=0)
    return float(kept.mean(axis=0).min()) if kept.size else 0.0


def _dispersion_deviation(middle: Float64, pattern: LaserPattern, layout: Layout) -> float:
    """Largest relative deviation of the lasers' distances along the dispersion from the table's; NaN with one laser."""
    found = middle[1, list(pattern.lasers)]
    nominal = layout.laser_offsets[list(pattern.lasers), 1]
    if len(found) < 2:
        return float("nan")
    return float(np.max(np.abs(np.diff(found) / np.diff(nominal) - 1.0)))


def _noise_area(fit: SpotFit) -> float:
    """Median over the lasers of the mean PSFlet's noise-equivalent area, px^2."""
    from archive_proc.kernels.psflets import WINDOW, stamp

    zero = np.zeros(1)
    areas = []
    for one in fit.spots.wavelengths:
        shape = np.empty((WINDOW, WINDOW), np.float32)
        stamp(fit.model.coefficients(zero, zero, float(one))[0], 100.0, 100.0, shape)
        areas.append(float(shape.sum() ** 2 / np.sum(shape**2)))
    return float(np.median(areas))


def _judge_lines(judge: _Judge, lines: LineCheck) -> None:
    judge.figures.add(SOLUTION, "line_offset", lines.offset, "nm")
    judge.figures.add(SOLUTION, "line_displacement", lines.displacement, "nm")
    judge.figures.add(SOLUTION, "line_scatter", lines.scatter, "nm")
    judge.figures.add(SOLUTION, "line_missing", lines.missing)
    judge.expect(
        "AP-IFS-040",
        "IFS_LINES_OFF",
        "look at the frame: extracted as science, its lines do not stand at their wavelengths",
    )


def _measured(fit: SpotFit, lines: LineCheck) -> Mapping[str, Array]:
    return {
        "laser": fit.spots.wavelengths,
        "spot_x": fit.measured[0],
        "spot_y": fit.measured[1],
        "residual": fit.residual_rms,
        "line_offset": lines.offset_nm,
        "checked_lenslet": lines.checked,
    }


def _remarks(missing: tuple[str, ...], pattern: LaserPattern) -> tuple[Remark, ...]:
    if not missing:
        return ()
    how = "an offset only" if len(pattern.lasers) == 1 else "offset and scale"
    return (Remark("AP-IFS-031", f"IFS_LASER_MISSING: {', '.join(missing)}; the prism's law with {how} stands in"),)


IFS_WAVE = Recipe(
    name="ifs_wave",
    version="1.4.3",
    arm=Arm.IFS,
    subject_kind="group",
    main=RawMain(frame_types=("IFS_WAVECALIB_RAW",)),
    inputs=(DARK, FLAT, BAD_PIXELS, *COLOURED_FLATS, InputRole("specpos", ("ifs_spectra_positions",))),
    outputs=(SOLUTION, PSFLETS),
    parameters=WaveParameters,
    tables=(
        TableRead("ifs.detector"),
        TableRead("ifs.lenslets"),
        TableRead("ifs.geometry", by="ifs_comb"),
        TableRead("ifs.lasers"),
        TableRead("ifs.channels", by="ifs_comb"),
        TableRead(f"qc.{SOLUTION}"),
        TableRead(f"qc.{PSFLETS}"),
    ),
    axis="rows",
    passes=(Pass("mean", laser_stripe, join_stripes),),
    close=close_wave,
    cost=Cost(cpu_s=45.0, cpu_s_per_plane=0.3, memory_gb=1.3, bytes_out=6_000_000, bytes_out_per_plane=0),
)
