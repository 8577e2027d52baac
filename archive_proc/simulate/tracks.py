"""How transmission, wavefront, star and background vary from plane to plane: stationary random walks in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate.spec import Weather
from archive_proc.simulate.thermal import SPREAD

SLOW_S = 900.0
DRIFT_S = 1800.0
THERMAL_S = 4000.0
Series = NDArray[np.float64]


def wander(times_s: Series, tau_s: float, rng: np.random.Generator, columns: int = 1) -> Series:
    """(n, columns) unit-variance random walk with memory `tau_s` (Ornstein-Uhlenbeck), sampled at ordered times."""
    steps = rng.standard_normal((len(times_s), columns))
    for i in range(1, len(times_s)):
        memory = float(np.exp(-(times_s[i] - times_s[i - 1]) / tau_s))
        steps[i] = memory * steps[i - 1] + np.sqrt(1.0 - memory * memory) * steps[i]
    return np.asarray(steps)


@dataclass(frozen=True, slots=True)
class Tracks:
    """The variations of n planes of one sequence, in order of time."""

    transmission: Series
    """(n,) about 1."""
    wavefront_nm: Series
    """(n,) adaptive-optics residual."""
    motion_mas: Series
    """(n, 2) star on the detector, x and y on the sky's scale."""
    thermal: Series
    """(n, 2, len(SPREAD)) relative mode coefficients, each half."""
    halo: Series
    """(n, 2) relative change of the halo inside and outside the control radius."""
    ghosts: Series
    """(n, 2) imbalance of the two waffle diagonals."""

    @property
    def count(self) -> int:
        """Planes."""
        return len(self.transmission)


def draw_tracks(times_s: Series, dits_s: Series, weather: Weather, rng: np.random.Generator) -> Tracks:
    """Tracks at these times.

    Fast scatter goes as DIT ** -0.25 against 16 s: part of it is slower than a DIT and does not average down.
    """
    n = len(times_s)
    fast = np.clip((dits_s / 16.0) ** -0.25, 0.5, 1.6)
    slow = wander(times_s, SLOW_S, rng)[:, 0]
    transmission = np.exp(
        weather.transmission_fast * fast * rng.standard_normal(n) - weather.transmission_slow * np.abs(slow)
    )
    wavefront = weather.wavefront_nm * np.exp(weather.wavefront_scatter * fast * rng.standard_normal(n))
    drift = wander(times_s, DRIFT_S, rng, 2)
    motion = weather.drift_mas * drift + weather.jitter_mas * rng.standard_normal((n, 2))
    common = wander(times_s, THERMAL_S, rng, len(SPREAD))
    own = np.stack([wander(times_s, THERMAL_S, rng, len(SPREAD)) for _ in range(2)], axis=1)
    quick = rng.standard_normal((n, 2, len(SPREAD)))
    thermal = (0.85 * common[:, None, :] + 0.5 * own + 0.05 * quick) * (weather.thermal_drift * np.array(SPREAD))
    return Tracks(
        transmission=np.asarray(transmission),
        wavefront_nm=np.asarray(wavefront),
        motion_mas=np.asarray(motion),
        thermal=np.asarray(thermal),
        halo=0.05 * rng.standard_normal((n, 2)),
        ghosts=0.01 * rng.standard_normal((n, 2)),
    )
