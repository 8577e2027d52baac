"""The planes whose star is looked for: science planes of the observation, and planes of its CENTER and FLUX frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.model.processes import Remark
from archive_proc.recipes.ifs.squares import Planes, spectra_of
from archive_proc.recipes.recipe import Array, Calibration, RecipeInputs

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

CENTER_ROLE, FLUX_ROLE = "center_spectra", "flux_spectra"
SAME_WAVELENGTH_UM = 1e-4
"""Channels of two products are the same when they differ by less."""


@dataclass(frozen=True, slots=True)
class FramePlane:
    """One plane of a CENTER or FLUX frame."""

    product: Calibration
    index: int
    """On the product's frame axis."""

    @property
    def spectra(self) -> Planes:
        """Flux, variance, flags (lenslet, channel)."""
        flux, variance, flags = (self.product.arrays[name][self.index] for name in ("flux", "variance", "flags"))
        return flux, variance, flags


@dataclass(frozen=True, slots=True)
class PlaneList:
    """n planes in order of time."""

    file_id: NDArray[np.object_]
    plane: NDArray[np.int32]
    frame_type: NDArray[np.str_]
    """OBJECT, CENTER or FLUX."""
    time: Float64
    exposure_time: Float64
    usable: Mask
    main: NDArray[np.int64]
    """Row of the main product's frame axis, -1 for planes of other frames."""
    frames: tuple[FramePlane | None, ...]
    """Where a plane that is not of the main product is found."""
    borrowed: Mask
    """Planes of another acquisition: another OB of the night, or a pinned one. Its star may be another star."""
    remarks: tuple[Remark, ...]

    def __len__(self) -> int:
        return int(self.plane.size)

    @property
    def science(self) -> Mask:
        """(n,) planes of the main product."""
        return self.main >= 0

    @property
    def rows(self) -> dict[str, Array]:
        """Columns that identify the rows of `center` and `photometry`."""
        return {
            "file_id": self.file_id,
            "plane": self.plane,
            "frame_type": self.frame_type.astype(object),
            "time": self.time,
        }


def plane_list(inputs: RecipeInputs) -> PlaneList:
    """All planes to be judged; each raw plane once, science before frames of the same plane."""
    main = spectra_of(inputs)
    found: list[tuple[float, str, int, str, float, bool, int, FramePlane | None]] = []
    taken: set[tuple[str, int]] = set()
    columns = zip(
        *(main.arrays[name] for name in ("time", "file_id", "plane", "frame_type", "exposure_time")), strict=True
    )
    for row, (time, file, plane, kind, length) in enumerate(columns):
        taken.add((str(file), int(plane)))
        usable = bool(inputs.planes.usable[row])
        found.append((float(time), str(file), int(plane), _role(str(kind)), float(length), usable, row, None))
    remarks: list[Remark] = []
    for role, kind in ((CENTER_ROLE, "CENTER"), (FLUX_ROLE, "FLUX")):
        for product in inputs.calibrations.get(role, ()):
            if not same_channels(main, product):
                remarks.append(
                    Remark("AP-IFS-093", f"a {kind} frame has other channels than the science planes: left out")
                )
                continue
            for one in _frame_planes(product):
                arrays = product.arrays
                key = (str(arrays["file_id"][one.index]), int(arrays["plane"][one.index]))
                if key not in taken:
                    taken.add(key)
                    time, length = float(arrays["time"][one.index]), float(arrays["exposure_time"][one.index])
                    found.append((time, *key, kind, length, bool(arrays["usable"][one.index]), -1, one))
    found.sort(key=lambda one: one[:3])
    return PlaneList(
        file_id=np.array([one[1] for one in found], object),
        plane=np.array([one[2] for one in found], np.int32),
        frame_type=np.array([one[3] for one in found], "U6"),
        time=np.array([one[0] for one in found], np.float64),
        exposure_time=np.array([one[4] for one in found], np.float64),
        usable=np.array([one[5] for one in found], bool),
        main=np.array([one[6] for one in found], np.int64),
        frames=tuple(one[7] for one in found),
        borrowed=np.array([one[7] is not None and one[7].product.level > 0 for one in found], bool),
        remarks=tuple(remarks),
    )


def _frame_planes(product: Calibration) -> Iterator[FramePlane]:
    return (FramePlane(product, index) for index in range(len(product.arrays["time"])))


def _role(frame_type: str) -> str:
    """Science planes are OBJECT unless they say CENTER (continuous waffle)."""
    return "CENTER" if "CENTER" in frame_type.upper() else "OBJECT"


def same_channels(one: Calibration, other: Calibration) -> bool:
    """Whether two products of spectra have the same wavelengths."""
    first, second = (np.asarray(each.arrays["wavelength"], np.float64) for each in (one, other))
    return first.shape == second.shape and bool(np.abs(first - second).max(initial=0.0) < SAME_WAVELENGTH_UM)
