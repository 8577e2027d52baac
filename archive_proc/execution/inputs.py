"""From a spec to what a recipe sees: frames, plane table, calibrations, main planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from archive_proc.errors import ConfigFailure, DataFailure
from archive_proc.execution.cache import ProductCache
from archive_proc.execution.cookbooks import Cookbook
from archive_proc.execution.planes import MainPlanes, ProductPlanes, RawPlanes
from archive_proc.execution.spec import AttemptSpec
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import ProductId, split_product_id
from archive_proc.model.phases import Phase, PhaseClock
from archive_proc.model.processes import Process, ProcessInput
from archive_proc.recipes.recipe import (
    Arrays,
    Calibration,
    InputRole,
    PlaneTable,
    ProductMain,
    Recipe,
    RecipeInputs,
    Room,
)
from archive_proc.storage.asked import AskedArrays
from archive_proc.storage.fits import RawReader
from archive_proc.storage.layout import Layout
from archive_proc.storage.products import PlaneSource, load_product
from archive_proc.storage.seal import expect_whole

EXCLUDED = "excluded by an override"
LARGE_GB = 1.0
"""A recipe that predicts more memory than this finds no calibrations in it but its own."""
_ALL = InputRole("", ())
"""Everything but frame-axis pixels is loaded and kept."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A process ready to be worked on."""

    recipe: Recipe
    inputs: RecipeInputs
    main: MainPlanes
    loaded_bytes: int
    """Decoded bytes of calibrations read for it (not found in the cache)."""
    room: Room = field(default_factory=Room)
    """What its blocks write is made here."""

    @property
    def n_planes(self) -> int:
        """Planes of the main input."""
        return len(self.inputs.planes)


def prepare(
    spec: AttemptSpec,
    layout: Layout,
    raw_roots: dict[str, Path],
    cookbook: Cookbook,
    cache: ProductCache,
    clock: PhaseClock,
) -> Prepared:
    """Load everything but the main planes' pixels.

    Raises InfraFailure for a product that cannot be read or lacks an object of its seal (AP-STO-014), DataFailure for a
    main input without planes (AP-RUN-023), ConfigFailure (AP-RUN-015) for inputs that the recipe's main does not fit.
    """
    process = spec.process
    recipe = cookbook.recipe(process.recipe)
    loader = _Loader(layout, cookbook, cache, clock)
    calibrations: dict[str, tuple[Calibration, ...]] = {}
    declared = {one.role: one for one in recipe.inputs}
    for entry in process.inputs:
        if entry.role != "main" and entry.kind == "product":
            role = declared.get(entry.role)
            one = loader.calibration(entry, role) if role else loader.calibration(entry)
            calibrations[entry.role] = (*calibrations.get(entry.role, ()), one)
    parameters = recipe.parameters(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in process.parameters.items()}
    )
    main_product: Calibration | None = None
    planes: MainPlanes
    if isinstance(recipe.main, ProductMain):
        main_product, planes, table = _product_main(process, layout, cookbook, loader, clock)
        roles: tuple[str, ...] = ()
        levels: tuple[int, ...] = ()
    else:
        table = raw_table(spec.frames, process.excluded_planes)
        reader = RawReader(raw_roots)
        paths = [reader.path(frame) for frame in spec.frames]
        planes = RawPlanes(spec.frames, paths, table, cookbook.open_raw, clock)
        roles = tuple(entry.frame_role for entry in process.main)
        levels = tuple(entry.level for entry in process.main)
    if not len(table):
        raise DataFailure(
            "AP-RUN-023",
            "the main input has no planes",
            subject=f"{process.subject.kind} {process.subject.subject_id}",
            remedy="archive-proc check names the files; fetch or quarantine them",
        )
    if recipe.cost.memory_gb > LARGE_GB:
        cache.keep(loader.keys)
    inputs = RecipeInputs(
        subject=process.subject,
        parameters=parameters,
        frames=spec.frames,
        frame_roles=roles,
        frame_levels=levels,
        planes=table,
        calibrations=calibrations,
        main=main_product,
    )
    return Prepared(recipe, inputs, planes, loader.loaded_bytes)


