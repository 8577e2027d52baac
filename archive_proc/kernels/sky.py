"""What skies teach about the background: a master level per pixel and the modes of its change (notes/irdis 4.2).

All large-scale differences between the skies are taken out on block means first, so that clipping across skies finds
field stars and cosmic rays, and the master's noise is not the skies' drift.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.background import HALO_RADIUS, BackgroundBasis, BlockPlane, fit_background, halo_maps
from archive_proc.kernels.blocks import fill_nearest

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
Int = NDArray[np.int64]

CLIP_SIGMA = 3.5
SCALE_FLOOR = 0.01
"""K backgrounds drift by percents in a night (notes/irdis 1): no few skies may claim to know the scale better."""
SCALE_ALONE = 0.05
"""Spread of the scale assumed where a single sky exists."""
INNER_RADIUS = 285.0
"""Pixels: where the background must be right; the number of modes is chosen there."""
TURNING = ("gradient_x", "gradient_y", "quadrupole_+", "quadrupole_x")
"""Low-order changes of the light, relative to it: what turns with the field (m = 1) and the derotator (m = 2)."""
TURNING_CHOICES = (0, 2, 4)
"""How many of them a candidate basis has."""
TURNING_SPREAD = 0.01
"""Expected at the half's edge relative to the light there: K backgrounds hold to percents in a night."""
AS_GOOD = 0.15
"""Cross-validated errors this close to the least (as a fraction) count as equal: a few sky files tell no more."""


@dataclass(frozen=True, slots=True)
class SkyModes:
    """Modes of both halves."""

    first_mode: Float64
    """(2, by, bx) ADU after the flat, NaN where unknown."""
    modes: Float64
    """(q, 2, by, bx) unit norm, NaN where unknown."""
    mode_sigma: Float64
    """(q, 2) ADU."""
    mode_names: tuple[str, ...]
    """(q,) `sky_n` for singular vectors, else the word of `TURNING`."""
    scale_sigma: Float64
    """(2,)."""
    held_out_error: Float64
    """(q_max + 1, 3) rms error within `INNER_RADIUS` of a sky predicted from the others, by number of singular vectors
    and `TURNING_CHOICES`, in units of the error without any; NaN where it could not be tried."""


