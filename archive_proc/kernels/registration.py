"""How far each plane's speckles stand from a common reference (notes/irdis 4.4).

Planes are aligned with the mean of the others, leaving each one out of its own reference: its noise must not hold it in
place. All images of a plane (the halves of IRDIS, channels of the IFS) see one star, so a plane has one shift; each
image has its own brightness and offset. Only structure finer than a fraction of lambda / D counts: the smooth halo is a
poor witness of the star's position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from archive_proc.kernels.stamps import Stamp, moved_good, patched

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
    """The h images of one plane about the star (IRDIS: two halves): fine structure and its weight."""

    values: Float32
    """(h, size, size) one unit for all planes, high-passed."""
    weight: Float32
    """(h, size, size) inverse variance; 0 where bad."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Where a plane stands against the reference."""

    xy: Float64
    """(2,) pixels."""
    error: Float64
    """(2,) standard error from the normal matrix times chi squared."""
    brightness: Float64
    """(h,) over the reference, per half."""
    brightness_error: Float64
    """(h,) standard error of `brightness` from the normal matrix times chi squared; infinite where not measured."""
    good: bool


@dataclass(frozen=True, slots=True)
class Registered:
    """A stack of planes against their common reference."""

    shifts: tuple[Shift, ...]
    reference: Patch


def high_passed(stamps: Sequence[Stamp], lambda_d: Sequence[float]) -> Patch:
    """Fine structure of a plane's stamps; bad pixels are patched for the smoothing and keep weight 0."""
    values, weights = [], []
    for stamp, scale in zip(stamps, lambda_d, strict=True):
        filled = patched(stamp.values, stamp.weight)
        values.append(
            np.where(stamp.weight > 0, filled - scipy.ndimage.gaussian_filter(filled, HIGH_PASS * scale), np.float32(0))
        )
        weights.append(stamp.weight)
    return Patch(np.stack(values).astype(np.float32), np.stack(weights))


def ring(size: int, star: Sequence[tuple[float, float]], lambda_d: Sequence[float]) -> NDArray[np.bool_]:
    """(h, size, size) pixels of the `RING` about each half's star (stamp coordinates)."""
    y, x = np.mgrid[:size, :size]
    masks = []
    for (sx, sy), scale in zip(star, lambda_d, strict=True):
        radius = np.hypot(x - sx, y - sy) / scale
        masks.append((radius >= RING[0]) & (radius <= RING[1]))
    return np.stack(masks)


def register_one(
    plane: Patch, reference: Patch, mask: NDArray[np.bool_], start: Float64, brilliance: Float64 | None = None
) -> Shift:
    """Gauss-Newton on `plane = A reference(x - d) + c` over the mask, one d for all halves.

    The reference is moved by Fourier phases, the plane never. Gives a shift that is not `good` when it ran away, when
    the reference has no weight, or when the brightness is not positive. `brilliance`: that of the reference, where it
    is at hand.
    """
    seen = mask & (plane.weight > 0) & (reference.weight > 0)
    count = plane.values.shape[0]
    unknown = np.full(count, np.inf)
    failed = Shift(start, np.full(2, np.inf), np.ones(count), unknown, False)
    if seen.sum() < 200:
        return failed
    light = brilliance_of(reference) if brilliance is None else brilliance
    halves = {half: _HalfFit.of(plane, reference, seen, light, half) for half in range(count) if seen[half].any()}
    d = start.astype(np.float64).copy()
    reduced = 1.0
    covariance = np.full((2, 2), np.inf)
    brightness, brightness_error = np.ones(count), unknown.copy()
    for _ in range(STEPS):
        normal, right, chi2, n = np.zeros((2, 2)), np.zeros(2), 0.0, 0
        for half, fit in halves.items():
            sums = fit.sums(d, float(brightness[half]))
            gram = sums[:2, :2]
            terms = np.linalg.solve(gram, sums[:2, 4])
            brightness[half], brightness_error[half] = terms[0], np.sqrt(np.linalg.inv(gram)[0, 0])
            # Brightness and offset are eliminated, or a slope that resembles the model would move the star.
            mixed = terms[0] * sums[:2, 2:4]
            normal += terms[0] ** 2 * sums[2:4, 2:4] - mixed.T @ np.linalg.solve(gram, mixed)
            right += terms[0] * sums[2:4, 4] - mixed.T @ terms
            # Rounding may leave a plane without any structure a little below nothing.
            chi2 += max(float(sums[4, 4] - terms @ sums[:2, 4]), 0.0)
            n += fit.where.size
        if not np.isfinite(normal).all() or np.linalg.det(normal) <= 0:
            return failed
        reduced = chi2 / max(n - 2 - 2 * count, 1)
        covariance = np.linalg.inv(normal) * reduced
        step = np.clip(np.linalg.solve(normal, right), -1.0, 1.0)
        d += step
        if np.abs(step).max() < CONVERGED:
            break
    inside = bool(np.abs(d - start).max() <= MAX_SHIFT)
    # A plane without any structure fits everything exactly.
    good = inside and bool((brightness > 0).all() and np.isfinite(covariance).all()) and reduced > 0.0
    if not good:
        return failed
    return Shift(d, np.sqrt(np.diag(covariance)), brightness, brightness_error * np.sqrt(reduced), True)


