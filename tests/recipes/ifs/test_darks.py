"""Darks and backgrounds of the IFS: its whole detector, by dark current and by the scatter between planes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from running import raw_inputs, run_in_memory
from samples import made_frame

from archive_proc.errors import DataFailure
from archive_proc.model.flags import Flag
from archive_proc.model.frames import Arm
from archive_proc.recipes.detector import IFS_DARK, IFS_INSTRUMENT_BACKGROUND
from archive_proc.recipes.recipe import Recipe

NY, NX = 128, 512
GAIN = 1.8


def frame(n: int, dit_s: float = 32.0, **facts: Any):
    given = {"arm": Arm.IFS, "dit_s": dit_s, "gain": GAIN, "naxis1": NX, "naxis2": NY, "ifs_comb": "OBS_YJ"}
    return made_frame("2017-05-14T19:13:33.500", n, **(given | facts))


def planes(n: int, seed: int, read_noise_e: float = 10.0, warm_e: float = 480.0) -> np.ndarray:
    """(n, NY, NX) ADU: thermal light with its photons, pedestal and read noise."""
    rng = np.random.default_rng(seed)
    electrons = rng.poisson(warm_e, (n, NY, NX)) + rng.normal(0.0, read_noise_e, (n, NY, NX))
    return (8.0 + electrons / GAIN).astype(np.float32)


def ran(recipe: Recipe, raw: np.ndarray, **facts: Any):
    return run_in_memory(recipe, raw_inputs(recipe, [frame(len(raw), **facts)]), {"raw": raw})


@pytest.mark.parametrize("recipe", [IFS_DARK, IFS_INSTRUMENT_BACKGROUND], ids=lambda one: one.name)
@pytest.mark.parametrize("n", [2, 4])
def test_hot_and_unstable_pixels_are_told_apart_with_two_planes(recipe: Recipe, n: int) -> None:
    raw = planes(n, 1)
    raw[:, 40, 300] += 100.0 * 32.0 / GAIN
    raw[:, 60, 200] += 8.0 * 32.0 / GAIN
    raw[: n // 2, 90, 100] += 150.0
    raw[n // 2 :, 90, 100] -= 150.0
    found = ran(recipe, raw).products[recipe.outputs[0]]
    assert found["flags"][40, 300] == int(Flag.HOT)
    assert found["flags"][60, 200] == 0
    assert found["flags"][90, 100] & int(Flag.NOISY)
    # Of two planes a quiet pixel shows one 4 sigma above the rest once in 16,000.
    assert (found["flags"] != 0).mean() < 2e-4
    assert np.median(found["level"]) == pytest.approx(8.0 + 480.0 / GAIN, abs=0.5)


def test_read_noise_is_measured_without_the_photons_of_the_thermal_light() -> None:
    (noise,) = [one for one in ran(IFS_DARK, planes(4, 2)).result.qc if one.metric == "typical_noise"]
    # The pedestal of 8 ADU passes for light: 3 % of the photon noise.
    assert noise.value == pytest.approx(10.0 / GAIN, rel=0.1)
    assert noise.inst_filter == "OBS_YJ"


def test_the_hottest_pixel_takes_its_neighbours_along() -> None:
    raw = planes(4, 3)
    raw[:, 50, 50] += 20_000.0
    flags = ran(IFS_DARK, raw).products["dark"]["flags"]
    assert (flags[49:52, 49:52] & int(Flag.HOT) != 0).tolist() == [
        [False, True, False], [True, True, True], [False, True, False],
    ]  # fmt: skip


def test_a_dark_of_one_plane_says_that_unstable_pixels_are_not_known() -> None:
    one = ran(IFS_DARK, planes(1, 4), dit_s=1.650726)
    assert [remark.code for remark in one.result.remarks] == ["AP-IFS-005"]
    assert np.isfinite(one.products["dark"]["read_noise"]).all()


def test_a_dark_with_light_in_it_is_refused_by_a_code_of_the_ifs() -> None:
    raw = np.random.default_rng(5).normal(0.0, 90.0, (3, NY, NX)).astype(np.float32)
    with pytest.raises(DataFailure, match="AP-IFS-004") as caught:
        ran(IFS_DARK, raw)
    assert "typical_noise" in [one.metric for one in caught.value.qc if one.refused]


@pytest.mark.parametrize("value", [0.0, 65535.0], ids=["zeros", "saturated"])
def test_planes_that_do_not_differ_are_no_dark(value: float) -> None:
    with pytest.raises(DataFailure) as refused:
        ran(IFS_DARK, np.full((2, NY, NX), value, np.float32))
    assert refused.value.code == "AP-IFS-004"
