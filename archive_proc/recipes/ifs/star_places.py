"""The star in every plane and channel from what planes say by themselves: ties, transport, errors (notes/irdis 4.4).

CENTER planes have their own spots. OBJECT planes follow their fine structure, tied to the CENTERs; where a plane cannot
be registered, CENTERs are interpolated in time. Without any CENTER the halo's symmetry says where the star is, to half
a pixel. How the place depends on wavelength is taken from the CENTERs, interpolated in time.

A CENTER of another acquisition says where its own star stood. It ties nothing: it is a first guess where an observation
has neither a CENTER of its own nor a halo to be seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.point_sources import clear_of_sources
from archive_proc.kernels.registration import Patch, Registered, register_one, register_stack
from archive_proc.model.processes import Remark
from archive_proc.recipes.ifs.frame_looks import FrameLooks
from archive_proc.recipes.ifs.track_looks import STAMP, Field
from archive_proc.recipes.ifs.track_planes import PlaneList
from archive_proc.recipes.ifs.track_sweep import registration_mask
from archive_proc.recipes.recipe import Arrays

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

WAFFLE_FLOOR = 0.03
"""Pixels, 0.2 mas: what spectra of imperfect extraction leave of a fit that photons know better."""
STAR_FLOOR = 0.03
"""Pixels: the same of an unocculted star."""
MASK_ERROR = 0.12
"""Pixels per axis, 0.9 mas: motion of the star against the mask changes the speckles that are followed
(notes/irdis 4.4.4). A third of it, whatever ring or filter one follows them with: 0.4 to 0.8 mas per axis in simulated
nights with 1.5 mas of motion, without any noise as with the whole chain; 0.6 to 1.1 with 3.4 mas (notes)."""
MASK_PLANES = 4.0
"""How many CENTER planes' worth of trust MASK_ERROR has against the scatter of the sequence's own."""
HELD_BACK = 0.08
"""Of a shift: what extraction leaves stands still on the lenslets and holds registration back. 0.05 to 0.06 in
simulated nights of both modes; 0.10 to 0.14 from single channels, H among them."""
MOTION = 0.5
"""Pixels per axis: star motion between planes that a CENTER cannot know, 3-5 mas (notes/irdis 3)."""
SYMMETRY_ERROR = 0.5
"""Pixels per axis: what the halo's symmetry knows (0.1-0.4 in simulated nights)."""
BORROWED = 1.5
"""Pixels per axis, 11 mas: how far apart two acquisitions of one night put their stars. Assumed, from what is known of
one acquisition: its OBJECT planes stray by 8-12 mas from its CENTER (notes/irdis 4.3)."""
TRUSTED_SHIFT = 0.3
"""Pixels: a registration with a larger error is not better than transport."""
SPOT_CLEARANCE = 3.5
"""lambda / D about each waffle spot that the tie does not see."""


@dataclass(frozen=True, slots=True)
class StarPlaces:
    """Rows of the product `center`: (n, k) pixels of the rectified field; NaN where nothing is known."""

    x: Float64
    y: Float64
    x_error: Float64
    y_error: Float64
    closure: Float64
    """(n, k) mas."""
    method: NDArray[np.str_]
    """(n,) waffle, speckles, interpolated, symmetry, borrowed, psf, none."""
    remarks: tuple[Remark, ...]


def common_reference(field: Field, rows: Arrays) -> Registered | None:
    """The shards' references against their common one; None where no science plane was aligned."""
    if not rows["references"].shape[0]:
        return None
    patches = [Patch(one[0], one[1]) for one in rows["references"]]
    mask = _mask(field, rows, patches)
    return register_stack(patches, np.zeros((len(patches), 2)), mask, np.ones(len(patches), bool))


def _mask(field: Field, rows: Arrays, patches: list[Patch]) -> Mask:
    """Where fine structure is compared: a ring about the star, without sources where no plane has spots."""
    seen = _symmetric(rows)
    middle = float(field.scale.middle)
    x, y = np.median(seen, axis=0) if len(seen) else (middle, middle)
    mask = registration_mask(field, (float(x), float(y)))
    if not np.isfinite(rows["waffle"][rows["usable"]]).any():
        inside = (float(x) - field.corner, float(y) - field.corner)
        scales = [float(one) for one in field.lambda_d[field.witnesses]]
        mask &= clear_of_sources(patches, [inside] * field.witnesses.size, scales)
    return mask


def _symmetric(rows: Arrays) -> Float64:
    """(m, 2) centres of symmetry of the shards whose usable planes show one, pixels."""
    return np.asarray(rows["guess"], np.float64)


