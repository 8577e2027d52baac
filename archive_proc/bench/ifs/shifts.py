"""Figures of the shift that was measured in science files, against how they were really displaced."""

from __future__ import annotations

import numpy as np

from archive_proc.bench.ifs.known import Float

Y_STATED_PX = 0.05
"""Along the dispersion: right within this, or within the error that the product states."""


def worst_across(found: Float, true: Float) -> float | None:
    """Largest error in x over planes, px; None without planes or where one was not measured."""
    if not found.size or not np.isfinite(found).all():
        return None
    return float(np.max(np.abs(found - true)))


def worst_along(found: Float, stated: Float, true: Float) -> float | None:
    """Largest error in y over the larger of 0.05 px and the stated error; None without planes or a stated error."""
    if not found.size or not np.isfinite(found).all() or not np.isfinite(stated).all():
        return None
    return float(np.max(np.abs(found - true) / np.maximum(stated, Y_STATED_PX)))
