"""The spectrum that many lenslets share, sharper than any one of them can show it.

A single spectrum must be held smooth, or its noise is too large. The equations of hundreds of lenslets with the same
light add up: their sum can do with a hundredth of that hold. What it says becomes the shape of the prior, so that only
what is left of a lenslet's spectrum beside the common one is held smooth (notes/ifs 6.6). A mean of smooth spectra
would not do: its ringing would feed back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.extraction import BAND, normal_blocks
from archive_proc.kernels.joint_fit import Equations

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

STRENGTHS = (3e-3, 1e-2, 3e-2)
"""Of the hold of a common spectrum, in units of its mean information, the weakest first. Weaker ones return what the
PSFlets are wrong by, as ripples of two channels' period: 3 % on even light at 1e-3."""
SURE = 0.01
"""Relative error of a typical bright channel above which a stronger hold is tried."""
BRIGHT = 0.15
"""Of the brightest channel: those above it are bright."""
LEAST = 50
"""Lenslets below which their light is not called common."""
HELD = 0.1
"""Strength of the hold of light over what is expected of it: the joint fit's own, as a rule."""
BENT = 0.01
"""Relative: bends that stars over the air have by themselves, from channel to channel. What is expected is doubted
where its error is larger."""
MOST_BEYOND = 2.0
FAINTEST = 0.01
"""Of the brightest channel: what a shape is at the least. A prior that stops above a spectrum's troughs bends them."""


@dataclass(frozen=True, slots=True)
class Summed:
    """Equations of a spectrum of sum 1 that many lenslets share: `normal` s = `pull`, in units of information."""

    normal: Float64
    """(m, BAND) lower band form."""
    pull: Float64
    """(m,)"""
    noise: Float64
    """(m, BAND) covariance of `pull`."""


