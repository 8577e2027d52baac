"""`status`: a page beside the journal and the lines behind it say what plan and whole journal say, at any size."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from toy_night import Night, night, plan_of, process, product_input, raw_input, site

from archive_proc.archive import Archive
from archive_proc.cli.main import program
from archive_proc.errors import LockedError, NotFoundError
from archive_proc.execution.backends import AWAITED, SerialBackend
from archive_proc.execution.course import Past, RecipeCourse, RunCourse, RunningProcess, course_of
from archive_proc.execution.course_page import read_course, write_page
from archive_proc.execution.executor import execute
from archive_proc.execution.forecast import band
from archive_proc.execution.liveness import Writer
from archive_proc.execution.lock import STALE_AFTER_S, Holder
from archive_proc.execution.schedule import Schedule
from archive_proc.execution.watching import Watch
from archive_proc.flow.running import save_plan
from archive_proc.flow.status import RunStatus, run_status
from archive_proc.flow.status_text import status_line, status_lines
from archive_proc.model.events import ProcessChanged, RunStarted, TaskEnded
from archive_proc.model.ids import PlanId, ProcessId, RunId
from archive_proc.model.processes import Plan, State
from archive_proc.storage.journal import JournalWriter, read_journal
from archive_proc.storage.runs import RunFile, run_ids, write_run

AT = "2026-11-26T10:00:00.000+00:00"


def mixed(tonight: Night) -> Plan:
    """A night of which one observation fails, and one is tried again after a lost disk."""
    flaky = f"flaky:{tonight.raw.parent}/tries"
    main = [raw_input(one) for one in list(tonight.frames.values())[2:4]]
    bad = process("toy_cube", main, [product_input("dark", tonight.dark)], subject="bad", behave="data")
    shaky = process("toy_cube", main, [product_input("dark", tonight.dark)], subject="shaky", behave=flaky)
    after = process("toy_centered", [product_input("main", bad)], subject="bad")
    return plan_of(tonight.dark, tonight.cube, tonight.centered, bad, after, shaky)


def archived(tmp_path: Path) -> Night:
    Archive.init(tmp_path / "archive")
    return night(tmp_path)


def comparable(status: RunStatus) -> dict[str, object]:
    """What page and journal must agree about; workers and queue are the driver's own."""
    found = dataclasses.asdict(status)
    for name in ("held_s", "workers", "history", "census"):
        del found[name]
    return found


def test_the_page_says_what_plan_and_journal_say_also_after_a_run_was_continued(tmp_path: Path) -> None:
    tonight = archived(tmp_path)
    plan = mixed(tonight)
    save_plan(tonight.layout, plan)

    def go(**options: object) -> RunStatus:
        execute(plan, tonight.layout, tonight.frames, site(), tonight.options(**options))
        (run_id,) = run_ids(tonight.layout)
        return run_status(tonight.layout, run_id)

    first = go(max_failures=1)
    assert first.state == "stopped (max failures)"
    status = go(run_id=first.run_id)
    assert status.state == "ended"
    assert status.counts == {State.DONE: 4, State.FAILED: 1, State.BLOCKED: 1}
    assert sum(sum(states.values()) for states in status.by_recipe.values()) == 6
    assert ("AP-IRD-999", 1, 0) in {(one.code, one.processes, one.retried) for one in status.failures}
    assert sum(one.retried for one in status.failures) >= 1
    assert status.running == ()
    assert status.busy_s > 0
    page = tonight.layout.run_course(status.run_id)
    with_page = comparable(status)
    page.unlink()
    assert comparable(run_status(tonight.layout, status.run_id)) == with_page
    # A half-written page, and one that says more than the journal (a crash took lines back), are not believed.
    page.write_text('{"format": 1')
    assert comparable(run_status(tonight.layout, status.run_id)) == with_page
    whole = read_course(tonight.layout, status.run_id)
    assert whole is None


