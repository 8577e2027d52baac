"""Spectra beside the truth, on one scale (`How to compare` of the sample set's README).

The absolute scale of a reduction is taken from its lenslet flat: `r_k`, the median lamp over the true one, and the
throughput of a lenslet is divided out of the truth, as it is of the product.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.ifs.channels import blurred, in_channels
from archive_proc.bench.ifs.known import Float, Float32, Known, Scene, band_core_nm
from archive_proc.bench.ifs.spectra import Lamp, Spectra
from archive_proc.simulate.ifs.facts import real_dit_s

FAINT = 0.15
"""Channels with less light than this share of the brightest are not scored (notes/ifs 9.5, 9.12)."""
PIXELS_ACROSS = 3.3
"""Noise-equivalent pixels across the dispersion (README of the sample set)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One file: n planes, l lenslets, k channels; electrons, throughput divided out."""

    found: Float
    sigma: Float
    truth: Float
    """(n, l, k); `found` NaN: no value."""
    flagged: NDArray[np.bool_]
    """(n, l, k) flagged, without value or without weight."""
    limit: Float
    """(n, l, k) noise of photons and read-out in the pixels under an element."""
    core: NDArray[np.bool_]
    """(k,) scored: in the core of the band, and bright enough."""
    scored: NDArray[np.bool_]
    """(l,) complete lenslets."""
    height: Float
    """(k,) pixels along the dispersion per channel."""


def throughput(known: Known) -> Float:
    """(l,) true light of each lenslet in the lenslet flat over that of the median one; NaN without a flat."""
    scene = known.scene("ifu_flat")
    if scene is None:
        return np.full(len(known.x), np.nan)
    flux = scene.flux(0).astype(np.float64)
    middle = np.median(flux[known.complete], axis=0)
    bright = middle > 0.3 * middle.max()
    return np.asarray(np.median(flux[:, bright] / middle[bright], axis=1))


def response(known: Known, lamp: Lamp) -> Float:
    """(k,) found over true light of the median lenslet in the flat; NaN where the lamp is below 1 % of its peak."""
    scene = known.scene("ifu_flat")
    assert scene is not None
    true = in_channels(scene.flux(0), scene.edges_nm, lamp.edges_nm) / throughput(known)[:, None]
    middle = np.median(true[known.complete], axis=0)
    return np.where(middle > 0.01 * middle.max(), lamp.median / np.maximum(middle, 1e-9), np.nan)


def through(resolution: Float32, truth: Float) -> Float:
    """(..., k) what a product says it shows of a truth (..., k); `resolution` (k, offsets) about the diagonal."""
    half = resolution.shape[1] // 2
    around = np.pad(truth, [(0, 0)] * (truth.ndim - 1) + [(half, half)])
    windows = np.lib.stride_tricks.sliding_window_view(around, resolution.shape[1], axis=-1)
    return np.asarray(np.einsum("...ko,ko->...k", windows, np.nan_to_num(resolution)))


def as_shown(one: Compared, spectra: Spectra) -> Compared | None:
    """The same against the truth through the product's own resolution matrix; None where it states none.

    What is left is not resolution: structure inside channels, places, PSFlets, noise.
    """
    return None if spectra.resolution is None else replace(one, truth=through(spectra.resolution, one.truth))


def compare(known: Known, scene: Scene, spectra: Spectra, lamp: Lamp, *, fwhm_nm: float | None = None) -> Compared:
    """`fwhm_nm`: against the truth blurred by a Gaussian of this width."""
    own = throughput(known)
    scale = response(known, lamp)
    edges = spectra.edges_nm
    sharp = np.stack([in_channels(scene.flux(plane), scene.edges_nm, edges) for plane in range(scene.planes)])
    true = sharp if fwhm_nm is None else _spread(scene, edges, fwhm_nm)
    middle = 0.5 * (edges[1:] + edges[:-1])
    _, y = known.positions(np.clip(edges, known.position_nm[0], known.position_nm[-1]))
    height = np.diff(np.median(y[known.complete], axis=0))
    low, high = band_core_nm(known.mode)
    # Of the truth as it is: spread over them, light would make channels of a band of the air count.
    bright = np.median(sharp[:, known.complete].mean(axis=0), axis=0)
    if not bright.any():
        bright = sharp[:, known.complete].mean(axis=(0, 1))
    core = (middle > low) & (middle < high)
    if bright[core].any():
        core &= bright > FAINT * bright[core].max()
    x_mid, y_mid = known.positions(np.array([float(np.mean(edges))]))
    xi, yi = (np.clip(np.rint(one[:, 0]), 0, 2047).astype(int) for one in (x_mid, y_mid))
    pixel = known.background_e_s[yi, xi] * real_dit_s(scene.dit_s) + known.read_noise(scene.dit_s) ** 2
    limit = np.sqrt(np.maximum(true, 0.0) + PIXELS_ACROSS * height * pixel[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        found = spectra.flux / scale
        sigma = spectra.sigma / scale
    return Compared(
        found=found,
        sigma=sigma,
        truth=true / own[:, None],
        flagged=spectra.flagged | ~np.isfinite(found) | ~np.isfinite(sigma),
        limit=limit / own[:, None],
        core=core,
        scored=known.complete & np.isfinite(own) & (own > 0.1),
        height=height,
    )


def _spread(scene: Scene, edges: Float, fwhm_nm: float) -> Float:
    return np.stack([blurred(scene.flux(plane), scene.edges_nm, edges, fwhm_nm) for plane in range(scene.planes)])
