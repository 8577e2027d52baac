"""What a reduction found against what is true: centres, angles, photometry. Arrays in, figures out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.figures import Figure
from archive_proc.simulate.facts import ANAMORPHISM
from archive_proc.simulate.truth import SequenceTruth

Float = NDArray[np.float64]
HALVES = ("left", "right")
CENTER_AIMS_MAS: Mapping[str, float] = {"H": 2.3, "K": 0.6}
"""Issue 3: CENTER frames, total rms."""
OBJECT_AIM_MAS = 10.0
ANGLE_AIM_DEG = 0.01


@dataclass(frozen=True, slots=True)
class FoundCentres:
    """The `center` product: n planes."""

    file_id: NDArray[np.str_]
    plane: NDArray[np.int32]
    star: Float
    """(n, 2 halves, x and y) 0-based pixels of the half."""
    error: Float
    """Quoted, as `star`."""


@dataclass(frozen=True, slots=True)
class FoundFluxes:
    """The `photometry` product: n planes."""

    file_id: NDArray[np.str_]
    plane: NDArray[np.int32]
    aperture: Float
    """(n, 2) ADU/s of the star in FLUX planes, ND corrected; NaN elsewhere."""


@dataclass(frozen=True, slots=True)
class FoundFrames:
    """Coordinates of a science cube: n planes."""

    file_id: NDArray[np.str_]
    plane: NDArray[np.int32]
    derotation_angle: Float
    """(n,) deg."""
    relative_flux: Float
    """(n, 2)"""


def band_letter(truth: SequenceTruth) -> str:
    """H, K, J or Y: the photometric band of the left half."""
    nm = truth.wave[0]
    return "Y" if nm < 1120 else "J" if nm < 1400 else "H" if nm < 1900 else "K"


def offsets_mas(truth: SequenceTruth, rows: NDArray[np.int64], star: Float) -> Float:
    """(n, 2 halves, x and y) found minus true position on the sky, mas."""
    scale = np.array([[pix, pix * ANAMORPHISM] for pix in truth.pix])
    return np.asarray((star - truth.center[rows]) * scale)


def total_rms(offsets: Float) -> float | None:
    """Root mean square length of (n, 2) offsets, bias included; None without finite ones."""
    finite = offsets[np.isfinite(offsets).all(axis=1)]
    return float(np.sqrt(np.mean(np.sum(finite**2, axis=1)))) if len(finite) else None


def scatter(offsets: Float) -> float | None:
    """The same about the mean; None for fewer than two."""
    finite = offsets[np.isfinite(offsets).all(axis=1)]
    return total_rms(finite - finite.mean(axis=0)) if len(finite) > 1 else None


def centre_figures(case: str, truth: SequenceTruth, found: FoundCentres | None, naive: Float) -> tuple[Figure, ...]:
    """Total rms per half of CENTER and OBJECT planes; FLUX for information.

    `naive` (n_truth, 2, 2): centroids of the four spots in CENTER rows, the CENTER frames' reference. The reference of
    OBJECT planes is the first CENTER's found centre carried by the dither keywords alone.
    """
    star = np.full(truth.center.shape, np.nan)
    if found is not None:
        rows = truth.rows(found.file_id, found.plane)
        star[rows[rows >= 0]] = found.star[rows >= 0]
    offsets = offsets_mas(truth, np.arange(len(truth)), star)
    plain = offsets_mas(truth, np.arange(len(truth)), naive)
    kinds = np.array(truth.frame_type)
    science = truth.in_sequence
    centers = np.flatnonzero(kinds == "OBJECT,CENTER")
    carried = np.full_like(star, np.nan)
    if len(centers):
        first = centers[0]
        carried[:] = star[first] + (truth.dither - truth.dither[first])[:, None, :]
    by_dither = offsets_mas(truth, np.arange(len(truth)), carried)
    figures = []
    for half, side in enumerate(HALVES):
        measured = np.asarray(np.isfinite(offsets[:, half]).all(axis=1))
        for name, wanted, aim, reference, beside in (
            ("CENTER", kinds == "OBJECT,CENTER", CENTER_AIMS_MAS.get(band_letter(truth)), "spot centroids", plain),
            ("OBJECT", science & (kinds == "OBJECT"), OBJECT_AIM_MAS, "first CENTER + dither", by_dither),
            ("FLUX", kinds == "OBJECT,FLUX", None, "", None),
        ):
            if not wanted.any():
                continue
            figures.append(
                Figure(
                    case=case,
                    name=f"{name} total rms, {side}",
                    # A plane without a centre is none that is well centred: with an aim, all must have one.
                    value=total_rms(offsets[wanted, half]) if aim is None or measured[wanted].all() else None,
                    unit="mas",
                    aim=aim,
                    reference=reference,
                    reference_value=None if beside is None else total_rms(beside[wanted, half]),
                    n=int(measured[wanted].sum()),
                    spread=scatter(offsets[wanted, half]),
                )
            )
    return tuple(figures)


def angle_figure(case: str, truth: SequenceTruth, found: FoundFrames | None) -> Figure:
    """Largest difference of the derotation angle, deg; the reference leaves the derotator's fault out."""
    value, n = None, 0
    if found is not None:
        rows = truth.rows(found.file_id, found.plane)
        ours = found.derotation_angle[rows >= 0]
        difference = _wrapped(ours - truth.derot[rows[rows >= 0]])
        n = len(difference)
        value = float(np.max(np.abs(difference))) if n and np.isfinite(difference).all() else None
    return Figure(
        case=case,
        name="derotation angle, largest error",
        value=value,
        unit="deg",
        aim=ANGLE_AIM_DEG,
        reference="no epsilon",
        reference_value=float(np.max(np.abs(truth.epsilon))),
        n=n,
    )