def no_equations(channels: int) -> Summed:
    """Nothing is known."""
    nothing = np.zeros((channels, BAND))
    return Summed(nothing, nothing[:, 0], nothing)


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
    sums = [np.einsum("n,nkd->kd", weight, normal) for weight in (share, (share / light) ** 2)]
    return Summed(sums[0], share @ pull, sums[1])


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a common spectrum of m channels before it is looked at."""

    ends: Float64 | None = None
    """(m + 1,) places of the ends of the equations' channels along those of the spectrum, in channels; None: 0 ... m.
    Light that stood elsewhere than the templates did fell into channels of other wavelengths."""
    shape: Float64 | None = None
    """(m,) positive: what the spectrum is held smooth over, for it bends as this does. None: nothing."""
    features: Float64 | None = None
    """(m, q) light of features narrower than a channel whose places are known; how strong each is, the light says."""


NOTHING = Known()


def common_spectrum(equations: Sequence[Summed], known: Known = NOTHING) -> Float64 | None:
    """(m,) shape of the light that all these sums share, 1 at its brightest; None where it is too noisy to have one.

    It is held as far as photons do not tell channels apart, bright or faint ones alike.
    """
    total = _total(equations, known.ends)
    if total is None:
        return None
    pull, normal, noise = total
    m = pull.size
    both = np.eye(m) if known.features is None else np.concatenate([np.eye(m), known.features], axis=1)
    hold = np.zeros((both.shape[1],) * 2)
    hold[:m, :m] = _hold(normal, known.shape)
    information = both.T @ normal @ both
    for strength in STRENGTHS:
        inverse = both @ np.linalg.inv(information + strength * hold) @ both.T
        found = inverse @ pull
        error = np.sqrt(np.maximum(np.diag(inverse @ noise @ inverse), 0.0))
        bright = found > BRIGHT * found.max()
        if found.max() > 0 and float(np.median(error[bright] / found[bright])) <= SURE:
            return np.asarray(found / found.max())
    return None


def agreement(equations: Sequence[Summed], known: Known = NOTHING) -> float:
    """How far the light of these sums is explained while it is held as a single lenslet's is: the more, the better.

    In squares of its noise. What is known is right where this is large: over a wrong shape the spectrum is not smooth.
    """
    total = _total(equations, known.ends)
    return 0.0 if total is None else _explained(total[0], total[1], known.shape)


def features_in(edges_um: Float64, lines_um: Sequence[Sequence[float]]) -> Float64:
    """(m, q) share of the light of each group of equally strong narrow lines that falls into each channel."""
    edges = np.asarray(edges_um, np.float64)
    return np.stack([np.histogram(one, edges)[0] / len(one) for one in lines_um], axis=1)


def _total(equations: Sequence[Summed], ends: Float64 | None) -> tuple[Float64, Float64, Float64] | None:
    """Pull (m,), normal and noise (m, m) of all; None where no light is in them."""
    lit = [one for one in equations if one.pull.any()]
    if not lit:
        return None
    pull: Float64 = np.sum([one.pull for one in lit], axis=0)
    normal, noise = (_square(np.sum([getattr(one, name) for one in lit], axis=0)) for name in ("normal", "noise"))
    if ends is None:
        return pull, normal, noise
    turn = _into_channels(ends)
    return turn.T @ pull, turn.T @ normal @ turn, turn.T @ noise @ turn


def _explained(pull: Float64, normal: Float64, shape: Float64 | None) -> float:
    """Of light that is held smooth over a shape."""
    return float(pull @ np.linalg.solve(normal + HELD * _hold(normal, shape), pull))


def _hold(normal: Float64, shape: Float64 | None) -> Float64:
    """(m, m) on the bends of the spectrum over its shape, in units of what is known of each channel."""
    diagonal = np.maximum(np.diag(normal), 1e-9 * np.diag(normal).max())
    one = np.ones(diagonal.size) if shape is None else shape
    bend = np.diff(np.eye(diagonal.size), n=2, axis=0) / one * np.sqrt(diagonal * one**2)[1:-1, None]
    return np.asarray(bend.T @ bend + 1e-9 * np.diag(diagonal))


def beyond_expected(one: Summed, expected: Float64, doubt: Float64) -> Float64:
    """(m,) brightness of the light that these lenslets share over `expected` (m,), where that is in doubt; else 1.

    `expected` density; `doubt` (m,) its relative error. Light over what is expected is held smooth, as the joint fit
    does, and as it is again but for the hold let go where bends would be no more than the doubt: what differs is what
    the light knows better, so far as noise does not pass for it. Both alike are off where light ends within a channel.
    """
    m = expected.size
    if not one.pull.any():
        return np.ones(m)
    normal, noise = _square(one.normal), _square(one.noise)
    diagonal = np.maximum(np.diag(normal), 1e-9 * np.diag(normal).max())
    bend = np.diff(np.eye(m), n=2, axis=0) / expected * np.sqrt(np.mean(diagonal * expected**2))
    unsure = (doubt[:-2] ** 2 + 4.0 * doubt[1:-1] ** 2 + doubt[2:] ** 2) / BENT**2
    found, error = [], np.zeros(m)
    for let_go in (np.zeros(m - 2), unsure):
        held = bend / np.sqrt(1.0 + let_go)[:, None]
        inverse = np.linalg.inv(normal + HELD * held.T @ held + 1e-9 * np.diag(diagonal))
        found.append(inverse @ one.pull)
        error = np.sqrt(np.maximum(np.diag(inverse @ noise @ inverse), 0.0))
    firm, free = found
    known = (firm > 0) & (free > 0)
    ratio = np.where(known, free, 1.0) / np.where(known, firm, 1.0)
    trust = doubt**2 / np.maximum(doubt**2 + np.where(known, error / np.abs(firm + ~known), 1.0) ** 2, 1e-30)
    return np.asarray(np.clip(1.0 + trust * (ratio - 1.0), 1.0 / MOST_BEYOND, MOST_BEYOND))


def as_prior(shape: Float64, widths: Float64) -> Float64:
    """Density of a shape, nowhere below `FAINTEST`."""
    density = shape / widths
    return np.asarray(np.maximum(density / density.max(), FAINTEST))


def _into_channels(ends: Float64) -> Float64:
    """(m, m) flux between each two of these places (m + 1,), in channels, from the flux of m channels.

    The light inside a channel follows the parabola through it and its neighbours (`microspectra.parabolas`); beyond the
    first and the last there is none.
    """
    m = ends.size - 1
    at = np.clip(ends, 0.0, m)
    channel = np.minimum(at.astype(int), m - 1)
    u = at - channel - 0.5
    # Of the parabola's terms: even light, its slope, its bend.
    even, slope, bend = u + 0.5, 0.5 * (u**2 - 0.25), (u**3 - u / 4.0) / 3.0
    below = (np.arange(m) < channel[:, None]).astype(np.float64)
    rows = np.arange(m + 1)
    for step, share in ((-1, 0.5 * (bend - slope)), (0, even - bend), (1, 0.5 * (bend + slope))):
        np.add.at(below, (rows, np.clip(channel + step, 0, m - 1)), share)
    return np.diff(below, axis=0)


def _square(band: Float64) -> Float64:
    """(m, m) symmetric, of its lower band form."""
    m = len(band)
    out = np.zeros((m, m))
    for d in range(min(BAND, m)):
        at = np.arange(m - d)
        out[at + d, at] = out[at, at + d] = band[: m - d, d]
    return out


def _times(normal: Float64, vectors: Float64) -> Float64:
    """(n, m) products of band matrices (n, m, BAND) with vectors (n, m)."""
    out = normal[:, :, 0] * vectors
    m = vectors.shape[1]
    for d in range(1, min(BAND, m)):
        out[:, d:] += normal[:, : m - d, d] * vectors[:, : m - d]
        out[:, : m - d] += normal[:, : m - d, d] * vectors[:, d:]
    return out
