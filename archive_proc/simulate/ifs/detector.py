"""The simulated Hawaii-2RG of the IFS: response, colour term, background, defects, noise, cosmic rays, saturation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from archive_proc.simulate.ifs.facts import GAIN, SATURATION_ADU, SIZE, read_noise_e
from archive_proc.simulate.ifs.projection import Light

OUTPUTS = 32
"""Vertical read-out outputs of 64 columns, read in turn in opposite directions."""
Float32 = NDArray[np.float32]
Pixels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """Constant properties; maps are (SIZE, SIZE), y first."""

    response: Float32
    """Sensitivity at the colour's zero, about 1."""
    colour: Float32
    """Relative change of the response per unit of colour (200 nm)."""
    background_e_s: Float32
    """Thermal light on the detector, seen with the shutter closed too."""
    dark_e_s: Float32
    """Dark current, hot pixels included."""
    pedestal_adu: Float32
    """At DIT 0."""
    hot: Pixels
    dead: Pixels
    """Flat indices of pixels that were so before the night."""
    unstable: Pixels
    unstable_e: Float32
    """Their extra rms, e- per plane."""
    newly_hot: Pixels
    newly_hot_e_s: Float32
    """Hot since science started."""
    ipc: float
    """Share of the charge that each of four neighbours sees."""
    noise_factor: float
    """On the read noise."""
    row_noise_e: float
    """Common to a row's outputs of one parity."""
    cosmics_per_s: float


