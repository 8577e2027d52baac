"""Stand-in recipes: the package's recipes with their inputs, outputs and costs, and cheap arithmetic inside.

Planning, reading, chunks, halos, passes, Zarr writing and sealing are the real ones; of a small night a whole run takes
two CPU seconds. Masters feed science: every product depends on the pixels of its main input and on every calibration.

    archive-proc --cookbook archive_proc.bench.stand_ins run

Some environment variables serve `bench faults`: `ARCHIVE_PROC_TALLY` names a file that gets a line for every block,
reduction and closing that is executed; `ARCHIVE_PROC_PAUSE_S` makes every block last longer; its pause ends, and there
is none any more, once a file stands that `ARCHIVE_PROC_PAUSE_UNTIL` names. Another lets chosen steps misbehave
(`poisons.py`).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench import kill_points, poisons, shifted_clock
from archive_proc.instruments.tables import load_tables
from archive_proc.model.processes import QcValue
from archive_proc.recipes import cookbook
from archive_proc.recipes.recipe import (
    Arrays,
    Block,
    BlockOutput,
    Cost,
    Halo,
    Pass,
    ProductContent,
    RawMain,
    Recipe,
    RecipeInputs,
    RecipeResult,
)

TALLY = "ARCHIVE_PROC_TALLY"
PAUSE = "ARCHIVE_PROC_PAUSE_S"
PAUSE_UNTIL = "ARCHIVE_PROC_PAUSE_UNTIL"
_LOOK_S = 0.05
VERSION = "0.0.1"
"""Of every stand-in: their processes are never taken for those of the recipes they stand in for."""
CHANNELS = 2
SMALL = 3
"""Size of every dimension that nothing else gives."""

# Any: arrays of several dtypes, as product_types.toml says.
Array = NDArray[Any]


def _tally(step: str, inputs: RecipeInputs, first: int) -> None:
    where = os.environ.get(TALLY)
    if where:
        # One write: lines of several processes do not mix.
        line = f"{step} {inputs.subject.subject_id} {first}\n".encode()
        descriptor = os.open(where, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, line)
        os.close(descriptor)
    poisons.misbehave(step, inputs.subject.subject_id)


def _pause() -> None:
    seconds = float(os.environ.get(PAUSE, "0"))
    until = os.environ.get(PAUSE_UNTIL)
    if not until:
        time.sleep(seconds)
        return
    over = time.monotonic() + seconds
    while time.monotonic() < over and not Path(until).exists():
        time.sleep(min(seconds, _LOOK_S))


def _pixels(pixels: Arrays) -> Array:
    """(n, ny, nx) float64: raw planes, or a product's two channels side by side."""
    if "raw" in pixels:
        return np.asarray(pixels["raw"], np.float64)
    flux = np.asarray(pixels["flux"], np.float64)
    return np.concatenate([flux[:, one] for one in range(flux.shape[1])], axis=2)


def _mixture(inputs: RecipeInputs) -> float:
    """One number that changes when any value of any calibration does."""
    total = 0.0
    for role in sorted(inputs.calibrations):
        for calibration in inputs.calibrations[role]:
            for name in sorted(calibration.arrays):
                array = calibration.arrays[name]
                if array.dtype.kind in "fiu" and array.size:
                    total += float(np.nansum(array.astype(np.float64))) / array.size
    return total


