"""Small pictures."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from archive_proc.quality.measured import Measured
from archive_proc.quality.scales import Scale
from archive_proc.quality.thumbnail import SIDE, thumbnail


def test_a_hole_is_dark_and_the_outside_is_white() -> None:
    """A pixel without a value must not look like a companion."""
    image = np.full((SIDE, SIDE), 0.5, np.float32)
    image[60:62, 70:72] = np.nan
    image[:20] = np.nan
    content = thumbnail(Measured({"median": image}), Scale(0.0, 1.0), "median")
    assert content is not None
    grey = np.asarray(Image.open(io.BytesIO(content)).convert("L"))[::-1]
    assert grey[60:62, 70:72].max() == 0
    assert grey[:20].min() == 255
    assert 100 < grey[40, 40] < 200


def test_no_image_gives_no_picture() -> None:
    assert thumbnail(Measured(), Scale(0.0, 1.0), "median") is None
