"""Raw IFS planes to electrons: level off, pixel response divided out, what is known about every pixel beside it.

Bad pixels are never repaired here: they keep their value and have weight zero (`good`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.calibrate import DetectorLevel, detector_level
from archive_proc.model.flags import Flag
from archive_proc.recipes.detector import true_dit
from archive_proc.recipes.recipe import Calibration, InputRole, RecipeInputs

Float32 = NDArray[np.float32]
Flags = NDArray[np.uint16]
Mask = NDArray[np.bool_]

FLAT_ROLE = "detector_flat_white"
BAD_ROLE = "bad_pixels"
OF_LEVEL, OF_FLAT = ("level", "variance", "read_noise", "flags"), ("response", "variance", "flags")
"""Images that `detector_masters` make their own of: kept beside, they would take a tenth of a worker's memory."""
DARK = InputRole("dark", ("dark", "instrument_background"), once=OF_LEVEL)
BACKGROUND = InputRole("background", ("instrument_background", "dark"), once=OF_LEVEL)
FLAT = InputRole(FLAT_ROLE, ("detector_flat",), once=OF_FLAT)
BAD_PIXELS = InputRole(BAD_ROLE, ("bad_pixels",), association_roles=(FLAT_ROLE,), without=("chi",), once=("flags",))
"""Roles of recipes that look at raw planes: DARK for lamps, BACKGROUND for the sky, FLAT and BAD_PIXELS for both."""

COLOURED_ROLES = ("detector_flat_nb1", "detector_flat_nb2", "detector_flat_nb3", "detector_flat_nb4")
COLOURED_FLATS = tuple(InputRole(role, ("detector_flat",), required=False, once=OF_FLAT) for role in COLOURED_ROLES)
"""Flats of the coloured lamps, which more than halve the noise of the white one's response where a recipe has them.

Laser spots do: their places hang on single pixels. Spectra do not: no figure of a simulated night changed with them
(bias 1.22 %, scatter of lenslets 0.245 and 0.243 %), and each takes 40 MB of every worker.
"""

BAD = int(Flag.DEAD | Flag.HOT | Flag.NOISY | Flag.NONLINEAR | Flag.NEW_BAD | Flag.OUTSIDE)
"""Flags of a master that give a pixel weight zero in every plane."""


@dataclass(frozen=True, slots=True)
class DetectorMasters:
    """The detector for the planes of one main file; arrays (ny, nx)."""

    dit_s: float
    gain: float
    """e-/ADU."""
    saturation_adu: float
    """Raw level beyond which a pixel is not used."""
    level: Float32
    """ADU per DIT without source light."""
    response: Float32
    """About 1; 1 where it is not known or the pixel is dead."""
    read_noise: Float32
    """ADU, standard deviation of one plane without source light: read noise and photons of the background."""
    flags: Flags
    """OR of what dark or background and the bad-pixel map say."""
    method: str
    """How the level came: `match`, or `rate_from_other_dits`."""

    typical_level: float
    """ADU per DIT, median of `level`."""
    common: tuple[float, float]
    """What all planes share of a typical pixel's variance: of its response; of its level, (ADU/s)^2."""


def detector_masters(
    inputs: RecipeInputs, file: int, dark_role: str = "dark", flat_role: str = FLAT_ROLE, bad_role: str = BAD_ROLE
) -> DetectorMasters:
    """The masters that serve one main file, at its DIT.

    Raises DataFailure AP-IFS-001 without a detector flat, AP-IFS-002 without dark or background, AP-IRD-001 where
    darks of other DITs cannot give a rate, AP-IFS-003 where a master has another shape than the file.
    """
    frame = inputs.frames[file]
    flats, darks = inputs.serving(flat_role, file), inputs.serving(dark_role, file)
    if not flats:
        raise DataFailure(
            "AP-IFS-001",
            "no detector flat serves this file",
            subject=frame.file_id,
            remedy=f"`explain` it: role {flat_role} lists the candidates and why each was refused",
        )
    if not darks:
        raise DataFailure(
            "AP-IFS-002",
            "no dark or background serves this file",
            subject=frame.file_id,
            remedy=f"`explain` it: role {dark_role} lists the candidates and why each was refused",
        )
    detector = load_tables().ifs.detector
    dit_s = true_dit(frame)
    alike = [one for one in darks if abs(float(one.attrs["dit_s"]) - dit_s) <= 0.01 * dit_s][:1]
    level = detector_level(dit_s, [_level_of(one) for one in alike or darks])
    bad = inputs.serving(bad_role, file) or flats
    lamps = [flats[0], *(one for role in COLOURED_ROLES for one in inputs.serving(role, file)[:1])]
    response, weight = _mean_response(lamps)
    flags = level.flags | np.asarray(bad[0].arrays["flags"], np.uint16)
    shape = (frame.naxis2 or detector.size_px, frame.naxis1 or detector.size_px)
    for name, found in (("dark or background", level.level.shape), ("detector flat", response.shape)):
        if found != shape:
            raise DataFailure(
                "AP-IFS-003",
                f"the {name} has {found[0]} x {found[1]} pixels, the file {shape[0]} x {shape[1]}",
                subject=frame.file_id,
                remedy="quarantine the file: the IFS reads out the whole detector",
            )
    flags[~(np.isfinite(response) & (response > 0))] |= np.uint16(Flag.DEAD)
    known = (flags & int(Flag.DEAD)) == 0
    # One pixel in nine tells as well as all.
    some = weight[known[::3, ::3]]
    of_level = float(np.median(level.variance[::3, ::3]))
    return DetectorMasters(
        dit_s=level.dit_s,
        gain=float(frame.gain or detector.gain_e_per_adu),
        saturation_adu=detector.saturation_adu,
        level=level.level,
        response=np.where(known, response, np.float32(1.0)),
        read_noise=level.read_noise,
        flags=flags,
        method=level.method if len(darks) > 1 else darks[0].method,
        typical_level=float(np.median(level.level[::4, ::4])),
        common=(1.0 / float(np.median(some)) if some.size else 0.0, of_level / level.dit_s**2),
    )


