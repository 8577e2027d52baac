"""The wavelength solution and PSFlets of a simulated laser frame, against truth that the recipe cannot see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from running import Ran

from archive_proc.errors import DataFailure
from archive_proc.kernels.dispersion import field_terms, fit_field
from archive_proc.kernels.psflet_equations import Spots, spot_image
from archive_proc.kernels.psflets import WINDOW, stamp
from archive_proc.recipes.ifs.positions import IFS_SPECTRA_POSITIONS
from archive_proc.recipes.ifs.solutions import Solution, read_psflets, read_solution
from archive_proc.recipes.ifs.wave import IFS_WAVE, PSFLETS, SOLUTION
from archive_proc.recipes.recipe import Calibration

Given = Mapping[str, Sequence[Calibration]]


@pytest.fixture(scope="module")
def given(night: Any, darks: dict[str, Calibration], white_flat: dict[str, Calibration]) -> Given:
    masters: Given = {
        "dark": [darks["dark_1.65"]],
        "detector_flat_white": [white_flat["detector_flat"]],
        "bad_pixels": [white_flat["bad_pixels"]],
    }
    specpos = night.files.run(IFS_SPECTRA_POSITIONS, night.files.of("SPECPOS,LAMP"), masters)
    return {**masters, "specpos": [specpos.calibration("ifs_spectra_positions")]}


@pytest.fixture(scope="module")
def wave(night: Any, given: Given) -> Ran:
    return night.files.run(IFS_WAVE, night.files.of("WAVE,LAMP"), given)


def figure(ran: Ran, metric: str) -> float:
    return next(one.value for one in ran.result.qc if one.metric == metric)


def in_truth(solution: Solution, night: Any) -> np.ndarray:
    """(n,) position of each lenslet of the solution in the truth, -1 where it is not there."""
    place = {pair: at for at, pair in enumerate(zip(night.truth.q.tolist(), night.truth.r.tolist(), strict=True))}
    pairs = zip(solution.lenslets.q.tolist(), solution.lenslets.r.tolist(), strict=True)
    return np.array([place.get(pair, -1) for pair in pairs])


def test_every_laser_is_where_the_truth_has_it(wave: Ran, night: Any) -> None:
    solution, truth = read_solution(wave.calibration(SOLUTION)), night.truth
    there = in_truth(solution, night)
    complete = solution.complete & (there >= 0)
    assert complete.sum() > 0.98 * truth.complete.sum()
    for laser, nm in enumerate(truth.laser_nm):
        places = solution.dispersion.positions(solution.lenslets.x, solution.lenslets.y, np.array([nm / 1000]))
        away = places[:, :, 0] - np.array([truth.x_laser[there, laser], truth.y_laser[there, laser]])
        away = away[:, complete]
        # The PSFlets' own centre, which is theirs up to some hundredths of a pixel, is in the mean.
        assert np.abs(away.mean(axis=1)).max() < 0.06
        assert away.std(axis=1).max() < 0.03


def test_each_lenslet_s_own_place_is_known_to_some_thousandths_of_a_pixel(wave: Ran, night: Any) -> None:
    solution, truth = read_solution(wave.calibration(SOLUTION)), night.truth
    there = in_truth(solution, night)
    complete = solution.complete & (there >= 0)
    laser = int(np.argmin(np.abs(truth.laser_nm - 1123.71)))
    true = np.array([truth.x_laser[there, laser], truth.y_laser[there, laser]])[:, complete]
    um = np.array([truth.laser_nm[laser] / 1000])
    x, y = solution.lenslets.x[complete], solution.lenslets.y[complete]
    for axis in (0, 1):
        spread = []
        for places in (
            solution.places(um),
            solution.dispersion.positions(solution.lenslets.x, solution.lenslets.y, um),
        ):
            away = places[axis, complete, 0] - true[axis]
            # The PSFlets' own centre varies smoothly over the field: that much is theirs.
            coefficients, _ = fit_field(x, y, away)
            spread.append(float(np.std(away - field_terms(x, y) @ coefficients)))
        assert spread[0] < 0.6 * spread[1]
        assert spread[0] < 0.008


def test_wavelengths_between_and_beyond_the_lasers_are_right_to_a_tenth_of_a_pixel(wave: Ran, night: Any) -> None:
    solution, truth = read_solution(wave.calibration(SOLUTION)), night.truth
    there = in_truth(solution, night)
    complete = solution.complete & (there >= 0)
    band = (truth.position_nm > 950.0) & (truth.position_nm < 1350.0)
    um = truth.position_nm[band] / 1000
    places = solution.dispersion.positions(solution.lenslets.x, solution.lenslets.y, um)
    away = places[1][complete] - truth.y_px[there[complete]][:, band]
    assert np.abs(np.median(away, axis=0)).max() < 0.1


def test_psflets_are_right_to_some_per_cent_of_their_light(wave: Ran, night: Any) -> None:
    model, truth = read_psflets(wave.calibration(PSFLETS)), night.truth
    x, y, nm, images = truth.psflets()
    at = np.arange(-(WINDOW // 2), WINDOW // 2 + 1)
    sampled = np.clip(88 + 8 * at, 0, 175)
    for laser in truth.laser_nm:
        expected = images[2, 2, int(np.argmin(np.abs(nm - laser)))][np.ix_(sampled, sampled)].astype(np.float64)
        # Inter-pixel capacitance is in the frames, not in the truth's images.
        ipc = truth.facts["ipc"]
        crossed = sum(np.roll(expected, step, axis) for step in (1, -1) for axis in (0, 1))
        expected = (1 - 4 * ipc) * expected + ipc * crossed
        expected /= expected.sum()
        found = np.empty((WINDOW, WINDOW), np.float32)
        stamp(model.coefficients(x[2:3], y[2:3], laser / 1000)[0], 100.0, 100.0, found)
        assert found.sum() == pytest.approx(1.0, abs=0.005)
        assert np.linalg.norm(found - expected) < 0.06 * np.linalg.norm(expected)
        # A ghost of the neighbour's spot would stand five pixels to the right.
        beside = found[4:13, 11:16].sum() - expected[4:13, 11:16].sum()
        assert abs(beside) < 0.006


def test_the_solution_passes_its_own_check_and_says_how_well(wave: Ran) -> None:
    assert figure(wave, "lasers_found") == 3
    assert figure(wave, "lasers_missing") == 0
    assert figure(wave, "lasers_unlike_header") == 0
    assert figure(wave, "spots_used") > 0.95
    assert figure(wave, "line_offset") < 0.5
    assert figure(wave, "line_displacement") < 0.15
    assert figure(wave, "line_scatter") < 0.3
    assert figure(wave, "line_missing") < 0.02
    assert figure(wave, "bright_residual") < 0.03
    assert not wave.result.remarks


def laser_light(wave: Ran, night: Any, nm: float) -> np.ndarray:
    """(ny, nx) ADU of one laser's spots: true brightness, shape and place as the recipe found them."""
    solution, model = read_solution(wave.calibration(SOLUTION)), read_psflets(wave.calibration(PSFLETS))
    truth, frame = night.truth, night.files.of("WAVE,LAMP")[0]
    there, laser = in_truth(solution, night), int(np.argmin(np.abs(truth.laser_nm - nm)))
    seen = truth.frame(frame.file_id)
    bright = seen.spectrum[laser] * seen.weight[there, laser] * (truth.throughput * truth.stopped)[there]
    um = np.array([truth.laser_nm[laser] / 1000])
    lit = np.where(there >= 0, bright, 0.0)[:, None]
    spots = Spots(solution.lenslets.x, solution.lenslets.y, um, solution.places(um), lit)
    return spot_image(model, spots, (2048, 2048)) / frame.gain


