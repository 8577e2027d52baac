"""What is measured of the tracks of an IFS observation: star and relative flux over time, and over channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.quality.ifs_spectra import lit_channels
from archive_proc.quality.measured import Measured
from archive_proc.quality.observation import HEADROOM, LEAST_FLUX_REACH, texts
from archive_proc.quality.orders import PageOrder, SourceProduct
from archive_proc.quality.scales import Limits
from archive_proc.storage.products import load_product

Array = NDArray[Any]
Float64 = NDArray[np.float64]

LEAST_REACH_MAS = 1.0
"""A centre axis never shows less than this: noise of microarcseconds is no motion."""


def read_center(order: PageOrder, product: SourceProduct, found: Measured) -> None:
    """The star over time, median of the lit channels; over wavelength, median of the science planes; mas."""
    center = load_product(product.group, load_tables().product_types["center"], of_any_version=True)
    rows = center.arrays
    scale = load_tables().ifs.lenslets.pixel_mas
    role = texts(rows["frame_type"])
    science = role == str(center.attrs.get("science_role", "OBJECT"))
    places = np.stack([np.asarray(rows[f"star_{axis}"], float) for axis in "xy"])
    errors = np.stack([np.asarray(rows[f"star_{axis}_error"], float) for axis in "xy"])
    lit = _lit(order, found, places.shape[2])
    known = places[:, science][:, :, lit] if science.any() else places[:, :, lit]
    if not np.isfinite(known).any():
        found.notes["center"] = "the star was found in no plane"
        return
    middle = np.nanmedian(known, axis=(1, 2))[:, None, None]
    away = (places - middle) * scale
    over_time = _median(away[:, :, lit], 2)
    found.arrays["center_track"] = over_time
    # Errors of channels are not independent: the typical one stands for the median's.
    found.arrays["center_track_error"] = _median(errors[:, :, lit], 2) * scale
    some = science if science.any() else np.ones(len(role), bool)
    found.arrays["center_colour"] = _median(away[:, some], 1)
    found.arrays["center_colour_error"] = _median(errors[:, some], 1) * scale
    found.arrays["center_time"] = np.asarray(rows["time"], float)
    found.arrays["center_role"] = role
    found.arrays["center_science"] = science
    found.facts["center_keys"] = "\t".join(
        f"{file} {int(plane)}" for file, plane in zip(rows["file_id"], rows["plane"], strict=True)
    )
    kept = (role != "FLUX") | science
    shown = np.abs(over_time[:, kept]) + np.nan_to_num(found.arrays["center_track_error"][:, kept])
    colour = np.abs(found.arrays["center_colour"]) + np.nan_to_num(found.arrays["center_colour_error"])
    reaches = {"center": np.nanmax(shown, initial=LEAST_REACH_MAS),
               "colour": np.nanmax(colour[:, lit], initial=LEAST_REACH_MAS)}  # fmt: skip
    for name, reach in reaches.items():
        found.limit(f"{name}|mas", Limits(-HEADROOM * float(reach), HEADROOM * float(reach)))


def read_photometry(order: PageOrder, product: SourceProduct, found: Measured) -> None:
    """Relative flux of science planes: median of the lit channels, their bluest and reddest."""
    photometry = load_product(product.group, load_tables().product_types["photometry"], of_any_version=True)
    rows = photometry.arrays
    flux = np.asarray(rows["relative_flux"], float)
    error = np.asarray(rows["relative_flux_error"], float)
    lit = np.flatnonzero(_lit(order, found, flux.shape[1]))
    times = found.arrays.get("time", np.zeros(0))
    role = texts(rows["frame_type"])
    keep = np.isin(np.asarray(rows["time"], float), times) if times.size else role == "OBJECT"
    if not keep.any() or not np.isfinite(flux[keep]).any():
        found.notes["photometry"] = "no relative flux of a science plane is known"
        return
    found.arrays["flux_time"] = np.asarray(rows["time"], float)[keep]
    parts = np.array_split(lit, 3)
    found.arrays["relative_flux"] = np.stack(
        [_median(flux[keep][:, some], 1) for some in (lit, parts[0], parts[-1])], axis=1
    )
    found.arrays["relative_flux_error"] = _median(error[keep][:, lit], 1)
    methods = {str(one) for one in np.asarray(rows["photometry_method"])[keep].ravel() if str(one)}
    found.facts["flux_method"] = ", ".join(sorted(methods))
    reach = float(np.nanmax(np.abs(found.arrays["relative_flux"] - 1), initial=LEAST_FLUX_REACH))
    found.limit("relative flux|", Limits(-reach, reach))


def _lit(order: PageOrder, found: Measured, channels: int) -> NDArray[np.bool_]:
    """Lit channels, by the wavelengths of the spectra where those could be read."""
    wavelength = found.arrays.get("wavelength")
    if wavelength is None or len(wavelength) != channels:
        return np.ones(channels, bool)
    return lit_channels("+".join(order.bands), wavelength)


def _median(values: Float64, axis: int) -> Float64:
    """Median of finite values along an axis; NaN where there are none."""
    moved = np.moveaxis(values, axis, -1)
    flat = moved.reshape(-1, moved.shape[-1])
    found = np.full(len(flat), np.nan)
    some = np.isfinite(flat).any(axis=1)
    found[some] = np.nanmedian(flat[some], axis=1)
    return found.reshape(moved.shape[:-1])
