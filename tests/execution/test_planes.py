"""Which planes a block sees: neighbours by rule, stripes of rows, whatever lies in memory or in a file."""

from __future__ import annotations

import dataclasses
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from toy_night import HEIGHT, ROOT, WIDTH, night, process, raw_input, site, write_raw

from archive_proc.errors import DataFailure, InfraFailure
from archive_proc.execution import worker
from archive_proc.execution.cache import ProductCache
from archive_proc.execution.cookbooks import cookbook
from archive_proc.execution.executor import execute
from archive_proc.execution.inputs import prepare, raw_table
from archive_proc.execution.liveness import this_writer
from archive_proc.execution.planes import ProductPlanes, RawPlanes, Stripes, compare_digests, file_digests
from archive_proc.execution.spec import AttemptSpec
from archive_proc.execution.sweeps import chosen_rows, halo_rows, run_block, shards, stripes
from archive_proc.instruments.tables import load_tables
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import PlanId, RunId
from archive_proc.model.phases import STILL
from archive_proc.model.processes import Subject
from archive_proc.recipes.irdis.science import IRDIS_SCIENCE
from archive_proc.recipes.recipe import BlockOutput, Halo, RecipeInputs
from archive_proc.storage.fits import OpenFrame
from archive_proc.storage.products import (
    LoadedProduct,
    PlaneSource,
    create_product,
    create_store,
    plan_product,
    write_planes,
)


def planes_of(tmp_path: Path, *counts: int) -> tuple[tuple[RawFrame, ...], RawPlanes]:
    frames = write_raw(tmp_path, counts)
    paths = [tmp_path / f"{number:02d}.raw" for number in range(len(counts))]
    return frames, RawPlanes(frames, paths, raw_table(frames, ()), OpenFrame)


def inputs_of(frames: tuple[RawFrame, ...], excluded: tuple[tuple[int, int], ...] = ()) -> RecipeInputs:
    return RecipeInputs(
        subject=Subject("observation", "o", Arm.IRDIS),
        parameters=None,
        frames=frames,
        frame_roles=("OBJECT",) * len(frames),
        planes=raw_table(frames, excluded),
        calibrations={},
    )


def test_a_recipe_is_told_which_main_files_are_of_another_acquisition(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    own, lent = (raw_input(one) for one in tuple(tonight.frames.values())[:2])
    spec = AttemptSpec(
        process=process("toy_dark", [own, dataclasses.replace(lent, level=1)]),
        frames=tuple(tonight.frames.values())[:2],
        pixel_digests={},
        run_id=RunId("r"),
        plan_id=PlanId("p"),
        attempt=1,
        asked_by="",
        driver=this_writer(),
    )
    found = prepare(spec, tonight.layout, {ROOT: tonight.raw}, cookbook("toy_recipes"), ProductCache(10**6), STILL)
    assert found.inputs.frame_levels == (0, 1)
    assert found.inputs.borrowed().tolist() == [False] * 3 + [True] * 4
    assert not dataclasses.replace(found.inputs, frame_levels=()).borrowed().any()


@pytest.mark.parametrize("chunk_planes", [16, 64])
def test_what_a_block_gave_is_gone_when_the_next_one_is_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_planes: int
) -> None:
    """It may lie in the block's own pixels, which would stand in memory beside those of the next block."""
    given: list[weakref.ref[Any]] = []

    # Any: the arguments of `run_block`, whatever they are.
    def watched(*arguments: Any) -> BlockOutput:
        assert not any(one() is not None for one in given)
        output = run_block(*arguments)
        given.extend(weakref.ref(one) for arrays in output.planes.values() for one in arrays.values())
        return output

    monkeypatch.setattr(worker, "run_block", watched)
    tonight = night(tmp_path, science=(40,))
    options = tonight.options(chunk_planes=chunk_planes)
    outcome = execute(tonight.plan, tonight.layout, tonight.frames, site(backend="serial", workers=1), options)
    assert outcome.exit_status == 0
    # Three blocks of a cube's three arrays, and three of a centred cube's.
    assert len(given) >= 12


def test_a_halo_is_a_rule_on_planes_that_keeps_to_file_or_dither(tmp_path: Path) -> None:
    frames, _ = planes_of(tmp_path, 3, 4, 5)
    dithered = tuple(dataclasses.replace(one, dith_x=float(n != 1)) for n, one in enumerate(frames))
    inputs = inputs_of(dithered, excluded=((0, 1),))
    rows = np.arange(3, 5, dtype=np.int32)
    assert halo_rows(inputs, rows, Halo(0)).tolist() == []
    assert halo_rows(inputs, rows, Halo(2, "any")).tolist() == [0, 2, 5, 6]
    assert halo_rows(inputs, rows, Halo(2, "file")).tolist() == [5, 6]
    assert halo_rows(inputs, np.array([2], np.int32), Halo(2, "dither")).tolist() == [0, 7, 8]


