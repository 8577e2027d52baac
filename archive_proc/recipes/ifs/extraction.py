"""The two passes that turn raw planes into spectra: the shift of every file, then the joint fit.

Lamps, laser frames and science go through the same passes. Planes that share masters, DIT, kind and shift are fitted
together; the shift that templates are built at comes in steps, so that a slow drift rebuilds them rarely, and what a
plane gets depends on its shard alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.exposures import LAMP_ERROR, Exposures, RobustSettings, put_in_order, room_for_results
from archive_proc.kernels.extraction import LANES
from archive_proc.kernels.joint_fit import LAGS, REACH, correlations, region_resolution
from archive_proc.kernels.lenslets import ADJACENT
from archive_proc.kernels.microspectra import Templates
from archive_proc.kernels.plane_spectra import plane_spectra
from archive_proc.kernels.scattered import take_scattered_off
from archive_proc.kernels.spectra_shift import Shift, measure_shift
from archive_proc.model.flags import Flag
from archive_proc.recipes.detector import true_dit
from archive_proc.recipes.ifs.file_light import handed_over, in_rows, light_of
from archive_proc.recipes.ifs.planes import (
    BACKGROUND,
    BAD_PIXELS,
    DARK,
    FLAT,
    DetectorMasters,
    detector_masters,
    electrons,
    good,
    saturated,
    smooth_floor,
)
from archive_proc.recipes.ifs.shifts import shifts_of
from archive_proc.recipes.ifs.spectrograph import PSFLETS, WAVE, Spectrograph, products_of, spectrograph
from archive_proc.recipes.ifs.through_air import SHIFT_STEP_PX, air_shape, on_sky, settle_air
from archive_proc.recipes.ifs.unread import expect_one, read_planes, unread, unread_in_all
from archive_proc.recipes.recipe import Arrays, Block, BlockOutput, RecipeInputs

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

_FITTED = ("chi2", "clipped", "background", "residual", "ridge", "last_step")
REGIONS = 5
"""Regions along a side of the field for which the resolution is kept."""
TURN_STEP_RAD = 5e-6
"""Templates stand at whole multiples of this: half of it moves spectra at the detector's edge by 0.003 px."""
PARTS = 4
"""Of a channel, in which the air's bands are held against the light: 3 nm in YJ, 5 in YJH."""
ROLES = (WAVE.role, PSFLETS.role, FLAT.role, BAD_PIXELS.role, DARK.role, BACKGROUND.role)


@dataclass(frozen=True, slots=True)
class ExtractionParameters:
    """What a user may choose (notes/ifs 6.6)."""

    mu: float = 0.1
    """Strength of the smoothness prior: less gives finer lines and more noise (0.03 for lasers)."""
    find_outliers: bool = True
    """False: every pixel counts but those known to be bad, as laser frames need it."""
    measure_shift: bool = True
    """False: the spectra are taken to stand where the wavelength solution puts them."""
    channel_weight: tuple[float, ...] = ()
    """Expected spectrum (star times transmission), one value a channel; shape of the prior and weight inside channels.
    Empty: flat, but for `air`."""
    air: bool = True
    """Whether the air's transmission is the prior's shape, where its water is seen in the light of the sky."""
    common: bool = True
    """Whether the spectrum that lenslets share is the prior's shape, where no air is seen and it is bright enough."""

    def robust(self, lamp: bool) -> RobustSettings:
        """For the kernels; `lamp`: of light from inside the instrument."""
        return RobustSettings(mu=self.mu, outliers=self.find_outliers, even_error=LAMP_ERROR if lamp else 0.0)

    def prior(self, shared: Arrays, edges_um: Float64) -> Float64 | None:
        """(m,) shape of the prior, None: flat; `shared` as `settle_shifts` leaves it."""
        if self.channel_weight:
            shape = np.asarray(self.channel_weight, np.float64)
        elif shared["common"].size:
            return np.asarray(shared["common"])
        elif np.isfinite(shared["air"]).all():
            shape = air_shape(float(shared["air"][0]), float(shared["air"][2]), edges_um)
        else:
            return None
        # Where no light is expected the prior still holds the spectrum: at a hundredth of its strength's inverse.
        return np.asarray(np.maximum(shape, 0.03 * shape.max()) / shape.max())


