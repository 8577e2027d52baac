"""The detector as the masters of one process know it: from loaded calibrations to the kernels' `Detector`.

Read noise and pedestal come from the best witness there is: a dark of the DIT, else the instrument background less its
photon noise, else the background's unlit pixels and the instrument table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.calibrate import (
    USELESS,
    Detector,
    DetectorLevel,
    UnlitPixels,
    detector_level,
    split_halves,
    unlit_pixels,
)
from archive_proc.model.flags import Flag
from archive_proc.recipes.detector import true_dit
from archive_proc.recipes.irdis.scenes import scene_of
from archive_proc.recipes.recipe import Calibration, RecipeInputs

Float32 = NDArray[np.float32]
Flags = NDArray[np.uint16]

LEAST_LIGHT = 25.0
"""ADU: outputs differ by 7 ADU rms, and the unlit pixels of a half lie in some of them only."""


def halves_of(calibration: Calibration, name: str) -> NDArray[np.float32]:
    """A float array of a master as halves (2, 1024, 1024), contiguous."""
    return np.ascontiguousarray(split_halves(np.asarray(calibration.arrays[name], np.float32)))


def flags_of(calibration: Calibration) -> Flags:
    """The flags of a master as halves (2, 1024, 1024)."""
    return np.ascontiguousarray(split_halves(np.asarray(calibration.arrays["flags"], np.uint16)))


def levels_of(calibrations: Sequence[Calibration]) -> list[DetectorLevel]:
    """Masters that hold a level at one DIT, as halves; a sky basis has no read noise of its own (NaN)."""
    found = []
    for one in calibrations:
        level = halves_of(one, "level")
        noise = halves_of(one, "read_noise") if "read_noise" in one.arrays else np.full_like(level, np.nan)
        found.append(DetectorLevel(float(one.attrs["dit_s"]), level, halves_of(one, "variance"), noise, flags_of(one)))
    return found


def level_for(inputs: RecipeInputs, file: int, role: str) -> DetectorLevel | None:
    """The level that a role's calibrations give one main file at its DIT, halves; None where the role is empty.

    A sky basis is the level itself, a dark of the DIT too; darks of other DITs give a rate (AP-IRD-001 where that
    fails).
    """
    serving = inputs.serving(role, file)
    if not serving:
        return None
    dit = true_dit(inputs.frames[file])
    skies = [one for one in serving if one.product_type == "sky_basis"]
    return levels_of(skies[:1])[0] if skies else detector_level(dit, levels_of(serving))


def detector_for(inputs: RecipeInputs, file: int) -> Detector:
    """The detector for the planes of one main file.

    Needs the roles `flat` and `bad_pixels`; `dark` and `background` where given. Raises DataFailure AP-IRD-010 when no
    flat serves the file.
    """
    frame = inputs.frames[file]
    tables = load_tables().irdis.detector
    flats, bad = inputs.serving("flat", file), inputs.serving("bad_pixels", file)
    if not flats:
        raise DataFailure(
            "AP-IRD-010",
            "no detector flat serves this file",
            subject=frame.file_id,
            remedy="`explain` the observation: role flat lists the candidates and why each was refused",
        )
    gain = float(frame.gain or tables.gain_e_per_adu)
    response = halves_of(flats[0], "response")
    flags = flags_of(bad[0]) if bad else flags_of(flats[0]).copy()
    dark, background = level_for(inputs, file, "dark"), level_for(inputs, file, "background")
    flags = flags.copy()
    for one in (dark, background):
        if one is not None:
            flags |= one.flags
    flags[~np.isfinite(response)] |= np.uint16(Flag.OUTSIDE)
    unlit = unlit_pixels(flags)
    witness = dark or background
    # A dark has no light, however its outputs' levels differ.
    lightless = dark is not None and all(one.product_type == "dark" for one in inputs.serving("dark", file))
    pedestal, noise = _pedestal_and_noise(witness, flags, gain, tables.read_noise_e / gain, lightless=lightless)
    unmeasured = witness is None or not np.isfinite(witness.read_noise).all()
    slopes = flats[0].attrs.get("nonlinearity_per_adu") or (0.0, 0.0)
    return Detector(
        dit_s=true_dit(frame),
        gain=gain,
        pedestal=pedestal,
        read_noise=noise,
        response=response,
        response_variance=halves_of(flats[0], "variance"),
        flags=flags,
        unlit=unlit,
        nonlinearity=(float(slopes[0]), float(slopes[1])),
        soft_limit=tables.soft_limit_adu,
        hard_limit=tables.hard_limit_adu,
        lambda_d=scene_of(frame).lambda_d,
        unlit_level_variance=_unlit_variance(background or dark, unlit) if unmeasured else None,
    )


def _unlit_variance(level: DetectorLevel | None, unlit: UnlitPixels) -> tuple[float, float]:
    """Median variance of the subtracted level over each half's unlit pixels, ADU^2."""
    if level is None:
        return (0.0, 0.0)
    found = []
    for half in range(2):
        where = [pixels for of, _, _, pixels in unlit.sections if of == half]
        found.append(float(np.median(level.variance.reshape(-1)[np.concatenate(where)])) if where else 0.0)
    return (found[0], found[1])


def _pedestal_and_noise(
    witness: DetectorLevel | None, flags: Flags, gain: float, table_noise: float, *, lightless: bool
) -> tuple[Float32, Float32]:
    """Level without light, and read noise without the photon noise of the witness's own light, (2, ny, nx) ADU.

    `lightless`: the witness is a dark. Else its light shows as a level above the unlit pixels', which lie in few of the
    outputs: less than `LEAST_LIGHT` cannot be told from how outputs differ, and its photon noise is in the noise as
    measured.
    """
    if witness is None:
        return np.zeros(flags.shape, np.float32), np.full(flags.shape, table_noise, np.float32)
    dark = ((flags & int(Flag.OUTSIDE)) != 0) & ((flags & (USELESS | int(Flag.EDGE))) == 0)
    pedestal, noise = witness.level.copy(), witness.read_noise.copy()
    for half in range(len(flags)):
        unlit = float(np.median(witness.level[half][dark[half]])) if dark[half].any() else 0.0
        lit = float(np.median(witness.level[half][~dark[half]]))
        known = np.isfinite(noise[half])
        # A noise that nobody measured (a sky basis has none) holds no photons either: all light counts then.
        shines = not lightless and (lit - unlit > LEAST_LIGHT or not known.all())
        if shines or not known.all():
            light = np.maximum(witness.level[half] - unlit, 0.0) / np.float32(gain) if shines else np.float32(0.0)
            spread = float(np.median(noise[half][dark[half]])) if known.all() and dark[half].any() else table_noise
            if shines:
                pedestal[half] = unlit
            own = noise[half] ** 2 - light if known.all() else np.zeros_like(noise[half])
            noise[half] = np.sqrt(np.maximum(own, np.float32(spread) ** 2))
    return pedestal, noise
