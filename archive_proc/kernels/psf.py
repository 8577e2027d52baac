"""The unocculted star of FLUX planes: found off the mask, measured, aligned (notes/irdis 4.3.1, 4.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from archive_proc.kernels.stamps import Stamp, corner, cut, moved

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SEARCH_RADIUS = 320
"""Pixels about the first guess: FLUX offsets are a fraction of an arcsecond, 1 arcsec is 82 pixels."""
BOX = 5
MIN_SNR = 20.0
APERTURE = 6.0
"""Pixels (notes/irdis 4.5)."""
ANNULUS = (50.0, 70.0)
"""Pixels: local zero beyond the halo's bright part."""
CUT_SIZE = 160
PSF_SIZE = 80
CORE_RADIUS = 4.5
"""Pixels that enter the fit of the star's position."""


@dataclass(frozen=True, slots=True)
class StarFound:
    """Where a star stands in both halves, coarsely."""

    xy: tuple[tuple[float, float], tuple[float, float]]
    snr: float


@dataclass(frozen=True, slots=True)
class StarMeasured:
    """The star in one half."""

    xy: tuple[float, float]
    error: float
    """Standard error per axis, pixels."""
    aperture: float
    """ADU per DIT within `APERTURE`, zero from the annulus."""
    aperture_error: float
    peak: float
    """Brightest good pixel, ADU per DIT."""


def find_star(
    values: Float32, weight: Float32, guess: tuple[tuple[float, float], tuple[float, float]]
) -> StarFound | None:
    """The brightest star seen in both halves at the same place, None below `MIN_SNR`.

    values, weight: (2, ny, nx) ADU and inverse variance (0: bad); guess: the star behind the mask, whose difference
    between the halves says how they correspond. The brightest pixel of each 5 x 5 box does not count, so neither hot
    pixels nor cosmic rays are stars.
    """
    size = 2 * SEARCH_RADIUS
    maps = []
    corners = [corner(one, size) for one in guess]
    for half in range(2):
        stamp = cut(values[half], weight[half], *corners[half], size)
        good = stamp.weight > 0
        variance = np.where(good, 1.0 / np.where(good, stamp.weight, 1.0), 0.0)
        total = scipy.ndimage.uniform_filter(stamp.values, BOX) * BOX**2 - np.maximum(
            scipy.ndimage.maximum_filter(stamp.values, BOX), 0.0
        )
        noise = np.sqrt(scipy.ndimage.uniform_filter(variance, BOX) * BOX**2)
        maps.append(np.where(noise > 0, total / np.where(noise > 0, noise, 1.0), 0.0))
    score = (maps[0] + maps[1]) / np.sqrt(2.0)
    y, x = np.unravel_index(int(np.argmax(score)), score.shape)
    snr = float(score[y, x])
    if snr < MIN_SNR:
        return None
    left, right = ((x0 + float(x), y0 + float(y)) for x0, y0 in corners)
    return StarFound((left, right), snr)