@pytest.mark.slow
def test_a_laser_that_does_not_burn_is_named_and_its_wavelength_still_known(
    wave: Ran, night: Any, given: Given
) -> None:
    off = laser_light(wave, night, 1309.37)
    files = night.files.of("WAVE,LAMP")
    ran = night.files.run(IFS_WAVE, files, given, lambda raw: (raw - off).astype(np.float32))
    assert figure(ran, "lasers_found") == 2
    assert figure(ran, "lasers_unlike_header") == 1
    assert [one.code for one in ran.result.remarks] == ["AP-IFS-031"]
    assert "CBL1" in ran.result.remarks[0].message
    assert ran.calibration(SOLUTION).attrs["lasers_missing"] == ["CBL1"]
    ends = np.array([0.95, 1.35])
    both = [read_solution(one.calibration(SOLUTION)) for one in (wave, ran)]
    x, y = both[0].lenslets.x, both[0].lenslets.y
    places = [one.dispersion.positions(x, y, ends) for one in both]
    assert np.abs(np.median(places[0] - places[1], axis=1)).max() < 0.15


def test_a_frame_without_lasers_is_refused_by_name(night: Any, given: Given) -> None:
    level = given["dark"][0].arrays["level"]
    with pytest.raises(DataFailure, match="IFS_NO_LASER") as refused:
        night.files.run(
            IFS_WAVE,
            night.files.of("WAVE,LAMP"),
            given,
            lambda raw: np.broadcast_to(level, raw.shape).astype(np.float32),
        )
    assert refused.value.code == "AP-IFS-030"


def test_light_that_is_no_laser_s_is_refused_by_name(night: Any, given: Given) -> None:
    white = night.files.planes(night.files.of("SPECPOS,LAMP"))
    with pytest.raises(DataFailure) as refused:
        night.files.run(IFS_WAVE, night.files.of("WAVE,LAMP"), given, lambda raw: white[: len(raw)])
    assert refused.value.code in ("AP-IFS-030", "AP-IFS-032", "AP-IFS-033")
