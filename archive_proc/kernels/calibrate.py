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
from archive_proc.kernels.fill import fill_positions
from archive_proc.kernels.sharpness import sharp_pixels
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
USELESS_IN_PLANE = int(Flag.COSMIC | Flag.SATURATED | Flag.NEW_BAD)
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
    in_detector: tuple[NDArray[np.intp], ...]
    """Of each section, the same pixels as flat indices in (ny, 2 nx)."""


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
    shape = (halves, ny, nx)
    return UnlitPixels(shape, tuple(sections), tuple(_in_detector(where, shape) for _, _, _, where in sections))


def _in_detector(where: NDArray[np.intp], shape: tuple[int, int, int]) -> NDArray[np.intp]:
    """Flat indices in halves (2, ny, nx) as flat indices in the detector's (ny, 2 nx)."""
    half, y, x = np.unravel_index(where, shape)
    return np.asarray(y * (shape[0] * shape[2]) + half * shape[2] + x, np.intp)


def output_offsets(residual: Float32, unlit: UnlitPixels) -> Float32:
    """Offset of each output in one plane: (2, 2, n_outputs) float32 ADU; 0 where it cannot be measured.

    `residual` (2, ny, nx): plane minus detector level. The mean within 3.5 robust sigma of the median: a median alone
    would be quantised on integer ADU.
    """
    return section_offsets(unlit_values(residual, unlit), unlit)


def unlit_values(residual: Float32, unlit: UnlitPixels) -> list[Float32]:
    """The unlit pixels of each section, ADU."""
    flat = np.ascontiguousarray(residual).reshape(-1)
    return [flat[where] for _, _, _, where in unlit.sections]


def unlit_residuals(raw: Float32, level: Float32, unlit: UnlitPixels) -> list[Float32]:
    """The unlit pixels of each section, raw (ny, 2 nx) minus level (2, ny, nx), without making all others."""
    flat, under = raw.reshape(-1), level.reshape(-1)
    return [
        flat[there] - under[where] for (_, _, _, where), there in zip(unlit.sections, unlit.in_detector, strict=True)
    ]


