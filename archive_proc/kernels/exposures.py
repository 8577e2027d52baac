"""Planes that are calibrated alike, how spectra are fitted to them, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.joint_fit import Equations

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Flags = NDArray[np.uint16]
Mask = NDArray[np.bool_]

LAMP_ERROR = 0.005
"""Of a lamp's or laser's bright pixels: what templates are wrong by where photons hardly count (a flat's residual is
0.8 % of its ridge). With photons alone as weights, the faint wings of the PSFlets, where they are least known, would
weigh most: spectra of the sky, with more noise in their gaps, would be measured with another scale than the flat, and
laser lines would wander with their place within a pixel."""


@dataclass(frozen=True, slots=True)
class RobustSettings:
    """How spectra are fitted and outliers found (notes/ifs 6.6, 6.9)."""

    mu: float = 0.1
    common_sweeps: int = 8
    """Turns of all lenslets, at most, in the fit of the planes' common light, from nothing."""
    sweeps: int = 6
    """The same of single planes, from their common light."""
    enough: float = 0.01
    """Sigma, rms: lenslets take no more turns once one moved the spectra by less. Steps have long tails: one in a
    thousand is a dozen times as large."""
    rough_enough: float = 0.3
    """The same where more turns follow, after the background was taken off."""
    touched_sweeps: int = 3
    """The same of the lenslets that outliers touch, from the fit with them."""
    outliers: bool = True
    """False: every pixel counts but those of the mask (laser frames)."""
    model_error: float = 0.03
    """Of the brightest pixel within one: what templates are not trusted to better."""
    even_error: float = 0.0
    """Of the brightest fiftieth of the pixels: error of the model that weights allow for, the same in all pixels."""
    limits: tuple[float, float, float] = (5.0, 10.0, 2.5)
    """Sigma of an outlier; of one that takes neighbours with it; of those neighbours."""
    robust_rounds: int = 3
    most_clipped: float = 0.03
    """Share of good pixels beyond which none is taken as an outlier (notes/ifs 8)."""
    low_weight: float = 0.4
    filled: float = 0.1
    """Shares of a channel's information that are left, below which it is flagged."""
    suspect: float = 5.0
    """Sigma that the solution moved when outliers went, or that a channel of one lenslet stands out by."""
    change: float = 0.005
    """Of a channel's light: what may differ from plane to plane, at least."""
    rough: float = 0.01
    """Of a channel's light: what a smooth run along the channels of a lenslet is not trusted to better."""
    beside_hit: float = 3.0
    """`suspect` beside pixels of a hit, which may reach further than its pixels show."""
    stand_out: float = 4.0
    """Sigma of a channel of one lenslet beneath which pixels of a hit are looked for."""
    output_columns: int = 64
    """Columns of a read-out output: noise is shared along rows by outputs of equal parity. 0: not looked for."""


@dataclass(frozen=True, slots=True)
class Exposures:
    """Planes of one DIT and one set of masters."""

    light: Float32
    """(p, ny, nx) e- per DIT, level off, response divided out."""
    floor: Float32
    """(ny, nx) e-^2 of `light` where no source light falls."""
    response: Float32
    good: Mask
    background: Float32
    """(ny, nx) what was taken off, in any unit, the response not divided out: what is left over looks like it."""
    saturated: tuple[NDArray[np.intp], ...] = ()
    """Flat places of each plane's pixels without a say; empty: none in any."""


@dataclass(frozen=True, slots=True)
class PlaneSpectra:
    """p planes, n chosen lenslets, m channels; electrons per DIT."""

    flux: Float32
    """(p, n, m)"""
    variance: Float32
    """(p, n, m) e-^2; NaN where FILLED."""
    flags: Flags
    covariance: Float32
    """(lenslets, LAGS, m) of the planes' common weights, of all lenslets."""
    chi2: Float64
    """(p,) squared residual over variance, mean over lit pixels."""
    clipped: Float64
    """(p,) share of good pixels taken as outliers."""
    residual: Float64
    """(p,) rms of the residual of lit pixels over the ridge."""
    ridge: Float64
    """(p,) e-, 98th percentile of the model."""
    background: Float64
    """(p,) e-, median of what was taken off beyond the masters."""
    new_bad: int
    """Pixels that disagree with the fit of the planes' common light."""
    last_step: float
    equations: Equations
    unexplained: Float32
    """(ny, nx) e- per DIT, mean over the planes of what no spectrum explains; NaN where no plane's pixel counts."""


def room_for_results(light: Float32, shape: tuple[int, int, int]) -> tuple[Float32, Float32, Flags]:
    """Flux, variance and flags of this shape: a plane's take the place of its light, where they find room there."""
    planes, size = shape[0], shape[1] * shape[2]
    if light[0].size < 3 * size or not light.flags.c_contiguous:
        return np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16)
    room = light.reshape(planes, -1)
    flux, variance = (room[:, at : at + size].reshape(shape) for at in (0, size))
    return flux, variance, room[:, 2 * size : 3 * size].view(np.uint16)[:, :size].reshape(shape)


# Any: whatever the planes hold.
def put_in_order(planes: NDArray[Any], order: NDArray[np.intp]) -> None:
    """Make planes[i] what planes[order[i]] was, in place, with room for one of them beside."""
    done = np.asarray(order == np.arange(order.size))
    for start in range(order.size):
        if done[start]:
            continue
        kept, at = planes[start].copy(), start
        while order[at] != start:
            planes[at] = planes[order[at]]
            done[at], at = True, int(order[at])
        planes[at], done[at] = kept, True
