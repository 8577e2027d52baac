"""Spectra of all lenslets at once: weighted least squares with cross-talk in the model.

Minimises `sum_p W (d - sum_lk P s)^2 + sum_l mu m_l |D2 (s_l / t)|^2` (notes/ifs 6.6): D2 second differences along the
channels, t a prior shape, m_l the mean diagonal of N_l = P_l' W P_l. Block Gauss-Seidel over lenslets runs on
coefficients (own blocks and those shared with the neighbours whose spectra overlap); the gradient is made anew from
pixels between rounds, so that what the blocks leave out is corrected and the solution is that of the full templates.

Eight planes that share weights are solved together: templates and blocks are read once for all, and the planes (lanes)
are the innermost index of every array.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from archive_proc.kernels.microspectra import HIGH, WIDE

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]

LANES = 8
BAND = 12
"""Rows apart at which two templates of one column are taken to overlap; beyond, their wings meet at 1e-6."""
WIDTH = 25
"""Channels of a neighbour that one channel may overlap."""
_FAST = {"reassoc", "contract"}
# Sums may be re-ordered and fused; NaN and infinity keep their meaning, which a blanket fastmath would take away.


@njit(cache=True, fastmath=_FAST)
def normal_blocks(values: Float32, x0: Int32, y0: Int32, weight: Float32, out: Float64) -> None:  # pragma: no cover
    """N_l = P_l' W P_l in lower band form: out (n, BAND, m), out[l, d, k] = N[k + d, k]."""
    n, m = values.shape[:2]
    ny, nx = weight.shape
    weighted = np.empty((HIGH, WIDE), np.float32)
    for lens in range(n):
        left = x0[lens]
        for k in range(m):
            top = y0[lens, k]
            for j in range(HIGH):
                for i in range(WIDE):
                    inside = 0 <= top + j < ny and 0 <= left + i < nx
                    weighted[j, i] = values[lens, k, j, i] * weight[top + j, left + i] if inside else np.float32(0)
            for d in range(BAND):
                total = 0.0
                if k + d < m:
                    shift = y0[lens, k + d] - top
                    for j in range(max(0, shift), min(HIGH, HIGH + shift)):
                        row = np.float32(0.0)
                        for i in range(WIDE):
                            row += weighted[j, i] * values[lens, k + d, j - shift, i]
                        total += float(row)
                out[lens, d, k] = total


@njit(cache=True, fastmath=_FAST)
def cross_blocks(
    values: Float32, x0: Int32, y0: Int32, weight: Float32, pairs: Int32, first: Int16, out: Float32
) -> None:  # pragma: no cover
    """P_l' W P_l' of overlapping neighbours: out (n, t, m, WIDTH), channel first[l, t, k] + b of lenslet pairs[l, t].

    `pairs` (n, t) neighbour or -1; `first` (n, t, m) is filled too.
    """
    n, m = values.shape[:2]
    ny, nx = weight.shape
    weighted = np.empty((HIGH, WIDE), np.float32)
    for lens in range(n):
        left = x0[lens]
        for t in range(pairs.shape[1]):
            for k in range(m):
                first[lens, t, k] = 0
                for b in range(WIDTH):
                    out[lens, t, k, b] = 0.0
        for k in range(m):
            top = y0[lens, k]
            for j in range(HIGH):
                for i in range(WIDE):
                    inside = 0 <= top + j < ny and 0 <= left + i < nx
                    weighted[j, i] = values[lens, k, j, i] * weight[top + j, left + i] if inside else np.float32(0)
            for t in range(pairs.shape[1]):
                other = pairs[lens, t]
                if other < 0:
                    continue
                across = x0[other] - left
                start = 0
                while start < m and y0[other, start] < top - BAND + 1:
                    start += 1
                first[lens, t, k] = start
                for b in range(min(WIDTH, m - start)):
                    shift = y0[other, start + b] - top
                    if shift >= BAND:
                        break
                    total = 0.0
                    for j in range(max(0, shift), min(HIGH, HIGH + shift)):
                        row = np.float32(0.0)
                        for i in range(max(0, across), min(WIDE, WIDE + across)):
                            row += weighted[j, i] * values[other, start + b, j - shift, i - across]
                        total += float(row)
                    out[lens, t, k, b] = total


