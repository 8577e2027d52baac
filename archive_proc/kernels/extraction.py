"""Loops of the joint fit: weighted least squares over all lenslets, with cross-talk in the model.

Minimises `sum_p W (d - sum_lk P s)^2 + sum_l mu m_l |D2 (s_l / t)|^2` (notes/ifs 6.6): D2 second differences along the
channels, t a prior shape, m_l the mean information on s_l / t, N_l = P_l' W P_l. Lenslets take turns (block successive
over-relaxation) on the residual's own pixels, which is kept in step: whatever neighbours share is in it, so that no
block between lenslets is ever made, and what is reached is the solution of the full templates.

The pixels of a lenslet are cut out once into a row of memory (a window, ROW columns wide); a template is a run of HIGH
x ROW of its values, and sums over it are sums over whole rows (`loops.rows`), taken from the templates' counts as they
lie in memory: a lenslet's stay in the nearest cache as counts, as floats they would not.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from archive_proc.kernels.loops.rows import ROW, add_rows, copy_rows, dot_rows, dot_square_rows
from archive_proc.kernels.microspectra import HIGH

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]

LANES = 8
"""Planes that are fitted together at most."""
BAND = 12
"""Rows apart at which two templates of one column are taken to overlap; beyond, their wings meet at 1e-6."""
RELAXATION = 1.15
"""Steps are that much longer than what a lenslet alone asks for: two thirds of the amplitude passes between neighbours
per step, for which 2 / (1 + sqrt(1 - 0.67^2)) is best (Young 1954)."""
_FAST = {"reassoc", "contract"}
# Sums may be re-ordered and fused; NaN and infinity keep their meaning, which a blanket fastmath would take away.
_FUSED = {"contract"}
# The same in the order they are written in.
_SIZE = HIGH * ROW


@njit(cache=True, fastmath=_FAST)
def _tallest(y0: Int32) -> int:  # pragma: no cover
    """Rows of the tallest lenslet's window."""
    most = 0
    for lens in range(y0.shape[0]):
        most = max(most, int(y0[lens, -1] - y0[lens, 0]) + HIGH)
    return most


@njit(cache=True, fastmath=_FAST)
def _cut(images: Float32, p: int, left: int, top: int, rows: int, out: Float32, at: int) -> None:  # pragma: no cover
    """A window of `rows` x ROW pixels of image p, row by row, into out from `at` on; zero outside the image."""
    ny, nx = images.shape[1:]
    if left >= 0 and left + ROW <= nx and top >= 0 and top + rows <= ny:
        copy_rows(images, (p * ny + top) * nx + left, nx, out, at, ROW, rows)
        return
    for j in range(rows):
        for i in range(ROW):
            y, x = top + j, left + i
            out[at + j * ROW + i] = images[p, y, x] if 0 <= y < ny and 0 <= x < nx else np.float32(0.0)


@njit(cache=True, fastmath=_FAST)
def _put(window: Float32, at: int, left: int, top: int, rows: int, images: Float32, p: int) -> None:  # pragma: no cover
    """The inverse of `_cut`; what falls outside is lost."""
    ny, nx = images.shape[1:]
    if left >= 0 and left + ROW <= nx and top >= 0 and top + rows <= ny:
        copy_rows(window, at, ROW, images, (p * ny + top) * nx + left, nx, rows)
        return
    for j in range(max(0, -top), min(rows, ny - top)):
        for i in range(max(0, -left), min(ROW, nx - left)):
            images[p, top + j, left + i] = window[at + j * ROW + i]


@njit(cache=True, fastmath=_FAST)
def normal_blocks(
    counts: Int16, scale: Float32, x0: Int32, y0: Int32, weight: Float32, members: Int32, out: Float64
) -> None:  # pragma: no cover
    """N_l = P_l' W P_l of some lenslets in lower band form: out (members, m, BAND), out[i, k, d] = N[k + d, k]."""
    m = scale.shape[1]
    weights = weight.reshape((1, *weight.shape))
    window, weighted = np.empty(_tallest(y0) * ROW, np.float32), np.empty(_SIZE, np.float32)
    for index in range(members.size):
        lens = members[index]
        _cut(weights, 0, x0[lens], y0[lens, 0], y0[lens, -1] - y0[lens, 0] + HIGH, window, 0)
        own = counts[lens].reshape(-1)
        for k in range(m):
            here, shape = window[(y0[lens, k] - y0[lens, 0]) * ROW :], own[k * _SIZE :]
            for i in range(weighted.size):
                weighted[i] = np.float32(shape[i]) * here[i]
            for d in range(BAND):
                out[index, k, d] = 0.0
                if k + d < m:
                    rows = y0[lens, k + d] - y0[lens, k]
                    if rows < HIGH:
                        both = dot_rows(own, (k + d) * _SIZE, weighted, rows * ROW, HIGH - rows)
                        out[index, k, d] = scale[lens, k] * scale[lens, k + d] * both


