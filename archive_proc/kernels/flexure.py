"""Where spectra stand along the dispersion at one time, from what several files of the night say.

The instrument stands still on its platform and moves with its temperature: slowly. Two files differ by the less the
nearer they are in time, so one whose own light shows no place takes it from the others, each weighed by its error, by
what it shares with the rest, and by how far things may have moved since (best linear estimate of a Gaussian process,
Rasmussen & Williams 2006, 2.2). That nothing has moved since the calibrations is the mean of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

DRIFT_PX = 0.12
"""By which places differ that are `DRIFT_D` apart: nobody has published how far spectra move; 0.2 px is taken for the
most. Variance goes with time, as in a random walk."""
DRIFT_D = 0.3
"""d, from day to night: it is one of temperature."""
_ANYWHERE = 10.0
"""px, as good as no opinion."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the light of one file says of its own place."""

    time_d: float
    place_px: float
    error_px: float
    """Of the fit alone."""
    source: str
    """The star, whichever files saw it: sightings of one source share its spectrum and speckles."""
    uneven: float = 1.0
    """How differently lenslets are lit, 0 to 1: even light has no speckles."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is known without any sighting."""

    moved_px: float
    """Standard deviation of the place, since the calibrations."""
    shared_px: float
    """Error of a place that no fit shows. Half of its variance is the air table's, the same for all; a quarter is the
    star's spectrum, and speckles add `uneven` squared times it (0.4 is usual), the same for all of a source."""


def place_at(time_d: float, sightings: Sequence[Sighting], doubt: Doubt) -> tuple[float, float]:
    """(place, error), px, at a time. Sightings that contradict each other count for less, all of them alike."""
    if not sightings:
        return 0.0, doubt.moved_px
    times, places, errors, uneven = (
        np.array([getattr(one, name) for one in sightings]) for name in ("time_d", "place_px", "error_px", "uneven")
    )
    alike = np.array([[one.source == other.source for other in sightings] for one in sightings])
    moved = _together(times[:, None] - times[None, :], doubt)
    seen = np.diag(errors**2) + doubt.shared_px**2 * (0.5 + alike * (0.25 + uneven * uneven[:, None]))
    # Held against each other and not against zero: a large move that all agree on is none the less true.
    chi2 = float(places @ np.linalg.solve(moved + seen + _ANYWHERE**2, places))
    strained = max(1.0, chi2 / max(len(places) - 1, 1))
    weights = np.linalg.solve(moved + strained * seen, _together(times - time_d, doubt))
    left = doubt.moved_px**2 - float(weights @ _together(times - time_d, doubt))
    return float(weights @ places), float(np.sqrt(max(left, 0.0)))


def wander(apart_d: Float64) -> Float64:
    """Standard deviation of how far places so far apart in time have drifted from each other, px."""
    return np.asarray(DRIFT_PX * np.sqrt(np.minimum(np.abs(apart_d) / DRIFT_D, 1.0)))


def _together(apart_d: Float64, doubt: Doubt) -> Float64:
    """Covariance of places so far apart in time, px^2: a triangle, which is one for any times."""
    return np.maximum(doubt.moved_px**2 - 0.5 * DRIFT_PX**2 * np.abs(apart_d) / DRIFT_D, 0.0)
