"""What the air takes out of a spectrum, and how far its bands stand from where the wavelengths put them.

The smoothness prior of the joint fit holds spectra back where they bend, and nothing bends them like water. With the
air's transmission as the prior's shape it holds back what is left of a spectrum without the air (notes/ifs 6.6). The
shape comes from a table; only its strength is read off the frame, so that no ringing can feed back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.fine_response import finer_edges

Float64 = NDArray[np.float64]

STRONGEST = 8.0
"""Water beyond which no strength is looked for, in units of the table's."""
FARTHEST_UM = 0.012
"""Displacement of the bands beyond which none is looked for."""
_STEPS = 24
_NUDGE = (0.02, 2e-5)
"""Steps of strength and um that derivatives are taken over."""
_HALVINGS = 6
"""Of a step that makes things worse: where a channel's edge meets one of the table's steps, slopes jump."""
COLOUR = -2.0
"""Power of the wavelength that a star's photons go with (A stars -2.7, K stars -1); the polynomial is of the rest."""
LINE_UM = 0.0017
"""Standard deviation of a star's hydrogen line: finer than any channel, its exact width does not matter."""


@dataclass(frozen=True, slots=True)
class Air:
    """Optical depth of n equal steps of vacuum wavelength."""

    first_edge_um: float
    step_um: float
    water: Float64
    dry: Float64

    def transmission(self, edges_um: Float64, strength: float, airmass: float, moved_um: float = 0.0) -> Float64:
        """(m,) mean over channels (m + 1 edges), which see light that is redder than they say by `moved_um`.

        `strength` times the table's water, `airmass` times its other gases; beyond the table: its last steps.
        """
        through = np.exp(-strength * self.water - airmass * self.dry)
        ends = self.first_edge_um + self.step_um * np.arange(through.size + 1)
        total = np.concatenate([[0.0], np.cumsum(through)]) * self.step_um
        at = np.asarray(edges_um, np.float64) + moved_um
        passed = np.interp(at, ends, total)
        passed += np.minimum(at - ends[0], 0.0) * through[0] + np.maximum(at - ends[-1], 0.0) * through[-1]
        return np.asarray(np.diff(passed) / np.diff(at))


@dataclass(frozen=True, slots=True)
class Window:
    """Channels that a spectrum is compared with the air in."""

    from_um: float
    to_um: float
    degree: int
    """Of the polynomial that stands for everything else."""
    lines_um: tuple[float, ...] = ()
    """Where the star may have a line of its own, of any depth."""


@dataclass(frozen=True, slots=True)
class AirFit:
    """The air of one spectrum."""

    strength: float
    """Of water, in units of the table's."""
    strength_error: float
    moved_um: float
    """Channels see light that is redder by this than they say."""
    moved_error_um: float
    residual: float
    """Relative, root mean square per degree of freedom."""
    without: float
    """The same without any water: how much the air explains."""


def fit_air(
    spectrum: Float64, response: Float64, edges_um: Float64, air: Air, airmass: float, window: Window
) -> AirFit | None:
    """Strength and place of the water in a spectrum (m,), flux per channel, of the sum of many lenslets.

    `response` (m, f): what the channels (m + 1 edges) show of light in each of f equal parts of them, a whole number a
    channel (`fine_response`). Gauss-Newton on a relative residual, polynomial and lines solved for at each step; errors
    from the residual. None where the window holds too few channels with light, or no step converges.
    """
    channel = 0.5 * (edges_um[1:] + edges_um[:-1])
    inside = (channel > window.from_um) & (channel < window.to_um) & (spectrum > 0)
    freedom = int(inside.sum()) - window.degree - len(window.lines_um) - 3
    if freedom < 1:
        return None
    edges_um = finer_edges(edges_um, response.shape[1] // spectrum.size)
    middle = 0.5 * (edges_um[1:] + edges_um[:-1])
    u = np.clip((middle - channel[inside].mean()) / (0.5 * (window.to_um - window.from_um)), -3.0, 3.0)
    width = np.diff(edges_um)
    powers = (middle[:, None] / middle.mean()) ** COLOUR * u[:, None] ** np.arange(window.degree + 1)
    terms = np.concatenate([powers, _lines(edges_um, window.lines_um)], axis=1)

    def away(strength: float, moved_um: float) -> Float64:
        through = air.transmission(edges_um, strength, airmass, moved_um) * width
        design = (response @ (through[:, None] * terms))[inside] / spectrum[inside, None]
        level = np.linalg.lstsq(design, np.ones(len(design)), rcond=None)[0]
        return np.asarray(design @ level - 1.0)

    at = np.array([1.5, 0.0])
    slope = np.empty((int(inside.sum()), 2))
    for _ in range(_STEPS):
        here = away(at[0], at[1])
        slope[:, 0] = (away(at[0] + _NUDGE[0], at[1]) - here) / _NUDGE[0]
        slope[:, 1] = (away(at[0], at[1] + _NUDGE[1]) - here) / _NUDGE[1]
        step = np.linalg.lstsq(slope, -here, rcond=None)[0]
        # A long step along a bent valley overshoots.
        step *= min(1.0, 0.5 / max(abs(step[0]), 1e-9), 2e-3 / max(abs(step[1]), 1e-12))
        for _ in range(_HALVINGS):
            if np.sum(away(at[0] + step[0], at[1] + step[1]) ** 2) <= np.sum(here**2):
                break
            step *= 0.5
        at = at + step
        if not (0.0 <= at[0] <= STRONGEST and abs(at[1]) <= FARTHEST_UM):
            return None
        if abs(step[0]) < 1e-3 and abs(step[1]) < 1e-6:
            break
    else:
        return None
    left = away(at[0], at[1])
    residual = float(np.sqrt(np.sum(left**2) / freedom))
    error = residual * np.sqrt(np.diag(np.linalg.pinv(slope.T @ slope)))
    without = float(np.sqrt(np.sum(away(0.0, 0.0) ** 2) / freedom))
    return AirFit(float(at[0]), float(error[0]), float(at[1]), float(error[1]), residual, without)


def _lines(edges_um: Float64, lines_um: tuple[float, ...]) -> Float64:
    """(m, lines) share of each line in each channel, over the channel's width relative to the mean one."""
    from scipy.special import ndtr

    width = np.diff(edges_um)[:, None]
    below = ndtr((edges_um[:, None] - np.array(lines_um)) / LINE_UM)
    return np.asarray(np.diff(below, axis=0) * width.mean() / width)
