"""Raw planes to calibrated planes: halves, detector level, output offsets, flat, variance, flags, filling.

Arrays are *halves*: (2, ny, nx), left half first, as `split_halves` cuts them from the detector's (ny, 2 nx). One raw
pixel's variance is that of notes/irdis 4.1: `V = max(S, 0) / g + RON^2`, S the light with background in ADU, g in
e-/ADU, RON in ADU. What all planes share (master level, flat) is no part of it: `common_variance` gives that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.kernels.combine import robust_sigma
from archive_proc.kernels.fill import box_mean, local_means
from archive_proc.model.flags import Flag

# Any: halves are cut from arrays of whatever dtype the product has.
Array = NDArray[Any]
Float32 = NDArray[np.float32]
Flags = NDArray[np.uint16]

OUTPUT_COLUMNS = 64
"""Columns of one detector output (32 vertical outputs on 2048 columns)."""
MIN_UNLIT = 200
"""Unlit pixels an output's half needs before its offset is measured (notes/irdis 4.1). Where there are fewer they lie
in one or two rows next to the lit field, and show its scattered light as an offset."""

USELESS = int(Flag.DEAD | Flag.HOT | Flag.NOISY | Flag.NONLINEAR | Flag.PERSISTENCE | Flag.NEW_BAD)
"""Flags of a master that make a pixel useless in every plane; SUSPECT and EDGE pixels keep their value."""
USELESS_IN_PLANE = int(Flag.COSMIC | Flag.SATURATED)
"""Flags of one plane that make its pixel useless. A level past the soft limit (NONLINEAR) keeps its value."""


def split_halves(raw: Array) -> Array:
    """The two halves of detector arrays: (..., ny, 2 nx) to (..., 2, ny, nx), left first; a view where possible."""
    *front, ny, width = raw.shape
    if width % 2:
        raise ValueError(f"a detector array has an even number of columns, not {width}")
    return np.moveaxis(raw.reshape(*front, ny, 2, width // 2), -2, -3)


def join_halves(halves: Array) -> Array:
    """The inverse of `split_halves`: (..., 2, ny, nx) to (..., ny, 2 nx), contiguous."""
    *front, two, ny, nx = halves.shape
    return np.ascontiguousarray(np.moveaxis(halves, -3, -2)).reshape(*front, ny, two * nx)


@dataclass(frozen=True, slots=True)
class DetectorLevel:
    """Detector level at one DIT; arrays of one shape, detector frame or halves alike."""

    dit_s: float
    level: Float32
    """ADU per DIT: pedestal and dark current (instrument background: its thermal light too)."""
    variance: Float32
    """ADU^2, of `level`."""
    read_noise: Float32
    """ADU, temporal scatter of one plane."""
    flags: Flags
    method: str = "match"
    """`match`, or `rate_from_other_dits`."""


def detector_level(dit_s: float, darks: Sequence[DetectorLevel]) -> DetectorLevel:
    """The level at `dit_s`: the dark of that DIT (to 1 %), else pedestal + DIT x rate per pixel from other DITs.

    The straight line is the weighted one through the darks; its variance is propagated. Flags that every dark has
    stay, those of the longest DIT not exceeding `dit_s` (else the shortest) are added, since HOT scales with DIT.
    Raises DataFailure AP-IRD-001 with fewer than two other DITs.
    """
    for dark in darks:
        if abs(dark.dit_s - dit_s) <= 0.01 * dit_s:
            return replace(dark, dit_s=dit_s)
    dits = sorted({round(dark.dit_s, 4) for dark in darks})
    if len(dits) < 2:
        raise DataFailure(
            "AP-IRD-001",
            f"no dark of DIT {dit_s:g} s, and darks of {len(dits)} other DIT(s) cannot give a rate (needs two)",
            remedy="ingest a DARK of this DIT, or darks of two other DITs",
        )
    shape = darks[0].level.shape
    sums = np.zeros((5, *shape))
    for dark in darks:
        weight = 1.0 / np.maximum(dark.variance.astype(np.float64), 1e-6)
        sums[:3] += np.array([1.0, dark.dit_s, dark.dit_s**2]).reshape(3, *(1,) * len(shape)) * weight
        sums[3] += weight * dark.level
        sums[4] += weight * dark.dit_s * dark.level
    s0, s1, s2, y0, y1 = sums
    determinant = s0 * s2 - s1 * s1
    rate = (s0 * y1 - s1 * y0) / determinant
    level = (s2 * y0 - s1 * y1) / determinant + rate * dit_s
    variance = (s2 - 2.0 * dit_s * s1 + dit_s**2 * s0) / determinant
    nearest = max((one for one in darks if one.dit_s <= dit_s), key=lambda one: one.dit_s, default=None)
    nearest = nearest or min(darks, key=lambda one: one.dit_s)
    every = np.bitwise_and.reduce([dark.flags for dark in darks])
    return DetectorLevel(
        dit_s=dit_s,
        level=level.astype(np.float32),
        variance=variance.astype(np.float32),
        read_noise=nearest.read_noise,
        flags=(every | nearest.flags).astype(np.uint16),
        method="rate_from_other_dits",
    )


@dataclass(frozen=True, slots=True)
class UnlitPixels:
    """Where each output's offset can be seen: unlit, well-behaved pixels, by output and vertical half."""

    shape: tuple[int, int, int]
    """(2, ny, nx) of the halves."""
    sections: tuple[tuple[int, int, int, NDArray[np.intp]], ...]
    """(half, vertical half, output, flat indices of its unlit pixels in (2, ny, nx)); those with enough pixels."""


