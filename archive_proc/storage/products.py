"""Products as Zarr v3 groups: created with all metadata, written shard by shard without locks, closed, read back.

One shard is 16 planes of one array; a write that does not start and end on shard boundaries is refused here, because
zarr itself would lose frames in silence (notes/storage 2.5). Each inner chunk carries a crc32c behind Blosc, so a
flipped bit is an error to every reader. The one owner of zarr in the package.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numcodecs.blosc
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from archive_proc.errors import InfraFailure, ProcessFailure
from archive_proc.model.phases import STILL, Phase, PhaseClock
from archive_proc.model.records import SealedObject
from archive_proc.storage.forms import SHARD_PLANES, ArrayPlan, ProductForm, array_plan
from archive_proc.storage.objects import BlockDigest
from archive_proc.storage.shards import (
    ShardForm,
    blosc_options,
    encoded_parts,
    form_of,
    read_shard,
    write_object,
)
from archive_proc.storage.values import round_mantissa, value_digest

# Any: arrays of several dtypes; product_types.toml says which.
Array = NDArray[Any]

STORE_NAME = "product.zarr"
FRAME_DIM = "frame"
METADATA_NAME = "zarr.json"
# Any: zarr types this parameter by a private alias of JSON values.
_KEYS: Any = {"name": "default", "separator": "."}


class ProductFormError(ProcessFailure):
    """A recipe gave arrays that its product type does not describe: a fault of the code."""

    cause = "code"


@dataclass(frozen=True, slots=True)
class Written:
    """What a write of planes left behind."""

    objects: tuple[SealedObject, ...]
    """Names relative to the process directory (`product.zarr/...`)."""
    digests: tuple[BlockDigest, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """What writing the arrays of a closed product left behind."""

    objects: tuple[SealedObject, ...]
    """Shards, with the digests of the bytes written; small objects are not listed."""
    digests: Mapping[str, str]
    """Array name -> `value_digest`."""


def limit_threads() -> None:
    """One thread for Blosc and for zarr: by default each takes all cores of a worker that was given one."""
    numcodecs.blosc.use_threads = False
    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 4})


def stored(plan: ArrayPlan, values: Array, *, given_away: bool = False) -> Array:
    """The values as they will be stored: dtype of the plan, C order, variance rounded (in place if `given_away`).

    Raises ProductFormError (AP-STO-010) for a dtype that would lose more than precision.
    """
    if plan.dtype.kind == "T":
        return np.asarray(values).astype(plan.dtype)
    given = np.asarray(values)
    if not np.can_cast(given.dtype, plan.dtype, "same_kind") and not _fits(given, plan.dtype):
        raise ProductFormError(
            "AP-STO-010",
            f"{plan.name} is {given.dtype}, the product type says {plan.dtype}",
            subject=plan.name,
            remedy="mend the recipe or its row in product_types.toml",
        )
    array = np.asarray(given, dtype=plan.dtype, order="C")
    return round_mantissa(array, plan.significant_bits, in_place=given_away) if plan.significant_bits else array


def _fits(given: Array, dtype: np.dtype[Any]) -> bool:
    """Whether integers of another signedness are all within range: flags computed as int are fine."""
    if given.dtype.kind not in "iu" or dtype.kind not in "iu":
        return False
    limits = np.iinfo(dtype)
    return not given.size or (int(given.min()) >= limits.min and int(given.max()) <= limits.max)


def create_store(path: Path, attrs: Mapping[str, Any]) -> None:
    """Create the root group `product.zarr` of a process, whose attributes say what it is when copied alone."""
    zarr.create_group(path, zarr_format=3, attributes={"Conventions": "CF-1.12", **attrs}, overwrite=True)


def plan_product(
    form: ProductForm, product_type: str, sizes: Mapping[str, int], *, by_block: bool
) -> tuple[ArrayPlan, ...]:
    """How the arrays of a product lie on disk: those written by blocks, or all others.

    Raises ProductFormError (AP-STO-011) naming a dimension without size.
    """
    chosen = [one for one in form.variables if bool(one.by_block) is by_block]
    try:
        return tuple(array_plan(one, sizes, form.variables, product_type) for one in chosen)
    except KeyError as missing:
        raise ProductFormError(
            "AP-STO-011",
            f"dimension {missing} of {product_type} has no size",
            subject=product_type,
            remedy="let the recipe's `sizes` give it, or return every variable from `close`",
        ) from None


def create_product(store: Path, product_type: str, arrays: Sequence[ArrayPlan]) -> None:
    """Create a product's group and the metadata of its arrays; no values yet."""
    group = zarr.open_group(store, mode="r+").require_group(product_type)
    for plan in arrays:
        _create(group, plan)


