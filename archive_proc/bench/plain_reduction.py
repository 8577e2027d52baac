"""The least that must be done to a raw plane, in a few lines of numpy: what the archive's CPU stands beside.

Read, byte order, dark, flat, variance by photons and read noise, flags, Zarr with its own defaults. No background, no
centre, no resampling, no checksum, no record. Timed in the run it is compared with, because machines are noisy.
"""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from archive_proc.model.frames import RawFrame

BATCH = 16
"""Planes read, worked on and written at once, as the archive does."""
_KINDS = {-32: ">f4", 16: ">i2"}


@dataclass(frozen=True, slots=True)
class PlainCost:
    """CPU of the plain reduction."""

    cpu_s_per_plane: float
    planes: int


def plain_cost(frames: Sequence[tuple[RawFrame, Path]], planes: int) -> PlainCost:
    """Reduce up to so many planes of these files and throw the result away. Files of other kinds are left out."""
    rng = np.random.default_rng(1)
    spent, done = 0.0, 0
    with tempfile.TemporaryDirectory(prefix="archive-proc-plain-") as folder:
        for frame, path in frames:
            if frame.bitpix not in _KINDS or frame.compression not in ("none", "gz", "") or done >= planes:
                continue
            shape = (frame.naxis2 or 0, frame.naxis1 or 0)
            dark = rng.normal(0.0, 1.0, shape).astype(np.float32)
            flat = rng.normal(1.0, 0.02, shape).astype(np.float32)
            for first in range(0, min(frame.n_planes, planes - done), BATCH):
                stop = min(first + BATCH, frame.n_planes, first + planes - done)
                begun = time.process_time()
                _reduce(_read(path, frame, first, stop), dark, flat, Path(folder) / f"{done}.zarr")
                spent += time.process_time() - begun
                done += stop - first
    return PlainCost(spent / done if done else float("nan"), done)


def _read(path: Path, frame: RawFrame, first: int, stop: int) -> NDArray[np.float32]:
    kind = np.dtype(_KINDS[frame.bitpix or -32])
    shape = (stop - first, frame.naxis2 or 0, frame.naxis1 or 0)
    size = int(np.prod(shape[1:])) * kind.itemsize
    with gzip.open(path) if frame.compression == "gz" else path.open("rb") as stream:
        stream.seek(frame.data_offset + first * size)
        stored = np.frombuffer(stream.read(size * shape[0]), kind).reshape(shape)
    pixels: NDArray[np.float32] = stored.astype(np.float32)
    if frame.bzero:
        pixels += np.float32(frame.bzero)
    return pixels


def _reduce(raw: NDArray[np.float32], dark: NDArray[np.float32], flat: NDArray[np.float32], place: Path) -> None:
    flux = (raw - dark) / flat
    variance = np.maximum(flux, 0.0) / np.float32(1.75) + np.float32(19.0)
    flags = np.where(np.abs(flux) > np.float32(2e4), np.uint16(16), np.uint16(0))
    dims = ("frame", "y", "x")
    cube = xr.Dataset({"flux": (dims, flux), "variance": (dims, variance), "flags": (dims, flags)})
    cube.to_zarr(place, mode="w", zarr_format=3, consolidated=False)
