"""Cut-outs about a position, and moving them by fractions of a pixel with their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

LANCZOS = 4
"""Half width of the interpolation kernel, pixels."""
VALID = 0.7
"""Least part of the kernel's weight that must be valid (notes/irdis 4.6)."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A square cut-out of one half; pixel (0, 0) of it is pixel (x0, y0) of the half."""

    values: Float32
    """(size, size) ADU per DIT after the flat; 0 where the weight is 0."""
    weight: Float32
    """(size, size) inverse variance; 0 for bad, unlit or missing pixels."""
    x0: int
    y0: int


def corner(star: tuple[float, float], size: int) -> tuple[int, int]:
    """(x0, y0) of the cut-out of this size whose pixel size // 2 lies nearest to `star`."""
    return int(np.floor(star[0] + 0.5)) - size // 2, int(np.floor(star[1] + 0.5)) - size // 2


def cut(values: Float32, weight: Float32, x0: int, y0: int, size: int) -> Stamp:
    """The cut-out of (ny, nx) arrays; what lies beyond the array has weight 0."""
    ny, nx = values.shape
    out = np.zeros((2, size, size), np.float32)
    rows = slice(max(y0, 0), min(y0 + size, ny))
    columns = slice(max(x0, 0), min(x0 + size, nx))
    if rows.start < rows.stop and columns.start < columns.stop:
        to = (slice(rows.start - y0, rows.stop - y0), slice(columns.start - x0, columns.stop - x0))
        out[0][to] = values[rows, columns]
        out[1][to] = weight[rows, columns]
    good = (out[1] > 0) & np.isfinite(out[0])
    return Stamp(np.where(good, out[0], np.float32(0)), np.where(good, out[1], np.float32(0)), x0, y0)


def _matrix(size: int, shift: float) -> Float64:
    """(size, size) Lanczos-4 interpolation that moves a line by `shift` pixels towards larger indices."""
    at = np.arange(size)[:, None] - shift - np.arange(size)[None, :]
    return np.where(np.abs(at) < LANCZOS, np.sinc(at) * np.sinc(at / LANCZOS), 0.0)


def moved(values: Float32, weight: Float32, shift: tuple[float, float]) -> tuple[Float32, Float32]:
    """A cut-out moved by `shift` = (x, y) pixels: values and inverse variances, weight 0 where too little was valid.

    values, weight: (size, size). Separable Lanczos-4 over good pixels only, divided by the kernel's sum over them; so
    a bad pixel never enters, and its neighbours lose weight in proportion.
    """
    good = (weight > 0).astype(np.float64)
    ky, kx = _matrix(values.shape[0], shift[1]), _matrix(values.shape[1], shift[0])
    total = ky @ (values * good) @ kx.T
    norm = ky @ good @ kx.T
    energy = ky**2 @ good @ (kx**2).T
    variance = ky**2 @ np.where(weight > 0, 1.0 / np.where(weight > 0, weight, 1.0), 0.0) @ (kx**2).T
    full = np.outer((ky**2).sum(axis=1), (kx**2).sum(axis=1))
    valid = (energy >= VALID * full) & (norm > VALID)
    safe = np.where(valid, norm, 1.0)
    out = np.where(valid, total / safe, 0.0).astype(np.float32)
    inverse = np.where(valid & (variance > 0), safe**2 / np.where(variance > 0, variance, 1.0), 0.0)
    return out, inverse.astype(np.float32)


def moved_good(values: Float32, weight: Float32, shift: tuple[float, float]) -> tuple[Float32, Float32]:
    """As `moved`, with 1 where enough was valid and 0 elsewhere in place of the inverse variance."""
    from archive_proc.kernels.loops.stamps import TAPS, move_good

    kernels, first = np.empty((2, TAPS)), [0, 0]
    for axis, step in enumerate((shift[1], shift[0])):
        first[axis] = int(np.floor(-step)) - (LANCZOS - 1)
        distance = -step - first[axis] - np.arange(TAPS)
        kernels[axis] = np.where(np.abs(distance) < LANCZOS, np.sinc(distance) * np.sinc(distance / LANCZOS), 0.0)
    out, valid = np.empty(values.shape, np.float32), np.empty(values.shape, np.float32)
    move_good(values, weight, (first[0], first[1]), kernels, VALID, out, valid)
    return out, valid


def patched(values: Float32, weight: Float32) -> Float32:
    """Values with weightless pixels replaced by the weighted mean of what lies around: for Fourier steps only."""
    good = (weight > 0).astype(np.float32)
    out = values * good
    if good.all():
        return out
    total, norm = out, good
    filled = good > 0
    reach = 1
    while not filled.all() and reach < values.shape[0]:
        total, norm = _spread(total, reach), _spread(norm, reach)
        new = ~filled & (norm > 1e-6)
        out = np.where(new, total / np.where(norm > 0, norm, 1.0), out).astype(np.float32)
        filled |= new
        reach *= 2
    return out


def _spread(values: Float32, reach: int) -> Float32:
    """Sum of a map and its copies moved by `reach` in four directions, without wrapping."""
    out = values.copy()
    out[reach:] += values[:-reach]
    out[:-reach] += values[reach:]
    again = out.copy()
    again[:, reach:] += out[:, :-reach]
    again[:, :-reach] += out[:, reach:]
    return again
