"""Shift across the dispersion and turn of the files of a process: from their own light, else from that of others.

A FLUX file lights too few lenslets to show where spectra stand. The instrument moves slowly: the file nearest in time
that does show it says so, in the same process or in another one (`ifs_place`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.flexure import wander
from archive_proc.kernels.spectra_shift import TURN_RAD
from archive_proc.recipes.ifs.spectrograph import WAVE, products_of
from archive_proc.recipes.ifs.through_air import PLACE, middle_of
from archive_proc.recipes.recipe import Arrays, RecipeInputs

Float64 = NDArray[np.float64]

MEASURED_PX = 0.05
"""Error above which a shift was not measured."""


@dataclass(frozen=True, slots=True)
class Shifts:
    """Of n files."""

    x: Float64
    """(n,) px, of the detector's middle; zero where nothing says anything."""
    error: Float64
    """(n,) px, NaN where nothing says anything."""
    measured: NDArray[np.bool_]
    """(n,) by the file's own light."""
    turn: float
    """rad counter-clockwise, of all files together: what turns the image in a night does so slowly."""
    turn_error: float


@dataclass(frozen=True, slots=True)
class _Known:
    """What one file shows."""

    time_d: float
    x: float
    error: float
    turn: float
    turn_error: float


def own_shifts(summaries: Sequence[Arrays], files: int) -> Shifts:
    """What the files show themselves; `summaries` as `extraction.shift_block` leaves them. Parts count by planes."""
    turn, turn_error = _turn(summaries)
    sums, squares, weights = np.zeros(files), np.zeros(files), np.zeros(files)
    for one in summaries:
        known = np.isfinite(one["shift"]) & np.isfinite(one["error"]) & (one["error"] < MEASURED_PX)
        at, planes, lever = one["file"][known], one["planes"][known].astype(float), one["lever"][known]
        sums[at] += planes * (one["shift"][known] + turn * lever)
        squares[at] += planes * (one["error"][known] ** 2 + (turn_error * lever) ** 2)
        weights[at] += planes
    measured = weights > 0
    x, error = np.zeros(files), np.full(files, np.nan)
    x[measured] = sums[measured] / weights[measured]
    error[measured] = np.sqrt(squares[measured] / weights[measured])
    return Shifts(x, error, measured, turn, turn_error)


def shifts_of(summaries: Sequence[Arrays], inputs: RecipeInputs) -> Shifts:
    """`own_shifts`, and for files that show none that of the file nearest in time, as uncertain as drift makes it."""
    own = own_shifts(summaries, len(inputs.frames))
    times = np.array([middle_of(frame) for frame in inputs.frames])
    known = [
        _Known(float(times[file]), float(own.x[file]), float(own.error[file]), own.turn, own.turn_error)
        for file in np.flatnonzero(own.measured)
    ]
    turn, turn_error = own.turn, own.turn_error
    if inputs.parameters.measure_shift and not own.measured.all():
        others = _others(inputs)
        if not known and others:
            near = min(others, key=lambda one: abs(one.time_d - times.mean()))
            turn, turn_error = near.turn, near.turn_error
        known += others
    x, error = own.x.copy(), own.error.copy()
    for file in np.flatnonzero(~own.measured):
        if known:
            near = min(known, key=lambda one: abs(one.time_d - times[file]))
            x[file] = near.x
            error[file] = np.hypot(near.error, wander(np.array(near.time_d - times[file])))
    return Shifts(x, error, own.measured, turn, turn_error)


def _turn(summaries: Sequence[Arrays]) -> tuple[float, float]:
    """By what all files say; zero within `TURN_RAD` where none says anything."""
    turn, error = (np.concatenate([one[name] for one in summaries]) for name in ("turn", "turn_error"))
    known = np.isfinite(turn) & np.isfinite(error)
    # What is known beforehand stands in each file's answer, and counts once.
    precision = TURN_RAD**-2 + np.sum(error[known] ** -2 - TURN_RAD**-2)
    return float(np.sum(turn[known] / error[known] ** 2) / precision), float(precision**-0.5)


def _others(inputs: RecipeInputs) -> list[_Known]:
    """Files beside the main ones, as far as they were held against the same wavelength solution."""
    own = {frame.file_id for frame in inputs.frames}
    solutions = set(products_of(inputs, 0, (WAVE.role,)))
    names = ("time", "shift_x", "shift_x_error", "turn", "turn_error")
    return [
        _Known(
            *(float(arrays[name][row]) for name in names[:3]), *(np.radians(arrays[name][row]) for name in names[3:])
        )
        for arrays in (one.arrays for one in inputs.calibrations.get(PLACE.role, ()))
        for row, name in enumerate(arrays["file_id"])
        if str(name) not in own and str(arrays["solution"][row]) in solutions and np.isfinite(arrays["shift_x"][row])
    ]
