"""Spots of a laser frame: PSFlets on bicubic splines added to images, and the transposes that least squares needs.

Nodes stand half a pixel apart, so neighbouring pixels use every other node: coefficient images come with their even
columns first and their odd columns behind (`psflets.split_columns`), which makes neighbours stand side by side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.loops.compiling import compiled

# Compiled in: whoever changes them edits this file too, else old machine code is kept.
from archive_proc.kernels.psflets import HALF, NODES, START, WINDOW

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

_SPLIT = NODES // 2
_ROWS = 2 * WINDOW + 2
"""Node rows that a window's pixels use."""
_CORE = 3
"""Pixels at each side of the window that the fit of single spots leaves out."""
_MOST = 60
"""Spots that share a pixel, at most: four to six do."""


@compiled
def spline_weights(t: float) -> tuple[float, float, float, float]:
    """Cubic B-spline weights of the four nodes around a place `t` in [0, 1) behind the second one."""
    s = 1.0 - t
    return (
        s * s * s / 6.0,
        (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
        (4.0 - 6.0 * s * s + 3.0 * s * s * s) / 6.0,
        t * t * t / 6.0,
    )


@compiled
def spline_slopes(t: float) -> tuple[float, float, float, float]:
    """Derivatives of `spline_weights` after the spot's place in pixels."""
    s = 1.0 - t
    return (s * s, 4.0 * t - 3.0 * t * t, 3.0 * s * s - 4.0 * s, -t * t)


@compiled
def spot_place(center: float) -> tuple[int, int, float]:
    """First pixel of the window, first node, place behind the second node."""
    pixel = int(np.floor(center + 0.5))
    t = (START - HALF - (center - pixel)) * 2.0
    node = int(np.floor(t))
    return pixel - HALF, node - 1, t - node


@compiled
def _across(
    coefficients: Float32, row: int, node: int, weights: tuple[float, float, float, float], line: Float32
) -> None:
    """Columns of pixels from columns of nodes: line (_ROWS, WINDOW) for node rows `row`..."""
    w0, w1 = np.float32(weights[0]), np.float32(weights[1])
    w2, w3 = np.float32(weights[2]), np.float32(weights[3])
    c0 = (node % 2) * _SPLIT + node // 2
    c1 = ((node + 1) % 2) * _SPLIT + (node + 1) // 2
    for r in range(_ROWS):
        from_ = coefficients[row + r]
        to = line[r]
        for i in range(WINDOW):
            to[i] = w0 * from_[c0 + i] + w1 * from_[c1 + i] + w2 * from_[c0 + 1 + i] + w3 * from_[c1 + 1 + i]


@compiled
def stamp(coefficients: Float32, x: float, y: float, out: Float32) -> None:
    """Fill (17, 17) with the PSFlet of (nodes, nodes) split `coefficients` (rows y) centred at (x, y)."""
    _, node_x, tx = spot_place(x)
    _, node_y, ty = spot_place(y)
    line = np.empty((_ROWS, WINDOW), np.float32)
    _across(coefficients, node_y, node_x, spline_weights(tx), line)
    b = spline_weights(ty)
    b0, b1, b2, b3 = np.float32(b[0]), np.float32(b[1]), np.float32(b[2]), np.float32(b[3])
    for j in range(WINDOW):
        for i in range(WINDOW):
            out[j, i] = (
                b0 * line[2 * j, i] + b1 * line[2 * j + 1, i] + b2 * line[2 * j + 2, i] + b3 * line[2 * j + 3, i]
            )


@compiled
def add_spots(image: Float32, coefficients: Float32, x: Float64, y: Float64, amplitude: Float64) -> None:
    """Add n spots of (n, nodes, nodes) split coefficients to the image (ny, nx)."""
    ny, nx = image.shape
    line = np.empty((_ROWS, WINDOW), np.float32)
    for n in range(x.size):
        x0, node_x, tx = spot_place(x[n])
        y0, node_y, ty = spot_place(y[n])
        if x0 <= -WINDOW or y0 <= -WINDOW or x0 >= nx or y0 >= ny:
            continue
        _across(coefficients[n], node_y, node_x, spline_weights(tx), line)
        b = spline_weights(ty)
        a = amplitude[n]
        b0, b1, b2, b3 = np.float32(a * b[0]), np.float32(a * b[1]), np.float32(a * b[2]), np.float32(a * b[3])
        left, right = max(0, -x0), min(WINDOW, nx - x0)
        for j in range(max(0, -y0), min(WINDOW, ny - y0)):
            to = image[y0 + j, x0 + left : x0 + right]
            l0, l1 = line[2 * j, left:right], line[2 * j + 1, left:right]
            l2, l3 = line[2 * j + 2, left:right], line[2 * j + 3, left:right]
            for i in range(right - left):
                to[i] += b0 * l0[i] + b1 * l1[i] + b2 * l2[i] + b3 * l3[i]


@compiled
def gather_spots(image: Float32, x: Float64, y: Float64, amplitude: Float64, out: Float32) -> None:
    """The transpose of `add_spots` with respect to the coefficients: out (n, nodes, nodes) is overwritten."""
    ny, nx = image.shape
    line = np.empty((_ROWS, WINDOW), np.float32)
    for n in range(x.size):
        x0, node_x, tx = spot_place(x[n])
        y0, node_y, ty = spot_place(y[n])
        out[n] = np.float32(0)
        if x0 <= -WINDOW or y0 <= -WINDOW or x0 >= nx or y0 >= ny:
            continue
        b = spline_weights(ty)
        a = amplitude[n]
        b0, b1, b2, b3 = np.float32(a * b[0]), np.float32(a * b[1]), np.float32(a * b[2]), np.float32(a * b[3])
        left, right = max(0, -x0), min(WINDOW, nx - x0)
        line[:] = np.float32(0)
        for j in range(max(0, -y0), min(WINDOW, ny - y0)):
            from_ = image[y0 + j, x0 + left : x0 + right]
            l0, l1 = line[2 * j, left:right], line[2 * j + 1, left:right]
            l2, l3 = line[2 * j + 2, left:right], line[2 * j + 3, left:right]
            for i in range(right - left):
                v = from_[i]
                l0[i] += b0 * v
                l1[i] += b1 * v
                l2[i] += b2 * v
                l3[i] += b3 * v
        w = spline_weights(tx)
        w0, w1, w2, w3 = np.float32(w[0]), np.float32(w[1]), np.float32(w[2]), np.float32(w[3])
        c0 = (node_x % 2) * _SPLIT + node_x // 2
        c1 = ((node_x + 1) % 2) * _SPLIT + (node_x + 1) // 2
        for r in range(_ROWS):
            to, of = out[n, node_y + r], line[r]
            for i in range(WINDOW):
                to[c0 + i] += w0 * of[i]
            for i in range(WINDOW):
                to[c1 + i] += w1 * of[i]
            for i in range(WINDOW):
                to[c0 + 1 + i] += w2 * of[i]
            for i in range(WINDOW):
                to[c1 + 1 + i] += w3 * of[i]


@compiled
def gather_squares(weight: Float32, x: Float64, y: Float64, amplitude: Float64, out: Float32) -> None:
    """Diagonal of the coefficients' normal matrix: sums of weight (amplitude spline)^2, out (n, nodes, nodes) split."""
    ny, nx = weight.shape
    for n in range(x.size):
        x0, node_x, tx = spot_place(x[n])
        y0, node_y, ty = spot_place(y[n])
        a = spline_weights(tx)
        b = spline_weights(ty)
        out[n] = np.float32(0)
        for j in range(max(0, -y0), min(WINDOW, ny - y0)):
            for i in range(max(0, -x0), min(WINDOW, nx - x0)):
                w = weight[y0 + j, x0 + i] * amplitude[n] * amplitude[n]
                for m in range(4):
                    node = node_x + 2 * i + m
                    column = (node % 2) * _SPLIT + node // 2
                    for k in range(4):
                        out[n, node_y + 2 * j + k, column] += w * b[k] * b[k] * a[m] * a[m]


@compiled
def count_members(chosen: Int32, x: Float64, y: Float64, start: Int64) -> None:
    """How many spots reach each chosen pixel: `chosen` (ny, nx) its number or -1.

    `start` (pixels + 1,), zeros, receives the running sums.
    """
    ny, nx = chosen.shape
    for n in range(x.size):
        x0, y0 = spot_place(x[n])[0], spot_place(y[n])[0]
        for j in range(max(0, -y0), min(WINDOW, ny - y0)):
            for i in range(max(0, -x0), min(WINDOW, nx - x0)):
                p = chosen[y0 + j, x0 + i]
                if p >= 0:
                    start[p + 1] += 1
    for p in range(start.size - 1):
        start[p + 1] += start[p]


@compiled
def list_members(chosen: Int32, x: Float64, y: Float64, laser: Int64, start: Int64, member: Int32, key: Int64) -> None:
    """The spots that reach each chosen pixel, in member[start[p]:start[p + 1]], and where under its nearest spot it is.

    `key` (pixels,) receives a number that pixels share whose nearest spot is of one laser and equally far away.
    """
    ny, nx = chosen.shape
    used = np.zeros(key.size, np.int32)
    nearest = np.full(key.size, 1000, np.int32)
    for n in range(x.size):
        x0, y0 = spot_place(x[n])[0], spot_place(y[n])[0]
        for j in range(max(0, -y0), min(WINDOW, ny - y0)):
            for i in range(max(0, -x0), min(WINDOW, nx - x0)):
                p = chosen[y0 + j, x0 + i]
                if p >= 0:
                    member[start[p] + used[p]] = n
                    used[p] += 1
                    away = (j - HALF) * (j - HALF) + (i - HALF) * (i - HALF)
                    if away < nearest[p]:
                        nearest[p] = away
                        key[p] = (laser[n] * WINDOW + j) * WINDOW + i


@compiled
def add_normal(
    pixels: Int64,
    order: Int64,
    width: int,
    weight: Float32,
    start: Int64,
    member: Int32,
    x: Float64,
    y: Float64,
    amplitude: Float64,
    laser: Int64,
    extra: Float32,
    out: Float32,
    beside: Float64,
) -> None:
    """Normal matrix of one coefficient image a laser (split columns) and of some extra images, over chosen pixels.

    `pixels` (p,) flat places, walked through in `order`; `weight` (p,); `extra` (e, ny * nx). `out`, square of lasers *
    nodes^2, receives half of it: it is to be added to its transpose. `beside` (lasers * nodes^2 + e, e) receives the
    columns of the extra images.
    """
    values = np.empty((_MOST, 4, 4), np.float32)
    rows = np.empty((_MOST, 4), np.int64)
    columns = np.empty((_MOST, 4), np.int64)
    size = NODES * NODES
    for at in range(order.size):
        p = order[at]
        row, column = pixels[p] // width, pixels[p] % width
        w = weight[p]
        count = min(start[p + 1] - start[p], _MOST)
        for s in range(count):
            n = member[start[p] + s]
            x0, node_x, tx = spot_place(x[n])
            y0, node_y, ty = spot_place(y[n])
            a = spline_weights(tx)
            b = spline_weights(ty)
            first = node_x + 2 * (column - x0)
            for k in range(4):
                rows[s, k] = laser[n] * size + (node_y + 2 * (row - y0) + k) * NODES
                node = first + k
                columns[s, k] = (node % 2) * _SPLIT + node // 2
                for m in range(4):
                    values[s, k, m] = np.float32(amplitude[n] * b[k] * a[m])
        for s in range(count):
            for k in range(4):
                for m in range(4):
                    v = w * values[s, k, m]
                    line = out[rows[s, k] + columns[s, m]]
                    for e in range(extra.shape[0]):
                        beside[rows[s, k] + columns[s, m], e] += v * extra[e, pixels[p]]
                    for t in range(s, count):
                        u = v if t > s else np.float32(0.5) * v
                        # Columns node, node + 2 stand side by side, and so do node + 1, node + 3.
                        c0, c1 = columns[t, 0], columns[t, 1]
                        for q in range(4):
                            r = rows[t, q]
                            line[r + c0] += u * values[t, q, 0]
                            line[r + c0 + 1] += u * values[t, q, 2]
                            line[r + c1] += u * values[t, q, 1]
                            line[r + c1 + 1] += u * values[t, q, 3]
        last = beside.shape[0] - extra.shape[0]
        for e in range(extra.shape[0]):
            for f in range(extra.shape[0]):
                beside[last + e, f] += w * extra[e, pixels[p]] * extra[f, pixels[p]]


@compiled
def fit_spots(
    residual: Float32, weight: Float32, coefficients: Float32, x: Float64, y: Float64, amplitude: Float64, out: Float64
) -> None:
    """Linearised corrections of n spots from the residual of the whole model: out (n, 6).

    Columns: relative change of amplitude, dx, dy (px); their variances, the diagonal of the inverse normal matrix.
    NaN where good pixels are missing.
    """
    ny, nx = residual.shape
    line, slope = np.empty((_ROWS, WINDOW), np.float32), np.empty((_ROWS, WINDOW), np.float32)
    normal = np.empty((3, 3))
    right = np.empty(3)
    for n in range(x.size):
        x0, node_x, tx = spot_place(x[n])
        y0, node_y, ty = spot_place(y[n])
        _across(coefficients[n], node_y, node_x, spline_weights(tx), line)
        _across(coefficients[n], node_y, node_x, spline_slopes(tx), slope)
        b = spline_weights(ty)
        d = spline_slopes(ty)
        normal[:] = 0.0
        right[:] = 0.0
        for j in range(max(_CORE, -y0), min(WINDOW - _CORE, ny - y0)):
            for i in range(max(_CORE, -x0), min(WINDOW - _CORE, nx - x0)):
                w = weight[y0 + j, x0 + i]
                if w <= 0.0:
                    continue
                r = residual[y0 + j, x0 + i]
                g0, g1, g2 = 0.0, 0.0, 0.0
                for k in range(4):
                    g0 += b[k] * line[2 * j + k, i]
                    g1 += b[k] * slope[2 * j + k, i]
                    g2 += d[k] * line[2 * j + k, i]
                g0, g1, g2 = amplitude[n] * g0, amplitude[n] * g1, amplitude[n] * g2
                normal[0, 0] += w * g0 * g0
                normal[0, 1] += w * g0 * g1
                normal[0, 2] += w * g0 * g2
                normal[1, 1] += w * g1 * g1
                normal[1, 2] += w * g1 * g2
                normal[2, 2] += w * g2 * g2
                right[0] += w * g0 * r
                right[1] += w * g1 * r
                right[2] += w * g2 * r
        normal[1, 0], normal[2, 0], normal[2, 1] = normal[0, 1], normal[0, 2], normal[1, 2]
        for k in range(6):
            out[n, k] = np.nan
        if normal[0, 0] <= 0 or normal[1, 1] <= 0 or normal[2, 2] <= 0:
            continue
        for k in range(3):
            normal[k, k] *= 1.0 + 1e-9
        inverse = np.linalg.inv(normal)
        step = inverse @ right
        for k in range(3):
            out[n, k] = step[k]
            out[n, 3 + k] = inverse[k, k]
