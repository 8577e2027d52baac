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

from archive_proc.kernels.microspectra import HIGH, ROW

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]

LANES = 8
BAND = 12
"""Rows apart at which two templates of one column are taken to overlap; beyond, their wings meet at 1e-6."""
WIDTH = 25
"""Channels of a neighbour that one channel may overlap."""
UNSEEN = 0.02
"""Information, relative to the typical channel's, below which a channel is held."""
HOLD = 1e-5
"""Strength of that hold, relative to the same: far weaker than the smoothness prior, which fills the channel."""
_FAST = {"reassoc", "contract"}
# Sums may be re-ordered and fused; NaN and infinity keep their meaning, which a blanket fastmath would take away.


# Loops run to lengths read off arrays: a loop of known length is unrolled before it is vectorised, and then never is.


@njit(cache=True, fastmath=_FAST)
def _weigh(counts: Int16, scale: float, left: int, top: int, weight: Float32, out: Float32) -> None:  # pragma: no cover
    """One template times weight into columns ROW to 2 ROW of out (HIGH, 3 ROW); its other columns stay zero."""
    ny, nx = weight.shape
    row = counts.shape[1]
    s = np.float32(scale)
    if min(top, left) >= 0 and top + HIGH <= ny and left + ROW <= nx:
        for j in range(HIGH):
            target, shape, w = out[j, ROW : ROW + row], counts[j], weight[top + j, left : left + row]
            for i in range(row):
                target[i] = s * np.float32(shape[i]) * w[i]
    else:
        for j in range(HIGH):
            for i in range(row):
                inside = 0 <= top + j < ny and 0 <= left + i < nx
                out[j, ROW + i] = s * np.float32(counts[j, i]) * weight[top + j, left + i] if inside else np.float32(0)


@njit(cache=True, fastmath=_FAST)
def _unpack(counts: Int16, scale: Float32, out: Float32) -> None:  # pragma: no cover
    """Templates of one lenslet as float32 (m, HIGH, ROW)."""
    for k in range(counts.shape[0]):
        s = scale[k]
        shape, target = counts[k].reshape(-1), out[k].reshape(-1)
        for i in range(shape.size):
            target[i] = s * np.float32(shape[i])


@njit(cache=True, fastmath=_FAST)
def _overlap(weighted: Float32, shape: Float32, shift: int, across: int) -> float:  # pragma: no cover
    """Sum of a weighted template times another's that begins `shift` rows lower and `across` columns to the right."""
    total = np.float32(0.0)
    row = shape.shape[1]
    for j in range(max(0, shift), min(HIGH, HIGH + shift)):
        one, two = weighted[j, ROW + across : ROW + across + row], shape[j - shift]
        part = np.float32(0.0)
        for i in range(row):
            part += one[i] * two[i]
        total += part
    return float(total)


@njit(cache=True, fastmath=_FAST)
def normal_blocks(
    counts: Int16, scale: Float32, x0: Int32, y0: Int32, weight: Float32, members: Int32, out: Float64
) -> None:  # pragma: no cover
    """N_l = P_l' W P_l of some lenslets in lower band form: out (members, BAND, m), out[i, d, k] = N[k + d, k]."""
    m = scale.shape[1]
    weighted = np.zeros((HIGH, 3 * ROW), np.float32)
    shapes = np.empty((m, HIGH, ROW), np.float32)
    for index in range(members.size):
        lens = members[index]
        _unpack(counts[lens], scale[lens], shapes)
        for k in range(m):
            _weigh(counts[lens, k], scale[lens, k], x0[lens], y0[lens, k], weight, weighted)
            for d in range(BAND):
                if k + d < m:
                    out[index, d, k] = _overlap(weighted, shapes[k + d], y0[lens, k + d] - y0[lens, k], 0)
                else:
                    out[index, d, k] = 0.0


