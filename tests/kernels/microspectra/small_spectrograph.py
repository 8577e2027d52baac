"""A small spectrograph for tests: a few lenslets on a small detector, in the real one's proportions."""

from __future__ import annotations

import numpy as np

from archive_proc.kernels.lenslets import FieldStop, Lenslets, all_lenslets
from archive_proc.kernels.psflets import NODES, PsfletModel, orthonormal_field

BASIS = np.array([[15.26, -2.93], [10.17, 11.76]])
"""Detector steps of q and r, px (notes/ifs 1)."""
NODE = np.arange(NODES) * 0.5 - 9.5


def few_lenslets(reach: float = 2.3) -> Lenslets:
    return all_lenslets(FieldStop(-reach, reach, -reach, reach))


def detector_places(lenslets: Lenslets, middle: tuple[float, float]) -> np.ndarray:
    """(2, n) px."""
    return np.asarray(middle)[:, None] + BASIS.T @ np.stack([lenslets.q, lenslets.r])


def round_psflets(lenslets: Lenslets, sigma: float = 0.95, skew: float = 0.0) -> PsfletModel:
    """The same PSFlet everywhere, sum 1; `skew` makes its two sides differ."""
    x, y = np.meshgrid(NODE, NODE)
    image = np.exp(-(x**2 + y**2) / (2 * sigma**2)) * (1.0 + skew * np.tanh(x))
    image += 2e-3 * np.exp(-(x**2 + y**2) / (2 * 3.0**2))
    image *= 4.0 / image.sum()
    return PsfletModel(
        image[None], np.zeros((1, 2), np.int64), (0.98772, 1.30937), orthonormal_field(lenslets.x, lenslets.y)
    )
