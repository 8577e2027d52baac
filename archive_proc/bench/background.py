"""How much thermal light a science cube still holds, or has lost, against the true background."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from archive_proc.bench.comparison import HALVES, band_letter
from archive_proc.bench.figures import Figure
from archive_proc.model.flags import Flag
from archive_proc.simulate.facts import GAIN, read_noise_adu
from archive_proc.simulate.truth import SequenceTruth

BACKGROUND_AIMS_ADU = (1.4, 2.3)
"""Issue 3: K background near the star, left and right, ADU rms."""
ZONES = (("r<100", 0.0, 100.0), ("100-285", 100.0, 285.0), ("r>285", 285.0, 1e9))
"""Pixels from the star."""
BRIGHTEST_ADU = 400.0
"""Pixels with more starlight are left out: the detector's non-linearity, corrected or not, reaches 0.4 ADU there."""
FEWEST_PIXELS = 64
"""Of the 256 of a block."""
NO_MEASUREMENT = int(
    Flag.OUTSIDE | Flag.DEAD | Flag.HOT | Flag.NOISY | Flag.SATURATED | Flag.COSMIC | Flag.FILLED | Flag.NEVER_WRITTEN
)
"""Flags of pixels whose value is not the detector's."""
Blocks = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CubePlane:
    """One plane of a science cube."""

    file_id: str
    plane: int
    flux: NDArray[np.float32]
    """(2, 1024, 1024) ADU/s."""
    flags: NDArray[np.uint16]
    exposure_s: float


def usable(truth: SequenceTruth) -> NDArray[np.bool_]:
    """(2, 1024, 1024) lit pixels without any defect."""
    lit = (truth.flat > 0.5) & ~truth.bad
    return np.stack([lit[:, :1024], lit[:, 1024:]])


def normal_flat(truth: SequenceTruth) -> NDArray[np.float32]:
    """(2, 1024, 1024) response over the median of the half's lit field: what products are divided by."""
    halves = np.stack([truth.flat[:, :1024], truth.flat[:, 1024:]])
    return np.stack([half / np.median(half[half > 0.3]) for half in halves])


def removed_light(
    raw: NDArray[np.float32], plane: CubePlane, truth: SequenceTruth, flat: NDArray[np.float32] | None = None
) -> Blocks:
    """(2, 64, 64) what the reduction took away, in the units of `thermal`.

    That is (raw - product * flat - pedestal) / true flat, where `flat` (2, 1024, 1024) is what the product was divided
    by: errors of the flat, half a percent of the starlight, are no error of the background. None: the true one over
    the median of its lit field.
    """
    starlight = plane.flux * np.float32(plane.exposure_s)
    good = usable(truth) & ((plane.flags & NO_MEASUREMENT) == 0) & np.isfinite(starlight) & (starlight < BRIGHTEST_ADU)
    if flat is None:
        flat = normal_flat(truth)
    good &= np.isfinite(flat)
    halves = _halves(raw) - np.nan_to_num(starlight * flat) - _halves(truth.pedestal)
    return _block_means(halves / np.maximum(_halves(truth.flat), 0.1), good)


def injected_noise(
    raw: NDArray[np.float32], plane: CubePlane, truth: SequenceTruth, row: int, flat: NDArray[np.float32] | None
) -> Blocks:
    """(2,) noise of single pixels in what was taken away, in units of the plane's own photon and read noise.

    What is smooth (thermal light and its errors) is taken out with the mean of 25 x 25 pixels. The response is the
    product's own, so that starlight leaves nothing.
    """
    starlight = plane.flux * np.float32(plane.exposure_s)
    good = usable(truth) & ((plane.flags & NO_MEASUREMENT) == 0) & np.isfinite(starlight) & (starlight < BRIGHTEST_ADU)
    used = normal_flat(truth) if flat is None else flat
    good &= np.isfinite(used)
    removed = _halves(raw) - np.nan_to_num(starlight * used) - _halves(truth.pedestal)
    found = np.zeros(2)
    for half in range(2):
        light = np.where(good[half], removed[half] / np.maximum(_halves(truth.flat)[half], 0.1), 0.0)
        share = np.maximum(uniform_filter(good[half].astype(np.float32), 25), 0.01)
        fine = light - uniform_filter(light.astype(np.float32), 25) / share
        low, high = np.percentile(fine[good[half]], [15.8655, 84.1345])
        own = np.sqrt(np.median(truth.thermal[row, half]) / GAIN + read_noise_adu(float(truth.dit[row])) ** 2)
        found[half] = 0.5 * (high - low) / own
    return found


def thermal_blocks(removed: NDArray[np.float32], response: NDArray[np.float32], truth: SequenceTruth) -> Blocks:
    """(2, 64, 64) what a peer took off frames (2, 1024, 1024) that were divided by `response`, as `thermal`."""
    lit = np.nan_to_num(response)
    light = removed * lit / np.maximum(_halves(truth.flat), 0.1)
    return _block_means(light, usable(truth) & (lit > 0))