def test_a_worker_that_waits_in_a_queue_costs_nothing(tmp_path: Path) -> None:
    tonight = archived(tmp_path)

    class Queued(SerialBackend):
        def census(self) -> dict[str, int]:
            return {"busy": 1, AWAITED: 1_000_000}

    course = course_of(RunId("0" * 32), tonight.plan.plan_id, tonight.plan.processes, frozenset())
    tonight.layout.run_dir(course.run_id).mkdir(parents=True)
    schedule = Schedule(tonight.plan.processes)
    began = time.monotonic()
    watch = Watch(tonight.layout, course, schedule, Queued(lambda: False), dict.fromkeys(schedule.planned, 1.0))
    watch.write()
    assert 0 < course.held_s <= time.monotonic() - began


def test_any_cut_of_the_journal_between_page_and_tail_gives_the_same_course(tmp_path: Path) -> None:
    tonight = archived(tmp_path)
    plan = mixed(tonight)
    execute(plan, tonight.layout, tonight.frames, site(), tonight.options())
    (run_id,) = run_ids(tonight.layout)
    events = read_journal(tonight.layout.journal(run_id)).events

    def folded(cut: int) -> RunCourse:
        course = course_of(run_id, plan.plan_id, plan.processes, frozenset())
        for at, event in enumerate(events):
            if at == cut:
                course = msgspec.json.decode(msgspec.json.encode(course), type=RunCourse)
            course.fold(event)
            assert sum(course.counts.values()) == len(plan.processes)
        return course

    whole = folded(-1)
    assert whole.counts == {State.DONE: 4, State.FAILED: 1, State.BLOCKED: 1}
    assert all(folded(cut) == whole for cut in range(len(events)))


