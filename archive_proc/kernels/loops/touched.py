"""Compiled loops: pixels that disagree with a plane's model, and what they are to the lenslets they touch."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from archive_proc.kernels.loops.rows import ROW
from archive_proc.kernels.microspectra import HIGH
from archive_proc.kernels.plane_light import BLOCK

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]

_SQUARE = 8
"""Pixels along a side of the squares in which missing ones are looked for first."""


@njit(cache=True)
def outlying(
    light: Float32,
    residual: Float32,
    floor: Float32,
    response: Float32,
    good: UInt8,
    noise: float,
    error: float,
    limits: tuple[float, float, float],
    out: UInt8,
) -> int:  # pragma: no cover
    """Mark pixels of one plane beyond limits[0] sigma in out (ny, nx); their number.

    The model is light - residual; sigma^2 = noise x (floor + model / response) + (error x brightest model within a
    pixel)^2.
    Those beyond limits[1] take neighbours beyond limits[2] with them. Bad pixels are left out.
    """
    ny, nx = residual.shape
    level, line, places = np.zeros((ny, nx), np.uint8), np.empty(nx, np.float32), np.empty(nx + 1, np.int64)
    count, least = 0, limits[2] ** 2
    for y in range(ny):
        own, away, base, part, known, marks = light[y], residual[y], floor[y], response[y], good[y], out[y]
        # Whole rows first: next to all pixels agree, which is told without a jump. The brightest model within a pixel
        # is no fainter than the pixel's own.
        for x in range(line.size):
            line[x] = max(own[x] - away[x], np.float32(0.0))
        for x in range(line.size):
            sigma2 = noise * (base[x] + line[x] / part[x]) + (error * line[x]) ** 2
            marks[x] = np.uint8(0) if away[x] * away[x] <= least * sigma2 else known[x]
        found = 0
        for x in range(line.size):
            # A place is written for every pixel, and kept where it is one of those.
            places[found] = x
            found += marks[x] > 0
        for place in range(found):
            x = places[place]
            marks[x] = 0
            r2 = away[x] * away[x]
            bright = np.float32(0.0)
            if 0 < y < ny - 1 and 0 < x < nx - 1:
                for yy in range(y - 1, y + 2):
                    for xx in range(x - 1, x + 2):
                        bright = max(bright, light[yy, xx] - residual[yy, xx])
            else:
                for yy in range(max(0, y - 1), min(ny, y + 2)):
                    for xx in range(max(0, x - 1), min(nx, x + 2)):
                        bright = max(bright, light[yy, xx] - residual[yy, xx])
            sigma2 = noise * (base[x] + line[x] / part[x]) + (error * bright) ** 2
            if r2 > least * sigma2:
                level[y, x] = 1
            if r2 > limits[0] ** 2 * sigma2:
                level[y, x] = 2
                marks[x] = 1
                count += 1
            if r2 > limits[1] ** 2 * sigma2:
                level[y, x] = 3
    if count == 0:
        return count
    for y in range(ny):
        for x in range(nx):
            if level[y, x] == 3:
                for yy in range(max(0, y - 1), min(ny, y + 2)):
                    for xx in range(max(0, x - 1), min(nx, x + 2)):
                        if level[yy, xx] >= 1 and out[yy, xx] == 0:
                            out[yy, xx] = 1
                            count += 1
    return count


@njit(cache=True)
def chi_square(
    light: Float32, residual: Float32, floor: Float32, response: Float32, weight: Float32, missing: UInt8, level: float
) -> tuple[float, float, int]:  # pragma: no cover
    """Mean of squared residual over variance of one plane's pixels with more model light than `level`, capped at 25.

    Also the residual's rms there, and their number. The cap keeps what is left of cosmic rays from deciding.
    """
    total, squares, count = 0.0, 0.0, 0
    for y in range(weight.shape[0]):
        for x in range(weight.shape[1]):
            if weight[y, x] <= 0 or missing[y, x]:
                continue
            model = light[y, x] - residual[y, x]
            if model > level:
                variance = floor[y, x] + model / response[y, x]
                square = min(residual[y, x] ** 2, np.float32(25.0) * variance)
                total += square / variance
                squares += square
                count += 1
    return total / max(count, 1), np.sqrt(squares / max(count, 1)), count


@njit(cache=True)
def row_offsets(
    light: Float32, residual: Float32, floor: Float32, response: Float32, good: UInt8, width: int, out: Float64
) -> None:  # pragma: no cover
    """Clipped weighted mean residual of each row's read-out outputs of equal parity: out (ny, 2); `width` px an output.

    Shrunk by its own error against the scatter that the rows show: rows without enough pixels are left alone.
    """
    ny, nx = residual.shape
    error = np.zeros((ny, 2))
    for y in range(ny):
        sums, weights = np.zeros(2), np.zeros(2)
        for x in range(nx):
            if not good[y, x]:
                continue
            r = residual[y, x]
            v = floor[y, x] + max(light[y, x] - r, np.float32(0.0)) / response[y, x]
            # Three sigma, and no pixel whose light is far above the noise: the model's error would speak there.
            if r * r < 9.0 * v and v < 4.0 * floor[y, x]:
                parity = (x // width) % 2
                sums[parity] += r / v
                weights[parity] += 1.0 / v
        for parity in range(2):
            out[y, parity] = sums[parity] / weights[parity] if weights[parity] > 0 else 0.0
            error[y, parity] = 1.0 / weights[parity] if weights[parity] > 0 else 1e30
    # What rows share with those around them is the model's error or the background's: noise has no such memory.
    raw = out.copy()
    for parity in range(2):
        for y in range(ny):
            out[y, parity] = raw[y, parity] - np.median(raw[max(0, y - 15) : y + 16, parity])
        known = error[:, parity] < 1e29
        if known.sum() < 2:
            out[:, parity] = 0.0
            continue
        spread, typical = np.mean(out[known, parity] ** 2), np.median(error[known, parity])
        real = max(spread - typical, 0.0)
        for y in range(ny):
            out[y, parity] *= real / (real + error[y, parity]) if real > 0 else 0.0


@njit(cache=True)
def mark_windows(x0: Int32, y0: Int32, out: UInt8) -> None:  # pragma: no cover
    """Set to 0 every pixel of out (ny, nx) that some template's window covers."""
    ny, nx = out.shape
    for lens in range(x0.size):
        left, right = max(0, x0[lens]), min(nx, x0[lens] + ROW)
        below = 0
        for k in range(y0.shape[1]):
            # Channels follow each other along y: rows that the one before covered are done.
            for y in range(max(below, y0[lens, k]), min(ny, y0[lens, k] + HIGH)):
                for x in range(left, right):
                    out[y, x] = 0
            below = max(below, y0[lens, k] + HIGH)


