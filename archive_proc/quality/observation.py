"""What is measured for the page of an observation: images to look at, tracks, shares of flags, and what they span.

Everything is read here, shard by shard; drawing needs nothing but the small arrays that come out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import ArchiveProcError
from archive_proc.instruments.tables import load_tables
from archive_proc.model.flags import Flag
from archive_proc.quality.measured import Measured
from archive_proc.quality.orders import PageOrder, SourceProduct
from archive_proc.quality.scales import Limits, image_limits
from archive_proc.quality.stacks import (
    WEIGHTLESS,
    any_binned,
    binned,
    chosen_planes,
    cut,
    derotated,
    holes,
    median_of,
    read_runs,
)
from archive_proc.storage.fits import read_planes
from archive_proc.storage.products import LoadedProduct, load_product

Array = NDArray[Any]

BIN = 2
"""Full fields are drawn at about 300 pixels: 512 binned ones are plenty."""
ZOOM_ARCSEC = 1.0
HEADROOM = 1.1
"""Markers at the end of an axis would be cut in half."""
LEAST_FLUX_REACH = 0.02
"""A flux axis never shows less than 1 +- this: constant factors look constant."""
FLAG_PLANES = 8
"""Planes whose flags are counted."""


def measure_observation(order: PageOrder) -> Measured:
    """Read and reduce everything the page shows; what cannot be read is noted in words, never raised."""
    found = Measured()
    _products(order, found)
    measure_raw(order, found)
    return found


def shown_channels(count: int) -> tuple[int, ...]:
    """Channels a page has room for: both of two, the first and the last of many."""
    return (0,) if count == 1 else (0, count - 1)


def channel_names(order: PageOrder, attrs: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Names of the channels: bands of the product, else of the filter's row, else numbers.

    Two channels of one band are told apart: each half of the detector has its own scale.
    """
    names = [str(one) for one in attrs.get("bands") or order.bands]
    if len(names) != count:
        return tuple(f"channel {number}" for number in range(1, count + 1))
    return tuple(one if names.count(one) == 1 else f"{one} ({at + 1})" for at, one in enumerate(names))


def _loaded(product: SourceProduct) -> LoadedProduct:
    form = load_tables().product_types[product.product_type]
    return load_product(product.group, form, of_any_version=True)


def _products(order: PageOrder, found: Measured) -> None:
    for ending, read in (
        ("_science_cube", _science), ("_centered_cube", _centered), ("psf", _psf), ("center", _centers),
        ("background", _background), ("photometry", _photometry),
    ):  # fmt: skip
        product = order.products.get(ending) if not ending.startswith("_") else order.first(ending)
        if product is None:
            continue
        try:
            read(order, product, found)
        except (ArchiveProcError, KeyError, ValueError) as problem:
            found.notes[ending] = f"{product.product_type} cannot be shown: {problem}"


def _science(order: PageOrder, product: SourceProduct, found: Measured) -> None:
    """One calibrated plane, the shares of flags, and what is known of each science plane."""
    cube = _loaded(product)
    usable = np.asarray(cube.arrays["usable"], bool)
    names = channel_names(order, cube.attrs, cube.arrays["star_x"].shape[1])
    plane = _plane_to_show(order, cube, usable)
    if order.raw is not None and str(cube.arrays["file_id"][plane]) == order.raw.frame.file_id:
        found.arrays["raw_plane"] = np.array([int(cube.arrays["plane"][plane])])
    found.facts["science_plane"] = f"{cube.arrays['file_id'][plane]} plane {int(cube.arrays['plane'][plane])}"
    planes = chosen_planes(usable, FLAG_PLANES)
    wanted = np.unique(np.append(planes, plane)).astype(np.int32)
    counts = {flag.name or "": 0 for flag in Flag if flag is not Flag.OUTSIDE}
    inside = 0
    for run, flux, flags in read_runs(product.group, wanted):
        for at, one in enumerate(run):
            if one in planes:
                lit = (flags[at] & int(Flag.OUTSIDE)) == 0
                inside += int(lit.sum())
                for name in counts:
                    counts[name] += int(((flags[at] & int(Flag[name])) != 0)[lit].sum())
            if one == plane:
                for channel in shown_channels(len(names)):
                    image, black = _shown(flux[at, channel], flags[at, channel])
                    key = f"calibrated|{names[channel]}"
                    found.arrays[f"calibrated_{channel}"] = binned(image, BIN)
                    found.arrays[f"calibrated_flagged_{channel}"] = any_binned(black, BIN)
                    found.limit(key, image_limits(found.arrays[f"calibrated_{channel}"]))
    found.arrays["flag_shares"] = np.array([100.0 * one / max(inside, 1) for one in counts.values()])
    found.facts["flag_planes"] = f"{len(planes)} of {len(usable)} planes"
    found.arrays["star"] = np.stack([cube.arrays["star_x"][plane], cube.arrays["star_y"][plane]], axis=-1)
    found.arrays["pixel_scale"] = np.asarray(cube.arrays["pixel_scale"], float)
    found.arrays["science_time"] = np.asarray(cube.arrays["time"], float)
    found.arrays["science_usable"] = usable
    found.arrays["derotation_angle"] = np.asarray(cube.arrays["derotation_angle"], float)
    reasons = sorted({str(one) for one in np.asarray(cube.arrays["reason"])[~usable]})
    found.facts["unusable"] = "; ".join(reasons)


