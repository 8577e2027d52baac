"""Chunks, shards, codecs and attributes of product arrays, derived from their product type (notes/storage 2.1-2.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from archive_proc.model.flags import FLAG_MASKS, FLAG_MEANINGS, Flag

SHARD_PLANES = 16
"""Planes of one shard: every write along the frame axis starts at a multiple of it."""
IMAGE_CHUNK = 512
"""Inner chunk of images and calibrations, pixels a side."""

_SHORT_DIMS = frozenset({"frame", "channel", "lenslet"})


class VariableForm(Protocol):
    """What storage reads of one `[[product.variable]]` row."""

    @property
    def name(self) -> str:
        """Array name."""

    @property
    def dims(self) -> Sequence[str]:
        """Dimension names."""

    @property
    def dtype(self) -> str:
        """float32, float64, int32, uint16, bool, string, ..."""

    @property
    def units(self) -> str:
        """UDUNITS spelling."""

    @property
    def long_name(self) -> str:
        """What it is."""

    @property
    def by_block(self) -> bool:
        """Written along the frame axis by blocks."""

    @property
    def chunks(self) -> Sequence[int] | None:
        """Inner chunk, where the table gives one."""

    @property
    def shards(self) -> Sequence[int] | None:
        """Shard, where the table gives one."""

    @property
    def significant_bits(self) -> int | None:
        """Explicit mantissa bits kept, None or 0 for all."""

    @property
    def ancillary(self) -> str | None:
        """Names of ancillary variables."""

    @property
    def coordinate(self) -> bool:
        """False: never a coordinate of its siblings."""


class ProductForm(Protocol):
    """What storage reads of one `[[product]]` row."""

    @property
    def variables(self) -> Sequence[VariableForm]:
        """Its arrays."""


@dataclass(frozen=True, slots=True)
class ArrayPlan:
    """How one array lies on disk."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    # Any: numpy dtypes of every kind, StringDType among them.
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    fill: float | int | bool | str
    by_block: bool
    significant_bits: int
    # Any: JSON values of several types.
    attrs: Mapping[str, Any]

    @property
    def grid(self) -> tuple[int, ...]:
        """Objects along each axis."""
        unit = self.shards or self.chunks
        return tuple(math.ceil(size / one) for size, one in zip(self.shape, unit, strict=True))

    def objects(self, first: int = 0, stop: int | None = None) -> tuple[str, ...]:
        """Names of the array's objects (below the product's group) that cover frames [first, stop)."""
        if not self.shape:
            return (f"{self.name}/c",)
        unit = (self.shards or self.chunks)[0]
        last = self.grid[0] if stop is None else min(self.grid[0], math.ceil(stop / unit))
        names = [f"{self.name}/c.{row}" for row in range(first // unit, last)]
        for count in self.grid[1:]:
            names = [f"{name}.{column}" for name in names for column in range(count)]
        return tuple(names)


def array_plan(
    variable: VariableForm, sizes: Mapping[str, int], siblings: Sequence[VariableForm], product_type: str
) -> ArrayPlan:
    """How a variable of known sizes lies on disk.

    Raises KeyError with the dimension that has no size.
    """
    dims = tuple(variable.dims)
    shape = tuple(int(sizes[dim]) for dim in dims)
    dtype: np.dtype[Any] = np.dtypes.StringDType() if variable.dtype == "string" else np.dtype(variable.dtype)
    chunks, shards = _pieces(variable, shape)
    return ArrayPlan(
        name=variable.name,
        dims=dims,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        fill=_fill(variable),
        by_block=bool(variable.by_block),
        significant_bits=int(variable.significant_bits or 0),
        attrs=_attrs(variable, siblings),
    )


def _pieces(variable: VariableForm, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    sides = tuple(max(1, size) for size in shape)
    if variable.by_block:
        # The table's shard is that of a full-size cube: along the frame axis it stays (short products lie partly
        # outside the array), along the others a smaller array needs no more than itself.
        given_shards = tuple(variable.shards or (SHARD_PLANES, *sides[1:]))
        given = tuple(variable.chunks or (min(4, given_shards[0]), *sides[1:]))
        chunks = (given[0], *(min(one, side) for one, side in zip(given[1:], sides[1:], strict=True)))
        limits = (given_shards[0], *(min(one, side) for one, side in zip(given_shards[1:], sides[1:], strict=True)))
        return chunks, tuple(math.ceil(limit / one) * one for limit, one in zip(limits, chunks, strict=True))
    if variable.dtype != "string" and len(sides) >= 2 and max(sides[-2:]) > IMAGE_CHUNK:
        last = tuple(min(side, IMAGE_CHUNK) for side in sides[-2:])
        chunks = (*(1 for _ in sides[:-2]), *last)
        return chunks, tuple(math.ceil(side / one) * one for side, one in zip(sides, chunks, strict=True))
    return sides, None


def _fill(variable: VariableForm) -> float | int | bool | str:
    if variable.dtype == "string":
        return ""
    kind = np.dtype(variable.dtype).kind
    if kind == "f":
        return math.nan
    if kind == "b":
        return False
    return int(Flag.NEVER_WRITTEN) if variable.name == "flags" else 0


def _attrs(variable: VariableForm, siblings: Sequence[VariableForm]) -> dict[str, Any]:
    attrs: dict[str, Any] = {"units": variable.units, "long_name": variable.long_name}
    if variable.significant_bits:
        attrs["significant_bits"] = int(variable.significant_bits)
    if variable.ancillary:
        attrs["ancillary_variables"] = variable.ancillary
    if variable.dtype == "uint16" and variable.name == "flags":
        attrs["flag_masks"] = list(FLAG_MASKS)
        attrs["flag_meanings"] = " ".join(FLAG_MEANINGS)
    coordinates = [one.name for one in siblings if _is_coordinate(one, variable)]
    if coordinates:
        attrs["coordinates"] = " ".join(coordinates)
    return attrs


def _is_coordinate(one: VariableForm, of: VariableForm) -> bool:
    """Frame, channel and lenslet values describe the arrays along those axes; two-dimensional ones only cubes."""
    dims = set(one.dims)
    if not one.coordinate or one.by_block or not dims:
        return False
    return dims <= _SHORT_DIMS and dims < set(of.dims) and (len(dims) == 1 or of.by_block)