@njit(cache=True)
def factorise(normal: Float64, mu: float, prior: Float64, out: Float64, strength: Float64) -> None:  # pragma: no cover
    """Banded Cholesky factors of A_l = N_l + mu m_l D2' D2 (D2 acting on s / prior); out is overwritten.

    `strength` (n,) receives mu m_l. Channels with next to no information (edge of the detector) are held by a ridge.
    """
    n, band, m = normal.shape
    means = np.empty(n)
    for lens in range(n):
        means[lens] = np.mean(normal[lens, 0])
    typical = np.median(means)
    for lens in range(n):
        mean = means[lens]
        strength[lens] = mu * mean
        for d in range(band):
            for k in range(m):
                out[lens, d, k] = normal[lens, d, k]
        for k in range(m - 2):
            c0, c1, c2 = 1.0 / prior[k], -2.0 / prior[k + 1], 1.0 / prior[k + 2]
            s = strength[lens]
            out[lens, 0, k] += s * c0 * c0
            out[lens, 1, k] += s * c0 * c1
            out[lens, 2, k] += s * c0 * c2
            out[lens, 0, k + 1] += s * c1 * c1
            out[lens, 1, k + 1] += s * c1 * c2
            out[lens, 0, k + 2] += s * c2 * c2
        for k in range(m):
            if normal[lens, 0, k] < 0.02 * typical:
                out[lens, 0, k] += 0.02 * typical
        for k in range(m):
            pivot = np.sqrt(max(out[lens, 0, k], 1e-30))
            out[lens, 0, k] = pivot
            last = min(band, m - k)
            for d in range(1, last):
                out[lens, d, k] /= pivot
            for d in range(1, last):
                for e in range(d, last):
                    out[lens, e - d, k + d] -= out[lens, d, k] * out[lens, e, k]


@njit(cache=True)
def gradient(values: Float32, x0: Int32, y0: Int32, weight: Float32, residual: Float32, out: Float32) -> None:
    """P' W r of all lenslets: residual (ny, nx, LANES) to out (n, m, LANES)."""  # pragma: no cover
    n, m = values.shape[:2]
    ny, nx = weight.shape
    for lens in range(n):
        left = x0[lens]
        for k in range(m):
            top = y0[lens, k]
            a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = np.float32(0)
            for j in range(max(0, -top), min(HIGH, ny - top)):
                for i in range(max(0, -left), min(WIDE, nx - left)):
                    w = values[lens, k, j, i] * weight[top + j, left + i]
                    r = residual[top + j, left + i]
                    a0 += w * r[0]
                    a1 += w * r[1]
                    a2 += w * r[2]
                    a3 += w * r[3]
                    a4 += w * r[4]
                    a5 += w * r[5]
                    a6 += w * r[6]
                    a7 += w * r[7]
            o = out[lens, k]
            o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7] = a0, a1, a2, a3, a4, a5, a6, a7


@njit(cache=True)
def subtract_model(values: Float32, x0: Int32, y0: Int32, spectra: Float32, residual: Float32) -> None:
    """Residual (ny, nx, LANES) -= P s, spectra (n, m, LANES)."""  # pragma: no cover
    n, m = values.shape[:2]
    ny, nx = residual.shape[:2]
    for lens in range(n):
        left = x0[lens]
        for k in range(m):
            top = y0[lens, k]
            q = spectra[lens, k]
            s0, s1, s2, s3, s4, s5, s6, s7 = q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7]
            for j in range(max(0, -top), min(HIGH, ny - top)):
                for i in range(max(0, -left), min(WIDE, nx - left)):
                    v = values[lens, k, j, i]
                    r = residual[top + j, left + i]
                    r[0] -= v * s0
                    r[1] -= v * s1
                    r[2] -= v * s2
                    r[3] -= v * s3
                    r[4] -= v * s4
                    r[5] -= v * s5
                    r[6] -= v * s6
                    r[7] -= v * s7