def _create(group: zarr.Group, plan: ArrayPlan) -> zarr.Array[Any]:
    return group.create_array(
        plan.name,
        shape=plan.shape,
        dtype=plan.dtype,
        chunks=plan.chunks,
        shards=plan.shards,
        compressors=[BloscCodec(**blosc_options(plan.dtype)), Crc32cCodec()],
        fill_value=plan.fill,
        dimension_names=plan.dims,
        attributes=dict(plan.attrs),
        chunk_key_encoding=_KEYS,
        # Without this a shard of fill values is no object, and "empty" could not be told from "lost".
        config={"write_empty_chunks": True},
        overwrite=True,
    )


def write_planes(
    store: Path,
    product_type: str,
    plans: Sequence[ArrayPlan],
    first: int,
    arrays: Mapping[str, Array],
    clock: PhaseClock = STILL,
) -> Written:
    """Write one block, planes [first, first + n), of every by-block array of a product. The arrays are given away.

    Raises ProductFormError: AP-STO-012 where the region is not whole shards, AP-STO-013 where arrays are missing,
    unknown or of another shape.
    """
    _expect({one.name for one in plans}, set(arrays), product_type)
    objects: list[SealedObject] = []
    digests: list[BlockDigest] = []
    for plan in plans:
        values = np.asarray(arrays[plan.name])
        stop = first + len(values)
        if first % SHARD_PLANES or (stop % SHARD_PLANES and stop != plan.shape[0]) or stop > plan.shape[0]:
            raise ProductFormError(
                "AP-STO-012",
                f"planes {first} to {stop} of {plan.shape[0]} are not whole shards of {SHARD_PLANES}",
                subject=f"{product_type}/{plan.name}",
                remedy="cut tasks at shard boundaries",
            )
        if values.shape[1:] != plan.shape[1:]:
            raise _wrong_shape(product_type, plan, values.shape[1:], plan.shape[1:])
        with clock(Phase.WRITE):
            kept = stored(plan, values, given_away=True)
        with clock(Phase.DIGEST):
            digests.extend(
                BlockDigest(product_type, plan.name, first + at, value_digest(kept[at : at + SHARD_PLANES]))
                for at in range(0, len(kept), SHARD_PLANES)
            )
        objects.extend(_write_shards(store, f"{product_type}/{plan.name}", _shard_form(plan), kept, first, clock))
    return Written(tuple(objects), tuple(digests))


def _shard_form(plan: ArrayPlan) -> ShardForm:
    if plan.shards is None or isinstance(plan.fill, str):
        raise ValueError(f"{plan.name} has no shards")
    return ShardForm(plan.shape, plan.chunks, plan.shards, plan.dtype, plan.fill)


def _write_shards(
    store: Path, array: str, form: ShardForm, values: Array, first: int, clock: PhaseClock
) -> list[SealedObject]:
    """Write whole shards of an array that exists; their objects, named relative to the process directory."""
    found = []
    for corner in form.corners(first, first + len(values)):
        name = f"{array}/c.{'.'.join(str(one) for one in corner)}"
        with clock(Phase.WRITE):
            size, sha256 = write_object(store / name, encoded_parts(form, corner, values, first), clock)
        found.append(SealedObject(f"{store.name}/{name}", size, sha256))
    return found


