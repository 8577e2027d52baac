"""From masters to the kernels' detector, whatever masters there are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from running import Ran, blocks, raw_inputs
from samples import made_frame

from archive_proc.errors import DataFailure
from archive_proc.model.flags import Flag
from archive_proc.recipes.irdis.calibrations import detector_for, level_for
from archive_proc.recipes.irdis.science import IRDIS_SCIENCE, _neighbours
from archive_proc.recipes.recipe import Calibration

NY, WIDTH = 64, 256


def frame(start: str = "2015-09-25T08:25:33.075", n: int = 1, **facts: object):
    return made_frame(start, n, naxis1=WIDTH, naxis2=NY, inst_filter="DB_K12", **facts)


def flat_pair() -> dict[str, list[Calibration]]:
    lit = np.zeros((NY, WIDTH), bool)
    lit[10:-10] = True
    flags = np.where(lit, 0, int(Flag.OUTSIDE)).astype(np.uint16)
    response = np.where(lit, 1.0, np.nan).astype(np.float32)
    small = np.full(lit.shape, 1e-5, np.float32)
    flat = Calibration("flat", "detector_flat", {"response": response, "variance": small, "flags": flags}, {})
    return {"flat": [flat], "bad_pixels": [Calibration("bad", "bad_pixels", {"flags": flags}, {})]}


def level(kind: str, dit_s: float, lit: float, unlit: float, noise: float | None, **more: object) -> Calibration:
    value = np.full((NY, WIDTH), lit, np.float32)
    value[:10] = value[-10:] = unlit
    arrays = {"level": value, "variance": np.ones_like(value), "flags": np.zeros(value.shape, np.uint16)}
    if noise is not None:
        light = np.maximum(value - unlit, 0.0)
        arrays["read_noise"] = np.sqrt(noise**2 + light / 1.75).astype(np.float32)
    return Calibration(f"{kind}-{dit_s}", kind, arrays, {"dit_s": dit_s, **more})


def test_noise_of_an_instrument_background_is_freed_of_its_light() -> None:
    given = {**flat_pair(), "background": [level("instrument_background", 16.0, 210.0, 10.0, 2.5)]}
    found = detector_for(raw_inputs(IRDIS_SCIENCE, [frame()], calibrations=given), 0)
    assert np.median(found.read_noise) == pytest.approx(2.5, rel=0.02)
    assert np.median(found.pedestal) == pytest.approx(10.0)
    assert found.unlit_level_variance is None


def test_a_dark_is_the_first_witness() -> None:
    given = {
        **flat_pair(),
        "dark": [level("dark", 16.0, 7.0, 7.0, 3.5)],
        "background": [level("instrument_background", 16.0, 210.0, 10.0, 2.5)],
    }
    found = detector_for(raw_inputs(IRDIS_SCIENCE, [frame()], calibrations=given), 0)
    assert np.median(found.read_noise) == pytest.approx(3.5)
    assert np.median(found.pedestal) == pytest.approx(7.0)


@pytest.mark.parametrize("kind", ["dark", "instrument_background"])
def test_outputs_that_differ_in_level_are_no_light(kind: str) -> None:
    given = {**flat_pair(), "dark": [level(kind, 16.0, 21.0, 7.0, None)]}
    given["dark"][0].arrays["read_noise"] = np.full((NY, WIDTH), 2.5, np.float32)
    found = detector_for(raw_inputs(IRDIS_SCIENCE, [frame()], calibrations=given), 0)
    assert np.array_equal(np.unique(found.pedestal), [7.0, 21.0])
    assert np.allclose(found.read_noise, 2.5)


def test_with_a_sky_alone_the_planes_measure_their_noise() -> None:
    given = {**flat_pair(), "background": [level("sky_basis", 16.0, 210.0, 10.0, None)]}
    found = detector_for(raw_inputs(IRDIS_SCIENCE, [frame()], calibrations=given), 0)
    assert found.unlit_level_variance in ((0.0, 0.0), (1.0, 1.0))
    assert np.median(found.pedestal) == pytest.approx(10.0)


def test_level_of_other_dits_becomes_a_rate_and_of_none_nothing() -> None:
    darks = [level("dark", dit, 10.0 + dit, 10.0 + dit, 2.5) for dit in (2.0, 8.0)]
    inputs = raw_inputs(IRDIS_SCIENCE, [frame()], calibrations={**flat_pair(), "background": darks})
    found = level_for(inputs, 0, "background")
    assert found is not None
    assert np.median(found.level) == pytest.approx(26.0)
    assert level_for(inputs, 0, "dark") is None


def test_a_file_without_flat_is_named() -> None:
    with pytest.raises(DataFailure, match="AP-IRD-010"):
        detector_for(raw_inputs(IRDIS_SCIENCE, [frame()]), 0)


def test_neighbours_in_time_do_not_depend_on_shards() -> None:
    dithers = [0.0, 1.0, 0.0, 1.0, 0.0]
    frames = [frame(f"2015-09-25T08:{10 + 5 * i}:00", 5, dith_x=dither, dith_y=0.0) for i, dither in enumerate(dithers)]
    inputs = raw_inputs(IRDIS_SCIENCE, frames, unusable={(2, 1): "clouds"})
    raw = np.arange(25, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    one = IRDIS_SCIENCE.passes[0]
    for block in blocks(IRDIS_SCIENCE, one, inputs, {"raw": raw}):
        for plane in block.planes:
            same = [p for p in range(25) if dithers[p // 5] == dithers[plane // 5] and p != 11 and p != plane]
            # Sixteen planes make a block, whatever the chunks: two of its own dither there are enough.
            own = [p for p in same if p // 16 == plane // 16]
            nearest = sorted(own, key=lambda p: abs(p - plane))
            wanted = (
                nearest[:4]
                if len(own) >= 2
                else [p for p in same if p < plane][-2:] + [p for p in same if p > plane][:2]
            )
            found = [int(near[0, 0]) for near in _neighbours(block, inputs, int(plane))]
            # Of two that are equally near the earlier one is taken; an excluded plane uses up a place of the halo.
            assert {abs(p - plane) for p in found} <= {abs(p - plane) for p in wanted}
            assert set(found) <= set(own if len(own) >= 2 else wanted)
            assert len(found) >= len(wanted) - (len(own) < 2)


def test_run_in_memory_gives_what_the_next_recipe_needs() -> None:
    content = SimpleNamespace(attrs={"a": 1}, arrays={})
    ran = Ran({"dark": {"level": np.zeros(2)}}, SimpleNamespace(products={"dark": content}))  # type: ignore[arg-type]
    assert ran.calibration("dark", serves=(1,)).serves == (1,)
