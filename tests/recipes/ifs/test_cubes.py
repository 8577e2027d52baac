"""Rectified and centred cubes of the IFS: angles and sense, light, spectra, noise, and planes that have no star."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from running import Ran
from star_spectra import CHANNELS, LAMBDA_D, PIXEL_MAS, StarSpectra, changed, run_on

from archive_proc.errors import DataFailure
from archive_proc.instruments.tables import load_tables
from archive_proc.model.flags import Flag
from archive_proc.recipes.ifs.centered import IFS_CENTERED
from archive_proc.recipes.ifs.science import IFS_SCIENCE
from archive_proc.recipes.recipe import Calibration

RECIPES = {"ifs_science_cube": IFS_SCIENCE, "ifs_centered_cube": IFS_CENTERED}


def run_cube(product: str, main: Calibration, tracks: Ran, **given: object) -> Ran:
    roles = {name: [tracks.calibration(name)] for name in ("center", "photometry")}
    return run_on(RECIPES[product], main, roles, **given)


@pytest.fixture(scope="module")
def scene() -> StarSpectra:
    return StarSpectra(seed=3)


@pytest.fixture(scope="module")
def main(scene: StarSpectra) -> Calibration:
    return scene.product(scene.of("O"))


@pytest.fixture(scope="module")
def tracks(scene: StarSpectra, main: Calibration) -> Ran:
    return scene.tracks(main)


@pytest.fixture(scope="module")
def cubes(main: Calibration, tracks: Ran) -> dict[str, dict[str, np.ndarray]]:
    return {name: run_cube(name, main, tracks).products[name] for name in RECIPES}


@pytest.fixture(scope="module")
def companion_alone(scene: StarSpectra, tracks: Ran) -> dict[str, dict[str, np.ndarray]]:
    """Both cubes of the companion's light without star and noise, by the tracks of the whole scene."""
    alone = replace_light(scene)
    return {name: run_cube(name, alone, tracks).products[name] for name in RECIPES}


def replace_light(scene: StarSpectra) -> Calibration:
    planes = [replace(one, light=scene.companion_light(one.star, one.derotation)) for one in scene.of("O")]
    quiet = scene.product(planes, bad=0.0)
    return changed(quiet, flux=np.stack([one.light for one in planes]).astype(np.float32))


@pytest.mark.parametrize("product", list(RECIPES))
def test_a_companion_stands_where_angle_and_sense_put_it(scene, companion_alone, product: str):
    cube = companion_alone[product]
    one = scene.companion
    y, x = np.mgrid[:290, :290]
    for plane in range(len(cube["time"])):
        light = np.nan_to_num(cube["flux"][plane]).clip(0)
        turn = np.radians(one.position_angle_deg - cube["derotation_angle"][plane])
        for channel in (0, CHANNELS - 1):
            total = light[channel].sum()
            at = np.array([(light[channel] * axis).sum() / total for axis in (x, y)])
            star = np.array([cube["star_x"][plane, channel], cube["star_y"][plane, channel]])
            expected = star + one.separation_mas / PIXEL_MAS * np.array([-np.sin(turn), np.cos(turn)])
            mirrored = star + one.separation_mas / PIXEL_MAS * np.array([np.sin(turn), np.cos(turn)])
            assert np.hypot(*(at - expected)) * PIXEL_MAS < 1.5
            assert np.hypot(*(at - mirrored)) > 10


def test_the_star_stands_on_the_middle_pixel_of_the_centred_cube(scene: StarSpectra, cubes, tracks: Ran):
    cube = cubes["ifs_centered_cube"]
    assert (cube["star_x"] == 145.0).all()
    assert (cube["star_y"] == 145.0).all()
    field = cubes["ifs_science_cube"]
    true = scene.star_pixels(field["file_id"], field["plane"])
    assert np.abs(np.stack([field["star_x"], field["star_y"]], -1) - true).max() * PIXEL_MAS < 1.5


@pytest.mark.parametrize("product", list(RECIPES))
def test_sums_over_the_field_are_those_of_the_lenslets(main: Calibration, cubes, product: str):
    known = np.isfinite(main.arrays["variance"])
    given = np.where(known, main.arrays["flux"], 0.0).sum(axis=1)
    seen = np.nansum(cubes[product]["flux"], axis=(2, 3))
    # Lenslets without a value are made up for by their neighbours; the field's rim is lost.
    assert seen / given == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("product", list(RECIPES))
