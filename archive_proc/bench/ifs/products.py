"""Products of an IFS night in an archive, opened with xarray alone, in the form that the figures take."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from archive_proc.bench.ifs.known import Float, Known, Scene
from archive_proc.bench.ifs.raw_set import RawSet
from archive_proc.bench.ifs.spectra import Lamp, Spectra
from archive_proc.model.phases import Phase, PhaseCost
from archive_proc.model.processes import Process
from archive_proc.model.records import ProcessRecord
from archive_proc.storage.layout import Layout
from archive_proc.storage.records import read_record

SPECTRA = "ifs_spectra"
CUBE = "ifs_science_cube"
CENTER = "center"
LENSLET_FLAT = "ifs_lenslet_flat"
LINE_PRESET = "ifs_line"
CALIBRATIONS = (
    "ifs_dark",
    "ifs_instrument_background",
    "ifs_detector_flat",
    "ifs_spectra_positions",
    "ifs_wave",
    "ifs_lenslet_flat",
)
"""Recipes of one calibration set."""
EXTRACTION = ("ifs_extract", "ifs_extract_frame")
CUBES = ("ifs_tracks", "ifs_science", "ifs_centered")
PLACE = "ifs_place"
"""Beside the extraction: part of what a plane costs from raw to centred."""


# Any: a dataset of xarray, or a mapping of arrays of several dtypes.
Variables = Any


@dataclass(frozen=True, slots=True)
class Product:
    """One sealed group."""

    group: Path
    record: ProcessRecord

    def open(self) -> xr.Dataset:
        """The dataset."""
        with warnings.catch_warnings():
            # Variable-length strings are announced as unstable by some zarr releases; nothing a reader can change.
            warnings.simplefilter("ignore")
            dataset: xr.Dataset = xr.open_zarr(self.group, decode_times=False, chunks=None)
        return dataset


@dataclass(frozen=True, slots=True)
class Archive:
    """The sealed products of an archive, oldest first."""

    records: tuple[ProcessRecord, ...]
    products: tuple[Product, ...]

    def of_type(self, product_type: str) -> tuple[Product, ...]:
        """All of one type."""
        return tuple(one for one in self.products if one.group.name == product_type)


def read_archive(archive: Path) -> Archive:
    """What is sealed there of the IFS: the other arm may lie beside it."""
    records: list[ProcessRecord] = []
    products: list[Product] = []
    seals = sorted(Layout(archive).products.glob("*/*/seal.json"), key=lambda one: one.stat().st_mtime)
    for seal in seals:
        record = read_record(seal.parent)
        if not record.process.recipe.startswith("ifs_"):
            continue
        records.append(record)
        groups = sorted(path for path in (seal.parent / "product.zarr").iterdir() if path.is_dir())
        products += [Product(group, record) for group in groups]
    return Archive(tuple(records), tuple(products))


def file_of(arrays: Variables, scene: Scene) -> NDArray[np.intp]:
    """Frames of a product that are the scene's planes, in their order; empty unless all are there."""
    if "file_id" not in arrays:
        return np.empty(0, np.intp)
    names = np.array([str(one) for one in np.atleast_1d(np.asarray(arrays["file_id"]))])
    own = np.flatnonzero(names == scene.file_id)
    own = own[np.argsort(np.atleast_1d(np.asarray(arrays["plane"]))[own])]
    return own if len(own) == scene.planes else np.empty(0, np.intp)


def find_spectra(archive: Archive, scene: Scene, *, lines: bool = False) -> xr.Dataset | None:
    """The newest spectra with all planes of a file: those without outlier rejection (`ifs_line`), or all others."""
    for product in reversed(archive.of_type(SPECTRA)):
        if _is_for_lines(product.record.process) is lines:
            dataset = product.open()
            if len(file_of(dataset, scene)):
                return dataset
    return None


def _is_for_lines(process: Process) -> bool:
    return process.preset == LINE_PRESET or process.parameters.get("find_outliers") is False


def to_spectra(known: Known, scene: Scene, arrays: Variables) -> Spectra:
    """The scene's planes in the order of truth's lenslets, in electrons per DIT."""
    own = file_of(arrays, scene)
    pairs = zip(np.asarray(arrays["hex_q"]), np.asarray(arrays["hex_r"]), strict=True)
    place = {(int(q), int(r)): i for i, (q, r) in enumerate(pairs)}
    rows = np.array([place.get((int(q), int(r)), -1) for q, r in zip(known.q, known.r, strict=True)])
    there = rows >= 0
    scale = np.asarray(arrays["gain"], np.float64)[None, None, :]
    scale = scale * np.asarray(arrays["exposure_time"], np.float64)[own][:, None, None]
    flux = _placed(np.asarray(arrays["flux"][own]) * scale, rows, there, np.nan)
    with np.errstate(invalid="ignore"):
        sigma = np.sqrt(np.asarray(arrays["variance"][own], np.float64)) * scale
    correlation = None
    if "correlation" in arrays:
        values = np.asarray(arrays["correlation"], np.float32)
        correlation = np.zeros((*values.shape[:2], len(rows)), np.float32)
        correlation[:, :, there] = np.nan_to_num(values[:, :, rows[there]])
    flags = np.asarray(arrays["flags"][own]) != 0
    return Spectra(
        flux=flux.astype(np.float32),
        sigma=_placed(sigma, rows, there, np.nan).astype(np.float32),
        flagged=_placed(flags, rows, there, True).astype(np.bool_),
        wavelength_nm=1e3 * np.asarray(arrays["wavelength"], np.float64),
        bandwidth_nm=1e3 * np.asarray(arrays["bandwidth"], np.float64),
        correlation=correlation,
        resolution=_typical_resolution(arrays),
    )


