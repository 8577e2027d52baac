"""One figure per case for each aim of notes/irdis.md section 5, beside the best peer on the same frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.background import ZONES, Blocks, zone_of_blocks
from archive_proc.bench.comparison import (
    HALVES,
    FoundCentres,
    FoundFluxes,
    FoundFrames,
    band_letter,
    offsets_mas,
    relative_scatter,
    scatter,
    total_rms,
)
from archive_proc.bench.figures import Figure
from archive_proc.bench.goals import FLUX_PERCENT, INJECTED, LARGE_SCALE_ADU, OFFSET_ADU, STACK_ADU, goals_of
from archive_proc.bench.peers import best_of
from archive_proc.simulate.truth import SequenceTruth

Float = NDArray[np.float64]
Removed = Sequence[tuple[int, Blocks]]
"""(row of truth, (2, 64, 64) thermal light taken away) of each science plane."""
SKY_PEERS = ("irdap", "vip-hci")
SPOT_PEERS = ("vlt-sphere", "vip-hci")


def background_goals(
    case: str, truth: SequenceTruth, removed: Removed, injected: Sequence[Float], peers: Mapping[str, Removed]
) -> tuple[Figure, ...]:
    """K only: offset and large-scale error in three zones, noise injected, error left in the stack.

    `injected` (2,) of each plane looked at. Without planes the figures have no value and count as missed.
    """
    if band_letter(truth) != "K":
        return ()
    own = _by_zone(truth, removed)
    others = {label: _by_zone(truth, one) for label, one in peers.items()}
    figures = []
    for half, side in enumerate(HALVES):
        for zone, _, _ in ZONES:
            key = (half, zone)
            for name, measure, aims in (("offset", _offset, OFFSET_ADU), ("large-scale", _rms, LARGE_SCALE_ADU)):
                best = best_of({label: measure(one[key]) for label, one in others.items()}, SKY_PEERS)
                figures.append(
                    Figure(
                        case=case,
                        name=f"goal: background {zone} {name}, {side}",
                        value=measure(own[key]),
                        unit="ADU",
                        aim=aims[zone][half],
                        reference=best.label,
                        reference_value=best.value,
                        n=len(removed),
                    )
                )
        best = best_of({label: _stack(truth, one, half) for label, one in peers.items()}, SKY_PEERS)
        figures.append(
            Figure(
                case=case,
                name=f"goal: background r<100 left in the stack, {side}",
                value=_stack(truth, removed, half),
                unit="ADU",
                aim=STACK_ADU[half],
                reference=best.label,
                reference_value=best.value,
                n=len(removed),
            )
        )
        figures.append(
            Figure(
                case=case,
                name=f"goal: noise injected per plane, {side}",
                value=float(np.median([one[half] for one in injected])) if len(injected) else None,
                unit="of a plane's noise",
                aim=INJECTED,
                n=len(injected),
            )
        )
    return tuple(figures)


def _by_zone(truth: SequenceTruth, removed: Removed) -> dict[tuple[int, str], list[Float]]:
    found: dict[tuple[int, str], list[Float]] = {(half, zone): [] for half in range(2) for zone, _, _ in ZONES}
    for row, blocks in removed:
        for half in range(2):
            distance = zone_of_blocks(truth, row, half)
            error = blocks[half] - truth.thermal[row, half]
            for zone, low, high in ZONES:
                inside = (distance >= low) & (distance < high) & np.isfinite(error)
                if inside.any():
                    found[half, zone].append(error[inside])
    return found


def _offset(planes: Sequence[Float]) -> float | None:
    return float(np.sqrt(np.mean([one.mean() ** 2 for one in planes]))) if planes else None


def _rms(planes: Sequence[Float]) -> float | None:
    return float(np.sqrt(np.mean(np.concatenate(planes) ** 2))) if planes else None


def _stack(truth: SequenceTruth, removed: Removed, half: int) -> float | None:
    if not removed:
        return None
    errors = np.stack([blocks[half] - truth.thermal[row, half] for row, blocks in removed])
    distance = np.mean([zone_of_blocks(truth, row, half) for row, _ in removed], axis=0)
    seen = np.isfinite(errors).sum(axis=0)
    mean = np.where(seen > 0, np.nansum(errors, axis=0) / np.maximum(seen, 1), np.nan)
    inside = (distance < ZONES[0][2]) & (seen > len(errors) / 2)
    return float(np.sqrt(np.mean(mean[inside] ** 2))) if inside.any() else None


def centre_goals(
    case: str, truth: SequenceTruth, found: FoundCentres | None, peers: Mapping[str, Float]
) -> tuple[Figure, ...]:
    """CENTER and OBJECT planes: total rms, jitter, and error over quoted error. `peers` (n_truth, 2, 2) in CENTER rows.

    Peers' OBJECT centres are the median of their CENTERs carried by the dither keywords: none follows the star.
    """
    goals = goals_of(case, band_letter(truth))
    every = np.arange(len(truth))
    star, quoted = np.full(truth.center.shape, np.nan), np.full(truth.center.shape, np.nan)
    if found is not None:
        rows = truth.rows(found.file_id, found.plane)
        star[rows[rows >= 0]], quoted[rows[rows >= 0]] = found.star[rows >= 0], found.error[rows >= 0]
    kinds = np.array(truth.frame_type)
    centers, objects = kinds == "OBJECT,CENTER", truth.in_sequence & (kinds == "OBJECT")
    offsets = offsets_mas(truth, every, star)
    errors = np.abs(offsets_mas(truth, every, truth.center + quoted))
    figures = []
    for half, side in enumerate(HALVES):
        by_peer = {label: total_rms(offsets_mas(truth, every, one)[centers, half]) for label, one in peers.items()}
        best = best_of(by_peer, SPOT_PEERS)
        carried = {label: total_rms(_carried(truth, one, centers)[objects, half]) for label, one in peers.items()}
        best_object = best_of({f"{label}, median CENTER": one for label, one in carried.items()}, SPOT_PEERS)
        for name, where, value, aim, reference in (
            ("CENTER total rms", centers, total_rms(offsets[centers, half]), goals.center_mas, best),
            ("OBJECT total rms", objects, total_rms(offsets[objects, half]), goals.object_mas, best_object),
            ("OBJECT jitter an axis", objects, _per_axis(offsets[objects, half]), goals.jitter_mas, None),
        ):
            if not where.any():
                continue
            figures.append(
                Figure(
                    case=case,
                    name=f"goal: {name}, {side}",
                    value=value,
                    unit="mas",
                    aim=aim,
                    reference="" if reference is None else reference.label,
                    reference_value=None if reference is None else reference.value,
                    n=int(where.sum()),
                )
            )
        for name, where in (("CENTER", centers), ("OBJECT", objects)):
            if where.any():
                figures.append(
                    Figure(
                        case=case,
                        name=f"{name} error over quoted error, {side}",
                        value=_over(total_rms(offsets[where, half]), total_rms(errors[where, half])),
                        unit="1",
                        n=int(where.sum()),
                    )
                )
    return tuple(figures)


def _carried(truth: SequenceTruth, centers: Float, seen: NDArray[np.bool_]) -> Float:
    """(n, 2, 2) mas: the median of CENTERs plus dither, minus truth."""
    still = centers[seen] - truth.dither[seen][:, None, :]
    known = still[np.isfinite(still).all(axis=(1, 2))]
    if not len(known):
        return np.full(centers.shape, np.nan)
    place = np.median(known, axis=0)
    return offsets_mas(truth, np.arange(len(truth)), place + truth.dither[:, None, :])


def _per_axis(offsets: Float) -> float | None:
    found = scatter(offsets)
    return None if found is None else found / float(np.sqrt(2.0))


def _over(value: float | None, quoted: float | None) -> float | None:
    return None if value is None or not quoted else value / quoted


def photometry_goals(
    case: str,
    truth: SequenceTruth,
    frames: FoundFrames | None,
    fluxes: FoundFluxes | None,
    spots: Mapping[str, Float],
) -> tuple[Figure, ...]:
    """Scatter of science planes against the note's aim and against doing nothing, and of FLUX planes.

    `spots` (n_truth, 2): peers' photometry of the waffle spots; used where the science planes have them.
    """
    goals = goals_of(case, band_letter(truth))
    figures = []
    science = truth.in_sequence
    waffle = science & (np.array(truth.frame_type) == "OBJECT,CENTER")
    for half, side in enumerate(HALVES):
        nothing = relative_scatter(1.0 / truth.core[science, half])
        value, n = None, 0
        if frames is not None:
            rows = truth.rows(frames.file_id, frames.plane)
            ratio = frames.relative_flux[rows >= 0, half] / truth.core[rows[rows >= 0], half]
            ratio = ratio[np.isfinite(ratio)]
            value, n = relative_scatter(ratio), len(ratio)
        label, beside = "doing nothing", nothing
        if waffle.any():
            best = best_of(
                {name: relative_scatter(one[waffle, half] / truth.core[waffle, half]) for name, one in spots.items()},
                ("photutils",),
            )
            label, beside = best.label, best.value
        if goals.photometry_percent is not None:
            figures.append(
                Figure(
                    case=case,
                    name=f"goal: relative photometry, {side}",
                    value=value,
                    unit="%",
                    aim=goals.photometry_percent,
                    reference=label,
                    reference_value=beside,
                    n=n,
                )
            )
        figures.append(
            Figure(
                case=case,
                name=f"goal: relative photometry over doing nothing, {side}",
                # Six digits: the same numbers summed in another order must not count as worse.
                value=None if value is None or not nothing else round(value / nothing, 6),
                unit="1",
                aim=1.0,
                reference="doing nothing [%]",
                reference_value=nothing,
                n=n,
            )
        )
        figures += _flux_figure(case, truth, fluxes, half)
    return tuple(figures)


def _flux_figure(case: str, truth: SequenceTruth, fluxes: FoundFluxes | None, half: int) -> list[Figure]:
    kinds = np.array(truth.frame_type) == "OBJECT,FLUX"
    if not kinds.any():
        return []
    value, n = None, 0
    if fluxes is not None:
        rows = truth.rows(fluxes.file_id, fluxes.plane)
        here = (rows >= 0) & kinds[np.maximum(rows, 0)]
        ratio = fluxes.aperture[here, half] / truth.core[rows[here], half]
        ratio = ratio[np.isfinite(ratio)]
        value, n = relative_scatter(ratio), len(ratio)
    return [
        Figure(
            case=case,
            name=f"goal: FLUX photometry, {HALVES[half]}",
            value=value,
            unit="%",
            aim=FLUX_PERCENT,
            reference="doing nothing",
            reference_value=relative_scatter(1.0 / truth.core[kinds, half]),
            n=n,
        )
    ]
