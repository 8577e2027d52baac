"""Loops of the joint fit: weighted least squares over all lenslets, with cross-talk in the model.

Minimises `sum_p W (d - sum_lk P s)^2 + sum_l mu m_l |D2 (s_l / t)|^2` (notes/ifs 6.6): D2 second differences along the
channels, t a prior shape, m_l the mean diagonal of N_l = P_l' W P_l. Lenslets take turns (block successive
over-relaxation) on the residual's own pixels, which is kept in step: whatever neighbours share is in it, so that no
block between lenslets is ever made, and what is reached is the solution of the full templates.

The pixels of a lenslet are cut out once into a row of memory (a window, ROW columns wide); a template is a run of HIGH
x ROW of its values, and sums over it are single loops that the compiler makes vectors of. Loops run to lengths read off
arrays: a loop of known length is unrolled before it is vectorised, and then never is.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from archive_proc.kernels.microspectra import HIGH, ROW

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]

LANES = 8
"""Planes that are fitted together: templates are unpacked once for all."""
BAND = 12
"""Rows apart at which two templates of one column are taken to overlap; beyond, their wings meet at 1e-6."""
RELAXATION = 1.15
"""Steps are that much longer than what a lenslet alone asks for: two thirds of the amplitude passes between neighbours
per step, for which 2 / (1 + sqrt(1 - 0.67^2)) is best (Young 1954)."""
_FAST = {"reassoc", "contract"}
# Sums may be re-ordered and fused; NaN and infinity keep their meaning, which a blanket fastmath would take away.


@njit(cache=True, fastmath=_FAST)
def _tallest(y0: Int32) -> int:  # pragma: no cover
    """Rows of the tallest lenslet's window."""
    most = 0
    for lens in range(y0.shape[0]):
        most = max(most, int(y0[lens, -1] - y0[lens, 0]) + HIGH)
    return most


@njit(cache=True, fastmath=_FAST)
def _cut(image: Float32, left: int, top: int, rows: int, out: Float32) -> None:  # pragma: no cover
    """A window of `rows` x ROW pixels, row by row, into out; zero outside the image."""
    ny, nx = image.shape
    inside = left >= 0 and left + ROW <= nx
    for j in range(rows):
        to = out[j * ROW : (j + 1) * ROW]
        y = top + j
        if y < 0 or y >= ny:
            for i in range(to.size):
                to[i] = 0.0
        elif inside:
            from_ = image[y, left : left + ROW]
            for i in range(from_.size):
                to[i] = from_[i]
        else:
            for i in range(to.size):
                to[i] = image[y, left + i] if 0 <= left + i < nx else np.float32(0.0)


@njit(cache=True, fastmath=_FAST)
def _put(window: Float32, left: int, top: int, rows: int, image: Float32) -> None:  # pragma: no cover
    """The inverse of `_cut`; what falls outside is lost."""
    ny, nx = image.shape
    inside = left >= 0 and left + ROW <= nx
    for j in range(max(0, -top), min(rows, ny - top)):
        from_ = window[j * ROW : (j + 1) * ROW]
        if inside:
            to = image[top + j, left : left + ROW]
            for i in range(to.size):
                to[i] = from_[i]
        else:
            for i in range(max(0, -left), min(ROW, nx - left)):
                image[top + j, left + i] = from_[i]


@njit(cache=True, fastmath=_FAST)
def _unpack(counts: Int16, scale: Float32, out: Float32) -> None:  # pragma: no cover
    """Templates of one lenslet as float32 (m, HIGH * ROW)."""
    # Once for all channels: reshaping is a call that costs as much as a template's sum.
    shapes = counts.reshape(counts.shape[0], -1)
    for k in range(shapes.shape[0]):
        s = scale[k]
        shape, target = shapes[k], out[k]
        for i in range(shape.size):
            target[i] = s * np.float32(shape[i])


@njit(cache=True, fastmath=_FAST)
def _dot(one: Float32, two: Float32) -> np.float32:  # pragma: no cover
    total = np.float32(0.0)
    for i in range(one.size):
        total += one[i] * two[i]
    return total


@njit(cache=True, fastmath=_FAST)
def _add(shape: Float32, amount: Float32, window: Float32) -> None:  # pragma: no cover
    for i in range(shape.size):
        window[i] += amount * shape[i]


@njit(cache=True, fastmath=_FAST)
def _dot_counts(shape: Int16, two: Float32) -> np.float32:  # pragma: no cover
    """`_dot` of a template's counts: for a single plane unpacking takes longer than what it saves."""
    total = np.float32(0.0)
    for i in range(shape.size):
        total += np.float32(shape[i]) * two[i]
    return total


@njit(cache=True, fastmath=_FAST)
def _add_counts(shape: Int16, amount: Float32, window: Float32) -> None:  # pragma: no cover
    for i in range(shape.size):
        window[i] += amount * np.float32(shape[i])