@dataclass(slots=True)
class Instrument:
    """Masters, spectrograph and templates of the main files, made once a task (`of`)."""

    inputs: RecipeInputs
    weight: tuple[float, ...] = ()
    _masters: dict[tuple[object, ...], DetectorMasters] = field(default_factory=dict)
    _floors: dict[tuple[object, ...], Float32] = field(default_factory=dict)
    _spectrographs: dict[tuple[str, ...], Spectrograph] = field(default_factory=dict)
    _templates: tuple[tuple[object, ...], Templates] | None = None

    @classmethod
    def of(cls, block: Block, inputs: RecipeInputs) -> Instrument:
        """The one that all blocks of a task share."""
        return block.room.once("instrument", lambda: cls(inputs, inputs.parameters.channel_weight))

    def masters(self, file: int) -> DetectorMasters:
        """The detector for one main file."""
        key = self._detector(file)
        if key not in self._masters:
            role = BACKGROUND.role if self.inputs.serving(BACKGROUND.role, file) else DARK.role
            self._masters[key] = detector_masters(self.inputs, file, dark_role=role)
        return self._masters[key]

    def floor(self, file: int) -> Float32:
        """`smooth_floor` of its masters."""
        key = self._detector(file)
        if key not in self._floors:
            self._floors[key] = smooth_floor(self.masters(file))
        return self._floors[key]

    def _detector(self, file: int) -> tuple[object, ...]:
        """What files with the same masters share."""
        frame = self.inputs.frames[file]
        return (*products_of(self.inputs, file, ROLES), frame.dit_s, frame.realdit_s, frame.gain)

    def spectrograph(self, file: int) -> Spectrograph:
        """Where the light of one main file falls."""
        key = products_of(self.inputs, file, (WAVE.role, PSFLETS.role))
        if key not in self._spectrographs:
            self._spectrographs[key] = spectrograph(self.inputs, file, self.weight)
        return self._spectrographs[key]

    def templates(self, file: int, shift_x: float, shift_y: float = 0.0, turn: float = 0.0) -> Templates:
        """Templates for one main file; the last ones made are kept, for they fill half a gigabyte."""
        key = (*products_of(self.inputs, file, (WAVE.role, PSFLETS.role)), shift_x, shift_y, turn)
        if self._templates is None or self._templates[0] != key:
            self._templates = None  # there is no room for both
            self._templates = (key, self.spectrograph(file).templates(shift_x, shift_y, turn))
        return self._templates[1]

    def exposures(self, raw: Float32, file: int) -> Exposures:
        """Planes (n, ny, nx) of one DIT as the fit takes them; `raw` becomes their light."""
        masters = self.masters(file)
        full = []
        known = good(masters) & ~unread_in_all(raw)
        scale = np.float32(masters.gain) / masters.response
        for plane in raw:
            full.append(np.flatnonzero((saturated(plane, masters) | unread(plane)) & known))
            plane -= masters.level
            plane *= scale
            take_scattered_off(plane, self.spectrograph(file).scattered, known)
        return Exposures(
            light=raw,
            floor=self.floor(file),
            response=masters.response,
            good=known,
            background=masters.level,
            saturated=tuple(full) if any(one.size for one in full) else (),
        )


