"""Loops of the joint fit without pixels: banded factors, variances and resolution of single lenslets.

A symmetric band matrix (m, band) holds [k, d] = A[k + d, k]. Single lenslets are independent here: what they share with
neighbours is 0.5 % of their variances.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from archive_proc.kernels.loops.lanes import BESIDE, LANES, settle_lanes

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
def _factors(root: Float64, pivot: Float64, one: Float64, m: int, band: int) -> None:  # pragma: no cover
    """Banded Cholesky factors of the lanes' matrices in place, and one over their pivots: pivot (m, lanes).

    root (m, band + BESIDE - 1, lanes), zero from `band` on, a multiple of BESIDE: [k, d] = A[k + d, k]. `one`: ones.
    """
    row = (band + BESIDE - 1) * LANES
    for k in range(m):
        own = k * row
        before = own - row + LANES
        for d in range(0, band, BESIDE):
            here = own + d * LANES
            count = min(k, band - 1 - d)
            settle_lanes(
                root, before, LANES - row, root, before + d * LANES, LANES - row, LANES, count,
                root, here, LANES, one, 0,
            )  # fmt: skip
            if d == 0:
                for i in range(LANES):
                    root[own + i] = max(root[own + i], 1e-30)
                    pivot[k * LANES + i] = 1.0 / np.sqrt(root[own + i])
            settle_lanes(root, 0, 0, root, 0, 0, 0, 0, root, here, LANES, pivot, k * LANES)


@njit(cache=True, fastmath=_FAST)
def _inverses(
    root: Float64, pivot: Float64, one: Float64, m: int, band: int, inverse: Float64
) -> None:  # pragma: no cover
    """Inverses of the lanes' matrices from `_factors`: inverse (m + BESIDE - 1, m, lanes), column by column."""
    row, column = (band + BESIDE - 1) * LANES, m * LANES
    for c in range(0, m, BESIDE):
        inverse[c * column : (c + BESIDE) * column] = 0.0
        for k in range(c, min(c + BESIDE, m)):
            start = k * column + k * LANES
            inverse[start : start + LANES] = 1.0
        for k in range(c, m):
            count, here = min(k - c, band - 1), c * column + k * LANES
            settle_lanes(
                root, (k - 1) * row + LANES, LANES - row, inverse, here - LANES, -LANES, column, count,
                inverse, here, column, pivot, k * LANES,
            )  # fmt: skip
        for k in range(m - 1, c - 1, -1):
            count, here = min(m - 1 - k, band - 1), c * column + k * LANES
            settle_lanes(
                root, k * row + LANES, LANES, inverse, here + LANES, LANES, column, count,
                inverse, here, column, pivot, k * LANES,
            )  # fmt: skip
    for c in range(m):
        for k in range(c):
            to, from_ = c * column + k * LANES, k * column + c * LANES
            for i in range(LANES):
                inverse[to + i] = inverse[from_ + i]


@njit(cache=True, fastmath=_FAST)
def _sandwiches(
    inverse: Float64, terms: Float64, hold: Float64, one: Float64, m: int, bent: Float64, out: Float64
) -> None:  # pragma: no cover
    """A^-1 N A^-1 of the lanes as A^-1 - A^-1 (A - N) A^-1, A - N = T' T + diag(hold): out (m, lags, lanes).

    T of three terms (3, m - 2, lanes) a row: those of the prior times the root of its strength. hold (m, lanes); bent
    (m + lags, m, lanes), zero from column m on, is room; lags a multiple of BESIDE.
    """
    column, inner = m * LANES, (m - 2) * LANES
    lags = out.size // column
    first, second, third = terms[:inner], terms[inner : 2 * inner], terms[2 * inner : 3 * inner]
    held = False
    for i in range(m * LANES):
        held = held or hold[i] > 0
    for c in range(m):
        from_, next_, last = inverse[c * column :], inverse[c * column + LANES :], inverse[c * column + 2 * LANES :]
        to = bent[c * column :]
        for i in range(first.size):
            to[i] = first[i] * from_[i] + second[i] * next_[i] + third[i] * last[i]
    for turn in range(2 if held else 1):
        if turn == 1:
            for c in range(m):
                from_, to = inverse[c * column :], bent[c * column :]
                for i in range(hold.size):
                    to[i] = np.sqrt(hold[i]) * from_[i]
        for c in range(m):
            own = c * column
            for lag in range(0, lags, BESIDE):
                here = (c * lags + lag) * LANES
                if turn == 0:
                    for other in range(lag, lag + BESIDE):
                        for i in range(LANES):
                            known = inverse[own + (c + other) * LANES + i] if c + other < m else np.nan
                            out[(c * lags + other) * LANES + i] = known
                settle_lanes(
                    bent, own, LANES, bent, own + lag * column, LANES, column, m if turn else m - 2,
                    out, here, LANES, one, 0,
                )  # fmt: skip


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
    lags = covariance.shape[1]
    wide, row = -(-lags // BESIDE) * BESIDE, (band + BESIDE - 1) * LANES
    root, pivot, one = np.zeros(m * row), np.empty(m * LANES), np.ones(LANES)
    inverse, bent = np.empty((m + BESIDE) * m * LANES), np.zeros((m + wide) * m * LANES)
    terms, held, sums = np.empty(3 * (m - 2) * LANES), np.empty(m * LANES), np.empty(m * wide * LANES)
    firm, curved = np.empty(m), np.empty((m, 3))
    for k in range(m - 2):
        c0, c1, c2 = 1.0 / prior[k], -2.0 / prior[k + 1], 1.0 / prior[k + 2]
        curved[k, 0], curved[k, 1], curved[k, 2] = c0, c1, c2
    for start in range(0, n, LANES):
        for i in range(LANES):
            # The last lenslets share their lanes with copies of the very last.
            lens = min(start + i, n - 1)
            own = normal[lens]
            mean = firmness(own, seen[lens], typical, prior, firm)
            times = given[lens] if given[lens] > 0 else mu * mean
            strength[lens] = times
            for k in range(m):
                at = k * row + i
                for d in range(band):
                    root[at + d * LANES] = own[k, d]
                for d in range(band, band + BESIDE - 1):
                    root[at + d * LANES] = 0.0
                root[at] += firm[k]
                held[k * LANES + i] = hold[lens, k] = firm[k]
            amplitude = np.sqrt(times)
            for k in range(m - 2):
                c0, c1, c2 = curved[k]
                at = k * row + i
                root[at] += times * c0 * c0
                root[at + LANES] += times * c0 * c1
                root[at + 2 * LANES] += times * c0 * c2
                root[at + row] += times * c1 * c1
                root[at + row + LANES] += times * c1 * c2
                root[at + 2 * row] += times * c2 * c2
                for term in range(3):
                    terms[(term * (m - 2) + k) * LANES + i] = amplitude * curved[k, term]
        _factors(root, pivot, one, m, band)
        _inverses(root, pivot, one, m, band, inverse)
        _sandwiches(inverse, terms, held, one, m, bent, sums)
        for i in range(min(LANES, n - start)):
            lens = start + i
            for k in range(m):
                factor[lens, k, 0] = pivot[k * LANES + i]
                for d in range(1, band):
                    factor[lens, k, d] = root[k * row + d * LANES + i]
                for lag in range(lags):
                    covariance[lens, lag, k] = sums[(k * wide + lag) * LANES + i]


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
