"""A small picture for the grid of a report: at most 12 kB, whatever the noise in it: fewer shades until it fits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archive_proc.quality.canvas import encoded, shades
from archive_proc.quality.measured import Measured
from archive_proc.quality.scales import Scale
from archive_proc.quality.stacks import holes

SIDE = 128
MOST_BYTES = 12_000


def thumbnail(found: Measured, scale: Scale | None, name: str) -> bytes | None:
    """An image as a PNG of SIDE x SIDE greys, y upwards; None where there is no image.

    Black where a pixel has no value, white outside the lit field: a hole must not look like a companion.
    """
    image = found.arrays.get(name)
    if image is None or scale is None:
        return None
    picture = shades(scale.shade(image), holes(image))
    grey = np.where(picture[..., 3] > 0, picture[..., 0], 255).astype(np.uint8)[::-1]
    small = np.asarray(Image.fromarray(np.ascontiguousarray(grey), "L").resize((SIDE, SIDE), Image.Resampling.BOX))
    for levels in (64, 32):
        content = encoded(Image.fromarray(_coarse(small, levels), "L"))
        if len(content) <= MOST_BYTES:
            return content
    # Four bits a pixel: 8 kB before compression, whatever the noise.
    return encoded(Image.fromarray(_coarse(small, 16), "L").quantize(16, Image.Quantize.MAXCOVERAGE))


def _coarse(grey: NDArray[np.uint8], levels: int) -> NDArray[np.uint8]:
    step = 255 / (levels - 1)
    return np.round(np.round(grey / step) * step).astype(np.uint8)