def test_a_plane_with_enough_mates_in_its_block_asks_no_other_block(tmp_path: Path) -> None:
    frames, _ = planes_of(tmp_path, 3, 16, 5)
    inputs = inputs_of(frames, excluded=((1, 1),))
    block = np.arange(2, 18, dtype=np.int32)
    # Of the first file the block holds one plane, of the second 15: plane 18 is left to the next block.
    assert halo_rows(inputs, block, Halo(2, "file")).tolist() == [0, 1, 18]
    assert halo_rows(inputs, block, Halo(2, "file", enough=2)).tolist() == [0, 1]
    assert halo_rows(inputs, np.array([3, 4, 5], np.int32), Halo(2, "file", enough=2)).tolist() == [6, 7]


@pytest.mark.parametrize(("counts", "dithers"), [((60,) * 56, 4), ((64,) * 53, 1), ((48,) * 21, 16)])
def test_blocks_of_long_sequences_ask_for_no_plane_of_another(
    tmp_path: Path, counts: tuple[int, ...], dithers: int
) -> None:
    (frame,), _ = planes_of(tmp_path, 1)
    inputs = inputs_of(
        tuple(dataclasses.replace(frame, dith_x=float(n % dithers), naxis3=many) for n, many in enumerate(counts))
    )
    halo = IRDIS_SCIENCE.passes[0].halo
    rows = [np.arange(*one, dtype=np.int32) for one in shards(sum(counts))]
    assert {int(halo_rows(inputs, one, halo).size) for one in rows} == {0}


def test_neighbours_of_a_block_do_not_write_over_its_own_planes(tmp_path: Path) -> None:
    form = load_tables().product_types["irdis_science_cube"]
    store = tmp_path / "product.zarr"
    plans = plan_product(form, "cube", {"frame": 32, "channel": 2, "y": 4, "x": 4}, by_block=True)
    create_store(store, {})
    create_product(store, "cube", plans)
    number = np.arange(32)[:, None, None, None] * np.ones((1, 2, 4, 4), int)
    for first in (0, 16):
        some = number[first : first + 16]
        given = {plan.name: some.astype(plan.dtype) for plan in plans}
        write_planes(store, "cube", plans, first, given)
    planes = ProductPlanes(PlaneSource(store / "cube", ["flux"]), STILL)
    block = planes.read(np.arange(16, dtype=np.int32))["flux"]
    around = planes.read(np.arange(16, 18, dtype=np.int32), own=False)["flux"]
    assert block[:, 0, 0, 0].tolist() == list(range(16))
    assert around[:, 0, 0, 0].tolist() == [16, 17]


def test_stripes_are_the_same_from_memory_and_from_the_scratch_file(tmp_path: Path) -> None:
    _, planes = planes_of(tmp_path, 3, 4)
    rows = np.array([0, 2, 3, 6], np.int32)
    whole = planes.read(rows)["raw"]
    before = planes.bytes_read
    scratch = tmp_path / "planes.scratch"
    with Stripes(planes, rows, scratch, spill_bytes=10**9) as held, Stripes(planes, rows, scratch, 0) as spilled:
        assert scratch.stat().st_size == whole.nbytes
        assert planes.bytes_read - before == 2 * whole.nbytes
        for first, stop in ((0, 3), (3, 64)):
            np.testing.assert_array_equal(held.read(first, stop), whole[:, first:stop])
            np.testing.assert_array_equal(spilled.read(first, stop), whole[:, first:stop])
    assert not scratch.exists()
    assert stripes(130) == ((0, 64), (64, 128), (128, 130))
    assert shards(33) == ((0, 16), (16, 32), (32, 33))


def test_the_digest_of_a_file_needs_all_its_planes_and_any_order(tmp_path: Path) -> None:
    frames, planes = planes_of(tmp_path, 3, 2)
    planes.read(np.array([4, 1, 0], np.int32))
    assert file_digests(frames, planes.plane_digests()) == {}
    planes.read(np.array([2], np.int32))
    found = file_digests(frames, planes.plane_digests())
    assert list(found) == [frames[0].file_id]
    compare_digests(found, {**found, "another": "0"})
    with pytest.raises(DataFailure, match=frames[0].file_id):
        compare_digests(found, {frames[0].file_id: "0" * 64})


def test_a_file_whose_pixels_change_between_two_readings_is_refused_and_a_touched_one_is_not(tmp_path: Path) -> None:
    _, planes = planes_of(tmp_path, 4)
    path = tmp_path / "00.raw"
    planes.read(np.array([0, 1], np.int32))
    os.utime(path, (1, 1))
    planes.read(np.array([2], np.int32))
    content = np.fromfile(path, ">f4")
    content[HEIGHT * WIDTH] += 1  # in plane 1, which is not read again
    content.tofile(path)
    with pytest.raises(DataFailure, match=r"AP-RUN-026 file SPHER.*plane 1"):
        planes.read(np.array([3], np.int32))


