"""Shards of Zarr v3 arrays, made from and read into plain arrays in one go.

zarr-python spends 0.6-1 ms a chunk on its way through a shard (notes/storage 2.1), several times what compression
costs; writing and reading whole shards needs none of it. The bytes are those zarr itself would write (a test compares
them): per chunk little-endian values, Blosc, crc32c; then the index, offset and length of each chunk, and its crc32c.
Chunks stand in Morton order (Zarr v3, sharding_indexed).
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np
from numpy.typing import NDArray

from archive_proc.model.phases import STILL, Phase, PhaseClock

# Any: arrays of several dtypes; product_types.toml says which.
Array = NDArray[Any]

BLOSC_LEVEL = 5
_MISSING = 2**64 - 1
"""Offset and length of a chunk that was never written: it lies beyond the array."""


@dataclass(frozen=True, slots=True)
class ShardForm:
    """How an array is cut; all per dimension."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    """Multiples of `chunks`."""
    dtype: np.dtype[Any]
    """Numbers of one size, no text."""
    fill: float | int | bool
    """Stands where a chunk reaches beyond the array."""

    @property
    def little(self) -> np.dtype[Any]:
        """The dtype as stored."""
        return self.dtype.newbyteorder("<") if self.dtype.itemsize > 1 else self.dtype

    @property
    def grid(self) -> tuple[int, ...]:
        """Chunks of one shard along each axis."""
        return tuple(shard // chunk for shard, chunk in zip(self.shards, self.chunks, strict=True))

    def corners(self, first: int, stop: int) -> Iterator[tuple[int, ...]]:
        """Positions in the grid of shards of those that hold [first, stop) of the first axis, last axis fastest."""
        last = [math.ceil(size / shard) for size, shard in zip(self.shape, self.shards, strict=True)]
        ranges = [(first // self.shards[0], math.ceil(stop / self.shards[0])), *((0, one) for one in last[1:])]
        counts = [high - low for low, high in ranges]
        for place in np.ndindex(*counts):
            yield tuple(low + one for (low, _), one in zip(ranges, place, strict=True))


def blosc_options(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Arguments of Blosc for values of a dtype: lz4, level 5, bytes shuffled by significance (notes/storage 2.2)."""
    text = dtype.kind == "T"
    return {
        "cname": "lz4",
        "clevel": BLOSC_LEVEL,
        "shuffle": "noshuffle" if text or dtype.itemsize == 1 else "shuffle",
        "typesize": 1 if text else dtype.itemsize,
    }


