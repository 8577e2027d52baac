"""The engine's own cost is measured with stand-ins that no verb can select."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from archive_proc.bench.engine import cookbook, longest
from archive_proc.bench.engine.measuring import Order, measure, measured_apart
from archive_proc.bench.engine.semester import LONGEST, THE_LONGEST, semester_plan
from archive_proc.bench.engine.slurm_array import script_of
from archive_proc.errors import MisuseError
from archive_proc.execution.cookbooks import recipes_of
from archive_proc.model.events import TaskEnded
from archive_proc.model.ids import ProcessId
from archive_proc.storage.layout import Layout
from archive_proc.storage.seal import sealed_processes


def test_a_plan_of_stand_ins_has_the_shape_of_a_semester() -> None:
    plan, frames = semester_plan(3000)
    assert len(plan.processes) >= 3000
    tracks = [one.prediction.planes for one in plan.processes if one.process.recipe == "irdis_science"]
    assert 50 < np.median(tracks) < 85  # 65 measured
    assert np.percentile(tracks, 95) > 400  # 703 measured
    assert 7 < np.mean([len(one.process.inputs) for one in plan.processes]) < 30
    known = {one.process.process_id for one in plan.processes}
    assert all(source in known for one in plan.processes for source in one.process.sources)
    assert {one.input_id for row in plan.processes for one in row.process.main} <= set(frames)
    assert semester_plan(300)[0] == semester_plan(300)[0]


def test_driver_scheduler_and_catalog_are_measured_on_played_workers(tmp_path: Path) -> None:
    found = measured_apart(Order(kind="semester", processes=60, workers=3, root=str(tmp_path), speed=1e4))
    assert found.done == found.processes == len(sealed_processes(Layout(tmp_path / "archive"))) >= 60
    assert found.tasks >= found.processes
    assert 0 < found.bundles <= found.tasks
    assert min(found.driver_s, found.scheduler_s, found.catalog_s, found.peak_bytes, found.catalog_peak_bytes) > 0
    assert 0 < found.players_busy < 1.5
    # Far above what it is: a quadratic step would show.
    assert (found.driver_s + found.scheduler_s) / found.processes < 0.1


def test_the_longest_sequence_stands_in_the_middle_and_stand_ins_sleep_so_much_shorter() -> None:
    plan, _ = semester_plan(300, speed=100.0, longest=True, height=4, width=8)
    long = [one for one in plan.processes if one.process.subject.subject_id == THE_LONGEST]
    assert sorted(one.process.recipe for one in long) == ["irdis_centered", "irdis_science", "irdis_tracks"]
    assert {one.prediction.planes for one in long} == {LONGEST, LONGEST + 8}
    nights = sorted({one.process.night for one in plan.processes})
    assert nights[0] < long[0].process.night < nights[-1]
    for one in plan.processes:
        assert one.process.parameters["seconds"] == pytest.approx(one.prediction.cpu_s / 100)


def task(process: str, begin: int, wall_s: float, pid: int) -> TaskEnded:
    at = f"2017-01-01T00:00:{begin:02d}+00:00"
    return TaskEnded(
        process_id=ProcessId(process), recipe="r", attempt=1, at=at, task="all", host="h", pid=pid, started_at=at,
        wall_s=wall_s, cpu_s=0.0, peak_memory_bytes=0, resident_bytes=0,
    )  # fmt: skip


def test_the_longest_sequence_is_held_against_the_run_it_is_in() -> None:
    """Two workers, 20 s: it lasts from 2 to 10, in which they work for 14 of 16 s; one of them has no part of it."""
    tasks = [task("a", 0, 8.0, 1), task("long", 2, 4.0, 2), task("long", 7, 3.0, 2), task("b", 9, 11.0, 1)]
    found = longest.shares(tasks, {"long"}, 2, processes=3, not_done=0)
    assert found.busy == pytest.approx((6.0 + 4.0 + 3.0 + 1.0) / 16.0)
    assert (found.hands, found.tasks) == (1, 2)
    assert found.ended == pytest.approx(0.5)
    assert found.stretch == pytest.approx(40.0 / 26.0)


def test_real_workers_share_the_longest_sequence(tmp_path: Path) -> None:
    order = Order(kind="longest", processes=60, workers=2, root=str(tmp_path), speed=1000.0, played=False)
    found = longest.measure(order)
    assert found.not_done == 0
    assert found.tasks > 100, "in chunks"
    assert found.hands == 2
    assert 0.0 < found.busy <= 1.05
    assert 0.0 < found.ended <= 1.0


def test_real_workers_seal_stand_ins_beside_plain_futures(tmp_path: Path) -> None:
    order = Order(kind="equal", processes=6, workers=1, root=str(tmp_path), each_s=0.05, played=False)
    found = measure(order)
    assert found.done == found.processes == 7
    assert 0 < found.efficiency < 1
    assert found.worker_s > 0
    assert -0.1 < found.between < 1


def test_the_array_beside_it_has_a_chunk_for_each_element_and_as_many_at_a_time_as_workers(tmp_path: Path) -> None:
    text = script_of(tmp_path / "a b", 2, 24, 0.5)
    assert "#SBATCH --array=1-6%2 " in text
    assert f"'{tmp_path}/a b/element'-$SLURM_ARRAY_TASK_ID 0.5 4 $begun" in text


def test_no_verb_can_select_stand_ins_that_do_nothing() -> None:
    with pytest.raises(MisuseError, match=r"AP-RUN-013 archive_proc\.bench\.engine\.cookbook: .*`bench engine` alone"):
        recipes_of(cookbook.MODULE)
