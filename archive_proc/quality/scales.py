"""The same scales across a night: limits measured on every page's pixels, joined by night, rounded to 1-2-5 steps.

A scale is keyed by what is shown and, where it has one, the band: pages of one night compare at a glance. Rounding
outwards keeps a scale, and with it every page drawn before, when another observation of the night is added that fits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

STEPS = (1.0, 2.0, 5.0)
LOW_PERCENT, HIGH_PERCENT = 1.0, 99.9
KNEE_SIGMAS = 2.0
"""An asinh scale is linear up to twice the noise, so that noise stays visible and bright halos do too."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one page's pixels span."""

    low: float
    high: float
    knee: float | None = None
    """Where an asinh scale turns from linear to logarithmic; None for a linear scale."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Value -> shade, fixed for a night."""

    low: float
    high: float
    knee: float | None = None

    def shade(self, values: Any) -> Any:  # Any: a float or an array of them
        """0 at `low` and below, 1 at `high` and above, NaN where the value is."""
        clipped = np.clip(values, self.low, self.high)
        if self.knee is None:
            return (clipped - self.low) / (self.high - self.low)
        top = self._curve(self.high)
        bottom = self._curve(self.low)
        return (np.arcsinh(clipped / self.knee) - bottom) / (top - bottom)

    def ticks(self) -> list[float]:
        """Round values to label: the ends, zero, and decades between."""
        if self.knee is None:
            return [self.low, (self.low + self.high) / 2, self.high]
        found = [self.low, *([0.0] if self.low < 0 < self.high else [])]
        decade = 10.0 ** math.ceil(math.log10(self.knee) + 0.01)
        while decade < self.high / 2:
            if decade > self.low:
                found.append(decade)
            decade *= 10.0
        return [*found, self.high]

    @property
    def words(self) -> str:
        """Its ends."""
        return f"{self.low:g} to {self.high:g}"

    @property
    def curve(self) -> str:
        """The form of the scale in words."""
        return "linear" if self.knee is None else f"asinh above {self.knee:g}"

    def _curve(self, value: float) -> float:
        assert self.knee is not None
        return math.asinh(value / self.knee)


def nice_above(value: float) -> float:
    """The least number of the 1-2-5 series not below `value`; for negative numbers, of their size not above.

    >>> nice_above(3.1), nice_above(-3.1), nice_above(0.0), nice_above(20.0)
    (5.0, -2.0, 0.0, 20.0)
    """
    return _nice(value, upwards=True)


def nice_below(value: float) -> float:
    """The greatest number of the series not above `value`.

    >>> nice_below(3.1), nice_below(-3.1)
    (2.0, -5.0)
    """
    return -_nice(-value, upwards=True)


def _nice(value: float, *, upwards: bool) -> float:
    if abs(value) < 1e-300 or not math.isfinite(value):
        return 0.0
    size = abs(value)
    decade = 10.0 ** math.floor(math.log10(size))
    series = [step * decade * factor for factor in (0.1, 1.0, 10.0) for step in STEPS]
    # One part in 1e9: 20.0 is itself, whatever its logarithm was rounded to.
    if (value > 0) == upwards:
        found = min(one for one in series if one >= size * (1 - 1e-9))
    else:
        found = max(one for one in series if one <= size * (1 + 1e-9))
    return _rounded(math.copysign(found, value))


def image_limits(values: Float32, *, asinh: bool = True) -> Limits | None:
    """Limits of an image (y, x): percentiles 1 and 99.9 of its finite pixels; None where all is NaN.

    The knee of an asinh scale is twice the noise, taken from differences of neighbours: a halo does not raise it.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, high = np.percentile(finite, (LOW_PERCENT, HIGH_PERCENT)).tolist()
    if not asinh:
        return Limits(low, high)
    steps = np.abs(values[..., 1:] - values[..., :-1])
    steps = steps[np.isfinite(steps)]
    # Median of |difference of two Gaussians| = 0.6745 sqrt(2) sigma.
    sigma = float(np.median(steps)) / 0.9539 if steps.size else 0.0
    useful = sigma > 0 and high - low > 20 * sigma
    return Limits(low, high, KNEE_SIGMAS * sigma if useful else None)


def night_scale(found: Iterable[Limits]) -> Scale:
    """One scale for all pages of a night: widest limits rounded outwards, middle knee rounded to the series.

    >>> night_scale([Limits(0.93, 1.21), Limits(0.95, 1.1)])
    Scale(low=0.9, high=1.25, knee=None)
    """
    limits = list(found)
    low, high = min(one.low for one in limits), max(one.high for one in limits)
    knees = sorted(one.knee for one in limits if one.knee is not None)
    if knees:
        knee = nice_above(knees[len(knees) // 2])
        return Scale(max(nice_below(low), -5 * knee), max(nice_above(high), 2 * knee), knee)
    size = max(abs(low), abs(high))
    if high - low <= max(1e-6 * size, 1e-290):
        # A constant image: any span does, as long as numbers can tell its ends apart.
        margin = max(1e-3 * size, 1e-280)
        low, high = low - margin, high + margin
    # A tenth of the span: a flat of 0.93 to 1.21 keeps its contrast.
    step = nice_above((high - low) / 10)
    return Scale(_rounded(math.floor(low / step) * step), _rounded(math.ceil(high / step) * step))


def _rounded(value: float) -> float:
    # What binary fractions add in the last digits would show on the page.
    return float(f"{value:.10g}")


def night_scales(pages: Iterable[Mapping[str, Limits]]) -> dict[str, Scale]:
    """Scales by key, from the limits of every page of a night."""
    gathered: dict[str, list[Limits]] = {}
    for page in pages:
        for key, limits in page.items():
            gathered.setdefault(key, []).append(limits)
    return {key: night_scale(gathered[key]) for key in sorted(gathered)}