def place_stars(
    field: Field, planes: PlaneList, rows: Arrays, frames: FrameLooks, common: Registered | None
) -> StarPlaces:
    """The star in every plane of the list. `rows`: what the sweep said of science planes; `frames`: of the others."""
    n, k = len(planes), field.optics.wavelength_um.size
    xy, error = np.full((n, k, 2), np.nan), np.full((n, k, 2), np.nan)
    method = np.full(n, "none", dtype="U16")
    closure = np.full((n, k), np.nan)
    remarks: list[Remark] = []
    spots = _Spots.of(field, planes, rows, frames)
    closure[spots.found] = spots.closure[spots.found]
    behind = planes.frame_type != "FLUX"
    anchors = spots.found & planes.usable & ~planes.borrowed
    others = spots.found & planes.usable & planes.borrowed
    if anchors.any():
        carried = _interpolated(planes.time, spots.xy, anchors)
        typical = float(np.median(spots.error[anchors]))
        xy[behind], error[behind], method[behind] = carried[behind], np.hypot(typical, MOTION), "interpolated"
    elif len(_symmetric(rows)):
        _by_symmetry(rows, behind, (xy, error, method))
        remarks.append(_borrowed(planes, "centres from the halo's symmetry") if others.any() else _no_center(planes))
    elif others.any():
        xy[behind], error[behind] = _interpolated(planes.time, spots.xy, others)[behind], BORROWED
        method[behind] = "borrowed"
        away = np.hypot(BORROWED, BORROWED) * field.scale.pixel_mas
        remarks.append(_borrowed(planes, f"centres are its star's, good to {away:.0f} mas"))
    else:
        remarks.append(_no_center(planes))
    if common is not None:
        _follow_speckles(field, planes, rows, frames, common, spots, (xy, error, method), remarks)
    xy[spots.found], method[spots.found] = spots.xy[spots.found], "waffle"
    error[spots.found] = spots.error[spots.found, None, :]
    _put_stars(field, planes, frames, (xy, error, method))
    return StarPlaces(
        xy[..., 0], xy[..., 1], error[..., 0], error[..., 1], closure, method, (*remarks, *_lost(planes, spots))
    )


@dataclass(frozen=True, slots=True)
class _Spots:
    """Waffle fits of all planes of the list, pixels; (n, ...)."""

    found: Mask
    xy: Float64
    error: Float64
    """(n, 2)"""
    closure: Float64
    """(n, k) mas."""

    @classmethod
    def of(cls, field: Field, planes: PlaneList, rows: Arrays, frames: FrameLooks) -> _Spots:
        n, k = len(planes), field.optics.wavelength_um.size
        xy, error, closure = np.full((n, k, 2), np.nan), np.full((n, 2), np.nan), np.full((n, k), np.nan)
        science = np.flatnonzero(planes.science)
        for source, where, at in ((rows, science, planes.main[science]), (frames.waffles, frames.center_planes, None)):
            pick = slice(None) if at is None else at
            xy[where], error[where] = source["center"][pick], source["center_error"][pick]
            closure[where] = source["closure"][pick] * field.optics.pitch_mas
        found = np.isfinite(xy).all(axis=(1, 2)) & np.isfinite(error).all(axis=1)
        error = np.hypot(error * field.pitch_px, WAFFLE_FLOOR)
        return cls(np.asarray(found, bool), field.pixels(xy), error, closure)


def _interpolated(time: Float64, xy: Float64, anchors: Mask) -> Float64:
    """(n, k, 2) anchors between which time is interpolated, constant beyond them."""
    order = np.flatnonzero(anchors)[np.argsort(time[anchors], kind="stable")]
    flat = xy[order].reshape(order.size, -1)
    found = np.stack([np.interp(time, time[order], column) for column in flat.T], axis=1)
    return np.asarray(found.reshape(time.size, *xy.shape[1:]))


def _by_symmetry(rows: Arrays, behind: Mask, out: tuple[Float64, Float64, NDArray[np.str_]]) -> None:
    """Planes without any CENTER: the median of what the science planes' halos say, in all channels alike."""
    xy, error, method = out
    xy[behind], error[behind] = np.median(_symmetric(rows), axis=0), np.hypot(SYMMETRY_ERROR, MOTION)
    method[behind] = "symmetry"


def _borrowed(planes: PlaneList, what: str) -> Remark:
    files = dict.fromkeys(str(one) for one in planes.file_id[planes.borrowed & (planes.frame_type == "CENTER")])
    return Remark("AP-IFS-104", f"the only CENTER is of another acquisition ({', '.join(files)}): {what}")


def _no_center(planes: PlaneList) -> Remark:
    why = (
        "no waffle spots were found in any CENTER plane" if (planes.frame_type == "CENTER").any() else "no CENTER frame"
    )
    return Remark("AP-IFS-094", f"{why}: centres from the halo's symmetry, good to {SYMMETRY_ERROR:g} pixels, or none")


def _lost(planes: PlaneList, spots: _Spots) -> tuple[Remark, ...]:
    center = planes.frame_type == "CENTER"
    lost = int((center & ~spots.found).sum())
    if not lost or lost == int(center.sum()):
        return ()
    return (Remark("AP-IFS-095", f"{lost} CENTER plane(s) without clear waffle spots"),)


