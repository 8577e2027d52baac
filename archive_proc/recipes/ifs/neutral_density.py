"""Transmission of a neutral density filter in the channels of a cube, from the table of band means."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables

Float64 = NDArray[np.float64]


def nd_transmission(name: str | None, wavelength_um: Float64) -> Float64:
    """(k,) transmission behind `INS4 FILT2`, 1 for OPEN.

    Logarithms of the narrow bands' means, linear between the bands' centres and beyond the outermost two with their
    slope: of the curve below 1.02 um the table says no more than the mean of the broad band Y, which agrees with a
    curve that goes on falling and not with a flat one (ND_1.0: 0.0918 and 0.0877 against 0.0928).
    Raises DataFailure AP-TAB-004 for a filter that the table does not have.
    """
    tables = load_tables().irdis
    row = tables.nd(name)
    if row.clear:
        return np.ones(wavelength_um.size)
    at = {
        band: one.wavelength_um[half]
        for one in tables.filters.values()
        if one.kind == "dual"
        for half, band in enumerate(one.bands)
        if band in row.transmission
    }
    bands = sorted(at, key=lambda band: at[band])
    places = np.array([at[band] for band in bands])
    logs = np.log([row.transmission[band] for band in bands])
    inside = np.interp(wavelength_um, places, logs)
    for ahead, edge, outside in ((1, 0, wavelength_um < places[0]), (-2, -1, wavelength_um > places[-1])):
        slope = (logs[ahead] - logs[edge]) / (places[ahead] - places[edge])
        inside = np.where(outside, logs[edge] + slope * (wavelength_um - places[edge]), inside)
    return np.asarray(np.exp(inside))