def long_run(archive: Archive, processes: int, *, host: str = "far", pid: int = 1) -> RunId:
    """A run of many processes at work, all but 100 done: its page, and a journal of which only the tail can be read."""
    run_id, recipes = RunId("0" * 11 + "1" + "a" * 20), [f"irdis_{one}" for one in "abcdefghij"]
    layout = archive.layout
    write_run(
        layout,
        RunFile(run_id=run_id, plan_id=PlanId("b" * 32), asked_by="", site="test", created_at=AT, package_version="1"),
    )
    course = RunCourse(
        run_id=run_id,
        plan_id=PlanId("b" * 32),
        recipes={name: RecipeCourse(planned=processes // 10, left_s=processes) for name in recipes},
    )
    course.fold(
        RunStarted(
            run_id=run_id,
            plan_id=course.plan_id,
            at=AT,
            site="test",
            backend="local",
            workers=4,
            asked_by="",
            package_version="1",
            host=host,
            pid=pid,
            processes=processes,
        )
    )

    def one(number: int) -> tuple[ProcessChanged, TaskEnded, ProcessChanged]:
        process_id, recipe = ProcessId(f"{number:032x}"), recipes[number % 10]
        at = f"2026-11-26T{10 + number * 5 // processes:02d}:00:00.000+00:00"
        began = ProcessChanged(
            process_id=process_id, state=State.RUNNING, at=at, attempt=1, recipe=recipe, planes=64, predicted_s=10.0
        )
        task = TaskEnded(
            process_id=process_id,
            recipe=recipe,
            attempt=1,
            at=at,
            task="all",
            host="n7",
            pid=2,
            started_at=at,
            wall_s=12.0,
            cpu_s=9.0,
            peak_memory_bytes=1,
            resident_bytes=1,
        )
        return began, task, dataclasses.replace(began, state=State.DONE, wall_s=12.0)

    for number in range(processes - 200):
        for event in one(number):
            course.fold(event)
    journal = layout.journal(run_id)
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_bytes(b"what stands here was added up before\n" * 1000)
    course.end = journal.stat().st_size
    course.census, course.chain_s, course.ready = {"busy": 3, "paused": 1}, 100.0, 50
    write_page(layout, course)
    # The writer counts what it finds: lines that are no journal are none.
    with JournalWriter(journal) as writer:
        for number in range(processes - 200, processes - 100):
            for event in one(number):
                writer.append(event)
        writer.append(one(processes - 100)[0])
    return run_id


def test_status_of_a_hundred_thousand_processes_reads_a_small_page_and_the_tail(tmp_path: Path) -> None:
    archive = Archive.init(tmp_path / "A")
    run_id = long_run(archive, 100_000)
    assert archive.layout.run_course(run_id).stat().st_size < 20_000
    status = archive.status()
    assert status.torn == 0, "nothing before the page's end was read"
    assert status.counts == {State.DONE: 99_900, State.RUNNING: 1, State.READY: 50, State.PLANNED: 49}
    assert (status.state, status.left_s) == ("dead", None)
    assert status.busy_s == pytest.approx(99_900 * 12.0)
    assert status.planes == 99_900 * 64


def hold(archive: Archive, *, silent_s: float = 0.0) -> None:
    """A lease of a driver on another host, whose heartbeat is so old."""
    lock = archive.layout.driver_lock
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_bytes(msgspec.json.encode(Holder("t", "run x", Writer("far", "other boot", 1, "1"), AT, AT)))
    now = lock.stat().st_mtime
    os.utime(lock, (now - silent_s, now - silent_s))


def test_a_driver_on_another_host_is_seen_by_its_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive.init(tmp_path / "A")
    run_id = long_run(archive, 1000)
    hold(archive, silent_s=90)
    status = archive.status()
    assert status.is_running
    assert status.driver == "far pid 1"
    assert status.silence_s == pytest.approx(90, abs=30)
    page = "\n".join(status_lines(status))
    for words in ("workers 4 wanted: 3 busy, 1 paused", "a paused worker", "50 ready to begin", "heartbeat is 1 min"):
        assert words in page
    assert status.left_s is not None
    assert "900 of 1000 processes sealed" in status_line(status)
    # A second driver is refused, and told who holds the archive and where.
    answer = CliRunner().invoke(program, ["--archive", str(archive.root), "run"])
    assert isinstance(answer.exception, LockedError)
    assert answer.exception.exit_status == 6
    assert "AP-RUN-001" in answer.exception.line
    assert "pid 1 on far since" in answer.exception.line
    assert "archive-proc cancel" in answer.exception.remedy
    # `cancel` reaches it through the run's directory.
    answer = CliRunner().invoke(program, ["--archive", str(archive.root), "cancel"])
    assert answer.exit_code == 0, answer.output
    assert "asked to stop" in answer.output
    assert (archive.layout.run_dir(run_id) / "stop").exists()

    def obey(seconds: float) -> None:
        hold(archive, silent_s=STALE_AFTER_S + 60)

    monkeypatch.setattr("archive_proc.cli.cancel_.time.sleep", obey)
    answer = CliRunner().invoke(program, ["--archive", str(archive.root), "cancel", "--wait"])
    assert answer.exit_code == 0, answer.output
    assert "dead: 900 of 1000 processes sealed" in answer.output
    assert archive.status().state == "dead"


def test_a_detached_driver_that_was_refused_is_told_of_until_there_is_a_run(tmp_path: Path) -> None:
    archive = Archive.init(tmp_path / "A")
    place = archive.layout.jobs / "20261101T000000.000-mine"
    place.mkdir(parents=True)
    (place / "driver.sh").touch()
    (place / "driver-7.log").write_text("error: AP-RUN-033 process 07: too large\n       more: archive-proc help\n")
    for words in (["status"], ["status", "--watch"]):
        answer = CliRunner().invoke(program, ["--archive", str(archive.root), *words])
        said = "ended without a run: AP-RUN-033 process 07: too large (jobs/20261101T000000.000-mine/driver-7.log)\n"
        assert said in answer.output
        assert isinstance(answer.exception, NotFoundError)
    before = time.time() - 60
    os.utime(place / "driver.sh", (before, before))
    long_run(archive, 10)
    assert "ended without" not in CliRunner().invoke(program, ["--archive", str(archive.root), "status"]).output


def test_another_driver_of_the_archive_does_not_make_a_dead_run_live(tmp_path: Path) -> None:
    archive = Archive.init(tmp_path / "A")
    long_run(archive, 1000, pid=2)
    hold(archive)
    assert archive.status().state == "dead"
    # What it works for has no run yet: `cancel` reaches it all the same.
    answer = CliRunner().invoke(program, ["--archive", str(archive.root), "cancel"])
    assert answer.output == "the driver (pid 1 on far, `run x`) was asked to stop; it does before its next task\n"
    assert [one.name for one in archive.layout.driver_lock.parent.glob("*.stop")] == ["driver.json.t.stop"]


def test_watch_follows_a_run_to_its_end_and_prints_lines_off_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive.init(tmp_path / "A")
    long_run(archive, 1000)
    hold(archive)
    looks: list[float] = []

    def pass_time(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            archive.layout.driver_lock.unlink()

    monkeypatch.setattr("archive_proc.cli.status_.time.sleep", pass_time)
    answer = CliRunner().invoke(program, ["--archive", str(archive.root), "status", "--watch", "--json"])
    assert answer.exit_code == 0, answer.output
    lines = [json.loads(line) for line in answer.output.splitlines()]
    assert [one["state"] for one in lines] == ["running", "running", "running", "dead"]
    assert looks == [60.0, 60.0, 60.0]
    assert lines[0]["counts"] == {"ready": 50, "planned": 49, "running": 1, "done": 900}


# -- when it will end -------------------------------------------------------------------------------------------------


def going(**more: object) -> RunCourse:
    given = {
        "recipes": {"a": RecipeCourse(planned=100, left_s=1000.0)},
        "workers": 4,
        "census": {"busy": 4},
        "chain_s": 20.0,
        **more,
    }
    return RunCourse(run_id=RunId("r"), plan_id=PlanId("p"), **given)


def test_without_history_a_prediction_is_trusted_within_a_factor_of_two() -> None:
    assert band(going(), 0.0) == pytest.approx((125.0, 500.0 + 40 * 0.75))


def test_earlier_runs_say_how_much_longer_a_recipe_takes_than_predicted() -> None:
    past = {"a": Past(runs=[3.0, 3.1, 2.9, 3.0], ratios={6: 100, 7: 100})}
    low, high = band(going(past=past), 0.0) or (0.0, 0.0)
    assert low == pytest.approx(750, rel=0.1)
    assert high == pytest.approx(750 + 45, rel=0.1)


def test_what_this_run_has_measured_counts_more_than_what_others_did() -> None:
    past = {"a": Past(runs=[3.0, 3.0, 3.0], ratios={6: 300})}
    own = RecipeCourse(
        planned=100, ended={State.DONE: 50}, left_s=500.0, done_s=500.0, measured_s=500.0, ratios={0: 50}
    )
    low, high = band(going(recipes={"a": own}, past=past), 0.0) or (0.0, 0.0)
    assert low < 125 < high < 125 * 3


def test_the_end_is_not_before_that_of_the_longest_chain_but_for_what_is_behind_it() -> None:
    past = {"a": Past(runs=[1.0] * 5, ratios={0: 100})}
    low, _ = band(going(past=past, chain_s=900.0), 0.0) or (0.0, 0.0)
    assert low == pytest.approx(900)
    head = RunningProcess(recipe="a", since="1970-01-01T00:00:00+00:00", attempt=1, planes=1, predicted_s=900.0)
    low, _ = band(going(past=past, chain_s=900.0, running={ProcessId("x"): head}), 600.0) or (0.0, 0.0)
    assert low == pytest.approx(300)


def test_paused_workers_do_not_count_and_nothing_left_has_no_band() -> None:
    past = {"a": Past(runs=[1.0] * 5, ratios={0: 100})}
    low, _ = band(going(past=past, census={"busy": 1, "idle": 1, "paused": 2}), 0.0) or (0.0, 0.0)
    assert low == pytest.approx(500)
    assert band(going(recipes={"a": RecipeCourse(planned=1, ended={State.DONE: 1})}), 0.0) is None
