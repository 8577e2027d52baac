"""The one sweep of `ifs_tracks` over the science planes: spots where they have them, fine structure aligned by shard.

Planes of a shard are aligned among themselves, so only their common reference need be kept: summaries stay small
however long the sequence is, and do not depend on chunks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.point_sources import clear_of_sources
from archive_proc.kernels.registration import Patch, register_stack, ring
from archive_proc.kernels.waffle_cube import CubeWaffle
from archive_proc.recipes.ifs.squares import Planes, spectra_of
from archive_proc.recipes.ifs.track_looks import STAMP, Field, Pair, field_of, guess_of, patch_of, waffle_of
from archive_proc.recipes.recipe import Array, Arrays, Block, BlockOutput, RecipeInputs

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]


def waffle_rows(n: int, channels: int) -> dict[str, Array]:
    """What waffle fits leave of n planes, nothing found yet."""
    return {
        "center": np.full((n, channels, 2), np.nan),
        "center_error": np.full((n, 2), np.nan),
        "closure": np.full((n, channels), np.nan),
        "spot_flux": np.full((n, channels), np.nan),
        "spots": np.full((n, channels, 4, 2), np.nan),
        "waffle": np.full((n, 2), np.nan),
        "channels_used": np.zeros(n),
    }


def put_waffle(rows: dict[str, Array], index: int, fit: CubeWaffle | None) -> None:
    """Write one plane's fit into its row; lengths stay pitches."""
    if fit is None:
        return
    rows["center"][index], rows["center_error"][index] = fit.center, fit.error
    rows["closure"][index], rows["spot_flux"][index] = fit.closure, fit.flux
    rows["spots"][index] = fit.spots
    rows["waffle"][index] = fit.radius_factor, fit.angle
    rows["channels_used"][index] = fit.used.sum()


def look(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """The summary of one shard of science planes; see the module's first lines."""
    main = spectra_of(inputs)
    field = field_of(main)
    n, channels, witnesses = len(block.planes), field.optics.wavelength_um.size, field.witnesses.size
    rows = waffle_rows(n, channels)
    usable = np.asarray(inputs.planes.usable, bool)[block.planes]
    patches: list[Patch] = []
    light = _Mean(field)
    with_spots = [_is_center(main.arrays["frame_type"][plane]) for plane in block.planes]
    for index in range(n):
        flux, variance, flags = (block.pixels[name][index] for name in ("flux", "variance", "flags"))
        spectra: Planes = (flux, variance, flags)
        images = field.witness_images(spectra)
        if with_spots[index]:
            put_waffle(rows, index, waffle_of(field, spectra, images))
        if usable[index]:
            light.add(images[0])
        patches.append(patch_of(field, images))
    guess = guess_of(field, light.value())
    star = guess or (float(field.scale.middle), float(field.scale.middle))
    mask = registration_mask(field, star)
    members = [patch for patch, good in zip(patches, usable, strict=True) if good]
    if members and not any(with_spots):
        mask &= clear_of_sources(members, *_stars(field, star))
    registered = register_stack(patches, np.zeros((n, 2)), mask, usable)
    references = np.zeros((0, 2, witnesses, STAMP, STAMP), np.float32)
    if usable.any():
        references = np.stack([registered.reference.values, registered.reference.weight])[None]
    rows |= {
        "planes": block.planes,
        "usable": usable,
        "guess": np.array([guess] if guess else [], np.float64).reshape(-1, 2),
        "shift": np.array([one.xy for one in registered.shifts]),
        "shift_error": np.array([one.error for one in registered.shifts]),
        "brightness": np.array([one.brightness for one in registered.shifts]),
        "brightness_error": np.array([one.brightness_error for one in registered.shifts]),
        "registered": np.array([one.good for one in registered.shifts]),
        "references": references.astype(np.float32),
    }
    return BlockOutput(rows)


def _is_center(frame_type: object) -> bool:
    return "CENTER" in str(frame_type).upper()


class _Mean:
    """Mean of the usable planes' witnesses, NaN where none has a value."""

    def __init__(self, field: Field) -> None:
        shape = (field.witnesses.size, field.scale.size, field.scale.size)
        self._total, self._count = np.zeros(shape), np.zeros(shape, np.int32)

    def add(self, images: Float32) -> None:
        known = np.isfinite(images)
        self._total += np.where(known, images, np.float32(0))
        self._count += known

    def value(self) -> Float32:
        known = self._count > 0
        return np.where(known, self._total / np.where(known, self._count, 1), np.nan).astype(np.float32)


def _stars(field: Field, star: Pair) -> tuple[list[Pair], list[float]]:
    """The star in the stamps' pixels, and lambda / D, of each witness."""
    inside = star[0] - field.corner, star[1] - field.corner
    return [inside] * field.witnesses.size, [float(one) for one in field.lambda_d[field.witnesses]]


def registration_mask(field: Field, star: Pair) -> Mask:
    """(witnesses, STAMP, STAMP) pixels that registration looks at; star in pixels of the field."""
    return ring(STAMP, *_stars(field, star))


def join_rows(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> dict[str, Array]:
    """Summaries of all shards as whole arrays in plane order, and which reference each plane's shift refers to."""
    joined = {key: np.concatenate([one[key] for one in summaries]) for key in summaries[0]}
    owner, count = [], 0
    for one in summaries:
        has = one["references"].shape[0]
        owner.append(np.full(one["planes"].shape[0], count if has else -1, np.int64))
        count += has
    joined["reference_of"] = np.concatenate(owner)
    return joined