def _typical_resolution(arrays: Variables) -> NDArray[np.float32] | None:
    """(k, offsets) of the middle one of the field's regions; None where the product states none.

    Not their mean: a region on a dead quadrant shows nothing of its light, and the others are none the blurrier.
    """
    if "resolution" not in arrays:
        return None
    regions = np.asarray(arrays["resolution"], np.float32)
    # Offsets that leave the channels have no value in any of them.
    known = np.isfinite(regions).any(axis=0)
    found = np.full(known.shape, np.nan, np.float32)
    found[known] = np.nanmedian(regions[:, known], axis=0)
    return found


def _placed(
    values: NDArray[np.generic], rows: NDArray[np.int64], there: NDArray[np.bool_], empty: float | bool
) -> NDArray[np.generic]:
    out = np.full((values.shape[0], len(rows), values.shape[2]), empty, values.dtype)
    out[:, there] = values[:, rows[there]]
    return out


def find_lamp(archive: Archive, raw: RawSet, known: Known) -> Lamp | None:
    """The lamp in the newest lenslet flat, in electrons of its frame's exposure; None where there is no flat."""
    found = archive.of_type(LENSLET_FLAT)
    return to_lamp(found[-1].open(), raw, known) if found else None


def to_lamp(arrays: Variables, raw: RawSet, known: Known) -> Lamp | None:
    """The lamp of a lenslet flat in electrons of its frame's exposure; None where truth has no such frame."""
    scene = known.scene("ifu_flat")
    if scene is None:
        return None
    file = raw.file(scene.file_id)
    return Lamp(
        median=np.asarray(arrays["lamp"], np.float64) * file.gain * file.real_dit_s,
        wavelength_nm=1e3 * np.asarray(arrays["wavelength"], np.float64),
        bandwidth_nm=1e3 * np.asarray(arrays["bandwidth"], np.float64),
    )


@dataclass(frozen=True, slots=True)
class Shifts:
    """Shifts of the planes of all science files that were found, and the true ones."""

    found: Float
    stated: Float
    true: Float
    """(n, 2) x and y, px."""


def shifts_of(archive: Archive, scenes: Sequence[Scene]) -> Shifts:
    """Of the OBJECT files among these scenes."""
    found: list[Float] = []
    stated: list[Float] = []
    true: list[Float] = []
    for scene in scenes:
        dataset = find_spectra(archive, scene)
        if scene.frame_type != "OBJECT" or dataset is None or "shift_x" not in dataset:
            continue
        own = file_of(dataset, scene)
        for name, into in (("", found), ("_error", stated)):
            both = [np.asarray(dataset[f"shift_{axis}{name}"].values, np.float64)[own] for axis in ("x", "y")]
            into.append(np.stack(both, axis=1))
        true.append(scene.pose[:, :2])
    empty = [np.empty((0, 2))]
    return Shifts(np.concatenate(found or empty), np.concatenate(stated or empty), np.concatenate(true or empty))


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU and memory on record; None where nothing of it ran."""

    extraction_s: float | None
    """A science plane, compiled: without `compiling_s`."""
    to_centered_s: float | None
    """A science plane, from raw to centred cube, compiled."""
    calibration_s: float | None
    """All of one calibration set."""
    peak_bytes: float | None
    """Largest resident size of a worker."""
    further_plane_s: float | None
    """What a plane adds to an extraction, by a straight line through those of different length."""
    planes: int
    compiling_s: float | None
    """What of the planes' processes was spent on making kernels: the first of a machine and package does it for all."""


def _slope(points: Sequence[tuple[int, float]]) -> float | None:
    if len({planes for planes, _ in points}) < 2:
        return None
    planes, seconds = (np.array(one, np.float64) for one in zip(*points, strict=True))
    return float(np.polyfit(planes, seconds, 1)[0])


def made_from(archive: Archive, recipe: str, file_id: str) -> ProcessRecord | None:
    """The newest process of a recipe with a raw file among its main inputs."""
    for record in reversed(archive.records):
        if record.process.recipe == recipe and file_id in [one.input_id for one in record.process.main]:
            return record
    return None


def _compiled_s(record: ProcessRecord) -> float:
    """CPU of a process with its kernels there already, as the aims have it."""
    return record.cpu_s - record.phases.get(Phase.COMPILE, PhaseCost()).cpu_s


def cost_of(records: Sequence[ProcessRecord]) -> Cost:
    """From the records of the processes that were sealed."""
    extracted = [one for one in records if one.process.recipe in EXTRACTION]
    cubes = [one for one in records if one.process.recipe in (PLACE, *CUBES)]
    calibrations = [one for one in records if one.process.recipe in CALIBRATIONS]
    main = [one for one in extracted if one.process.recipe == EXTRACTION[0]]
    planes = sum(one.planes for one in main)
    made = bool([one for one in cubes if one.process.recipe == CUBES[-1]])
    every = [one for one in records if one.process.recipe in (*EXTRACTION, PLACE, *CUBES, *CALIBRATIONS)]
    spent = sum(_compiled_s(one) for one in main)
    compiling = sum(one.cpu_s - _compiled_s(one) for one in (*main, *cubes))
    return Cost(
        extraction_s=spent / planes if planes else None,
        to_centered_s=(spent + sum(_compiled_s(one) for one in cubes)) / planes if planes and made else None,
        calibration_s=sum(one.cpu_s for one in calibrations) if calibrations else None,
        peak_bytes=float(max(one.peak_memory_bytes for one in every)) if every else None,
        further_plane_s=_slope([(one.planes, _compiled_s(one)) for one in main]),
        planes=planes,
        compiling_s=compiling if planes else None,
    )