def without_offsets(raw: NDArray[np.float32], truth: SequenceTruth, row: int) -> NDArray[np.float32]:
    """A raw plane without what its outputs were off by, where that is known: it is no background."""
    known = truth.read_out(row)
    if known is None:
        return raw
    columns = np.repeat(known.offsets, raw.shape[1] // known.offsets.size).astype(np.float32)
    return raw - columns[None, :]


def sky_light(raw: NDArray[np.float32], truth: SequenceTruth) -> Blocks:
    """(2, 64, 64) a sky plane (or the median of several) in the units of `thermal`."""
    light = (_halves(raw) - _halves(truth.pedestal)) / np.maximum(_halves(truth.flat), 0.1)
    return _block_means(light, usable(truth))


def _halves(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([frame[:, :1024], frame[:, 1024:]])


def _block_means(values: NDArray[np.floating], good: NDArray[np.bool_]) -> Blocks:
    """(2, 64, 64) means over 16 x 16 good pixels, NaN where fewer than FEWEST_PIXELS."""
    shape = (2, 64, 16, 64, 16)
    count = good.reshape(shape).sum(axis=(2, 4))
    total = np.where(good, values, 0.0).reshape(shape).sum(axis=(2, 4), dtype=np.float64)
    return np.asarray(np.where(count >= FEWEST_PIXELS, total / np.maximum(count, 1), np.nan))


def zone_of_blocks(truth: SequenceTruth, row: int, half: int) -> NDArray[np.float64]:
    """(64, 64) distance of each block's middle from the star, pixels; from the mean star where the plane has none."""
    star = truth.center[row, half]
    if not np.isfinite(star).all():
        star = np.nanmean(truth.center[truth.in_sequence, half], axis=0)
    at = 16.0 * np.arange(64) + 7.5
    return np.asarray(np.hypot(at[None, :] - star[0], at[:, None] - star[1]))


def background_figures(
    case: str, truth: SequenceTruth, removed: Iterable[tuple[int, Blocks]], median_sky: Blocks | None
) -> tuple[Figure, ...]:
    """Rms error per half and zone over blocks and planes, offset and large scale together; offset rms beside r<100.

    `removed` gives (row of truth, blocks) for science planes. `median_sky` is the reference: the raw skies' median
    subtracted from every plane alike.
    """
    errors: dict[tuple[int, str], list[Blocks]] = {}
    plain: dict[tuple[int, str], list[Blocks]] = {}
    for row, blocks in removed:
        _sort_by_zone(errors, truth, row, blocks)
    if median_sky is not None:
        for science in np.flatnonzero(truth.in_sequence):
            _sort_by_zone(plain, truth, int(science), median_sky)
    figures = []
    aimed = band_letter(truth) == "K"
    for half, side in enumerate(HALVES):
        for zone, _, _ in ZONES:
            found, reference = errors.get((half, zone), []), plain.get((half, zone), [])
            near = zone == "r<100"
            figures.append(
                Figure(
                    case=case,
                    name=f"background {zone} rms, {side}",
                    value=_rms(found),
                    unit="ADU",
                    aim=BACKGROUND_AIMS_ADU[half] if aimed and near else None,
                    reference="median sky" if reference else "",
                    reference_value=_rms(reference),
                    n=sum(one.size for one in found),
                    spread=_rms([one - one.mean() for one in found if one.size]),
                )
            )
            if near:
                figures.append(
                    Figure(
                        case=case,
                        name=f"background {zone} offset rms, {side}",
                        value=_rms([one.mean(keepdims=True) for one in found if one.size]),
                        unit="ADU",
                        reference="median sky" if reference else "",
                        reference_value=_rms([one.mean(keepdims=True) for one in reference if one.size]),
                        n=len(found),
                    )
                )
    return tuple(figures)


def true_flat_figures(case: str, truth: SequenceTruth, removed: Iterable[tuple[int, Blocks]]) -> tuple[Figure, ...]:
    """Rms error near the star if light is what the true flat says, per half; no aim.

    The lamp does not light the field evenly. Its slope is in every flat and multiplies starlight: a photometric error
    of percents over the field, which these figures show as light left or lost under the star.
    """
    errors: dict[tuple[int, str], list[Blocks]] = {}
    for row, blocks in removed:
        _sort_by_zone(errors, truth, row, blocks)
    zone = ZONES[0][0]
    return tuple(
        Figure(
            case=case,
            name=f"background {zone} rms with the true flat, {side}",
            value=_rms(errors.get((half, zone), [])),
            unit="ADU",
            n=sum(one.size for one in errors.get((half, zone), [])),
        )
        for half, side in enumerate(HALVES)
    )


def _sort_by_zone(found: dict[tuple[int, str], list[Blocks]], truth: SequenceTruth, row: int, blocks: Blocks) -> None:
    """Append one plane's errors, (blocks,) each, to (half, zone)."""
    for half in range(2):
        distance = zone_of_blocks(truth, row, half)
        for zone, low, high in ZONES:
            inside = (distance >= low) & (distance < high) & np.isfinite(blocks[half])
            found.setdefault((half, zone), []).append(blocks[half][inside] - truth.thermal[row, half][inside])


def _rms(parts: list[Blocks]) -> float | None:
    values = np.concatenate(parts) if parts else np.empty(0)
    return float(np.sqrt(np.mean(values**2))) if values.size else None