@njit(cache=True, fastmath=_FAST)
def _normal(shapes: Float32, y0: Int32, window: Float32, weighted: Float32, out: Float64) -> None:  # pragma: no cover
    """N = P' W P of one lenslet: out (m, BAND), out[k, d] = N[k + d, k]; `window` holds W, `weighted` is room."""
    m = shapes.shape[0]
    for k in range(m):
        here = window[(y0[k] - y0[0]) * ROW :]
        shape = shapes[k]
        for i in range(weighted.size):
            weighted[i] = shape[i] * here[i]
        for d in range(BAND):
            out[k, d] = 0.0
            if k + d < m:
                shift = (y0[k + d] - y0[k]) * ROW
                if shift < weighted.size:
                    out[k, d] = _dot(weighted[shift:], shapes[k + d][: weighted.size - shift])


@njit(cache=True, fastmath=_FAST)
def normal_blocks(
    counts: Int16, scale: Float32, x0: Int32, y0: Int32, weight: Float32, members: Int32, out: Float64
) -> None:  # pragma: no cover
    """N_l = P_l' W P_l of some lenslets in lower band form: out (members, m, BAND), out[i, k, d] = N[k + d, k]."""
    shapes = np.empty((scale.shape[1], HIGH * ROW), np.float32)
    window, weighted = np.empty(_tallest(y0) * ROW, np.float32), np.empty(HIGH * ROW, np.float32)
    for index in range(members.size):
        lens = members[index]
        _unpack(counts[lens], scale[lens], shapes)
        _cut(weight, x0[lens], y0[lens, 0], y0[lens, -1] - y0[lens, 0] + HIGH, window)
        _normal(shapes, y0[lens], window, weighted, out[index])


@njit(cache=True, fastmath=_FAST)
def seen_shares(
    counts: Int16, scale: Float32, x0: Int32, y0: Int32, weight: Float32, members: Int32, out: Float32
) -> None:  # pragma: no cover
    """Share of each template squared that falls on pixels with a weight, whatever it is: out (members, m)."""
    m, size = scale.shape[1], HIGH * ROW
    shapes, window = np.empty((m, size), np.float32), np.empty(_tallest(y0) * ROW, np.float32)
    for index in range(members.size):
        lens = members[index]
        _unpack(counts[lens], scale[lens], shapes)
        _cut(weight, x0[lens], y0[lens, 0], y0[lens, -1] - y0[lens, 0] + HIGH, window)
        for i in range(window.size):
            window[i] = np.float32(1.0) if window[i] > 0 else np.float32(0.0)
        for k in range(m):
            shape = shapes[k]
            for i in range(shape.size):
                shape[i] *= shape[i]
            start = (y0[lens, k] - y0[lens, 0]) * ROW
            total = np.sum(shape)
            out[index, k] = _dot(shape, window[start : start + size]) / total if total > 0 else np.float32(0.0)


@njit(cache=True, fastmath=_FAST)
def _solve(factor: Float32, step: Float32) -> None:  # pragma: no cover
    """A^-1 step of one lenslet in place: factor (m, BAND) with inverse pivots, step (m, p)."""
    m, band = factor.shape
    if step.shape[1] == 1:
        _solve_one(factor, step.reshape(-1))
        return
    for k in range(m):
        one, pivot = step[k], factor[k, 0]
        for p in range(one.size):
            one[p] *= pivot
        for d in range(1, min(band, m - k)):
            f, two = factor[k, d], step[k + d]
            for p in range(one.size):
                two[p] -= f * one[p]
    for k in range(m - 1, -1, -1):
        one, pivot = step[k], factor[k, 0]
        for d in range(1, min(band, m - k)):
            f, two = factor[k, d], step[k + d]
            for p in range(one.size):
                one[p] -= f * two[p]
        for p in range(one.size):
            one[p] *= pivot


@njit(cache=True, fastmath=_FAST)
def _solve_one(factor: Float32, step: Float32) -> None:  # pragma: no cover
    """The same for a single plane, step (m,): sums run along the band."""
    m, band = factor.shape
    for k in range(m):
        step[k] *= factor[k, 0]
        f, from_, to = step[k], factor[k, 1 : min(band, m - k)], step[k + 1 :]
        for d in range(from_.size):
            to[d] -= f * from_[d]
    for k in range(m - 1, -1, -1):
        from_, beyond = factor[k, 1 : min(band, m - k)], step[k + 1 :]
        total = np.float32(0.0)
        for d in range(from_.size):
            total += from_[d] * beyond[d]
        step[k] = (step[k] - total) * factor[k, 0]


