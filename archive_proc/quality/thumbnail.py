"""A small picture for the grid of a report: at most 12 kB, whatever the noise in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from archive_proc.quality.canvas import encoded, shades
from archive_proc.quality.measured import Measured
from archive_proc.quality.scales import Scale

SIDE = 128
MOST_BYTES = 12_000


def thumbnail(found: Measured, scale: Scale | None, name: str) -> bytes | None:
    """The middle of an image as a PNG of SIDE x SIDE greys, north as the image has it; None where there is no image."""
    image = found.arrays.get(name)
    if image is None or scale is None:
        return None
    picture = shades(scale.shade(_square(image)), None)
    grey = np.where(picture[..., 3] > 0, picture[..., 0], 255).astype(np.uint8)[::-1]
    for levels in (64, 32, 16):
        # Fewer shades until noise fits: 16 of them are 8 kB at the worst.
        step = 255 / (levels - 1)
        coarse = np.round(np.round(grey / step) * step).astype(np.uint8)
        content = encoded(Image.fromarray(coarse, "L"))
        if len(content) <= MOST_BYTES:
            return content
    return encoded(Image.fromarray(coarse, "L").quantize(16))


def _square(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The middle SIDE x SIDE pixels; an image that is smaller, or much wider, is sampled instead of cut."""
    height, width = image.shape
    if min(height, width) >= SIDE and width < 2 * height:
        top, left = (height - SIDE) // 2, (width - SIDE) // 2
        return image[top : top + SIDE, left : left + SIDE]
    rows = np.linspace(0, height - 1, SIDE).round().astype(int)
    columns = np.linspace(0, width - 1, SIDE).round().astype(int)
    return np.asarray(image[np.ix_(rows, columns)], np.float32)