def reference_blocks(blocks: Float64) -> Float64:
    """Robust mean over skies of their block means, whatever scale each has.

    blocks: (n, 2, by, bx) ADU, NaN where unknown. Gives (2, by, bx). Skies are scaled to their median; values further
    than 3.5 robust sigma from the median are left out, so a field star in one sky disappears.
    """
    if blocks.shape[0] == 1:
        only: Float64 = blocks[0].copy()
        return only
    scales = _scales(blocks)
    scaled = blocks / scales[:, :, None, None]
    middle = _nanmedian(scaled)
    away = scaled - middle
    spread = 1.4826 * _nanmedian(np.abs(away))
    typical = np.nanmedian(spread, axis=(-2, -1), keepdims=True)
    keep = np.abs(away) <= CLIP_SIGMA * np.maximum(spread, typical)
    kept = np.where(keep & np.isfinite(scaled), scaled, 0.0)
    count = (keep & np.isfinite(scaled)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean: Float64 = np.where(count > 0, kept.sum(axis=0) / np.maximum(count, 1), np.nan)
    return mean


def _scales(blocks: Float64) -> Float64:
    """(n, 2) level of each sky over the median sky, mean 1; 1 where there is no light to scale."""
    middle = _nanmedian(blocks)
    ratio: Float64 = np.ones(blocks.shape[:2])
    for channel in range(2):
        good = np.isfinite(middle[channel]) & np.isfinite(blocks[:, channel]).all(axis=0)
        model = middle[channel][good]
        power = float((model**2).sum())
        if power > 0:
            ratio[:, channel] = blocks[:, channel][:, good] @ model / power
    lit = (ratio > 0.5) & (ratio < 2.0)
    ratio = np.where(lit.all(axis=0), ratio, 1.0)
    even: Float64 = ratio / ratio.mean(axis=0)
    return even


def _nanmedian(values: Float64) -> Float64:
    """Median over the first axis without NaN; NaN where all are (no warning, which nanmedian gives)."""
    empty = ~np.isfinite(values).any(axis=0)
    middle: Float64 = np.where(empty, np.nan, np.nanmedian(np.where(empty, 0.0, values), axis=0))
    return middle


def master_pixels(planes: Float32, good: Mask, noise: Float32) -> tuple[Float32, Float32]:
    """Clipped mean over skies whose large-scale differences are removed, and its variance.

    planes: (n, ny, nx) ADU; good: (ny, nx); noise: (ny, nx) expected standard deviation of one plane. Gives mean and
    variance (ny, nx) float32; pixels that are not good come out as the plain median with infinite variance. Clipping is
    at 3.5 sigma of the larger of the expected noise and the pixel's own median deviation.
    """
    n = planes.shape[0]
    if n == 1:
        return planes[0].copy(), np.where(good, noise**2, np.float32(np.inf)).astype(np.float32)
    middle = np.median(planes, axis=0)
    away = np.abs(planes - middle)
    limit = CLIP_SIGMA * np.maximum(noise, np.float32(1.4826) * np.median(away, axis=0))
    keep = away <= limit
    count = keep.sum(axis=0).clip(min=1).astype(np.float32)
    mean = np.where(keep, planes, np.float32(0)).sum(axis=0) / count
    scatter = np.where(keep, (planes - mean) ** 2, np.float32(0)).sum(axis=0) / np.maximum(count - 1, 1)
    # With few skies the scatter of one pixel is a poor number: let it weigh as n - 1 against 8 of the expectation.
    variance = ((n - 1) * scatter + 8 * noise**2) / (n + 7) / count
    level = np.where(good, mean, middle).astype(np.float32)
    return level, np.where(good, variance, np.float32(np.inf)).astype(np.float32)


def join_estimates(
    sky: Float32, sky_variance: Float32, smooth: Float32, smooth_variance: Float32, structure: Float32
) -> tuple[Float32, Float32]:
    """Weighted mean of two estimates of a pixel's level: the skies', and detector level + smooth light.

    All (ny, nx) float32, ADU and ADU2. `structure`: variance of what is finer than the smooth light. With few skies the
    second is the less noisy one; with many, or where the light has fine structure, the first.
    """
    other = smooth_variance + structure
    finite = np.isfinite(sky_variance)
    known = np.where(finite, sky_variance, np.float32(1.0))
    weight = np.where(finite, other / (known + other), np.float32(0.0))
    level = (smooth + weight * (sky - smooth)).astype(np.float32)
    variance = np.where(finite, weight * known, other).astype(np.float32)
    return level, variance


def structure_variance(away: Float32, variance: Float32, good: Mask, size: int) -> Float32:
    """Variance per cell of `size`^2 pixels that `variance` does not explain, spread back to pixels; never negative.

    away, variance, good: (ny, nx), multiples of `size`; ADU, ADU2. Values beyond five sigma are left out.
    """
    ny, nx = away.shape
    usable = good & np.isfinite(variance) & (away**2 <= 25.0 * np.where(np.isfinite(variance), variance, 0.0))
    cells = (ny // size, size, nx // size, size)
    count = usable.reshape(cells).sum(axis=(1, 3))
    excess = np.where(usable, away**2 - np.where(usable, variance, 0.0), 0.0).reshape(cells).sum(axis=(1, 3))
    mean = np.maximum(excess, 0.0) / np.maximum(count, 1)
    return np.repeat(np.repeat(mean, size, axis=0), size, axis=1).astype(np.float32)


def sky_modes(
    blocks: Float64, sigma: Float64, files: Int, *, max_modes: int, star: tuple[tuple[float, float], ...]
) -> SkyModes:
    """Modes of the change between skies, their number and kind chosen by predicting each sky file from the others.

    blocks, sigma: (n, 2, by, bx) block means after the flat and their standard errors, ADU; files: (n,) file of each
    plane; star: x, y of the star in each half, where a halo is injected and the mask lies. Candidates: up to n - 2
    singular vectors, with no, two or four `TURNING` maps: few skies span only a few epochs, while part of the light
    turns with derotator and field (notes/irdis 4.2.7). From one file nothing can be predicted: all four maps, whose
    priors keep them small.
    """
    n = blocks.shape[0]
    most = max(0, min(max_modes, n - 2))
    reference = reference_blocks(blocks)
    errors = np.full((most + 1, len(TURNING_CHOICES)), np.nan)
    chosen = (0, len(TURNING_CHOICES) - 1)
    if np.unique(files).size > 1:
        errors = _held_out(blocks, sigma, files, most, star)
        chosen = _choose(errors)
    modes, spread = _candidate(blocks, sigma, reference, chosen)
    names = tuple(f"sky_{index + 1}" for index in range(chosen[0])) + TURNING[: TURNING_CHOICES[chosen[1]]]
    return SkyModes(reference, modes, spread, names, _scale_sigma(blocks), errors)


def _choose(errors: Float64) -> tuple[int, int]:
    """The richest basis that predicts held-out skies nearly as well as the best one.

    A held-out sky is further in time from the others than science planes are from all skies: singular vectors that
    neither help nor harm there help here, and their priors bound the harm.
    """
    with np.errstate(invalid="ignore"):
        fair = np.argwhere(errors <= (1.0 + AS_GOOD) * np.nanmin(errors))
    sky, turning = max(((int(one[0]), int(one[1])) for one in fair), key=lambda one: (one[0], one[1]))
    return sky, turning


def _scale_sigma(blocks: Float64) -> Float64:
    if blocks.shape[0] == 1:
        return np.full(2, SCALE_ALONE)
    spread: Float64 = np.maximum(_scales(blocks).std(axis=0, ddof=1), SCALE_FLOOR)
    return spread


def turning_maps(reference: Float64, n: int) -> tuple[Float64, Float64]:
    """First n `TURNING` maps (n, 2, by, bx), unit norm, and the spread (n, 2) expected of their coefficients, ADU.

    They are low-order changes of the light that is there: gradient or quadrupole over the half times `reference`.
    """
    by, bx = reference.shape[1:]
    y, x = np.meshgrid((np.arange(by) + 0.5) * 2 / by - 1.0, (np.arange(bx) + 0.5) * 2 / bx - 1.0, indexing="ij")
    shapes = np.stack([x, y, x * x - y * y, 2.0 * x * y])[:n, None]
    maps = shapes * reference
    norm = np.sqrt(np.nansum(maps**2, axis=(2, 3)))
    safe = np.where(norm > 0, norm, 1.0)
    return maps / safe[:, :, None, None], TURNING_SPREAD * norm


def _candidate(blocks: Float64, sigma: Float64, reference: Float64, choice: tuple[int, int]) -> tuple[Float64, Float64]:
    modes, spread = _decompose(blocks, sigma, reference, choice[0])
    turning, turning_spread = turning_maps(reference, TURNING_CHOICES[choice[1]])
    return np.concatenate([modes, turning]), np.concatenate([spread, turning_spread])


def _decompose(blocks: Float64, sigma: Float64, reference: Float64, k: int) -> tuple[Float64, Float64]:
    """First k modes (k, 2, by, bx) and the spread of their coefficients (k, 2)."""
    n, channels, by, bx = blocks.shape
    modes = np.full((k, channels, by, bx), np.nan)
    spread = np.zeros((k, channels))
    if k == 0:
        return modes, spread
    for channel in range(channels):
        good = np.isfinite(blocks[:, channel]).all(axis=0) & np.isfinite(reference[channel])
        weight = 1.0 / np.sqrt(np.mean(sigma[:, channel][:, good] ** 2, axis=0))
        first = reference[channel][good] * weight
        residual = (blocks[:, channel][:, good] - reference[channel][good]) * weight
        # A star in one sky is one block far from all others: it must not make a mode.
        limit = CLIP_SIGMA * np.maximum(1.4826 * np.median(np.abs(residual), axis=0), 1.0)
        residual = np.clip(residual, -limit, limit) if n > 3 else residual
        residual = residual - np.outer(residual @ first / (first @ first), first)
        _, singular, vectors = np.linalg.svd(residual, full_matrices=False)
        for index in range(min(k, singular.size)):
            mode = vectors[index] / weight
            # The sign of a singular vector is arbitrary: the largest value is made positive.
            norm = np.linalg.norm(mode) * np.sign(mode[np.argmax(np.abs(mode))])
            modes[index, channel][good] = mode / norm
            spread[index, channel] = singular[index] / np.sqrt(n) * abs(norm)
    return modes, spread


def _held_out(blocks: Float64, sigma: Float64, files: Int, most: int, star: tuple[tuple[float, float], ...]) -> Float64:
    """(most + 1, 3) error inside of a sky file predicted from the others, by modes and turning maps; first entry 1."""
    errors: dict[tuple[int, int], list[float]] = {}
    for left_out in np.unique(files):
        others = files != left_out
        kept = blocks[others]
        reference = reference_blocks(kept)
        for k in range(min(most, len(kept) - 1) + 1):
            for turning in range(len(TURNING_CHOICES)):
                modes, spread = _candidate(kept, sigma[others], reference, (k, turning))
                basis = _blocks_only(reference, modes, _scale_sigma(kept), spread)
                for index in np.flatnonzero(~others):
                    error = _prediction_error(basis, reference, blocks[index], sigma[index], star)
                    errors.setdefault((k, turning), []).append(error)
    tried = np.full((most + 1, len(TURNING_CHOICES)), np.nan)
    n_files = np.unique(files).size
    for choice, found in errors.items():
        # A choice that some file could not try is no candidate: its mean would be over easier files.
        if len(found) == len(errors[0, 0]) and n_files > 1:
            tried[choice] = np.sqrt(np.mean(np.square(found)))
    return tried / tried[0, 0] if tried[0, 0] > 0 else np.full(tried.shape, np.nan)


def _blocks_only(reference: Float64, modes: Float64, scale_sigma: Float64, spread: Float64) -> BackgroundBasis:
    nothing = np.zeros((2, 0, 0), np.float32)
    return BackgroundBasis(nothing, nothing, fill_nearest(reference), fill_nearest(modes), scale_sigma, spread)


def _prediction_error(
    basis: BackgroundBasis, reference: Float64, blocks: Float64, sigma: Float64, star: tuple[tuple[float, float], ...]
) -> float:
    """Rms error of the predicted background within `INNER_RADIUS`, over the noise, both halves."""
    total = 0.0
    for channel in range(2):
        halo, radius = halo_maps(star[channel], reference.shape[1:])
        # Not a shape the fit knows: a halo that falls as r^-2.2, brighter along one axis by an odd power.
        bright = 0.05 * float(np.nanmedian(reference[channel]))
        light = bright * np.maximum(radius / HALO_RADIUS, 0.3) ** -2.2 * (1.0 + 0.3 * halo[4] / halo[0])
        left_out = np.zeros(radius.shape, bool)
        values = blocks[channel] - reference[channel] + light
        plane = BlockPlane(values, sigma[channel], star[channel], left_out)
        fit = fit_background(basis, channel, plane, (0.0, 0.0))
        predicted = reference[channel] + basis.smooth(np.stack([fit.coefficients, fit.coefficients]))[channel]
        away = (blocks[channel] - predicted)[radius < INNER_RADIUS]
        scatter = np.median(sigma[channel][np.isfinite(sigma[channel]) & (sigma[channel] > 0)])
        total += float(np.nanmean(away**2) / scatter**2)
    return float(np.sqrt(total / 2))
