"""Calibrations made from truth: where the light falls in one file, its PSFlets and bad pixels, as recipes take them.

What the recipes' own forms cannot hold stays untrue: PSFlets between the field positions and wavelengths that truth
keeps, and how a lenslet's displacement differs from one wavelength to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.ifs.known import Float, Known
from archive_proc.kernels.dispersion import Dispersion, field_terms, wavelength_terms
from archive_proc.kernels.lenslets import Lenslets
from archive_proc.kernels.loops.spots import spline_weights
from archive_proc.kernels.psflets import NODES, PsfletModel, orthonormal_field
from archive_proc.model.flags import Flag
from archive_proc.recipes.ifs.solutions import Solution, psflets_content, read_psflets, read_solution, solution_content
from archive_proc.recipes.recipe import Calibration, RecipeInputs
from archive_proc.simulate.ifs.truth import IfsTruth

ORDER = 4
"""Of ln wavelength in the true dispersion law."""
FINE = 8
"""Samples per pixel of the true images."""
_REACH = 9.5
"""Offset of the first spline node from the PSFlet's centre, px: as the kernels' model has it."""
FIELD_DEGREE = 3
FLAGS: Mapping[str, Flag] = {"static": Flag.HOT, "unstable": Flag.NOISY, "new": Flag.NEW_BAD}
DETECTOR_TYPES = ("dark", "instrument_background", "detector_flat", "bad_pixels")


def true_dispersion(known: Known, pose: Float) -> Dispersion:
    """The recipes' law of field and wavelength through the true places of a file displaced by `pose` (3,)."""
    x, y = known.positions(known.position_nm, pose)
    field = field_terms(known.x, known.y)
    colour = wavelength_terms(1e-3 * known.position_nm, ORDER)
    laws = []
    for places in (x, y):
        by_field = np.linalg.lstsq(field, places, rcond=None)[0]
        laws.append(np.linalg.lstsq(colour, by_field.T, rcond=None)[0].T)
    return Dispersion(np.array(laws))


def true_solution(known: Known, pose: Float, found: Calibration) -> Calibration:
    """An `ifs_wavelength_solution` with the lenslets that truth has; attributes as in the one that was found."""
    lenslets = Lenslets(known.q.astype(np.int32), known.r.astype(np.int32), known.x, known.y)
    measured = read_solution(found)
    law = true_dispersion(known, pose)
    x, y = known.positions(known.position_nm, pose)
    smooth = law.positions(known.x, known.y, 1e-3 * known.position_nm)
    solution = Solution(
        mode=measured.mode,
        dispersion=law,
        lenslets=lenslets,
        complete=known.complete,
        throughput=np.ones(len(known.x)),
        offset=np.stack([(x - smooth[0]).mean(axis=1), (y - smooth[1]).mean(axis=1)]),
    )
    content = solution_content(solution, {}, dict(found.attrs))
    return replace(found, arrays=content.arrays, attrs=content.attrs)


def true_psflets(known: Known, truth: IfsTruth, found: Calibration) -> Calibration:
    """An `ifs_psflets` fitted to the true images, inter-pixel capacitance included; colours as in the one found."""
    at_x, at_y, wavelength_nm, images = truth.psflets()
    span = read_psflets(found).colour_um
    orthonormal = orthonormal_field(known.x, known.y)
    splines = _splines(_with_capacitance(images, truth.facts["ipc"]))
    model = PsfletModel(np.empty((0, NODES, NODES)), np.empty((0, 2), np.int64), span, orthonormal)
    grid_x, grid_y = np.meshgrid(at_x, at_y)
    field = field_terms(grid_x.ravel(), grid_y.ravel()) @ orthonormal
    colour = model.colour(1e-3 * wavelength_nm)
    # Only what lies between the lasers changes with the colour coordinate; outside it is held.
    inner = np.flatnonzero(np.abs(colour) < 1.0)
    used = np.unique(np.concatenate([inner, [np.argmin(np.abs(colour + 1.0)), np.argmin(np.abs(colour - 1.0))]]))
    order = int(min(2, len(used) - 1))
    powers = [(term, power) for power in range(order + 1) for term in range(field.shape[1])]
    design = np.concatenate(
        [np.stack([field[:, term] * colour[w] ** power for term, power in powers], axis=1) for w in used]
    )
    values = np.concatenate([splines[:, :, w].reshape(-1, NODES * NODES) for w in used])
    terms = np.linalg.lstsq(design, values, rcond=None)[0].reshape(-1, NODES, NODES)
    content = psflets_content(PsfletModel(terms, np.array(powers), span, orthonormal), dict(found.attrs))
    return replace(found, arrays=content.arrays, attrs=content.attrs)


def _with_capacitance(images: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Each pixel's neighbours see a share of its charge."""
    out = (1.0 - 4.0 * share) * images
    for axis in (-1, -2):
        for step in (-FINE, FINE):
            out = out + share * np.roll(images, step, axis=axis)
    return np.asarray(out, np.float32)


def _splines(images: NDArray[np.float32]) -> Float:
    """(..., NODES, NODES) coefficients of the cubic splines nearest to images in steps of 1 / FINE px, in both axes."""
    size = images.shape[-1]
    at = (np.arange(size) - size // 2) / FINE
    design = np.zeros((size, NODES))
    for row, place in enumerate(at):
        place_in_nodes = 2.0 * (place + _REACH)
        node = int(np.floor(place_in_nodes))
        for k, weight in enumerate(spline_weights(place_in_nodes - node)):
            if 0 <= node - 1 + k < NODES:
                design[row, node - 1 + k] = weight
    kept = np.abs(at) <= 8.5
    inverse = np.linalg.pinv(design[kept], rcond=1e-6)
    inside = images[..., kept, :][..., :, kept].astype(np.float64)
    found = np.einsum("ai,...ij,bj->...ab", inverse, inside, inverse, optimize=True)
    # Sum 1 over pixels: a spline's coefficients add up to four times its sum over pixels.
    return np.asarray(found * 4.0 / found.sum(axis=(-2, -1), keepdims=True))


def true_flags(known: Known, found: Calibration) -> Calibration:
    """A detector product with true flags: those of `bad_pixels` by kind, none in the others, for they are joined."""
    flags = np.zeros(np.asarray(found.arrays["flags"]).shape, np.uint16)
    if found.product_type == "bad_pixels":
        for kind, flag in FLAGS.items():
            pixels = known.bad[kind]
            flags[pixels[:, 0], pixels[:, 1]] |= np.uint16(int(flag))
    return replace(found, arrays={**found.arrays, "flags": flags})


def with_truth(inputs: RecipeInputs, known: Known, truth: IfsTruth | None, pose: Float) -> RecipeInputs:
    """The inputs of an extraction with true calibrations; PSFlets stay as they were found where `truth` is None."""

    def better(one: Calibration) -> Calibration:
        if one.product_type == "ifs_wavelength_solution":
            # A new id: recipes keep what they made of a calibration by it.
            return replace(true_solution(known, pose, one), product_id=f"{one.product_id} true")
        if one.product_type == "ifs_psflets" and truth is not None:
            return true_psflets(known, truth, one)
        if one.product_type in DETECTOR_TYPES and "flags" in one.arrays:
            return true_flags(known, one)
        return one

    return replace(
        inputs, calibrations={role: tuple(better(one) for one in given) for role, given in inputs.calibrations.items()}
    )
