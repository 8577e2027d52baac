"""Dispersion along a spectrum: a direct-vision prism of three glasses, by their Sellmeier formulae.

The displacement is a sum of refractive indices times constants of the mode, so it is no polynomial in the wavelength
or its logarithm. The constants make the laser offsets and the length of the spectrum those of notes/ifs.md 1 and 6.3;
the dispersions listed there follow to 0.1 nm/px.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.simulate.ifs.facts import Mode

GLASSES = (
    ((1.73759695, 0.313747346, 1.89878101), (0.013188707, 0.0623068142, 155.23629)),
    ((1.03961212, 0.231792344, 1.01046945), (0.00600069867, 0.0200179144, 103.560653)),
    ((0.5675888, 0.4710914, 3.8484723), (0.00252643, 0.010078333, 1200.556)),
)
"""Sellmeier B and C (um^2) of N-SF11 and N-BK7 (Schott) and of CaF2 (Malitson 1963)."""
REFERENCE_NM = 987.72
"""Displacement 0."""


def refractive_index(glass: int, wavelength_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Index of one of GLASSES, same shape as the wavelengths."""
    square = (wavelength_nm / 1000.0) ** 2
    b, c = GLASSES[glass]
    return np.asarray(np.sqrt(1.0 + sum(bi * square / (square - ci) for bi, ci in zip(b, c, strict=True))))


def displacement_px(mode: Mode, wavelength_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels along +y from the place of 987.72 nm, at the field's centre."""
    wavelength = np.asarray(wavelength_nm, np.float64)
    origin = np.array([REFERENCE_NM])
    total = np.zeros_like(wavelength)
    for glass, weight in enumerate(mode.glasses):
        total += weight * (refractive_index(glass, wavelength) - refractive_index(glass, origin)[0])
    return total
