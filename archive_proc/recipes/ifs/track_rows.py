"""What the tracks know of the planes of a cube: rows of `center` and `photometry`, joined by raw file and plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.recipes.recipe import Calibration

Float64 = NDArray[np.float64]


class TrackRows:
    """Rows of a product that has one row a plane judged, for the planes of another."""

    def __init__(self, spectra: Calibration, product: Calibration) -> None:
        self._product = product
        pairs = zip(product.arrays["file_id"], product.arrays["plane"], strict=True)
        where = {(str(file), int(plane)): row for row, (file, plane) in enumerate(pairs)}
        wanted = zip(spectra.arrays["file_id"], spectra.arrays["plane"], strict=True)
        self.rows = np.array([where.get((str(file), int(plane)), -1) for file, plane in wanted], np.int64)
        self._channels = len(spectra.arrays["wavelength"])

    def floats(self, name: str) -> Float64:
        """(frame, channel) values, NaN where there is no row."""
        found = np.full((self.rows.size, self._channels), np.nan)
        known = self.rows >= 0
        found[known] = np.asarray(self._product.arrays[name], np.float64)[self.rows[known]]
        return found

    def words(self, name: str) -> NDArray[Any]:
        """(frame, channel) words, `none` where there is no row."""
        values = self._product.arrays[name]
        found = np.full((self.rows.size, self._channels), "none", dtype=np.dtypes.StringDType())
        for plane, row in enumerate(self.rows):
            if row >= 0:
                found[plane] = [str(one) for one in values[row]]
        return found


CENTER_FLOATS = ("star_x", "star_y", "star_x_error", "star_y_error")
PHOTOMETRY_FLOATS = ("relative_flux", "relative_flux_error")


def track_coordinates(spectra: Calibration, center: Calibration, photometry: Calibration) -> dict[str, NDArray[Any]]:
    """Star and relative flux of every plane and channel of the spectra; star in pixels of the rectified field."""
    of_center, of_photometry = TrackRows(spectra, center), TrackRows(spectra, photometry)
    found: dict[str, NDArray[Any]] = {name: of_center.floats(name) for name in CENTER_FLOATS}
    found |= {name: of_photometry.floats(name) for name in PHOTOMETRY_FLOATS}
    found["centering_method"] = of_center.words("centering_method")
    found["photometry_method"] = of_photometry.words("photometry_method")
    return found
