"""The model obeys the laws that need no model, and the verb refuses what says nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_proc.archive import Archive
from archive_proc.bench.project.bench import Measured, bench_project, measured_run
from archive_proc.bench.project.costs import Costs, RecipeCost
from archive_proc.bench.project.load import Job, Load
from archive_proc.bench.project.machine import Machine
from archive_proc.bench.project.model import bounds, projected
from archive_proc.bench.same_plan import compared
from archive_proc.bench.small_night import small_night
from archive_proc.catalog.selection import Selection
from archive_proc.errors import MisuseError
from archive_proc.model.processes import Prediction
from archive_proc.settings import SiteProfile

FREE = Machine(
    site="free",
    start_s=(0.0, 0.0),
    file_system_bytes_s=math.inf,
    client_bytes_s=math.inf,
    metadata_per_s=math.inf,
    life_s=math.inf,
    crashes_per_hour=0.0,
    chunk_gb=0.5,
    workers_at_most=0,
)


def job(cpu_s: float, *, stages: tuple[int, ...] = (1,), feeds: tuple[int, ...] = (), waits: int = 0) -> Job:
    return Job("r", stages, cpu_s, 1e9 * cpu_s, 10.0, cpu_s, feeds, waits, measured=True)


LOADS = st.lists(
    st.tuples(st.floats(1.0, 500.0), st.sampled_from([(1,), (1, 4, 1), (1, 9, 1, 9, 1)])), min_size=1, max_size=30
).map(lambda rows: Load(tuple(job(cpu_s, stages=stages) for cpu_s, stages in rows), len(rows)))


@given(LOADS, st.integers(1, 12), st.floats(0.0, 0.1))
@settings(max_examples=60)
def test_no_run_is_shorter_than_any_resource_alone_allows_and_all_work_is_done(
    load: Load, workers: int, engine_s: float
) -> None:
    machine = replace(FREE, file_system_bytes_s=5e9, client_bytes_s=1e9, metadata_per_s=100.0, start_s=(1.0, 4.0))
    found = projected(load, machine, workers, engine_s, seed=1)
    assert found.tasks == load.tasks
    least = bounds(load, machine, workers, engine_s)
    for name in ("workers", "file system, bytes", "file system, files", "driver"):
        assert found.makespan_s >= least[name] - 1e-6, name
    assert found == projected(load, machine, workers, engine_s, seed=1)


def test_equal_jobs_share_the_workers_evenly_and_a_chain_is_never_shared() -> None:
    even = Load(tuple(job(10.0) for _ in range(40)), 40)
    assert projected(even, FREE, 8, 0.0, 1).makespan_s == pytest.approx(50.0)
    chain = Load(tuple(job(10.0, feeds=(n + 1,) if n < 4 else (), waits=int(n > 0)) for n in range(5)), 5)
    assert projected(chain, FREE, 8, 0.0, 1).makespan_s == pytest.approx(50.0)
    assert bounds(chain, FREE, 8, 0.0)["longest chain"] == pytest.approx(50.0)


def test_chunks_of_a_long_process_use_all_workers() -> None:
    long = Load((job(1000.0, stages=(1, 100, 1)),), 6400)
    alone, many = (projected(long, FREE, workers, 0.0, 1).makespan_s for workers in (1, 50))
    assert alone == pytest.approx(1000.0)
    assert many < 0.1 * alone


def test_a_long_process_among_many_begins_first_and_is_not_the_tail() -> None:
    """4,000 s of 30,000; its chain alone takes 200 s: a twentieth of the run of 8 workers, more than that of 200."""
    load = Load((*(job(26.0) for _ in range(1000)), job(4000.0, stages=(1, 100, 1))), 6400)
    few, many = (projected(load, FREE, workers, 0.0, 1) for workers in (8, 200))
    assert few.longest_s < 0.25 * few.makespan_s
    assert many.longest_s > 0.9 * many.makespan_s
    alone = projected(Load((job(4000.0, stages=(1, 100, 1)),), 6400), FREE, 8, 0.0, 1)
    assert alone.longest_s == alone.makespan_s


def test_crashes_and_retirement_cost_time_and_lose_no_work() -> None:
    load = Load(tuple(job(600.0) for _ in range(60)), 60)
    calm = projected(load, FREE, 6, 0.0, 1)
    rough = replace(FREE, crashes_per_hour=1.0, life_s=3000.0, start_s=(10.0, 60.0))
    found = projected(load, rough, 6, 0.0, 1)
    assert found.tasks == load.tasks
    assert found.makespan_s > calm.makespan_s
    assert found.lost_s > 0.0
    assert found.starts > 6


def test_semesters_beside_each_other_keep_their_own_edges() -> None:
    one = Load((job(5.0, feeds=(1,)), job(7.0, waits=1)), 2)
    three = one.times(3)
    assert [each.feeds for each in three.jobs] == [(1,), (), (3,), (), (5,), ()]
    assert three.cpu_s == pytest.approx(36.0)
    assert three.longest_chain() == pytest.approx(12.0)


def test_what_was_not_measured_is_predicted_and_said() -> None:
    prediction = Prediction(cpu_s=9.0, memory_gb=1.0, bytes_in=5, bytes_out=7, inodes=3, planes=10)
    known = RecipeCost(1.0, 0.5, 0.1, 2.0, 3.0, 8.0, 4)
    costs = Costs({"known": known}, 0.005, (1.0, 2.0), 1.0, 1)
    assert costs.of("known", prediction) == (6.0, 20.0, 30.0, True)
    assert costs.of("other", prediction) == (9.0, 5, 7, False)


STAND_INS = "archive_proc.bench.stand_ins"


def reduced(place: Path, raw: Path, *, run: bool = True) -> Archive:
    Archive.init(place)
    archive = Archive.open(place, cookbook=STAND_INS)
    archive.ingest([raw], jobs=1)
    if run:
        archive.run(Selection(), site=SiteProfile(name="serial", backend="serial", workers=1))
    return archive


def test_from_a_measured_run_to_a_table_and_what_is_refused(tmp_path: Path) -> None:
    """Two archives of one night: one ran it, one did not yet. Another of another night."""
    small_night(tmp_path / "raw", ndit=1)
    small_night(tmp_path / "other", ndit=2)
    waits = reduced(tmp_path / "waits", tmp_path / "raw", run=False)
    reduced(tmp_path / "ran", tmp_path / "raw")
    reduced(tmp_path / "else", tmp_path / "other")
    # A cookbook goes with the command, so a run of another one is opened with it.
    ran, other = (replace_archive(measured_run(str(tmp_path / name))) for name in ("ran", "else"))
    plan = waits.plan(Selection())
    report = bench_project(waits, plan, [ran], FREE, [1, 4], semesters=11, seed=1)
    figures = {f"{one.case}: {one.name}": one.value for one in report.figures}
    walls = [figures[f"the plan, projected: {name}: wall"] or 0.0 for name in ("1 worker", "4 workers")]
    assert walls[0] >= walls[1] > 0.0
    assert figures["11 such plans at once, projected: 1 worker: wall"] == pytest.approx(11 * walls[0], rel=0.01)
    share = "CPU whose recipes were measured; the rest is the recipes' own model"
    assert figures[f"inputs: site free: {share}"] == pytest.approx(100.0)
    assert sum(one.case.startswith("calibration") for one in report.figures) == 1

    with pytest.raises(MisuseError, match="no measured run") as refused:
        bench_project(waits, plan, [], FREE, [1], semesters=1, seed=1)
    assert refused.value.code == "AP-BEN-002"
    with pytest.raises(MisuseError, match="is not plan") as apart:
        compared(ran, other)
    assert apart.value.code == "AP-BEN-003"
    assert [one.value for one in compared(ran, ran).figures if one.name == "speed-up"] == [1.0]


def replace_archive(run: Measured) -> Measured:
    return replace(run, archive=Archive.open(run.archive.root, cookbook=STAND_INS))
