"""The halo that adaptive optics leaves: light of the residual wavefront, summed over many instants.

Not a power law: a noise floor and servo lag inside the control radius, the deformable mirror's edge as a faint ring
that is slightly square, von Karman turbulence outside, and two lobes along the wind.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate.facts import ANAMORPHISM, HALF, Band
from archive_proc.simulate.pupil import Real

CONTROL_CYCLES = 20.0
"""lambda/D: half of the 41 actuators across the pupil."""
MARGIN = 12
"""Pixels around the half that templates cover, so that whole-pixel shifts are slices."""
TERMS = ("inside", "outside", "wind_cos", "wind_sin")


def halo_maps(
    band: Band, x: NDArray[np.floating], y: NDArray[np.floating], mask_mas: float | None
) -> NDArray[np.float32]:
    """(4, ny, nx) halo terms per pixel around a star at (0, 0); `x` (nx,), `y` (ny,) in pixels.

    inside + outside sum to 1 over the sky; `mask_mas` None: off the mask.
    """
    unit = band.lambda_over_d_mas
    fx = (x * band.scale_mas / unit).astype(np.float32)[None, :]
    fy = (y * band.scale_mas * ANAMORPHISM / unit).astype(np.float32)[:, None]
    square = fx * fx + fy * fy
    # Exponent 2.5 instead of 2: between a circle and the square of the actuator grid.
    edge = (np.abs(fx) ** 2.5 + np.abs(fy) ** 2.5) ** np.float32(0.4)
    blend = 1.0 / (1.0 + np.exp(np.clip((edge - CONTROL_CYCLES) / 0.7, -30, 30)))
    lag = (square + 5.0) ** np.float32(-0.75)
    floor = 0.008 + 0.020 * (edge / CONTROL_CYCLES) ** 2
    inside = blend * (lag + floor)
    outside = (1.0 - blend) * 0.055 * ((square + 9.0) / CONTROL_CYCLES**2) ** np.float32(-11.0 / 6.0)
    ratio = np.where(square > 0, 1.0 / np.maximum(square, 1e-6), 0.0)
    # cos 2t and sin 2t about the star, strongest at a few lambda/D.
    wind = blend * lag * square / (square + 4.0)
    maps = np.stack([inside, outside, wind * (fx * fx - fy * fy) * ratio, wind * 2 * fx * fy * ratio])
    if mask_mas is not None:
        radius = np.sqrt(square) / (0.55 * mask_mas / unit)
        maps *= 1.0 - np.exp(-(radius**4))
    area = (band.scale_mas / unit) ** 2 * ANAMORPHISM
    return np.asarray(maps * np.float32(area / _TOTAL), np.float32)


def _total() -> float:
    """Integral of inside + outside over the plane, lambda/D squared, at three samples per lambda/D."""
    at = np.arange(-600, 600)[:, None] / 3.0 + 0.1
    edge = (np.abs(at.T) ** 2.5 + np.abs(at) ** 2.5) ** 0.4
    square = at.T**2 + at**2
    blend = 1.0 / (1.0 + np.exp(np.clip((edge - CONTROL_CYCLES) / 0.7, -30, 30)))
    inside = blend * ((square + 5.0) ** -0.75 + 0.008 + 0.020 * (edge / CONTROL_CYCLES) ** 2)
    outside = (1.0 - blend) * 0.055 * ((square + 9.0) / CONTROL_CYCLES**2) ** (-11.0 / 6.0)
    return float(np.sum(inside + outside) / 9.0)


_TOTAL = _total()


class HaloTemplate:
    """Halo terms around a nominal star with their gradients: shifts of a pixel or less cost one product."""

    def __init__(self, band: Band, star: tuple[float, float], mask_mas: float) -> None:
        at = np.arange(-MARGIN, HALF + MARGIN)
        maps = halo_maps(band, at - star[0], at - star[1], mask_mas)
        slope_y, slope_x = np.gradient(maps, axis=(1, 2))
        self._star = star
        self._stack = np.concatenate([maps, slope_x, slope_y])

    def render(self, star: tuple[float, float], weights: NDArray[np.floating]) -> Real:
        """(HALF, HALF) halo of a star near the nominal one; `weights` (4,) of TERMS. Valid within MARGIN pixels."""
        dx, dy = star[0] - self._star[0], star[1] - self._star[1]
        whole_x, whole_y = round(dx), round(dy)
        if max(abs(whole_x), abs(whole_y)) > MARGIN:
            raise ValueError(f"star moved {dx:.1f}, {dy:.1f} pixels from the template's")
        factors = np.concatenate([weights, -(dx - whole_x) * weights, -(dy - whole_y) * weights]).astype(np.float32)
        rows = slice(MARGIN - whole_y, MARGIN - whole_y + HALF)
        columns = slice(MARGIN - whole_x, MARGIN - whole_x + HALF)
        return np.asarray(np.einsum("k,kyx->yx", factors, self._stack[:, rows, columns]), np.float32)