def section_offsets(values: Sequence[Float32], unlit: UnlitPixels) -> Float32:
    """The offsets of `output_offsets` from the unlit pixels of each section."""
    halves, _, nx = unlit.shape
    offsets = np.zeros((halves, 2, -(-nx // OUTPUT_COLUMNS)), np.float32)
    for (half, part, output, _), some in zip(unlit.sections, values, strict=True):
        away = np.abs(some - _median(some))
        limit = 3.5 * max(1.4826 * float(_median(away)), 0.5)
        offsets[half, part, output] = some[away <= limit].mean(dtype=np.float64)
    return offsets


def _median(values: Float32) -> np.float32:
    """As numpy's, for float32 without NaN, at a third of the cost: this runs 128 times a plane."""
    low, high = (values.size - 1) // 2, values.size // 2
    part = np.partition(values, (low, high))
    return np.float32(0.5 * (part[low] + part[high]))


def subtract_output_offsets(residual: Float32, offsets: Float32) -> None:
    """Subtract the offsets of `output_offsets` from one plane's halves (2, ny, nx), in place."""
    _, ny, nx = residual.shape
    columns = by_column(offsets, nx)
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
    lambda_d: tuple[float, float] | None = None
    """Pixels of lambda / D in the halves: what is sharper than light is NEW_BAD; None where that is not asked."""
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


def residual_plane(raw: Float32, level: Float32, unlit: UnlitPixels, into: Float32 | None = None) -> Float32:
    """Plane minus level, output offsets removed: (2, ny, nx) float32 ADU per DIT, `into` where given.

    `raw` (ny, 2 nx) ADU per DIT; `level` (2, ny, nx): detector level and background.
    """
    from archive_proc.kernels.loops.level import take_off

    residual = np.empty_like(level) if into is None else into
    take_off(
        raw, level, by_column(section_offsets(unlit_residuals(raw, level, unlit), unlit), level.shape[2]), residual
    )
    return residual


def by_column(offsets: Float32, nx: int) -> Float32:
    """Offsets of outputs (2, 2, n_outputs) as those of columns (2, 2, nx)."""
    return np.repeat(offsets, OUTPUT_COLUMNS, axis=2)[:, :, :nx].copy()


def plane_noise(unlit: Sequence[Float32], detector: Detector) -> Float32:
    """Read noise of one plane where no dark tells it, (2, ny, nx) ADU: the scatter of each half's unlit pixels.

    `unlit`: those of each section, minus level and offsets; the level's own noise is part of what is seen and taken
    off (down to a quarter of the variance seen: it may be overstated). A half without unlit pixels keeps the
    assumption.
    """
    noise = detector.read_noise.copy()
    level_variance = detector.unlit_level_variance or (0.0, 0.0)
    for half in range(len(noise)):
        found = [one for one, (of, _, _, _) in zip(unlit, detector.unlit.sections, strict=True) if of == half]
        if found:
            seen = robust_sigma(np.concatenate(found)) ** 2
            noise[half] = np.sqrt(max(seen - level_variance[half], 0.25 * seen))
    return noise


def calibrate_plane(
    raw: Float32,
    level: Float32,
    detector: Detector,
    cosmic: NDArray[np.bool_] | None = None,
    *,
    always: int = 0,
    into: tuple[Float32, Float32, Flags] | None = None,
) -> CalibratedPlane:
    """Subtract the level, remove output offsets, linearise, divide by flat and time; variance, flags, filling.

    `raw` (ny, 2 nx), ADU per DIT; `level` (2, ny, nx) float32 ADU per DIT before the flat; `cosmic` (2, ny, nx) marks
    what comparison in time found; `always`: flags of every lit pixel; `into`: flux, variance and flags (2, ny, nx) to
    be filled, else new arrays. What is sharper than light through the telescope can be, and unknown to the masters, is
    NEW_BAD.

    Non-linearity `measured = true (1 - a true)` is undone to first order, d -> d (1 + a (d + 2 L)) with L the light in
    the level: second order is below 1e-4 of d at 10 000 ADU for the 1 % at 20 000 ADU of notes/irdis 1. Light for the
    photon noise is the level's plus the 3 x 3 mean of the residual: with the pixel's own noise in its weight, weighted
    means would be biased low.
    """
    from archive_proc.kernels.loops.calibrate import Bits, Masters, Numbers, calibrate_rows

    unlit = unlit_residuals(raw, level, detector.unlit)
    offsets = section_offsets(unlit, detector.unlit)
    noise = detector.read_noise
    if detector.unlit_level_variance is not None:
        sections = zip(unlit, detector.unlit.sections, strict=True)
        noise = plane_noise([one - offsets[place[:3]] for one, place in sections], detector)
    shape = level.shape
    if into is None:
        into = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16)
    flux, variance, flags = into
    good = np.empty(shape, bool)
    bits = Bits(
        *(
            np.uint16(one)
            for one in (
                Flag.OUTSIDE,
                USELESS,
                USELESS_IN_PLANE,
                Flag.NONLINEAR,
                Flag.SATURATED,
                Flag.COSMIC,
                Flag.FILLED,
                always,
            )
        )
    )
    numbers = Numbers(
        per_dit=np.float32(1.0 / detector.dit_s),
        per_gain=np.float32(1.0 / detector.gain),
        soft=np.float32(detector.soft_limit),
        hard=np.float32(detector.hard_limit),
        curvature=np.asarray(detector.nonlinearity, np.float32),
    )
    useless = calibrate_rows(
        raw,
        level,
        by_column(offsets, shape[2]),
        np.empty((0, 0, 0), bool) if cosmic is None else cosmic,
        Masters(detector.pedestal, detector.response, noise, detector.flags),
        numbers,
        bits,
        flux,
        variance,
        flags,
        good,
    )
    if detector.lambda_d is not None:
        sharp = sharp_pixels(flux, variance, good, detector.lambda_d)
        flags.reshape(-1)[sharp] |= np.uint16(Flag.NEW_BAD | Flag.FILLED)
        variance.reshape(-1)[sharp] = np.nan
        good.reshape(-1)[sharp] = False
        useless = np.concatenate([useless, sharp])
    fill_positions(flux, useless, good)
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
