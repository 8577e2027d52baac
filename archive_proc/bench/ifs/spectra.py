"""Spectra of one file as any reduction gives them: what the figures are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.ifs.channels import edges_of

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


def mean_over_planes(values: NDArray[np.floating]) -> Float:
    """(l, k) mean of the finite ones of (n, l, k); NaN without any."""
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    total = np.where(finite, values, 0.0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectra:
    """n planes of one file, in the order of truth's l lenslets, k channels; NaN for lenslets that are not there."""

    flux: Float32
    """(n, l, k) electrons per channel and DIT after the lenslet flat; NaN: no value."""
    sigma: Float32
    """(n, l, k) claimed; NaN: weight zero."""
    flagged: NDArray[np.bool_]
    """(n, l, k) any flag, or not published."""
    wavelength_nm: Float
    bandwidth_nm: Float
    """(k,)"""
    correlation: Float32 | None = None
    """(lags, k, l) of the noise of a channel with the one 1, 2, ... redder; None: claimed to be nought."""
    resolution: Float32 | None = None
    """(k, offsets) mean expected flux of a channel from one unit of flux `offset` channels away; None: not claimed."""

    @property
    def edges_nm(self) -> Float:
        """(k + 1,)"""
        return edges_of(self.wavelength_nm, self.bandwidth_nm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    """The lenslet flat of a reduction: what its absolute scale is."""

    median: Float
    """(k,) electrons per channel and DIT of the median complete lenslet in the flat's frame, throughput divided out."""
    wavelength_nm: Float
    bandwidth_nm: Float

    @property
    def edges_nm(self) -> Float:
        """(k + 1,)"""
        return edges_of(self.wavelength_nm, self.bandwidth_nm)
