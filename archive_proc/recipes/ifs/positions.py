"""Where each lenslet's spectrum lies, from one white-lamp frame: spectra positions, else the lenslet flat.

Nothing is detected: the lattice's phase in overlapping tiles, whole steps between tiles, labels counted against the
field stop (notes/ifs 6.2). The white light's lattice point stands a nominal step from the first laser's spot; the
product speaks of that spot, right to some tenths of a pixel, and the wavelength recipe measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.combine import combine_planes
from archive_proc.kernels.dispersion import FIELD_SCALE, field_terms
from archive_proc.kernels.lattice import TilePhase, pitch_and_angle, tile_phases
from archive_proc.kernels.lenslets import Lenslets, all_lenslets
from archive_proc.kernels.spectra_positions import (
    SpectraPositions,
    Tile,
    locate_spectra,
    relative_light,
    trace_evenness,
    trace_light,
    white_tiles,
)
from archive_proc.model.frames import Arm
from archive_proc.recipes.detector import join_stripes, no_planes, usable_rows
from archive_proc.recipes.ifs.layout import Layout, layout_of
from archive_proc.recipes.ifs.planes import (
    BAD_PIXELS,
    DARK,
    FLAT,
    detector_masters,
    electrons,
    good,
)
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import (
    Array,
    Arrays,
    Block,
    BlockOutput,
    Calibration,
    Cost,
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
Mask = NDArray[np.bool_]

PRODUCT = "ifs_spectra_positions"
REACH_PX = (8.0, 45.0)
"""Lenslets whose first laser falls this far beside, or below, the detector still send light onto it."""


@dataclass(frozen=True, slots=True)
class PositionsParameters:
    """How the lattice is looked for."""

    clip_percentile: float = 99.5
    """Brighter pixels count as this one: hot pixels must not make waves."""
    least_quality: float = 8.0
    """Of a tile's weaker wave over the noise beside it; noise alone gives 1 to 3."""
    clear_margin: float = 35.0
    """Nodes: half of those that one step along a row mislabels. With fewer the nominal place must say the same."""


