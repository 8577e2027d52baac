"""The simulated Hawaii-2RG: response, offsets, dark current, noise, defects, cosmic rays, saturation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from archive_proc.simulate.facts import (
    GAIN,
    HALF,
    LIT_FIELD,
    NONLINEARITY_AT_20K,
    SATURATION_ADU,
    read_noise_adu,
)

OUTPUTS = 32
"""Vertical read-out outputs of OUTPUT_COLUMNS columns; a binned detector has fewer."""
OUTPUT_COLUMNS = 64
Frame = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Detector:
    """Constant properties. Frames are (1024, 2048), left half first."""

    response: Frame
    """Sensitivity relative to the mean lit pixel; 0 where no light falls."""
    pedestal: Frame
    """ADU at DIT 0."""
    dark_adu_s: Frame
    """Dark current, hot pixels included."""
    noisy: NDArray[np.intp]
    """Flat indices of unstable pixels."""
    noisy_adu: NDArray[np.float32]
    """Their extra rms."""
    bad: NDArray[np.bool_]
    """Every pixel with any defect, mild ones included."""


def make_detector(rng: np.random.Generator) -> Detector:
    """One detector: the same seed gives the same pixels."""
    shape = (HALF, 2 * HALF)
    response = 1.0 + 0.018 * rng.standard_normal(shape, dtype=np.float32)
    response *= _illumination(rng)
    bad = np.zeros(shape, bool)

    odd = _scatter(rng, shape, 0.018)
    response[odd] *= rng.uniform(0.72, 1.25, odd[0].size).astype(np.float32)
    bad[odd] = True
    dead = _scatter(rng, shape, 0.004)
    response[dead] *= rng.uniform(0.0, 0.35, dead[0].size).astype(np.float32)
    bad[dead] = True
    _clusters(response, bad, rng)

    dark = np.full(shape, 0.012, np.float32)
    hot = _scatter(rng, shape, 0.004)
    dark[hot] += np.exp(rng.normal(1.6, 1.4, hot[0].size)).astype(np.float32)
    bad[hot] = True
    noisy = _scatter(rng, shape, 0.003)
    bad[noisy] = True
    index = np.ravel_multi_index(noisy, shape)

    columns = rng.normal(0.0, 2.5, 2 * HALF).astype(np.float32)
    outputs = np.repeat(rng.normal(0.0, 7.0, OUTPUTS), OUTPUT_COLUMNS).astype(np.float32)
    pedestal = 3.0 * rng.standard_normal(shape, dtype=np.float32) + (columns + outputs)[None, :]
    return Detector(
        response=response.astype(np.float32),
        pedestal=pedestal,
        dark_adu_s=dark,
        noisy=index,
        noisy_adu=np.exp(rng.normal(4.3, 0.8, index.size)).astype(np.float32),
        bad=bad,
    )


def _scatter(
    rng: np.random.Generator, shape: tuple[int, int], fraction: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    count = int(fraction * shape[0] * shape[1])
    return rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)


def _clusters(response: Frame, bad: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Dead patches of a few pixels, in place."""
    for _ in range(60):
        y, x, r = int(rng.integers(5, HALF - 5)), int(rng.integers(5, 2 * HALF - 5)), int(rng.integers(1, 4))
        response[y - r : y + r, x - r : x + r] *= np.float32(rng.uniform(0.0, 0.3))
        bad[y - r : y + r, x - r : x + r] = True


def _illumination(rng: np.random.Generator) -> Frame:
    """Smooth response with dust rings and the edges of the lit field."""
    light = np.zeros((HALF, 2 * HALF), np.float32)
    for half, (x0, x1, y0, y1) in enumerate(LIT_FIELD):
        coarse = gaussian_filter(rng.standard_normal((65, 65)), 7.0)
        field = zoom(1.0 + 0.02 * coarse / coarse.std(), 16, order=1)[:HALF, :HALF].astype(np.float32)
        y, x = np.ogrid[0:HALF, 0:HALF]
        for _ in range(40):
            cx, cy = int(rng.integers(x0 + 30, x1 - 30)), int(rng.integers(y0 + 30, y1 - 30))
            r, depth = float(rng.uniform(5, 16)), float(rng.uniform(0.01, 0.06))
            box = (slice(cy - 30, cy + 31), slice(cx - 30, cx + 31))
            distance = np.hypot(x[:, box[1]] - cx, y[box[0], :] - cy)
            field[box] *= (1.0 - depth * np.exp(-0.5 * ((distance - r) / 2.5) ** 2)).astype(np.float32)
        # The stop is out of focus by two pixels and a little tilted.
        lean = float(rng.uniform(-0.002, 0.002))
        edge = np.clip(np.minimum(x - x0 - lean * (y - 512) + 1, x1 - x + lean * (y - 512)) / 2.0, 0, 1)
        field *= edge.astype(np.float32) * np.clip(np.minimum(y - y0 + 1, y1 - y) / 2.0, 0, 1).astype(np.float32)
        light[:, half * HALF : (half + 1) * HALF] = field
    return light