@njit(cache=True, fastmath=_FAST)
def cross_blocks(
    counts: Int16,
    scale: Float32,
    x0: Int32,
    y0: Int32,
    weight: Float32,
    members: Int32,
    pairs: Int32,
    first: Int16,
    count: Int16,
    out: Float32,
) -> None:  # pragma: no cover
    """P_l' W P_l' of some lenslets' overlapping neighbours: out (t, n, m, WIDTH).

    At [t, l, k, b] stands channel first[t, l, k] + b of lenslet pairs[l, t] (-1: none), b < count[t, l, k]; the rest is
    left as it was. `first` and `count` (t, n, m) are filled too.
    """
    m = scale.shape[1]
    weighted = np.zeros((m, HIGH, 3 * ROW), np.float32)
    shapes = np.empty((m, HIGH, ROW), np.float32)
    for index in range(members.size):
        lens = members[index]
        for k in range(m):
            _weigh(counts[lens, k], scale[lens, k], x0[lens], y0[lens, k], weight, weighted[k])
        for t in range(pairs.shape[1]):
            for k in range(m):
                first[t, lens, k] = 0
                count[t, lens, k] = 0
            other = pairs[lens, t]
            if other < 0:
                continue
            across = x0[other] - x0[lens]
            if across <= -ROW or across >= ROW:
                continue
            _unpack(counts[other], scale[other], shapes)
            for k in range(m):
                top = y0[lens, k]
                start = 0
                while start < m and y0[other, start] < top - BAND + 1:
                    start += 1
                first[t, lens, k] = start
                for b in range(min(WIDTH, m - start)):
                    shift = y0[other, start + b] - top
                    if shift >= BAND:
                        break
                    count[t, lens, k] = b + 1
                    out[t, lens, k, b] = _overlap(weighted[k], shapes[start + b], shift, across)


@njit(cache=True)
def _cholesky(
    normal: Float64, strength: float, prior: Float64, hold: Float64, out: Float64
) -> None:  # pragma: no cover
    """Banded Cholesky factor of one lenslet's N + strength D2' D2 + diag(hold)."""
    band, m = normal.shape
    out[:] = normal
    for k in range(m - 2):
        c0, c1, c2 = 1.0 / prior[k], -2.0 / prior[k + 1], 1.0 / prior[k + 2]
        out[0, k] += strength * c0 * c0
        out[1, k] += strength * c0 * c1
        out[2, k] += strength * c0 * c2
        out[0, k + 1] += strength * c1 * c1
        out[1, k + 1] += strength * c1 * c2
        out[0, k + 2] += strength * c2 * c2
    for k in range(m):
        pivot = np.sqrt(max(out[0, k] + hold[k], 1e-30))
        out[0, k] = pivot
        last = min(band, m - k)
        for d in range(1, last):
            out[d, k] /= pivot
        for d in range(1, last):
            for e in range(d, last):
                out[e - d, k + d] -= out[d, k] * out[e, k]


@njit(cache=True)
def factorise(
    normal: Float64, mu: float, typical: float, prior: Float64, out: Float64, strength: Float64, hold: Float64
) -> None:  # pragma: no cover
    """Banded Cholesky factors of A_l = N_l + mu m_l D2' D2 + diag(hold) (D2 acts on s / prior); out is overwritten.

    `typical` mean information of a channel; `strength` (n,) receives mu m_l; `hold` (n, m) the weak pull to zero of
    channels with next to no information (edge of the detector, bad pixels only).
    """
    n, _, m = normal.shape
    for lens in range(n):
        mean = np.mean(normal[lens, 0])
        strength[lens] = mu * mean
        for k in range(m):
            if mean < UNSEEN * typical:
                # It shows the detector its wings at most: channels further apart than the band overlap in them, so that
                # the band alone is no longer positive definite.
                hold[lens, k] = UNSEEN * typical
            elif normal[lens, 0, k] < UNSEEN * typical:
                hold[lens, k] = HOLD * typical
            else:
                hold[lens, k] = 0.0
        _cholesky(normal[lens], strength[lens], prior, hold[lens], out[lens])


@njit(cache=True, fastmath=_FAST)
def _inner(shape: Float32, image: Float32, left: int, top: int) -> float:  # pragma: no cover
    """Sum of (HIGH, ROW) shape times the image there; pixels outside the image count as zero."""
    ny, nx = image.shape
    row = shape.shape[1]
    total = np.float32(0.0)
    if left >= 0 and left + ROW <= nx:
        for j in range(max(0, -top), min(HIGH, ny - top)):
            one, two = shape[j], image[top + j, left : left + row]
            part = np.float32(0.0)
            for i in range(row):
                part += one[i] * two[i]
            total += part
    else:
        for j in range(max(0, -top), min(HIGH, ny - top)):
            for i in range(max(0, -left), min(ROW, nx - left)):
                total += shape[j, i] * image[top + j, left + i]
    return float(total)


@njit(cache=True, fastmath=_FAST)
def _add(shape: Float32, amount: float, left: int, top: int, image: Float32) -> None:  # pragma: no cover
    """Add `amount` times (HIGH, ROW) shape to the image; what falls outside is lost."""
    ny, nx = image.shape
    row = shape.shape[1]
    a = np.float32(amount)
    if left >= 0 and left + ROW <= nx:
        for j in range(max(0, -top), min(HIGH, ny - top)):
            one, two = shape[j], image[top + j, left : left + row]
            for i in range(row):
                two[i] += a * one[i]
    else:
        for j in range(max(0, -top), min(HIGH, ny - top)):
            for i in range(max(0, -left), min(ROW, nx - left)):
                image[top + j, left + i] += a * shape[j, i]


