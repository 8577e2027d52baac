"""A companion's place on the sky: found from the cube and its angle, wrong where the sense of the angle is."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from small_ifs_set import small_known

from archive_proc.bench.ifs.astrometry import companion_distance_mas
from archive_proc.bench.ifs.known import Companion
from archive_proc.bench.ifs.products import Archive

MAS = 7.46
SIZE = 101
ANGLES = np.array([30.0, 42.0])
PLANET = Companion(kind="L", contrast=3e-3, x=0.0, y=0.0, separation_mas=220.0, position_angle_deg=115.0)


def cube(angles, *, sense=1.0):
    """A symmetric halo and a planet, turned counter-clockwise by the position angle less the cube's."""
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    flux = np.empty((len(angles), 3, SIZE, SIZE), np.float32)
    for row, angle in enumerate(angles):
        turn = np.deg2rad(sense * (PLANET.position_angle_deg - angle))
        at = PLANET.separation_mas / MAS * np.array([-np.sin(turn), np.cos(turn)])
        image = 200.0 / (1.0 + np.hypot(x, y)) + 50.0 * np.exp(-0.5 * ((x - at[0]) ** 2 + (y - at[1]) ** 2) / 1.5**2)
        flux[row] = image * np.array([1.0, 0.9, 0.0])[:, None, None]
    return xr.Dataset(
        {"flux": (("frame", "channel", "y", "x"), flux)},
        coords={
            "derotation_angle": ("frame", angles),
            "file_id": ("frame", ["star"] * len(angles)),
            "plane": ("frame", np.arange(len(angles))),
            "pixel_scale": ("channel", np.full(3, MAS)),
        },
    )


def distance(dataset):
    known = small_known()
    scene = replace(known.scenes[0], file_id="star", planes=len(ANGLES), companions=((PLANET,), (PLANET,)))
    product = SimpleNamespace(group=Path("ifs_centered_cube"), open=lambda: dataset)
    return companion_distance_mas(Archive((), (product,)), [scene], "L", 3e-3)


def test_a_companion_at_its_place_is_there_to_a_milliarcsecond():
    assert distance(cube(ANGLES)) == pytest.approx(0.0, abs=1.0)


def test_half_a_degree_of_the_angle_shows():
    wrong = cube(ANGLES).assign_coords(derotation_angle=("frame", ANGLES + 0.5))
    assert distance(wrong) == pytest.approx(220.0 * np.deg2rad(0.5), abs=0.5)


def test_a_companion_that_turns_the_other_way_is_not_found():
    assert distance(cube(ANGLES, sense=-1.0)) is None
