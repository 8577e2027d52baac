"""The star's position in every plane from what planes say by themselves: ties, transport, errors (notes/irdis 4.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.registration import Patch, Registered, register_one, register_stack
from archive_proc.kernels.waffle import spot_positions
from archive_proc.model.processes import Remark
from archive_proc.recipes.irdis.looks import SPOT_CLEARANCE, STAMP, science_role, stamp_ring, start_in_stamp
from archive_proc.recipes.irdis.scenes import Scene
from archive_proc.recipes.recipe import Array, Arrays, RecipeInputs

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
Roles = NDArray[np.str_]

BORROWED = 0.9
"""Pixels per axis, 11 mas: how far apart two acquisitions of one night put their stars. Assumed, from what is known of
one acquisition: its OBJECT planes stray by 8-12 mas from its CENTER (notes/irdis 4.3)."""
GUESS_ERROR = 4.0
"""Pixels: the star moves by this much over the years (notes/irdis 1)."""
JITTER = 0.35
"""Pixels per axis: star motion between planes that a CENTER cannot know, 3-5 mas (notes/irdis 3)."""
OPEN_LOOP_ERROR = 0.08
"""Pixels, 1 mas: motion against the mask when the differential tip-tilt loop is open (notes/irdis 4.4.4)."""
MASK_ERROR = 0.04
"""Pixels, 0.5 mas per axis: a fifth of the star's motion is against the mask even with the loop closed, and changes the
speckles that are followed (notes/irdis 4.4.4)."""
TRUSTED_SHIFT = 0.25
"""Pixels: a registration with a larger error is not better than transport."""
POOL = 4.0
"""How many planes' worth of trust the errors' rms has against one plane's own."""
TIE_FLOOR = 0.01
"""Pixels: no tie is known better than speckles allow."""


@dataclass(frozen=True, slots=True)
class Centers:
    """Rows of the product `center`: (n, 2 halves)."""

    x: Float64
    y: Float64
    x_error: Float64
    y_error: Float64
    method: NDArray[np.str_]
    remarks: tuple[Remark, ...]


def roles_of(inputs: RecipeInputs) -> Roles:
    """(n,) role of every plane."""
    return np.array(inputs.frame_roles)[inputs.planes.file]


def common_reference(inputs: RecipeInputs, rows: Arrays, scenes: list[Scene]) -> Registered | None:
    """The shards' references against their common one; None where no science plane was aligned."""
    if not rows["references"].shape[0]:
        return None
    first = np.flatnonzero(roles_of(inputs) == science_role(inputs))[0]
    mask = stamp_ring(scenes[int(inputs.planes.file[first])])
    patches = [Patch(one[0], one[1]) for one in rows["references"]]
    return register_stack(patches, np.zeros((len(patches), 2)), mask, np.ones(len(patches), bool))


def track(
    inputs: RecipeInputs, rows: Arrays, times: Float64, scenes: list[Scene], common: Registered | None
) -> Centers:
    """The star in every plane; `common` is the sequence's `common_reference`.

    rows: what `looks` summed up, joined in plane order; times: (n,) MJD; scenes: one a file. CENTER planes have their
    own fit, both halves tied together; OBJECT planes follow their speckles, tied to the CENTERs, else dither and
    interpolation in time; FLUX planes their own star. A CENTER of another acquisition says where its own star stood: it
    ties nothing, and is taken where there is no other. Without any CENTER the table's first guess and its error.
    """
    roles = roles_of(inputs)
    n = roles.size
    guess = np.array([scenes[file].guess for file in inputs.planes.file], np.float64).reshape(n, 2, 2)
    dither = np.array([scenes[file].dither for file in inputs.planes.file], np.float64).reshape(n, 2)
    xy, error = guess.copy(), np.full((n, 2, 2), GUESS_ERROR)
    method = np.full((n, 2), "first_guess", dtype="U16")
    remarks: list[Remark] = []
    flux = roles == "FLUX"
    found = np.isfinite(rows["center"]).all(axis=(1, 2))
    _put(xy, error, method, flux & found, rows["center"], rows["center_error"], "psf")
    xy[flux & ~found], error[flux & ~found] = np.nan, np.nan
    method[flux & ~found] = "none"
    spots = (roles == "CENTER") & found
    measured = spots & inputs.planes.usable
    trusted, lent = measured & ~inputs.borrowed(), measured & inputs.borrowed()
    anchors = trusted if trusted.any() else lent
    pooled = _pooled_errors(rows["center_error"], anchors)
    centers, center_error = _tie_halves(rows["center"], pooled, spots, anchors)
    behind = ~flux
    if anchors.any():
        carried, carried_error = _transport(centers - dither[:, None, :], center_error, times, anchors)
        word = "dither"
        if not trusted.any():
            word, carried_error = "borrowed", np.hypot(carried_error, BORROWED)
            remarks.append(_borrowed(inputs, lent, scenes))
        _put(xy, error, method, behind, carried + dither[:, None, :], carried_error, word)
    else:
        remarks.append(_no_center(roles))
    if common is not None and science_role(inputs) == "OBJECT":
        seen = (centers, center_error, trusted)
        _follow_speckles(inputs, rows, scenes, common, seen, (xy, error, method), remarks)
    _put(xy, error, method, spots, centers, center_error, "waffle")
    open_loop = np.array([_loop_is_open(inputs, int(file)) for file in inputs.planes.file])
    tracked = (open_loop & behind)[:, None] & (method != "waffle")
    error[tracked] = np.hypot(error[tracked], OPEN_LOOP_ERROR)
    return Centers(xy[..., 0], xy[..., 1], error[..., 0], error[..., 1], method, tuple(remarks))


