"""What skies teach about the background: a master level per pixel and the modes of its change (notes/irdis 4.2).

All large-scale differences between the skies are taken out on block means first, so that clipping across skies finds
field stars and cosmic rays, and the master's noise is not the skies' drift.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from archive_proc.kernels.background import HALO_RADIUS, BackgroundBasis, BlockPlane, fit_background, halo_maps
from archive_proc.kernels.blocks import BLOCK, fill_nearest

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
DEGREE = 4
"""Smooth changes of the light are its products with Legendre polynomials of up to this total degree."""
SMOOTH_SPREAD = 0.005
"""Expected of a gradient at the half's edge, relative to the light there (K backgrounds hold to percents in a night,
and priors are three times this); falls as 1 / degree^2, as changes that begin in the optics' far ends are smooth."""
MOVED = (0.5, 0.5, 0.7)
"""Pixels at the half's edge that vignetting and arc may move in x, in y, or outwards (flexure, temperature)."""
CONTRAST = 0.02
"""Relative change of what is finer than `COARSE` against the smooth light: arc and field are of different warmth."""
COARSE = 10.0
"""Blocks (Gaussian sigma)."""
CHANGES = (
    *(f"smooth_{degree - order}_{order}" for degree in range(1, DEGREE + 1) for order in range(degree + 1)),
    "moved_x", "moved_y", "moved_out", "contrast",
)  # fmt: skip
"""Names of the maps of `change_maps`: powers of the polynomial in x and y, then movements and contrast."""
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
    """(q,) `sky_n` for singular vectors, else the word of `CHANGES`."""
    scale_sigma: Float64
    """(2,)."""
    held_out_error: Float64
    """(q_max + 1,) rms error within `INNER_RADIUS` of a sky predicted from the others, by number of singular vectors,
    in units of the error without any; NaN where it could not be tried."""


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


def master_pixels(planes: Float32, good: Mask, noise: Float32, valid: Mask | None = None) -> tuple[Float32, Float32]:
    """Clipped mean over skies whose large-scale differences are removed, and its variance.

    planes: (n, ny, nx) ADU; good: (ny, nx); noise: (ny, nx) expected standard deviation of one plane; valid: as planes,
    False where one shows a star. Gives mean and variance (ny, nx) float32; pixels that are not good come out as the
    plain median with infinite variance, and so do those that no plane shows. Clipping is at 3.5 sigma of the larger of
    the expected noise and the pixel's own median deviation.
    """
    if valid is not None and not valid.all():
        level, variance = master_pixels(planes, good, noise)
        some = ~valid.all(axis=0)
        for pattern in np.unique(valid[:, some], axis=1).T:
            alike = some & (valid == pattern[:, None, None]).all(axis=0)
            if not pattern.any():
                variance[alike] = np.inf
                continue
            part = planes[pattern][:, alike][:, None]
            its_level, its_variance = master_pixels(part, good[alike][None], noise[alike][None])
            level[alike], variance[alike] = its_level[0], its_variance[0]
        return level, variance
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
    """Modes of the change between skies, their number chosen by predicting each sky file from the others.

    blocks, sigma: (n, 2, by, bx) block means after the flat and their standard errors, ADU; files: (n,) file of each
    plane; star: x, y of the star in each half, where a halo is injected and the mask lies. Up to n - 2 singular
    vectors, and always the maps of `change_maps`: few skies span only a few epochs, while the light goes on
    drifting and part of it turns with derotator and field (notes/irdis 4.2.7). Their priors keep them small.
    """
    n = blocks.shape[0]
    most = max(0, min(max_modes, n - 2))
    reference = reference_blocks(blocks)
    errors = np.full(most + 1, np.nan)
    chosen = 0
    if np.unique(files).size > 1:
        errors = _held_out(blocks, sigma, files, most, star)
        chosen = _choose(errors)
    modes, spread = _candidate(blocks, sigma, reference, chosen)
    names = tuple(f"sky_{index + 1}" for index in range(chosen)) + CHANGES
    return SkyModes(reference, modes, spread, names, _scale_sigma(blocks), errors)


def _choose(errors: Float64) -> int:
    """The most singular vectors that predict held-out skies nearly as well as the best number.

    A held-out sky is further in time from the others than science planes are from all skies: singular vectors that
    neither help nor harm there help here, and their priors bound the harm.
    """
    if not np.isfinite(errors).any():
        return 0
    with np.errstate(invalid="ignore"):
        return int(np.flatnonzero(errors <= (1.0 + AS_GOOD) * np.nanmin(errors)).max())


