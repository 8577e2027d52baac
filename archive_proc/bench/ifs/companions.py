"""Figures of companion spectra: the light of an aperture over its surroundings, beside the same of the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archive_proc.bench.ifs.compared import Compared
from archive_proc.bench.ifs.known import Companion, Float, Known, Scene

APERTURE = 2.5
RING = (3.5, 5.5)
"""Radii, pitches: the aperture, and the ring whose mean is taken as what surrounds it."""


@dataclass(frozen=True, slots=True)
class CompanionSpectrum:
    """Error of a companion's spectrum over its mean true flux, per cent."""

    bias: float
    """Mean over core channels."""
    rms: float
    """About nought, over core channels."""
    noise: float
    """What the claimed errors alone make of `rms`."""


def companion_spectrum(
    known: Known, scenes: Sequence[tuple[Scene, Compared]], kind: str, contrast: float
) -> CompanionSpectrum | None:
    """Over all planes of the files; None where none holds such a companion with all its lenslets.

    The surroundings are subtracted from product and truth alike, so that what is measured is the extraction.
    """
    found, true, variance = [], [], []
    core = scenes[0][1].core if scenes else np.zeros(0, np.bool_)
    for scene, one in scenes:
        for plane, listed in enumerate(scene.companions):
            for companion in listed:
                if companion.kind != kind or abs(companion.contrast - contrast) > 0.01 * contrast:
                    continue
                weights = _weights(known, companion, one.scored & np.isfinite(one.found[plane][:, core]).all(axis=1))
                used = weights != 0.0
                if used.any():
                    found.append(weights[used] @ one.found[plane][used][:, core])
                    true.append(weights[used] @ one.truth[plane][used][:, core])
                    variance.append(weights[used] ** 2 @ np.nan_to_num(one.sigma[plane][used][:, core]) ** 2)
    if not found:
        return None
    scale = 100.0 / float(np.mean(np.sum(true, axis=0)))
    error = scale * (np.sum(found, axis=0) - np.sum(true, axis=0))
    noise = scale * np.sqrt(np.mean(np.sum(variance, axis=0)))
    return CompanionSpectrum(float(error.mean()), float(np.sqrt(np.mean(error**2))), float(noise))


def _weights(known: Known, companion: Companion, usable: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Float:
    """(l,) of the sum over the aperture less its share of the ring; all nought where a lenslet of it is missing."""
    distance = np.hypot(known.x - companion.x, known.y - companion.y)
    inside, around = distance < APERTURE, (distance > RING[0]) & (distance < RING[1]) & usable
    if not (inside & usable).any() or (inside & ~usable).any() or around.sum() < 10:
        return np.zeros(len(distance))
    return np.asarray(inside.astype(np.float64) - inside.sum() * around / around.sum())
