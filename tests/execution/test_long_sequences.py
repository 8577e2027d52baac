"""Long sequences: memory of the workers does not follow the number of planes, and every worker has its share."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy_night
from toy_night import Night, night, site

from archive_proc.bench.run_records import RunRecords, read_records
from archive_proc.bench.worker_time import by_worker
from archive_proc.execution.executor import execute

SHORT = (56,) * 4
LONG = (56,) * 57
"""3192 planes in 57 files: near the instrument's longest sequence."""
SIDE = 64
"""Pixels: 16 kB a plane, 52 MB for all planes at once."""
ALLOWED = 25e6
"""Bytes, over some 3000 planes: what is kept of each for the whole sequence is below, its pixels are above."""


def reduced(folder: Path, science: tuple[int, ...]) -> tuple[Night, RunRecords]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy_night, "HEIGHT", SIDE)
        patch.setattr(toy_night, "WIDTH", SIDE)
        tonight = night(folder, science=science)
    outcome = execute(
        tonight.plan,
        tonight.layout,
        tonight.frames,
        site(backend="local", workers=2),
        tonight.options(chunk_planes=64),
    )
    assert outcome.exit_status == 0
    return tonight, read_records(tonight.layout, outcome.run_id)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> RunRecords:
    return reduced(tmp_path_factory.mktemp("short"), SHORT)[1]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> RunRecords:
    return reduced(tmp_path_factory.mktemp("long"), LONG)[1]


@pytest.mark.parametrize("recipe", ["toy_cube", "toy_centered"])
def test_memory_does_not_follow_the_number_of_planes(short: RunRecords, long: RunRecords, recipe: str) -> None:
    few, many = (max(one.peak_memory_bytes for one in run.tasks_of(recipe)) for run in (short, long))
    assert few > 20e6, "measured at all"
    assert many < few + ALLOWED


@pytest.mark.parametrize("recipe", ["toy_cube", "toy_centered"])
def test_memory_does_not_grow_along_a_sequence(long: RunRecords, recipe: str) -> None:
    """Pass by pass: what a worker imports when it first writes (compiled digests) stays with it."""
    for tasks in by_worker(long.tasks_of(recipe)).values():
        passes = {one.task.rsplit("-", 1)[0] for one in tasks if one.task.startswith("block")}
        for one_pass in passes:
            blocks = [one.peak_memory_bytes for one in tasks if one.task.startswith(f"{one_pass}-")]
            third = len(blocks) // 3
            assert third > 1
            assert max(blocks[-third:]) < max(blocks[:third]) + ALLOWED


@pytest.mark.parametrize("recipe", ["toy_cube", "toy_centered"])
def test_chunks_of_one_process_are_spread_over_all_workers(long: RunRecords, recipe: str) -> None:
    blocks = [one for one in long.tasks_of(recipe) if one.task.startswith("block")]
    shares = [len(mine) / len(blocks) for mine in by_worker(blocks).values()]
    assert len(shares) == 2
    assert min(shares) > 0.25


def test_each_plane_of_a_pass_is_read_once_but_at_the_edges_of_chunks(long: RunRecords) -> None:
    (cube,) = long.by_recipe()["toy_cube"]
    chunks = -(-cube.planes // 64)
    # One neighbour on either side (toy_cube's halo), in one of its two passes.
    assert 2 * cube.planes <= cube.planes_read <= 2 * cube.planes + 4 * chunks
