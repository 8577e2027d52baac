"""Loops of the joint fit without pixels: banded factors, variances and resolution of single lenslets.

A symmetric band matrix (m, band) holds [k, d] = A[k + d, k]. Single lenslets are independent here: what they share with
neighbours is 0.5 % of their variances.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

UNSEEN = 0.02
"""Share of its template squared on pixels that count, below which a channel is held. Its information would not do: in
the core of a star that is as small, by the photons' own noise."""
HOLD = 1e-5
"""Strength of that hold, of the typical channel's information: far weaker than the smoothness prior, which fills the
channel."""
_FAST = {"reassoc", "contract"}
# Sums may be re-ordered and fused; NaN and infinity keep their meaning, which a blanket fastmath would take away.


@njit(cache=True, fastmath=_FAST)
def cholesky(normal: Float64, strength: float, prior: Float64, hold: Float64, out: Float64) -> None:  # pragma: no cover
    """Banded Cholesky factor of one lenslet's N + strength D2' D2 + diag(hold): out (m, band), as `normal`."""
    m, band = normal.shape
    out[:] = normal
    for k in range(m - 2):
        c0, c1, c2 = 1.0 / prior[k], -2.0 / prior[k + 1], 1.0 / prior[k + 2]
        out[k, 0] += strength * c0 * c0
        out[k, 1] += strength * c0 * c1
        out[k, 2] += strength * c0 * c2
        out[k + 1, 0] += strength * c1 * c1
        out[k + 1, 1] += strength * c1 * c2
        out[k + 2, 0] += strength * c2 * c2
    for k in range(m):
        pivot = np.sqrt(max(out[k, 0] + hold[k], 1e-30))
        out[k, 0] = pivot
        last = min(band, m - k)
        for d in range(1, last):
            out[k, d] /= pivot
        for d in range(1, last):
            f, from_, to = out[k, d], out[k, d:last], out[k + d]
            for e in range(from_.size):
                to[e] -= f * from_[e]


@njit(cache=True, fastmath=_FAST)
def firmness(
    normal: Float64, seen: Float32, typical: float, prior: Float64, hold: Float64
) -> float:  # pragma: no cover
    """Fill hold (m,), the weak pull to zero of channels that are not seen; returns the unit of the prior's strength.

    That is the mean information on what the prior holds smooth, the spectrum over its shape: a shape times a constant
    is the same prior. seen (m,) share of each template squared on pixels that count.
    """
    whole = np.mean(seen)
    for k in range(hold.size):
        if whole < UNSEEN:
            # It shows the detector its wings at most: channels further apart than the band overlap in them, so that
            # the band alone is no longer positive definite.
            hold[k] = UNSEEN * typical
        elif seen[k] < UNSEEN:
            hold[k] = HOLD * typical
        else:
            hold[k] = 0.0
    total = 0.0
    for k in range(hold.size):
        total += normal[k, 0] * prior[k] * prior[k]
    return total / hold.size


@njit(cache=True, fastmath=_FAST)
def inverse_of(factor: Float64, out: Float64) -> None:  # pragma: no cover
    """Inverse (m, m) of one lenslet's A from its banded factor (m, band): A is symmetric, half of it is computed."""
    m, band = factor.shape
    out[:] = 0.0
    for k in range(m):
        out[k, k] = 1.0
    for k in range(m):
        pivot = 1.0 / factor[k, 0]
        row = out[k, : k + 1]
        for c in range(row.size):
            row[c] *= pivot
        for d in range(1, min(band, m - k)):
            f, to = factor[k, d], out[k + d, : k + 1]
            for c in range(row.size):
                to[c] -= f * row[c]
    for k in range(m - 1, -1, -1):
        row = out[k, : k + 1]
        for d in range(1, min(band, m - k)):
            f, from_ = factor[k, d], out[k + d, : k + 1]
            for c in range(row.size):
                row[c] -= f * from_[c]
        pivot = 1.0 / factor[k, 0]
        for c in range(row.size):
            row[c] *= pivot
    for k in range(m):
        for c in range(k):
            out[c, k] = out[k, c]