def shift_block(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """What the light of each file's planes in one shard says (`file_light.light_of`), one row a file: `file`, `planes`
    (how many the shard holds) and each variable of it; none of these where no file says anything.

    And which planes hold an image, one row a plane (`read`): files without any say nothing. What `ifs_place` measured
    of the same planes with the same calibrations is not measured again.
    """
    files = inputs.planes.file[block.planes]
    present = np.unique(files)
    read = read_planes(block)
    counts = np.array([int((files == one).sum()) for one in present])
    known: dict[int, Arrays] = {}
    if inputs.parameters.measure_shift:
        whole = present[counts == np.bincount(inputs.planes.file)[present]]
        known = handed_over(inputs, [int(one) for one in whole], ROLES)
        instrument = Instrument.of(block, inputs)
        rest = np.setdiff1d(np.intersect1d(present, files[read]), np.array(list(known), files.dtype))
        for alike in _alike(inputs, rest):
            for first in range(0, len(alike), LANES):
                some = [int(one) for one in alike[first : first + LANES]]
                images = np.stack([_file_image(block, inputs, instrument, one, read) for one in some])
                found = _measure(instrument, images, some[0])
                known |= {file: light_of(found, number) for number, file in enumerate(some)}
    return BlockOutput({**in_rows(present, known), "planes": counts, "read": read})


def _alike(inputs: RecipeInputs, files: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """Files grouped by masters, DIT and kind."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for file in files:
        groups.setdefault(_kind(inputs, int(file)), []).append(int(file))
    return [np.array(one, np.int32) for one in groups.values()]


def _kind(inputs: RecipeInputs, file: int) -> tuple[object, ...]:
    """What planes must share to be fitted together."""
    frame = inputs.frames[file]
    return (*products_of(inputs, file, ROLES), round(true_dit(frame), 3), inputs.frame_roles[file], frame.nd_filter)


def _file_image(block: Block, inputs: RecipeInputs, instrument: Instrument, file: int, read: Mask) -> Float32:
    """Electrons per DIT of a file's planes in the block: their middle, which no hit reaches."""
    from archive_proc.kernels.loops.medians import middle_plane

    own = (inputs.planes.file[block.planes] == file) & read
    rows = np.flatnonzero(own & inputs.planes.usable[block.planes])
    if not rows.size:
        rows = np.flatnonzero(own)
    # At most five planes tell enough, and a median of more costs.
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), 5)).round().astype(int)]
    middle = np.empty(block.pixels["raw"].shape[1:], np.float32)
    middle_plane(np.asarray(block.pixels["raw"][some], np.float32), middle)
    masters = instrument.masters(file)
    light = electrons(middle, masters)
    take_scattered_off(light, instrument.spectrograph(file).scattered, good(masters))
    return light


def _measure(instrument: Instrument, light: Float32, file: int) -> Shift:
    masters, where = instrument.masters(file), instrument.spectrograph(file)
    return measure_shift(
        light,
        instrument.floor(file),
        masters.response,
        good(masters),
        where.ends,
        where.some_templates,
        fine=where.in_parts(PARTS).some_templates,
        mu=instrument.inputs.parameters.mu,
    )


