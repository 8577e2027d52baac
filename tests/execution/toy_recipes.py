"""A stand-in cookbook whose truth is arithmetic: small recipes that behave, and some that do not.

`behave` decides: "" well; "data", "code", "memory" raise; "kill" ends its worker by SIGKILL, "crash" by SIGSEGV;
"flaky:PATH" fails like a lost disk until PATH has two lines; "eat:MB" holds so much
memory for a while; "slow:S" sleeps S seconds a block; "held:PATH" waits in every block until PATH is there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.model.frames import Arm
from archive_proc.model.processes import QcValue, Remark
from archive_proc.recipes.recipe import (
    Arrays,
    Block,
    BlockOutput,
    Cost,
    Halo,
    InputRole,
    Pass,
    ProductContent,
    ProductMain,
    RawMain,
    Recipe,
    RecipeInputs,
    RecipeResult,
)


@dataclass(frozen=True)
class Form:
    name: str
    dims: tuple[str, ...]
    dtype: str
    units: str = "adu"
    long_name: str = "toy"
    by_block: bool = False
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    significant_bits: int | None = None
    ancillary: str | None = None
    coordinate: bool = True


@dataclass(frozen=True)
class Product:
    variables: tuple[Form, ...]


CUBE = ("frame", "channel", "y", "x")
SHARDS = {"chunks": (4, 1, 16, 16), "shards": (16, 2, 32, 32)}


def product_types() -> Mapping[str, Product]:
    cube = Product(
        (
            Form("flux", CUBE, "float32", by_block=True, ancillary="variance flags", **SHARDS),
            Form("variance", CUBE, "float32", by_block=True, significant_bits=7, **SHARDS),
            Form("flags", CUBE, "uint16", by_block=True, **SHARDS),
            Form("file_id", ("frame",), "string"),
            Form("plane", ("frame",), "int32"),
            Form("usable", ("frame",), "bool"),
            Form("reason", ("frame",), "string"),
            Form("time", ("frame",), "float64", units="d"),
            Form("background_level", ("frame", "channel"), "float64"),
            Form("wavelength", ("channel",), "float64", units="um"),
        )
    )
    small = Product((Form("flux", CUBE, "float32", by_block=True, **SHARDS),))
    return {
        "toy_dark": Product((Form("level", ("y", "x"), "float32"), Form("scatter", ("y", "x"), "float32"))),
        "toy_cube": cube,
        "toy_centered": small,
    }


@dataclass(frozen=True)
class Parameters:
    behave: str = ""
    gain: float = 1.5
    apertures: tuple[float, ...] = (1.0, 2.0)


def misbehave(behave: str) -> None:
    word, _, rest = behave.partition(":")
    match word:
        case "data":
            raise DataFailure("AP-IRD-999", "nothing to see", subject="toy", qc=(("stars", 0.0, "1"),))
        case "code":
            raise ZeroDivisionError("a fault of the toy")
        case "memory":
            raise MemoryError("toy")
        case "warn":
            import warnings

            warnings.warn("the toy warns", RuntimeWarning, stacklevel=2)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "crash":
            ctypes.string_at(0)
        case "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        case "flaky":
            path = Path(rest)
            with path.open("a") as stream:
                stream.write("x\n")
            if len(path.read_text().splitlines()) < 3:
                raise OSError(errno.ESTALE, "Stale file handle")
        case "eat":
            held = np.ones(int(rest) * 125_000)
            time.sleep(3)
            del held
        case "slow":
            time.sleep(float(rest))
        case "held":
            until = time.monotonic() + 60.0
            while not Path(rest).exists() and time.monotonic() < until:
                time.sleep(0.02)


def mean_stripe(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    misbehave(inputs.parameters.behave)
    raw = block.pixels["raw"].astype(np.float64)
    return BlockOutput({"level": raw.mean(axis=0), "scatter": raw.std(axis=0)})


def stack(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    return {name: np.concatenate([one[name] for one in summaries]) for name in ("level", "scatter")}


def close_dark(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    arrays = {name: shared[name].astype(np.float32) for name in ("level", "scatter")}
    level = float(shared["level"].mean())
    return RecipeResult(
        {"toy_dark": ProductContent(arrays, {"level": level, "odd": float("nan")})},
        qc=(QcValue("toy_dark", "level", level, "adu"), QcValue("toy_dark", "nothing", float("nan"), "1")),
    )


def measure(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """Per plane: its mean, and the mean of it and its usable neighbours in the same file (the halo)."""
    misbehave(inputs.parameters.behave)
    own = dict(
        zip((int(one) for one in block.planes), block.pixels["raw"].astype(np.float64).mean((1, 2)), strict=True)
    )
    around = dict(own)
    if block.halo_planes.size:
        values = block.halo_pixels["raw"].astype(np.float64).mean((1, 2))
        around |= dict(zip((int(one) for one in block.halo_planes), values, strict=True))
    files, usable = inputs.planes.file, inputs.planes.usable
    smooth = [
        np.mean(
            [
                around[near]
                for near in (row - 1, row, row + 1)
                if near in around and files[near] == files[row] and (usable[near] or near == row)
            ]
        )
        for row in own
    ]
    return BlockOutput({"mean": np.array(list(own.values())), "smooth": np.array(smooth)})


def gather(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    joined = {name: np.concatenate([one[name] for one in summaries]) for name in ("mean", "smooth")}
    # A sum in an order that depends on blocks only: other chunks must not change one bit.
    total = 0.0
    for one in summaries:
        total += float(np.sum(one["mean"] / 3.0))
    return {**joined, "total": np.array(total), "words": np.array(["a", "bc"], dtype=np.dtypes.StringDType())}


def halves(raw: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.stack(np.split(raw, 2, axis=2), axis=1), dtype=np.float32)


def write(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    if inputs.parameters.behave.startswith(("slow", "held")):
        misbehave(inputs.parameters.behave)
    dark = inputs.only("dark")
    level = dark.arrays["level"] if dark is not None else np.float32(0)
    flux = halves((block.pixels["raw"] - level) * np.float32(inputs.parameters.gain))
    flux -= shared["smooth"][block.planes].astype(np.float32)[:, None, None, None]
    flags = np.zeros(flux.shape, np.uint16)
    flags[flux > 100] = 16
    return BlockOutput(
        {"level": flux.astype(np.float64).mean((2, 3))},
        {"toy_cube": {"flux": flux, "variance": np.abs(flux) + np.float32(1), "flags": flags}},
    )


def levels(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    return {**shared, "level": np.concatenate([one["level"] for one in summaries])}


def close_cube(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    table = inputs.planes
    arrays = {
        "file_id": np.array([inputs.frames[one].file_id for one in table.file], dtype=np.dtypes.StringDType()),
        "plane": table.plane,
        "usable": table.usable,
        "reason": np.array(table.reason, dtype=np.dtypes.StringDType()),
        "time": np.array([inputs.frames[one].mjd_obs for one in table.file]) + 1e-5 * table.plane,
        "background_level": shared["level"],
        "wavelength": np.array([1.6, 1.7]),
    }
    size = cube_sizes(inputs)["toy_cube"]
    attrs = {"total": shared["total"], "note": str(shared["words"][1]), "size": [size["y"], size["x"]]}
    content = ProductContent(arrays, attrs)
    return RecipeResult({"toy_cube": content}, remarks=(Remark("AP-IRD-998", "a toy remark"),))


def cube_sizes(inputs: RecipeInputs) -> Mapping[str, Mapping[str, int]]:
    frame = inputs.frames[0]
    return {"toy_cube": {"channel": 2, "y": frame.naxis2 or 0, "x": (frame.naxis1 or 0) // 2}}


def centre(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    assert inputs.main is not None
    flux = block.pixels["flux"] + inputs.main.arrays["wavelength"].astype(np.float32)[None, :, None, None]
    return BlockOutput({}, {"toy_centered": {"flux": flux}})


def keep(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    return {"n": np.array(len(inputs.planes))}


def close_centered(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    return RecipeResult({"toy_centered": ProductContent({}, {"n": int(shared["n"])})})


def centered_sizes(inputs: RecipeInputs) -> Mapping[str, Mapping[str, int]]:
    assert inputs.main is not None
    y, x = inputs.main.attrs["size"]
    return {"toy_centered": {"channel": 2, "y": y, "x": x}}


COST = Cost(0.1, 0.01, 0.1, 1000, 100)

RECIPES = {
    one.name: one
    for one in (
        Recipe(
            name="toy_dark",
            version="1.0.0",
            arm=Arm.IRDIS,
            subject_kind="group",
            main=RawMain(frame_types=("TOY_DARK",)),
            inputs=(),
            outputs=("toy_dark",),
            parameters=Parameters,
            tables=(),
            axis="rows",
            passes=(Pass("mean", mean_stripe, stack),),
            close=close_dark,
            cost=COST,
        ),
        Recipe(
            name="toy_cube",
            version="1.0.0",
            arm=Arm.IRDIS,
            subject_kind="observation",
            main=RawMain(roles=("SCIENCE",)),
            inputs=(InputRole("dark", ("toy_dark",)),),
            outputs=("toy_cube",),
            parameters=Parameters,
            tables=(),
            sizes=cube_sizes,
            passes=(Pass("measure", measure, gather, Halo(1, "file")), Pass("write", write, levels)),
            close=close_cube,
            cost=COST,
        ),
        Recipe(
            name="toy_centered",
            version="1.0.0",
            arm=Arm.IRDIS,
            subject_kind="observation",
            main=ProductMain("toy_cube"),
            inputs=(),
            outputs=("toy_centered",),
            parameters=Parameters,
            tables=(),
            sizes=centered_sizes,
            passes=(Pass("centre", centre, keep),),
            close=close_centered,
            cost=COST,
        ),
    )
}


def recipe(name: str) -> Recipe:
    return RECIPES[name]
