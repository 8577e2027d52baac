"""Stand-in recipes that take the time they are told to: what is left of a run's cost is the engine's.

They bear the names of the recipes whose measured cost they have. No verb can select this cookbook: nothing made by it
is ever a product of an archive (`BENCH_ONLY`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive_proc.model.frames import RawFrame
from archive_proc.model.processes import QcValue
from archive_proc.recipes import cookbook
from archive_proc.recipes.recipe import (
    Arrays,
    Block,
    BlockOutput,
    InputRole,
    Pass,
    ProductContent,
    RawMain,
    Recipe,
    RecipeInputs,
    RecipeResult,
)

BENCH_ONLY = True
MODULE = __name__
PRODUCT = "stand_in"
VERSION = "0.0.1"


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a stand-in does."""

    seconds: float = 0.0
    """Wall time of the whole process, slept."""
    values: int = 16
    """float32 values of its product."""
    number: int = 0
    """Tells those apart that are alike in everything else."""


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    dims: tuple[str, ...]
    dtype: str
    units: str = "adu"
    long_name: str = "stand-in"
    by_block: bool = False
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    significant_bits: int | None = None
    ancillary: str | None = None
    coordinate: bool = True


@dataclass(frozen=True, slots=True)
class _Product:
    variables: tuple[_Variable, ...]


def product_types() -> Mapping[str, _Product]:
    """The one product type of all stand-ins."""
    return {PRODUCT: _Product((_Variable("level", ("value",), "float32"),))}


class _Blank:
    """A raw file of nothing: no pixels are on disk."""

    def read_into(self, planes: Sequence[int], into: NDArray[np.float32]) -> None:
        """Zeros."""
        into[:] = 0.0

    def close(self) -> None:
        """Nothing is open."""


def open_raw(path: Path, frame: RawFrame) -> _Blank:
    """Opens nothing."""
    return _Blank()


def _spend(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    time.sleep(inputs.parameters.seconds * len(block.planes) / max(1, len(inputs.planes)))
    return BlockOutput({"n": np.array(len(block.planes))})


def _keep(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    return {"n": np.array(sum(int(one["n"]) for one in summaries))}


def _close(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    n = float(shared["n"])
    level = np.full(inputs.parameters.values, n, np.float32)
    return RecipeResult({PRODUCT: ProductContent({"level": level})}, qc=(QcValue(PRODUCT, "planes", n, "1"),))


def _stand_in(real: Recipe) -> Recipe:
    return replace(
        real,
        version=VERSION,
        main=RawMain(),
        inputs=(InputRole("calibration", (PRODUCT,)),),
        outputs=(PRODUCT,),
        parameters=Parameters,
        tables=(),
        axis="planes",
        sizes=None,
        passes=(Pass("spend", _spend, _keep),),
        close=_close,
    )


COOKBOOK: tuple[Recipe, ...] = tuple(_stand_in(one) for one in cookbook.COOKBOOK)


@cache
def _by_name() -> Mapping[str, Recipe]:
    return {one.name: one for one in COOKBOOK}


def recipe(name: str) -> Recipe:
    """The stand-in of this name."""
    return _by_name()[name]
