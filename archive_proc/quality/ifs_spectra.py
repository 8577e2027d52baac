"""What is measured of spectra: two lenslets, light in the field, flags, shifts, background, what the fit left over.

Of an observation and of a single raw frame alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.model.flags import Flag
from archive_proc.quality.hexagons import FINE, hexagon_field
from archive_proc.quality.master_sheet import MasterReading
from archive_proc.quality.measured import Measured
from archive_proc.quality.orders import PageOrder, SourceProduct
from archive_proc.quality.residual import keep_residual
from archive_proc.quality.scales import Limits, image_limits
from archive_proc.quality.stacks import WEIGHTLESS, chosen_planes, runs_of
from archive_proc.storage.products import PlaneSource, load_product

Array = NDArray[Any]

KIND = "ifs_spectra"
FLAG_PLANES = 8
"""Planes whose flags are counted."""
CLEAN_SHARE = 0.9
"""Of its lit channels that a lenslet to be shown must have without a flag."""
LENSLETS = ("brightest", "median")
COUNTED = tuple(flag for flag in Flag if flag is not Flag.OUTSIDE)
SERIES = ("shift_x", "shift_x_error", "background_level", "chi2", "clipped")


def read_spectra(order: PageOrder, product: SourceProduct, found: Measured) -> None:
    """Measure an observation's `ifs_spectra`. Raises KeyError or ValueError where it is not what its type says."""
    loaded = load_product(product.group, load_tables().product_types[KIND], of_any_version=True)
    found.facts["band"] = "+".join(order.bands)
    measure_spectra(MasterReading(KIND, product.group, loaded, found))


def measure_spectra(given: MasterReading) -> None:
    """Measure `ifs_spectra`; residual and light in the field under the product's name, all else by itself."""
    loaded, found = given.loaded, given.found
    arrays = loaded.arrays
    usable = np.asarray(arrays["usable"], bool)
    for name in ("wavelength", "bandwidth", "time", *SERIES):
        found.arrays[name] = np.asarray(arrays[name], float)
    found.arrays["usable"] = usable
    found.facts["unusable"] = "; ".join(sorted({str(one) for one in np.asarray(arrays["reason"])[~usable]}))
    found.facts["mode"] = str(loaded.attrs.get("mode", ""))
    found.arrays["lit"] = lit_channels(found.facts["mode"], found.arrays["wavelength"])
    rows = np.flatnonzero(usable)
    plane = int(rows[0]) if rows.size else 0
    _flag_shares(given, chosen_planes(usable if rows.size else np.ones(len(usable), bool), FLAG_PLANES))
    _one_plane(given, plane)
    _track_limits(found)
    if given.has("residual"):
        keep_residual(given, np.asarray(given.array("residual")))


def lit_channels(mode: str, wavelength_um: Array) -> NDArray[np.bool_]:
    """(m,) channels whose middle is inside the mode's range: the others guard its edges."""
    row = load_tables().ifs.modes.get(mode)
    if row is None:
        return np.ones(len(wavelength_um), bool)
    low, high = row.wavelength_um
    return np.asarray((wavelength_um >= low) & (wavelength_um <= high))


def _flag_shares(given: MasterReading, planes: NDArray[np.int32]) -> None:
    source, found = PlaneSource(given.group, ("flags",)), given.found
    counts, total = np.zeros(len(COUNTED)), 0
    for run in runs_of(planes):
        flags = source.read(run)["flags"]
        total += flags.size
        counts += [int(((flags & int(flag)) != 0).sum()) for flag in COUNTED]
    found.arrays["flag_shares"] = 100.0 * counts / max(total, 1)
    found.facts["flag_planes"] = f"{len(planes)} of {len(found.arrays['usable'])} planes"


def _one_plane(given: MasterReading, plane: int) -> None:
    """Light of a plane in the field, and the spectra of its brightest lenslet and of a median one."""
    arrays, found = given.loaded.arrays, given.found
    found.facts["plane_shown"] = f"{arrays['file_id'][plane]} plane {int(arrays['plane'][plane])}"
    read = PlaneSource(given.group, ("flux", "variance", "flags")).read(np.array([plane], np.int32))
    flux, variance, flags = (read[name][0] for name in ("flux", "variance", "flags"))
    lit = found.arrays["lit"]
    clean = ((flags[:, lit] & int(WEIGHTLESS)) == 0).mean(axis=1) >= CLEAN_SHARE
    q, r, x, y = (np.asarray(arrays[name]) for name in ("hex_q", "hex_r", "lenslet_x", "lenslet_y"))
    field = hexagon_field(q, r, x, y)
    weightless = (flags & int(WEIGHTLESS)) != 0
    known = np.where(weightless | ~lit, np.nan, flux)
    seen = np.isfinite(known).sum(axis=1)
    mean = np.where(seen > 0, np.nansum(known, axis=1) / np.maximum(seen, 1), np.nan)
    given.keep("field", field.image(mean))
    given.keep("field|flagged", field.holes(mean))
    given.keep("extent", np.array(field.frame.extent))
    # One pixel a lenslet: neighbours within one would look like a field without noise.
    given.limit("field", image_limits(field.image(mean)[::FINE, ::FINE]))
    light = np.where(clean, np.nan_to_num(flux[:, lit]).sum(axis=1), np.nan)
    if not np.isfinite(light).any():
        found.notes["spectrum"] = "no lenslet has enough channels without a flag"
        return
    ordered = np.argsort(light)[: int(np.isfinite(light).sum())]
    chosen = (int(ordered[-1]), int(ordered[len(ordered) // 2]))
    found.arrays["typical"] = np.nanmedian(flux, axis=0)
    for name, at in zip(LENSLETS, chosen, strict=True):
        found.arrays[f"flux_{name}"] = flux[at]
        found.arrays[f"error_{name}"] = np.sqrt(variance[at])
        found.arrays[f"common_{name}"] = np.sqrt(np.asarray(arrays["variance_common"][at], float))
        found.arrays[f"flags_{name}"] = flags[at]
        place = f"{float(arrays['lenslet_x'][at]):+.1f}, {float(arrays['lenslet_y'][at]):+.1f}"
        found.facts[f"lenslet_{name}"] = (
            f"q {int(arrays['hex_q'][at])}, r {int(arrays['hex_r'][at])} at ({place}) pitch"
        )


def _track_limits(found: Measured) -> None:
    """What the tracks span; clipped shares in per cent."""
    found.arrays["clipped"] = 100.0 * found.arrays["clipped"]
    for name in ("shift_x", "background_level", "chi2", "clipped"):
        values = found.arrays[name][np.isfinite(found.arrays[name])]
        if values.size:
            least = {"shift_x": 0.02, "chi2": 1.5}.get(name, 0.0)
            low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
            found.limit(f"{name}|{found.facts['band']}", Limits(min(low, -least) if name == "shift_x" else low,
                                                                   max(high * 1.05, least)))  # fmt: skip
