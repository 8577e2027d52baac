"""The one sweep of `irdis_tracks` over raw planes: what each plane says by itself, and cut-outs for what it cannot.

Per plane: background coefficients; for CENTER planes the waffle fit; for FLUX planes the star and its aligned cut-out.
The shard's science planes are aligned among themselves, so only their common reference need be kept: summaries stay
small however long the sequence is, and do not depend on chunks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.background import (
    FIXED_TERMS,
    HALO_TERMS,
    BlockPlane,
    change_in_part,
    fit_background,
)
from archive_proc.kernels.blocks import block_centres, block_means, shift_blocks
from archive_proc.kernels.calibrate import USELESS, residual_plane
from archive_proc.kernels.psf import CUT_SIZE, PSF_SIZE, aligned_star, find_star, measure_star
from archive_proc.kernels.registration import Patch, high_passed, register_stack, ring
from archive_proc.kernels.sharpness import sharp_pixels
from archive_proc.kernels.stamps import Stamp, corner, cut
from archive_proc.kernels.waffle import find_pattern, fit_waffle, spot_positions
from archive_proc.model.flags import Flag
from archive_proc.recipes.detector import true_dit
from archive_proc.recipes.irdis.backgrounds import LEVEL_MODES, PlaneBackground, background_for
from archive_proc.recipes.irdis.scenes import Pair, Scene, scene_of
from archive_proc.recipes.recipe import Array, Arrays, Block, BlockOutput, Calibration, RecipeInputs

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

STAMP = 192
"""Pixels: holds the waffle spots of every filter and the ring that registration uses."""
SPOT_CLEARANCE = 3.5
"""lambda / D about each waffle spot that neither background nor registration sees."""


def science_role(inputs: RecipeInputs) -> str:
    """OBJECT, or CENTER for continuous waffle, whose science planes have that type."""
    return "OBJECT" if "OBJECT" in inputs.frame_roles else "CENTER"


def n_terms(inputs: RecipeInputs) -> int:
    """Coefficients a plane has at most, over all backgrounds given."""
    modes = [int(one.arrays["modes"].shape[0]) for one in _backgrounds(inputs) if "modes" in one.arrays]
    return len(FIXED_TERMS) + max(LEVEL_MODES, *modes, 0)


def _backgrounds(inputs: RecipeInputs) -> tuple[Calibration, ...]:
    return inputs.calibrations.get("background", ())


@dataclass(frozen=True, slots=True)
class _Ground:
    """A file's background with what follows from it for every plane."""

    background: PlaneBackground
    good: Mask
    inverse: Float32
    """1 / response where good, else 0."""


def _ground(inputs: RecipeInputs, file: int) -> _Ground:
    background = background_for(inputs, file)
    response = background.basis.response
    good = (response > 0) & ((background.flags & (USELESS | int(Flag.OUTSIDE))) == 0)
    inverse = np.where(good, 1.0 / np.where(good, response, 1.0), 0.0).astype(np.float32)
    return _Ground(background, good, inverse)


@dataclass(slots=True)
class _Plane:
    """One plane above its basis' level, output offsets removed."""

    residual: Float32
    scene: Scene
    ground: _Ground
    coefficients: Float64

    def stamps(self, where: tuple[tuple[int, int], tuple[int, int]], size: int) -> tuple[Stamp, Stamp]:
        """Both halves cut at (x0, y0): background subtracted, flat divided, ADU per DIT.

        What is sharper than light has no weight: a pixel newly hot stands still and would hold the star's track.
        """
        left, right = (self._stamp(half, *where[half], size) for half in range(2))
        return left, right

    def _stamp(self, half: int, x0: int, y0: int, size: int) -> Stamp:
        basis = self.ground.background.basis
        rows = slice(max(y0, 0), min(y0 + size, self.residual.shape[-2]))
        columns = slice(max(x0, 0), min(x0 + size, self.residual.shape[-1]))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            nothing = np.zeros((1, 1), np.float32)
            return cut(nothing, nothing, -size, -size, size)
        smooth = change_in_part(basis, self.coefficients, half, rows, columns)
        inverse = self.ground.inverse[half, rows, columns]
        residual = self.residual[half, rows, columns]
        values = (residual - smooth) * inverse
        # Light for the photon noise: the star's and, where the basis knows it, the sky's.
        thermal = float(np.median(basis.first_mode[half])) if self.ground.background.method == "sky_basis" else 0.0
        light = np.maximum(residual, 0.0) + max(thermal, 0.0)
        variance = (light / self.scene.gain + self.ground.background.read_noise**2) * inverse**2
        good = inverse > 0
        weight = np.where(good, 1.0 / np.where(good, variance, 1.0), 0.0).astype(np.float32)
        alone = (values[None], variance.astype(np.float32)[None], good[None])
        weight.reshape(-1)[sharp_pixels(*alone, (self.scene.lambda_d[half],))] = 0.0
        placed = cut(values, weight, x0 - columns.start, y0 - rows.start, size)
        return Stamp(placed.values, placed.weight, x0, y0)