@njit(cache=True, fastmath=_FAST)
def _sandwich(
    inverse: Float64, strength: float, prior: Float64, hold: Float64, bent: Float64, out: Float32
) -> None:  # pragma: no cover
    """A^-1 N A^-1 of one lenslet as A^-1 - A^-1 (A - N) A^-1, A - N = strength D2' D2 + diag(hold): out (lags, m).

    `bent` (m, m) is room.
    """
    m = inverse.shape[0]
    held = False
    for k in range(m):
        held = held or hold[k] > 0
    for k in range(m - 2):
        c0, c1, c2 = 1.0 / prior[k], -2.0 / prior[k + 1], 1.0 / prior[k + 2]
        one, two, three, to = inverse[k], inverse[k + 1], inverse[k + 2], bent[k]
        for c in range(m):
            to[c] = c0 * one[c] + c1 * two[c] + c2 * three[c]
    total = np.empty(m)
    for d in range(out.shape[0]):
        total[:] = 0.0
        for j in range(m - 2):
            one, two = bent[j, : m - d], bent[j, d:]
            for k in range(one.size):
                total[k] += one[k] * two[k]
        for k in range(m - d):
            total[k] = inverse[k, k + d] - strength * total[k]
        if held:
            for j in range(m):
                for k in range(m - d):
                    total[k] -= hold[j] * inverse[j, k] * inverse[j, k + d]
        for k in range(m):
            out[d, k] = total[k] if k < m - d else np.nan


@njit(cache=True, fastmath=_FAST)
def factorise(
    normal: Float64,
    seen: Float32,
    mu: float,
    typical: float,
    prior: Float64,
    given: Float64,
    factor: Float32,
    strength: Float64,
    hold: Float32,
    covariance: Float32,
) -> None:  # pragma: no cover
    """What the fit of n lenslets needs of their N, normal (n, m, band), and of what is seen of them (n, m).

    `typical` mean information of a channel. factor (n, m, band) Cholesky factors of A = N + mu m_l D2' D2 + diag(hold),
    pivots inverted; strength (n,) mu m_l (`firmness`), or `given` where that is positive; hold (n, m); covariance (n,
    lags, m) A^-1 N A^-1, for weights 1 / variance, NaN past the last channel.
    """
    n, m, band = normal.shape
    root, firm = np.empty((m, band)), np.empty(m)
    inverse, bent = np.empty((m, m)), np.empty((m, m))
    for lens in range(n):
        mean = firmness(normal[lens], seen[lens], typical, prior, firm)
        strength[lens] = given[lens] if given[lens] > 0 else mu * mean
        cholesky(normal[lens], strength[lens], prior, firm, root)
        inverse_of(root, inverse)
        _sandwich(inverse, strength[lens], prior, firm, bent, covariance[lens])
        for k in range(m):
            hold[lens, k] = firm[k]
            factor[lens, k, 0] = 1.0 / root[k, 0]
            for d in range(1, band):
                factor[lens, k, d] = root[k, d]


@njit(cache=True, fastmath=_FAST)
def resolution_rows(normal: Float64, factor: Float32, out: Float64) -> None:  # pragma: no cover
    """Rows of R = A^-1 N of each lenslet: out (n, m, 2 h + 1), the share of channel k + o - h in channel k at offset o.

    `normal`, `factor` (n, m, band), its pivots inverted. NaN where that channel does not exist. E[estimate] = R truth
    (notes/ifs 6.8).
    """
    n, m, band = normal.shape
    half = out.shape[2] // 2
    inverse, product = np.empty((m, m)), np.empty((m, m))
    for lens in range(n):
        root = factor[lens].astype(np.float64)
        for k in range(m):
            root[k, 0] = 1.0 / root[k, 0]
        inverse_of(root, inverse)
        for k in range(m):
            product[k] = normal[lens, k, 0] * inverse[k]
        for k in range(m):
            for d in range(1, min(band, m - k)):
                f = normal[lens, k, d]
                for c in range(m):
                    product[k, c] += f * inverse[k + d, c]
                    product[k + d, c] += f * inverse[k, c]
        for k in range(m):
            for o in range(out.shape[2]):
                other = k + o - half
                out[lens, k, o] = product[other, k] if 0 <= other < m else np.nan
