"""How far each plane's speckles stand from a common reference (notes/irdis 4.4).

Planes are aligned with the mean of the others, leaving each one out of its own reference: its noise must not hold it in
place. Both halves see one star, so a plane has one shift; each half has its own brightness and offset. Only structure
finer than a fraction of lambda / D counts: the smooth halo is a poor witness of the star's position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from archive_proc.kernels.stamps import Stamp, moved, patched

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

HIGH_PASS = 1.1
"""lambda / D (notes/irdis 4.4.4)."""
RING = (4.0, 16.0)
"""lambda / D: outside the light that leaks past the mask, inside what photons allow."""
ROUNDS = 3
STEPS = 4
CONVERGED = 1e-4
"""Pixels."""
EVOLUTION = 0.2
"""Speckles change by about this fraction of their brightness."""
BRILLIANCE_SCALE = 6.0
"""Pixels: wider than a speckle, narrower than the halo's slope."""
MAX_SHIFT = 4.0
"""Pixels from the start; a shift beyond it is no measurement."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Both halves of one plane about the star: fine structure and its weight."""

    values: Float32
    """(2, size, size) ADU per DIT, high-passed."""
    weight: Float32
    """(2, size, size) inverse variance; 0 where bad."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Where a plane stands against the reference."""

    xy: Float64
    """(2,) pixels."""
    error: Float64
    """(2,) standard error from the normal matrix times chi squared."""
    brightness: Float64
    """(2,) over the reference, per half."""
    brightness_error: Float64
    """(2,) standard error of `brightness` from the normal matrix times chi squared; infinite where not measured."""
    good: bool


@dataclass(frozen=True, slots=True)
class Registered:
    """A stack of planes against their common reference."""

    shifts: tuple[Shift, ...]
    reference: Patch


def high_passed(stamps: tuple[Stamp, Stamp], lambda_d: tuple[float, float]) -> Patch:
    """Fine structure of a plane's stamps; bad pixels are patched for the smoothing and keep weight 0."""
    values, weights = [], []
    for stamp, scale in zip(stamps, lambda_d, strict=True):
        filled = patched(stamp.values, stamp.weight)
        values.append(
            np.where(stamp.weight > 0, filled - scipy.ndimage.gaussian_filter(filled, HIGH_PASS * scale), np.float32(0))
        )
        weights.append(stamp.weight)
    return Patch(np.stack(values).astype(np.float32), np.stack(weights))


def ring(size: int, star: tuple[tuple[float, float], ...], lambda_d: tuple[float, float]) -> NDArray[np.bool_]:
    """(2, size, size) pixels of the `RING` about each half's star (stamp coordinates)."""
    y, x = np.mgrid[:size, :size]
    masks = []
    for (sx, sy), scale in zip(star, lambda_d, strict=True):
        radius = np.hypot(x - sx, y - sy) / scale
        masks.append((radius >= RING[0]) & (radius <= RING[1]))
    return np.stack(masks)


def register_one(plane: Patch, reference: Patch, mask: NDArray[np.bool_], start: Float64) -> Shift:
    """Gauss-Newton on `plane = A reference(x - d) + c` over the mask, one d for both halves.

    The reference is moved by Fourier phases, the plane never. Gives a shift that is not `good` when it ran away, when
    the reference has no weight, or when the brightness is not positive.
    """
    spectra = [np.fft.rfft2(patched(reference.values[half], reference.weight[half])) for half in range(2)]
    brilliance = [_brilliance(reference.values[half]) for half in range(2)]
    seen = mask & (plane.weight > 0) & (reference.weight > 0)
    size = plane.values.shape[-1]
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    d = start.astype(np.float64).copy()
    reduced = 1.0
    unknown = np.full(2, np.inf)
    failed = Shift(start, unknown, np.ones(2), unknown, False)
    if seen.sum() < 200:
        return failed
    covariance = np.full((2, 2), np.inf)
    brightness, brightness_error = np.ones(2), unknown.copy()
    for _ in range(STEPS):
        normal, right, chi2, n = np.zeros((2, 2)), np.zeros(2), 0.0, 0
        for half in range(2):
            if not seen[half].any():
                continue
            phase = spectra[half] * np.exp(-2j * np.pi * (fx * d[0] + fy * d[1]))
            model, slope_x, slope_y = (
                np.fft.irfft2(one, (size, size))[seen[half]]
                for one in (phase, phase * (-2j * np.pi * fx), phase * (-2j * np.pi * fy))
            )
            # slopes are d(model)/d(shift)
            value = plane.values[half][seen[half]].astype(np.float64)
            # Variance plus what speckles change by, so that bright regions do not rule. By region, never by the pixel's
            # own light: weights that follow the speckles' zero crossings over-estimate every shift.
            photon = 1.0 / plane.weight[half][seen[half]].astype(np.float64)
            weight = 1.0 / (photon + EVOLUTION**2 * brightness[half] ** 2 * brilliance[half][seen[half]])
            linear = np.stack([model, np.ones_like(model)])
            gram = (linear * weight) @ linear.T
            terms = np.linalg.solve(gram, linear @ (weight * value))
            brightness[half], brightness_error[half] = terms[0], np.sqrt(np.linalg.inv(gram)[0, 0])
            left = value - terms @ linear
            slopes = terms[0] * np.stack([slope_x, slope_y])
            # Brightness and offset are eliminated, or a slope that resembles the model would move the star.
            slopes = slopes - np.linalg.solve(gram, (linear * weight) @ slopes.T).T @ linear
            normal += (slopes * weight) @ slopes.T
            right += slopes @ (weight * left)
            chi2 += float((weight * left**2).sum())
            n += left.size
        if not np.isfinite(normal).all() or np.linalg.det(normal) <= 0:
            return failed
        reduced = chi2 / max(n - 6, 1)
        covariance = np.linalg.inv(normal) * reduced
        step = np.clip(np.linalg.solve(normal, right), -1.0, 1.0)
        d += step
        if np.abs(step).max() < CONVERGED:
            break
    good = bool(np.abs(d - start).max() <= MAX_SHIFT and (brightness > 0).all() and np.isfinite(covariance).all())
    if not good:
        return failed
    return Shift(d, np.sqrt(np.diag(covariance)), brightness, brightness_error * np.sqrt(reduced), True)