@njit(cache=True, fastmath=_FAST)
def gradient(
    counts: Int16, scale: Float32, x0: Int32, y0: Int32, weight: Float32, residual: Float32, out: Float32
) -> None:  # pragma: no cover
    """P' W r of all lenslets: residual (p, ny, nx) to the first p lanes of out (n, m, LANES)."""
    n, m = scale.shape
    weighted = np.zeros((HIGH, 3 * ROW), np.float32)
    shape = np.empty((HIGH, ROW), np.float32)
    for lens in range(n):
        for k in range(m):
            _weigh(counts[lens, k], scale[lens, k], x0[lens], y0[lens, k], weight, weighted)
            shape[:] = weighted[:, ROW : 2 * ROW]
            for p in range(residual.shape[0]):
                out[lens, k, p] = _inner(shape, residual[p], x0[lens], y0[lens, k])


@njit(cache=True, fastmath=_FAST)
def subtract_model(
    counts: Int16, scale: Float32, x0: Int32, y0: Int32, spectra: Float32, residual: Float32
) -> None:  # pragma: no cover
    """Residual (p, ny, nx) -= P s, spectra (n, m, LANES)."""
    n, m = scale.shape
    shapes = np.empty((m, HIGH, ROW), np.float32)
    for lens in range(n):
        _unpack(counts[lens], scale[lens], shapes)
        for k in range(m):
            for p in range(residual.shape[0]):
                _add(shapes[k], -spectra[lens, k, p], x0[lens], y0[lens, k], residual[p])


@njit(cache=True, fastmath=_FAST)
def gather_squares(
    counts: Int16, scale: Float32, x0: Int32, y0: Int32, images: Float32, out: Float32
) -> None:  # pragma: no cover
    """Sums of template squared times images (p, ny, nx): out (n, m, p or more) is overwritten."""
    n, m = scale.shape
    square = np.empty((HIGH, ROW), np.float32)
    for lens in range(n):
        for k in range(m):
            flat, shape = square.reshape(-1), counts[lens, k].reshape(-1)
            s = scale[lens, k]
            for i in range(flat.size):
                v = s * np.float32(shape[i])
                flat[i] = v * v
            for p in range(images.shape[0]):
                out[lens, k, p] = _inner(square, images[p], x0[lens], y0[lens, k])


@njit(cache=True)
def sweep(
    normal: Float32,
    factor: Float32,
    strength: Float64,
    hold: Float32,
    prior: Float64,
    cross: Float32,
    first: Int16,
    reach: Int16,
    pairs: Int32,
    back: Int32,
    order: Int32,
    grad: Float32,
    spectra: Float32,
    sigma: Float32,
) -> float:  # pragma: no cover
    """One Gauss-Seidel sweep; returns the root mean square step in units of `sigma` (n, m), held channels left out.

    grad (n, m, LANES) = P' W (d - P s) and spectra are kept in step; `back` (n, t) is the lenslet whose neighbour t
    this one is, or -1.
    """
    m, lanes = spectra.shape[1:]
    step = np.empty((m, lanes), np.float32)
    scaled = np.empty((m, lanes), np.float32)
    inverse = np.empty(m, np.float32)
    total, count = 0.0, 0
    for k in range(m):
        inverse[k] = np.float32(1.0 / prior[k])
    for index in range(order.size):
        lens = order[index]
        s = np.float32(strength[lens])
        for k in range(m):
            for p in range(lanes):
                step[k, p] = grad[lens, k, p] - hold[lens, k] * spectra[lens, k, p]
                scaled[k, p] = spectra[lens, k, p] * inverse[k]
        for k in range(m - 2):
            for p in range(lanes):
                bend = s * (scaled[k, p] - 2 * scaled[k + 1, p] + scaled[k + 2, p])
                step[k, p] -= bend * inverse[k]
                step[k + 1, p] += 2 * bend * inverse[k + 1]
                step[k + 2, p] -= bend * inverse[k + 2]
        for k in range(m):
            pivot = np.float32(1.0) / factor[lens, 0, k]
            for p in range(lanes):
                step[k, p] *= pivot
            for d in range(1, min(BAND, m - k)):
                f = factor[lens, d, k]
                for p in range(lanes):
                    step[k + d, p] -= f * step[k, p]
        for k in range(m - 1, -1, -1):
            for d in range(1, min(BAND, m - k)):
                f = factor[lens, d, k]
                for p in range(lanes):
                    step[k, p] -= f * step[k + d, p]
            pivot = np.float32(1.0) / factor[lens, 0, k]
            for p in range(lanes):
                step[k, p] *= pivot
        for k in range(m):
            for p in range(lanes):
                spectra[lens, k, p] += step[k, p]
            if hold[lens, k] == 0.0:
                for p in range(lanes):
                    move = step[k, p] / sigma[lens, k]
                    total += move * move
                count += lanes
            for d in range(1, min(BAND, m - k)):
                f = normal[lens, d, k]
                for p in range(lanes):
                    grad[lens, k + d, p] -= f * step[k, p]
                    grad[lens, k, p] -= f * step[k + d, p]
            f = normal[lens, 0, k]
            for p in range(lanes):
                grad[lens, k, p] -= f * step[k, p]
        for t in range(pairs.shape[1]):
            other = pairs[lens, t]
            if other >= 0:
                for k in range(m):
                    start = first[t, lens, k]
                    for b in range(reach[t, lens, k]):
                        f = cross[t, lens, k, b]
                        for p in range(lanes):
                            grad[other, start + b, p] -= f * step[k, p]
            other = back[lens, t]
            if other >= 0:
                for k in range(m):
                    start = first[t, other, k]
                    for b in range(reach[t, other, k]):
                        f = cross[t, other, k, b]
                        for p in range(lanes):
                            grad[other, k, p] -= f * step[start + b, p]
    return float(np.sqrt(total / max(count, 1)))