def _scale_sigma(blocks: Float64) -> Float64:
    if blocks.shape[0] == 1:
        return np.full(2, SCALE_ALONE)
    spread: Float64 = np.maximum(_scales(blocks).std(axis=0, ddof=1), SCALE_FLOOR)
    return spread


def change_maps(reference: Float64) -> tuple[Float64, Float64]:
    """The maps of `CHANGES`, (m, 2, by, bx) of unit norm, and the spread (m, 2) expected of their coefficients, ADU.

    reference: (2, by, bx) ADU, NaN where unknown; maps are NaN there. They are what thermal light can do between skies:
    brighten smoothly, move as a whole, and change the contrast of its fine structure.
    """
    _, by, bx = reference.shape
    y, x = np.meshgrid((np.arange(by) + 0.5) * 2 / by - 1.0, (np.arange(bx) + 0.5) * 2 / bx - 1.0, indexing="ij")
    powers = [(degree - order, order) for degree in range(1, DEGREE + 1) for order in range(degree + 1)]
    known = np.isfinite(reference)
    light = fill_nearest(reference)
    smooth = np.stack(
        [scipy.special.eval_legendre(in_x, x) * scipy.special.eval_legendre(in_y, y) * light for in_x, in_y in powers]
    )
    slope_y, slope_x = (np.gradient(light, BLOCK, axis=axis) for axis in (1, 2))
    fine = light - scipy.ndimage.gaussian_filter(light, (0.0, COARSE, COARSE))
    structure = np.stack([slope_x, slope_y, slope_x * x + slope_y * y, fine])
    maps = np.where(known, np.concatenate([smooth, structure]), np.nan)
    expected = np.array([*(SMOOTH_SPREAD / sum(one) ** 2 for one in powers), *MOVED, CONTRAST])
    norm = np.sqrt(np.nansum(maps**2, axis=(2, 3)))
    safe = np.where(norm > 0, norm, 1.0)
    return maps / safe[:, :, None, None], expected[:, None] * norm


def _candidate(blocks: Float64, sigma: Float64, reference: Float64, k: int) -> tuple[Float64, Float64]:
    modes, spread = _decompose(blocks, sigma, reference, k)
    changes, changes_spread = change_maps(reference)
    return np.concatenate([modes, changes]), np.concatenate([spread, changes_spread])


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
    """(most + 1,) error inside of a sky file predicted from the others, by number of singular vectors; first is 1."""
    errors: dict[int, list[float]] = {}
    for left_out in np.unique(files):
        others = files != left_out
        kept = blocks[others]
        reference = reference_blocks(kept)
        for k in range(min(most, len(kept) - 1) + 1):
            modes, spread = _candidate(kept, sigma[others], reference, k)
            basis = _blocks_only(reference, modes, _scale_sigma(kept), spread)
            for index in np.flatnonzero(~others):
                error = _prediction_error(basis, reference, blocks[index], sigma[index], star)
                errors.setdefault(k, []).append(error)
    tried = np.full(most + 1, np.nan)
    for k, found in errors.items():
        # A number that some file could not try is no candidate: its mean would be over easier files.
        if len(found) == len(errors[0]):
            tried[k] = np.sqrt(np.mean(np.square(found)))
    return tried / tried[0] if tried[0] > 0 else np.full(tried.shape, np.nan)


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
        # Not a shape the fit knows: a halo that falls as r^-3.4, brighter along one axis.
        bright = 0.2 * float(np.nanmedian(reference[channel]))
        light = bright * np.maximum(radius / HALO_RADIUS, 0.5) ** -3.4 * (1.0 + 0.3 * halo[4] / halo[0])
        left_out = np.zeros(radius.shape, bool)
        values = blocks[channel] - reference[channel] + light
        plane = BlockPlane(values, sigma[channel], star[channel], left_out)
        fit = fit_background(basis, channel, plane, (0.0, 0.0))
        predicted = reference[channel] + basis.smooth(np.stack([fit.coefficients, fit.coefficients]))[channel]
        away = (blocks[channel] - predicted)[radius < INNER_RADIUS]
        scatter = np.median(sigma[channel][np.isfinite(sigma[channel]) & (sigma[channel] > 0)])
        total += float(np.nanmean(away**2) / scatter**2)
    return float(np.sqrt(total / 2))