def measure_star(stamp: Stamp, start: tuple[float, float]) -> StarMeasured:
    """Position by a Gaussian fit to the core, flux in the aperture with bad pixels taken from that fit."""
    ny, nx = stamp.values.shape
    y, x = np.mgrid[stamp.y0 : stamp.y0 + ny, stamp.x0 : stamp.x0 + nx].astype(np.float64)
    good = stamp.weight > 0
    radius = np.hypot(x - start[0], y - start[1])
    ring = good & (radius >= ANNULUS[0]) & (radius <= ANNULUS[1])
    zero = float(np.median(stamp.values[ring])) if ring.sum() > 50 else 0.0
    values = stamp.values.astype(np.float64) - zero
    state = np.array([start[0], start[1], 1.8])
    error = np.inf
    for _ in range(2):
        core = good & (np.hypot(x - state[0], y - state[1]) <= CORE_RADIUS)
        if core.sum() < 12:
            break
        px, py, pv = x[core], y[core], values[core]
        # The PSF is no Gaussian: equal weights plus photons keep its wings from pulling.
        root = 1.0 / np.sqrt(1.0 / stamp.weight[core] + (0.05 * np.maximum(pv, 0.0)) ** 2)
        found = scipy.optimize.least_squares(
            _core_residuals, state, args=(px, py, pv, root), x_scale=[1.0, 1.0, 0.5], max_nfev=30
        )
        state = np.array([*np.clip(found.x[:2], state[:2] - 5, state[:2] + 5), np.clip(abs(found.x[2]), 0.8, 4.0)])
        normal = found.jac[:, :2].T @ found.jac[:, :2]
        chi2 = float((found.fun**2).sum() / max(core.sum() - 5, 1))
        error = float(np.sqrt(np.trace(np.linalg.pinv(normal)) / 2 * max(chi2, 1.0)))
    radius = np.hypot(x - state[0], y - state[1])
    core = good & (radius <= CORE_RADIUS)
    model = _core(state, x, y)
    if core.any():
        design = np.stack([model[core], np.ones(int(core.sum()))])
        terms = np.linalg.lstsq(design.T, values[core], rcond=None)[0]
        values = np.where(good, values, terms[0] * model + terms[1] * (radius <= CORE_RADIUS))
    # A pixel on the rim counts in part, or the sum would jump as the star moves.
    share = np.clip(APERTURE + 0.5 - radius, 0.0, 1.0)
    variance = np.where(good, 1.0 / np.where(good, stamp.weight, 1.0), 0.0)
    aperture = float((share * values).sum())
    inside = good & (radius <= APERTURE)
    peak = float(stamp.values[inside].max()) if inside.any() else 0.0
    return StarMeasured(
        (float(state[0]), float(state[1])), error, aperture, float(np.sqrt((share**2 * variance).sum())), peak
    )


def _core(state: Float64, x: Float64, y: Float64) -> Float64:
    shape: Float64 = np.exp(-0.5 * ((x - state[0]) ** 2 + (y - state[1]) ** 2) / state[2] ** 2)
    return shape


def _core_residuals(state: Float64, x: Float64, y: Float64, value: Float64, root: Float64) -> Float64:
    design = np.stack([_core(state, x, y), np.ones_like(x)]) * root
    target = value * root
    terms = np.linalg.lstsq(design.T, target, rcond=None)[0]
    residual: Float64 = target - terms @ design
    return residual


def aligned_star(stamp: Stamp, xy: tuple[float, float]) -> tuple[Float32, Float32]:
    """(80, 80) values and inverse variances with the star on pixel 40; weight 0 where nothing is known."""
    x0, y0 = corner(xy, CUT_SIZE)
    whole = Stamp(stamp.values, stamp.weight, stamp.x0, stamp.y0)
    shift = (x0 + CUT_SIZE // 2 - xy[0] + stamp.x0 - x0, y0 + CUT_SIZE // 2 - xy[1] + stamp.y0 - y0)
    values, weight = moved(whole.values, whole.weight, shift)
    edge = (CUT_SIZE - PSF_SIZE) // 2
    inner = slice(edge, edge + PSF_SIZE)
    return values[inner, inner], weight[inner, inner]


def combine_stars(values: Float32, weight: Float32) -> tuple[Float32, Float32]:
    """Mean over planes (n, 2, 80, 80) of the valid pixels, and its variance; NaN where no plane is valid.

    Planes count alike: their fluxes differ by transmission, which photon weights would favour. With five planes or
    more, pixels beyond five sigma of the median are left out.
    """
    valid = weight > 0
    if values.shape[0] >= 5:
        middle = np.median(np.where(valid, values, np.float32(0)), axis=0)
        sigma = np.where(valid, 1.0 / np.sqrt(np.where(valid, weight, 1.0)), 0.0) + 0.2 * np.abs(middle)
        valid &= np.abs(values - middle) <= 5.0 * sigma
    n = valid.sum(axis=0)
    total = np.where(valid, values, np.float32(0)).sum(axis=0, dtype=np.float64)
    variance = np.where(valid, 1.0 / np.where(valid, weight, 1.0), 0.0).sum(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (
            np.where(n > 0, total / n, np.nan).astype(np.float32),
            np.where(n > 0, variance / n.astype(np.float64) ** 2, np.nan).astype(np.float32),
        )