def write_arrays(
    store: Path,
    product_type: str,
    form: ProductForm,
    arrays: Mapping[str, Array],
    n_frames: int | None,
    clock: PhaseClock = STILL,
) -> Closed:
    """Write every array that blocks did not, whole; `frame` too.

    Raises ProductFormError: AP-STO-013 where arrays are missing, unknown, or disagree in a dimension's size.
    """
    expected = {one.name: one for one in form.variables if not one.by_block}
    _expect(set(expected), set(arrays), product_type)
    sizes: dict[str, int] = {} if n_frames is None else {FRAME_DIM: n_frames}
    for name, variable in expected.items():
        shape = np.shape(arrays[name])
        known = tuple(sizes.setdefault(dim, size) for dim, size in zip(variable.dims, shape, strict=False))
        if len(shape) != len(variable.dims) or known != shape:
            plan = array_plan(variable, dict.fromkeys(variable.dims, 1), form.variables, product_type)
            raise _wrong_shape(product_type, plan, shape, known)
    plans = plan_product(form, product_type, sizes, by_block=False)
    group = zarr.open_group(store, mode="r+").require_group(product_type)
    digests: dict[str, str] = {}
    written: list[SealedObject] = []
    for plan in plans:
        kept = stored(plan, np.asarray(arrays[plan.name]))
        target = _create(group, plan)
        if plan.shards is None:
            target[...] = kept
        else:
            written.extend(_write_shards(store, f"{product_type}/{plan.name}", _shard_form(plan), kept, 0, clock))
        with clock(Phase.DIGEST):
            digests[plan.name] = value_digest(kept)
    if FRAME_DIM in sizes and not any(one.name == FRAME_DIM for one in form.variables):
        frame = np.arange(sizes[FRAME_DIM], dtype=np.int32)
        plan = _frame_axis(len(frame))
        _create(group, plan)[...] = frame
        digests[plan.name] = value_digest(frame)
    return Closed(tuple(written), digests)


def _frame_axis(size: int) -> ArrayPlan:
    return ArrayPlan(
        name=FRAME_DIM,
        dims=(FRAME_DIM,),
        shape=(size,),
        dtype=np.dtype(np.int32),
        chunks=(max(1, size),),
        shards=None,
        fill=0,
        by_block=False,
        significant_bits=0,
        attrs={"units": "1", "long_name": "plane number in order of time"},
    )


def finish_product(store: Path, product_type: str, attrs: Mapping[str, Any]) -> None:
    """Set a product's attributes and consolidate its metadata: the last change of its group.

    As Zarr's own `update_attributes` and `consolidate_metadata`, byte for byte; these read and write through half a
    dozen threads' hands, a third of what a small process costs. Readers do not depend on it (`consolidated=False`).
    """
    group = store / product_type
    arrays = {one.parent.name: json.loads(one.read_bytes()) for one in sorted(group.glob(f"*/{METADATA_NAME}"))}
    metadata = {
        "attributes": dict(attrs),
        "zarr_format": 3,
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": arrays},
        "node_type": "group",
    }
    (group / METADATA_NAME).write_text(json.dumps(metadata, indent=2))


def _expect(wanted: set[str], given: set[str], product_type: str) -> None:
    if wanted != given:
        parts = [f"missing {', '.join(sorted(wanted - given))}"] if wanted - given else []
        parts += [f"unknown {', '.join(sorted(given - wanted))}"] if given - wanted else []
        raise ProductFormError(
            "AP-STO-013",
            f"the recipe's arrays are not those of the product type: {'; '.join(parts)}",
            subject=product_type,
            remedy="mend the recipe or its rows in product_types.toml",
        )


def _wrong_shape(product_type: str, plan: ArrayPlan, found: Sequence[int], wanted: Sequence[int]) -> ProductFormError:
    return ProductFormError(
        "AP-STO-013",
        f"{plan.name} ({', '.join(plan.dims)}) has shape {tuple(found)}, expected {tuple(wanted)}",
        subject=product_type,
        remedy="all arrays of a product agree on the sizes of its dimensions",
    )


@dataclass(frozen=True, slots=True)
class LoadedProduct:
    """A product read back."""

    arrays: Mapping[str, Array]
    """Decoded, read-only."""
    # Any: JSON values.
    attrs: Mapping[str, Any]
    by_block: tuple[str, ...]
    """Names of frame-axis arrays left on disk."""

    @property
    def nbytes(self) -> int:
        """Bytes held in memory (text counted by its pointers)."""
        return sum(int(array.nbytes) for array in self.arrays.values())