def raw_table(frames: Sequence[RawFrame], excluded: Sequence[tuple[int, int]]) -> PlaneTable:
    """The planes of raw files in order of time; excluded ones stay on the axis, not usable."""
    counts = [frame.n_planes for frame in frames]
    file = np.repeat(np.arange(len(frames), dtype=np.int32), counts)
    plane = np.concatenate([np.arange(one, dtype=np.int32) for one in counts] or [np.empty(0, np.int32)])
    return _with_exclusions(file, plane, excluded)


def _with_exclusions(
    file: np.ndarray[tuple[int], np.dtype[np.int32]],
    plane: np.ndarray[tuple[int], np.dtype[np.int32]],
    excluded: Sequence[tuple[int, int]],
) -> PlaneTable:
    out = set(excluded)
    usable = np.array(
        [(int(one), int(other)) not in out for one, other in zip(file, plane, strict=True)], dtype=np.bool_
    )
    return PlaneTable(file, plane, usable, tuple("" if one else EXCLUDED for one in usable))


def _product_main(
    process: Process, layout: Layout, cookbook: Cookbook, loader: _Loader, clock: PhaseClock
) -> tuple[Calibration, ProductPlanes, PlaneTable]:
    entries = process.main
    if len(entries) != 1 or entries[0].kind != "product":
        raise ConfigFailure(
            "AP-RUN-015",
            f"the recipe works on one product, the plan gives {len(entries)} main inputs",
            subject=f"process {process.process_id[:12]}",
            remedy="plan again; if it stays, the recipe's declaration of its main input is wrong",
        )
    calibration = loader.calibration(entries[0])
    process_id, product_type = split_product_id(ProductId(entries[0].input_id))
    names = [one.name for one in cookbook.form(product_type).variables if one.by_block]
    source = PlaneSource(layout.product_group(process_id, product_type), names)
    return calibration, ProductPlanes(source, clock), product_table(calibration.arrays, source.n_planes, process)


def product_table(arrays: Arrays, n_planes: int, process: Process) -> PlaneTable:
    """The plane table of a product: from its `file_id`, `plane`, `usable`, `reason` where it has them."""
    files = [str(one) for one in arrays["file_id"]] if "file_id" in arrays else [""] * n_planes
    order = {name: position for position, name in enumerate(dict.fromkeys(files))}
    file = np.array([order[name] for name in files], dtype=np.int32)
    plane = np.asarray(arrays.get("plane", np.arange(n_planes)), dtype=np.int32)
    table = _with_exclusions(file, plane, process.excluded_planes)
    usable = np.asarray(arrays.get("usable", np.ones(n_planes, np.bool_)), dtype=np.bool_)
    reasons = [str(one) for one in arrays["reason"]] if "reason" in arrays else [""] * n_planes
    return PlaneTable(
        file,
        plane,
        table.usable & usable,
        tuple(before or now for before, now in zip(reasons, table.reason, strict=True)),
    )


class _Loader:
    """Loads associated products through the worker's cache, counting what it read."""

    def __init__(self, layout: Layout, cookbook: Cookbook, cache: ProductCache, clock: PhaseClock) -> None:
        self._layout, self._cookbook, self._cache, self._clock = layout, cookbook, cache, clock
        self.loaded_bytes = 0
        self.keys: set[str] = set()

    def calibration(self, entry: ProcessInput, role: InputRole = _ALL) -> Calibration:
        """The product of an input, as its role wants it; frame-axis pixels only of a `whole` one."""
        process_id, product_type = split_product_id(ProductId(entry.input_id))
        path = self._layout.product_group(process_id, product_type)
        expect_whole(self._layout.product_dir(process_id), process_id, path)
        left = (*role.without, *role.once)
        with self._clock(Phase.CALIBRATIONS):
            form = self._cookbook.form(product_type)
            key = " ".join((entry.input_id, *(["whole"] if role.whole else []), *(f"-{one}" for one in left)))
            self.keys.add(key)
            product, loaded = self._cache.get(key, lambda: load_product(path, form, whole=role.whole, without=left))
        if loaded:
            self.loaded_bytes += product.nbytes
        arrays = product.arrays
        if role.once:
            arrays = AskedArrays(path, form, product.arrays, role.once, lambda: self._clock(Phase.CALIBRATIONS))
        return Calibration(
            product_id=entry.input_id,
            product_type=product_type,
            arrays=arrays,
            attrs=product.attrs,
            serves=entry.serves,
            method=entry.method,
            level=entry.level,
        )
