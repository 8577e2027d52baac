"""Which background a main file gets, made ready: the same answer for tracks and science planes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import DataFailure
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.background import BackgroundBasis
from archive_proc.kernels.blocks import BLOCK, block_means, fill_nearest
from archive_proc.kernels.calibrate import (
    USELESS,
    DetectorLevel,
    UnlitPixels,
    detector_level,
    split_halves,
    unlit_pixels,
)
from archive_proc.kernels.sky import CHANGES, change_maps
from archive_proc.model.flags import Flag
from archive_proc.recipes.detector import true_dit
from archive_proc.recipes.recipe import Calibration, RecipeInputs

Float32 = NDArray[np.float32]

THERMAL_RATE = 5.0
"""ADU/s: how far sky light may be from an instrument background in K (2 to 7 measured, notes/irdis 3)."""
QUIET_RATE = 0.3
"""ADU/s: the same at shorter wavelengths, where the whole sky is a few tenths."""
UNEVEN, DISPLACED = 50.0, 5.0
"""How much less alike that light is to the instrument's than one sky to the next: in brightness, in place."""
FAINTEST_SHAPE = 20.0
"""ADU per DIT of instrument background from which on its shape is trusted."""
LEVEL_MODES = len(CHANGES) + 1
"""Maps of a basis without skies: even light, and what may change in the light of the background or the even one."""


@dataclass(frozen=True, slots=True)
class PlaneBackground:
    """Basis and detector facts for the planes of one file."""

    basis: BackgroundBasis
    method: str
    """sky_basis, instrument_background, dark, rate or unlit."""
    dither: tuple[float, float]
    """x, y pixels at which the basis was taken."""
    read_noise: float
    """ADU of one plane, typical."""
    flags: NDArray[np.uint16]
    """(2, 1024, 1024) static flags of flat, bad pixels and background."""
    unlit: UnlitPixels
    constrained: bool
    """False where thermal light is not measured by a sky (BACKGROUND_UNCONSTRAINED)."""
    sources: tuple[str, ...]
    """Product ids."""

    def shift(self, dither: tuple[float, float]) -> tuple[float, float]:
        """(x, y) pixels that the thermal pattern of a plane with this dither has moved against the basis."""
        return dither[0] - self.dither[0], dither[1] - self.dither[1]


def background_for(inputs: RecipeInputs, file: int) -> PlaneBackground:
    """The background of one main file.

    A sky basis where one serves the file; else the instrument background or dark of its DIT, or the rate from other
    DITs, with even, tilted and quadrupole light fitted on top; else the unlit pixels' level alone. Raises DataFailure
    AP-IRD-044 when planes of the star behind the mask in a thermal filter have no background at all.
    """
    frame = inputs.frames[file]
    thermal = load_tables().irdis.is_thermal(frame.inst_filter)
    response, flags = _flat(inputs, file)
    serving = inputs.serving("background", file)
    skies = [one for one in serving if one.product_type == "sky_basis"]
    if skies:
        return _from_sky(skies[0], response, flags)
    if not serving and thermal and inputs.frame_roles[file] != "FLUX":
        raise DataFailure(
            "AP-IRD-044",
            f"no sky, instrument background or dark of DIT {frame.dit_s:g} s for {frame.inst_filter}, whose thermal "
            "light is far above the star's",
            subject=frame.file_id,
            remedy="ingest the SKY files of the observation, or a DARK,BACKGROUND of the same DIT and filter",
        )
    return _from_levels(serving, response, flags, true_dit(frame), thermal)


def _flat(inputs: RecipeInputs, file: int) -> tuple[Float32, NDArray[np.uint16]]:
    """Response (0 where not lit) and static flags, halves."""
    flat = inputs.serving("flat", file)[0].arrays
    flags = split_halves(np.asarray(flat["flags"], np.uint16)).copy()
    for one in inputs.serving("bad_pixels", file):
        flags |= split_halves(np.asarray(one.arrays["flags"], np.uint16))
    return np.nan_to_num(np.ascontiguousarray(split_halves(np.asarray(flat["response"], np.float32)))), flags