def make_detector(rng: np.random.Generator) -> Detector:
    """One detector: the same seed gives the same pixels. Shares and sizes as in the sample set's parameters or above.

    Response 1.2 % rms plus 5 % large scale and a colour term of 0.5 %; dead 0.25 % and 25 clusters, hot 0.4 %,
    unstable 0.1 %, newly hot 0.05 %; background 13-17 e-/s with slopes of up to 25 %; read noise of 10-12 e- at 32 s.
    """
    count = SIZE * SIZE
    response = 1.0 + 0.012 * rng.standard_normal((SIZE, SIZE), dtype=np.float32)
    response *= 1.0 + 0.05 * _smooth(rng, 9.0)
    colour = 0.003 * rng.standard_normal((SIZE, SIZE), dtype=np.float32) + 0.004 * _smooth(rng, 12.0)
    dead = rng.choice(count, int(0.0025 * count), replace=False)
    response.reshape(-1)[dead] *= rng.uniform(0.0, 0.5, dead.size).astype(np.float32)
    dead = np.concatenate([dead, _clusters(response, rng)])

    dark = np.full((SIZE, SIZE), 0.02, np.float32)
    hot = rng.choice(count, int(0.004 * count), replace=False)
    dark.reshape(-1)[hot] += _hot_rates(rng, hot.size)
    unstable = rng.choice(count, int(0.001 * count), replace=False)
    new = rng.choice(count, int(0.0005 * count), replace=False)

    slope = rng.uniform(-0.25, 0.25, 2)
    at = np.linspace(-1, 1, SIZE)
    level = float(rng.uniform(13.0, 17.0))
    background = level * (1.0 + slope[0] * at[None, :] + slope[1] * at[:, None] + 0.06 * _smooth(rng, 10.0))
    outputs = np.repeat(rng.normal(0.0, 2.0, OUTPUTS), SIZE // OUTPUTS)
    pedestal = rng.uniform(0.0, 8.0) + outputs[None, :] + rng.normal(0.0, 0.7, SIZE)[None, :]
    return Detector(
        response=response.astype(np.float32),
        colour=colour.astype(np.float32),
        background_e_s=np.clip(background, 2.0, None).astype(np.float32),
        dark_e_s=dark,
        pedestal_adu=np.broadcast_to(pedestal, (SIZE, SIZE)).astype(np.float32),
        hot=np.sort(hot),
        dead=np.unique(dead),
        unstable=unstable,
        unstable_e=np.exp(rng.normal(5.3, 0.9, unstable.size)).astype(np.float32),
        newly_hot=new,
        newly_hot_e_s=_hot_rates(rng, new.size),
        ipc=float(rng.uniform(0.004, 0.008)),
        noise_factor=float(rng.uniform(1.1, 1.3)),
        row_noise_e=float(rng.uniform(1.8, 2.6)),
        cosmics_per_s=float(rng.uniform(1.2, 1.8)),
    )


def _smooth(rng: np.random.Generator, scale: float) -> Float32:
    """(SIZE, SIZE) smooth pattern of rms 1."""
    coarse = gaussian_filter(rng.standard_normal((66, 66)), scale, mode="wrap")
    coarse = (coarse - coarse.mean()) / coarse.std()
    return np.asarray(zoom(coarse, 32, order=1)[:SIZE, :SIZE], np.float32)


def _hot_rates(rng: np.random.Generator, count: int) -> Float32:
    """Dark current of hot pixels, e-/s: a median of 60, at least 15."""
    return np.maximum(np.exp(rng.normal(4.1, 1.3, count)), 15.0).astype(np.float32)


def _clusters(response: Float32, rng: np.random.Generator) -> Pixels:
    """Put 25 dead patches of a few pixels into the response, in place; their flat indices."""
    y, x = np.ogrid[0:SIZE, 0:SIZE]
    found = []
    for _ in range(25):
        cy, cx, radius = int(rng.integers(8, SIZE - 8)), int(rng.integers(8, SIZE - 8)), float(rng.uniform(1.5, 5.0))
        box = (slice(cy - 7, cy + 8), slice(cx - 7, cx + 8))
        inside = np.hypot(y[box[0]] - cy, x[:, box[1]] - cx) < radius
        response[box][inside] *= np.float32(rng.uniform(0.0, 0.3))
        rows, columns = np.nonzero(inside)
        found.append((rows + cy - 7) * SIZE + columns + cx - 7)
    return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class Read:
    """What is drawn for one plane."""

    real_dit_s: float
    dit_s: float
    background_factor: float
    background_slope: tuple[float, float]
    """Relative, along x and y: the thermal background changes by some per cent."""
    science: bool
    """Newly hot pixels are hot."""


def expose(
    detector: Detector, light: Light | None, read: Read, rng: np.random.Generator
) -> tuple[Float32, NDArray[np.int16]]:
    """One raw plane (SIZE, SIZE) in ADU and its cosmic rays (n, 2) as (y, x). `light` None: shutter closed."""
    at = np.linspace(-1, 1, SIZE, dtype=np.float32)
    scale = read.background_factor + read.background_slope[0] * at[None, :] + read.background_slope[1] * at[:, None]
    charge = detector.background_e_s * (scale * read.real_dit_s).astype(np.float32)
    charge *= detector.response
    charge += detector.dark_e_s * np.float32(read.real_dit_s)
    if light is not None:
        charge += (light.total + detector.colour * light.coloured) * detector.response
    flat = charge.reshape(-1)
    if read.science:
        flat[detector.newly_hot] += detector.newly_hot_e_s * np.float32(read.real_dit_s)
    noise = rng.standard_normal(charge.shape, dtype=np.float32)
    noise *= np.sqrt(np.maximum(charge, 0.0))
    charge += noise
    hits = _cosmics(charge, detector.cosmics_per_s * read.real_dit_s, rng)
    flat[detector.unstable] += detector.unstable_e * rng.standard_normal(detector.unstable.size, dtype=np.float32)
    _couple(charge, detector.ipc)
    read_noise = read_noise_e(read.dit_s, detector.noise_factor)
    charge += np.float32(read_noise) * rng.standard_normal(charge.shape, dtype=np.float32)
    rows = rng.normal(0.0, detector.row_noise_e, (SIZE, 2)).astype(np.float32)
    charge += np.repeat(np.tile(rows, (1, OUTPUTS // 2)), SIZE // OUTPUTS, axis=1)
    charge *= np.float32(1.0 / GAIN)
    np.minimum(charge, np.float32(SATURATION_ADU), out=charge)
    charge += detector.pedestal_adu
    np.minimum(charge, np.float32(SATURATION_ADU), out=charge)
    return charge, hits


def _couple(charge: Float32, share: float) -> None:
    """Inter-pixel capacitance, in place: it acts on charge and its photon noise, not on the amplifier's."""
    spread = np.float32(share)
    leak = np.zeros_like(charge)
    leak[1:] += charge[:-1]
    leak[:-1] += charge[1:]
    leak[:, 1:] += charge[:, :-1]
    leak[:, :-1] += charge[:, 1:]
    charge *= np.float32(1.0) - 4 * spread
    charge += spread * leak


def _cosmics(charge: Float32, expected: float, rng: np.random.Generator) -> NDArray[np.int16]:
    """Add straight tracks of a few pixels, in place; the pixels hit, (n, 2) as (y, x)."""
    found: list[tuple[int, int]] = []
    for _ in range(int(rng.poisson(expected))):
        length = 1 + int(rng.exponential(2.5))
        angle = float(rng.uniform(0.0, np.pi))
        along = np.arange(length)
        y = np.clip(rng.integers(0, SIZE) + np.rint(along * np.sin(angle)).astype(int), 0, SIZE - 1)
        x = np.clip(rng.integers(0, SIZE) + np.rint(along * np.cos(angle)).astype(int), 0, SIZE - 1)
        charge[y, x] += np.float32(np.exp(rng.normal(7.0, 0.9))) * rng.uniform(0.4, 1.6, length).astype(np.float32)
        found += zip(y.tolist(), x.tolist(), strict=True)
    return np.array(sorted(set(found)), np.int16).reshape(-1, 2)
