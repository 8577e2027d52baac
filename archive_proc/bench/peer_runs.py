"""Runs the peers of `peers` over the frames of one set: sky subtraction, waffle centres, spot photometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive_proc.bench.background import Blocks, sky_light, thermal_blocks
from archive_proc.bench.comparison import band_letter
from archive_proc.bench.peers import (
    aperture_photometry,
    installed,
    irdap_sky,
    ready_frame,
    vip_centres,
    vip_sky,
    vlt_sphere_centres,
)
from archive_proc.bench.raw_planes import RawPlanes
from archive_proc.simulate.truth import SequenceTruth

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PeerResults:
    """By label (package and version); labels of packages that are not installed are missing."""

    skies: Mapping[str, Sequence[tuple[int, Blocks]]] = field(default_factory=dict)
    """(row, thermal light taken away) of each science plane."""
    centers: Mapping[str, Float64] = field(default_factory=dict)
    """(n_truth, 2, 2), NaN where not tried or failed."""
    spots: Mapping[str, Float64] = field(default_factory=dict)
    """(n_truth, 2) photometry of waffle spots."""


def run_peers(
    truth: SequenceTruth, raw: RawPlanes, response: Float32, bad: NDArray[np.bool_], sky_rows: Sequence[int]
) -> PeerResults:
    """All peers on one set. `response` and `bad` (2, 1024, 1024) are of our own flat; `sky_rows` have the science DIT.

    Skies are asked of peers in K only, where there is thermal light to take away.
    """
    version = installed()
    science = [int(row) for row in np.flatnonzero(truth.in_sequence)]
    skies: dict[str, Sequence[tuple[int, Blocks]]] = {}
    centers: dict[str, Float64] = {}
    spots: dict[str, Float64] = {}
    if not sky_rows or not science:
        return PeerResults()
    if band_letter(truth) == "K":
        if version["irdap"]:
            master = irdap_sky(*_sky_files(truth, raw, sky_rows))
            if master is not None:
                taken = sky_light(master, truth)
                skies[f"irdap {version['irdap']} median sky"] = [(row, taken) for row in science]
        if version["vip-hci"]:
            found = _vip_skies(truth, raw, response, bad, science, sky_rows)
            if found is not None:
                skies[f"vip-hci {version['vip-hci']} sky PCA"] = found
    seen = [row for row, kind in enumerate(truth.frame_type) if kind == "OBJECT,CENTER"]
    if seen and (version["vlt-sphere"] or version["vip-hci"] or version["photutils"]):
        level = np.median(_planes(truth, raw, sky_rows), axis=0).astype(np.float32)
        for row in seen:
            plane = raw.plane(truth.raw_file[row], int(truth.frame_idx[row]))
            frame = ready_frame(plane, level, response, bad)
            _centre(truth, row, frame, version, centers)
            flux = aperture_photometry(frame, truth.wave, truth.center[row], truth.pix)
            if flux is not None:
                label = f"photutils {version['photutils']} apertures on spots"
                spots.setdefault(label, np.full((len(truth), 2), np.nan))[row] = flux
    return PeerResults(skies, centers, spots)


def _centre(
    truth: SequenceTruth, row: int, frame: Float32, version: Mapping[str, str | None], centers: dict[str, Float64]
) -> None:
    """Each package's centres of one frame, into `centers`."""
    guess = truth.center[row]
    found = {f"vlt-sphere {version['vlt-sphere']}": vlt_sphere_centres(frame, truth.wave, guess, truth.pix[0])}
    for fit in ("gaus", "moff"):
        found[f"vip-hci {version['vip-hci']} {fit}"] = vip_centres(frame, truth.wave, guess, truth.pix, fit)
    for label, one in found.items():
        if one is not None:
            centers.setdefault(label, np.full(truth.center.shape, np.nan))[row] = one


def _planes(truth: SequenceTruth, raw: RawPlanes, rows: Sequence[int]) -> Float32:
    return np.stack([raw.plane(truth.raw_file[row], int(truth.frame_idx[row])) for row in rows])


def _sky_files(truth: SequenceTruth, raw: RawPlanes, rows: Sequence[int]) -> tuple[list[Path], list[list[int]]]:
    names = list(dict.fromkeys(truth.raw_file[row] for row in rows))
    return [raw.path(name) for name in names], [[] for _ in names]


def _vip_skies(
    truth: SequenceTruth,
    raw: RawPlanes,
    response: Float32,
    bad: NDArray[np.bool_],
    science: Sequence[int],
    sky_rows: Sequence[int],
) -> list[tuple[int, Blocks]] | None:
    """VIP's sky PCA: frames after the true pedestal and our flat, so that only the sky is its task."""
    frames = np.stack([ready_frame(one, truth.pedestal, response, bad) for one in _planes(truth, raw, science)])
    skies = np.stack([ready_frame(one, truth.pedestal, response, bad) for one in _planes(truth, raw, sky_rows)])
    removed = np.zeros_like(frames)
    for half in range(2):
        star = np.nanmean(truth.center[list(science), half], axis=0)
        left = vip_sky(frames[:, half], skies[:, half], star)
        if left is None:
            return None
        removed[:, half] = frames[:, half] - left
    return [(row, thermal_blocks(removed[index], response, truth)) for index, row in enumerate(science)]