def settle_shifts(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Shift and error of each plane, px, the step that its templates stand at, and what `settle_air` finds.

    The shift is that of the detector's middle (`shifts.shifts_of`), `turn` and its error (1,) rad; `turn_used` is the
    step of it. Where nothing says anything the shift is zero, with no error known. `read` (planes,) says which planes
    hold an image. Raises DataFailure AP-IFS-069 where no usable one does.
    """
    read = np.concatenate([one["read"] for one in summaries])
    expect_one(inputs, read)
    found = shifts_of(summaries, inputs)
    planes = inputs.planes.file
    steps = np.round(found.x / SHIFT_STEP_PX) * SHIFT_STEP_PX
    return {
        "shift": found.x[planes],
        "shift_error": found.error[planes],
        "shift_used": steps[planes],
        "shift_measured": found.measured[planes],
        "turn": np.array([found.turn]),
        "turn_error": np.array([found.turn_error]),
        "turn_used": np.array([np.round(found.turn / TURN_STEP_RAD) * TURN_STEP_RAD]),
        "read": read,
        **settle_air(summaries, inputs),
    }


@dataclass(frozen=True, slots=True)
class Group:
    """Planes of a block that are fitted together."""

    rows: NDArray[np.intp]
    """Positions in the block."""
    file: int
    shift_x: float
    shift_y: float
    turn: float = 0.0


def groups_of(block: Block, inputs: RecipeInputs, shared: Arrays) -> list[Group]:
    """The block's planes by kind, shift and whether they are usable, templates of equal shift after each other.

    Planes without an image are in none.
    """
    found: dict[tuple[object, ...], list[int]] = {}
    for row, plane in enumerate(block.planes):
        if not shared["read"][plane]:
            continue
        file = int(inputs.planes.file[plane])
        usable = bool(inputs.planes.usable[plane])
        key = (float(shared["shift_used"][plane]), *_kind(inputs, file), usable)
        found.setdefault(key, []).append(row)
    along, turn = float(shared["shift_y_used"][0]), float(shared["turn_used"][0])
    ordered = sorted(found.items(), key=lambda one: (one[0][0], one[1][0]))
    return [
        Group(np.array(rows), int(inputs.planes.file[block.planes[rows[0]]]), float(str(key[0])), along, turn)
        for key, rows in ordered
    ]


@dataclass(frozen=True, slots=True)
class BlockSpectra:
    """Spectra of a block's planes in order; complete lenslets only, electrons per DIT."""

    flux: Float32
    """(p, lenslets, m)"""
    variance: Float32
    flags: NDArray[np.uint16]
    chi2: Float64
    clipped: Float64
    background: Float64
    residual: Float64
    """(p,) rms of the residual of lit pixels over the ridge of the spectra."""
    ridge: Float64
    """(p,) e-, 98th percentile of the model."""
    saturated: Float64
    """(p,) share of pixels."""
    last_step: Float64
    """(p,) sigma that the last sweep still moved the spectra by, of the planes fitted together."""
    correlation: Float32
    """(LAGS - 1, m, lenslets) of the first group."""
    resolution: Float32
    """(regions, m, offsets) of the first group."""
    unexplained: Float32
    """(ny, nx) adu/s, calibrated planes minus model, mean over the usable planes of the group that has most of them;
    NaN where no pixel counts, and everywhere without a usable plane."""


def extract_block(block: Block, inputs: RecipeInputs, shared: Arrays, instrument: Instrument) -> BlockSpectra:
    """Fit all planes of a block; what is found of a plane takes the place of its pixels where that is room enough."""
    parameters: ExtractionParameters = inputs.parameters
    complete = np.flatnonzero(instrument.spectrograph(0).solution.complete)
    p, m = len(block.planes), instrument.spectrograph(0).edges_um.size - 1
    columns = {name: np.zeros(p) for name in (*_FITTED, "saturated")}
    most = first = 0
    raw = block.pixels["raw"]
    # What is large is made when it is known: beside the fit it would only take room.
    correlation: Float32 | None = None
    resolution: Float32 | None = None
    unexplained: Float32 | None = None
    groups = groups_of(block, inputs, shared)
    empty = np.flatnonzero(~shared["read"][block.planes])
    order = np.concatenate([*(one.rows for one in groups), empty])
    # A copy of planes that lie scattered would be as large as they are.
    put_in_order(raw, order)
    flux, variance, flags = room_for_results(raw, (p, complete.size, m))
    for number, group in enumerate(groups):
        some = slice(first, first + group.rows.size)
        first = some.stop
        given = instrument.exposures(raw[some], group.file)
        where = instrument.spectrograph(group.file)
        templates = instrument.templates(group.file, group.shift_x, group.shift_y, group.turn)
        prior = parameters.prior(shared, where.edges_um)
        beside = where.lenslets.steps(ADJACENT)
        robust = parameters.robust(lamp=not on_sky(inputs.frames[group.file]))
        found = plane_spectra(given, templates, robust, prior, complete, beside)
        # They are there already, where pixels have room for them: numpy sees that.
        flux[some], variance[some], flags[some] = found.flux, found.variance, found.flags
        for name in _FITTED:
            columns[name][group.rows] = getattr(found, name)
        if inputs.planes.usable[block.planes[group.rows[0]]] and len(group.rows) > most:
            most = len(group.rows)
            seconds = true_dit(inputs.frames[group.file])
            unexplained = found.unexplained / np.float32(instrument.masters(group.file).gain * seconds)
        if given.saturated:
            columns["saturated"][group.rows] = [one.size / raw[0].size for one in given.saturated]
        if number == 0:
            correlation = correlations(found.covariance[complete])
            resolution = region_resolution(found.equations, field_regions(where, complete))
        del templates, found
    flux[first:], variance[first:], flags[first:] = 0.0, np.nan, int(Flag.FILLED)
    for one in (flux, variance, flags):
        put_in_order(one, np.argsort(order))
    if correlation is None or resolution is None:
        correlation = np.full((LAGS - 1, m, complete.size), np.nan, np.float32)
        resolution = np.full((REGIONS**2, m, 2 * REACH + 1), np.nan, np.float32)
    if unexplained is None:
        unexplained = np.full(raw.shape[1:], np.nan, np.float32)
    return BlockSpectra(
        flux, variance, flags, correlation=correlation, resolution=resolution, unexplained=unexplained, **columns
    )


def field_regions(where: Spectrograph, complete: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Every sixth complete lenslet of each of 5 x 5 equal regions of the field, rows of regions first."""
    x, y = where.lenslets.x[complete], where.lenslets.y[complete]
    column = np.clip(((x - x.min()) / max(float(np.ptp(x)), 1e-9) * REGIONS).astype(int), 0, REGIONS - 1)
    row = np.clip(((y - y.min()) / max(float(np.ptp(y)), 1e-9) * REGIONS).astype(int), 0, REGIONS - 1)
    return [complete[row * REGIONS + column == region][::6] for region in range(REGIONS**2)]
