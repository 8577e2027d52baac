"""Pixels that the read-out left empty: exactly zero, as no measured level ever is.

The raw frames are float fits of non-destructive samples on a pedestal of tens of ADU, so a zero is no light but no
value. Such pixels have no weight; planes that hold little else are not usable, and no other plane hears of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.recipes.recipe import Block, RecipeInputs

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

MOST_UNREAD = 0.5
"""Share of pixels without value beyond which a plane is none: a dead quadrant or half leaves the rest."""
EMPTY = "not read: its pixels are zero"
"""The reason on record of such a plane."""


def unread(raw: Float32) -> Mask:
    """(..., ny, nx) raw pixels without a value."""
    return np.asarray(raw == 0.0)


def unread_in_all(raw: Float32) -> Mask:
    """(ny, nx) pixels without a value in any of the planes (n, ny, nx): as bad as those the masters call so."""
    nowhere = unread(raw[0])
    for plane in raw[1:]:
        nowhere &= unread(plane)
    return nowhere


def read_planes(block: Block) -> Mask:
    """(planes of the block,) those that hold an image."""
    raw = block.pixels["raw"]
    return np.array([unread(np.asarray(one)).mean() <= MOST_UNREAD for one in raw], bool)


def expect_one(inputs: RecipeInputs, read: Mask) -> None:
    """Raise DataFailure AP-IFS-069 where no usable plane holds an image; overrides alone are no failure of data."""
    usable = np.asarray(inputs.planes.usable, bool)
    if usable.any() and not (usable & read).any():
        raise DataFailure(
            "AP-IFS-069",
            f"none of the {int(usable.sum())} planes was read: all pixels are zero",
            subject=inputs.frames[0].file_id,
            remedy="fetch the file again, or quarantine it",
        )
