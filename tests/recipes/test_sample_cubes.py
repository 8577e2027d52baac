"""Cubes of the sample sets: honest variance, and the companions where the sky has them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from prepared_samples import prepared
from running import product_inputs, raw_inputs, run_in_memory
from samples import stack
from scipy.ndimage import gaussian_filter, map_coordinates

from archive_proc.recipes.irdis.centered import IRDIS_CENTERED
from archive_proc.recipes.irdis.science import IRDIS_SCIENCE

N = 1024
Y, X = np.mgrid[:N, :N]


@dataclass(frozen=True)
class Cubes:
    science: dict[str, np.ndarray]
    centered: dict[str, np.ndarray]


@lru_cache(maxsize=2)
def cubes_of(folder: Path) -> Cubes:
    """Without a dark for the science planes: their read noise is that of unlit pixels."""
    sample = prepared(folder)
    tracks, _ = sample.tracks()
    frames = [one for one in sample.frames.values() if one.dpr_type == "OBJECT"]
    calibrations = {
        "flat": [sample.flat.calibration("detector_flat")],
        "bad_pixels": [sample.flat.calibration("bad_pixels")],
        "background": [sample.backgrounds["science"]],
        "background_fit": [tracks.calibration("background")],
        "center": [tracks.calibration("center")],
        "photometry": [tracks.calibration("photometry")],
    }
    inputs = raw_inputs(IRDIS_SCIENCE, frames, roles=("OBJECT",) * len(frames), calibrations=calibrations)
    science = run_in_memory(IRDIS_SCIENCE, inputs, {"raw": stack(folder, frames)})
    cube = science.products["irdis_science_cube"]
    pixels = {name: cube[name] for name in ("flux", "variance", "flags")}
    main = science.calibration("irdis_science_cube")
    centered = run_in_memory(IRDIS_CENTERED, product_inputs(IRDIS_CENTERED, main), pixels)
    return Cubes(cube, centered.products["irdis_centered_cube"])


@pytest.fixture(params=["DB_H23", "DB_K12"])
def folder(request: pytest.FixtureRequest, shared: Path) -> Path:
    return shared / "samples" / "irdis" / request.param


def test_differences_of_planes_scatter_as_their_variance_says(folder: Path) -> None:
    cubes = cubes_of(folder)
    for cube, limit in ((cubes.science, 0.1), (cubes.centered, 0.15)):
        for channel in range(2):
            star = cube["star_x"][0, channel], cube["star_y"][0, channel]
            radius = np.hypot(X - star[0], Y - star[1])
            for inner, outer in ((285, 360), (360, 430)):
                zone = (radius > inner) & (radius < outer)
                # Planes 2i and 2i + 1 share file and dither: what all planes share cancels (nearly, once shifted).
                first, second = cube["flux"][0::2, channel][:, zone], cube["flux"][1::2, channel][:, zone]
                total = cube["variance"][0::2, channel][:, zone] + cube["variance"][1::2, channel][:, zone]
                pull = (first - second) / np.sqrt(total)
                pull = pull[np.abs(pull) < 5]
                assert np.std(pull) == pytest.approx(1.0, abs=limit)


def test_companions_stand_where_the_sky_has_them_and_not_mirrored(folder: Path) -> None:
    cube = cubes_of(folder).centered
    truth = np.load(folder / "truth.npz")
    separation, angle, _ = json.loads(str(truth["companions"]))[1]
    found = {
        sense: np.mean([seen(cube, channel, sense, separation, angle) for channel in range(2)]) for sense in (1, -1)
    }
    assert found[1] > 5.0
    assert found[-1] < 3.0


def seen(cube: dict[str, np.ndarray], channel: int, sense: int, separation: float, angle: float) -> float:
    """Signal to noise of a companion in the mean of planes less their median, turned by `sense` x derotation_angle."""
    flux = np.stack([gaussian_filter(np.nan_to_num(one.astype(float)), 1.2) for one in cube["flux"][:, channel]])
    flux -= np.median(flux, axis=0)
    turned = np.zeros((N, N))
    for plane, degrees in zip(flux, cube["derotation_angle"], strict=True):
        turn = np.radians(sense * degrees)
        # Turning the image counter-clockwise reads it at the place turned clockwise.
        x = (X - 512) * np.cos(turn) + (Y - 512) * np.sin(turn)
        y = -(X - 512) * np.sin(turn) + (Y - 512) * np.cos(turn)
        turned += map_coordinates(plane, [y + 512, x + 512], order=1)
    radius = separation / cube["pixel_scale"][channel]
    place = 512 - radius * np.sin(np.radians(angle)), 512 + radius * np.cos(np.radians(angle))
    away = np.hypot(X - place[0], Y - place[1])
    ring = (np.abs(np.hypot(X - 512, Y - 512) - radius) < 5) & (away > 12)
    return float(turned[away < 2.5].max() / np.std(turned[ring]))