def _from_sky(sky: Calibration, response: Float32, flags: NDArray[np.uint16]) -> PlaneBackground:
    arrays, attrs = sky.arrays, sky.attrs
    flags |= split_halves(np.asarray(arrays["flags"], np.uint16))
    basis = BackgroundBasis(
        level=_finite(arrays["level"]),
        response=response,
        first_mode=fill_nearest(np.asarray(arrays["first_mode"], np.float64)),
        modes=fill_nearest(np.asarray(arrays["modes"], np.float64)),
        scale_sigma=np.asarray(arrays["scale_sigma"], np.float64),
        mode_sigma=np.asarray(arrays["mode_sigma"], np.float64),
    )
    return PlaneBackground(
        basis=basis,
        method="sky_basis",
        dither=(float(attrs["dither_x"]), float(attrs["dither_y"])),
        read_noise=float(attrs["read_noise_adu"]),
        flags=flags,
        unlit=unlit_pixels(flags),
        constrained=True,
        sources=(sky.product_id,),
    )


def _from_levels(
    serving: tuple[Calibration, ...], response: Float32, flags: NDArray[np.uint16], dit_s: float, thermal: bool
) -> PlaneBackground:
    level: Float32
    detector = load_tables().irdis.detector
    noise = detector.read_noise_e / detector.gain_e_per_adu
    if serving:
        found = detector_level(dit_s, [_level(one) for one in serving])
        level = _finite(found.level)
        flags |= split_halves(found.flags)
        noise = float(np.median(found.read_noise))
        method = "rate" if found.method != "match" else serving[0].product_type
    else:
        level, method = np.zeros_like(response), "unlit"
    light = (THERMAL_RATE if thermal else QUIET_RATE) * dit_s
    norm = response.shape[-1] // BLOCK
    even = np.ones((2, norm, norm))
    # What comes from ahead of the instrument passes the same vignetting as the instrument's own light.
    shape = _shape(level, response, flags) if method == "instrument_background" and thermal else even
    changes, spread = change_maps(shape)
    looseness = np.array([DISPLACED if name.startswith("moved") else UNEVEN for name in CHANGES])
    basis = BackgroundBasis(
        level=level,
        response=response,
        first_mode=shape,
        modes=np.concatenate([even[None] / norm, changes]),
        scale_sigma=np.full(2, light),
        mode_sigma=np.concatenate([np.full((1, 2), light * norm / 2.0), spread * looseness[:, None] * light]),
    )
    return PlaneBackground(
        basis=basis,
        method=method,
        dither=(0.0, 0.0),
        read_noise=noise,
        flags=flags,
        unlit=unlit_pixels(flags),
        constrained=not thermal,
        sources=tuple(one.product_id for one in serving),
    )


def _shape(level: Float32, response: Float32, flags: NDArray[np.uint16]) -> NDArray[np.float64]:
    """(2, by, bx) light of a background above its unlit pixels, after the flat, mean 1; even where there is none."""
    good = (response > 0) & ((flags & (USELESS | int(Flag.OUTSIDE))) == 0)
    unlit = (flags & (USELESS | int(Flag.OUTSIDE | Flag.EDGE))) == int(Flag.OUTSIDE)
    side = response.shape[-1] // BLOCK
    shape = np.ones((2, side, side))
    for half in range(2):
        pedestal = float(np.median(level[half][unlit[half]])) if unlit[half].any() else 0.0
        inverse = np.where(good[half], 1.0 / np.where(good[half], response[half], 1.0), 0.0).astype(np.float32)
        means, _ = block_means((level[half] - np.float32(pedestal)) * inverse, good[half])
        mean = float(np.nanmean(means)) if np.isfinite(means).any() else 0.0
        # Fainter light than this has no shape to speak of.
        if mean > FAINTEST_SHAPE:
            shape[half] = fill_nearest(means) / mean
    return shape


def _level(one: Calibration) -> DetectorLevel:
    return DetectorLevel(
        dit_s=float(one.attrs["dit_s"]),
        level=np.asarray(one.arrays["level"]),
        variance=np.asarray(one.arrays["variance"]),
        read_noise=np.asarray(one.arrays["read_noise"]),
        flags=np.asarray(one.arrays["flags"]),
    )


def _finite(level: NDArray[np.float32]) -> Float32:
    halves: Float32 = np.nan_to_num(np.ascontiguousarray(split_halves(np.asarray(level, np.float32))))
    return halves
