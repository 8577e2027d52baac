"""What is measured of an IFS observation's centred cube and PSF: channels side by side, collapsed medians."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.model.flags import Flag
from archive_proc.quality.ifs_spectra import lit_channels
from archive_proc.quality.measured import Measured
from archive_proc.quality.orders import PageOrder, SourceProduct
from archive_proc.quality.scales import Limits, image_limits
from archive_proc.quality.stacks import WEIGHTLESS, chosen_planes, derotated, holes, median_of, read_runs
from archive_proc.storage.products import PlaneSource, load_product

Array = NDArray[Any]
Float32 = NDArray[np.float32]

EVERY = 3
"""Channels of the mosaic: every third."""
PSF_PARTS = (0.1, 0.35, 0.65, 0.9)
"""Lit channels whose PSF is shown, as parts of their range."""


def read_centered(order: PageOrder, product: SourceProduct, found: Measured) -> None:
    """Median of the planes in every third channel; of all lit channels together, centred and derotated."""
    cube = load_product(product.group, load_tables().product_types[product.product_type], of_any_version=True)
    star = np.asarray(cube.arrays["star_x"], float)
    usable = np.asarray(cube.arrays["usable"], bool) & np.isfinite(star).any(axis=1)
    planes = chosen_planes(usable)
    if not len(planes):
        found.notes["_centered_cube"] = "no usable plane has a star position"
        return
    wavelength = np.asarray(cube.arrays["wavelength"], float)
    lit = lit_channels("+".join(order.bands), wavelength)
    some = np.flatnonzero(np.arange(len(wavelength)) % EVERY == EVERY // 2)
    angles = np.asarray(cube.arrays["derotation_angle"], float)
    channels, collapsed, turned = [], [], []
    black = np.zeros((len(wavelength), *_image_shape(product)), bool)
    for run, flux, flags in read_runs(product.group, planes):
        for at, plane in enumerate(run):
            weightless = (flags[at] & int(WEIGHTLESS)) != 0
            black |= weightless & ((flags[at] & int(Flag.OUTSIDE)) == 0)
            values = np.where(weightless, np.nan, flux[at]).astype(np.float32)
            channels.append(values[some])
            together = _mean(values[lit])
            middle = together.shape[-1] // 2
            collapsed.append(together)
            turned.append(derotated(together, float(angles[plane]), (middle, middle)))
    found.arrays["mosaic"] = median_of(np.stack(channels))
    found.arrays["mosaic_um"] = wavelength[some]
    found.arrays["mosaic_lit"] = lit[some]
    # Black: flagged wherever the medians have no value; what is open to the field's edge is hatched.
    found.arrays["mosaic_flagged"] = black[some] & np.isnan(found.arrays["mosaic"])
    for name, stack in (("collapsed", collapsed), ("derotated", turned)):
        found.arrays[name] = median_of(np.stack(stack))
    found.arrays["collapsed_flagged"] = black[lit].any(axis=0) & np.isnan(found.arrays["collapsed"])
    found.arrays["derotated_flagged"] = holes(found.arrays["derotated"])
    found.arrays["pixel_scale"] = np.asarray(cube.arrays["pixel_scale"], float)
    mode = "+".join(order.bands)
    found.limit(f"channels|{mode}", image_limits(found.arrays["mosaic"][lit[some]]))
    found.limit(f"collapsed|{mode}", image_limits(found.arrays["collapsed"]))
    used = np.unwrap(angles[planes][np.isfinite(angles[planes])], period=360.0)
    found.facts["rotation"] = f"{np.ptp(used):.1f} deg" if used.size else "unknown"
    found.facts["stack_planes"] = (
        f"{len(planes)} planes" if len(planes) == len(usable) else f"{len(planes)} of {len(usable)} planes"
    )
    found.facts["collapsed_channels"] = f"{int(lit.sum())} channels"


def _image_shape(product: SourceProduct) -> tuple[int, int]:
    ny, nx = PlaneSource(product.group, ("flux",)).forms()["flux"][0][-2:]
    return ny, nx


def _mean(values: Float32) -> Float32:
    """Mean over channels of what has a value, NaN where fewer than half have."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, np.float32(0.0)).sum(axis=0)
    return np.where(2 * count >= len(values), total / np.maximum(count, 1), np.nan).astype(np.float32)


def read_psf(order: PageOrder, product: SourceProduct, found: Measured) -> None:
    """The PSF in a few channels, each as a share of its peak."""
    psf = load_product(product.group, load_tables().product_types["psf"], of_any_version=True)
    flux = np.asarray(psf.arrays["flux"], np.float32)
    wavelength = np.asarray(psf.arrays["wavelength"], float)
    known = np.flatnonzero(lit_channels("+".join(order.bands), wavelength) & np.isfinite(flux).any(axis=(1, 2)))
    if not known.size:
        found.notes["psf"] = "psf holds no FLUX plane: the star without mask was not observed, or was not usable"
        return
    chosen = known[[round(part * (known.size - 1)) for part in PSF_PARTS]]
    peaks = np.nanmax(flux[chosen], axis=(1, 2), keepdims=True)
    found.arrays["psf"] = flux[chosen] / np.where(peaks > 0, peaks, np.nan)
    found.arrays["psf_um"] = wavelength[chosen]
    found.arrays["psf_peak"] = peaks[:, 0, 0]
    # Three decades and a half below the peak: the halo that a companion hides in.
    found.limit(f"psf|{'+'.join(order.bands)}", Limits(-3e-4, 1.0, 1e-3))
