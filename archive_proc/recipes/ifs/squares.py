"""Spectra on square pixels: the grid that both cubes of the IFS share, what they copy, what they say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.rectify import SquareGrid, correlation, rectify, square_grid
from archive_proc.model.flags import Flag
from archive_proc.recipes.recipe import Calibration, RecipeInputs

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Flags = NDArray[np.uint16]
Planes = tuple[Float32, Float32, Flags]
"""Flux, variance, flags."""

LAGS = 3
"""Lags of the resampling correlation, 0 ... 2 pixels: pixels further apart share no lenslet."""
FROM_SPECTRA = (
    "file_id", "plane", "frame_type", "time", "exposure_time", "parallactic_angle", "derotation_angle",
    "derotation_angle_start", "derotation_angle_end", "airmass", "seeing", "wavelength", "bandwidth", "gain",
)  # fmt: skip
"""Coordinates that a cube takes over from the spectra."""
SAID_OF_SPECTRA = (
    "mode", "coronagraph", "nd_filter", "rot_mode", "waffle_orient", "angle_convention", "lenslet_flat",
    "systematic_relative", "mu", "outliers_sought",
)  # fmt: skip
"""Attributes that a cube takes over from the spectra, where they have them."""


def spectra_of(inputs: RecipeInputs) -> Calibration:
    """The main product. Raises DataFailure AP-IFS-090 where the process was given none."""
    if inputs.main is None:
        raise DataFailure(
            "AP-IFS-090",
            "the spectra are missing",
            subject=inputs.subject.subject_id,
            remedy="run ifs_extract for this observation first",
        )
    return inputs.main


@dataclass(frozen=True, slots=True)
class Scale:
    """Sky and pixels of a rectified cube."""

    pixel_mas: float
    pitch_px: tuple[float, float]
    """Pixels per lenslet pitch along x and y."""
    size: int
    """Pixels along each side."""
    anamorphism: tuple[float, float]
    """Sky over cube along x and y that is corrected; 1, 1 where nothing is."""

    @property
    def middle(self) -> int:
        """Pixel of the field's centre, or of the star in a centred cube."""
        return self.size // 2


def scale_of(spectra: Calibration, *, correct_anamorphism: bool = False) -> Scale:
    """The scale of the tables; `correct_anamorphism` stretches the field so that pixels are square on the sky."""
    tables = load_tables().ifs
    row = tables.lenslets
    stretch = (1.0, 1.0)
    if correct_anamorphism:
        orientation = tables.orientation(float(np.asarray(spectra.arrays["time"], np.float64)[0]))
        stretch = (orientation.anamorphism_x, orientation.anamorphism_y)
    pitch = row.pitch_mas / row.pixel_mas
    return Scale(row.pixel_mas, (pitch * stretch[0], pitch * stretch[1]), row.cube_px, stretch)


def grid_of(spectra: Calibration, scale: Scale) -> SquareGrid:
    """The lenslets of the spectra on the square pixels."""
    x, y = (np.asarray(spectra.arrays[name], np.float64) for name in ("lenslet_x", "lenslet_y"))
    return square_grid(x, y, scale.pitch_px, scale.size)


def one_plane(grid: SquareGrid, centers: Float64, spectra: Planes, into: Planes) -> None:
    """Rectify one plane: `centers` (k, 2); a channel whose centre is not known is NaN and LOW_WEIGHT throughout."""
    known = np.asarray(np.isfinite(centers).all(axis=1), bool)
    if known.any():
        rectify(grid, np.where(known[:, None], centers, 0.0), spectra, into)
    into[0][~known], into[1][~known], into[2][~known] = np.nan, np.nan, int(Flag.LOW_WEIGHT)


def common_variance(grid: SquareGrid, centers: Float64, spectra: Calibration) -> Float32:
    """(k, size, size) variance that all planes share, moved as the planes are: `centers` (k, 2)."""
    given = np.asarray(spectra.arrays["variance_common"], np.float32)
    images = empty_planes(given.shape[1], grid.size)
    one_plane(grid, centers, (np.zeros_like(given), given, np.zeros(given.shape, np.uint16)), images)
    return images[1]


def empty_planes(channels: int, size: int) -> Planes:
    """Room for one plane's images."""
    shape = (channels, size, size)
    return np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16)


def copied(spectra: Calibration) -> dict[str, NDArray[Any]]:
    """Coordinates of the spectra that a cube keeps."""
    return {name: spectra.arrays[name] for name in FROM_SPECTRA if name in spectra.arrays}


def resampling(grid: SquareGrid) -> Float32:
    """(dy, dx) correlation that the areas bring."""
    return np.asarray(correlation(grid, LAGS), np.float32)


def channel_correlation(spectra: Calibration) -> list[float]:
    """Median correlation of a channel's noise with those 1, 2, ... channels redder; empty where spectra say none."""
    found = spectra.arrays.get("correlation")
    if found is None:
        return []
    values = np.asarray(found, np.float64).reshape(len(found), -1)
    return [round(float(np.nanmedian(one)), 4) if np.isfinite(one).any() else 0.0 for one in values]


def attributes(spectra: Calibration, scale: Scale) -> dict[str, Any]:
    """What a rectified cube says of itself; JSON values."""
    orientation = load_tables().ifs.orientation(float(np.asarray(spectra.arrays["time"], np.float64)[0]))
    kept = (
        "not corrected, nor is it known how the common path's anamorphism lies in the field of the IFS: sky over pixel "
        f"may differ by {orientation.anamorphism_x:g} along x and {orientation.anamorphism_y:g} along y"
    )
    done = f"corrected in the resampling: {scale.anamorphism[0]:g} along x, {scale.anamorphism[1]:g} along y"
    attrs: dict[str, Any] = {name: spectra.attrs[name] for name in SAID_OF_SPECTRA if name in spectra.attrs}
    attrs |= {
        "anamorphism_convention": kept if scale.anamorphism == (1.0, 1.0) else done,
        "resampling": "areas of overlap of hexagonal lenslets with square pixels, one resampling, not derotated",
        "flux_convention": "adu/s per channel and pixel: sums over the field are those of the lenslets",
        "variance_of_sum": (
            "variance of sum(w q) = sum over pixels p and lags d (both signs) of w_p w_(p+d) sqrt(v_p v_(p+d)) "
            "resampling_correlation(|dy|, |dx|); over many pixels: sum of variance times the sum of "
            "resampling_correlation over all lags. Along channels: channel_correlation for lags 1, 2, ..., exactly in "
            "`correlation` of the spectra. variance_common is correlated in the same way"
        ),
        "channel_correlation": channel_correlation(spectra),
        "pixel_scale_error_mas": load_tables().ifs.lenslets.pixel_error_mas,
    }
    return attrs
