"""Thermal background ahead of the detector: a vignetted field with a bright arc, drifting and turning.

Its modes are analytic maps of this module's own: scale, slopes, the arc's brightness and place, a ring, a warm patch,
a pattern that turns with twice the derotator angle and one that turns with the parallactic angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from archive_proc.simulate.facts import HALF, Band
from archive_proc.simulate.pupil import Real

MARGIN = 8
"""Largest dither, pixels."""
MODES = (
    "scale", "slope_x", "slope_y", "arc", "arc_place", "ring", "patch",
    "turn_cos", "turn_sin", "field_cos", "field_sin",
)  # fmt: skip
SPREAD = (0.045, 0.010, 0.010, 0.035, 0.020, 0.010, 0.016)
"""Rms of the first seven modes over a night, relative to the level."""
TURN, FIELD = 0.020, 0.014
"""Amplitude of the turning patterns, relative to the level."""


@dataclass(frozen=True, slots=True)
class ThermalState:
    """Coefficients of one half at one time."""

    coefficients: NDArray[np.float32]
    """(len(MODES),) relative to the level."""


class ThermalField:
    """Maps of one half, mean 1 for the base."""

    def __init__(self, band: Band, half: int, rng: np.random.Generator) -> None:
        n = HALF + 2 * MARGIN
        at = ((np.arange(n) - MARGIN) / (HALF / 2.0) - 1.0).astype(np.float32)
        x, y = at[None, :] + 0.05, at[:, None]
        square = x * x + y * y
        angle = np.arctan2(y, x)
        # The arc is part of a circle about a point beside the field.
        cx, cy = float(rng.uniform(0.10, 0.30)), float(rng.uniform(-0.25, -0.05))
        distance = np.hypot(x - cx, y - cy)
        reach = float(rng.uniform(0.88, 1.02))
        width = float(rng.uniform(0.05, 0.08))
        lit = 0.35 + 0.65 / (1.0 + np.exp(-4.0 * np.cos(angle - float(rng.uniform(1.2, 1.9)))))
        arc = lit * np.exp(-0.5 * ((distance - reach) / width) ** 2)
        coarse = gaussian_filter(rng.standard_normal((n // 8 + 1, n // 8 + 1)), 5.0)
        blotches = zoom(coarse / coarse.std(), 8, order=1)[:n, :n]
        px, py = float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.5, 0.5))
        base = (1.0 - 0.18 * square + 0.10 * x + 0.06 * y) * (1.0 + 0.012 * blotches) + 0.45 * arc
        base /= float(base[MARGIN:-MARGIN, MARGIN:-MARGIN].mean())
        radius = np.sqrt(square)
        maps = np.stack(
            [
                base,
                base * x,
                base * y,
                arc,
                arc * (distance - reach) / width,
                np.cos(2.6 * radius),
                np.exp(-((x - px) ** 2 + (y - py) ** 2) / 0.10),
                square / (0.4 + square) * np.cos(2 * angle),
                square / (0.4 + square) * np.sin(2 * angle),
                radius * np.exp(-0.8 * square) * np.cos(angle),
                radius * np.exp(-0.8 * square) * np.sin(angle),
            ]
        )
        self._maps = maps.astype(np.float32)
        self._level = band.thermal_adu_s
        self._half = half

    def render(self, state: ThermalState, dit_s: float, dither: tuple[int, int], *, internal: bool = False) -> Real:
        """(HALF, HALF) ADU per DIT, before the flat. The image moves by +dither.

        `internal`: instrument shut against the sky, three quarters of the light and a brighter arc.
        """
        weights = state.coefficients.copy()
        if internal:
            weights = 0.72 * weights
            weights[3] += 0.06
        weights[0] += 0.74 if internal else 1.0
        rows = slice(MARGIN - dither[1], MARGIN - dither[1] + HALF)
        columns = slice(MARGIN - dither[0], MARGIN - dither[0] + HALF)
        factors = (weights * (self._level * dit_s)).astype(np.float32)
        return np.asarray(np.einsum("k,kyx->yx", factors, self._maps[:, rows, columns]), np.float32)


def turning(derotator_deg: float, parallactic_deg: float, phase_deg: float) -> NDArray[np.float64]:
    """(4,) coefficients of the turning modes."""
    twice, field = np.radians(2 * derotator_deg + phase_deg), np.radians(parallactic_deg + phase_deg)
    return np.array([TURN * np.cos(twice), TURN * np.sin(twice), FIELD * np.cos(field), FIELD * np.sin(field)])


def block_means(image: Real) -> Real:
    """(64, 64) means over 16 x 16 pixels of a (HALF, HALF) image."""
    return np.asarray(image.reshape(64, 16, 64, 16).mean(axis=(1, 3), dtype=np.float32))
