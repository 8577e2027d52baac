"""Relative flux of science planes from the amplitude of their fine structure (notes/irdis 4.5 a and b).

Coherent light, speckles and waffle spots alike, scales with transmission x Strehl, as a companion does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.photometry import WAFFLE_NOISE, shrunk, speckle_noise
from archive_proc.kernels.registration import Registered
from archive_proc.recipes.irdis.centers import roles_of
from archive_proc.recipes.irdis.looks import science_role
from archive_proc.recipes.recipe import Arrays, RecipeInputs

Float64 = NDArray[np.float64]

FEWEST_PLANES = 3
"""Science planes below which the scatter of amplitudes says nothing about them."""
PRIOR_PLANES = 8.0
"""How many planes' worth of trust the expected scatter has against that of the amplitudes."""


@dataclass(frozen=True, slots=True)
class Amplitude:
    """Amplitude of the fine structure in science planes, (n, 2); NaN in others and where none was found."""

    value: Float64
    """Over the common reference's."""
    error: Float64
    """As a fit."""


def speckle_amplitude(inputs: RecipeInputs, rows: Arrays, common: Registered | None) -> Amplitude:
    """How bright each science plane's fine structure is: coherent light scales with transmission x Strehl."""
    value, error = np.full((2, *rows["brightness"].shape), np.nan)
    if common is None:
        return Amplitude(value, error)
    shard = rows["reference_of"]
    good = rows["registered"] & (shard >= 0) & (roles_of(inputs) == science_role(inputs))
    for plane in np.flatnonzero(good):
        against = common.shifts[int(shard[plane])]
        if against.good:
            value[plane] = rows["brightness"][plane] * against.brightness
            error[plane] = rows["brightness_error"][plane] * against.brightness
    known = np.isfinite(value) & np.isfinite(error)
    return Amplitude(np.where(known, value, np.nan), np.where(known, error, np.nan))


def put_amplitudes(
    inputs: RecipeInputs,
    amplitude: Amplitude,
    science: NDArray[np.bool_],
    expected_scatter: float,
    out: tuple[Float64, Float64, NDArray[np.str_]],
) -> None:
    """Science planes' factors from their amplitudes, into `out` (factor, error, method) in place."""
    factor, error, method = out
    closed = np.array(["OPEN" not in (one.ao_ir or "").upper() for one in inputs.frames])[inputs.planes.file]
    here = science & closed
    seen = here[:, None] & np.isfinite(amplitude.value)
    if (seen & inputs.planes.usable[:, None]).sum() < 2 * FEWEST_PLANES or not closed[science].all():
        return
    waffle = science_role(inputs) == "CENTER"
    optics = load_tables().irdis.filter(inputs.frames[0].inst_filter)
    usable = inputs.planes.usable & here
    for half in range(2):
        floor = WAFFLE_NOISE if waffle else speckle_noise(optics.wavelength_um[half])
        where = seen[:, half]
        judging = where & usable
        fit = float(np.median(amplitude.error[judging, half])) if judging.any() else 0.0
        one = np.where(seen, amplitude.value, np.nan)[:, half : half + 1]
        noise = float(np.hypot(floor, fit))
        judged = shrunk(one, usable, noise, expected_scatter, prior_planes=PRIOR_PLANES)
        factor[where, half], error[where, half] = judged.factor[where, 0], judged.error[where, 0]
        method[where, half] = "waffle" if waffle else "speckles"
