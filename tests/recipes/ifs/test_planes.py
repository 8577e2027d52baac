"""Raw planes become electrons by the masters that serve their file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from samples import made_frame

from archive_proc.errors import DataFailure
from archive_proc.model.flags import Flag
from archive_proc.model.frames import Arm
from archive_proc.model.processes import Subject
from archive_proc.recipes.ifs.layout import layout_of
from archive_proc.recipes.ifs.planes import detector_masters, electrons, good, noise_variance, saturated
from archive_proc.recipes.recipe import Calibration, PlaneTable, RecipeInputs

NY, NX = 64, 128


@dataclass(frozen=True)
class NoParameters:
    """None."""


def frame(dit_s: float = 32.0, **facts: Any):
    given = {"arm": Arm.IFS, "dit_s": dit_s, "gain": 2.0, "naxis1": NX, "naxis2": NY, "ifs_comb": "OBS_YJ"}
    return made_frame("2017-05-15T04:49:00.000", 1, **(given | facts))


def dark(dit_s: float, level: float, flags: np.ndarray | None = None, **facts: Any) -> Calibration:
    full = np.full((NY, NX), np.float32(level))
    arrays = {
        "level": full,
        "variance": np.full_like(full, 1.0),
        "read_noise": np.full_like(full, 5.0),
        "flags": np.zeros((NY, NX), np.uint16) if flags is None else flags,
    }
    return Calibration(f"dark-{dit_s}", "dark", arrays, {"dit_s": dit_s}, **facts)


def flat(response: np.ndarray) -> Calibration:
    arrays = {
        "response": response,
        "variance": np.full_like(response, 1e-6),
        "flags": np.zeros(response.shape, np.uint16),
    }
    return Calibration("flat", "detector_flat", arrays, {})


def inputs_with(given: RecipeInputs | None = None, one=None, **calibrations: Any) -> RecipeInputs:
    one = one or frame()
    return RecipeInputs(
        subject=Subject("group", "0" * 32, Arm.IFS),
        parameters=NoParameters(),
        frames=(one,),
        frame_roles=("CALIB",),
        planes=PlaneTable(np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1, bool), ("",)),
        calibrations=calibrations,
    )


def test_level_comes_off_response_is_divided_out_and_the_gain_makes_electrons() -> None:
    response = np.random.default_rng(1).uniform(0.9, 1.1, (NY, NX)).astype(np.float32)
    masters = detector_masters(inputs_with(dark=(dark(32.0, 300.0),), detector_flat_white=(flat(response),)), 0)
    light = 500.0
    raw = 300.0 + light * response[None]
    found = electrons(raw.astype(np.float32), masters, 2.0)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.full((1, NY, NX), 2.0 * light), rel=1e-5)
    assert noise_variance(masters) == pytest.approx((2.0 * 5.0 / response) ** 2, rel=1e-5)


def test_every_reason_against_a_pixel_takes_its_weight() -> None:
    response = np.ones((NY, NX), np.float32)
    response[3, 4] = np.nan
    hot = np.zeros((NY, NX), np.uint16)
    hot[5, 6] = int(Flag.HOT)
    bad = flat(response)
    bad.arrays["flags"][7, 8] = int(Flag.DEAD)
    bad.arrays["flags"][9, 10] = int(Flag.SUSPECT)
    masters = detector_masters(inputs_with(dark=(dark(32.0, 0.0, hot),), detector_flat_white=(bad,)), 0)
    weightless = ~good(masters)
    assert sorted(zip(*np.nonzero(weightless), strict=True)) == [(3, 4), (5, 6), (7, 8)]
    assert np.isfinite(electrons(np.ones((NY, NX), np.float32), masters)).all()


def test_a_level_at_a_dit_without_dark_is_the_rate_of_two_others() -> None:
    darks = (
        dark(2.0, 10.0, method="rate_from_other_dits"),
        dark(32.0, 160.0, method="rate_from_other_dits"),
    )
    given = inputs_with(one=frame(16.0), dark=darks, detector_flat_white=(flat(np.ones((NY, NX), np.float32)),))
    masters = detector_masters(given, 0)
    assert masters.level == pytest.approx(80.0)
    assert masters.method == "rate_from_other_dits"


def test_full_pixels_and_their_neighbours_are_not_used() -> None:
    masters = detector_masters(
        inputs_with(dark=(dark(32.0, 0.0),), detector_flat_white=(flat(np.ones((NY, NX), np.float32)),)), 0
    )
    raw = np.zeros((2, NY, NX), np.float32)
    raw[1, 20, 30] = 60_000.0
    found = saturated(raw, masters)
    assert not found[0].any()
    assert found[1].sum() == 5
    assert found[1, 19:22, 30].all()


@pytest.mark.parametrize(
    ("roles", "code"),
    [(("dark",), "AP-IFS-001"), (("detector_flat_white",), "AP-IFS-002")],
)
def test_what_is_missing_is_named(roles: tuple[str, ...], code: str) -> None:
    every = {"dark": (dark(32.0, 0.0),), "detector_flat_white": (flat(np.ones((NY, NX), np.float32)),)}
    with pytest.raises(DataFailure, match=code):
        detector_masters(inputs_with(**{role: every[role] for role in roles}), 0)


def test_a_window_of_the_detector_is_refused() -> None:
    given = inputs_with(
        one=frame(naxis1=NX // 2),
        dark=(dark(32.0, 0.0),),
        detector_flat_white=(flat(np.ones((NY, NX), np.float32)),),
    )
    with pytest.raises(DataFailure, match="AP-IFS-003"):
        detector_masters(given, 0)


@pytest.mark.parametrize(("comb", "mode", "lasers"), [("OBS_YJ", "YJ", 3), ("OBS_H", "YJH", 4)])
def test_layout_is_that_of_the_mode(comb: str, mode: str, lasers: int) -> None:
    found = layout_of(frame(ifs_comb=comb))
    assert found.mode == mode
    assert found.laser_offsets.shape == (lasers, 2)
    assert found.laser_um[0] == pytest.approx(0.98772)
    assert len(found.edges) == 40