@dataclass(frozen=True, slots=True)
class _HalfFit:
    """One half of a plane against the reference; arrays (m,) over the pixels seen."""

    spectrum: NDArray[np.complex64]
    """(size, size // 2 + 1) of the reference."""
    where: NDArray[np.intp]
    value: Float64
    photon: Float64
    """Variance of `value`."""
    brilliance: Float64

    @classmethod
    def of(cls, plane: Patch, reference: Patch, seen: NDArray[np.bool_], brilliance: Float64, half: int) -> _HalfFit:
        """What does not change from step to step."""
        where = np.flatnonzero(seen[half])
        return cls(
            np.fft.rfft2(patched(reference.values[half], reference.weight[half])).astype(np.complex64, copy=False),
            where,
            plane.values[half].reshape(-1)[where].astype(np.float64),
            1.0 / plane.weight[half].reshape(-1)[where].astype(np.float64),
            brilliance[half].reshape(-1)[where],
        )

    def sums(self, d: Float64, brightness: float) -> Float64:
        """The (5, 5) sums of `fit_sums` for a reference moved by d and of some brightness.

        Slopes are d(model)/d(shift). The weights are variance plus what speckles change by, so that bright regions do
        not rule. By region, never by the pixel's own light: weights that follow the speckles' zero crossings
        over-estimate every shift.
        """
        from archive_proc.kernels.loops.stamps import fit_sums

        size = self.spectrum.shape[0]
        fy, fx = -2j * np.pi * np.fft.fftfreq(size)[:, None], -2j * np.pi * np.fft.rfftfreq(size)
        moved_y, moved_x = np.exp(fy * d[1]).astype(np.complex64), np.exp(fx * d[0]).astype(np.complex64)
        images = np.empty((3, *self.spectrum.shape), np.complex64)
        np.multiply(self.spectrum * moved_y, moved_x, out=images[0])
        np.multiply(images[0], fx.astype(np.complex64), out=images[1])
        np.multiply(images[0], fy.astype(np.complex64), out=images[2])
        spread = np.fft.irfft2(images, (size, size)).astype(np.float32, copy=False)
        return fit_sums(
            spread.reshape(3, -1), self.where, self.value, self.photon, self.brilliance, EVOLUTION**2 * brightness**2
        )


def brilliance_of(reference: Patch) -> Float64:
    """(h, size, size) mean square of the fine structure around each pixel."""
    squares = reference.values.astype(np.float64) ** 2
    around: Float64 = scipy.ndimage.gaussian_filter(squares, (0.0, BRILLIANCE_SCALE, BRILLIANCE_SCALE))
    return around


def register_stack(
    planes: Sequence[Patch], starts: Float64, mask: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> Registered:
    """Shifts of all planes against the mean of the usable ones.

    starts: (n, 2) expected shifts, pixels. Planes that are not usable are measured and feed nothing. The mean of the
    usable planes' shifts stays that of their starts: a common shift of all cannot be seen here.
    """
    count = planes[0].values.shape[0] if len(planes) else 0
    unknown = np.full(count, np.inf)
    shifts = [Shift(start.copy(), np.full(2, np.inf), np.ones(count), unknown, True) for start in starts]
    members = [int(index) for index in np.flatnonzero(usable)]
    if not members:
        empty = Patch(np.zeros_like(planes[0].values), np.zeros_like(planes[0].weight))
        return Registered(tuple(replace(one, good=False) for one in shifts), empty)
    # A single member is the reference itself.
    sole = members[0] if len(members) == 1 else None
    if sole is not None:
        shifts[sole] = replace(shifts[sole], error=np.zeros(2), brightness_error=np.zeros(count))
    for _ in range(ROUNDS if len(planes) > 1 else 0):
        aligned = {index: _aligned(planes[index], shifts[index]) for index in members}
        total = _sum(aligned)
        # Of the mean of all: one plane's own share in it changes nothing on this scale.
        light = brilliance_of(_mean(total, None))
        # All from the sums of this round: the order of planes does not matter.
        measured = [
            shifts[index]
            if index == sole
            else register_one(plane, _mean(total, aligned.get(index)), mask, shifts[index].xy, light)
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
    for half in range(plane.values.shape[0]):
        value, valid = moved_good(plane.values[half], plane.weight[half], (-shift.xy[0], -shift.xy[1]))
        scale = np.float32(shift.brightness[half]) if shift.good else np.float32(1.0)
        # Equal say for every plane where it is valid: weights follow coverage, not each plane's photon noise.
        weights[half] = valid * np.float32(1.0 if shift.good else 0.0)
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
