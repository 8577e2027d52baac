"""Runs a recipe in memory, shard by shard, as a worker would: for tests and for looking at kernels on real planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.processes import Subject
from archive_proc.recipes.recipe import (
    MAX_ROW_PLANES,
    SHARD_PLANES,
    STRIPE_ROWS,
    Arrays,
    Block,
    BlockOutput,
    Calibration,
    Halo,
    Pass,
    PlaneTable,
    Recipe,
    RecipeInputs,
    RecipeResult,
)
from archive_proc.storage.plane_figures import FIGURES, PLANE_COLUMNS

Pixels = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Ran:
    """What a run in memory gives."""

    products: Mapping[str, dict[str, NDArray[Any]]]
    """product type -> variable -> array, frame-axis arrays included."""
    result: RecipeResult

    def calibration(self, product_type: str, **changes: Any) -> Calibration:
        """One of the products, as the next recipe gets it."""
        given = Calibration(
            product_id=f"{product_type}-in-memory",
            product_type=product_type,
            arrays=self.products[product_type],
            attrs=self.result.products[product_type].attrs,
        )
        return replace(given, **changes)


def plane_table(frames: Sequence[RawFrame], unusable: Mapping[tuple[int, int], str] | None = None) -> PlaneTable:
    """All planes of the frames in order; `unusable` maps (file, plane) to a reason."""
    pairs = [(number, plane) for number, frame in enumerate(frames) for plane in range(frame.n_planes)]
    reasons = tuple((unusable or {}).get(pair, "") for pair in pairs)
    return PlaneTable(
        file=np.array([pair[0] for pair in pairs], np.int32),
        plane=np.array([pair[1] for pair in pairs], np.int32),
        usable=np.array([not reason for reason in reasons]),
        reason=reasons,
    )


def raw_inputs(
    recipe: Recipe,
    frames: Sequence[RawFrame],
    *,
    roles: Sequence[str] = (),
    calibrations: Mapping[str, Sequence[Calibration]] | None = None,
    unusable: Mapping[tuple[int, int], str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    levels: Sequence[int] = (),
) -> RecipeInputs:
    """Inputs of a recipe whose main input is raw frames in order of time."""
    return RecipeInputs(
        subject=Subject(recipe.subject_kind, "0" * 32, Arm.IRDIS),
        parameters=recipe.parameters(**recipe.fill(parameters or {})),
        frames=tuple(frames),
        frame_roles=tuple(roles) or ("CALIB",) * len(frames),
        planes=plane_table(frames, unusable),
        calibrations={role: tuple(given) for role, given in (calibrations or {}).items()},
        frame_levels=tuple(levels),
    )


def product_inputs(
    recipe: Recipe,
    main: Calibration,
    *,
    calibrations: Mapping[str, Sequence[Calibration]] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> RecipeInputs:
    """Inputs of a recipe whose main input is a product with a frame axis."""
    arrays = main.arrays
    n = len(arrays["time"])
    usable = arrays.get("usable", np.ones(n, bool))
    reason = arrays.get("reason", np.full(n, "", object))
    return RecipeInputs(
        subject=Subject(recipe.subject_kind, "0" * 32, Arm.IRDIS),
        parameters=recipe.parameters(**recipe.fill(parameters or {})),
        frames=(),
        frame_roles=(),
        planes=PlaneTable(
            np.zeros(n, np.int32), np.arange(n, dtype=np.int32), np.asarray(usable), tuple(str(one) for one in reason)
        ),
        calibrations={role: tuple(given) for role, given in (calibrations or {}).items()},
        main=replace(
            main, arrays={key: value for key, value in arrays.items() if key not in ("flux", "variance", "flags")}
        ),
    )


def run_in_memory(recipe: Recipe, inputs: RecipeInputs, pixels: Pixels) -> Ran:
    """Run all passes and close.

    `pixels`: arrays along the plane table; raw main input: {"raw": (n, ny, nx) float32}.
    """
    shared: Arrays = {}
    written: dict[str, dict[str, list[NDArray[Any]]]] = {}
    for index, one in enumerate(recipe.passes):
        last = index == len(recipe.passes) - 1
        outputs = [one.block(block, inputs, shared) for block in blocks(recipe, one, inputs, pixels)]
        shared = one.reduce([output.summary for output in outputs], inputs, shared)
        if last:
            _gather(outputs, written)
    result = recipe.close(inputs, shared)
    expect_known_figures(result)
    products = {
        product_type: {
            **{name: np.concatenate(parts) for name, parts in written.get(product_type, {}).items()},
            **{name: np.asarray(value) for name, value in content.arrays.items()},
        }
        for product_type, content in result.products.items()
    }
    assert set(products) == set(recipe.outputs)
    assert set(written) <= set(products)
    return Ran(products, result)


def expect_known_figures(result: RecipeResult) -> None:
    """Every figure that a recipe measures has a row in the table of limits, with its unit; each is given once."""
    qc = load_tables().qc
    for one in result.qc:
        row = qc.row(one.product_type, one.metric)
        assert row is not None, f"{one.product_type} {one.metric} has no row in qc_limits.toml"
        assert one.unit == row.unit, f"{one.product_type} {one.metric} in {one.unit}, qc_limits.toml says {row.unit}"
    assert len({(one.product_type, one.metric) for one in result.qc}) == len(result.qc)
    assert set(result.planes) <= {*PLANE_COLUMNS, *FIGURES}


def blocks(recipe: Recipe, one: Pass, inputs: RecipeInputs, pixels: Pixels) -> list[Block]:
    """The blocks of one pass."""
    n = len(inputs.planes)
    if recipe.axis == "rows":
        chosen = np.unique(np.linspace(0, n - 1, min(n, MAX_ROW_PLANES)).round().astype(np.int32))
        ny = next(iter(pixels.values())).shape[1]
        return [
            Block(first, chosen, {key: value[chosen, first : first + STRIPE_ROWS] for key, value in pixels.items()})
            for first in range(0, ny, STRIPE_ROWS)
        ]
    found = []
    for first in range(0, n, SHARD_PLANES):
        planes = np.arange(first, min(n, first + SHARD_PLANES), dtype=np.int32)
        halo = halo_planes(one.halo, inputs, planes)
        found.append(
            Block(
                first,
                planes,
                {key: value[planes] for key, value in pixels.items()},
                halo,
                {key: value[halo] for key, value in pixels.items()} if halo.size else {},
            )
        )
    return found


def halo_planes(halo: Halo, inputs: RecipeInputs, planes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Up to `n` planes on each side of each plane that share file or dither with it, the block's own excluded."""
    if not halo.n:
        return np.empty(0, np.int32)
    table = inputs.planes

    def key(plane: int) -> tuple[float, ...]:
        frame = inputs.frames[int(table.file[plane])] if inputs.frames else None
        if halo.within == "any" or frame is None:
            return ()
        if halo.within == "file":
            return (float(table.file[plane]),)
        return (round(frame.dith_x or 0.0, 2), round(frame.dith_y or 0.0, 2))

    wanted: set[int] = set()
    for plane in planes:
        same = [other for other in range(len(table)) if key(other) == key(int(plane))]
        where = same.index(int(plane))
        wanted.update(same[max(0, where - halo.n) : where + halo.n + 1])
    return np.array(sorted(wanted - {int(plane) for plane in planes}), np.int32)


def _gather(outputs: Sequence[BlockOutput], written: dict[str, dict[str, list[NDArray[Any]]]]) -> None:
    for output in outputs:
        for product_type, arrays in output.planes.items():
            for name, value in arrays.items():
                written.setdefault(product_type, {}).setdefault(name, []).append(value)