def _plane_to_show(order: PageOrder, cube: LoadedProduct, usable: NDArray[np.bool_]) -> int:
    """The first usable plane, of the raw file that is shown if it has one."""
    rows = np.flatnonzero(usable)
    if order.raw is not None:
        of_file = [int(one) for one in rows if str(cube.arrays["file_id"][one]) == order.raw.frame.file_id]
        rows = np.array(of_file or rows.tolist(), dtype=int)
    return int(rows[0]) if len(rows) else 0


def _shown(flux: Array, flags: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Values that count, NaN elsewhere; and what is drawn black: no weight, though inside the lit field."""
    weightless = (flags & int(WEIGHTLESS)) != 0
    black = weightless & ((flags & int(Flag.OUTSIDE)) == 0)
    return np.where(weightless, np.nan, flux).astype(np.float32), black


def _centered(order: PageOrder, product: SourceProduct, found: Measured) -> None:
    """Median of centred planes and of derotated ones: the whole field binned, the inner arcsecond at full size."""
    cube = _loaded(product)
    star = np.asarray(cube.arrays["star_x"], float)
    usable = np.asarray(cube.arrays["usable"], bool) & np.isfinite(star).all(axis=1)
    names = channel_names(order, cube.attrs, star.shape[1])
    planes = chosen_planes(usable)
    if not len(planes):
        found.notes["_centered_cube"] = "no usable plane has a star position"
        return
    middle = int(np.nanmedian(star[usable]))
    scale_mas = float(cube.arrays["pixel_scale"][0])
    radius = int(np.ceil(ZOOM_ARCSEC * 1000 / scale_mas))
    # The square that is turned must cover the corners of the one that is shown.
    reach = int(np.ceil(1.45 * radius))
    angles = np.asarray(cube.arrays["derotation_angle"], float)
    channels = shown_channels(len(names))
    stacks: dict[str, list[Array]] = {}
    half = (middle - (BIN - 1) / 2) / BIN
    for run, flux, flags in read_runs(product.group, planes):
        for at, plane in enumerate(run):
            for channel in channels:
                image, black = _shown(flux[at, channel], flags[at, channel])
                field, inner = binned(image, BIN), np.asarray(cut(image, middle, reach), np.float32)
                angle = float(angles[plane])
                for name, values in (
                    ("median", field), ("derotated", derotated(field, angle, (half, half))),
                    ("median_inner", cut(image, middle, radius)),
                    ("derotated_inner", cut(derotated(inner, angle, (reach, reach)), reach, radius)),
                    ("median_flagged", any_binned(black, BIN, 0.25)),
                    ("median_inner_flagged", cut(black, middle, radius)),
                ):  # fmt: skip
                    stacks.setdefault(f"{name}_{channel}", []).append(values)
    for channel in channels:
        for name in ("median", "derotated", "median_inner", "derotated_inner"):
            found.arrays[f"{name}_{channel}"] = median_of(np.stack(stacks.pop(f"{name}_{channel}")))
        for name in ("median", "median_inner"):
            black = np.any(stacks[f"{name}_flagged_{channel}"], axis=0)
            found.arrays[f"{name}_flagged_{channel}"] = black & np.isnan(found.arrays[f"{name}_{channel}"])
        for name in ("derotated", "derotated_inner"):
            found.arrays[f"{name}_flagged_{channel}"] = holes(found.arrays[f"{name}_{channel}"])
        found.limit(f"stack|{names[channel]}", image_limits(found.arrays[f"median_{channel}"]))
        found.limit(f"inner|{names[channel]}", image_limits(found.arrays[f"median_inner_{channel}"]))
    found.arrays["stack_middle"] = np.array([middle])
    found.arrays["pixel_scale"] = np.asarray(cube.arrays["pixel_scale"], float)
    found.facts["channels"] = "\t".join(names)
    found.facts["stack_planes"] = (
        f"{len(planes)} planes" if len(planes) == len(usable) else f"{len(planes)} of {len(usable)} planes"
    )
    used = np.unwrap(angles[planes], period=360.0)
    found.facts["rotation"] = f"{np.ptp(used):.1f} deg"


def _psf(order: PageOrder, product: SourceProduct, found: Measured) -> None:
    psf = _loaded(product)
    flux = np.asarray(psf.arrays["flux"], np.float32)
    if not np.isfinite(flux).any():
        found.notes["psf"] = "psf holds no FLUX plane: the star without mask was not observed, or was not usable"
        return
    names = channel_names(order, psf.attrs, len(flux))
    for channel in shown_channels(len(flux)):
        found.arrays[f"psf_{channel}"] = flux[channel]
        peak = float(np.nanmax(flux[channel]))
        # Four decades below the peak: the halo that a companion hides in.
        found.limit(f"psf|{names[channel]}", Limits(-1e-4 * peak, peak, 1e-3 * peak))


def _centers(order: PageOrder, product: SourceProduct, found: Measured) -> None:
    """Motion of the star on sky, dithers taken out, about its median over science planes, mas."""
    center = _loaded(product)
    rows = center.arrays
    dither = np.array([order.dithers.get(str(one), (0.0, 0.0)) for one in rows["file_id"]]).reshape(-1, 2)
    role = texts(rows["frame_type"])
    science = role == str(center.attrs.get("science_role", "OBJECT"))
    scale = found.arrays.get("pixel_scale")
    if scale is None:
        row = load_tables().irdis.filters.get(str(center.attrs.get("inst_filter", "")))
        scale = np.full(rows["star_x"].shape[1], np.nan) if row is None else np.array(row.pixel_scale_mas)
    unit = "mas" if np.isfinite(scale).all() else "pixel"
    factor = scale if unit == "mas" else np.ones(rows["star_x"].shape[1])
    names = channel_names(order, center.attrs, rows["star_x"].shape[1])
    for axis, name in enumerate("xy"):
        still = np.asarray(rows[f"star_{name}"], float) - dither[:, axis : axis + 1]
        some = still[science] if np.isfinite(still[science]).any() else still
        if not np.isfinite(some).any():
            found.notes["center"] = "the star was found in no plane"
            return
        found.arrays[f"center_{name}"] = (still - np.nanmedian(some, axis=0)) * factor
        found.arrays[f"center_{name}_error"] = np.asarray(rows[f"star_{name}_error"], float) * factor
    shown = (role == "OBJECT") | (role == "CENTER") | science
    reach = [np.nanmax(np.abs(found.arrays[f"center_{name}"][shown]), initial=0.0) for name in "xy"]
    found.facts["center_keys"] = "\t".join(
        f"{file} {int(plane)}" for file, plane in zip(rows["file_id"], rows["plane"], strict=True)
    )
    found.arrays["center_time"] = np.asarray(rows["time"], float)
    found.arrays["center_role"] = role
    found.arrays["center_science"] = science
    found.facts["channels"] = "\t".join(names)
    found.facts["center_unit"] = unit
    found.limit(f"center|{unit}", Limits(-HEADROOM * max(reach), HEADROOM * max(reach)))


def _background(order: PageOrder, product: SourceProduct, found: Measured) -> None:
    """Level of the subtracted background in science planes."""
    background = _loaded(product)
    keys = [
        (str(file), int(plane))
        for file, plane in zip(background.arrays["file_id"], background.arrays["plane"], strict=True)
    ]
    times, science = _times(order, found)
    keep = [at for at, key in enumerate(keys) if key in science]
    levels = np.asarray(background.arrays["background_level"], float)
    if not keep or not np.isfinite(levels[keep]).any():
        found.notes["background"] = "no background level of a science plane is known"
        return
    found.arrays["background_time"] = np.array([times[keys[at]] for at in keep])
    found.arrays["background_level"] = levels[keep]
    methods = sorted({str(background.arrays["method"][at]) for at in keep})
    found.facts["background_method"] = ", ".join(methods)
    names = channel_names(order, background.attrs, levels.shape[1])
    for channel in shown_channels(len(names)):
        column = levels[keep, channel]
        if np.isfinite(column).any():
            found.limit(f"background|{'+'.join(names)}", Limits(float(np.nanmin(column)), float(np.nanmax(column))))


def _photometry(order: PageOrder, product: SourceProduct, found: Measured) -> None:
    """Relative flux of science planes with its error."""
    photometry = _loaded(product)
    rows = photometry.arrays
    _, science = _times(order, found)
    keep = [
        at
        for at, key in enumerate(zip(rows["file_id"], rows["plane"], strict=True))
        if (str(key[0]), int(key[1])) in science
    ]
    flux = np.asarray(rows["relative_flux"], float)
    if not keep or not np.isfinite(flux[keep]).any():
        found.notes["photometry"] = "no relative flux of a science plane is known"
        return
    found.arrays["flux_time"] = np.asarray(rows["time"], float)[keep]
    found.arrays["relative_flux"] = flux[keep]
    found.arrays["relative_flux_error"] = np.asarray(rows["relative_flux_error"], float)[keep]
    found.facts["flux_method"] = ", ".join(
        sorted({str(one) for one in np.asarray(rows["photometry_method"])[keep].ravel() if str(one)})
    )
    reach = max(float(np.nanmax(np.abs(flux[keep] - 1))), LEAST_FLUX_REACH)
    found.limit("relative flux|", Limits(-reach, reach))


def texts(values: Array) -> Array:
    """(n,) product text as fixed-width unicode, which npz files hold without pickling."""
    return np.array([str(one) for one in values], dtype="U32")


def _times(order: PageOrder, found: Measured) -> tuple[dict[tuple[str, int], float], set[tuple[str, int]]]:
    """(file, plane) -> time of every plane judged, and which of them are science: from `center`, made beside."""
    product = order.products.get("center")
    if product is None:
        raise KeyError("the product `center`, which has the times, is missing")
    center = _loaded(product)
    role = texts(center.arrays["frame_type"])
    science = role == str(center.attrs.get("science_role", "OBJECT"))
    keys = [
        (str(file), int(plane)) for file, plane in zip(center.arrays["file_id"], center.arrays["plane"], strict=True)
    ]
    times = dict(zip(keys, np.asarray(center.arrays["time"], float).tolist(), strict=True))
    return times, {key for key, one in zip(keys, science, strict=True) if one}


def measure_raw(order: PageOrder, found: Measured) -> None:
    """Keep the raw plane, binned; why there is none is noted in words."""
    if order.raw is None:
        return
    plane = int(found.arrays["raw_plane"][0]) if "raw_plane" in found.arrays else order.raw.plane
    try:
        pixels = read_planes(order.raw.path, order.raw.frame, [plane])[0]
    except ArchiveProcError as problem:
        found.notes["raw"] = problem.line
        return
    step = max(1, round(pixels.shape[-1] / 1024))
    found.arrays["raw"] = binned(pixels, step)
    found.arrays["raw_step"] = np.array([step])
    found.facts["raw_plane"] = f"{order.raw.frame.file_id} plane {plane}"
    found.limit(f"raw|{'+'.join(order.bands) or order.setup}", image_limits(found.arrays["raw"]))
