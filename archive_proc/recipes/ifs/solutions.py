"""What the wavelength recipe leaves to the others, between products and values: where light falls, and how it spreads.

Whoever extracts spectra joins lenslets of several products by (hex_q, hex_r) and asks a `Solution` for the places of
wavelengths, a `PsfletModel` for the shape of a spot; nobody else reads the products' arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.dispersion import FIELD_SCALE, REFERENCE_UM, Dispersion
from archive_proc.kernels.lenslets import Lenslets
from archive_proc.kernels.psflets import PsfletModel
from archive_proc.recipes.recipe import Array, Calibration, ProductContent

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

STEPS = 6
"""Wavelengths inside a channel that its template averages over (notes/ifs 6.4)."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Where the light of n lenslets falls: one wavelength solution."""

    mode: str
    """`YJ` or `YJH`, as instruments/ifs.toml names modes."""
    dispersion: Dispersion
    lenslets: Lenslets
    """All that see light and reach the detector: incomplete ones contaminate their neighbours."""
    complete: Mask
    """(n,) the whole spectrum is on the detector: these are published."""
    throughput: Float64
    """(n,) brightness of its laser spots over that of its surroundings."""
    offset: Float64 | None = None
    """(2, n) px, x and y: what each lenslet's own place, at all wavelengths, is off the smooth model; None: nothing."""

    def channel_steps(self, edges_um: Float64, steps: int = STEPS) -> tuple[Float64, Float64]:
        """Detector places and wavelengths of `steps` equal steps inside each of m channels.

        `edges_um` (m + 1,) um; returns (2, n, m, steps) x and y, px, and (m, steps) um: middles of the steps.
        """
        wavelengths = inside_channels(edges_um, steps)
        places = self.places(wavelengths.ravel())
        return places.reshape(2, len(self.lenslets), *wavelengths.shape), wavelengths

    def places(self, wavelengths_um: Float64, members: NDArray[np.intp] | slice = slice(None)) -> Float64:
        """(2, n, m) detector x and y of lenslets at m wavelengths, px, with what each lenslet is off the map."""
        places = self.dispersion.positions(self.lenslets.x[members], self.lenslets.y[members], wavelengths_um)
        return places if self.offset is None else places + self.offset[:, members, None]


def inside_channels(edges_um: Float64, steps: int = STEPS) -> Float64:
    """(m, steps) um: middles of equal steps inside each of the m channels between `edges_um` (m + 1,)."""
    edges = np.asarray(edges_um, np.float64)
    return np.asarray(edges[:-1, None] + (np.arange(steps) + 0.5) / steps * np.diff(edges)[:, None])


def read_solution(calibration: Calibration) -> Solution:
    """The solution of an `ifs_wavelength_solution`."""
    arrays = calibration.arrays
    lenslets = Lenslets(
        np.asarray(arrays["hex_q"], np.int32),
        np.asarray(arrays["hex_r"], np.int32),
        np.asarray(arrays["lenslet_x"], np.float64),
        np.asarray(arrays["lenslet_y"], np.float64),
    )
    return Solution(
        mode=str(calibration.attrs["mode"]),
        dispersion=Dispersion(np.asarray(arrays["coefficients"], np.float64)),
        lenslets=lenslets,
        complete=np.asarray(arrays["complete"], bool),
        throughput=np.asarray(arrays["throughput"], np.float64),
        offset=np.array([arrays["offset_x"], arrays["offset_y"]], np.float64),
    )


# Any: attributes are JSON values.
def solution_content(solution: Solution, measured: Mapping[str, Array], attrs: Mapping[str, Any]) -> ProductContent:
    """The product `ifs_wavelength_solution`.

    `measured` holds the arrays that only people look at: lasers, spots, residuals, line check.
    """
    lenslets = solution.lenslets
    offset = np.zeros((2, len(lenslets))) if solution.offset is None else solution.offset
    arrays: dict[str, Array] = {
        "coefficients": solution.dispersion.coefficients,
        "hex_q": lenslets.q,
        "hex_r": lenslets.r,
        "lenslet_x": lenslets.x,
        "lenslet_y": lenslets.y,
        "complete": solution.complete,
        "throughput": solution.throughput,
        "offset_x": offset[0],
        "offset_y": offset[1],
    }
    # The attributes let someone with nothing but the product evaluate the polynomial.
    law = {"mode": solution.mode, "reference_um": REFERENCE_UM, "field_scale_pitches": FIELD_SCALE}
    return ProductContent({**arrays, **measured}, {**law, **attrs})


def read_psflets(calibration: Calibration) -> PsfletModel:
    """The PSFlets of an `ifs_psflets`."""
    low, high = calibration.attrs["colour_um"]
    return PsfletModel(
        terms=np.asarray(calibration.arrays["terms"], np.float64),
        powers=np.asarray(calibration.arrays["powers"], np.int64),
        colour_um=(float(low), float(high)),
        orthonormal=np.asarray(calibration.arrays["orthonormal"], np.float64),
    )


# Any: attributes are JSON values.
def psflets_content(model: PsfletModel, attrs: Mapping[str, Any]) -> ProductContent:
    """The product `ifs_psflets`."""
    arrays: dict[str, Array] = {
        "terms": model.terms.astype(np.float32),
        "powers": model.powers.astype(np.int32),
        "orthonormal": model.orthonormal,
    }
    return ProductContent(arrays, {"colour_um": list(model.colour_um), **attrs})