@njit(cache=True, fastmath=_FAST)
def seen_shares(
    counts: Int16, scale: Float32, x0: Int32, y0: Int32, weight: Float32, members: Int32, out: Float32
) -> None:  # pragma: no cover
    """Share of each template squared that falls on pixels with a weight, whatever it is: out (members, m)."""
    weights = weight.reshape((1, *weight.shape))
    window, every = np.empty(_tallest(y0) * ROW, np.float32), np.ones(_SIZE, np.float32)
    for index in range(members.size):
        lens = members[index]
        own = counts[lens].reshape(-1)
        _cut(weights, 0, x0[lens], y0[lens, 0], y0[lens, -1] - y0[lens, 0] + HIGH, window, 0)
        for i in range(window.size):
            window[i] = np.float32(1.0) if window[i] > 0 else np.float32(0.0)
        for k in range(scale.shape[1]):
            start = (y0[lens, k] - y0[lens, 0]) * ROW
            total = dot_square_rows(own, k * _SIZE, every, 0, HIGH)
            seen = dot_square_rows(own, k * _SIZE, window, start, HIGH)
            out[index, k] = seen / total if total > 0 else np.float32(0.0)


@njit(cache=True, fastmath=_FUSED)
def _solve(factor: Float32, step: Float32) -> None:  # pragma: no cover
    """A^-1 step of one lenslet in place: factor (m, BAND) with inverse pivots, step (m + BAND,), zero from m on.

    Number by number, the newest last: it alone must be waited for.
    """
    m = factor.shape[0]
    for k in range(m):
        total = step[k]
        if k >= BAND - 1:
            for d in range(BAND - 1, 0, -1):
                total -= factor[k - d, d] * step[k - d]
        else:
            for d in range(k, 0, -1):
                total -= factor[k - d, d] * step[k - d]
        step[k] = total * factor[k, 0]
    for k in range(m - 1, -1, -1):
        total = step[k]
        for d in range(BAND - 1, 0, -1):
            total -= factor[k, d] * step[k + d]
        step[k] = total * factor[k, 0]


@njit(cache=True, fastmath=_FAST)
def _bend(
    flux: Float32, inverse: Float32, pull: np.float32, scaled: Float32, step: Float32
) -> None:  # pragma: no cover
    """Take what the prior pulls spectra flux (m,) by off their step; `inverse` of its shape; `scaled` is room."""
    m = flux.size
    for k in range(m):
        scaled[k] = flux[k] * inverse[k]
    for k in range(m - 2):
        bend = pull * (scaled[k] - np.float32(2.0) * scaled[k + 1] + scaled[k + 2])
        step[k] -= bend * inverse[k]
        step[k + 1] += np.float32(2.0) * bend * inverse[k + 1]
        step[k + 2] -= bend * inverse[k + 2]


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
    tall = _tallest(y0) * ROW
    weights = weight.reshape((1, *weight.shape))
    window, weighted, light = np.empty(tall, np.float32), np.empty(tall, np.float32), np.empty(tall, np.float32)
    step, scaled = np.zeros(m + BAND, np.float32), np.empty(m, np.float32)
    inverse = np.empty(m, np.float32)
    more = np.float32(longer)
    total, count = 0.0, 0
    for k in range(m):
        inverse[k] = np.float32(1.0 / prior[k])
    for index in range(members.size):
        lens, row = members[index], rows[index]
        left, top, high = x0[lens], y0[lens, 0], y0[lens, -1] - y0[lens, 0] + HIGH
        own, unit, below, held = counts[lens], scale[lens], y0[lens], hold[row]
        _cut(weights, 0, left, top, high, window, 0)
        for p in range(planes):
            flux = spectra[p, lens]
            _cut(residual, p, left, top, high, light, 0)
            for i in range(high * ROW):
                weighted[i] = window[i] * light[i]
            for k in range(m):
                seen = unit[k] * dot_rows(own, k * _SIZE, weighted, (below[k] - top) * ROW, HIGH)
                step[k] = seen - held[k] * flux[k]
            _bend(flux, inverse, np.float32(strength[row]), scaled, step)
            _solve(factor[row], step)
            for k in range(m):
                move = more * step[k]
                flux[k] += move
                add_rows(own, k * _SIZE, -move * unit[k], light, (below[k] - top) * ROW, HIGH)
            _put(light, 0, left, top, high, residual, p)
            for k in range(m):
                if held[k] == 0.0:
                    away = step[k] / sigma[row, k]
                    total += away * away
                    count += 1
    return float(np.sqrt(total / max(count, 1)))


