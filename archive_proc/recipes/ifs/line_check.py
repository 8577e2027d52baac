"""The wavelength check that is not circular: the laser frame extracted as science is, and its lines looked at.

Every twentieth lenslet is extracted with those whose spectra overlap with its own, by the solution and PSFlets under
test, without lenslet flat and without rejection of outliers, with the weaker prior of the preset `ifs_line` (notes/ifs
6.6, 8). A line's centre is found with a Gaussian window that follows it.

Channels as wide as the resolution draw a line by some hundredths of a channel, wherever it stands. The frame as the
solution has it is therefore extracted beside the real one: what the two differ by is the solution's error alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.exposures import LAMP_ERROR
from archive_proc.kernels.lenslets import OVERLAPPING
from archive_proc.kernels.psflet_equations import Spots
from archive_proc.kernels.psflets import PsfletModel
from archive_proc.recipes.ifs.solutions import Solution

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

EVERY = 20
"""One complete lenslet of so many is extracted."""
LINE_MU = 0.03
"""Strength of the smoothness prior of `ifs_line`."""
SWEEPS = 10
_WINDOW = 1.3
"""Standard deviation of the window that follows a line, channels."""
_TURNS = 8
_FAINT = 0.3
"""Of the median line: fainter ones are no lines."""
_BRIGHT_PERCENTILE = 98.0
"""Of the pixels: the light that LAMP_ERROR is a share of."""
_ASTRAY = 2.0
"""Channels that a line may stand from its place at most."""


@dataclass(frozen=True, slots=True)
class LineCheck:
    """The lines of the lenslets that were extracted."""

    checked: NDArray[np.int32]
    """(k,) positions along the solution's lenslets."""
    offset_nm: Float64
    """(k, lasers) line minus laser; NaN where there is no line."""
    expected_nm: Float64
    """(k, lasers) the same where the solution is right."""

    @property
    def offset(self) -> float:
        """Largest distance of a laser's median line from its wavelength, nm; NaN without any line."""
        return float(np.nanmax(np.abs(self._medians()))) if self._known.any() else float("nan")

    @property
    def displacement(self) -> float:
        """Largest distance of a laser's median line from where a right solution has it, nm; NaN without any line."""
        away = LineCheck(self.checked, self.offset_nm - self.expected_nm, np.zeros_like(self.expected_nm))
        return away.offset

    @property
    def scatter(self) -> float:
        """Largest robust standard deviation of a laser's lines over the lenslets, nm; NaN without any line."""
        if not self._known.any():
            return float("nan")
        away = np.abs(self.offset_nm - self._medians()[None, :])
        return 1.4826 * max(float(np.median(one[np.isfinite(one)])) for one in away.T if np.isfinite(one).any())

    @property
    def missing(self) -> float:
        """Share of the lenslets that lack a line."""
        return float(np.mean(~self._known.all(axis=1))) if len(self.offset_nm) else 1.0

    @property
    def _known(self) -> NDArray[np.bool_]:
        return np.isfinite(self.offset_nm)

    def _medians(self) -> Float64:
        columns = [one[np.isfinite(one)] for one in self.offset_nm.T]
        return np.array([np.median(one) if one.size else np.nan for one in columns])


def check_lines(
    light: Float32,
    usable: NDArray[np.bool_],
    noise: Float32,
    solution: Solution,
    psflets: PsfletModel,
    spots: Spots,
    edges_um: Float64,
) -> LineCheck:
    """Extract lenslets of a laser frame and find their lines.

    `light` (ny, nx) electrons; `noise` (ny, nx) variance without the spots' photons; `spots` of the solution's
    lenslets, in their order: they tell the light of the lenslets that are not extracted, and the photons' noise.
    """
    from archive_proc.kernels.joint_fit import FitSettings, fit_spectra
    from archive_proc.kernels.microspectra import build_templates
    from archive_proc.kernels.psflet_equations import spot_image

    lenslets = solution.lenslets
    checked = np.flatnonzero(solution.complete)[::EVERY]
    around = (*OVERLAPPING, *((-q, -r) for q, r in OVERLAPPING))
    beside = lenslets.steps(around)[checked].ravel()
    chosen = np.zeros(len(lenslets), bool)
    chosen[checked] = True
    chosen[beside[beside >= 0]] = True
    everyone = spot_image(psflets, spots, light.shape)
    others = spot_image(psflets, _bright(spots, np.where(chosen[:, None], 0.0, spots.amplitude)), light.shape)
    # As `ifs_line` weighs them: what it makes of laser frames is what is tried here.
    error = LAMP_ERROR * max(float(np.percentile(everyone[::3, ::3][usable[::3, ::3]], _BRIGHT_PERCENTILE)), 0.0)
    weight = np.where(usable, 1.0 / (np.maximum(everyone, 0.0) + noise + error**2), 0.0).astype(np.float32)
    few = lenslets.choose(chosen)
    own = Spots(few.x, few.y, spots.wavelengths, solution.places(spots.wavelengths)[:, chosen], spots.amplitude[chosen])
    planes = np.stack([light - others, spot_image(psflets, own, light.shape)])
    places, wavelengths = solution.channel_steps(edges_um)
    templates = build_templates(psflets, (few.x, few.y), places[:, chosen], wavelengths, np.ones(wavelengths.shape))
    settings = FitSettings(mu=LINE_MU, sweeps=SWEEPS)
    fitted = fit_spectra(planes, weight, templates, settings=settings)
    number = (np.cumsum(chosen) - 1)[checked]
    edges = np.asarray(edges_um, np.float64)
    seen, expected = (
        line_offsets(np.asarray(fitted.flux[plane, number], np.float64), edges, spots.wavelengths) for plane in (0, 1)
    )
    return LineCheck(checked.astype(np.int32), seen, expected)


def _bright(spots: Spots, amplitude: Float64) -> Spots:
    return Spots(spots.x, spots.y, spots.wavelengths, spots.places, amplitude)


def line_offsets(flux: Float64, edges_um: Float64, lasers_um: Float64) -> Float64:
    """(k, lasers) nm: centre of each laser's line in spectra (k, channels) minus its wavelength; NaN: no line.

    The centre is where a Gaussian window as wide as the line is balanced; it starts at the laser's own wavelength.
    """
    middles = (edges_um[1:] + edges_um[:-1]) / 2
    step = float(np.diff(edges_um).mean())
    offsets = np.empty((len(flux), len(lasers_um)))
    for number, laser in enumerate(lasers_um):
        center = np.full(len(flux), laser)
        light = np.zeros(len(flux))
        for _ in range(_TURNS):
            away = middles[None, :] - center[:, None]
            seen = flux * np.exp(-0.5 * (away / (_WINDOW * step)) ** 2)
            light = seen.sum(axis=1)
            # The window draws the mean back to its own centre: for a line as wide as it, by half.
            with np.errstate(invalid="ignore", divide="ignore"):
                move = np.where(light > 0, 2.0 * (seen * away).sum(axis=1) / light, np.nan)
            center = center + np.clip(move, -step, step)
        with np.errstate(invalid="ignore"):
            lost = ~(light > _FAINT * np.median(light)) | ~(np.abs(center - laser) < _ASTRAY * step)
        offsets[:, number] = np.where(lost, np.nan, 1000.0 * (center - laser))
    return offsets