def with_new_hot_pixels(detector: Detector, count: int, rng: np.random.Generator) -> tuple[Detector, NDArray[np.intp]]:
    """The detector after `count` good, lit pixels turned hot, and their flat indices; `bad` does not know them."""
    good = np.flatnonzero((detector.response > 0.5) & ~detector.bad)
    turned = np.sort(rng.choice(good, count, replace=False))
    dark = detector.dark_adu_s.copy()
    dark.reshape(-1)[turned] += np.exp(rng.normal(3.0, 1.0, count)).astype(np.float32)
    return replace(detector, dark_adu_s=dark), turned


def binned_detector(detector: Detector, binning: int) -> Detector:
    """A detector with a pixel in place of `binning` by `binning`, as good and as bad as this one's pixels are."""
    if binning == 1:
        return detector
    height, width = detector.response.shape
    # Every second pixel of every second row: means of four would be a detector without defects.
    rows, columns = np.unravel_index(detector.noisy, detector.response.shape)
    kept = (rows % binning == 0) & (columns % binning == 0)
    noisy = np.ravel_multi_index(
        (rows[kept] // binning, columns[kept] // binning), (height // binning, width // binning)
    )
    every = (slice(None, None, binning), slice(None, None, binning))
    return Detector(
        response=np.ascontiguousarray(detector.response[every]),
        pedestal=np.ascontiguousarray(detector.pedestal[every]),
        dark_adu_s=np.ascontiguousarray(detector.dark_adu_s[every]),
        noisy=noisy,
        noisy_adu=detector.noisy_adu[kept],
        bad=np.ascontiguousarray(detector.bad[every]),
    )


def binned_light(light: Frame, binning: int) -> Frame:
    """Mean light of `binning` by `binning` pixels: levels stay, and with them saturation."""
    if binning == 1:
        return light
    height, width = light.shape
    boxes = light.reshape(height // binning, binning, width // binning, binning)
    return np.asarray(boxes.mean(axis=(1, 3), dtype=np.float32))


@dataclass(frozen=True, slots=True)
class Exposed:
    """One raw plane and what is true of its read-out."""

    signal: Frame
    """ADU."""
    offsets: NDArray[np.float64]
    """(OUTPUTS,) ADU added to each output."""
    hits: NDArray[np.intp]
    """Flat indices of pixels that cosmic rays hit."""
    hit_adu: NDArray[np.float32]
    """What they added there."""


def expose(
    detector: Detector,
    scene: Frame | None,
    dit_s: float,
    rng: np.random.Generator,
    *,
    first: bool = False,
    cosmics_per_s: float = 0.75,
) -> Exposed:
    """One raw plane. `scene` (1024, 2048) is light in ADU per DIT before the response; None is darkness.

    `first`: first plane after a change of DIT or filter, whose outputs settle (notes/irdis.md 6.7).
    """
    signal = detector.dark_adu_s * np.float32(dit_s)
    if scene is not None:
        signal += scene * detector.response
    np.clip(signal, 0.0, 3.0 * SATURATION_ADU, out=signal)
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    spread = signal * np.float32(1.0 / GAIN)
    spread += np.float32(read_noise_adu(dit_s) ** 2)
    np.sqrt(spread, out=spread)
    noise *= spread
    signal += noise
    flat = signal.reshape(-1)
    hits, hit_adu = _cosmics(signal, dit_s * cosmics_per_s, rng)
    flat[detector.noisy] += detector.noisy_adu * rng.standard_normal(detector.noisy.size, dtype=np.float32)
    # Charge fills the well: the loss grows with the square of the level.
    spread[...] = signal
    spread *= signal
    spread *= np.float32(NONLINEARITY_AT_20K / 20000.0)
    signal -= spread
    np.minimum(signal, np.float32(SATURATION_ADU), out=signal)
    outputs = signal.shape[1] // OUTPUT_COLUMNS
    offsets = rng.normal(0.0, 0.8, outputs) + (rng.normal(0.0, 1.5, outputs) if first else 0.0)
    signal += detector.pedestal
    signal += np.repeat(offsets, OUTPUT_COLUMNS).astype(np.float32)[None, :]
    return Exposed(signal, offsets, hits, hit_adu)


def _cosmics(signal: Frame, expected: float, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Straight tracks of a few pixels, in place; flat indices and ADU of what was hit."""
    height, width = signal.shape
    where, how_much = [np.empty(0, np.intp)], [np.empty(0, np.float32)]
    for _ in range(int(rng.poisson(expected))):
        length = 1 + int(rng.exponential(3.0))
        angle = float(rng.uniform(0.0, np.pi))
        along = np.arange(length)
        y = np.clip(rng.integers(0, height) + np.rint(along * np.sin(angle)).astype(int), 0, height - 1)
        x = np.clip(rng.integers(0, width) + np.rint(along * np.cos(angle)).astype(int), 0, width - 1)
        added = np.float32(np.exp(rng.normal(6.3, 0.9))) * rng.uniform(0.5, 1.5, length).astype(np.float32)
        signal[y, x] += added
        where.append(np.ravel_multi_index((y, x), signal.shape))
        how_much.append(added)
    return np.concatenate(where), np.concatenate(how_much)