@njit(cache=True, fastmath=_FAST)
def subtract_model(
    counts: Int16, scale: Float32, x0: Int32, y0: Int32, spectra: Float32, residual: Float32
) -> None:  # pragma: no cover
    """Residual (p, ny, nx) -= P s, spectra (p, n, m)."""
    n, m = scale.shape
    here = np.empty(_tallest(y0) * ROW, np.float32)
    for lens in range(n):
        left, top = x0[lens], y0[lens, 0]
        high = y0[lens, -1] - top + HIGH
        for p in range(residual.shape[0]):
            _cut(residual, p, left, top, high, here, 0)
            for k in range(m):
                times = -spectra[p, lens, k] * scale[lens, k]
                add_rows(counts[lens], k * _SIZE, times, here, (y0[lens, k] - top) * ROW, HIGH)
            _put(here, 0, left, top, high, residual, p)


@njit(cache=True, fastmath=_FAST)
def gather_squares(
    counts: Int16, scale: Float32, x0: Int32, y0: Int32, images: Float32, out: Float32
) -> None:  # pragma: no cover
    """Sums of template squared times images (p, ny, nx): out (p, n, m) is overwritten."""
    n, m = scale.shape
    here = np.empty(_tallest(y0) * ROW, np.float32)
    for lens in range(n):
        top = y0[lens, 0]
        for p in range(images.shape[0]):
            _cut(images, p, x0[lens], top, y0[lens, -1] - top + HIGH, here, 0)
            for k in range(m):
                total = dot_square_rows(counts[lens], k * _SIZE, here, (y0[lens, k] - top) * ROW, HIGH)
                out[p, lens, k] = scale[lens, k] ** 2 * total


@njit(cache=True, fastmath=_FAST)
def gather_variances(
    counts: Int16,
    scale: Float32,
    x0: Int32,
    y0: Int32,
    light: Float32,
    residual: Float32,
    floor: Float32,
    response: Float32,
    weight: Float32,
    out: Float32,
) -> None:  # pragma: no cover
    """The same of a plane's variances by its own model times weight squared, which no image holds: out (n, m).

    All images (ny, nx); the model is light - residual, variance is floor + model / response.
    """
    n, m = scale.shape
    size = (1, *light.shape)
    lights, residuals, floors = light.reshape(size), residual.reshape(size), floor.reshape(size)
    responses, weights = response.reshape(size), weight.reshape(size)
    tall, least = _tallest(y0) * ROW, np.float32(1e-6)
    here, away, base = np.empty(tall, np.float32), np.empty(tall, np.float32), np.empty(tall, np.float32)
    part, times = np.empty(tall, np.float32), np.empty(tall, np.float32)
    for lens in range(n):
        left, top = x0[lens], y0[lens, 0]
        high = y0[lens, -1] - top + HIGH
        _cut(lights, 0, left, top, high, here, 0)
        _cut(residuals, 0, left, top, high, away, 0)
        _cut(floors, 0, left, top, high, base, 0)
        _cut(responses, 0, left, top, high, part, 0)
        _cut(weights, 0, left, top, high, times, 0)
        for i in range(high * ROW):
            # Beyond the detector's edge nothing has a weight, and the response is zero.
            model = max(here[i] - away[i], np.float32(0.0)) / max(part[i], least)
            here[i] = times[i] * times[i] * (base[i] + model)
        for k in range(m):
            total = dot_square_rows(counts[lens], k * _SIZE, here, (y0[lens, k] - top) * ROW, HIGH)
            out[lens, k] = scale[lens, k] ** 2 * total