@njit(cache=True)
def sweep(
    normal: Float32,
    factor: Float32,
    strength: Float64,
    prior: Float64,
    cross: Float32,
    first: Int16,
    pairs: Int32,
    back: Int32,
    order: Int32,
    grad: Float32,
    spectra: Float32,
    sigma: Float32,
) -> float:  # pragma: no cover
    """One Gauss-Seidel sweep; returns the root mean square step in units of `sigma` (n, m).

    grad (n, m, LANES) = P' W (d - P s) and spectra are kept in step; `back` (n, t) is the lenslet whose neighbour t
    this one is, or -1.
    """
    m = spectra.shape[1]
    step = np.empty((m, LANES), np.float32)
    scaled = np.empty((m, LANES), np.float32)
    inverse = np.empty(m, np.float32)
    total, count = 0.0, 0
    for k in range(m):
        inverse[k] = np.float32(1.0 / prior[k])
    for index in range(order.size):
        lens = order[index]
        s = np.float32(strength[lens])
        for k in range(m):
            for p in range(LANES):
                step[k, p] = grad[lens, k, p]
                scaled[k, p] = spectra[lens, k, p] * inverse[k]
        for k in range(m - 2):
            for p in range(LANES):
                bend = s * (scaled[k, p] - 2 * scaled[k + 1, p] + scaled[k + 2, p])
                step[k, p] -= bend * inverse[k]
                step[k + 1, p] += 2 * bend * inverse[k + 1]
                step[k + 2, p] -= bend * inverse[k + 2]
        for k in range(m):
            pivot = np.float32(1.0) / factor[lens, 0, k]
            for p in range(LANES):
                step[k, p] *= pivot
            for d in range(1, min(BAND, m - k)):
                f = factor[lens, d, k]
                for p in range(LANES):
                    step[k + d, p] -= f * step[k, p]
        for k in range(m - 1, -1, -1):
            for d in range(1, min(BAND, m - k)):
                f = factor[lens, d, k]
                for p in range(LANES):
                    step[k, p] -= f * step[k + d, p]
            pivot = np.float32(1.0) / factor[lens, 0, k]
            for p in range(LANES):
                step[k, p] *= pivot
        for k in range(m):
            for p in range(LANES):
                spectra[lens, k, p] += step[k, p]
                move = step[k, p] / sigma[lens, k]
                total += move * move
            count += LANES
            for d in range(1, min(BAND, m - k)):
                f = normal[lens, d, k]
                for p in range(LANES):
                    grad[lens, k + d, p] -= f * step[k, p]
                    grad[lens, k, p] -= f * step[k + d, p]
            f = normal[lens, 0, k]
            for p in range(LANES):
                grad[lens, k, p] -= f * step[k, p]
        for t in range(pairs.shape[1]):
            other = pairs[lens, t]
            if other >= 0:
                for k in range(m):
                    start = first[lens, t, k]
                    for b in range(min(WIDTH, m - start)):
                        f = cross[lens, t, k, b]
                        for p in range(LANES):
                            grad[other, start + b, p] -= f * step[k, p]
            other = back[lens, t]
            if other >= 0:
                for k in range(m):
                    start = first[other, t, k]
                    for b in range(min(WIDTH, m - start)):
                        f = cross[other, t, k, b]
                        for p in range(LANES):
                            grad[other, k, p] -= f * step[start + b, p]
    return float(np.sqrt(total / max(count, 1)))


@njit(cache=True)
def sandwich(normal: Float64, factor: Float64, out: Float64) -> None:  # pragma: no cover
    """Covariance A^-1 N A^-1 of each lenslet for weights 1 / variance: out (n, lags, m) with lag d at [d, k]."""
    n, band, m = normal.shape
    lags = out.shape[1]
    inverse = np.empty((m, m))
    product = np.empty((m, m))
    for lens in range(n):
        for column in range(m):
            for k in range(m):
                inverse[k, column] = 1.0 if k == column else 0.0
            for k in range(column, m):
                inverse[k, column] /= factor[lens, 0, k]
                for d in range(1, min(band, m - k)):
                    inverse[k + d, column] -= factor[lens, d, k] * inverse[k, column]
            for k in range(m - 1, -1, -1):
                for d in range(1, min(band, m - k)):
                    inverse[k, column] -= factor[lens, d, k] * inverse[k + d, column]
                inverse[k, column] /= factor[lens, 0, k]
        for k in range(m):
            for column in range(m):
                total = normal[lens, 0, k] * inverse[k, column]
                for d in range(1, band):
                    if k + d < m:
                        total += normal[lens, d, k] * inverse[k + d, column]
                    if k - d >= 0:
                        total += normal[lens, d, k - d] * inverse[k - d, column]
                product[k, column] = total
        for d in range(lags):
            for k in range(m):
                if k + d < m:
                    total = 0.0
                    for j in range(m):
                        total += inverse[k + d, j] * product[j, k]
                    out[lens, d, k] = total
                else:
                    out[lens, d, k] = np.nan