def white_stripe(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """Mean of the usable planes of a stripe, (rows, nx) ADU, and how many pixels are saturated in any of them.

    Raises DataFailure AP-IRD-003 without a usable plane.
    """
    chosen = usable_rows(block, inputs)
    if not chosen.size:
        raise no_planes(inputs.subject.subject_id)
    planes = np.asarray(block.pixels["raw"], np.float32)[chosen]
    full = (planes > load_tables().ifs.detector.saturation_adu).any(axis=0)
    return BlockOutput({"level": combine_planes(planes).mean, "full": np.array([int(full.sum())], np.int64)})


@dataclass(frozen=True, slots=True)
class WhiteLattice:
    """What one white-lamp frame says about the lattice."""

    tiles: tuple[Tile, ...]
    """Those that show it."""
    looked_at: int
    """Tiles in all."""
    found: SpectraPositions | None
    """None with too few tiles for a map."""


def white_lattice(white: Float32, usable: Mask, layout: Layout, parameters: PositionsParameters) -> WhiteLattice:
    """The labelled lattice of a white-lamp frame (ny, nx), any unit, background off; `usable` pixels count."""
    middle = np.float32(np.median(white[usable])) if usable.any() else np.float32(0.0)
    filled = np.where(usable, white, middle).astype(np.float32)
    filled = np.clip(filled, 0.0, float(np.percentile(filled, parameters.clip_percentile))).astype(np.float32)
    phases = tile_phases(filled, layout.lattice)
    seen = [one for one in phases if one.quality >= parameters.least_quality]
    tiles = white_tiles(seen, layout.white_to_first)
    if len(tiles) < len(phases) // 2:
        return WhiteLattice(tiles, len(phases), None)
    found = locate_spectra(tiles, white, usable, layout.first_laser, layout.stop)
    return WhiteLattice(tiles, len(phases), found)


def close_positions(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The product `ifs_spectra_positions`.

    Raises DataFailure with all figures: AP-IFS-011 (IFS_LAMP_FAINT), AP-IFS-012 (IFS_LAMP_SATURATED), AP-IFS-013
    (IFS_GRID_NOT_FOUND), AP-IFS-015 (IFS_TILES_DISAGREE), AP-IFS-016 (IFS_NOT_WHITE), AP-IFS-014
    (IFS_INDEX_AMBIGUOUS); and as `detector_masters`.
    """
    frame = inputs.frames[0]
    layout = layout_of(frame)
    masters = detector_masters(inputs, 0)
    usable = good(masters)
    white = electrons(shared["level"], masters) / np.float32(masters.gain)
    figures = Figures(inputs)
    _judge_exposure(figures, white, usable, float(shared["full"].sum()) / white.size, frame.file_id)
    lattice = white_lattice(white, usable, layout, inputs.parameters)
    found = _judge_lattice(figures, lattice, layout, frame.file_id)
    lenslets = _on_detector(found, layout, white.shape)
    x, y = found.places(lenslets)
    whole = _whole_traces(x, y, white.shape)
    figures.add(PRODUCT, "trace_evenness", trace_evenness(white, usable, x[whole], y[whole]))
    figures.expect_none_refused(
        "AP-IFS-016", frame.file_id, "quarantine the file: its light is not white", name="IFS_NOT_WHITE"
    )
    _judge_labels(figures, found, layout, inputs.parameters.clear_margin, frame.file_id)
    arrays: dict[str, Array] = {
        "coefficients": found.coefficients,
        "hex_q": lenslets.q,
        "hex_r": lenslets.r,
        "lenslet_x": lenslets.x,
        "lenslet_y": lenslets.y,
        "light": _light(white, usable, x, y, whole),
        "tile_center": np.array([one.phase.center for one in lattice.tiles], np.float64),
        "tile_basis": np.array([one.phase.basis for one in lattice.tiles], np.float64),
        "tile_origin": np.array([one.first for one in lattice.tiles], np.float64),
        "tile_number": found.numbers.astype(np.int32),
        "tile_quality": np.array([one.phase.quality for one in lattice.tiles], np.float64),
    }
    attrs = {
        "mode": layout.mode,
        "inst_filter": frame.ifs_comb,
        "field_scale_pitches": FIELD_SCALE,
        "white_to_first_px": list(layout.white_to_first),
        "index_step": list(found.labels.step),
        "index_margin": round(found.labels.margin, 2),
    }
    return RecipeResult({PRODUCT: ProductContent(arrays, attrs)}, figures.values)


def _judge_exposure(figures: Figures, white: Float32, usable: Mask, full: float, subject: str) -> None:
    ridge = float(np.percentile(white[usable], 95.0)) if usable.any() else float("nan")
    figures.add(PRODUCT, "ridge_level", ridge, "adu")
    figures.expect_none_refused(
        "AP-IFS-011", subject, "quarantine the file: the lamp was off or too faint", name="IFS_LAMP_FAINT"
    )
    figures.add(PRODUCT, "saturated_fraction", full)
    figures.expect_none_refused(
        "AP-IFS-012", subject, "quarantine the file: the lamp was too bright for the DIT", name="IFS_LAMP_SATURATED"
    )


def _judge_lattice(figures: Figures, lattice: WhiteLattice, layout: Layout, subject: str) -> SpectraPositions:
    figures.add(PRODUCT, "tiles_found", len(lattice.tiles) / lattice.looked_at)
    if lattice.tiles:
        pitch, angle = np.median([pitch_and_angle(one.phase.basis) for one in lattice.tiles], axis=0)
        expected = pitch_and_angle(layout.lattice)
        figures.add(PRODUCT, "pitch_deviation", abs(float(pitch) / expected[0] - 1.0))
        figures.add(PRODUCT, "angle_deviation", abs(float(angle) - expected[1]), "degree")
    figures.expect_none_refused(
        "AP-IFS-013",
        subject,
        "look at the frame: it does not show the lenslets' spectra where they belong; quarantine it",
        name="IFS_GRID_NOT_FOUND",
    )
    found = lattice.found
    # Fewer tiles than `locate_spectra` needs are refused above, whatever the table says.
    assert found is not None
    figures.add(PRODUCT, "tiles_agreeing", found.agreeing)
    figures.add(PRODUCT, "tile_residual", found.residual, "pixel")
    figures.expect_none_refused(
        "AP-IFS-015",
        subject,
        "look at the frame: parts of it are displaced against each other; quarantine it",
        name="IFS_TILES_DISAGREE",
    )
    return found


def _judge_labels(figures: Figures, found: SpectraPositions, layout: Layout, clear_margin: float, subject: str) -> None:
    nominal = np.array(layout.first_laser)
    middle = found.places(_lenslet_zero(layout))[:, 0]
    figures.add(PRODUCT, "grid_move", float(np.hypot(*(middle - nominal))), "pixel")
    figures.add(PRODUCT, "index_margin", found.labels.margin)
    figures.add(PRODUCT, "index_agreement", found.labels.agreement)
    figures.add(PRODUCT, "index_step", _doubtful_step(found, clear_margin))
    figures.expect_none_refused(
        "AP-IFS-014",
        subject,
        "look at the frame: its lit lenslets do not show the field stop's edges; quarantine it",
        name="IFS_INDEX_AMBIGUOUS",
    )


def _lenslet_zero(layout: Layout) -> Lenslets:
    zero = np.zeros(1, np.int32)
    return Lenslets(zero, zero, *layout.stop.places(zero, zero))


def _doubtful_step(found: SpectraPositions, clear_margin: float) -> float:
    """Steps between the counted labels and those of the nominal place, 0 where the count is beyond doubt.

    A count of half a row or less decides nothing by itself; it stands where the nominal place says the same, which is
    safe while the grid moves by much less than half a pitch.
    """
    dq, dr = found.labels.step
    return float(max(abs(dq), abs(dr), abs(dq + dr))) if found.labels.margin < clear_margin else 0.0


def _on_detector(found: SpectraPositions, layout: Layout, shape: tuple[int, ...]) -> Lenslets:
    """Lenslets inside the stop that send light onto the detector."""
    lenslets = all_lenslets(layout.stop)
    x, y = found.places(lenslets)
    beside, below = REACH_PX
    return lenslets.choose((x > -beside) & (x < shape[1] + beside) & (y > -below) & (y < shape[0] + beside))


def _whole_traces(x: Float64, y: Float64, shape: tuple[int, ...]) -> Mask:
    """(n,) nodes whose trace, a few pixels beside and 32 above the first laser, is on the detector."""
    return np.asarray((x > 3.0) & (x < shape[1] - 4.0) & (y > 2.0) & (y < shape[0] - 33.0))


def _light(white: Float32, usable: Mask, x: Float64, y: Float64, whole: Mask) -> Float32:
    """(n,) light on each trace over that of its surroundings; NaN where the trace leaves the detector."""
    light = np.full(x.shape, np.nan, np.float32)
    traced = trace_light(white, usable, x[whole], y[whole])
    light[whole] = relative_light(traced, x[whole], y[whole])
    return light


IFS_SPECTRA_POSITIONS = Recipe(
    name="ifs_spectra_positions",
    version="1.1.0",
    arm=Arm.IFS,
    subject_kind="group",
    main=RawMain(frame_types=("IFS_SPECPOS_RAW", "IFS_FLAT_RAW")),
    inputs=(DARK, FLAT, BAD_PIXELS),
    outputs=(PRODUCT,),
    parameters=PositionsParameters,
    tables=(
        TableRead("ifs.detector"),
        TableRead("ifs.lenslets"),
        TableRead("ifs.geometry", by="ifs_comb"),
        TableRead(f"qc.{PRODUCT}"),
    ),
    axis="rows",
    passes=(Pass("white", white_stripe, join_stripes),),
    close=close_positions,
    cost=Cost(cpu_s=6.0, cpu_s_per_plane=0.3, memory_gb=0.9, bytes_out=3_000_000, bytes_out_per_plane=0),
)


@dataclass(frozen=True, slots=True)
class KnownPositions:
    """Spectra positions as the wavelength recipe uses them."""

    mode: str
    phases: tuple[TilePhase, ...]
    """Lattice of each tile; the origin is where its lenslet's first laser is expected."""
    numbers: NDArray[np.int64]
    """(tiles, 2) q and r of the lenslet at each tile's origin."""
    coefficients: Float64
    """(2, field terms) map from lenslets to expected first-laser spots, px, right to some tenths of a pixel."""
    lenslets: Lenslets
    """Those that send light onto the detector."""
    light: Float32
    """(n,) of each over its surroundings; NaN where its trace leaves the detector."""

    def places(self, lenslets: Lenslets) -> Float64:
        """(2, n) x and y where the first laser of each lenslet is expected, px."""
        return np.asarray((field_terms(lenslets.x, lenslets.y) @ self.coefficients.T).T)

    def numbers_of(self, tiles: Sequence[Tile]) -> NDArray[np.int64]:
        """(tiles, 2) q and r of each tile's first-laser spot, for tiles of `phases` in the same order."""
        found = self.numbers.copy()
        for at, one in enumerate(tiles):
            away = np.asarray(one.first) - np.asarray(self.phases[at].origin)
            found[at] += np.rint(np.linalg.solve(self.phases[at].basis.T, away)).astype(np.int64)
        return found


def read_positions(calibration: Calibration) -> KnownPositions:
    """The positions of an `ifs_spectra_positions`."""
    arrays = calibration.arrays
    phases = tuple(
        TilePhase(
            (float(center[0]), float(center[1])),
            np.array(basis, np.float64),
            (float(origin[0]), float(origin[1])),
            float(quality),
        )
        for center, basis, origin, quality in zip(
            arrays["tile_center"], arrays["tile_basis"], arrays["tile_origin"], arrays["tile_quality"], strict=True
        )
    )
    lenslets = Lenslets(
        np.asarray(arrays["hex_q"], np.int32),
        np.asarray(arrays["hex_r"], np.int32),
        np.asarray(arrays["lenslet_x"], np.float64),
        np.asarray(arrays["lenslet_y"], np.float64),
    )
    return KnownPositions(
        mode=str(calibration.attrs["mode"]),
        phases=phases,
        numbers=np.asarray(arrays["tile_number"], np.int64),
        coefficients=np.asarray(arrays["coefficients"], np.float64),
        lenslets=lenslets,
        light=np.asarray(arrays["light"], np.float32),
    )