def _brilliance(values: Float32) -> Float64:
    """Mean square of the fine structure around each pixel, (size, size)."""
    around: Float64 = scipy.ndimage.gaussian_filter(values.astype(np.float64) ** 2, BRILLIANCE_SCALE)
    return around


def register_stack(
    planes: Sequence[Patch], starts: Float64, mask: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> Registered:
    """Shifts of all planes against the mean of the usable ones.

    starts: (n, 2) expected shifts, pixels. Planes that are not usable are measured and feed nothing. The mean of the
    usable planes' shifts stays that of their starts: a common shift of all cannot be seen here.
    """
    unknown = np.full(2, np.inf)
    shifts = [Shift(start.copy(), unknown, np.ones(2), unknown, True) for start in starts]
    members = [int(index) for index in np.flatnonzero(usable)]
    if not members:
        empty = Patch(np.zeros_like(planes[0].values), np.zeros_like(planes[0].weight))
        return Registered(tuple(replace(one, good=False) for one in shifts), empty)
    # A single member is the reference itself.
    sole = members[0] if len(members) == 1 else None
    if sole is not None:
        shifts[sole] = replace(shifts[sole], error=np.zeros(2), brightness_error=np.zeros(2))
    for _ in range(ROUNDS if len(planes) > 1 else 0):
        aligned = {index: _aligned(planes[index], shifts[index]) for index in members}
        total = _sum(aligned)
        # All from the sums of this round: the order of planes does not matter.
        measured = [
            shifts[index]
            if index == sole
            else register_one(plane, _mean(total, aligned.get(index)), mask, shifts[index].xy)
            for index, plane in enumerate(planes)
        ]
        # Against the mean of the others a plane of n stands n / (n - 1) too far: they were aligned with it in mind.
        share = (len(members) - 1) / len(members) if len(members) > 1 else 1.0
        moves = [
            (share if index in aligned else 1.0) * (new.xy - old.xy)
            for index, (new, old) in enumerate(zip(measured, shifts, strict=True))
        ]
        shifts = [replace(new, xy=old.xy + move) for new, old, move in zip(measured, shifts, moves, strict=True)]
        drift = np.mean([shifts[index].xy - starts[index] for index in members], axis=0)
        shifts = [replace(one, xy=one.xy - drift) for one in shifts]
    reference = _mean(_sum({index: _aligned(planes[index], shifts[index]) for index in members}), None)
    return Registered(tuple(shifts), reference)


def _aligned(plane: Patch, shift: Shift) -> tuple[Float32, Float32]:
    """Weighted values and weights of a plane moved back onto the reference, brightness 1."""
    values, weights = np.empty_like(plane.values), np.empty_like(plane.weight)
    for half in range(2):
        value, weight = moved(plane.values[half], plane.weight[half], (-shift.xy[0], -shift.xy[1]))
        scale = np.float32(shift.brightness[half]) if shift.good else np.float32(1.0)
        # Equal say for every plane where it is valid: weights follow coverage, not each plane's photon noise.
        weights[half] = (weight > 0) * np.float32(1.0 if shift.good else 0.0)
        values[half] = value / scale * weights[half]
    return values, weights


def _sum(aligned: dict[int, tuple[Float32, Float32]]) -> tuple[Float64, Float64]:
    stacked = [np.stack([one[part] for one in aligned.values()]) for part in (0, 1)]
    values, weights = (np.asarray(one.sum(axis=0, dtype=np.float64)) for one in stacked)
    return values, weights


def _mean(total: tuple[Float64, Float64], own: tuple[Float32, Float32] | None) -> Patch:
    values, weights = total
    if own is not None:
        values, weights = values - own[0], weights - own[1]
    covered = weights > 0.5
    mean = np.where(covered, values / np.where(covered, weights, 1.0), 0.0)
    return Patch(mean.astype(np.float32), np.where(covered, weights, 0.0).astype(np.float32))