def test_an_aperture_holds_the_companions_spectrum(scene: StarSpectra, companion_alone, product: str):
    cube = companion_alone[product]
    radius = 3.2 * float(LAMBDA_D.max()) * np.sqrt(3.0)
    y, x = np.mgrid[:290, :290]
    for plane in range(len(cube["time"])):
        turn = np.radians(scene.companion.position_angle_deg - cube["derotation_angle"][plane])
        reach = scene.companion.separation_mas / PIXEL_MAS
        at_x, at_y = cube["star_x"][plane, 0] - reach * np.sin(turn), cube["star_y"][plane, 0] + reach * np.cos(turn)
        inside = np.hypot(x - at_x, y - at_y) < radius
        spectrum = np.nansum(cube["flux"][plane][:, inside], axis=1)
        assert spectrum / scene.companion.spectrum == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("product", list(RECIPES))
def test_values_flags_and_variances_keep_the_rules(cubes, product: str):
    cube = cubes[product]
    outside = (cube["flags"] & Flag.OUTSIDE) != 0
    assert outside.any()
    assert np.isnan(cube["flux"][outside]).all()
    lost = np.isnan(cube["flux"]) & ~outside
    assert ((cube["flags"][lost] & Flag.LOW_WEIGHT) != 0).all()
    assert ((cube["flags"][lost] & Flag.FILLED) != 0).all()
    np.testing.assert_array_equal(np.isnan(cube["flux"]), np.isnan(cube["variance"]))
    assert 0.0 < lost.mean() < 0.01
    inside = np.isfinite(cube["variance_common"])
    assert inside.mean() > 0.2
    assert (cube["variance_common"][inside] >= 0).all()
    assert cube["resampling_correlation"][0, 0] == 1.0
    assert cube["resampling_correlation"].shape == (3, 3)


def test_a_cube_has_all_variables_of_its_type_and_no_other(cubes):
    for product, cube in cubes.items():
        wanted = load_tables().product_types[product].variables
        assert set(cube) == {one.name for one in wanted}
        sizes = {"frame": 4, "channel": CHANNELS, "y": 290, "x": 290, "dy": 3, "dx": 3}
        for one in wanted:
            assert cube[one.name].shape == tuple(sizes[dim] for dim in one.dims), one.name


def test_planes_without_a_star_are_empty_and_named(main: Calibration, tracks: Ran):
    center = tracks.calibration("center")
    star_x = center.arrays["star_x"].copy()
    row = next(at for at, kind in enumerate(center.arrays["frame_type"]) if str(kind) == "OBJECT")
    star_x[row] = np.nan
    roles = {"center": [changed(center, star_x=star_x)], "photometry": [tracks.calibration("photometry")]}
    ran = run_on(IFS_CENTERED, main, roles)
    cube = ran.products["ifs_centered_cube"]
    assert np.isnan(cube["flux"][0]).all()
    assert (cube["flags"][0] == Flag.LOW_WEIGHT).all()
    assert np.isfinite(cube["flux"][1]).any()
    assert {one.code for one in ran.result.remarks} == {"AP-IFS-091"}
    with pytest.raises(DataFailure, match="AP-IFS-092"):
        run_on(IFS_CENTERED, main, {**roles, "center": [changed(center, star_x=np.full_like(star_x, np.nan))]})


def test_the_anamorphism_is_undone_only_when_asked_for(main: Calibration, tracks: Ran, cubes):
    ran = run_cube("ifs_centered_cube", main, tracks, correct_anamorphism=True)
    cube = ran.products["ifs_centered_cube"]
    stretched, plain = (
        np.argwhere((one["flags"][0, 0] & Flag.OUTSIDE) == 0) for one in (cube, cubes["ifs_centered_cube"])
    )
    assert (np.ptp(stretched, axis=0) - np.ptp(plain, axis=0)).tolist() == [0, 1], "0.6 % of 180 pixels along x"
    assert "1.0059" in ran.result.products["ifs_centered_cube"].attrs["anamorphism_convention"]