@lru_cache(maxsize=64)
def morton_order(grid: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Every place of a grid, by its Morton code: bits of the coordinates interleaved, first axis lowest."""

    def code(place: tuple[int, ...]) -> int:
        total, bit = 0, 0
        for level in range(max(((size - 1).bit_length() for size in grid), default=0)):
            for size, at in zip(grid, place, strict=True):
                if level < (size - 1).bit_length():
                    total |= ((at >> level) & 1) << bit
                    bit += 1
        return total

    return tuple(sorted(np.ndindex(*grid), key=code))


def encoded_parts(form: ShardForm, corner: tuple[int, ...], values: Array, first: int) -> Iterator[tuple[bytes, bytes]]:
    """The parts of one shard's object, each with its checksum, to be written one after the other as they are made.

    corner: its place in the grid of shards; values: the array's [first, first + n) along the first axis, all of the
    other axes, of the form's dtype. Chunks that the values do not reach are not written.
    """
    options = blosc_options(form.dtype)
    shuffle = numcodecs.blosc.SHUFFLE if options["shuffle"] == "shuffle" else numcodecs.blosc.NOSHUFFLE
    index = np.full((*form.grid, 2), _MISSING, "<u8")
    chunk = np.empty(form.chunks, form.little)
    offset = 0
    for place in morton_order(form.grid):
        inside, part = _regions(form, corner, place, values.shape, first)
        if any(one.start >= one.stop for one in part):
            continue
        if values[part].shape != form.chunks:
            chunk[...] = form.fill
        chunk[inside] = values[part]
        packed = numcodecs.blosc.compress(
            chunk.reshape(-1).view(np.uint8), options["cname"].encode(), options["clevel"], shuffle, 0,
            options["typesize"],
        )  # fmt: skip
        yield packed, _checksum(packed)
        index[place] = offset, len(packed) + 4
        offset += len(packed) + 4
    yield index.tobytes(), _checksum(index.tobytes())


def read_shard(path: Path, form: ShardForm, corner: tuple[int, ...], out: Array, first: int) -> None:
    """Copy a shard's values into `out`, the array's [first, first + n) along the first axis.

    Chunk by chunk, in the order they stand in the object, through the processor's cache: the object is never in memory
    as a whole. Raises ValueError where a checksum fails, a chunk is missing, or sizes do not fit.
    """
    with path.open("rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        index = _read_index(form, stream, size)
        chunk = np.empty(form.chunks, form.little)
        room = np.empty(0, np.uint8)
        for place in morton_order(form.grid):
            inside, part = _regions(form, corner, place, out.shape, first)
            if any(one.start >= one.stop for one in part):
                continue
            start, length = (int(one) for one in index[place])
            if start == _MISSING:
                raise ValueError(f"chunk {place} was never written")
            if length < 4 or start + length > size:
                raise ValueError(f"chunk {place} lies outside its shard")
            if room.size < length:
                room = np.empty(max(length, chunk.nbytes), np.uint8)
            content = _read_at(stream, start, room[:length])
            packed = content[:-4]
            if _checksum(packed) != content[-4:].tobytes():
                raise ValueError(f"stored and computed checksum of chunk {place} do not match")
            # Blosc's header: the size of what was packed stands in bytes 4 to 7.
            if int.from_bytes(packed[4:8].tobytes(), "little") != chunk.nbytes:
                raise ValueError(f"chunk {place} has another size than the array's chunks")
            numcodecs.blosc.decompress(packed, chunk)
            out[part] = chunk[inside]


def _read_index(form: ShardForm, stream: io.FileIO, size: int) -> NDArray[np.uint64]:
    length = 16 * math.prod(form.grid) + 4
    if size < length:
        raise ValueError("cut short")
    content = _read_at(stream, size - length, np.empty(length, np.uint8))
    if _checksum(content[:-4]) != content[-4:].tobytes():
        raise ValueError("stored and computed checksum of the index do not match")
    return np.frombuffer(content[:-4].tobytes(), "<u8").reshape(*form.grid, 2)


def _read_at(stream: io.FileIO, start: int, into: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill `into` with the bytes that begin at `start`."""
    stream.seek(start)
    filled = 0
    while filled < into.size and (n := stream.readinto(into[filled:].data)):
        filled += n
    if filled < into.size:
        raise ValueError("cut short")
    return into


def _regions(
    form: ShardForm, corner: tuple[int, ...], place: tuple[int, ...], given: tuple[int, ...], first: int
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Which part of one chunk the given values cover, and where it lies among them; empty slices where none."""
    inside, part = [], []
    for axis, size in enumerate(given):
        start = corner[axis] * form.shards[axis] + place[axis] * form.chunks[axis] - (first if axis == 0 else 0)
        low, high = max(start, 0), min(start + form.chunks[axis], size)
        inside.append(slice(low - start, max(high, low) - start))
        part.append(slice(low, max(high, low)))
    return tuple(inside), tuple(part)


def _checksum(content: bytes | NDArray[np.uint8]) -> bytes:
    return int(google_crc32c.value(content)).to_bytes(4, "little")


def write_object(path: Path, parts: Iterable[tuple[bytes, ...]], clock: PhaseClock = STILL) -> tuple[int, str]:
    """Write an object by temporary name and rename; its size, and the sha256 of the bytes that were written.

    Each part is written and digested while it is in the processor's cache, and no shard is held a second time.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    size, digest = 0, hashlib.sha256()
    with temporary.open("wb", buffering=0) as stream:
        for pieces in parts:
            for piece in pieces:
                left = memoryview(piece)
                size += len(left)
                while left:
                    left = left[stream.write(left) :]
            with clock(Phase.DIGEST):
                for piece in pieces:
                    digest.update(piece)
    temporary.replace(path)
    return size, digest.hexdigest()


def form_of(metadata: Mapping[str, Any]) -> ShardForm | None:
    """The form of an array from its `zarr.json`; None where it is not sharded, or encoded in another way than here."""
    codecs = metadata.get("codecs", ())
    if len(codecs) != 1 or codecs[0]["name"] != "sharding_indexed":
        return None
    sharding = codecs[0]["configuration"]
    steps = [*sharding["codecs"], *sharding["index_codecs"]]
    ours = (
        [one["name"] for one in steps] == ["bytes", "blosc", "crc32c", "bytes", "crc32c"]
        and all(one.get("configuration", {}).get("endian", "little") == "little" for one in steps)
        and sharding.get("index_location", "end") == "end"
    )
    if not ours:
        return None
    fill = metadata["fill_value"]
    return ShardForm(
        shape=tuple(metadata["shape"]),
        chunks=tuple(sharding["chunk_shape"]),
        shards=tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"]),
        dtype=np.dtype(metadata["data_type"]),
        fill=math.nan if fill == "NaN" else fill,
    )
