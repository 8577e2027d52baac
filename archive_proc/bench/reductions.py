"""Finds in an archive what was reduced from one set with known truth, and opens it with xarray alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from archive_proc.bench.background import CubePlane
from archive_proc.bench.comparison import FoundCentres, FoundFluxes, FoundFrames
from archive_proc.model.flags import Flag
from archive_proc.model.ids import ProductId, split_product_id
from archive_proc.simulate.truth import SequenceTruth
from archive_proc.storage.layout import Layout
from archive_proc.storage.records import read_record

SCIENCE = "irdis_science_cube"
CENTERED = "irdis_centered_cube"
CENTER = "center"
PHOTOMETRY = "photometry"


@dataclass(frozen=True, slots=True)
class Reduction:
    """Product groups of one set; None where none was made."""

    center: Path | None
    science: Path | None
    centered: Path | None
    flat: Path | None = None
    """The flat that the science cube was divided by."""
    photometry: Path | None = None


def find_reduction(archive: Path, truth: SequenceTruth) -> Reduction:
    """The sealed product of each type with most frames of the truth, the newest of equals."""
    science = _newest(archive, SCIENCE, truth)
    return Reduction(
        _newest(archive, CENTER, truth),
        science,
        _newest(archive, CENTERED, truth),
        None if science is None else _flat_of(archive, science),
        _newest(archive, PHOTOMETRY, truth),
    )


def _flat_of(archive: Path, science: Path) -> Path | None:
    """The group of the flat in the record of the process that made a cube."""
    product = science.parents[1]
    if not (product / "process.json").is_file():
        return None
    for entry in read_record(product).process.inputs:
        if entry.role == "flat" and entry.kind == "product":
            process_id, product_type = split_product_id(ProductId(entry.input_id))
            return Layout(archive).product_group(process_id, product_type)
    return None


def flat_response(group: Path) -> NDArray[np.float32]:
    """(2, 1024, 1024) response of a `detector_flat`, halves one after the other; NaN outside the lit field."""
    response = np.asarray(_open(group)["response"].values, np.float32)
    return np.stack([response[:, :1024], response[:, 1024:]])


def useless_pixels(group: Path) -> NDArray[np.bool_]:
    """(2, 1024, 1024) pixels that a `detector_flat` flags as more than odd, or that no light reaches."""
    flags = np.asarray(_open(group)["flags"].values, np.uint16)
    bad = (flags & ~np.uint16(int(Flag.SUSPECT | Flag.EDGE))) != 0
    return np.stack([bad[:, :1024], bad[:, 1024:]])


def _newest(archive: Path, product_type: str, truth: SequenceTruth) -> Path | None:
    wanted = set(truth.raw_file)
    found = []
    for seal in Layout(archive).products.glob("*/*/seal.json"):
        group = seal.parent / "product.zarr" / product_type
        if not group.is_dir():
            continue
        # Another sequence of the night may have used this one's FLUX or CENTER frames: most frames decide.
        shared = len(wanted & set(_words(_open(group), "file_id")))
        if shared:
            found.append((shared, seal.stat().st_mtime, group))
    return max(found)[2] if found else None


def _open(group: Path) -> xr.Dataset:
    with warnings.catch_warnings():
        # Variable-length strings are announced as unstable by some zarr releases; nothing a reader can change.
        warnings.simplefilter("ignore")
        dataset: xr.Dataset = xr.open_zarr(group, decode_times=False, chunks=None)
    return dataset


def _words(dataset: xr.Dataset, name: str) -> NDArray[np.str_]:
    return np.asarray([str(one) for one in dataset[name].values], dtype=np.str_)


def found_centres(group: Path) -> FoundCentres:
    """The `center` product as the comparison takes it."""
    dataset = _open(group)
    star = np.stack([dataset["star_x"].values, dataset["star_y"].values], axis=-1)
    error = np.stack([dataset["star_x_error"].values, dataset["star_y_error"].values], axis=-1)
    return FoundCentres(_words(dataset, "file_id"), np.asarray(dataset["plane"].values, np.int32), star, error)


def found_fluxes(group: Path) -> FoundFluxes:
    """The `photometry` product as the comparison takes it."""
    dataset = _open(group)
    aperture = np.asarray(dataset["aperture_flux"].values, np.float64)
    return FoundFluxes(_words(dataset, "file_id"), np.asarray(dataset["plane"].values, np.int32), aperture)


def found_frames(group: Path) -> FoundFrames:
    """Frame coordinates of a science cube."""
    dataset = _open(group)
    return FoundFrames(
        _words(dataset, "file_id"),
        np.asarray(dataset["plane"].values, np.int32),
        np.asarray(dataset["derotation_angle"].values, np.float64),
        np.asarray(dataset["relative_flux"].values, np.float64),
    )


def cube_planes(group: Path) -> Iterator[CubePlane]:
    """The planes of a science cube, one in memory at a time (a shard of 16 is read at once)."""
    dataset = _open(group)
    names, planes = _words(dataset, "file_id"), dataset["plane"].values
    times = np.asarray(dataset["exposure_time"].values, np.float64)
    for first in range(0, len(names), 16):
        part = slice(first, first + 16)
        flux, flags = dataset["flux"][part].values, dataset["flags"][part].values
        for i in range(len(flux)):
            yield CubePlane(str(names[first + i]), int(planes[first + i]), flux[i], flags[i], float(times[first + i]))


@dataclass(frozen=True, slots=True)
class NoisyPlane:
    """A plane of a cube with what the cube claims about its noise."""

    plane: CubePlane
    variance: NDArray[np.float32]
    """(2, ny, nx) ADU^2/s^2."""


def noisy_planes(group: Path, *, spread: bool = False) -> Iterator[NoisyPlane]:
    """The planes of a cube, in order of time, or (`spread`) so that the first n are spread over the sequence."""
    dataset = _open(group)
    names, planes = _words(dataset, "file_id"), dataset["plane"].values
    times = np.asarray(dataset["exposure_time"].values, np.float64)
    for i in _spread_order(len(names)) if spread else range(len(names)):
        flux, flags = dataset["flux"][i].values, dataset["flags"][i].values
        plane = CubePlane(str(names[i]), int(planes[i]), flux, flags, float(times[i]))
        yield NoisyPlane(plane, np.asarray(dataset["variance"][i].values))


def _spread_order(n: int) -> list[int]:
    """0 ... n - 1 by bit reversal (van der Corput): any first few are spread over the whole."""
    bits = max(n - 1, 1).bit_length()
    reverse = [int(f"{one:0{bits}b}"[::-1], 2) for one in range(2**bits)]
    return [one for one in reverse if one < n]


def noise_terms(group: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`variance_common` (2, ny, nx) and the resampling correlation (dy, dx); that of an un-resampled cube is 1."""
    dataset = _open(group)
    correlation = np.ones((1, 1), np.float32)
    if "resampling_correlation" in dataset:
        correlation = np.asarray(dataset["resampling_correlation"].values, np.float32)
    return np.asarray(dataset["variance_common"].values, np.float32), correlation


