"""Masters of the detector, from planes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from running import raw_inputs, run_in_memory
from samples import made_frame

from archive_proc.errors import DataFailure
from archive_proc.model.flags import Flag
from archive_proc.recipes.detector import IRDIS_DARK, IRDIS_INSTRUMENT_BACKGROUND
from archive_proc.recipes.irdis.flat import IRDIS_FLAT

NY = 128
WIDTH = 512


def small(start: str, n: int = 1, **facts: object):
    return made_frame(start, n, naxis1=WIDTH, naxis2=NY, **facts)


def dark_planes(n: int, level: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (level + rng.normal(0.0, 2.5, (n, NY, WIDTH))).astype(np.float32)


@pytest.mark.parametrize("recipe", [IRDIS_DARK, IRDIS_INSTRUMENT_BACKGROUND])
def test_dark_finds_level_noise_hot_and_noisy_pixels(recipe) -> None:
    level = np.full((NY, WIDTH), 10.0)
    level[30, 40] = 200.0
    raw = dark_planes(5, level, 1)
    raw[:, 50, 60] += np.array([40.0, -35.0, 22.0, -50.0, 31.0], np.float32)
    raw[2, 70, 80] += 5000.0
    ran = run_in_memory(recipe, raw_inputs(recipe, [small("2017-09-28T14:00:00.000", 5)]), {"raw": raw})
    found = ran.products[recipe.outputs[0]]
    assert np.median(found["level"]) == pytest.approx(10.0, abs=0.1)
    assert np.median(found["read_noise"]) == pytest.approx(2.5, rel=0.05)
    assert np.median(found["variance"]) == pytest.approx(2.5**2 / 5, rel=0.1)
    assert found["flags"][30, 40] == int(Flag.HOT)
    assert found["flags"][50, 60] & int(Flag.NOISY)
    assert found["level"][70, 80] == pytest.approx(10.0, abs=5.0)
    assert found["flags"].dtype == np.uint16
    assert ran.result.products[recipe.outputs[0]].attrs["dit_s"] == 16.0


def test_excluded_planes_do_not_enter_a_dark() -> None:
    raw = dark_planes(3, np.full((NY, WIDTH), 10.0), 2)
    raw[1] += 100.0
    frames = [small("2017-09-28T14:00:00.000", 3)]
    ran = run_in_memory(IRDIS_DARK, raw_inputs(IRDIS_DARK, frames, unusable={(0, 1): "bad"}), {"raw": raw})
    assert np.median(ran.products["dark"]["level"]) == pytest.approx(10.0, abs=0.1)
    every = {(0, plane): "bad" for plane in range(3)}
    with pytest.raises(DataFailure, match="AP-IRD-003"):
        run_in_memory(IRDIS_DARK, raw_inputs(IRDIS_DARK, frames, unusable=every), {"raw": raw})


def test_a_dark_with_light_in_it_is_refused_with_its_figures() -> None:
    rng = np.random.default_rng(3)
    raw = rng.normal(0.0, 80.0, (3, NY, WIDTH)).astype(np.float32)
    with pytest.raises(DataFailure, match="AP-IRD-004") as caught:
        run_in_memory(IRDIS_DARK, raw_inputs(IRDIS_DARK, [small("2017-09-28T14:00:00.000", 3)]), {"raw": raw})
    found = {one.metric: one for one in caught.value.qc}
    assert found["typical_noise"].value > 70.0
    assert {name for name, one in found.items() if one.refused} == {"typical_noise"}
    assert "typical_noise" in caught.value.message
    assert "(limit 25)" in caught.value.message


def test_a_person_may_accept_what_a_limit_refuses() -> None:
    raw = np.random.default_rng(3).normal(0.0, 80.0, (3, NY, WIDTH)).astype(np.float32)
    inputs = raw_inputs(IRDIS_DARK, [small("2017-09-28T14:00:00.000", 3)], parameters={"accept_refused": True})
    ran = run_in_memory(IRDIS_DARK, inputs, {"raw": raw})
    (noise,) = [one.value for one in ran.result.qc if one.metric == "typical_noise"]
    assert noise > 70.0


def lamps(seed: int) -> tuple[list, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:NY, :WIDTH]
    lit = (y > 10) & (y < 115) & ((x % 256) > 12) & ((x % 256) < 240)
    response = np.where(lit, rng.normal(1.0, 0.03, (NY, WIDTH)), 0.0)
    response[60, 100] = 0.1
    frames = [
        small("2017-09-28T14:12:03.200", dit_s=1.0),
        small("2017-09-28T14:16:03.200", dit_s=3.0),
        small("2017-09-28T14:17:03.200", dit_s=3.0),
    ]
    light = [response * 2500.0 * frame.dit_s for frame in frames]
    raw = np.stack([rng.poisson(one * 1.75) / 1.75 + rng.normal(10.0, 2.5, one.shape) for one in light])
    return frames, raw.astype(np.float32), response


def test_flat_is_the_response_with_one_dark_per_dit() -> None:
    frames, raw, truth = lamps(4)
    darks = []
    for dit, serves in ((1.0, (0,)), (3.0, (1, 2))):
        planes = dark_planes(3, np.full((NY, WIDTH), 10.0), int(dit))
        frame = small("2017-09-28T14:00:00.000", 3, dit_s=dit)
        ran = run_in_memory(IRDIS_DARK, raw_inputs(IRDIS_DARK, [frame]), {"raw": planes})
        darks.append(ran.calibration("dark", serves=serves))
    inputs = raw_inputs(IRDIS_FLAT, frames, calibrations={"dark": darks})
    ran = run_in_memory(IRDIS_FLAT, inputs, {"raw": raw})
    flat, bad = ran.products["detector_flat"], ran.products["bad_pixels"]
    lit = np.isfinite(flat["response"])
    assert np.mean(lit == (truth > 0)) > 0.995
    good = lit & (truth > 0.5)
    pull = (flat["response"] - truth / np.median(truth[good]))[good] / np.sqrt(flat["variance"][good])
    assert np.std(pull) == pytest.approx(1.0, abs=0.06)
    assert bad["flags"][60, 100] & int(Flag.DEAD)
    assert bad["flags"][0, 0] & int(Flag.OUTSIDE)
    assert np.array_equal(bad["flags"], flat["flags"])
    assert ran.result.products["detector_flat"].attrs["lamp_dit_s"] == [1.0, 3.0]


def test_flat_without_a_dark_of_its_dit_uses_the_rate_of_others() -> None:
    frames, raw, _ = lamps(5)
    darks = []
    for dit in (2.0, 8.0):
        planes = dark_planes(3, np.full((NY, WIDTH), 10.0), int(dit))
        frame = small("2017-09-28T14:00:00.000", 3, dit_s=dit)
        ran = run_in_memory(IRDIS_DARK, raw_inputs(IRDIS_DARK, [frame]), {"raw": planes})
        darks.append(ran.calibration("dark", method="rate_from_other_dits", level=3))
    ran = run_in_memory(IRDIS_FLAT, raw_inputs(IRDIS_FLAT, frames, calibrations={"dark": darks}), {"raw": raw})
    assert "AP-IRD-009" in {one.code for one in ran.result.remarks}
    assert np.nanmedian(ran.products["detector_flat"]["response"]) == pytest.approx(1.0, abs=1e-3)


def test_lamp_frames_without_light_are_refused() -> None:
    frames, raw, _ = lamps(6)
    with pytest.raises(DataFailure, match="AP-IRD-006"):
        run_in_memory(IRDIS_FLAT, raw_inputs(IRDIS_FLAT, frames), {"raw": np.full_like(raw, 10.0)})
