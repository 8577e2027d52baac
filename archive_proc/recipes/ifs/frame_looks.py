"""What the planes of CENTER and FLUX frames show; looked at once, in order of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.registration import Patch
from archive_proc.model.flags import Flag
from archive_proc.recipes.ifs.squares import Planes
from archive_proc.recipes.ifs.star_light import StarLight, light_of
from archive_proc.recipes.ifs.track_looks import Field, StarSeen, field_of, patch_of, star_of, waffle_of
from archive_proc.recipes.ifs.track_planes import PlaneList
from archive_proc.recipes.ifs.track_sweep import put_waffle, waffle_rows
from archive_proc.recipes.recipe import Array, Calibration

SATURATED_SHARE = 0.02
"""Of a star's elements within `SATURATED_REACH` flagged SATURATED: beyond it the plane's star is clipped."""
SATURATED_REACH = 1.5
"""lambda / D."""


@dataclass(frozen=True, slots=True)
class FrameLooks:
    """Planes of frames that are not of the main product; positions are rows of the plane list."""

    center_planes: NDArray[np.int64]
    waffles: dict[str, Array]
    """As `waffle_rows`, one row a CENTER plane."""
    patches: tuple[Patch, ...]
    """Fine structure of each CENTER plane."""
    flux_planes: NDArray[np.int64]
    stars: tuple[StarSeen | None, ...]
    lights: tuple[StarLight | None, ...]
    saturated: NDArray[np.bool_]
    """(flux planes,)"""


def look_at_frames(planes: PlaneList) -> FrameLooks:
    """Look at every plane of the list that is not of the main product."""
    fields: dict[int, Field] = {}

    def field(product: Calibration) -> Field:
        return fields.setdefault(id(product), fields.get(id(product)) or field_of(product))

    center = np.flatnonzero((planes.frame_type == "CENTER") & ~planes.science)
    flux = np.flatnonzero(planes.frame_type == "FLUX")
    patches: list[Patch] = []
    waffles: dict[str, Array] = {}
    for place, plane in enumerate(center):
        one = planes.frames[plane]
        if one is None:
            raise AssertionError("a plane of a frame is of no frame")
        here, spectra = field(one.product), one.spectra
        images = here.witness_images(spectra)
        waffles = waffles or waffle_rows(center.size, here.optics.wavelength_um.size)
        put_waffle(waffles, place, waffle_of(here, spectra, images))
        patches.append(patch_of(here, images))
    stars: list[StarSeen | None] = []
    lights: list[StarLight | None] = []
    saturated = np.zeros(flux.size, bool)
    for place, plane in enumerate(flux):
        one = planes.frames[plane]
        if one is None:
            raise AssertionError("a plane of a frame is of no frame")
        here, spectra = field(one.product), one.spectra
        star = star_of(here, spectra)
        stars.append(star)
        lights.append(None if star is None else light_of(here, spectra, star, one.product.attrs))
        saturated[place] = star is not None and _is_saturated(here, spectra, star)
    return FrameLooks(
        center,
        waffles or waffle_rows(0, 1),
        tuple(patches),
        flux,
        tuple(stars),
        tuple(lights),
        saturated,
    )


def _is_saturated(field: Field, spectra: Planes, star: StarSeen) -> bool:
    away = np.hypot(
        field.places[0][:, None] - star.center[None, :, 0], field.places[1][:, None] - star.center[None, :, 1]
    )
    near = away < SATURATED_REACH * field.optics.lambda_d[None, :]
    clipped = (spectra[2] & np.uint16(Flag.SATURATED)) != 0
    return bool((clipped & near).sum() > SATURATED_SHARE * max(int(near.sum()), 1))
