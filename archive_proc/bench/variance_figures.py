"""Figures of variance honesty: what `variance` collected of a science cube and a centred cube, as rows of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.background import ZONES, CubePlane
from archive_proc.bench.figures import Figure
from archive_proc.bench.reductions import noise_terms, noisy_planes, star_positions
from archive_proc.bench.variance import RATIO_AIMS, Honesty, aperture_pulls, centred_errors, errors_of_plane, width
from archive_proc.simulate.truth import SequenceTruth

UNIT = "of claimed sigma"


def science_variance(case: str, truth: SequenceTruth, science: Path | None) -> tuple[Figure, ...]:
    """Planes, scatter and stacks of the un-resampled cube; without a cube the aims are there, and missed."""
    if science is None:
        return tuple(_extremes(case, "variance", []))
    common, _ = noise_terms(science)
    found = Honesty(common)
    for one in noisy_planes(science):
        row = _row(truth, one.plane)
        if row >= 0:
            found.add(errors_of_plane(one.plane, one.variance, truth, row))
    found.finish()
    return _figures(case, "variance", found)


def centred_variance(
    case: str, truth: SequenceTruth, centered: Path | None, science: Path | None
) -> tuple[Figure, ...]:
    """The same of the centred cube, whose stacks take planes spread over the sequence, and sums over apertures."""
    if centered is None or science is None:
        return tuple(_extremes(case, "centred variance", []))
    common, correlation = noise_terms(centered)
    stars = star_positions(science)
    found = Honesty(common)
    sums = []
    for one in noisy_planes(centered, spread=True):
        row = _row(truth, one.plane)
        star = stars.get((one.plane.file_id, one.plane.plane))
        if row < 0 or star is None or not np.isfinite(star).all():
            continue
        errors = centred_errors(one.plane, one.variance, truth, row, star)
        found.add(errors)
        sums.append(width(aperture_pulls(errors, common, correlation)))
    found.finish()
    figures = _figures(case, "centred variance", found)
    return (*figures, *_bounds(case, "centred variance, sums over r=3 apertures", sums))


def _row(truth: SequenceTruth, plane: CubePlane) -> int:
    return int(truth.rows(np.array([plane.file_id]), np.array([plane.plane]))[0])


def _figures(case: str, what: str, found: Honesty) -> tuple[Figure, ...]:
    scatter = [one for one in found.scatter().values() if np.isfinite(one)]
    stacked = {n: [one for one in zones.values() if np.isfinite(one)] for n, zones in found.stacks.items()}
    figures = [
        Figure(
            case=case,
            name=f"{what}, planes, {zone}",
            value=_median([*found.planes.get((0, zone), []), *found.planes.get((1, zone), [])]),
            unit=UNIT,
            n=found.n,
            spread=_spread([*found.planes.get((0, zone), []), *found.planes.get((1, zone), [])]),
        )
        for zone, _, _ in ZONES
    ]
    figures += [
        Figure(case=case, name=f"{what}, stack of {n}", value=_median(values), unit=UNIT, n=n, spread=_spread(values))
        for n, values in sorted(stacked.items())
    ]
    figures += _extremes(
        case,
        what,
        [
            ("planes", [one for values in found.planes.values() for one in values]),
            ("scatter from plane to plane", scatter),
            ("stacks", [one for n, values in stacked.items() if n > 1 for one in values]),
        ],
    )
    figures += [
        Figure(
            case=case,
            name=f"{what}, floor of a stack",
            value=_median(list(found.floors.values())),
            unit="of a plane's noise",
            n=found.n,
        ),
        Figure(case=case, name=f"{what}, flagged pixels that keep a value", value=_median(found.flagged), unit=UNIT),
        Figure(case=case, name=f"{what}, beyond 5 sigma", value=_percent(found.outliers), unit="% of sky pixels"),
    ]
    return tuple(figures)


def _extremes(case: str, what: str, groups: Sequence[tuple[str, list[float]]]) -> list[Figure]:
    """Highest and lowest width of each group beside the issue's aims; a group that is missing counts as missed."""
    given = dict(groups)
    return [
        figure
        for name in ("planes", "scatter from plane to plane", "stacks")
        for figure in _bounds(case, f"{what}, {name}", given.get(name, []))
    ]


def _bounds(case: str, what: str, values: Sequence[float]) -> list[Figure]:
    known = [one for one in values if np.isfinite(one)]
    low, high = RATIO_AIMS
    return [
        Figure(
            case=case,
            name=f"{what}, highest",
            value=max(known) if known else None,
            unit=UNIT,
            aim=high,
            n=len(known),
        ),
        Figure(
            case=case,
            name=f"{what}, lowest",
            value=min(known) if known else None,
            unit=UNIT,
            aim=low,
            at_least=True,
            n=len(known),
        ),
    ]


def _known(values: Sequence[float]) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    return found[np.isfinite(found)]


def _median(values: Sequence[float]) -> float | None:
    known = _known(values)
    return float(np.median(known)) if known.size else None


def _spread(values: Sequence[float]) -> float | None:
    known = _known(values)
    return float(np.std(known)) if known.size > 1 else None


def _percent(fractions: Sequence[float]) -> float | None:
    known = _known(fractions)
    return float(100.0 * np.mean(known)) if known.size else None