def _follow_speckles(
    field: Field,
    planes: PlaneList,
    rows: Arrays,
    frames: FrameLooks,
    common: Registered,
    spots: _Spots,
    out: tuple[Float64, Float64, NDArray[np.str_]],
    remarks: list[Remark],
) -> None:
    """OBJECT planes: shift against the common reference, tied to the CENTERs; changes `out` in place."""
    xy, error, method = out
    shifts, errors, good = science_shifts(rows, common)
    science = np.flatnonzero(planes.science)
    row = planes.main[science]
    tie, word = _tie(field, planes, frames, common, spots, rows), "speckles"
    witnesses = good[row] & planes.usable[science]
    if tie is None:
        if not witnesses.any():
            return
        # Without a tie the motion from plane to plane is still known; the place is what it was before.
        members, seen = science[witnesses], shifts[row[witnesses]]
        tie = _Tie(
            np.median(xy[members].mean(axis=1) - seen, axis=0),
            np.median(error[members].mean(axis=1), axis=0),
            np.full(2, MASK_ERROR),
            np.median(seen, axis=0),
        )
        word = str(method[members[0]])
    chosen = good & (errors.max(axis=1) < TRUSTED_SHIFT)
    objects = planes.frame_type[science] == "OBJECT"
    lost = int((objects & ~chosen[row]).sum())
    if lost:
        remarks.append(
            Remark("AP-IFS-096", f"{lost} OBJECT plane(s) could not be registered: place carried over in time")
        )
    for plane, at in zip(science[objects & chosen[row]], row[objects & chosen[row]], strict=True):
        colour = xy[plane] - xy[plane].mean(axis=0)
        xy[plane] = tie.place + shifts[at] + colour
        held = HELD_BACK * (shifts[at] - tie.shift)
        error[plane] = np.sqrt(tie.error**2 + tie.of_one**2 + held**2 + errors[at] ** 2)
        method[plane] = word


def science_shifts(rows: Arrays, common: Registered) -> tuple[Float64, Float64, Mask]:
    """Shift (n, 2), its error and whether it is good, of every science plane against the common reference; pixels."""
    shifts, errors = rows["shift"].copy(), rows["shift_error"].copy()
    good = rows["registered"] & (rows["reference_of"] >= 0)
    for index in np.flatnonzero(good):
        against = common.shifts[int(rows["reference_of"][index])]
        shifts[index] += against.xy
        errors[index] = np.hypot(errors[index], against.error if len(common.shifts) > 1 else 0.0)
        good[index] = against.good
    return shifts, errors, good


@dataclass(frozen=True, slots=True)
class _Tie:
    """What makes a shift a place; (2,) pixels, mean over channels."""

    place: Float64
    """Star of a plane that is not shifted against the common reference."""
    error: Float64
    of_one: Float64
    """Error of a single plane's shift as the star's, beside that of the fit."""
    shift: Float64
    """Of the planes that it was measured on."""


def _tie(
    field: Field, planes: PlaneList, frames: FrameLooks, common: Registered, spots: _Spots, rows: Arrays
) -> _Tie | None:
    """Star minus registration from all CENTER planes; None without one."""
    mask = _mask(field, rows, [common.reference])
    found, errors, shifts = [], [], []
    for place, plane in enumerate(frames.center_planes):
        if not (spots.found[plane] and planes.usable[plane]) or planes.borrowed[plane]:
            continue
        clear = mask & _clear_of_spots(field, frames.waffles["spots"][place])
        shift = register_one(frames.patches[place], common.reference, clear, np.zeros(2))
        if shift.good:
            found.append(spots.xy[plane].mean(axis=0) - shift.xy)
            errors.append(np.hypot(spots.error[plane], shift.error))
            shifts.append(shift.xy)
    if not found:
        return None
    ties, each = np.array(found), np.array(errors)
    squares = MASK_PLANES * MASK_ERROR**2 + ((ties - ties.mean(axis=0)) ** 2).sum(axis=0)
    of_one = np.sqrt(squares / (MASK_PLANES + len(ties) - 1))
    # The CENTERs' errors do not average down: the speckles under their spots are the same.
    error = np.maximum(np.median(each, axis=0), of_one / np.sqrt(len(ties)))
    return _Tie(np.median(ties, axis=0), error, of_one, np.median(shifts, axis=0))


def _clear_of_spots(field: Field, spots: Float64) -> Mask:
    """(witnesses, STAMP, STAMP) False under the spots (k, 4, 2; pitches)."""
    y, x = np.mgrid[:STAMP, :STAMP]
    clear = np.ones((field.witnesses.size, STAMP, STAMP), bool)
    for place, channel in enumerate(field.witnesses):
        for at_x, at_y in field.pixels(spots[channel]) - field.corner:
            clear[place] &= np.hypot(x - at_x, y - at_y) > SPOT_CLEARANCE * field.lambda_d[channel]
    return clear


def _put_stars(
    field: Field, planes: PlaneList, frames: FrameLooks, out: tuple[Float64, Float64, NDArray[np.str_]]
) -> None:
    """FLUX planes: their own star."""
    xy, error, method = out
    for place, plane in enumerate(frames.flux_planes):
        star = frames.stars[place]
        if star is not None:
            xy[plane] = field.pixels(star.center)
            error[plane] = np.hypot(star.error * field.pitch_px, STAR_FLOOR)
            method[plane] = "psf"
