"""The spectrum that many lenslets share, sharper than any one of them can show it.

A single spectrum must be held smooth, or its noise is too large. The equations of hundreds of lenslets with the same
light add up: their sum can do with a hundredth of that hold. What it says becomes the shape of the prior, so that only
what is left of a lenslet's spectrum beside the common one is held smooth (notes/ifs 6.6). A mean of smooth spectra
would not do: its ringing would feed back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.extraction import BAND, normal_blocks
from archive_proc.kernels.joint_fit import Equations

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2)
"""Of the hold of a common spectrum, in units of its mean information, the weakest first."""
SURE = 0.01
"""Relative error of a typical bright channel above which a stronger hold is tried."""
BRIGHT = 0.15
"""Of the brightest channel: those above it are bright."""
LEAST = 50
"""Lenslets below which their light is not called common."""
FAINTEST = 0.01
"""Of the brightest channel: what a shape is at the least. A prior that stops above a spectrum's troughs bends them."""


@dataclass(frozen=True, slots=True)
class Summed:
    """Equations of a spectrum of sum 1 that many lenslets share: `normal` s = `pull`, in units of information."""

    normal: Float64
    """(m, BAND) lower band form."""
    pull: Float64
    """(m,)"""


def no_equations(channels: int) -> Summed:
    """Nothing is known."""
    return Summed(np.zeros((channels, BAND)), np.zeros(channels))


def summed(equations: Equations, members: NDArray[np.intp], shapes: Float64, light: Float64) -> Summed:
    """Of some lenslets, from spectra (n, m) of sum 1 that were fitted with these equations and a flat prior.

    All count alike, whatever their `light` (n,): it is the few in the brightest speckles whose colour is their own.
    """
    m = shapes.shape[1]
    if len(members) < LEAST:
        return no_equations(m)
    normal = np.empty((members.size, m, BAND))
    normal_blocks(*equations.place, equations.weight, members.astype(np.int32), normal)
    information = normal[:, :, 0].mean(axis=1)
    pull = _times(normal, shapes)
    bend = np.diff(shapes, n=2, axis=1) * equations.strength[members, None]
    pull[:, :-2] += bend
    pull[:, 1:-1] -= 2.0 * bend
    pull[:, 2:] += bend
    worth = float(np.sum(light**2 * information))
    share = worth / information / members.size
    return Summed(np.einsum("n,nkd->kd", share, normal), share @ pull)


def common_spectrum(equations: list[Summed], prior: Float64 | None) -> Float64 | None:
    """(m,) shape of the light that all these sums share, 1 at its brightest; None where it is too noisy to have one.

    `prior` (m,) its own expected shape; None: as far as photons tell channels apart, whatever their flux.
    """
    known = [one for one in equations if one.pull.any()]
    if not known:
        return None
    band, pull = sum(one.normal for one in known), sum(one.pull for one in known)
    assert isinstance(band, np.ndarray)
    m = band.shape[0]
    normal = np.zeros((m, m))
    for d in range(min(BAND, m)):
        at = np.arange(m - d)
        normal[at + d, at] = normal[at, at + d] = band[: m - d, d]
    diagonal = np.maximum(np.diag(normal), 1e-9 * band[:, 0].max())
    shape = diagonal**-0.5 if prior is None else prior
    bend = np.diff(np.eye(m), n=2, axis=0) / shape
    hold = float(np.mean(diagonal * shape**2)) * bend.T @ bend + 1e-9 * np.diag(diagonal)
    for strength in STRENGTHS:
        inverse = np.linalg.inv(normal + strength * hold)
        found = inverse @ pull
        error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", inverse, normal, inverse), 0.0))
        bright = found > BRIGHT * found.max()
        if found.max() > 0 and float(np.median(error[bright] / found[bright])) <= SURE:
            return np.asarray(found / found.max())
    return None


def displaced(shape: Float64, edges_um: Float64, places: Float64, moved_px: float) -> Float64:
    """A shape that was found in channels `moved_px` below the light's true place: what it is in the true channels.

    `places` (m + 1,) px along the dispersion of the edges, ascending.
    """
    from scipy.interpolate import CubicSpline

    total = CubicSpline(edges_um, np.concatenate([[0.0], np.cumsum(shape)]))
    at = np.interp(places + moved_px, places, edges_um)
    return np.asarray(np.diff(total(at)))


def as_prior(shape: Float64, widths: Float64) -> Float64:
    """Density of a shape, nowhere below `FAINTEST`."""
    density = shape / widths
    return np.asarray(np.maximum(density / density.max(), FAINTEST))


def _times(normal: Float64, vectors: Float64) -> Float64:
    """(n, m) products of band matrices (n, m, BAND) with vectors (n, m)."""
    out = normal[:, :, 0] * vectors
    m = vectors.shape[1]
    for d in range(1, min(BAND, m)):
        out[:, d:] += normal[:, : m - d, d] * vectors[:, : m - d]
        out[:, : m - d] += normal[:, : m - d, d] * vectors[:, d:]
    return out