def look(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """The summary of one shard; see the module's first lines."""
    raw = np.asarray(block.pixels["raw"], np.float32)
    files = inputs.planes.file[block.planes]
    grounds: dict[int, _Ground] = {}
    rows = _Rows(len(block.planes), n_terms(inputs))
    science = science_role(inputs)
    residual = np.empty((2, raw.shape[1], raw.shape[2] // 2), np.float32)
    patches: list[tuple[int, Patch]] = []
    for index, file in enumerate(int(one) for one in files):
        role = inputs.frame_roles[file]
        if file not in grounds:
            # Files follow each other in time: only the present one's masters are worth their memory.
            grounds = {file: _same_ground(inputs, file, grounds)}
        plane = _open_plane(raw[index], inputs, file, grounds[file], rows, index, residual)
        if role == "FLUX":
            _look_at_star(plane, rows, index)
        else:
            where = _corners(plane.scene.guess)
            rows.corner[index] = where
            stamps = plane.stamps(where, STAMP)
            if role == "CENTER":
                _look_at_spots(stamps, plane.scene, rows, index)
            patch = high_passed(stamps, plane.scene.lambda_d)
            if role == science:
                patches.append((index, patch))
            else:
                rows.keep_center(index, patch)
    _align(patches, block, inputs, rows)
    return BlockOutput(rows.summary(block.planes))


def _same_ground(inputs: RecipeInputs, file: int, grounds: dict[int, _Ground]) -> _Ground:
    """The ground of a file, taken over from the file before where both are served alike."""
    for other, ground in grounds.items():
        same = all(
            [one.product_id for one in inputs.serving(role, file)]
            == [one.product_id for one in inputs.serving(role, other)]
            for role in ("background", "flat", "bad_pixels")
        )
        if same and true_dit(inputs.frames[file]) == true_dit(inputs.frames[other]):
            return ground
    grounds.clear()
    return _ground(inputs, file)


def _corners(guess: tuple[Pair, Pair]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where both stamps are cut: the same whole number of pixels apart in every plane, whatever its dither."""
    x0, y0 = corner(guess[0], STAMP)
    apart = [math.floor(guess[1][axis] - guess[0][axis] + 0.5) for axis in (0, 1)]
    return (x0, y0), (x0 + apart[0], y0 + apart[1])


def _open_plane(
    raw: Float32, inputs: RecipeInputs, file: int, ground: _Ground, rows: _Rows, index: int, into: Float32
) -> _Plane:
    """Level and offsets off (the residual is put `into`), background fitted; fills the plane's background rows."""
    background = ground.background
    scene = scene_of(inputs.frames[file])
    residual = residual_plane(raw, background.basis.level, background.unlit, into)
    means, counts = block_means(residual, ground.good, ground.inverse)
    coefficients = np.zeros((2, rows.coefficients.shape[2]))
    shift = background.shift(scene.dither) if background.method == "sky_basis" else (0.0, 0.0)
    role = inputs.frame_roles[file]
    star = _halo_centre(means, counts, scene) if role == "FLUX" else scene.guess
    for half in range(2):
        level = np.maximum(
            means[half] + (background.basis.first_mode[half] if background.method == "sky_basis" else 0), 0
        )
        noise = np.sqrt((level / scene.gain + background.read_noise**2) / np.maximum(counts[half], 1.0))
        left_out = _spot_blocks(scene, half, means.shape[1]) if role == "CENTER" else np.zeros(means.shape[1:], bool)
        plane = BlockPlane(means[half], np.where(counts[half] > 0, noise, np.nan), star[half], left_out)
        fit = fit_background(background.basis, half, plane, shift)
        coefficients[half, : fit.coefficients.size] = fit.coefficients
        rows.halo[index, half] = fit.halo
        rows.chi2[index, half] = fit.chi2
        rows.background_error[index, half] = fit.error
        smooth = background.basis.smooth(coefficients)[half]
        if background.method == "sky_basis":
            smooth = shift_blocks(smooth + background.basis.first_mode[half], shift)
        lit = np.isfinite(means[half])
        rows.level[index, half] = float(np.median(smooth[lit])) / scene.dit_s if lit.any() else np.nan
    rows.coefficients[index] = coefficients
    rows.method[index] = background.method
    rows.constrained[index] = background.constrained
    return _Plane(residual, scene, ground, coefficients)


def _halo_centre(means: Float64, counts: Float64, scene: Scene) -> tuple[Pair, Pair]:
    """Where a FLUX plane's star stands to within a block, the same offset from the mask in both halves."""
    score = np.zeros(means.shape[1:])
    centres = block_centres(means.shape[1])
    for half in range(2):
        above = np.nan_to_num(means[half] - np.nanmedian(means[half]))
        steps = [round((scene.guess[half][axis] - scene.guess[0][axis]) / 16) for axis in (1, 0)]
        score += np.roll(above * (counts[half] > 0), (-steps[0], -steps[1]), axis=(0, 1))
    y, x = np.meshgrid(centres, centres, indexing="ij")
    near = np.hypot(x - scene.guess[0][0], y - scene.guess[0][1]) < 320
    row, column = np.unravel_index(int(np.argmax(np.where(near, score, -np.inf))), score.shape)
    away = (centres[column] - scene.guess[0][0], centres[row] - scene.guess[0][1])
    left, right = ((float(x + away[0]), float(y + away[1])) for x, y in scene.guess)
    return left, right


def _spot_blocks(scene: Scene, half: int, n_blocks: int) -> Mask:
    """Blocks that the light of waffle spots reaches."""
    xs, ys = spot_positions(scene.guess[half], 14.0, 0.0, scene.optics[half])
    centres = block_centres(n_blocks)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    hit = np.zeros(x.shape, bool)
    for sx, sy in zip(xs, ys, strict=True):
        hit |= np.hypot(x - sx, y - sy) < 40.0
    return hit


def _look_at_spots(stamps: tuple[Stamp, Stamp], scene: Scene, rows: _Rows, index: int) -> None:
    coarse = tuple(find_pattern(stamps[half], scene.guess[half], scene.optics[half]) for half in range(2))
    fit = fit_waffle(stamps, scene.optics, coarse)
    if not fit.good:
        return
    rows.center[index] = fit.center
    rows.center_error[index] = fit.error
    rows.closure[index] = fit.closure_mas
    rows.spot_flux[index] = np.nanmean(fit.flux, axis=1) / scene.dit_s
    rows.waffle[index] = fit.radius_factor, fit.angle


def _look_at_star(plane: _Plane, rows: _Rows, index: int) -> None:
    guess = plane.scene.guess
    size = 700
    where = (corner(guess[0], size), corner(guess[1], size))
    wide = plane.stamps(where, size)
    values = np.stack([one.values for one in wide])
    weight = np.stack([one.weight for one in wide])
    local = tuple((guess[half][0] - where[half][0], guess[half][1] - where[half][1]) for half in range(2))
    found = find_star(values, weight, (local[0], local[1]))
    if found is None:
        return
    cuts = np.zeros((2, 2, PSF_SIZE, PSF_SIZE), np.float32)
    for half in range(2):
        x0, y0 = corner(found.xy[half], CUT_SIZE)
        inner = cut(values[half], weight[half], x0, y0, CUT_SIZE)
        placed = Stamp(inner.values, inner.weight, x0 + where[half][0], y0 + where[half][1])
        start = (found.xy[half][0] + where[half][0], found.xy[half][1] + where[half][1])
        star = measure_star(placed, start)
        per_second = 1.0 / (plane.scene.dit_s * plane.scene.nd[half])
        rows.center[index, half] = star.xy
        rows.center_error[index, half] = star.error
        rows.aperture[index, half] = star.aperture * per_second
        rows.aperture_error[index, half] = star.aperture_error * per_second
        rows.peak[index, half] = star.peak
        aligned, inverse = aligned_star(placed, star.xy)
        cuts[half, 0] = aligned * np.float32(per_second)
        cuts[half, 1] = inverse / np.float32(per_second**2)
    rows.keep_star(index, cuts)


def _align(patches: list[tuple[int, Patch]], block: Block, inputs: RecipeInputs, rows: _Rows) -> None:
    """Shifts and brightness of the shard's science planes among themselves, and their reference."""
    if not patches:
        return
    scene = scene_of(inputs.frames[int(inputs.planes.file[block.planes[patches[0][0]]])])
    starts = np.array(
        [start_in_stamp(inputs, int(block.planes[index]), rows.corner[index]) for index, _ in patches], dtype=np.float64
    )
    usable = np.array([bool(inputs.planes.usable[block.planes[index]]) for index, _ in patches])
    registered = register_stack([patch for _, patch in patches], starts, stamp_ring(scene), usable)
    for (index, _), shift in zip(patches, registered.shifts, strict=True):
        rows.shift[index] = shift.xy
        rows.shift_error[index] = shift.error
        rows.brightness[index] = shift.brightness
        rows.brightness_error[index] = shift.brightness_error
        rows.registered[index] = shift.good
    if usable.any():
        rows.references.append(np.stack([registered.reference.values, registered.reference.weight]))


def stamp_ring(scene: Scene) -> Mask:
    """(2, STAMP, STAMP) pixels that registration looks at."""
    middle = (STAMP // 2, STAMP // 2)
    return ring(STAMP, (middle, middle), scene.lambda_d)


def start_in_stamp(inputs: RecipeInputs, plane: int, where: NDArray[np.int64]) -> Pair:
    """Expected shift of a plane in its stamp: the fraction of a pixel that cutting left over, from the left half."""
    guess = scene_of(inputs.frames[int(inputs.planes.file[plane])]).guess[0]
    return guess[0] - where[0, 0] - STAMP // 2, guess[1] - where[0, 1] - STAMP // 2


class _Rows:
    """The shard's rows, filled plane by plane; NaN where a plane has no such thing."""

    def __init__(self, n: int, terms: int) -> None:
        self.coefficients = np.zeros((n, 2, terms))
        self.halo = np.zeros((n, 2, len(HALO_TERMS)))
        self.chi2, self.level, self.background_error = (np.full((n, 2), np.nan) for _ in range(3))
        self.method = np.full(n, "", dtype="U24")
        self.constrained = np.ones(n, bool)
        self.corner = np.zeros((n, 2, 2), np.int64)
        self.center, self.center_error = np.full((n, 2, 2), np.nan), np.full((n, 2, 2), np.nan)
        self.closure, self.spot_flux = np.full((n, 2), np.nan), np.full((n, 2), np.nan)
        self.waffle = np.full((n, 2), np.nan)
        self.aperture, self.aperture_error, self.peak = (np.full((n, 2), np.nan) for _ in range(3))
        self.shift, self.shift_error = np.full((n, 2), np.nan), np.full((n, 2), np.inf)
        self.brightness, self.brightness_error = np.ones((n, 2)), np.full((n, 2), np.inf)
        self.registered = np.zeros(n, bool)
        self.references: list[Float32] = []
        self._stars: list[tuple[int, Float32]] = []
        self._centers: list[tuple[int, Float32]] = []

    def keep_star(self, index: int, cuts: Float32) -> None:
        self._stars.append((index, cuts))

    def keep_center(self, index: int, patch: Patch) -> None:
        self._centers.append((index, np.stack([patch.values, patch.weight])))

    def summary(self, planes: NDArray[np.int32]) -> dict[str, Array]:
        """All rows with the planes they belong to."""
        return {
            "planes": planes,
            "coefficients": self.coefficients,
            "halo": self.halo,
            "chi2": self.chi2,
            "level": self.level,
            "background_error": self.background_error,
            "method": self.method,
            "constrained": self.constrained,
            "corner": self.corner,
            "center": self.center,
            "center_error": self.center_error,
            "closure": self.closure,
            "spot_flux": self.spot_flux,
            "waffle": self.waffle,
            "aperture": self.aperture,
            "aperture_error": self.aperture_error,
            "peak": self.peak,
            "shift": self.shift,
            "shift_error": self.shift_error,
            "brightness": self.brightness,
            "brightness_error": self.brightness_error,
            "registered": self.registered,
            "references": _stacked(self.references, (0, 2, 2, STAMP, STAMP)),
            "star_planes": planes[[index for index, _ in self._stars]],
            "stars": _stacked([cuts for _, cuts in self._stars], (0, 2, 2, PSF_SIZE, PSF_SIZE)),
            "center_planes": planes[[index for index, _ in self._centers]],
            "center_patches": _stacked([patch for _, patch in self._centers], (0, 2, 2, STAMP, STAMP)),
        }


def _stacked(found: list[Float32], empty: tuple[int, ...]) -> Float32:
    return np.stack(found) if found else np.zeros(empty, np.float32)