def unlit_pixels(flags: Flags, *, at_least: int = MIN_UNLIT) -> UnlitPixels:
    """Find the unlit pixels of each 64-column output and vertical half.

    `flags` (2, ny, nx) uint16: OUTSIDE without EDGE marks unlit pixels; useless ones are left out. Sections with
    fewer than `at_least` pixels are not listed: the background fit has to absorb their offset.
    """
    halves, ny, nx = flags.shape
    good = (flags & (int(Flag.OUTSIDE | Flag.EDGE) | USELESS)) == int(Flag.OUTSIDE)
    index = np.arange(flags.size).reshape(flags.shape)
    sections = []
    for half in range(halves):
        for part, rows in enumerate((slice(0, ny // 2), slice(ny // 2, ny))):
            for output in range(-(-nx // OUTPUT_COLUMNS)):
                where = (half, rows, slice(output * OUTPUT_COLUMNS, (output + 1) * OUTPUT_COLUMNS))
                found = index[where][good[where]]
                if found.size >= at_least:
                    sections.append((half, part, output, found))
    return UnlitPixels((halves, ny, nx), tuple(sections))


def output_offsets(residual: Float32, unlit: UnlitPixels) -> Float32:
    """Offset of each output in one plane: (2, 2, n_outputs) float32 ADU; 0 where it cannot be measured.

    `residual` (2, ny, nx): plane minus detector level. The mean within 3.5 robust sigma of the median: a median alone
    would be quantised on integer ADU.
    """
    halves, _, nx = unlit.shape
    offsets = np.zeros((halves, 2, -(-nx // OUTPUT_COLUMNS)), np.float32)
    flat = np.ascontiguousarray(residual).reshape(-1)
    for half, part, output, where in unlit.sections:
        values = flat[where]
        middle = np.median(values)
        away = np.abs(values - middle)
        limit = 3.5 * max(1.4826 * float(np.median(away)), 0.5)
        offsets[half, part, output] = values[away <= limit].mean(dtype=np.float64)
    return offsets


def subtract_output_offsets(residual: Float32, offsets: Float32) -> None:
    """Subtract the offsets of `output_offsets` from one plane's halves (2, ny, nx), in place."""
    _, ny, nx = residual.shape
    columns = np.repeat(offsets, OUTPUT_COLUMNS, axis=2)[:, :, :nx]
    residual[:, : ny // 2] -= columns[:, 0, None]
    residual[:, ny // 2 :] -= columns[:, 1, None]


@dataclass(frozen=True, slots=True)
class Detector:
    """What the planes of one DIT share. All arrays halves (2, ny, nx)."""

    dit_s: float
    """True integration time, s."""
    gain: float
    """e-/ADU."""
    pedestal: Float32
    """ADU per DIT: level without light; sets photon noise and saturation, nothing is subtracted with it."""
    read_noise: Float32
    """ADU."""
    response: Float32
    """1 is the median of the lit field; NaN outside it."""
    response_variance: Float32
    flags: Flags
    """Static flags of all masters; OUTSIDE marks what light never reaches."""
    unlit: UnlitPixels
    nonlinearity: tuple[float, float] = (0.0, 0.0)
    """1/ADU per half: `measured = true (1 - a true)`; 0 leaves the values as they are."""
    soft_limit: float = 20_000.0
    """ADU above the pedestal: NONLINEAR from here on (notes/irdis 1)."""
    hard_limit: float = 35_000.0
    """ADU above the pedestal: SATURATED from here on."""
    unlit_level_variance: tuple[float, float] | None = None
    """None where `read_noise` was measured. Else it is an assumption, each plane's unlit pixels know better, and this
    is the variance of the subtracted level there, ADU^2 per half."""


@dataclass(frozen=True, slots=True)
class CalibratedPlane:
    """One plane's halves (2, ny, nx)."""

    flux: Float32
    """ADU/s; NaN outside the lit field; useless pixels hold the mean of their neighbours (FILLED)."""
    variance: Float32
    """ADU^2/s^2 of `flux`, the part of this plane alone; NaN where FILLED or outside."""
    flags: Flags
    offsets: Float32
    """(2, 2, n_outputs) ADU that was taken off each output."""


def residual_plane(raw: Float32, level: Float32, detector: Detector) -> tuple[Float32, Float32]:
    """Plane minus level, output offsets removed: (2, ny, nx) float32 ADU per DIT, and the offsets.

    `raw` (ny, 2 nx) or halves (2, ny, nx) ADU per DIT; `level` (2, ny, nx): detector level and background.
    """
    halves = raw if raw.ndim == 3 else split_halves(raw)
    residual = np.ascontiguousarray(halves - level, dtype=np.float32)
    offsets = output_offsets(residual, detector.unlit)
    subtract_output_offsets(residual, offsets)
    return residual, offsets


def plane_noise(residual: Float32, detector: Detector) -> Float32:
    """Read noise of one plane where no dark tells it, (2, ny, nx) ADU: the scatter of each half's unlit pixels.

    `residual` (2, ny, nx) is a plane minus level and offsets; the level's own noise is part of what is seen and taken
    off (down to a quarter of the variance seen: it may be overstated). A half without unlit pixels keeps the
    assumption.
    """
    noise = detector.read_noise.copy()
    level_variance = detector.unlit_level_variance or (0.0, 0.0)
    flat = residual.reshape(-1)
    for half in range(len(noise)):
        found = [where for of, _, _, where in detector.unlit.sections if of == half]
        if found:
            seen = robust_sigma(flat[np.concatenate(found)]) ** 2
            noise[half] = np.sqrt(max(seen - level_variance[half], 0.25 * seen))
    return noise


def linearise(residual: Float32, level: Float32, detector: Detector) -> Float32:
    """Undo `measured = true (1 - a true)` on a plane minus its level, both (2, ny, nx) ADU per DIT.

    To first order true - true level = d (1 + a (d + 2 L)), L the light in the level. Second order is below 1e-4 of d
    at 10 000 ADU for the 1 % at 20 000 ADU of notes/irdis 1. Returns `residual` itself where a is 0.
    """
    if not any(detector.nonlinearity):
        return residual
    slope = np.asarray(detector.nonlinearity, np.float32)[:, None, None]
    corrected: Float32 = residual * (1.0 + slope * (residual + 2.0 * (level - detector.pedestal)))
    return corrected


def calibrate_plane(
    raw: Float32, level: Float32, detector: Detector, cosmic: NDArray[np.bool_] | None = None
) -> CalibratedPlane:
    """Subtract the level, remove output offsets, linearise, divide by flat and time; variance, flags, filling.

    `raw` (ny, 2 nx) or halves (2, ny, nx), ADU per DIT; `level` (2, ny, nx) float32 ADU per DIT before the flat;
    `cosmic` (2, ny, nx) marks what comparison in time found. Light for the photon noise is the level's plus the 3 x 3
    mean of the residual: with the pixel's own noise in its weight, weighted means would be biased low.
    """
    halves = raw if raw.ndim == 3 else split_halves(raw)
    residual, offsets = residual_plane(halves, level, detector)
    known = detector.unlit_level_variance is None
    noise = detector.read_noise if known else plane_noise(residual, detector)
    light_level = level - detector.pedestal
    charge = residual + light_level
    flags = detector.flags.copy()
    flags[charge > detector.soft_limit] |= int(Flag.NONLINEAR)
    flags[charge > detector.hard_limit] |= int(Flag.SATURATED)
    if cosmic is not None:
        flags[cosmic & ((flags & int(Flag.OUTSIDE)) == 0)] |= int(Flag.COSMIC)
    outside = (flags & int(Flag.OUTSIDE)) != 0
    useless = ((detector.flags & USELESS) != 0) | ((flags & USELESS_IN_PLANE) != 0)
    useless |= ~(np.isfinite(residual) & (detector.response > 0))
    useless &= ~outside

    residual = linearise(residual, level, detector)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.float32(1.0 / detector.dit_s) / detector.response
        flux: Float32 = residual * scale
        flux[outside | useless] = 0.0
        residual[outside | useless] = 0.0
        light = np.maximum(light_level + box_mean(residual, ~(outside | useless)), 0.0)
        variance: Float32 = (light * np.float32(1.0 / detector.gain) + noise**2) * scale**2
    local_means(flux, useless, ~(outside | useless))
    flags[useless] |= int(Flag.FILLED)
    variance[outside | useless] = np.nan
    flux[outside] = np.nan
    return CalibratedPlane(flux, variance, flags, offsets)


def common_variance(mean_flux: Float32, level_variance: Float32, detector: Detector) -> Float32:
    """Variance that all planes share, (2, ny, nx) float32 ADU^2/s^2: the level's, and the flat's times the light.

    `mean_flux` (2, ny, nx) ADU/s is the mean calibrated light, `level_variance` ADU^2 that of the subtracted level.
    The flat acts on what is left after the level only: the level was measured through the same response.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.float32(1.0 / detector.dit_s) / detector.response
        common: Float32 = level_variance * scale**2 + detector.response_variance * (mean_flux / detector.response) ** 2
    common[(detector.flags & (USELESS | int(Flag.OUTSIDE))) != 0] = np.nan
    return common.astype(np.float32)