def load_product(
    group_path: Path,
    form: ProductForm,
    *,
    of_any_version: bool = False,
    whole: bool = False,
    without: Collection[str] = (),
) -> LoadedProduct:
    """Read a product but for its frame-axis arrays and those named in `without`; with `whole` frame-axis arrays too.

    `of_any_version`: arrays that its type has gained since it was made are left out, for readers that only look.
    Raises InfraFailure (AP-STO-014) naming the product when its group is missing or a checksum fails.
    """
    wanted = {one.name: bool(one.by_block) for one in form.variables if one.name not in without}
    try:
        group = zarr.open_group(group_path, mode="r")
        arrays: dict[str, Array] = {}
        for name, by_block in wanted.items():
            if (whole or not by_block) and not (of_any_version and name not in group):
                values = _Stored(_member(group, name), group_path / name).read()
                values.flags.writeable = False
                arrays[name] = values
        left = tuple(name for name, by_block in wanted.items() if by_block and not whole)
        return LoadedProduct(arrays, dict(group.attrs), left)
    except (OSError, ValueError, KeyError, RuntimeError) as problem:
        raise unreadable(group_path, problem) from problem


class _Stored:
    """One array on disk: shards of our own form are read whole, everything else through zarr."""

    def __init__(self, array: zarr.Array[Any], path: Path) -> None:
        self._array, self._path = array, path
        self._form = form_of(json.loads((path / METADATA_NAME).read_bytes()))
        self.shape = tuple(int(size) for size in array.shape)
        self.dtype = array.dtype

    def read(self, first: int = 0, stop: int | None = None, into: Array | None = None) -> Array:
        """[first, stop) of the first axis; everything without them. Raises ValueError on a failed checksum."""
        if self._form is None:
            return np.asarray(self._array[...] if stop is None else self._array[first:stop])
        stop = self.shape[0] if stop is None else min(stop, self.shape[0])
        shape = (stop - first, *self.shape[1:])
        values = np.empty(shape, self._form.dtype) if into is None or into.shape != shape else into
        for corner in self._form.corners(first, stop):
            read_shard(self._path / f"c.{'.'.join(str(one) for one in corner)}", self._form, corner, values, first)
        return values

    def choose(self, planes: NDArray[np.int64]) -> Array:
        """These indices of the first axis, in that order."""
        return np.asarray(self._array.get_orthogonal_selection((planes,)))


class PlaneSource:
    """Frame-axis arrays of a sealed product, read some planes at a time."""

    def __init__(self, group_path: Path, names: Sequence[str]) -> None:
        self._path = group_path
        try:
            group = zarr.open_group(group_path, mode="r")
            self._arrays = {name: _Stored(_member(group, name), group_path / name) for name in names}
        except (OSError, ValueError, KeyError) as problem:
            raise unreadable(group_path, problem) from problem

    @property
    def n_planes(self) -> int:
        """Planes on the frame axis."""
        return min((array.shape[0] for array in self._arrays.values()), default=0)

    @property
    def plane_bytes(self) -> int:
        """Decoded bytes of one plane of all arrays."""
        return sum(array.dtype.itemsize * math.prod(array.shape[1:]) for array in self._arrays.values())

    def forms(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Array name -> shape of one plane, and dtype."""
        return {name: (array.shape[1:], array.dtype) for name, array in self._arrays.items()}

    def read(self, planes: NDArray[np.int32], into: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Array name -> (n, ...) values of those planes, in the arrays of `into` where they are given and fit.

        Raises InfraFailure (AP-STO-014) on a failed checksum.
        """
        room = into or {}
        if not len(planes):
            return {name: np.empty((0, *array.shape[1:]), array.dtype) for name, array in self._arrays.items()}
        low, high = int(planes.min()), int(planes.max()) + 1
        run = high - low == len(planes) and bool(np.all(np.diff(planes) == 1))
        try:
            if run:
                return {name: array.read(low, high, room.get(name)) for name, array in self._arrays.items()}
            return {name: array.choose(planes.astype(np.int64)) for name, array in self._arrays.items()}
        except (OSError, ValueError, KeyError, RuntimeError) as problem:
            raise unreadable(self._path, problem) from problem


def _member(group: zarr.Group, name: str) -> zarr.Array[Any]:
    member = group[name]
    if not isinstance(member, zarr.Array):
        raise KeyError(name)
    return member


def unreadable(group_path: Path, problem: Exception) -> InfraFailure:
    """The failure of whoever needs a product that cannot be read; journals keep it: paths begin in the archive."""
    account = str(problem)
    for above in group_path.parents[4:5]:
        account = account.replace(f"{above}/", "")
    return InfraFailure(
        "AP-STO-014",
        f"cannot be read: {type(problem).__name__}: {account}",
        subject=f"product {group_path.parent.parent.name}/{group_path.name}",
        remedy="archive-proc verify names the damaged file; move that process out of products/ and run again",
    )
