"""Coordinates along the frame axis of an IRDIS cube: what the headers and the tracks know about each plane."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.model.processes import Remark
from archive_proc.recipes.irdis.pointing import pointing
from archive_proc.recipes.recipe import Calibration, RecipeInputs

Coordinates = dict[str, NDArray[Any]]
"""Variable name -> array along `frame` or (`frame`, `channel`)."""


def strings(values: Iterable[object]) -> NDArray[Any]:
    """A string variable, numpy's variable-width dtype."""
    return np.array([str(one) for one in values], dtype=np.dtypes.StringDType())


class PlaneRows:
    """Finds the row of a plane in a product that has one row a plane judged (`file_id`, `plane`)."""

    def __init__(self, inputs: RecipeInputs, product: Calibration) -> None:
        self.product = product
        self._inputs = inputs
        pairs = zip(product.arrays["file_id"], product.arrays["plane"], strict=True)
        self._rows = {(str(file), int(plane)): row for row, (file, plane) in enumerate(pairs)}

    def of_plane(self, plane: int) -> int:
        """Row of a plane of the main input's table, -1 where the product has none."""
        table = self._inputs.planes
        frame = self._inputs.frames[int(table.file[plane])]
        return self._rows.get((str(frame.file_id), int(table.plane[plane])), -1)

    def floats(self, name: str, n: int) -> NDArray[np.float64]:
        """(n, 2) values of a (row, channel) variable for the first n planes, NaN where there is no row."""
        rows = np.array([self.of_plane(plane) for plane in range(n)])
        values = np.asarray(self.product.arrays[name], np.float64)
        found = np.full((n, 2), np.nan)
        found[rows >= 0] = values[rows[rows >= 0]]
        return found

    def words(self, name: str, n: int) -> NDArray[Any]:
        """(n, 2) words of a (row, channel) variable, `none` where there is no row."""
        values = self.product.arrays[name]
        rows = [self.of_plane(plane) for plane in range(n)]
        found = [[str(values[row][channel]) if row >= 0 else "none" for channel in range(2)] for row in rows]
        return np.array(found, dtype=np.dtypes.StringDType()).reshape(n, 2)


def plane_coordinates(inputs: RecipeInputs) -> tuple[Coordinates, tuple[Remark, ...]]:
    """All frame-axis coordinates of a science cube, and remarks about angles and missing rows."""
    n = len(inputs.planes)
    where = pointing(inputs.frames, inputs.planes)
    center = PlaneRows(inputs, inputs.calibrations["center"][0])
    photometry = PlaneRows(inputs, inputs.calibrations["photometry"][0])
    background = PlaneRows(inputs, inputs.calibrations["background_fit"][0])
    coordinates: Coordinates = {
        "file_id": strings(inputs.frames[file].file_id for file in inputs.planes.file),
        "plane": np.asarray(inputs.planes.plane, np.int32),
        "usable": np.asarray(inputs.planes.usable, bool),
        "reason": strings(inputs.planes.reason),
        "time": where.time,
        "exposure_time": where.exposure_time,
        "parallactic_angle": where.parallactic_angle,
        "derotation_angle": where.derotation_angle,
        "derotation_angle_start": where.derotation_angle_start,
        "derotation_angle_end": where.derotation_angle_end,
        "airmass": where.airmass,
        "seeing": where.seeing,
    }
    for name in ("star_x", "star_y", "star_x_error", "star_y_error"):
        coordinates[name] = center.floats(name, n)
    coordinates["centering_method"] = center.words("centering_method", n)
    for name in ("relative_flux", "relative_flux_error"):
        coordinates[name] = photometry.floats(name, n)
    coordinates["photometry_method"] = photometry.words("photometry_method", n)
    coordinates["background_level"] = background.floats("background_level", n)
    lost = int(np.isnan(coordinates["star_x"]).any(axis=1).sum())
    remarks = where.remarks
    if lost:
        remarks += (Remark("AP-IRD-016", f"{lost} of {n} planes have no star position: they cannot be centred"),)
    return coordinates, remarks
