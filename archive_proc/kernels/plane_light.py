"""What planes have in common on large scales: how bright each is, and the background that their masters left over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

SQUARE = 64
"""Pixels along a side of the squares in which what is left of the background is measured."""
BLOCK = 32
"""Pixels along a side of the blocks in which planes' brightness is compared."""


def left_background(
    residual: Float32, dark: UInt8, background: Float32, response: Float32
) -> tuple[float, float, float]:
    """How much of background / response dark pixels have too much: shares of it, of it times x, and of it times y.

    x and y are places over the image's size, of the middles of columns and rows from -0.5 on. Fitted to medians of
    squares of 64 px; nothing where dark pixels stand in less than six of them, or where no background was taken off.
    """
    ny, nx = residual.shape
    y, x, found, level = [], [], [], []
    for top in range(0, ny - SQUARE // 2, SQUARE):
        for left in range(0, nx - SQUARE // 2, SQUARE):
            where = (slice(top, top + SQUARE), slice(left, left + SQUARE))
            known = dark[where] > 0
            if known.sum() < SQUARE:
                continue
            y.append((top + SQUARE / 2) / ny - 0.5)
            x.append((left + SQUARE / 2) / nx - 0.5)
            found.append(float(np.median(residual[where][known])))
            level.append(float(np.median(background[where][known] / response[where][known])))
    value, scale = np.array(found), np.array(level)
    if value.size < 6 or np.median(scale) <= 0.0:
        return 0.0, 0.0, 0.0
    terms = np.stack([scale, scale * np.array(x), scale * np.array(y)], axis=1)
    keep = np.ones(value.size, bool)
    for _ in range(3):
        fitted = np.linalg.lstsq(terms[keep], value[keep], rcond=None)[0]
        away = np.abs(value - terms @ fitted)
        keep = away <= 4.0 * max(1.4826 * float(np.median(away)), 1e-3)
    all_of_it, along_x, along_y = (float(one) for one in fitted)
    return all_of_it, along_x, along_y


def brightness(light: Float32, good: UInt8, floor: Float32) -> Float32:
    """(p, by, bx) light of each plane over that of the median plane, in blocks; 1 where there is next to none."""
    p, ny, nx = light.shape
    by, bx = -(-ny // BLOCK), -(-nx // BLOCK)
    sums = np.empty((p, by, bx), np.float32)
    full = np.zeros((by * BLOCK, bx * BLOCK), np.float32)
    for one, plane in zip(sums, light, strict=True):
        full[:ny, :nx] = np.where(good > 0, plane, np.float32(0.0))
        # The middle of column sums: a hit changes one of a block's columns.
        one[:] = np.median(full.reshape(by, BLOCK, bx, BLOCK).sum(axis=1), axis=2)
    typical = np.median(sums, axis=0)
    noise = np.sqrt(BLOCK * float(np.median(floor)))
    return np.where(typical > 5.0 * noise, np.clip(sums / np.maximum(typical, 1e-3), 0.05, 20.0), 1.0).astype(
        np.float32
    )
