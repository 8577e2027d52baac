"""Truth in the channels of a product, as it is or at a resolution fixed by the bench."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
FIXED_FWHM_NM = {"YJ": 16.0, "YH": 30.0}
"""The resolution fixed by the bench, which is judged: a Gaussian of this full width at half maximum, the wide end of
what the notes (section 5) find a flat prior to resolve. A product that resolves more is further from such a truth."""
WIDTHS_NM = {"YJ": (4.0, 8.0, 12.0, 16.0), "YH": (8.0, 15.0, 22.0, 30.0)}
"""Widths of the truth that are printed beside it: where their curve is lowest, there the product's resolution is."""
_STEP_NM = 1.0


def edges_of(wavelength_nm: Float, bandwidth_nm: Float) -> Float:
    """(k + 1,) edges of adjoining channels, from centres and widths."""
    low, high = wavelength_nm - 0.5 * bandwidth_nm, wavelength_nm + 0.5 * bandwidth_nm
    return np.concatenate([low[:1], 0.5 * (low[1:] + high[:-1]), high[-1:]])


def in_channels(flux: NDArray[np.floating], bin_edges: Float, channel_edges: Float) -> Float:
    """(l, k) light of (l, bins) in each channel; bins that a channel's edge cuts are split linearly."""
    total = np.concatenate([np.zeros((len(flux), 1)), np.cumsum(flux, axis=1, dtype=np.float64)], axis=1)
    at = np.interp(channel_edges, bin_edges, np.arange(len(bin_edges)))
    low = np.minimum(at.astype(int), len(bin_edges) - 2)
    share = at - low
    return np.diff(total[:, low] * (1.0 - share) + total[:, low + 1] * share, axis=1)


def blurred(flux: NDArray[np.floating], bin_edges: Float, channel_edges: Float, fwhm_nm: float) -> Float:
    """(l, k) the same after each wavelength's light was spread as a Gaussian of `fwhm_nm`."""
    # Light of a bin goes to channels in the same shares whatever lenslet it is of.
    bins = len(bin_edges) - 1
    return np.asarray(flux.astype(np.float64) @ _spread(np.eye(bins), bin_edges, channel_edges, fwhm_nm))


def _spread(flux: Float, bin_edges: Float, channel_edges: Float, fwhm_nm: float) -> Float:
    grid = np.arange(bin_edges[0] - 3 * fwhm_nm, bin_edges[-1] + 3 * fwhm_nm + _STEP_NM, _STEP_NM)
    fine = in_channels(flux, bin_edges, np.clip(grid, bin_edges[0], bin_edges[-1]))
    half = int(np.ceil(2.0 * fwhm_nm / _STEP_NM))
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) * _STEP_NM * 2.354820 / fwhm_nm) ** 2)
    kernel /= kernel.sum()
    spread = np.apply_along_axis(lambda row: np.convolve(row, kernel, mode="same"), 1, fine)
    return in_channels(spread, grid, channel_edges)


def smeared(spectra: Float, channel_edges: Float, fwhm_nm: float) -> Float:
    """(..., k) a product's channels, spread as a Gaussian of `fwhm_nm`; NaN where a channel that reaches them is.

    With `blurred`, both stand at one resolution, whatever more the product shows.
    """
    middle = 0.5 * (channel_edges[1:] + channel_edges[:-1])
    kernel = np.exp(-0.5 * ((middle[:, None] - middle) * 2.354820 / fwhm_nm) ** 2)
    kernel[kernel < 1e-4] = 0.0
    # Light that the first and the last channels would get from beyond is not asked for: they lie outside the core.
    kernel /= kernel.sum(axis=0)
    known = np.isfinite(spectra)
    lost = (~known).astype(np.float64) @ (kernel > 0) > 0
    return np.asarray(np.where(lost, np.nan, np.where(known, spectra, 0.0) @ kernel))
