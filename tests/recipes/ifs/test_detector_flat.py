"""The IFS's flat and bad pixels against the truth of a simulated night, and flats that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from running import raw_inputs, run_in_memory
from samples import made_frame

from archive_proc.errors import DataFailure
from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.pixel_response import lamp_shape
from archive_proc.model.flags import Flag
from archive_proc.model.frames import Arm
from archive_proc.recipes.ifs.detector_flat import IFS_DETECTOR_FLAT
from archive_proc.recipes.ifs.planes import COLOURED_ROLES, detector_masters
from archive_proc.recipes.recipe import Calibration

NY, NX = 128, 256
GAIN = 1.8
USELESS = int(Flag.DEAD | Flag.HOT | Flag.NOISY)


def frame(start: str, dit_s: float, **facts: Any):
    given = {"arm": Arm.IFS, "dit_s": dit_s, "gain": GAIN, "naxis1": NX, "naxis2": NY, "ifs_comb": "CAL_BB_2_YJ"}
    return made_frame(start, 1, **(given | facts))


def lamp_frames(dits: tuple[float, ...]) -> list:
    return [frame(f"2017-05-14T19:16:{10 + n:02d}.000", dit) for n, dit in enumerate(dits)]


def lamp_planes(dits: tuple[float, ...], response: np.ndarray, adu_s: float = 1500.0, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = [rng.poisson(GAIN * adu_s * dit * response) / GAIN + rng.normal(12.0, 5.5, (NY, NX)) for dit in dits]
    return np.stack(found).astype(np.float32)


def pixels(seed: int = 2) -> np.ndarray:
    return 1.0 + 0.012 * np.random.default_rng(seed).standard_normal((NY, NX))


def flat_of(raw: np.ndarray, dits: tuple[float, ...], **parameters: Any):
    inputs = raw_inputs(IFS_DETECTOR_FLAT, lamp_frames(dits), parameters=parameters)
    return run_in_memory(IFS_DETECTOR_FLAT, inputs, {"raw": raw})


# ------------------------------------------------------------------------------------------------ a simulated night


def test_hot_dead_and_unstable_pixels_are_found_and_few_others(night: Any, white_flat: dict[str, Calibration]) -> None:
    flags = white_flat["bad_pixels"].arrays["flags"].ravel()
    truth = night.truth
    share = {kind: float(np.mean((flags[getattr(truth, kind)] & USELESS) != 0)) for kind in ("hot", "dead", "unstable")}
    assert share["hot"] > 0.995
    assert share["dead"] > 0.999
    # Of those the faintest waver by less than the noise of a plane.
    assert share["unstable"] > 0.85
    known = np.zeros(flags.size, bool)
    for kind in ("hot", "dead", "unstable", "newly_hot"):
        known[getattr(truth, kind)] = True
    assert np.mean((flags[~known] & USELESS) != 0) < 1e-3
    assert (flags[truth.dead] & int(Flag.DEAD) != 0).mean() > 0.999


def test_the_response_is_the_truth_within_its_claimed_error(night: Any, white_flat: dict[str, Calibration]) -> None:
    flat = white_flat["detector_flat"]
    small_scale = night.truth.response / lamp_shape(night.truth.response).shape
    good = flat.arrays["flags"] == 0
    good.ravel()[night.truth.unstable] = False
    error = (flat.arrays["response"] / small_scale - 1.0)[good]
    claimed = np.sqrt(flat.arrays["variance"][good])
    assert np.std(error / claimed) == pytest.approx(1.0, abs=0.06)
    assert np.std(error) < 0.008


def test_a_coloured_lamp_beside_the_white_one_betters_the_response(
    night: Any, white_flat: dict[str, Calibration]
) -> None:
    files = night.files
    lamp = files.run(IFS_DETECTOR_FLAT, files.of("FLAT,LAMP", comb="CAL_NB2"))
    coloured = {COLOURED_ROLES[1]: [lamp.calibration("detector_flat")]}
    level = {"level": 0.0, "variance": 1.0, "read_noise": 1.0}
    zero = {name: np.full((2048, 2048), value, np.float32) for name, value in level.items()}
    dark = Calibration("dark", "dark", zero | {"flags": np.zeros((2048, 2048), np.uint16)}, {"dit_s": 1.650726})
    white = {"detector_flat_white": [white_flat["detector_flat"]], "dark": [dark]}
    small_scale = night.truth.response / lamp_shape(night.truth.response).shape
    errors = []
    for given in (white, white | coloured):
        inputs = raw_inputs(IFS_DETECTOR_FLAT, files.of("SPECPOS,LAMP"), calibrations=given)
        masters = detector_masters(inputs, 0)
        good = (masters.flags & USELESS) == 0
        errors.append(float(np.std((masters.response / small_scale)[good])))
        assert np.sqrt(masters.common[0]) == pytest.approx(errors[-1], rel=0.1)
    assert errors[1] < 0.8 * errors[0]


# --------------------------------------------------------------------------------------------------- made-up planes


def test_three_dits_flag_pixels_off_the_straight_line() -> None:
    dits = (1.0, 4.0, 8.0)
    raw = lamp_planes(dits, pixels())
    raw[1, 30, 40] -= 1500.0
    ran = flat_of(raw, dits)
    assert ran.products["bad_pixels"]["flags"][30, 40] & int(Flag.NONLINEAR)
    assert np.isfinite(ran.products["bad_pixels"]["chi"]).all()
    assert np.mean(ran.products["bad_pixels"]["flags"] != 0) < 1e-3


def test_a_saturated_dit_is_left_out_and_said() -> None:
    dits = (2.0, 10.0, 40.0)
    raw = np.minimum(lamp_planes(dits, pixels()), 65_535.0).astype(np.float32)
    ran = flat_of(raw, dits)
    assert ran.result.products["detector_flat"].attrs["lamp_dit_s"] == [2.0, 10.0]
    assert "AP-IFS-010" in [one.code for one in ran.result.remarks]


def spectra(adu: float) -> np.ndarray:
    """Stripes instead of a flat."""
    x = np.arange(NX) % 5
    return adu * np.broadcast_to(np.exp(-0.5 * (x - 2.0) ** 2), (NY, NX))


@pytest.mark.parametrize(
    ("dits", "response", "adu_s", "code", "metric"),
    [
        ((10.0, 10.0), 1.0, 1500.0, "AP-IFS-006", "lamp_dits"),
        ((2.0, 10.0), 1.0, 8.0, "AP-IFS-007", "added_light"),
        ((20.0, 60.0), 1.0, 4000.0, "AP-IFS-008", "lamp_dits"),
        ((2.0, 10.0), spectra(1.0), 1500.0, "AP-IFS-009", "response_scatter"),
    ],
    ids=["one DIT", "lamp off", "saturated", "spectra"],
)
def test_a_flat_that_is_none_is_refused_with_its_figures(
    dits: tuple[float, ...], response: Any, adu_s: float, code: str, metric: str
) -> None:
    raw = np.minimum(lamp_planes(dits, response * pixels(), adu_s), 65_535.0).astype(np.float32)
    with pytest.raises(DataFailure, match=code) as caught:
        flat_of(raw, dits)
    assert metric in [one.metric for one in caught.value.qc if one.refused]
    assert metric in caught.value.message


def test_planes_of_zeros_are_a_lamp_that_was_off() -> None:
    with pytest.raises(DataFailure, match="AP-IFS-007"):
        flat_of(np.zeros((2, NY, NX), np.float32), (2.0, 10.0))


def test_a_dead_quadrant_is_refused_and_a_person_may_accept_it() -> None:
    dits = (2.0, 10.0)
    raw = lamp_planes(dits, pixels())
    raw[:, : NY // 2, : NX // 2] = 0.0
    with pytest.raises(DataFailure, match=r"AP-IFS-009.*useless_fraction"):
        flat_of(raw, dits)
    flags = flat_of(raw, dits, accept_refused=True).products["bad_pixels"]["flags"]
    assert (flags[: NY // 2, : NX // 2] & int(Flag.DEAD) != 0).all()
    assert (flags[NY // 2 + 32 :] & int(Flag.DEAD) != 0).mean() < 1e-3


def test_a_dark_of_another_size_is_named() -> None:
    arrays = {"level": np.zeros((64, 64), np.float32), "flags": np.zeros((64, 64), np.uint16)}
    given = {"darks": [Calibration("dark", "dark", arrays, {"dit_s": 32.0})]}
    inputs = raw_inputs(IFS_DETECTOR_FLAT, lamp_frames((2.0, 10.0)), calibrations=given)
    with pytest.raises(DataFailure, match="AP-IFS-003"):
        run_in_memory(IFS_DETECTOR_FLAT, inputs, {"raw": lamp_planes((2.0, 10.0), pixels())})


def test_limits_that_only_the_ifs_has_are_no_part_of_irdis_ids() -> None:
    qc = load_tables().qc
    own = {row.metric for row in qc.rows if row.arm == "IFS" and row.decides and "detector_flat" in row.products}
    assert own >= {"lamp_dits", "added_light", "response_scatter"}
    for arm, there in ((Arm.IFS, True), (Arm.IRDIS, False)):
        text = str(qc.decisive("detector_flat", arm))
        assert all((metric in text) is there for metric in own)