def _mean_response(lamps: Sequence[Calibration]) -> tuple[Float32, Float32]:
    """Weighted mean over lamps of a pixel's response; inverse variance of every third pixel of every third row.

    The colour term is smaller than the noise: on a simulated night the white lamp is wrong by 0.81 % a pixel, the mean
    of four lamps by 0.46 %, and a slope in wavelength for each pixel, held by the slopes' own scatter, by 0.46 % too.
    """
    total: Float32 = np.zeros((1, 1), np.float32)
    mean = total
    for one in lamps:
        variance = np.asarray(one.arrays["variance"], np.float32)
        weight = np.asarray(np.float32(1.0) / np.maximum(variance, np.float32(1e-12)), np.float32)
        total, mean = np.asarray(total + weight), np.asarray(mean + weight * one.arrays["response"])
    return np.asarray(mean / total, np.float32), total[::3, ::3].copy()


def _level_of(one: Calibration) -> DetectorLevel:
    arrays = one.arrays
    return DetectorLevel(
        dit_s=float(one.attrs["dit_s"]),
        level=np.asarray(arrays["level"], np.float32),
        variance=np.asarray(arrays["variance"], np.float32),
        read_noise=np.asarray(arrays["read_noise"], np.float32),
        flags=np.asarray(arrays["flags"], np.uint16),
    )


def electrons(raw: Float32, masters: DetectorMasters, gain: float | None = None) -> Float32:
    """Light in electrons per DIT, (n, ny, nx) or (ny, nx) float32: level off, response divided out.

    `raw` float32 ADU of the same shape; `gain` e-/ADU, None: the masters'. Bad pixels keep what comes out.
    """
    scale = np.float32(masters.gain if gain is None else gain) / masters.response
    return np.asarray((raw - masters.level) * scale, np.float32)


def noise_variance(masters: DetectorMasters, gain: float | None = None) -> Float32:
    """(ny, nx) float32 e-^2 of `electrons` where no source light falls: read noise and background, after the flat.

    The variance of a lit pixel is this plus its light's photons: light / response.
    """
    scale = np.float32(masters.gain if gain is None else gain) / masters.response
    return np.asarray((masters.read_noise * scale) ** 2, np.float32)


def good(masters: DetectorMasters) -> Mask:
    """(ny, nx) pixels with a weight in every plane."""
    return np.asarray((masters.flags & BAD) == 0)


def smooth_floor(masters: DetectorMasters) -> Float32:
    """(ny, nx) e-^2 where no source light falls, of the typical pixel: one measured on few planes is too rough.

    Median read noise of 64 px squares, divided by the pixel's own response.
    """
    exact = noise_variance(masters)
    step = load_tables().ifs.detector.output_columns_px
    ny, nx = exact.shape
    typical = float(np.median(exact[::3, ::3]))
    if ny % step or nx % step:
        return np.full_like(exact, typical)
    squares = exact.reshape(ny // step, step, nx // step, step)
    # The mean over good pixels: variances measured on two planes are right on average, and skew.
    keep = good(masters).reshape(squares.shape)
    keep &= squares < 8.0 * typical
    count = np.maximum(keep.sum(axis=(1, 3)), 1)
    mean = np.where(keep, squares, 0.0).sum(axis=(1, 3)) / count
    mean = np.where(count > step, mean, typical)
    return np.asarray(np.repeat(np.repeat(mean, step, axis=0), step, axis=1) / masters.response**2, np.float32)


def saturated(raw: Float32, masters: DetectorMasters) -> Mask:
    """(..., ny, nx) raw pixels beyond the detector's limit, and those that touch one: charge spills over."""
    full = raw > masters.saturation_adu
    if not full.any():
        return np.asarray(full)
    spilt = full.copy()
    spilt[..., 1:, :] |= full[..., :-1, :]
    spilt[..., :-1, :] |= full[..., 1:, :]
    spilt[..., 1:] |= full[..., :-1]
    spilt[..., :-1] |= full[..., 1:]
    return np.asarray(spilt)
