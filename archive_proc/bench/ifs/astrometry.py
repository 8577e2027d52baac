"""Where a companion stands on the sky, by the centred cube and its angles alone, beside where it was put."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.ifs.known import Companion, Float, Scene
from archive_proc.bench.ifs.products import Archive, Variables, file_of

CENTERED = "ifs_centered_cube"
REACH_PX = 4.0
"""Radius of the disc that a companion's light is centred in: half of lambda / D at 1.2 um is 2 px."""
RING_PX = (6.0, 9.0)
ROUNDS = 5
"""Of moving the disc to the centre found."""


def companion_distance_mas(archive: Archive, scenes: Sequence[Scene], kind: str, contrast: float) -> float | None:
    """Mean over planes of a companion's place less the true one, its length in mas; None where there is none.

    The true place is separation and position angle on the sky, turned into the cube by its own `derotation_angle`: a
    wrong sense or zero of the angle shows in full. What is symmetric about the star is taken off first.
    """
    away = []
    for scene in scenes:
        for product in reversed(archive.of_type(CENTERED)):
            dataset = product.open()
            own = file_of(dataset, scene)
            if len(own):
                away += [
                    _offset_mas(dataset, int(row), one)
                    for row, listed in zip(own, scene.companions, strict=True)
                    for one in listed
                    if one.kind == kind and abs(one.contrast - contrast) <= 0.01 * contrast
                ]
                break
    if not away or not np.isfinite(away).all():
        return None
    return float(np.hypot(*np.mean(away, axis=0)))


def _offset_mas(dataset: Variables, row: int, companion: Companion) -> Float:
    """(2,) found less true place on the sky, mas; NaN where the sky place is not known or no light is there.

    Turned with the field, so that planes can be averaged.
    """
    turn = np.deg2rad(companion.position_angle_deg - float(dataset["derotation_angle"].values[row]))
    scale = float(np.median(np.asarray(dataset["pixel_scale"], np.float64)))
    radial = np.array([-np.sin(turn), np.cos(turn)])
    sideways = np.array([-np.cos(turn), -np.sin(turn)])
    flux = np.asarray(dataset["flux"][row].values, np.float64)
    middle = flux.shape[-1] // 2
    true = middle + companion.separation_mas / scale * radial
    if not np.isfinite(true).all():
        return np.full(2, np.nan)
    light = np.where(_lit(flux) & np.isfinite(flux), flux, 0.0).sum(axis=0)
    light[1:, 1:] -= light[1:, 1:][::-1, ::-1].copy()
    found = _centroid(light, true)
    return np.asarray(scale * np.array([(found - true) @ radial, (found - true) @ sideways]))


def _lit(flux: Float) -> NDArray[np.bool_]:
    """(k, 1, 1) channels with light: those beyond the filter's edges hold noise."""
    bright = np.nanmedian(flux, axis=(1, 2))
    return np.asarray(bright > 0.3 * np.nanmax(bright))[:, None, None]


def _centroid(light: Float, guess: Float) -> Float:
    """(2,) x and y of the light in a disc over its ring; NaN where the disc leaves the guess's neighbourhood."""
    y, x = np.mgrid[0 : light.shape[0], 0 : light.shape[1]]
    place = guess.copy()
    for _ in range(ROUNDS):
        away = np.hypot(x - place[0], y - place[1])
        inside, ring = away < REACH_PX, (away > RING_PX[0]) & (away < RING_PX[1])
        over = np.maximum(light[inside] - np.median(light[ring]), 0.0)
        if not over.any():
            return np.full(2, np.nan)
        place = np.array([np.sum(over * x[inside]), np.sum(over * y[inside])]) / over.sum()
        if np.hypot(*(place - guess)) > REACH_PX:
            return np.full(2, np.nan)
    return place
