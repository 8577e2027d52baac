"""Sky basis and tracks of the sample sets against their truth, and of sequences that lack something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prepared_samples import Sample, prepared
from running import Ran, raw_inputs, run_in_memory
from samples import by_type, stack

from archive_proc.errors import DataFailure, MisuseError
from archive_proc.kernels.background import background_of_plane
from archive_proc.kernels.blocks import block_centres, block_means
from archive_proc.kernels.calibrate import split_halves
from archive_proc.recipes.cookbook import COOKBOOK, recipe
from archive_proc.recipes.irdis.backgrounds import background_for


@pytest.fixture(params=["DB_H23", "DB_K12"])
def sample(request: pytest.FixtureRequest, shared: Path) -> Sample:
    return prepared(shared / "samples" / "irdis" / request.param)


def truth_rows(sample: Sample, center: dict[str, np.ndarray], truth: Any) -> list[int]:
    names = list(zip(truth["raw_file"], truth["frame_idx"], strict=True))
    return [names.index((name, plane)) for name, plane in zip(center["file_id"], center["plane"], strict=True)]


def test_the_star_is_found_in_every_plane(sample: Sample):
    ran, _ = sample.tracks()
    center, truth = ran.products["center"], np.load(sample.folder / "truth.npz")
    rows = truth_rows(sample, center, truth)
    away = np.stack([center["star_x"], center["star_y"]], axis=-1) - truth["center"][rows]
    away *= np.array([1.0, 1.0062]) * truth["pix"][None, :, None]
    limits = {"CENTER": 0.6 if "K12" in sample.folder.name else 2.3, "OBJECT": 2.0, "FLUX": 2.0}
    for role, limit in limits.items():
        chosen = center["frame_type"] == role
        assert np.sqrt((away[chosen] ** 2).sum(axis=-1).mean(axis=0)).max() <= limit, role
    assert set(center["centering_method"][center["frame_type"] == "OBJECT"].ravel()) == {"speckles"}
    quoted = np.hypot(center["star_x_error"], center["star_y_error"])
    assert np.isfinite(quoted).all()


def test_the_background_near_the_star_is_right(sample: Sample):
    ran, inputs = sample.tracks(("OBJECT",))
    truth = np.load(sample.folder / "truth.npz")
    thermal = np.load(sample.folder / "truth_background.npz")
    flat = split_halves(thermal["flat_x4000"].astype(np.float32) / 4000)
    pedestal = split_halves(thermal["pedestal_x2"].astype(np.float32) / 2)
    bad = split_halves(np.unpackbits(thermal["bad"]).astype(bool).reshape(1024, 2048))
    center = ran.products["center"]
    rows = truth_rows(sample, center, truth)
    y, x = np.meshgrid(block_centres(), block_centres(), indexing="ij")
    errors: tuple[list[np.ndarray], ...] = ([], [])
    for index, row in enumerate(rows):
        ground = background_for(inputs, int(inputs.planes.file[index]))
        model = background_of_plane(ground.basis, ran.products["background"]["coefficients"][index])
        good = (flat > 0) & ~bad & (ground.basis.response > 0)
        means, _ = block_means((model - pedestal) / np.where(good, flat, 1), good)
        for half in range(2):
            near = np.hypot(x - center["star_x"][index, half], y - center["star_y"][index, half]) < 100
            errors[half].append((means[half] - thermal["thermal"][row, half])[near])
    rms = [float(np.sqrt(np.mean(np.concatenate(one) ** 2))) for one in errors]
    assert rms[0] <= 1.4
    assert rms[1] <= 2.3


def test_flux_planes_give_the_star_behind_its_neutral_density(sample: Sample):
    ran, _ = sample.tracks(("FLUX",))
    truth = np.load(sample.folder / "truth.npz")
    photometry = ran.products["photometry"]
    rows = truth_rows(sample, photometry, truth)
    ratio = photometry["aperture_flux"] / truth["core"][rows] / truth["flux_star"]
    assert np.ptp(ratio[:, 0]) / ratio[:, 0].mean() < 0.015
    assert ratio.min() > 0.6
    assert ratio.max() < 0.9
    psf = ran.products["psf"]["flux"]
    assert psf.shape == (2, 80, 80)
    assert [np.unravel_index(np.nanargmax(one), one.shape) for one in psf] == [(40, 40), (40, 40)]


def test_factors_of_science_planes_are_from_their_speckles_and_not_worse_than_none(sample: Sample):
    ran, _ = sample.tracks(("OBJECT",))
    truth = np.load(sample.folder / "truth.npz")
    photometry = ran.products["photometry"]
    rows = truth_rows(sample, photometry, truth)
    science = np.array([str(one) == "OBJECT" for one in photometry["frame_type"]])
    core = truth["core"][rows][science]
    assert (photometry["photometry_method"][science] == "speckles").all()
    assert np.isnan(photometry["speckle_amplitude"][~science]).all()
    factor, error = photometry["relative_flux"][science], photometry["relative_flux_error"][science]
    left, nothing = (np.std(one / np.median(one, axis=0), axis=0) for one in (factor / core, 1.0 / core))
    # Six planes in K scatter by less than speckles are trusted there: nothing is claimed, and nothing is lost.
    assert (left < nothing).all() if "H23" in sample.folder.name else (left < nothing + 1e-9).all()
    assert (error > 0.01).all()
    assert (error < 0.08).all()


def codes(ran: Ran) -> set[str]:
    return {one.code for one in ran.result.remarks}


def test_without_center_motion_is_tracked_and_the_place_is_a_guess(shared: Path):
    sample = prepared(shared / "samples" / "irdis" / "DB_H23")
    ran, _ = sample.tracks(("OBJECT",))
    center, truth = ran.products["center"], np.load(sample.folder / "truth.npz")
    away = np.stack([center["star_x"], center["star_y"]], axis=-1) - truth["center"][truth_rows(sample, center, truth)]
    assert away.std(axis=0).max() * 12.25 < 1.0
    assert (center["star_x_error"] > 1).all()
    assert set(center["centering_method"].ravel()) == {"first_guess"}
    assert {"AP-IRD-045", "AP-IRD-051"} <= codes(ran)
    assert np.isnan(ran.products["psf"]["flux"]).all()


def test_a_center_or_flux_of_another_acquisition_is_not_the_stars(shared: Path):
    sample = prepared(shared / "samples" / "irdis" / "DB_H23")
    own, inputs = sample.tracks()
    lent, _ = sample.tracks_anew(
        ("OBJECT", "CENTER", "FLUX"), levels=tuple(int(one != "OBJECT") for one in inputs.frame_roles)
    )
    science = own.products["center"]["frame_type"] == "OBJECT"
    center = lent.products["center"]
    assert set(center["centering_method"][science].ravel()) == {"borrowed"}
    assert (np.hypot(center["star_x_error"], center["star_y_error"])[science] * 12.25 > 11.0).all()
    moved = center["star_x"][science] - own.products["center"]["star_x"][science]
    assert np.ptp(moved, axis=0).max() < 0.01
    assert {"AP-IRD-059", "AP-IRD-060"} <= codes(lent)
    assert not {"AP-IRD-059", "AP-IRD-060"} & codes(own)
    for product in ("center", "psf"):
        assert lent.result.products[product].attrs["of_another_acquisition"] is True
        assert own.result.products[product].attrs["of_another_acquisition"] is False
        metric = (product, "planes_of_another_acquisition")
        assert all(one.value > 0 for one in lent.result.qc if (one.product_type, one.metric) == metric)
        assert metric in {(one.product_type, one.metric) for one in lent.result.qc}


@pytest.mark.parametrize("excluded", [(0, 0), (2, 1)], ids=["center", "object"])
def test_what_is_in_an_excluded_plane_changes_no_other_row(shared: Path, excluded: tuple[int, int]):
    sample = prepared(shared / "samples" / "irdis" / "DB_H23")
    given = {"roles": ("OBJECT", "CENTER"), "unusable": {excluded: "override"}}
    first, inputs = sample.tracks_anew(**given)
    second, _ = sample.tracks_anew(**given, spoilt=excluded)
    others = inputs.planes.usable
    for product in ("center", "photometry", "background"):
        for name, values in first.products[product].items():
            np.testing.assert_array_equal(values[others], second.products[product][name][others], err_msg=name)


def test_a_star_nowhere_is_a_failure_of_the_data(shared: Path):
    sample = prepared(shared / "samples" / "irdis" / "DB_H23")
    sky = by_type(sample.frames, "SKY", 16.0)
    calibrations = {
        "flat": [sample.flat.calibration("detector_flat")],
        "bad_pixels": [sample.flat.calibration("bad_pixels")],
        "background": [sample.backgrounds["science"]],
    }
    inputs = raw_inputs(recipe("irdis_tracks"), sky, roles=["CENTER"], calibrations=calibrations)
    with pytest.raises(DataFailure, match="AP-IRD-052"):
        run_in_memory(recipe("irdis_tracks"), inputs, {"raw": stack(sample.folder, sky)})


def test_every_recipe_is_listed_once_and_found_by_name():
    assert len({one.name for one in COOKBOOK}) == len(COOKBOOK)
    assert all(recipe(one.name) is one for one in COOKBOOK)
    with pytest.raises(MisuseError, match="irdis_tracks"):
        recipe("irdis_track")