def _put(
    xy: Float64, error: Float64, method: NDArray[np.str_], where: Mask, new: Float64, new_error: Float64, word: str
) -> None:
    xy[where], error[where], method[where] = new[where], new_error[where], word


def _borrowed(inputs: RecipeInputs, lent: Mask, scenes: list[Scene]) -> Remark:
    files = dict.fromkeys(inputs.frames[int(one)].file_id for one in inputs.planes.file[lent])
    away = np.hypot(BORROWED, JITTER) * scenes[0].optics[0].pixel_scale_mas
    what = f"centres are its star's, good to {away:.0f} mas per axis"
    return Remark("AP-IRD-059", f"the only CENTER is of another acquisition ({', '.join(files)}): {what}")


def _no_center(roles: Roles) -> Remark:
    why = "no waffle spots were found in any CENTER plane" if (roles == "CENTER").any() else "no CENTER frame"
    return Remark("AP-IRD-045", f"{why}: centres are the table's first guess, good to {GUESS_ERROR:g} pixels")


def _loop_is_open(inputs: RecipeInputs, file: int) -> bool:
    return "OPEN" in (inputs.frames[file].ao_ir or "").upper()


def _pooled_errors(error: Float64, trusted: Mask) -> Float64:
    """Errors (n, 2, 2) of waffle fits, each one's own two numbers drawn to the rms of trusted planes."""
    members = error[trusted]
    members = members[np.isfinite(members)]
    if not members.size:
        return error
    typical = float(np.mean(members**2))
    return np.where(np.isfinite(error), np.sqrt((error**2 + POOL * typical) / (1.0 + POOL)), np.sqrt(typical))


def _tie_halves(center: Float64, error: Float64, spots: Mask, trusted: Mask) -> tuple[Float64, Float64]:
    """Both halves see one star: a constant offset between them, and a common motion weighted by 1 / error^2.

    Errors are means, not less: the speckles under the spots are nearly the same in both halves and in all planes.
    """
    center, error = center.copy(), np.where(np.isfinite(error), error, 1.0)
    error = np.where(spots[:, None, None], np.maximum(error, TIE_FLOOR), np.nan)
    if trusted.sum() < 2:
        return center, error
    weight = 1.0 / (error[trusted] ** 2).sum(axis=1)
    apart = (weight * (center[trusted, 1] - center[trusted, 0])).sum(axis=0) / weight.sum(axis=0)
    w = 1.0 / error[spots] ** 2
    common = (w[:, 0] * center[spots, 0] + w[:, 1] * (center[spots, 1] - apart)) / w.sum(axis=1)
    shared = np.sqrt((w * error[spots] ** 2).sum(axis=1) / w.sum(axis=1))
    center[spots] = np.stack([common, common + apart], axis=1)
    error[spots] = shared[:, None, :]
    return center, error


def _transport(still: Float64, error: Float64, times: Float64, anchor: Mask) -> tuple[Float64, Float64]:
    """CENTERs without dither, interpolated to every plane's time (constant beyond them), with the motion unseen."""
    order = np.flatnonzero(anchor)[np.argsort(times[anchor], kind="stable")]
    out = np.stack(
        [
            np.stack([np.interp(times, times[order], still[order, half, axis]) for axis in range(2)], axis=-1)
            for half in range(2)
        ],
        axis=1,
    )
    typical = np.median(error[order], axis=0)
    return out, np.broadcast_to(np.hypot(typical, JITTER), out.shape).copy()