def star_positions(science: Path) -> dict[tuple[str, int], NDArray[np.float64]]:
    """(2 halves, x and y) of the star in each plane of a science cube, by file and plane."""
    dataset = _open(science)
    star = np.stack([dataset["star_x"].values, dataset["star_y"].values], axis=-1)
    names = _words(dataset, "file_id")
    return {(str(names[i]), int(plane)): star[i] for i, plane in enumerate(dataset["plane"].values)}


def companion_offsets(group: Path, truth: SequenceTruth, *, reversed_sense: bool = False) -> list[float]:
    """Distance from truth of each bright companion's centroid in a centred cube, mas, both halves.

    Each frame is cut where the companion must stand if D turns the field as DESIGN 8 says (`reversed_sense`: as if it
    turned the other way), the cuts are added up. Only companions of 1e-4 and more are looked for.
    """
    dataset = _open(group)
    frames = found_frames(group)
    middle = dataset.sizes["x"] // 2
    offsets = []
    for companion in truth.companions:
        for half in range(2):
            if companion.contrast[half] < 1e-4:
                continue
            stack = np.zeros((31, 31))
            for i in range(len(frames.plane)):
                angle = companion.position_angle_deg - frames.derotation_angle[i]
                turn = np.radians(-angle if reversed_sense else angle)
                reach = companion.separation_mas / truth.pix[half]
                x, y = middle - reach * np.sin(turn), middle + reach * np.cos(turn)
                cx, cy = round(x), round(y)
                cut = dataset["flux"][i, half, cy - 17 : cy + 18, cx - 17 : cx + 18].values
                stack += _shifted(np.nan_to_num(cut, nan=float(np.nanmedian(cut))), x - cx, y - cy)
            offsets.append(_centroid_distance(stack) * truth.pix[half])
    return offsets


def _shifted(cut: NDArray[np.float32], dx: float, dy: float) -> NDArray[np.float64]:
    """(31, 31) of a (35, 35) cut, moved by (-dx, -dy) with bilinear weights."""
    out = np.zeros((31, 31))
    for oy, wy in ((int(np.floor(dy)), 1 - (dy - np.floor(dy))), (int(np.floor(dy)) + 1, dy - np.floor(dy))):
        for ox, wx in ((int(np.floor(dx)), 1 - (dx - np.floor(dx))), (int(np.floor(dx)) + 1, dx - np.floor(dx))):
            out += wy * wx * cut[2 + oy : 33 + oy, 2 + ox : 33 + ox]
    return out


def _centroid_distance(stack: NDArray[np.float64]) -> float:
    yy, xx = np.mgrid[-15:16, -15:16]
    radius = np.hypot(yy, xx)
    light = np.where(radius <= 5.0, stack - np.median(stack[(radius > 7) & (radius < 13)]), 0.0)
    light = np.clip(light, 0.0, None)
    if light.sum() <= 0.0:
        # No light at all is no companion found, not one found in its place.
        return float("inf")
    return float(np.hypot(np.sum(light * xx), np.sum(light * yy)) / float(light.sum()))