@njit(cache=True, fastmath=_FAST)
def _inverse(factor: Float64, out: Float64) -> None:  # pragma: no cover
    """Inverse (m, m) of one lenslet's A from its banded factor."""
    band, m = factor.shape
    out[:] = 0.0
    for k in range(m):
        out[k, k] = 1.0
    for k in range(m):
        pivot = 1.0 / factor[0, k]
        for c in range(m):
            out[k, c] *= pivot
        for d in range(1, min(band, m - k)):
            f = factor[d, k]
            for c in range(m):
                out[k + d, c] -= f * out[k, c]
    for k in range(m - 1, -1, -1):
        for d in range(1, min(band, m - k)):
            f = factor[d, k]
            for c in range(m):
                out[k, c] -= f * out[k + d, c]
        pivot = 1.0 / factor[0, k]
        for c in range(m):
            out[k, c] *= pivot


@njit(cache=True, fastmath=_FAST)
def _times(normal: Float64, inverse: Float64, out: Float64) -> None:  # pragma: no cover
    """N A^-1 of one lenslet (m, m)."""
    band, m = normal.shape
    for k in range(m):
        f = normal[0, k]
        for c in range(m):
            out[k, c] = f * inverse[k, c]
    for k in range(m):
        for d in range(1, min(band, m - k)):
            f = normal[d, k]
            for c in range(m):
                out[k, c] += f * inverse[k + d, c]
                out[k + d, c] += f * inverse[k, c]


@njit(cache=True, fastmath=_FAST)
def sandwich(normal: Float64, factor: Float64, out: Float64) -> None:  # pragma: no cover
    """Covariance A^-1 N A^-1 of each lenslet for weights 1 / variance: out (n, lags, m) with lag d at [d, k]."""
    n, _, m = normal.shape
    inverse, product = np.empty((m, m)), np.empty((m, m))
    for lens in range(n):
        _inverse(factor[lens], inverse)
        _times(normal[lens], inverse, product)
        for d in range(out.shape[1]):
            for k in range(m):
                out[lens, d, k] = np.nan
        for d in range(out.shape[1]):
            for k in range(m - d):
                out[lens, d, k] = 0.0
            for j in range(m):
                for k in range(m - d):
                    out[lens, d, k] += inverse[j, k + d] * product[j, k]


@njit(cache=True)
def resolution_rows(normal: Float64, factor: Float64, out: Float64) -> None:  # pragma: no cover
    """Rows of R = A^-1 N of each lenslet: out (n, m, 2 h + 1), the share of channel k + o - h in channel k at offset o.

    NaN where that channel does not exist. E[estimate] = R truth (notes/ifs 6.8).
    """
    n, _, m = normal.shape
    half = out.shape[2] // 2
    inverse, product = np.empty((m, m)), np.empty((m, m))
    for lens in range(n):
        _inverse(factor[lens], inverse)
        _times(normal[lens], inverse, product)
        for k in range(m):
            for o in range(out.shape[2]):
                other = k + o - half
                out[lens, k, o] = product[other, k] if 0 <= other < m else np.nan
