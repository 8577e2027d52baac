"""What the light of one file says before its spectra are fitted, and its way from `ifs_place` to the extraction.

`ifs_place` measures it for other files of the night, and leaves it in its product as numbers whose order is an
attribute; whoever extracts the same file from the same planes with the same calibrations takes it from there.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.spectra_shift import Shift
from archive_proc.recipes.ifs.spectrograph import products_of
from archive_proc.recipes.ifs.through_air import PLACE
from archive_proc.recipes.irdis.coordinates import strings
from archive_proc.recipes.recipe import Arrays, RecipeInputs

Float64 = NDArray[np.float64]

LAYOUT = "measured_layout"
"""Attribute of `ifs_place`: name and shape of what stands in a row of `measured`, in order."""
NUMBERS = {"shift": math.nan, "error": math.nan, "lever": math.nan, "turn": math.nan, "turn_error": math.nan}
"""Of a file that says nothing."""


def light_of(found: Shift, number: int) -> Arrays:
    """One of the images that were measured together; m channels.

    `shift`, `error`, `lever`, `turn`, `turn_error`, `uneven` () of `Shift`; where patches show light, too: `light` (m),
    `response` (m, ...) of it, `normal` (m, BAND), `pull` (m) and `noise` (m, BAND) of the spectrum that lenslets share
    (`kernels.common_light`). All float64.
    """
    pose = (found.x, found.error, found.lever, found.turn, found.turn_error)
    out = {name: np.asarray(one[number]) for name, one in zip(NUMBERS, pose, strict=True)}
    if not found.light.size:
        return out | {"uneven": np.asarray(1.0)}
    common = found.common[number]
    equations = {"normal": common.normal, "pull": common.pull, "noise": common.noise}
    light = {"uneven": found.uneven[number], "light": found.light[number], "response": found.response}
    return {name: np.asarray(one, np.float64) for name, one in {**out, **light, **equations}.items()}


def in_rows(files: NDArray[np.int32], known: Mapping[int, Arrays]) -> dict[str, NDArray[Any]]:
    """`file` and the variables of `light_of`, one row a file; zeros for what is not known, numbers NaN.

    Variables that no file has are there without values.
    """
    shapes = {name: one.shape for light in known.values() for name, one in light.items()}
    empty = {name: np.full(shape, NUMBERS.get(name, 0.0)) for name, shape in (_NOTHING | shapes).items()}
    empty["uneven"] = np.asarray(1.0)
    rows = {name: [known.get(int(file), empty).get(name, nothing) for file in files] for name, nothing in empty.items()}
    return {"file": files, **{name: np.array(one, np.float64) for name, one in rows.items()}}


_NOTHING: dict[str, tuple[int, ...]] = {
    **dict.fromkeys((*NUMBERS, "uneven"), ()),
    **dict.fromkeys(("light", "response", "normal", "pull", "noise"), (0,)),
}


def to_hand_over(summaries: Sequence[Arrays], inputs: RecipeInputs, roles: Sequence[str]) -> dict[str, NDArray[Any]]:
    """`measured` (file, value) float64 and `basis` (file,) of all shards' summaries, and `layout` of `measured`.

    `basis` says what a row rests on: empty, and the row NaN, for files without light, for those that lie in several
    shards, and for those that were read in part.
    """
    read = np.concatenate([one["read"] for one in summaries])
    planes = np.bincount(inputs.planes.file, minlength=len(inputs.frames))
    rows: dict[int, Float64] = {}
    layout: list[tuple[str, tuple[int, ...]]] = []
    for one in summaries:
        names = [name for name in _NOTHING if one[name].size]
        for row, file in enumerate(int(number) for number in one["file"]):
            whole = one["planes"][row] == planes[file] and read[inputs.planes.file == file].all()
            if whole and one["light"].size and one["light"][row].any():
                layout = [(name, one[name].shape[1:]) for name in names]
                rows[file] = np.concatenate([one[name][row].ravel() for name in names])
    width = max(sum(math.prod(shape) for _, shape in layout), 1)
    nothing = np.full(width, np.nan)
    files = range(len(inputs.frames))
    return {
        "measured": np.array([rows.get(file, nothing) for file in files]).reshape(len(files), width),
        "basis": strings(basis_of(inputs, file, roles) if file in rows else "" for file in files),
        "layout": strings(f"{name} {' '.join(str(size) for size in shape)}".strip() for name, shape in layout),
    }


def handed_over(inputs: RecipeInputs, files: Sequence[int], roles: Sequence[str]) -> dict[int, Arrays]:
    """What products of `ifs_place` say of main files, as far as it rests on what they would be measured with now."""
    wanted = {str(inputs.frames[file].file_id): file for file in files}
    found: dict[int, Arrays] = {}
    for place in inputs.calibrations.get(PLACE.role, ()):
        for row, name in enumerate(place.arrays["file_id"] if LAYOUT in place.attrs else ()):
            file = wanted.get(str(name))
            if file is not None and str(place.arrays["basis"][row]) == basis_of(inputs, file, roles):
                found[file] = _unpacked(place.arrays["measured"][row], place.attrs[LAYOUT])
    return found


def _unpacked(values: Float64, layout: Sequence[str]) -> Arrays:
    out, at = {}, 0
    for entry in layout:
        name, *sizes = entry.split()
        shape = tuple(int(one) for one in sizes)
        stop = at + math.prod(shape)
        out[name], at = np.array(values[at:stop], np.float64).reshape(shape), stop
    return out


def basis_of(inputs: RecipeInputs, file: int, roles: Sequence[str]) -> str:
    """Digest of what the light of a main file is measured with: calibrations, planes, hold of the spectra, and how the
    templates weigh light inside channels.
    """
    usable = inputs.planes.plane[(inputs.planes.file == file) & inputs.planes.usable]
    chosen = inputs.parameters
    told = (*products_of(inputs, file, roles), repr(chosen.mu), repr(chosen.channel_weight), repr(usable.tolist()))
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
