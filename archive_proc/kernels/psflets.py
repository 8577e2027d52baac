"""PSFlets: the light of one lenslet at one wavelength on the detector, measured on laser frames.

An effective PSF (Anderson & King 2000, PASP 112, 1360): it contains the pixel's response and is sampled, never
integrated again. It is a bicubic B-spline with nodes every half pixel whose coefficients are polynomials of the field
and of wavelength. One common image for the whole field and all lasers, with bound deviations, is what tells a wing from
the neighbour's light: the next lenslet's spot of another laser stands five pixels away, always at the same place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from archive_proc.kernels.dispersion import field_terms

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

HALF = 8
"""Pixels on each side of the one under the spot: a narrower window loses wings that neighbours then take over."""
WINDOW = 2 * HALF + 1
NODES = 40
"""Spline nodes along a side, half a pixel apart."""
_START = 9.5
"""Offset of the first node from the PSFlet's centre, px."""


@njit(cache=True)
def spline_weights(t: float) -> tuple[float, float, float, float]:  # pragma: no cover  # compiled
    """Cubic B-spline weights of the four nodes around a place `t` in [0, 1) behind the second one."""
    s = 1.0 - t
    return (
        s * s * s / 6.0,
        (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
        (4.0 - 6.0 * s * s + 3.0 * s * s * s) / 6.0,
        t * t * t / 6.0,
    )


@njit(cache=True)
def _place(center: float) -> tuple[int, int, float]:  # pragma: no cover
    """First pixel of the window, first node, place behind the second node."""
    pixel = int(np.floor(center + 0.5))
    t = (_START - HALF - (center - pixel)) * 2.0
    node = int(np.floor(t))
    return pixel - HALF, node - 1, t - node


@njit(cache=True)
def stamp(coefficients: Float32, x: float, y: float, out: Float32) -> None:  # pragma: no cover
    """Fill (17, 17) with the PSFlet of (nodes, nodes) `coefficients` (rows y) centred at (x, y)."""
    _, nx, tx = _place(x)
    _, ny, ty = _place(y)
    a0, a1, a2, a3 = spline_weights(tx)
    b0, b1, b2, b3 = spline_weights(ty)
    for j in range(WINDOW):
        r = ny + 2 * j
        for i in range(WINDOW):
            c = nx + 2 * i
            v0 = a0 * coefficients[r, c] + a1 * coefficients[r, c + 1]
            v0 += a2 * coefficients[r, c + 2] + a3 * coefficients[r, c + 3]
            v1 = a0 * coefficients[r + 1, c] + a1 * coefficients[r + 1, c + 1]
            v1 += a2 * coefficients[r + 1, c + 2] + a3 * coefficients[r + 1, c + 3]
            v2 = a0 * coefficients[r + 2, c] + a1 * coefficients[r + 2, c + 1]
            v2 += a2 * coefficients[r + 2, c + 2] + a3 * coefficients[r + 2, c + 3]
            v3 = a0 * coefficients[r + 3, c] + a1 * coefficients[r + 3, c + 1]
            v3 += a2 * coefficients[r + 3, c + 2] + a3 * coefficients[r + 3, c + 3]
            out[j, i] = b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3


@njit(cache=True)
def _spread(out: Float32, x: float, y: float, values: Float32) -> None:  # pragma: no cover
    """The transpose of `stamp`: add (17, 17) `values` to (nodes, nodes) `out`."""
    _, nx, tx = _place(x)
    _, ny, ty = _place(y)
    a = spline_weights(tx)
    b = spline_weights(ty)
    line = np.zeros(NODES, np.float32)
    for j in range(WINDOW):
        line[:] = 0.0
        for i in range(WINDOW):
            c = nx + 2 * i
            v = values[j, i]
            for k in range(4):
                line[c + k] += a[k] * v
        for k in range(4):
            row = ny + 2 * j + k
            for i in range(NODES):
                out[row, i] += b[k] * line[i]


@njit(cache=True)
def add_spots(
    image: Float32, coefficients: Float32, x: Float64, y: Float64, amplitude: Float64
) -> None:  # pragma: no cover
    """Add n spots of (n, nodes, nodes) coefficients to the image."""
    ny, nx = image.shape
    values = np.empty((WINDOW, WINDOW), np.float32)
    for n in range(x.size):
        stamp(coefficients[n], x[n], y[n], values)
        x0, y0 = _place(x[n])[0], _place(y[n])[0]
        for j in range(max(0, -y0), min(WINDOW, ny - y0)):
            for i in range(max(0, -x0), min(WINDOW, nx - x0)):
                image[y0 + j, x0 + i] += amplitude[n] * values[j, i]


@njit(cache=True)
def gather_spots(image: Float32, x: Float64, y: Float64, amplitude: Float64, out: Float32) -> None:  # pragma: no cover
    """The transpose of `add_spots` with respect to the coefficients: out (n, nodes, nodes) is overwritten."""
    ny, nx = image.shape
    values = np.empty((WINDOW, WINDOW), np.float32)
    for n in range(x.size):
        x0, y0 = _place(x[n])[0], _place(y[n])[0]
        values[:] = 0.0
        for j in range(max(0, -y0), min(WINDOW, ny - y0)):
            for i in range(max(0, -x0), min(WINDOW, nx - x0)):
                values[j, i] = amplitude[n] * image[y0 + j, x0 + i]
        out[n] = 0.0
        _spread(out[n], x[n], y[n], values)


@njit(cache=True)
def dot_spots(
    image: Float32, coefficients: Float32, x: Float64, y: Float64, amplitude: Float64, out: Float64
) -> None:  # pragma: no cover
    """The transpose of `add_spots` with respect to relative amplitudes: out (n,)."""
    ny, nx = image.shape
    values = np.empty((WINDOW, WINDOW), np.float32)
    for n in range(x.size):
        stamp(coefficients[n], x[n], y[n], values)
        x0, y0 = _place(x[n])[0], _place(y[n])[0]
        total = 0.0
        for j in range(max(0, -y0), min(WINDOW, ny - y0)):
            for i in range(max(0, -x0), min(WINDOW, nx - x0)):
                total += image[y0 + j, x0 + i] * values[j, i]
        out[n] = amplitude[n] * total


@njit(cache=True)
def gather_squares(
    weight: Float32, x: Float64, y: Float64, amplitude: Float64, out: Float32
) -> None:  # pragma: no cover
    """Diagonal of the coefficients' normal matrix: sums of weight (amplitude spline)^2, out (n, nodes, nodes)."""
    ny, nx = weight.shape
    for n in range(x.size):
        x0, node_x, tx = _place(x[n])
        y0, node_y, ty = _place(y[n])
        a = spline_weights(tx)
        b = spline_weights(ty)
        out[n] = 0.0
        for j in range(max(0, -y0), min(WINDOW, ny - y0)):
            for i in range(max(0, -x0), min(WINDOW, nx - x0)):
                w = weight[y0 + j, x0 + i] * amplitude[n] * amplitude[n]
                for k in range(4):
                    for m in range(4):
                        out[n, node_y + 2 * j + k, node_x + 2 * i + m] += w * b[k] * b[k] * a[m] * a[m]


@njit(cache=True)
def common_normal(
    weight: Float32,
    x: Float64,
    y: Float64,
    amplitude: Float64,
    laser: NDArray[np.int64],
    lasers: int,
    extra: Float32,
    out: Float64,
) -> None:  # pragma: no cover
    """Normal matrix of one coefficient image a laser, and of some extra images, over the pixels with weight.

    x, y, amplitude, laser (n,) all spots; extra (e, ny, nx); out square, lasers * nodes^2 + e, zero to begin with: the
    upper triangle is filled.
    """
    ny, nx = weight.shape
    start = np.zeros(ny * nx + 1, np.int32)
    for fill in range(2):
        if fill:
            total = 0
            for p in range(ny * nx):
                count = start[p]
                start[p] = total
                total += count
            start[ny * nx] = total
            member = np.empty(total, np.int32)
            used = np.zeros(ny * nx, np.int16)
        for n in range(x.size):
            x0, y0 = _place(x[n])[0], _place(y[n])[0]
            for j in range(max(0, -y0), min(WINDOW, ny - y0)):
                for i in range(max(0, -x0), min(WINDOW, nx - x0)):
                    p = (y0 + j) * nx + x0 + i
                    if weight[y0 + j, x0 + i] > 0:
                        if fill:
                            member[start[p] + used[p]] = n
                            used[p] += 1
                        else:
                            start[p] += 1
    place = np.empty(64 * 16, np.int64)
    value = np.empty(64 * 16)
    for p in range(ny * nx):
        row, column = p // nx, p % nx
        w = weight[row, column]
        if w <= 0 or start[p + 1] == start[p]:
            continue
        count = 0
        for index in range(start[p], min(start[p + 1], start[p] + 60)):
            n = member[index]
            x0, node_x, tx = _place(x[n])
            y0, node_y, ty = _place(y[n])
            a = spline_weights(tx)
            b = spline_weights(ty)
            for k in range(4):
                for m in range(4):
                    place[count] = laser[n] * NODES * NODES + (node_y + 2 * (row - y0) + k) * NODES
                    place[count] += node_x + 2 * (column - x0) + m
                    value[count] = amplitude[n] * b[k] * a[m]
                    count += 1
        for e in range(extra.shape[0]):
            place[count] = lasers * NODES * NODES + e
            value[count] = extra[e, row, column]
            count += 1
        for k in range(count):
            v = w * value[k]
            i = place[k]
            for m in range(count):
                if place[m] >= i:
                    out[i, place[m]] += v * value[m]


@njit(cache=True)
def fit_spots(
    residual: Float32, weight: Float32, coefficients: Float32, x: Float64, y: Float64, amplitude: Float64, out: Float64
) -> None:  # pragma: no cover
    """Linearised corrections of n spots from the residual of the whole model: out (n, 6).

    Columns: relative change of amplitude, dx, dy (px), their variances are on the diagonal of the inverse normal
    matrix (columns 3-5). The derivative is that of the spline by central differences over 0.02 px.
    """
    ny, nx = residual.shape
    v = np.empty((WINDOW, WINDOW), np.float32)
    vx0, vx1 = np.empty_like(v), np.empty_like(v)
    vy0, vy1 = np.empty_like(v), np.empty_like(v)
    step = 0.01
    normal = np.empty((3, 3))
    right = np.empty(3)
    for n in range(x.size):
        # Windows must not jump when the centre crosses a pixel's edge: keep away from it.
        cx, cy = x[n], y[n]
        edge = cx + 0.5 - np.floor(cx + 0.5)
        if edge < 0.02 or edge > 0.98:
            cx += 0.03 if edge < 0.5 else -0.03
        edge = cy + 0.5 - np.floor(cy + 0.5)
        if edge < 0.02 or edge > 0.98:
            cy += 0.03 if edge < 0.5 else -0.03
        stamp(coefficients[n], cx, cy, v)
        stamp(coefficients[n], cx - step, cy, vx0)
        stamp(coefficients[n], cx + step, cy, vx1)
        stamp(coefficients[n], cx, cy - step, vy0)
        stamp(coefficients[n], cx, cy + step, vy1)
        x0, y0 = _place(cx)[0], _place(cy)[0]
        normal[:] = 0.0
        right[:] = 0.0
        for j in range(max(3, -y0), min(WINDOW - 3, ny - y0)):
            for i in range(max(3, -x0), min(WINDOW - 3, nx - x0)):
                w = weight[y0 + j, x0 + i]
                if w <= 0.0:
                    continue
                r = residual[y0 + j, x0 + i]
                g0 = amplitude[n] * v[j, i]
                g1 = amplitude[n] * (vx1[j, i] - vx0[j, i]) / (2 * step)
                g2 = amplitude[n] * (vy1[j, i] - vy0[j, i]) / (2 * step)
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
        step_found = inverse @ right
        for k in range(3):
            out[n, k] = step_found[k]
            out[n, 3 + k] = inverse[k, k]


@dataclass(frozen=True, slots=True)
class PsfletModel:
    """Coefficients over field and wavelength."""

    terms: Float64
    """(n_terms, nodes, nodes) coefficient images."""
    powers: NDArray[np.int64]
    """(n_terms, 2) column of the orthonormal field polynomials and power of the colour coordinate."""
    colour_um: tuple[float, float]
    """Wavelengths, um, at which the colour coordinate is -1 and +1; it is held constant outside."""
    orthonormal: Float64
    """(field terms, field terms) turns `field_terms` into polynomials that are orthonormal over the lenslets."""

    def colour(self, wavelength: Float64) -> Float64:
        """The colour coordinate of wavelengths in um."""
        low, high = self.colour_um
        return np.asarray(np.clip(2.0 * (np.asarray(wavelength, np.float64) - low) / (high - low) - 1.0, -1.0, 1.0))

    def field(self, x: Float64, y: Float64) -> Float64:
        """(n, field terms) orthonormal polynomials of lenslets at (x, y) pitches."""
        return np.asarray(field_terms(x, y) @ self.orthonormal)

    def design(self, x: Float64, y: Float64, wavelength: float) -> Float32:
        """(n, n_terms) weights of the terms for lenslets at (x, y) pitches."""
        u = float(self.colour(np.array(wavelength)))
        chosen = self.field(x, y)[:, self.powers[:, 0]]
        return np.asarray(chosen * u ** self.powers[:, 1][None, :], np.float32)

    def coefficients(self, x: Float64, y: Float64, wavelength: float) -> Float32:
        """(n, nodes, nodes) float32 coefficient images of lenslets at one wavelength."""
        flat = self.terms.reshape(len(self.terms), -1).astype(np.float32)
        return np.asarray(self.design(x, y, wavelength) @ flat).reshape(-1, NODES, NODES)

    def by_power(self, x: Float64, y: Float64) -> Float32:
        """(n, powers, nodes, nodes) coefficient images that multiply each power of the colour coordinate."""
        field = self.field(x, y)
        highest = int(self.powers[:, 1].max())
        out = np.zeros((len(x), highest + 1, NODES, NODES), np.float32)
        for power in range(highest + 1):
            chosen = self.powers[:, 1] == power
            flat = self.terms[chosen].reshape(int(chosen.sum()), -1).astype(np.float32)
            design = field[:, self.powers[chosen, 0]].astype(np.float32)
            out[:, power] = (design @ flat).reshape(-1, NODES, NODES)
        return out


def orthonormal_field(x: Float64, y: Float64) -> Float64:
    """The matrix that makes `field_terms` orthonormal over these lenslets (mean square 1, first column 1)."""
    order = np.argsort([i + j for i in range(4) for j in range(4 - i)], kind="stable")
    terms = field_terms(x, y)[:, order]
    _, upper = np.linalg.qr(terms / np.sqrt(len(x)))
    upper *= np.sign(np.diag(upper))[:, None]
    turned = np.zeros((terms.shape[1], terms.shape[1]))
    turned[order] = np.linalg.inv(upper)
    return turned


def field_degrees() -> NDArray[np.int64]:
    """Total degree of the orthonormal polynomials' columns."""
    return np.sort([i + j for i in range(4) for j in range(4 - i)])