def test_readings_of_several_tasks_must_agree_on_pixels_not_on_time_stamps(tmp_path: Path) -> None:
    frames, planes = planes_of(tmp_path, 2, 2)
    planes.read(np.arange(4, dtype=np.int32))
    whole, stamps = planes.plane_digests(), planes.file_stamps()
    touched = [dataclasses.replace(one, stamp="another") for one in stamps]
    planes.expect_one_reading([*whole, *whole], [*stamps, *touched])
    other = dataclasses.replace(whole[2], sha256="0" * 64)
    with pytest.raises(DataFailure, match=frames[1].file_id):
        planes.expect_one_reading([*whole, other], stamps)
    # Each plane was read once, and the file had two stamps: it is looked at again.
    mixed = [whole[0], dataclasses.replace(whole[1], sha256="0" * 64)]
    planes.expect_one_reading(mixed, stamps)
    with pytest.raises(DataFailure, match=frames[0].file_id):
        planes.expect_one_reading(mixed, [*stamps, *touched])


def test_a_file_that_is_written_to_all_the_time_fails_as_a_fault_of_storage(tmp_path: Path) -> None:
    frames = write_raw(tmp_path, (2,))
    path = tmp_path / "00.raw"

    class Restless(OpenFrame):
        def read_into(self, planes: Sequence[int], into: NDArray[np.float32]) -> None:
            super().read_into(planes, into)
            before = path.stat().st_mtime
            os.utime(path, (before + 1, before + 1))

    reader = RawPlanes(frames, [path], raw_table(frames, ()), Restless)
    with pytest.raises(InfraFailure, match="AP-RUN-027"):
        reader.read(np.array([0], np.int32))


def test_a_master_uses_usable_planes_only(tmp_path: Path) -> None:
    frames, _ = planes_of(tmp_path, 3)
    assert chosen_rows(raw_table(frames, ((0, 1),)), "group g").tolist() == [0, 2]
    with pytest.raises(DataFailure, match="AP-RUN-024"):
        chosen_rows(raw_table(frames, ((0, 0), (0, 1), (0, 2))), "group g")


def test_files_of_another_size_are_named(tmp_path: Path) -> None:
    frames, _ = planes_of(tmp_path, 1, 1)
    odd = (frames[0], dataclasses.replace(frames[1], naxis1=WIDTH + 1))
    with pytest.raises(DataFailure, match=rf"AP-RUN-021.*{WIDTH} x {HEIGHT}, {WIDTH + 1} x {HEIGHT}"):
        RawPlanes(odd, [tmp_path, tmp_path], raw_table(odd, ()), OpenFrame)


def test_the_cache_forgets_the_least_recently_used() -> None:
    cache = ProductCache(limit_bytes=2000)

    def product(kilobytes: float) -> LoadedProduct:
        return LoadedProduct({"a": np.zeros(int(kilobytes * 125))}, {}, ())

    for key in ("a", "b", "a", "c"):
        cache.get(key, lambda: product(0.9))
    assert cache.get("a", lambda: product(0.9))[1] is False
    assert cache.get("b", lambda: product(0.9))[1] is True
    assert cache.get("huge", lambda: product(3))[1] is True
    assert cache.held_bytes <= 2000
    cache.keep({"b"})
    assert 0 < cache.held_bytes < 1000
    assert cache.get("b", lambda: product(0.9))[1] is False


def test_blocks_of_a_task_read_each_plane_once_neighbours_included(tmp_path: Path) -> None:
    frames, planes = planes_of(tmp_path, 20, 7, 30, 5)
    dithered = tuple(dataclasses.replace(one, dith_x=float(n % 2)) for n, one in enumerate(frames))
    inputs = inputs_of(dithered)
    whole = planes.read(np.arange(62, dtype=np.int32))["raw"]
    planes.planes_read = 0
    blocks = [np.arange(first, stop, dtype=np.int32) for first, stop in shards(62)]
    readings = [rows for own in blocks for rows in (own, halo_rows(inputs, own, Halo(2, "dither")))]
    assert sum(len(rows) for rows in readings) > 62, "neighbours overlap with other blocks"
    planes.foresee(readings)
    planes.digesting = True
    for number, rows in enumerate(readings):
        np.testing.assert_array_equal(planes.read(rows, own=number % 2 == 0)["raw"], whole[rows])
    assert planes.planes_read == 62
    assert len(planes.plane_digests()) == 62
    planes.close()


def test_only_own_planes_of_a_task_are_digested(tmp_path: Path) -> None:
    _, planes = planes_of(tmp_path, 20)
    planes.digesting = True
    planes.read(np.arange(4, 8, dtype=np.int32))
    planes.read(np.array([2, 3, 8, 9], np.int32), own=False)
    assert [one.plane for one in planes.plane_digests()] == [4, 5, 6, 7]


def test_no_more_is_kept_than_memory_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, planes = planes_of(tmp_path, 20)
    monkeypatch.setattr("archive_proc.execution.planes.HELD_BYTES", 3 * 4 * HEIGHT * WIDTH)
    rows = np.arange(20, dtype=np.int32)
    whole = planes.read(rows)["raw"]
    planes.planes_read = 0
    planes.foresee([rows, rows])
    for _ in range(2):
        np.testing.assert_array_equal(planes.read(rows)["raw"], whole)
    assert planes.planes_read == 37