@njit(cache=True, fastmath=_FAST)
def sweep(
    counts: Int16,
    scale: Float32,
    x0: Int32,
    y0: Int32,
    weight: Float32,
    members: Int32,
    rows: Int32,
    factor: Float32,
    strength: Float64,
    hold: Float32,
    prior: Float64,
    longer: float,
    residual: Float32,
    spectra: Float32,
    sigma: Float32,
) -> float:  # pragma: no cover
    """Every member's turn, once; returns the root mean square step in units of `sigma`, held channels left out.

    Row rows[i] of `factor`, `strength`, `hold` and `sigma` (.., m) is that of lenslet members[i]; steps are `longer`
    times what a lenslet alone asks for. residual (p, ny, nx) of data minus model and spectra (p, n, m) keep in step.
    """
    m, planes = scale.shape[1], residual.shape[0]
    tall, size = _tallest(y0) * ROW, HIGH * ROW
    shapes = np.empty((m, size), np.float32)
    window, weighted = np.empty(tall, np.float32), np.empty(tall, np.float32)
    light = np.empty((planes, tall), np.float32)
    step, scaled = np.empty((m, planes), np.float32), np.empty((m, planes), np.float32)
    inverse = np.empty(m, np.float32)
    more = np.float32(longer)
    total, count = 0.0, 0
    for k in range(m):
        inverse[k] = np.float32(1.0 / prior[k])
    for index in range(members.size):
        lens, row = members[index], rows[index]
        left, top = x0[lens], y0[lens, 0]
        high = y0[lens, -1] - top + HIGH
        own = counts[lens].reshape(m, -1)
        if planes > 1:
            _unpack(counts[lens], scale[lens], shapes)
        _cut(weight, left, top, high, window)
        for p in range(planes):
            here = light[p]
            _cut(residual[p], left, top, high, here)
            for i in range(high * ROW):
                weighted[i] = window[i] * here[i]
            for k in range(m):
                start = (y0[lens, k] - top) * ROW
                s = spectra[p, lens, k]
                if planes > 1:
                    pull_k = _dot(shapes[k], weighted[start : start + size])
                else:
                    pull_k = scale[lens, k] * _dot_counts(own[k], weighted[start : start + size])
                step[k, p] = pull_k - hold[row, k] * s
                scaled[k, p] = s * inverse[k]
        pull = np.float32(strength[row])
        for k in range(m - 2):
            for p in range(planes):
                bend = pull * (scaled[k, p] - np.float32(2.0) * scaled[k + 1, p] + scaled[k + 2, p])
                step[k, p] -= bend * inverse[k]
                step[k + 1, p] += np.float32(2.0) * bend * inverse[k + 1]
                step[k + 2, p] -= bend * inverse[k + 2]
        _solve(factor[row], step)
        for p in range(planes):
            here = light[p]
            for k in range(m):
                start = (y0[lens, k] - top) * ROW
                move = more * step[k, p]
                spectra[p, lens, k] += move
                if planes > 1:
                    _add(shapes[k], -move, here[start : start + size])
                else:
                    _add_counts(own[k], -move * scale[lens, k], here[start : start + size])
            _put(here, left, top, high, residual[p])
        for k in range(m):
            if hold[row, k] == 0.0:
                for p in range(planes):
                    move = step[k, p] / sigma[row, k]
                    total += move * move
                count += planes
    return float(np.sqrt(total / max(count, 1)))


@njit(cache=True, fastmath=_FAST)
def subtract_model(
    counts: Int16, scale: Float32, x0: Int32, y0: Int32, spectra: Float32, residual: Float32
) -> None:  # pragma: no cover
    """Residual (p, ny, nx) -= P s, spectra (p, n, m)."""
    n, m = scale.shape
    size = HIGH * ROW
    shapes, here = np.empty((m, size), np.float32), np.empty(_tallest(y0) * ROW, np.float32)
    for lens in range(n):
        _unpack(counts[lens], scale[lens], shapes)
        left, top = x0[lens], y0[lens, 0]
        high = y0[lens, -1] - top + HIGH
        for p in range(residual.shape[0]):
            _cut(residual[p], left, top, high, here)
            for k in range(m):
                start = (y0[lens, k] - top) * ROW
                _add(shapes[k], -spectra[p, lens, k], here[start : start + size])
            _put(here, left, top, high, residual[p])


@njit(cache=True, fastmath=_FAST)
def gather_squares(
    counts: Int16, scale: Float32, x0: Int32, y0: Int32, images: Float32, out: Float32
) -> None:  # pragma: no cover
    """Sums of template squared times images (p, ny, nx): out (p, n, m) is overwritten."""
    n, m = scale.shape
    size = HIGH * ROW
    shapes, here = np.empty((m, size), np.float32), np.empty(_tallest(y0) * ROW, np.float32)
    for lens in range(n):
        _unpack(counts[lens], scale[lens], shapes)
        for k in range(m):
            shape = shapes[k]
            for i in range(shape.size):
                shape[i] *= shape[i]
        top = y0[lens, 0]
        for p in range(images.shape[0]):
            _cut(images[p], x0[lens], top, y0[lens, -1] - top + HIGH, here)
            for k in range(m):
                start = (y0[lens, k] - top) * ROW
                out[p, lens, k] = _dot(shapes[k], here[start : start + size])
