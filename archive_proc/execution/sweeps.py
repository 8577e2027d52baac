"""One pass over the main input: which planes a block needs, its halo, and the call of the recipe's `block`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.execution.inputs import Prepared
from archive_proc.execution.planes import Stripes
from archive_proc.model.phases import Phase, PhaseClock
from archive_proc.recipes.recipe import (
    MAX_ROW_PLANES,
    SHARD_PLANES,
    STRIPE_ROWS,
    Array,
    Arrays,
    Block,
    BlockOutput,
    Halo,
    PlaneTable,
    RecipeInputs,
)
from archive_proc.storage.blocks import plain


def shards(n_planes: int) -> tuple[tuple[int, int], ...]:
    """(first, stop) of every block of planes."""
    return tuple((first, min(first + SHARD_PLANES, n_planes)) for first in range(0, n_planes, SHARD_PLANES))


def foresee(prepared: Prepared, passes: Iterable[int], blocks: Sequence[tuple[int, int]]) -> None:
    """Tell the main input which planes these blocks (first, stop) of some passes will ask for, in order."""
    readings: list[NDArray[np.int32]] = []
    for index in passes:
        halo = prepared.recipe.passes[index].halo
        for first, stop in blocks:
            rows = np.arange(first, stop, dtype=np.int32)
            readings += [rows, halo_rows(prepared.inputs, rows, halo)]
    prepared.main.foresee(readings)


def run_block(
    prepared: Prepared, pass_index: int, first: int, stop: int, shared: Arrays, clock: PhaseClock
) -> BlockOutput:
    """One block of planes through one pass."""
    sweep = prepared.recipe.passes[pass_index]
    rows = np.arange(first, stop, dtype=np.int32)
    halo = halo_rows(prepared.inputs, rows, sweep.halo)
    block = Block(
        first=first,
        planes=rows,
        pixels=prepared.main.read(rows),
        halo_planes=halo,
        halo_pixels=prepared.main.read(halo, own=False) if halo.size else {},
        room=prepared.room,
    )
    with clock(Phase.BLOCK):
        return sweep.block(block, prepared.inputs, shared)


def halo_rows(inputs: RecipeInputs, rows: NDArray[np.int32], halo: Halo) -> NDArray[np.int32]:
    """Rows of the plane table that a block needs besides its own: a rule on planes, never on chunks.

    For each of its planes up to `n` usable neighbours on either side that share `within` with it, but for planes of
    which the block holds `enough`. Planes of a product have no dither position: there `dither` means the same raw file.
    """
    if not halo.n:
        return np.empty(0, np.int32)
    table = inputs.planes
    keys = _keys(inputs, table, halo)
    wanted: set[int] = set()
    for row in rows:
        mates = np.flatnonzero((keys == keys[row]) & table.usable)
        if halo.enough and np.count_nonzero(np.isin(mates, rows) & (mates != row)) >= halo.enough:
            continue
        before, after = mates[mates < row], mates[mates > row]
        wanted.update(int(one) for one in before[-halo.n :])
        wanted.update(int(one) for one in after[: halo.n])
    return np.array(sorted(wanted - {int(row) for row in rows}), dtype=np.int32)


def _keys(inputs: RecipeInputs, table: PlaneTable, halo: Halo) -> NDArray[np.int64]:
    """A number per plane, equal where planes share `within`."""
    if halo.within == "any":
        return np.zeros(len(table), np.int64)
    if halo.within == "file" or not inputs.frames:
        return table.file.astype(np.int64)
    places: dict[tuple[float | None, float | None], int] = {}
    of_file = [places.setdefault((frame.dith_x, frame.dith_y), len(places)) for frame in inputs.frames]
    return np.array(of_file, dtype=np.int64)[table.file]


def chosen_rows(table: PlaneTable, subject: str) -> NDArray[np.int32]:
    """The planes of a row-wise master: all usable ones, or 256 of them evenly chosen.

    Raises DataFailure (AP-RUN-024) where none is usable.
    """
    usable = np.flatnonzero(table.usable).astype(np.int32)
    if not usable.size:
        raise DataFailure(
            "AP-RUN-024",
            f"none of its {len(table)} planes is usable",
            subject=subject,
            remedy="lift the override that excludes them, or pin another calibration",
        )
    if usable.size <= MAX_ROW_PLANES:
        return usable
    steps = (np.arange(MAX_ROW_PLANES, dtype=np.int64) * usable.size) // MAX_ROW_PLANES
    return usable[steps]


def stripes(height: int) -> tuple[tuple[int, int], ...]:
    """(first, stop) of every stripe of rows."""
    return tuple((first, min(first + STRIPE_ROWS, height)) for first in range(0, height, STRIPE_ROWS))


def run_stripes(
    prepared: Prepared,
    pass_index: int,
    source: Stripes,
    height: int,
    rows: NDArray[np.int32],
    shared: Arrays,
    clock: PhaseClock,
) -> Iterator[BlockOutput]:
    """Every stripe through one pass, in order."""
    sweep = prepared.recipe.passes[pass_index]
    for first, stop in stripes(height):
        with clock(Phase.READ):
            block = Block(first=first, planes=rows, pixels={"raw": source.read(first, stop)})
        with clock(Phase.BLOCK):
            output = sweep.block(block, prepared.inputs, shared)
        yield output


def settled(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays as they would be read back from a file: passes see the same, whether a file lay between them or not."""
    return {name: _own(plain(np.asarray(arrays[name]))) for name in sorted(arrays)}


def _own(array: Array) -> Array:
    # A view would keep its whole block of pixels in memory until the reduction.
    return array.copy() if array.base is not None else array
