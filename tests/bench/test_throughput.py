"""The worker-time budget is complete by construction, and figures come from records alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_proc.bench.limits import CHAIN, WAITING, limit_figures
from archive_proc.bench.run_records import RunRecords, Stretch
from archive_proc.bench.throughput import ENGINE_NAME, throughput_figures
from archive_proc.bench.worker_time import BETWEEN, CATEGORIES, IDLE, idle_while_blocks_were_left, worker_time
from archive_proc.model.events import TaskEnded, WorkerReady
from archive_proc.model.frames import Arm
from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.phases import Phase, PhaseCost
from archive_proc.model.processes import Process, ProcessInput, Subject
from archive_proc.model.records import Environment, ProcessRecord

NAMES = (*CATEGORIES.values(), BETWEEN, IDLE)


def iso(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds")


def task(
    start: float,
    phases: dict[Phase, float],
    *,
    pid: int = 1,
    label: str = "all",
    memory: int = 10**8,
    recipe: str = "irdis_science",
) -> TaskEnded:
    costs = {phase.value: PhaseCost(wall, wall / 2) for phase, wall in phases.items()}
    wall = sum(phases.values())
    return TaskEnded(
        process_id=ProcessId("0" * 32),
        recipe=recipe,
        attempt=1,
        at=iso(start + wall),
        task=label,
        host="h",
        pid=pid,
        started_at=iso(start),
        wall_s=wall,
        cpu_s=wall / 2,
        peak_memory_bytes=memory,
        resident_bytes=memory,
        phases=costs,
    )


def ready(at: float, pid: int, wall: float = 1.0) -> WorkerReady:
    return WorkerReady(at=iso(at + 1), host="h", pid=pid, ready_at=iso(at), wall_s=wall, cpu_s=0.5)


def records(*stretches: Stretch) -> RunRecords:
    return RunRecords(RunId("1" * 32), stretches, ())


WORKDAYS = st.lists(
    st.tuples(st.sampled_from(list(Phase)), st.floats(0.001, 20.0), st.floats(0.0, 3.0)), min_size=1, max_size=12
)


@given(st.lists(st.lists(WORKDAYS, min_size=1, max_size=3), min_size=1, max_size=3))
def test_shares_add_up_to_the_workers_time_whatever_happened(
    days: list[list[list[tuple[Phase, float, float]]]],
) -> None:
    """Several stretches (a resumed run), workers that began late, gaps, some workers that never answered."""
    begin = 1_000_000.0
    stretches = []
    for workers in days:
        tasks, starts, end = [], [], begin
        for pid, work in enumerate(workers):
            now = begin + 2.0
            starts.append(ready(now, pid))
            for phase, wall, gap in work:
                tasks.append(task(now + gap, {phase: wall}, pid=pid))
                now += gap + wall
            end = max(end, now)
        stretches.append(Stretch(begin, end + 1.0, len(workers) + 1, tuple(starts), tuple(tasks)))
        begin = end + 100.0
    budget = worker_time(records(*stretches))
    assert sum(one.share for one in budget.shares) == pytest.approx(100.0)
    assert budget.worker_s == pytest.approx(sum(one.workers * one.wall_s for one in stretches))
    assert all(one.wall_s >= 0 for one in budget.shares)
    assert [one.name for one in budget.shares] == list(NAMES)


def test_each_moment_is_where_it_belongs() -> None:
    first = task(1002.0, {Phase.READ: 1.0, Phase.BLOCK: 3.0}, pid=1)
    second = task(1006.1, {Phase.WRITE: 1.9}, pid=1)
    late = task(1007.0, {Phase.SEAL: 1.0}, pid=2)
    run = Stretch(1000.0, 1010.0, 2, (ready(1002.0, 1), ready(1006.5, 2, wall=0.5)), (first, second, late))
    wall = {one.name: round(one.wall_s, 3) for one in worker_time(records(run)).shares if one.wall_s}
    assert wall == {
        CATEGORIES[Phase.START]: 8.5,  # both since the run began, however late the second was born
        CATEGORIES[Phase.READ]: 1.0,
        CATEGORIES[Phase.BLOCK]: 3.0,
        CATEGORIES[Phase.WRITE]: 1.9,
        CATEGORIES[Phase.SEAL]: 1.0,
        BETWEEN: 0.1,
        IDLE: 4.5,
    }


def test_a_replaced_worker_costs_its_own_start_only() -> None:
    run = Stretch(1000.0, 1100.0, 1, (ready(1002.0, 1), ready(1050.0, 2, wall=1.5)), ())
    budget = worker_time(records(run))
    assert next(one for one in budget.shares if one.name == CATEGORIES[Phase.START]).wall_s == 3.5


def test_phases_of_a_newer_package_have_their_own_line() -> None:
    one = task(1001.0, {Phase.READ: 1.0})
    odd = TaskEnded(
        **{**{name: getattr(one, name) for name in one.__slots__}, "phases": {"dream": PhaseCost(1.0, 1.0)}}
    )
    budget = worker_time(records(Stretch(1000.0, 1002.0, 1, (), (odd,))))
    assert {one.name: one.share for one in budget.shares if one.share} == {"dream": 50.0, IDLE: 50.0}


def blocks(*spans: tuple[int, float, float]) -> list[TaskEnded]:
    return [task(start, {Phase.BLOCK: wall}, pid=pid, label=f"block-0-{start:08.0f}") for pid, start, wall in spans]


def test_a_worker_without_a_block_is_idle_and_the_ragged_end_is_not_counted() -> None:
    even = blocks((1, 0, 10), (2, 0, 10), (1, 10, 10), (2, 10, 30))
    assert idle_while_blocks_were_left(even, 2) == (0.0, 0.0)
    late = blocks((1, 0, 10), (1, 10, 10), (1, 20, 10), (2, 5, 25))
    assert idle_while_blocks_were_left(late, 2) == (0.0, 0.25)
    assert idle_while_blocks_were_left(blocks((1, 0, 10), (1, 10, 10), (1, 20, 1), (1, 21, 1)), 2) == (0.0, 1.0)
    assert idle_while_blocks_were_left(even[:3], 2) == ()


def test_a_run_says_what_limited_it() -> None:
    def limit(*spans: tuple[float, float]) -> tuple[float | None, str]:
        tasks = tuple(task(start, {Phase.BLOCK: wall}, pid=at) for at, (start, wall) in enumerate(spans))
        ids = [ProcessId(f"{at:032x}") for at in range(len(spans))]
        tasks = tuple(replace(one, process_id=pid) for one, pid in zip(tasks, ids, strict=True))
        (sealed,) = made_record(tasks).sealed
        made = [replace(sealed, process=replace(sealed.process, process_id=pid)) for pid in ids]
        # The last one is made of the first.
        link = ProcessInput("dark", "product", f"{ids[0]}.irdis_dark", "")
        made[-1] = replace(made[-1], process=replace(made[-1].process, inputs=(link,)))
        end = max(start + wall for start, wall in spans)
        run = RunRecords(RunId("1" * 32), (Stretch(0.0, end, 2, (), tasks),), tuple(made))
        figures = limit_figures(run, worker_time(run))
        return figures[0].value, figures[-1].reference

    assert limit((0.0, 50.0), (0.0, 90.0), (50.0, 50.0)) == (100.0, f"limited by {CHAIN}")
    assert limit((0.0, 50.0), (50.0, 50.0), (130.0, 20.0)) == (pytest.approx(100 * 70 / 150), f"limited by {WAITING}")
    assert limit((0.0, 50.0), (0.0, 99.0), (70.0, 29.0), (60.0, 10.0)) == (pytest.approx(100.0), f"limited by {CHAIN}")


def test_memory_that_grows_along_a_sequence_is_a_missed_aim() -> None:
    def growth(step: int) -> bool | None:
        tasks = tuple(
            task(10.0 * n, {Phase.BLOCK: 9.0}, label=f"block-0-{n:08d}", memory=10**9 + n * step) for n in range(30)
        )
        made = made_record(tasks)
        figure = next(one for one in throughput_figures(made, None) if "last third" in one.name)
        return figure.met

    assert growth(0) is True
    assert growth(2 * 10**7) is False


def test_the_chain_counts_all_cpu_of_its_recipes_and_what_is_not_the_recipes_own() -> None:
    tasks = (
        task(0.0, {Phase.START: 2.0, Phase.RAW: 6.0, Phase.READ: 4.0, Phase.BLOCK: 48.0}, recipe="irdis_tracks"),
        task(60.0, {Phase.COMPILE: 30.0, Phase.BLOCK: 20.0, Phase.WRITE: 10.0}, recipe="irdis_science"),
        task(90.0, {Phase.REDUCE: 5.0, Phase.CLOSE: 5.0, Phase.SEAL: 8.0, Phase.DIGEST: 12.0}, recipe="irdis_centered"),
        task(120.0, {Phase.BLOCK: 600.0}, recipe="irdis_flat"),
    )
    recipes = {"irdis_tracks": (40, 48), "irdis_science": (30, 33), "irdis_centered": (30, 30), "irdis_flat": (4, 4)}
    sealed = tuple(
        replace(one, process=replace(one.process, recipe=recipe), planes=planes, planes_read=read)
        for one in made_record(tasks).sealed
        for recipe, (planes, read) in recipes.items()
    )
    figures = {
        (one.case, one.name): one for one in throughput_figures(replace(made_record(tasks), sealed=sealed), None)
    }
    chain = "irdis_tracks + irdis_science + irdis_centered"
    cpu, engine = figures[chain, "CPU a science plane"], figures[chain, ENGINE_NAME]
    raw = figures[chain, "reading and inflating raw FITS planes"]
    # CPU is half of the wall time here: 75 s in three recipes, 15 s of them compiling once; of the others 21 s no
    # recipe's own, 3 s of these raw files.
    assert (cpu.value, cpu.aim) == (pytest.approx(75.0 / 30), 0.8)
    assert (engine.value, engine.aim) == (pytest.approx(100.0 * 18 / 60), 35.0)
    assert (raw.value, raw.aim) == (pytest.approx(100.0 * 3 / 75), None)
    assert figures[chain, "reads of a raw plane"].value == pytest.approx(48 / 40 + 33 / 30)


def test_each_arm_has_its_chain_and_single_frames_are_no_masters() -> None:
    recipes = {"ifs_extract": 30, "ifs_tracks": 34, "ifs_science": 30, "ifs_centered": 30}
    tasks = (
        *(task(60.0 * at, {Phase.BLOCK: 60.0}, recipe=recipe) for at, recipe in enumerate(recipes)),
        task(300.0, {Phase.BLOCK: 10.0}, recipe="ifs_extract_frame"),
        task(320.0, {Phase.BLOCK: 40.0}, recipe="ifs_wave"),
    )
    sealed = tuple(
        replace(one, process=replace(one.process, recipe=recipe), planes=planes, planes_read=2 * planes)
        for one in made_record(tasks).sealed
        for recipe, planes in {**recipes, "ifs_extract_frame": 2, "ifs_wave": 1}.items()
    )
    found = throughput_figures(replace(made_record(tasks), sealed=sealed), None)
    figures = {(one.case, one.name): one for one in found}
    chain = "ifs_extract + ifs_tracks + ifs_science + ifs_centered"
    cpu = figures[chain, "CPU a science plane"]
    # CPU is half of the wall time here.
    assert (cpu.value, cpu.aim) == (pytest.approx(120.0 / 30), 3.0)
    assert figures[chain, "reads of a raw plane"].value == pytest.approx(2.0)
    assert figures["masters", "CPU of all"].value == pytest.approx(20.0)
    assert figures["single frames", "CPU of all"].value == pytest.approx(5.0)
    assert not [case for case, _ in figures if case.startswith("irdis")]


def made_record(tasks: tuple[TaskEnded, ...]) -> RunRecords:
    process = Process(
        process_id=ProcessId("0" * 32),
        recipe="irdis_science",
        recipe_version="1",
        preset="default",
        subject=Subject("observation", "s", Arm.IRDIS),
        parameters={},
        tables_digest="",
        inputs=(),
        product_types=("irdis_science_cube",),
        night="2015-09-24",
        period_date=95,
    )
    record = ProcessRecord(
        process=process,
        run_id=RunId("1" * 32),
        plan_id=PlanId("2" * 32),
        attempt=1,
        asked_by="test",
        package_version="1",
        code_fingerprint="",
        environment=Environment(python="3", packages={}, cpu="", blas="", threads={}, platform=""),
        host="h",
        pid=1,
        started_at=tasks[0].started_at,
        ended_at=tasks[-1].at,
        cpu_s=1.0,
        wall_s=1.0,
        peak_memory_bytes=1,
        bytes_read=1,
        bytes_written=1,
        planes=30,
        planes_read=30,
    )
    return RunRecords(RunId("1" * 32), (Stretch(0.0, 400.0, 1, (), tasks),), (record,))
