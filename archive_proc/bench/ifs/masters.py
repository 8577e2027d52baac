"""Masters of a night beside its truth: bad pixels, read noise, response, and which spectrum is whose."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from archive_proc.bench.ifs.known import Float, Known
from archive_proc.bench.ifs.products import Archive
from archive_proc.bench.ifs.values import Value, Values

# Any: a dataset of xarray, or a mapping of arrays of several dtypes.
Variables = Any

USELESS = 2 | 4 | 8 | 16
"""DEAD, HOT, NOISY, NONLINEAR (flags of DESIGN 8)."""
FIELD_SCALE = 70.0
"""Pitches that the positions' polynomial divides lenslet coordinates by."""
DEGREE = 3
MISLABELLED_PX = 5.0
"""Half the distance of the nearest spectrum beside: a place further off is another lenslet's."""
SMOOTH_PX = 48.0
NAMES = (
    "bad pixels found, hot and dead",
    "bad pixels found, unstable",
    "bad pixels, flagged among good ones",
    "read noise of a plane, found over true",
    "flat, error of a pixel",
    "flat, error over claimed",
    "spectra positions, lenslets mislabelled",
    "spectra positions, typical distance from the first laser",
)


def master_values(known: Known, archive: Archive) -> Values:
    """The figures of what is sealed in an archive; None where it has no such product."""
    found: dict[str, Value] = dict.fromkeys(NAMES, Value(None))
    flats = [one.open() for one in archive.of_type("detector_flat")]
    white = [one for one in flats if str(one.attrs.get("inst_filter", "")).startswith("CAL_BB")]
    if white:
        found |= flat_values(known, white[-1])
    darks = [one.open() for kind in ("dark", "instrument_background") for one in archive.of_type(kind)]
    if darks:
        found |= read_noise_values(known, darks)
    positions = archive.of_type("ifs_spectra_positions")
    if positions:
        found |= position_values(known, positions[-1].open())
    return found


def flat_values(known: Known, flat: Variables) -> Values:
    """Of a white flat's `flags`, `response` and `variance`: bad pixels, and response beside the truth's fine structure.

    Both responses are compared without what varies over more than 48 px: the lamp's shape is not known to either.
    """
    flags = np.asarray(flat["flags"])
    bad = (flags & USELESS) != 0
    defect = np.zeros(bad.shape, np.bool_)
    for places in known.bad.values():
        defect[places[:, 0], places[:, 1]] = True
    found = {
        "bad pixels found, hot and dead": _share(bad, known.bad["static"]),
        "bad pixels found, unstable": _share(bad, known.bad["unstable"]),
        "bad pixels, flagged among good ones": Value(100.0 * float(bad[~defect].mean()), int((~defect).sum())),
    }
    if known.response is not None:
        good = ~(bad | defect)
        response = np.where(good, flat["response"], 1.0).astype(np.float64)
        truth = np.where(good, known.response, 1.0)
        weight = gaussian_filter(good.astype(np.float64), SMOOTH_PX, mode="nearest")
        fine = [
            one / (gaussian_filter(np.where(good, one, 0.0), SMOOTH_PX, mode="nearest") / weight)
            for one in (response, truth)
        ]
        error = (fine[0] - fine[1])[good]
        claimed = np.sqrt(np.asarray(flat["variance"], np.float64)[good])
        found["flat, error of a pixel"] = Value(100.0 * float(np.std(error)), int(good.sum()))
        found["flat, error over claimed"] = Value(float(np.std(error / claimed)), int(good.sum()))
    return found


def _share(bad: NDArray[np.bool_], places: NDArray[np.int64]) -> Value:
    return Value(100.0 * float(bad[places[:, 0], places[:, 1]].mean()), len(places))


def read_noise_values(known: Known, darks: list[Variables]) -> Values:
    """Of darks and backgrounds of two planes or more: noise without the photons of its own light, the worst ratio.

    Only of DITs whose photons are less than the read noise: capacitance between pixels smooths photons, by an amount
    that would pass for read noise.
    """
    ratios = []
    for one in darks:
        if int(one.attrs["n_planes"]) < 2:
            continue
        dit, gain = float(one.attrs["dit_s"]), float(one.attrs["gain"])
        true = known.read_noise(dit)
        noise = gain * float(np.median(np.asarray(one["read_noise"])))
        photons = dit * float(np.median(known.background_e_s))
        if photons < true**2:
            ratios.append(float(np.sqrt(max(noise**2 - photons, 0.0))) / true)
    if not ratios:
        return {}
    worst = max(ratios, key=lambda ratio: abs(ratio - 1.0))
    return {"read noise of a plane, found over true": Value(worst, len(ratios))}


def position_values(known: Known, positions: Variables) -> Values:
    """Of spectra positions: complete lenslets whose first laser is expected at another's place, and the distance."""
    expected = _field_terms(known.x, known.y) @ np.asarray(positions["coefficients"], np.float64).T
    true = np.stack([known.x_laser[:, 0], known.y_laser[:, 0]], axis=1)
    away = np.hypot(*(expected - true)[known.complete].T)
    n = int(known.complete.sum())
    return {
        "spectra positions, lenslets mislabelled": Value(float((away > MISLABELLED_PX).sum()), n),
        "spectra positions, typical distance from the first laser": Value(float(np.median(away)), n),
    }


def _field_terms(x: Float, y: Float) -> Float:
    u, v = x / FIELD_SCALE, y / FIELD_SCALE
    return np.stack([u**i * v**j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)], axis=-1)