def _wrapped(degrees: Float) -> Float:
    return np.asarray((degrees + 180.0) % 360.0 - 180.0)


def photometry_figures(case: str, truth: SequenceTruth, found: FoundFrames | None) -> tuple[Figure, ...]:
    """Scatter of relative flux over the truth, science planes, beside doing nothing (factor 1 over truth); percent."""
    figures = []
    rows = np.empty(0, np.int64)
    if found is not None:
        rows = truth.rows(found.file_id, found.plane)
    for half, side in enumerate(HALVES):
        value, n = None, 0
        if found is not None:
            known = rows >= 0
            ratio = found.relative_flux[known, half] / truth.core[rows[known], half]
            ratio = ratio[np.isfinite(ratio)]
            n = len(ratio)
            value = relative_scatter(ratio)
        figures.append(
            Figure(
                case=case,
                name=f"relative photometry scatter, {side}",
                value=value,
                unit="%",
                reference="doing nothing",
                reference_value=relative_scatter(1.0 / truth.core[truth.in_sequence, half]),
                n=n,
            )
        )
    return tuple(figures)


def relative_scatter(values: Float) -> float | None:
    """Standard deviation over the median, percent; None for fewer than two."""
    return float(100.0 * np.std(values / np.median(values))) if len(values) > 1 else None


def spot_centroids(image: NDArray[np.float32], truth: SequenceTruth, row: int, half: int) -> Float:
    """(2,) midpoint of the four waffle spots' plain centroids, flags unknown: what a quick script would find.

    `image` (1024, 1024), background roughly off. Boxes of 13 pixels start at the nominal places for 14 lambda/D.
    """
    reach = 14.0 * truth.wave[half] * 1e-9 / 8.0 * 206264806.247 / truth.pix[half] / np.sqrt(2.0)
    x0, y0 = np.rint(truth.center[row, half])
    spots = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = x0 + sx * reach, y0 + sy * reach
            for _ in range(4):
                cx, cy = round(x), round(y)
                box = image[cy - 6 : cy + 7, cx - 6 : cx + 7].astype(np.float64)
                yy, xx = np.mgrid[cy - 6 : cy + 7, cx - 6 : cx + 7]
                light = np.clip(box - np.median(box), 0.0, np.percentile(box, 99.0))
                x, y = float(np.sum(light * xx) / light.sum()), float(np.sum(light * yy) / light.sum())
            spots.append((x, y))
    return np.asarray(np.mean(spots, axis=0))