def _follow_speckles(
    inputs: RecipeInputs,
    rows: Arrays,
    scenes: list[Scene],
    common: Registered,
    seen: tuple[Float64, Float64, Mask],
    out: tuple[Float64, Float64, NDArray[np.str_]],
    remarks: list[Remark],
) -> None:
    """OBJECT planes: shift against the common reference, tied to the CENTERs (`seen`: their place, error, and which
    are trusted); changes `out` in place.
    """
    xy, error, method = out
    centers, center_error, trusted = seen
    scene = scenes[int(inputs.planes.file[np.flatnonzero(roles_of(inputs) == "OBJECT")[0]])]
    mask = stamp_ring(scene)
    shard = rows["reference_of"]
    shifts, errors = rows["shift"].copy(), rows["shift_error"].copy()
    good = rows["registered"] & (shard >= 0)
    for index in np.flatnonzero(good):
        against = common.shifts[int(shard[index])]
        shifts[index] += against.xy
        errors[index] = np.hypot(errors[index], against.error if len(common.shifts) > 1 else 0.0)
        good[index] = against.good
    ties, tie_errors = [], []
    for place, plane in enumerate(rows["center_planes"]):
        if not trusted[plane]:
            continue
        patch = Patch(rows["center_patches"][place][0], rows["center_patches"][place][1])
        clear = mask & _clear_of_spots(rows, int(plane), scene)
        start = np.array(start_in_stamp(inputs, int(plane), rows["corner"][plane]))
        shift = register_one(patch, common.reference, clear, start)
        if shift.good:
            ties.append(centers[plane] - rows["corner"][plane] - shift.xy)
            tie_errors.append(np.hypot(center_error[plane], shift.error))
    witnesses = good & inputs.planes.usable
    if ties:
        tie, tie_error = _combined(np.array(ties), np.array(tie_errors))
        word = "speckles"
    elif witnesses.any():
        # Without a tie the motion from plane to plane is still known; the place is what it was before.
        tie = np.median(xy[witnesses] - rows["corner"][witnesses] - shifts[witnesses][:, None, :], axis=0)
        tie_error, word = np.median(error[witnesses], axis=0), str(method[witnesses][0, 0])
    else:
        return
    tracked = rows["corner"] + tie + shifts[:, None, :]
    tracked_error = np.hypot(np.hypot(tie_error, MASK_ERROR), errors[:, None, :])
    chosen = good & (errors.max(axis=1) < TRUSTED_SHIFT) & (roles_of(inputs) == "OBJECT")
    lost = int((~chosen & (roles_of(inputs) == "OBJECT")).sum())
    if lost:
        remarks.append(Remark("AP-IRD-046", f"{lost} OBJECT plane(s) could not be registered: dither and CENTERs used"))
    _put(xy, error, method, chosen, tracked, np.broadcast_to(tracked_error, tracked.shape), word)


def _clear_of_spots(rows: Arrays, plane: int, scene: Scene) -> Mask:
    """(2, STAMP, STAMP) False under the plane's waffle spots."""
    clear = np.ones((2, STAMP, STAMP), bool)
    y, x = np.mgrid[:STAMP, :STAMP]
    factor, angle = rows["waffle"][plane]
    for half in range(2):
        at = rows["center"][plane, half] - rows["corner"][plane, half]
        xs, ys = spot_positions((float(at[0]), float(at[1])), float(factor), float(angle), scene.optics[half])
        for sx, sy in zip(xs, ys, strict=True):
            clear[half] &= np.hypot(x - sx, y - sy) > SPOT_CLEARANCE * scene.lambda_d[half]
    return clear


def _combined(ties: Float64, errors: Float64) -> tuple[Float64, Float64]:
    """(2, 2) tie and its error: the median of three or more, else the weighted mean.

    The CENTERs' errors do not average down: the speckles under their spots are the same.
    """
    n = len(ties)
    weight = 1.0 / errors**2
    tie = np.median(ties, axis=0) if n > 2 else (weight * ties).sum(axis=0) / weight.sum(axis=0)
    formal = np.sqrt((weight * errors**2).sum(axis=0) / weight.sum(axis=0))
    scatter = ties.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.zeros_like(formal)
    return tie, np.maximum(np.maximum(formal, scatter), TIE_FLOOR)


def join_rows(summaries: list[Arrays], n_planes: int) -> dict[str, Array]:
    """Summaries of all shards as whole arrays in plane order, and which reference each plane's shift refers to."""
    joined = {key: np.concatenate([one[key] for one in summaries]) for key in summaries[0]}
    owner = []
    count = 0
    for one in summaries:
        has = one["references"].shape[0]
        owner.append(np.full(one["planes"].shape[0], count if has else -1, np.int64))
        count += has
    joined["reference_of"] = np.concatenate(owner)
    if not np.array_equal(joined["planes"], np.arange(n_planes)):
        raise AssertionError("summaries do not cover the planes in order")
    return joined