@njit(cache=True)
def subtract_rows(offsets: Float64, width: int, image: Float32) -> None:  # pragma: no cover
    """Take row offsets (ny, 2) off an image."""
    for y in range(image.shape[0]):
        for left in range(0, image.shape[1], width):
            off, to = np.float32(offsets[y, (left // width) % 2]), image[y, left : left + width]
            for i in range(to.size):
                to[i] -= off


@njit(cache=True)
def subtract_sloping(
    background: Float32, response: Float32, shares: tuple[float, float, float], light: Float32, residual: Float32
) -> float:  # pragma: no cover
    """Take shares of background / response as `left_background` finds them off two images; returns their median."""
    ny, nx = background.shape
    some = np.empty((-(-ny // 16), -(-nx // 16)), np.float32)
    for y in range(ny):
        level = np.float32(shares[0] + shares[2] * (y / ny - 0.5))
        slope = np.float32(shares[1] / nx)
        from_, part, one, two = background[y], response[y], light[y], residual[y]
        for x in range(nx):
            off = from_[x] / part[x] * (level + slope * (np.float32(x) - np.float32(0.5 * nx)))
            one[x] -= off
            two[x] -= off
            if x % 16 == 0 and y % 16 == 0:
                some[y // 16, x // 16] = off
    return float(np.median(some))


@njit(cache=True)
def _squares_of(missing: UInt8) -> UInt8:  # pragma: no cover
    """Which squares hold missing pixels."""
    ny, nx = missing.shape
    held = np.zeros((-(-ny // _SQUARE), -(-nx // _SQUARE)), np.uint8)
    for row in range(held.shape[0]):
        found = missing[row * _SQUARE].copy()
        for y in range(row * _SQUARE + 1, min(ny, (row + 1) * _SQUARE)):
            more = missing[y]
            for x in range(found.size):
                found[x] |= more[x]
        for x in range(found.size):
            held[row, x // _SQUARE] |= found[x]
    return held


@njit(cache=True)
def touched_lenslets(
    counts: Int16,
    scale: Float32,
    x0: Int32,
    y0: Int32,
    weight: Float32,
    missing: UInt8,
    residual: Float32,
    information: Float32,
    lost: Float32,
    pull: Float32,
) -> None:  # pragma: no cover
    """What missing pixels are to every channel; 0 where none is near.

    lost (n, m): share of the channel's information that they hold; pull (n,): how many sigma they would move a channel
    at most if they counted with this residual. A hot pixel beside a trace has no share to speak of, yet pulls.
    """
    n, m = scale.shape
    ny, nx = weight.shape
    pulled = np.empty(m)
    # Most lenslets are touched by none: squares tell so at a few looks.
    held = _squares_of(missing)
    for lens in range(n):
        first, last = max(0, y0[lens, 0]), min(ny, y0[lens, m - 1] + HIGH)
        left, right = max(0, x0[lens]), min(nx, x0[lens] + ROW - 1)
        touched = False
        for row_of in range(first // _SQUARE, (last - 1) // _SQUARE + 1 if last > first else 0):
            for column in range(left // _SQUARE, (right - 1) // _SQUARE + 1 if right > left else 0):
                touched = touched or held[row_of, column] > 0
        pull[lens] = 0.0
        for k in range(m):
            lost[lens, k] = 0.0
            pulled[k] = 0.0
        if not touched:
            continue
        for y in range(first, last):
            for x in range(left, right):
                if missing[y, x]:
                    w = weight[y, x]
                    r = abs(residual[y, x])
                    for k in range(m):
                        j = y - y0[lens, k]
                        if 0 <= j < HIGH:
                            v = scale[lens, k] * np.float32(counts[lens, k, j, x - x0[lens]])
                            lost[lens, k] += v * v * w
                            pulled[k] += v * w * r
        for k in range(m):
            if information[lens, k] > 0:
                lost[lens, k] /= information[lens, k]
                pull[lens] = max(pull[lens], pulled[k] / np.sqrt(information[lens, k]))


@njit(cache=True)
def _change(
    away: Float32, light: Float32, variance: Float32, good: UInt8, values: Float64
) -> float:  # pragma: no cover
    """Square of the relative difference of a block's lit pixels from what is expected, beyond their noise."""
    count, noise = 0, 0.0
    for y in range(away.shape[0]):
        # One pixel in three tells enough.
        for x in range(y % 3, away.shape[1], 3):
            v, bright = variance[y, x], light[y, x]
            if good[y, x] and bright > 0 and bright * bright > 100.0 * v:
                values[count] = (away[y, x] / bright) ** 2
                noise += v / (bright * bright)
                count += 1
    if count < 16:
        return 0.0
    # The median of a squared normal variate is 0.455.
    return max(0.0, float(np.median(values[:count])) / 0.455 - noise / count)


@njit(cache=True)
def witnessed(
    plane: Float32,
    clean: Float32,
    scatter: Float32,
    floor: Float32,
    good: UInt8,
    ratio: Float32,
    others: int,
    limits: tuple[float, float, float],
    out: UInt8,
) -> None:  # pragma: no cover
    """Mark in out (ny, nx) what a plane has more than it should have by the planes' common light, `clean`.

    By limits[0] sigma, and neighbours beyond limits[2] sigma of those beyond limits[1]. sigma^2: photons and floor, or
    the planes' own scatter (`common_light`) where that is more; of the `others` that the common light rests on, too;
    and what the lit pixels of a block of BLOCK px change by, as the core of a star does between planes.
    """
    ny, nx = plane.shape
    away, light = np.empty((BLOCK, BLOCK), np.float32), np.empty((BLOCK, BLOCK), np.float32)
    variance, values = np.empty((BLOCK, BLOCK), np.float32), np.empty(BLOCK * BLOCK)
    for top in range(0, ny, BLOCK):
        for left in range(0, nx, BLOCK):
            high, wide = min(BLOCK, ny - top), min(BLOCK, nx - left)
            r = ratio[top // BLOCK, left // BLOCK]
            for j in range(high):
                where = slice(left, left + wide)
                common, from_, base, wild = (
                    clean[top + j, where], plane[top + j, where], floor[top + j, where], scatter[top + j, where],
                )  # fmt: skip
                lit, far, noise = light[j], away[j], variance[j]
                for i in range(wide):
                    lit[i] = r * max(common[i], np.float32(0.0))
                    far[i] = from_[i] - r * common[i]
                    v = max(base[i] + lit[i], r * r * wild[i] * wild[i])
                    noise[i] = v * (1.0 + 1.0 / max(others, 1))
            own = good[top : top + high, left : left + wide]
            change = _change(away[:high, :wide], light[:high, :wide], variance[:high, :wide], own, values)
            for j in range(high):
                marks, known = out[top + j, left : left + wide], good[top + j, left : left + wide]
                lit, far, noise = light[j], away[j], variance[j]
                for i in range(wide):
                    a2, v = far[i] * far[i], noise[i] + change * lit[i] * lit[i]
                    mark = np.uint8(1) if a2 > limits[2] ** 2 * v else np.uint8(0)
                    mark = np.uint8(2) if a2 > limits[0] ** 2 * v else mark
                    mark = np.uint8(3) if a2 > limits[1] ** 2 * v else mark
                    marks[i] = mark if (known[i] > 0) & (far[i] > 0) else np.uint8(0)
    # 1: a neighbour of something bright would go too; 2: an outlier; 3: one that takes neighbours with it; 4: taken.
    for y in range(ny):
        for x in range(nx):
            if out[y, x] == 3:
                for yy in range(max(0, y - 1), min(ny, y + 2)):
                    for xx in range(max(0, x - 1), min(nx, x + 2)):
                        if out[yy, xx] == 1:
                            out[yy, xx] = 4
    for y in range(ny):
        for x in range(nx):
            out[y, x] = 1 if out[y, x] >= 2 else 0