@dataclass(frozen=True, slots=True)
class _StandIn:
    """What one recipe does in place of its science."""

    real: Recipe

    def measure(self, block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
        """Mean of every plane, and of the halo planes."""
        _tally(f"{self.real.name}/measure", inputs, block.first)
        _pause()
        own = _pixels(block.pixels).mean(axis=(1, 2))
        around = _pixels(block.halo_pixels).mean(axis=(1, 2)) if block.halo_planes.size else np.zeros(0)
        return BlockOutput({"mean": own, "around": np.array(float(np.sum(around)))})

    def rows(self, block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
        """Mean and scatter over all planes, row by row."""
        _tally(f"{self.real.name}/rows", inputs, block.first)
        _pause()
        values = _pixels(block.pixels)
        return BlockOutput({"mean": values.mean(axis=0), "scatter": values.std(axis=0)})

    def join(self, summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
        """Summaries one after the other."""
        names = ("mean", "scatter") if self.real.axis == "rows" else ("mean",)
        joined = {name: np.concatenate([one[name] for one in summaries]) for name in names}
        around = sum(float(one["around"]) for one in summaries) if self.real.axis == "planes" else 0.0
        return {**joined, "mixture": np.array(_mixture(inputs) + around)}

    def write(self, block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
        """Frame-axis arrays of every product that has them."""
        _tally(f"{self.real.name}/write", inputs, block.first)
        _pause()
        level = shared["mean"][block.planes] + shared["mixture"]
        values = _pixels(block.pixels) - level[:, None, None]
        flux = np.stack(np.split(values, CHANNELS, axis=2), axis=1).astype(np.float32)
        given = {
            "flux": flux,
            "variance": np.abs(flux) + np.float32(1),
            "flags": (flux > 100).astype(np.uint16) * np.uint16(16),
        }
        made = {one: {name: given[name] for name in self.by_block(one)} for one in self.real.outputs}
        planes = {one: arrays for one, arrays in made.items() if arrays}
        return BlockOutput({"level": flux.astype(np.float64).mean(axis=(1, 2, 3))}, planes)

    def end(self, summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
        """What closing needs."""
        return {**shared, "level": np.concatenate([one["level"] for one in summaries])}

    def close(self, inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
        """Every array that blocks did not write, from what was measured."""
        _tally(f"{self.real.name}/close", inputs, 0)
        level = float(np.mean(shared["mean"])) + float(shared["mixture"])
        products = {
            one: ProductContent({name: self.whole(one, name, inputs, shared) for name in self.others(one)})
            for one in self.real.outputs
        }
        qc = tuple(QcValue(one, "stand_in_level", level, "adu") for one in self.real.outputs)
        return RecipeResult(products, qc=qc)

    def by_block(self, product_type: str) -> tuple[str, ...]:
        """Arrays that blocks write."""
        return tuple(one.name for one in load_tables().product_types[product_type].variables if one.by_block)

    def others(self, product_type: str) -> tuple[str, ...]:
        """Arrays that closing writes."""
        return tuple(one.name for one in load_tables().product_types[product_type].variables if not one.by_block)

    def whole(self, product_type: str, name: str, inputs: RecipeInputs, shared: Arrays) -> Array:
        """One array in the form of its product type."""
        variable = load_tables().product_types[product_type].variable(name)
        sizes = self._dims(inputs, shared)
        shape = tuple(sizes.get(dim, SMALL) for dim in variable.dims)
        if variable.dtype == "string":
            ids = [frame.file_id for frame in inputs.frames]
            words = np.array([ids[one] for one in inputs.planes.file] if ids else ["stand-in"] * len(inputs.planes))
            if name != "file_id":
                words = np.array(["stand-in"])
            flat = np.resize(words, shape)
            return flat.astype(np.dtypes.StringDType())
        if name == "plane":
            return inputs.planes.plane.astype(np.int32)
        if name == "usable":
            return inputs.planes.usable
        if variable.dtype in ("uint16", "bool", "int32"):
            return np.zeros(shape, variable.dtype)
        seed = np.asarray(shared["mean"], np.float64).ravel()
        offset = int(hashlib.sha256(f"{product_type}/{name}".encode()).hexdigest()[:4], 16) / 65536.0
        return (np.resize(seed, shape) + float(shared["mixture"]) + offset).astype(variable.dtype)

    def _dims(self, inputs: RecipeInputs, shared: Arrays) -> Mapping[str, int]:
        sizes = {"frame": len(inputs.planes), "channel": CHANNELS}
        if self.real.axis == "rows":
            height, width = np.asarray(shared["mean"]).shape
            return {**sizes, "y": int(height), "x": int(width)}
        height, width = _plane_size(inputs)
        return {**sizes, "y": height, "x": width // CHANNELS}

    def sizes(self, inputs: RecipeInputs) -> Mapping[str, Mapping[str, int]]:
        """Of frame-axis arrays."""
        height, width = _plane_size(inputs)
        one = {"channel": CHANNELS, "y": height, "x": width // CHANNELS}
        return {name: one for name in self.real.outputs if self.by_block(name)}


def _plane_size(inputs: RecipeInputs) -> tuple[int, int]:
    """(ny, nx) of a raw plane, or of a product's channels side by side."""
    if inputs.frames:
        return inputs.frames[0].naxis2 or 0, inputs.frames[0].naxis1 or 0
    assert inputs.main is not None
    common = inputs.main.arrays["variance_common"]
    return int(common.shape[1]), int(common.shape[2]) * CHANNELS


def stand_in(real: Recipe) -> Recipe:
    """A recipe of the same name, inputs and outputs whose work is arithmetic."""
    inside = _StandIn(real)
    blocks = any(inside.by_block(one) for one in real.outputs)
    if real.axis == "rows":
        passes: tuple[Pass, ...] = (Pass("rows", inside.rows, inside.join),)
    elif isinstance(real.main, RawMain):
        passes = (
            Pass("measure", inside.measure, inside.join, Halo(1, "file")),
            Pass("write", inside.write, inside.end),
        )
    else:
        passes = (Pass("measure", inside.measure, inside.join), Pass("write", inside.write, inside.end))
    return replace(
        real,
        version=VERSION,
        passes=passes,
        close=inside.close,
        sizes=inside.sizes if blocks else None,
        cost=Cost(0.1, 0.005, 0.2, 80_000, 12_000),
    )


COOKBOOK: tuple[Recipe, ...] = tuple(stand_in(one) for one in cookbook.COOKBOOK)


@cache
def _by_name() -> Mapping[str, Recipe]:
    return {one.name: one for one in COOKBOOK}


def recipe(name: str) -> Recipe:
    """The stand-in of this name. Raises MisuseError AP-PLN-030 naming the recipes there are."""
    return _by_name().get(name) or cookbook.recipe(name)


# Where `bench faults` asked this very process to die, to find its quota used up, or to have a clock that steps.
kill_points.arm_from_environment()
shifted_clock.shift_from_environment()
