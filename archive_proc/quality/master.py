"""What is measured for the page of a master: its images, their distribution, levels by output, shares of flags."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import ArchiveProcError
from archive_proc.instruments.tables import load_tables
from archive_proc.model.flags import Flag
from archive_proc.quality.measured import Measured
from archive_proc.quality.orders import PageOrder, SourceProduct
from archive_proc.quality.scales import Limits, image_limits
from archive_proc.quality.stacks import WEIGHTLESS, any_binned, binned
from archive_proc.storage.products import load_product

Array = NDArray[Any]

STEP = 2
"""A detector of 2048 x 1024 pixels is drawn at about 1000 x 500."""
HISTOGRAM_BINS = 120
SHOWN_MODES = 4
"""Background modes that a page has room for."""
OUTSIDE_NUMBER = 255
"""In the map of flags: outside the lit field."""
IMAGES = ("level", "response", "chi")
"""The image of a master, by what its type calls it."""


def measure_master(order: PageOrder) -> Measured:
    """Read one master; what cannot be read is noted in words."""
    found = Measured()
    found.facts["band"] = "+".join(order.bands)
    for product in order.products.values():
        try:
            _read(product, found)
        except (ArchiveProcError, KeyError, ValueError) as problem:
            found.notes[product.product_type] = f"{product.product_type} cannot be shown: {problem}"
    return found


def _read(product: SourceProduct, found: Measured) -> None:
    kind = product.product_type
    form = load_tables().product_types[kind]
    units = {one.name: one.units for one in form.variables}
    titles = {one.name: one.long_name for one in form.variables}
    loaded = load_product(product.group, form, of_any_version=True)
    flags = np.asarray(loaded.arrays["flags"])
    lit = (flags & int(Flag.OUTSIDE)) == 0
    weightless = (flags & int(WEIGHTLESS)) != 0
    main = next((name for name in IMAGES if name in loaded.arrays), "")
    if main:
        values = np.asarray(loaded.arrays[main], np.float32)
        _image(found, kind, main, np.where(weightless, np.nan, values), weightless & np.isfinite(values))
        found.facts[f"{kind}|{main}"] = f"{titles[main]}\t{units[main]}"
    errors = {name: np.asarray(loaded.arrays[name], np.float32) for name in ("read_noise",) if name in loaded.arrays}
    if "variance" in loaded.arrays:
        variance = np.asarray(loaded.arrays["variance"], np.float32)
        with np.errstate(invalid="ignore"):
            errors["error"] = np.sqrt(variance)
        found.facts[f"{kind}|error"] = f"standard error of the {main}\t{units[main]}"
    if "read_noise" in errors:
        found.facts[f"{kind}|read_noise"] = f"{titles['read_noise']}\t{units['read_noise']}"
    for name, values in errors.items():
        _image(found, kind, name, np.where(weightless, np.nan, values), weightless & np.isfinite(values))
    found.arrays[f"{kind}|flag_image"] = _strongest(flags)
    found.arrays[f"{kind}|flag_shares"] = np.array(
        [100.0 * float(((flags & int(flag)) != 0)[lit].mean()) if lit.any() else 0.0 for flag in counted_flags()]
    )
    if "modes" in loaded.arrays:
        found.arrays[f"{kind}|first_mode"] = np.asarray(loaded.arrays["first_mode"], float)
        found.arrays[f"{kind}|mode_count"] = np.array([len(loaded.arrays["modes"])])
        found.arrays[f"{kind}|modes"] = np.asarray(loaded.arrays["modes"], float)[:SHOWN_MODES]
        found.arrays[f"{kind}|mode_sigma"] = np.asarray(loaded.arrays["mode_sigma"], float)
        found.arrays[f"{kind}|scale_sigma"] = np.asarray(loaded.arrays["scale_sigma"], float)


def scale_key(product_type: str, image: str, band: str) -> str:
    """Masters of one type and band share the scales of their images within a night."""
    return f"{product_type}|{image}|{band}"


def counted_flags() -> tuple[Flag, ...]:
    """Flags whose shares are shown."""
    return tuple(flag for flag in Flag if flag is not Flag.OUTSIDE)


def _image(found: Measured, kind: str, name: str, values: Array, flagged: NDArray[np.bool_]) -> None:
    """The image binned, its histogram within the limits of the page, and its median by detector column."""
    found.arrays[f"{kind}|{name}"] = binned(values.astype(np.float32), STEP)
    found.arrays[f"{kind}|{name}|flagged"] = any_binned(flagged, STEP)
    # Of all pixels, not of binned ones: a histogram of means would look quieter than the detector is.
    limits = image_limits(values.astype(np.float32), asinh=False)
    if limits is None:
        return
    found.limit(scale_key(kind, name, found.facts["band"]), _apart(limits))
    edges = np.linspace(limits.low, limits.high, HISTOGRAM_BINS + 1)
    found.arrays[f"{kind}|{name}|histogram"] = np.histogram(values[np.isfinite(values)], edges)[0]
    found.arrays[f"{kind}|{name}|edges"] = edges
    columns = np.full(values.shape[-1], np.nan)
    some = np.isfinite(values).any(axis=0)
    columns[some] = np.nanmedian(values[:, some], axis=0)
    found.arrays[f"{kind}|{name}|columns"] = columns


def _apart(limits: Limits) -> Limits:
    return limits if limits.high > limits.low else Limits(limits.low - 0.5, limits.high + 0.5)


def _strongest(flags: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """(y / STEP, x / STEP) uint8: 1 + position of a flag that the drawn pixel has; 0 without any.

    Rarer flags win over commoner ones of the same pixel, so that a single dead pixel stays visible.
    """
    shape = (flags.shape[0] // STEP, flags.shape[1] // STEP)
    chosen = np.zeros(shape, np.uint8)
    order = sorted(enumerate(counted_flags(), start=1), key=lambda one: -int(((flags & int(one[1])) != 0).sum()))
    for number, flag in order:
        hit = any_binned((flags & int(flag)) != 0, STEP, share=1e-6)
        chosen[hit] = number
    outside = any_binned((flags & int(Flag.OUTSIDE)) != 0, STEP)
    chosen[outside & (chosen == 0)] = OUTSIDE_NUMBER
    return chosen
