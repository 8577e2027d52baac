"""A failure is a row with a cause; its dependants are blocked and name it; everything else finishes."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from toy_night import Night, night, plan_of, process, product_input, raw_input, site

from archive_proc.errors import LockedError, MisuseError, PreconditionError
from archive_proc.execution.executor import execute
from archive_proc.execution.lock import acquire, ask_to_stop, read_holder
from archive_proc.execution.outcome import EarlierFailure, RunOutcome
from archive_proc.flow.running import standing_failures
from archive_proc.model.events import ProcessChanged, ProcessFailed, RunEnded
from archive_proc.model.processes import Cause, State
from archive_proc.storage.journal import iter_journals, read_journal
from archive_proc.storage.records import read_record
from archive_proc.storage.seal import remove_tree


def run(tonight: Night, backend: str = "serial", **options: object) -> RunOutcome:
    return execute(
        tonight.plan, tonight.layout, tonight.frames, site(backend=backend, workers=2), tonight.options(**options)
    )


@pytest.mark.parametrize("chunk", [16, 1000])
@pytest.mark.parametrize(
    ("behave", "cause", "code"),
    [("data", Cause.DATA, "AP-IRD-999"), ("code", Cause.CODE, "AP-RUN-012"), ("memory", Cause.MEMORY, "AP-RUN-011")],
)
def test_the_cause_is_told_and_descendants_are_blocked_by_name(
    tmp_path: Path, behave: str, cause: Cause, code: str, chunk: int
) -> None:
    tonight = night(tmp_path, behave=behave)
    outcome = run(tonight, chunk_planes=chunk)
    assert outcome.counts == {State.DONE: 1, State.FAILED: 1, State.BLOCKED: 1}
    assert outcome.blocked == {tonight.centered.process_id: tonight.cube.process_id}
    assert outcome.exit_status == 3
    (failure,) = outcome.failures
    assert (failure.process_id, failure.cause, failure.code) == (tonight.cube.process_id, cause, code)
    assert list(tonight.layout.pending.iterdir()) == []
    events = read_journal(tonight.layout.journal(outcome.run_id)).events
    tries = [one for one in events if isinstance(one, ProcessFailed)]
    finals = [one.final for one in tries]
    assert finals[-1] is True
    assert not any(finals[:-1])
    assert (len(finals) > 1) is (cause is Cause.MEMORY)
    blocked = [one for one in events if isinstance(one, ProcessChanged) and one.state is State.BLOCKED]
    assert [one.blocked_by for one in blocked] == [tonight.cube.process_id]
    if behave == "data":
        assert failure.qc[0].metric == "stars"
        assert failure.qc[0].verdict == "refuse"
    if behave == "code":
        assert "ZeroDivisionError" in failure.traceback
        assert "toy_recipes.py:misbehave" in failure.signature


def test_a_plan_of_another_version_of_a_recipe_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    older = replace(tonight.dark, recipe_version="0.9.0")
    with pytest.raises(MisuseError, match=r"AP-RUN-039 proc:.* 0\.9\.0, and this package has 1\.0\.0"):
        execute(plan_of(older), tonight.layout, tonight.frames, site(), tonight.options())
    assert not list(tonight.layout.products.glob("*/*"))
    assert not tonight.layout.driver_lock.exists()
    # What that version sealed is kept, and a plan that only counts on it goes on.
    assert execute(plan_of(tonight.dark), tonight.layout, tonight.frames, site(), tonight.options()).exit_status == 0
    again = execute(plan_of(older), tonight.layout, tonight.frames, site(), tonight.options())
    assert again.counts == {State.CACHED: 1}


@pytest.mark.parametrize("chunk", [16, 1000])
def test_a_passing_fault_of_the_disk_is_retried(tmp_path: Path, chunk: int) -> None:
    tonight = night(tmp_path, behave=f"flaky:{tmp_path / 'count'}")
    outcome = run(tonight, chunk_planes=chunk)
    assert outcome.exit_status == 0
    # In chunks, several of one attempt may fail before it is given up: they count as one.
    assert read_record(tonight.layout.product_dir(tonight.cube.process_id)).attempt == (3 if chunk == 1000 else 2)
    events = read_journal(tonight.layout.journal(outcome.run_id)).events
    assert [one.final for one in events if isinstance(one, ProcessFailed)] == [False, False]


def test_a_full_disk_stops_the_run(tmp_path: Path) -> None:
    outcome = run(night(tmp_path, behave="full"))
    assert outcome.stopped == "disk full"
    assert outcome.exit_status == 5
    assert sum(outcome.counts.values()) == 3


@pytest.mark.parametrize(("behave", "cause"), [("kill", Cause.MEMORY), ("crash", Cause.CODE)])
def test_a_process_that_kills_its_worker_is_quarantined_after_three_tries_and_takes_nobody_along(
    tmp_path: Path, behave: str, cause: Cause
) -> None:
    tonight = night(tmp_path)
    darks = tonight.plan.processes
    frames = list(tonight.frames.values())
    others = [
        process(
            "toy_cube",
            [raw_input(one) for one in frames[2:]],
            [product_input("dark", tonight.dark)],
            subject=str(n),
            gain=float(n),
        )
        for n in range(6)
    ]
    poison = process(
        "toy_cube", [raw_input(frames[2])], [product_input("dark", tonight.dark)], subject="x", behave=behave
    )
    plan = plan_of(tonight.dark, *others, poison)
    assert darks
    outcome = execute(
        plan, tonight.layout, tonight.frames, site(backend="local", workers=2), tonight.options(chunk_planes=16)
    )
    assert outcome.counts == {State.DONE: 7, State.QUARANTINED: 1}
    assert outcome.exit_status == 3
    (failure,) = outcome.failures
    assert failure.process_id == poison.process_id
    assert failure.code == "AP-RUN-017"
    assert failure.cause is cause
    assert "killed its worker" in failure.message
    events = read_journal(tonight.layout.journal(outcome.run_id)).events
    failed = [one for one in events if isinstance(one, ProcessFailed)]
    # A nanny in trouble may close a worker under somebody else's task: that one is tried again, and not blamed.
    assert {one.process_id for one in failed if one.code != "AP-RUN-016"} == {poison.process_id}, "nobody is blamed"
    failed = [one for one in failed if one.process_id == poison.process_id]
    # Two chunks of the first attempt may kill a worker each at the same moment: one kill, two lines.
    assert [one.final for one in failed] in ([False, False, True], [False, False, False, True])
    assert [one.poison for one in failed] == [one.final for one in failed]
    assert standing_failures(tonight.layout)[poison.process_id].failure.poison, "left alone by later runs"


def test_five_equal_faults_pause_the_recipe(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    frames = list(tonight.frames.values())
    bad = [process("toy_cube", [raw_input(frames[2])], subject=str(n), behave="code") for n in range(8)]
    outcome = execute(
        plan_of(tonight.dark, *bad), tonight.layout, tonight.frames, site(window_per_worker=1), tonight.options()
    )
    assert outcome.counts == {State.DONE: 1, State.FAILED: 5, State.BLOCKED: 3}
    assert set(outcome.blocked.values()) == {outcome.failures[-1].process_id}


def test_a_standing_failure_is_not_tried_again_and_blocks(tmp_path: Path) -> None:
    tonight = night(tmp_path, behave="data")
    first = run(tonight)
    standing = {one.process_id: EarlierFailure(first.run_id, one) for one in first.failures}
    second = run(tonight, earlier_failures=standing)
    assert second.counts == {State.CACHED: 1, State.FAILED: 1, State.BLOCKED: 1}
    assert second.failures[0].earlier_run == first.run_id
    assert run(tonight).failures[0].earlier_run is None


def test_other_pixels_under_one_header_fail_the_process(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    known = run(tonight).pixel_digests
    frame = list(tonight.frames.values())[3]
    path = tonight.raw / "03.raw"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(bytes(content))
    again = process("toy_cube", [raw_input(frame)], subject="again")
    outcome = execute(
        plan_of(again), tonight.layout, tonight.frames, site(), tonight.options(pixel_digests=known, chunk_planes=16)
    )
    assert outcome.failures[0].code == "AP-RUN-020"
    assert frame.file_id in outcome.failures[0].subject


def test_a_missing_input_outside_the_plan_blocks_and_is_named(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    outcome = execute(
        plan_of(tonight.cube, tonight.centered), tonight.layout, tonight.frames, site(), tonight.options()
    )
    assert outcome.counts == {State.BLOCKED: 2}
    assert set(outcome.blocked.values()) == {tonight.dark.process_id}


def test_a_damaged_calibration_fails_who_needs_it_and_is_named(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    execute(plan_of(tonight.dark), tonight.layout, tonight.frames, site(), tonight.options())
    shard = tonight.layout.product_group(tonight.dark.process_id, "toy_dark") / "level" / "c.0.0"
    shard.chmod(0o644)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    outcome = run(tonight)
    assert outcome.failures[0].code == "AP-STO-014"
    assert tonight.dark.process_id in outcome.failures[0].subject
    assert outcome.exit_status == 3


def test_nothing_is_made_of_a_product_that_lost_a_shard_until_it_is_made_anew(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    execute(plan_of(tonight.dark, tonight.cube), tonight.layout, tonight.frames, site(), tonight.options())
    group = tonight.layout.product_group(tonight.cube.process_id, "toy_cube")
    lost = next(one for one in sorted((group / "flux").iterdir()) if one.name.startswith("c."))
    lost.parent.chmod(0o755)
    lost.unlink()
    outcome = run(tonight)
    assert [one.code for one in outcome.failures] == ["AP-STO-014"]
    assert f"product.zarr/toy_cube/flux/{lost.name}" in outcome.failures[0].message
    remove_tree(tonight.layout.product_dir(tonight.cube.process_id))
    assert run(tonight).exit_status == 0


@pytest.mark.parametrize("chunk", [16, 64])
def test_a_full_disk_stops_the_run_blames_no_process_and_says_what_is_free(tmp_path: Path, chunk: int) -> None:
    tonight = night(tmp_path, behave="full")
    outcome = run(tonight, chunk_planes=chunk)
    assert outcome.exit_status == 5
    assert outcome.failures == ()
    assert outcome.counts == {State.CANCELLED: 2, State.DONE: 1}
    assert outcome.note.startswith("AP-RUN-035")
    assert "still to be written" in outcome.note


def test_a_python_warning_is_kept_in_the_record(tmp_path: Path) -> None:
    tonight = night(tmp_path, behave="warn")
    assert run(tonight, chunk_planes=16).exit_status == 0
    record = read_record(tonight.layout.product_dir(tonight.cube.process_id))
    assert record.python_warnings == ("RuntimeWarning: the toy warns",)
    assert record.tasks == 11  # prepare, 4 + 4 blocks, reduce, close


def test_a_second_driver_is_refused_with_the_holder_named(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    with acquire(tonight.layout, "run 1"):
        with pytest.raises(LockedError, match=r"AP-RUN-001.*run 1") as refused:
            run(tonight)
        assert refused.value.exit_status == 6
    assert run(tonight).exit_status == 0


def test_a_driver_that_is_asked_to_stop_while_it_plans_begins_nothing(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    assert ask_to_stop(tonight.layout) is None
    with acquire(tonight.layout, "ingest"):
        assert ask_to_stop(tonight.layout) is None, "it ends by itself, and half an intake helps nobody"
    with acquire(tonight.layout, "run everything") as lease:
        assert ask_to_stop(tonight.layout) == lease.holder
        outcome = execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options(), lease)
    assert (outcome.stopped, set(outcome.counts)) == ("cancelled", {State.CANCELLED})
    assert [one.name for one in tonight.layout.driver_lock.parent.iterdir()] == ["driver.taking"]
    assert run(tonight).exit_status == 0


def test_whoever_asks_a_driver_to_stop_while_it_takes_the_lease_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = night(tmp_path).layout
    layout.driver_lock.parent.mkdir(parents=True)
    left = layout.driver_lock.with_name(f"{layout.driver_lock.name}.of-a-killed-one.stop")
    left.touch()
    link = os.link

    def link_seen_at_once(source: Path, destination: Path) -> None:
        link(source, destination)
        assert ask_to_stop(layout) is not None

    monkeypatch.setattr(os, "link", link_seen_at_once)
    with acquire(layout, "run 1") as lease:
        assert lease.stop_file.exists()
        assert not left.exists()


def test_a_driver_that_was_taken_for_dead_touches_nothing_once_another_has_the_archive(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    published: list[int] = []
    with acquire(tonight.layout, "run 1") as lease:
        theirs = dataclasses.replace(lease.holder, token="theirs", purpose="run 2")

        def suspended_for_long() -> None:
            published.append(1)
            tonight.layout.driver_lock.write_bytes(msgspec.json.encode(theirs))
            lease.renew()

        options = tonight.options(publish=suspended_for_long, publish_every_s=0.0)
        with pytest.raises(LockedError, match=r"AP-RUN-001.*run 2"):
            execute(tonight.plan, tonight.layout, tonight.frames, site(), options, lease)
    assert published == [1]
    ((_, journal),) = iter_journals(tonight.layout.runs)
    assert not any(isinstance(one, RunEnded) for one in read_journal(journal).events)
    assert read_holder(tonight.layout.driver_lock) == theirs


def test_what_is_missing_is_said_before_work_starts(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    with pytest.raises(PreconditionError, match="AP-RUN-033"):
        execute(tonight.plan, tonight.layout, tonight.frames, site(memory_per_worker_gb=0.05), tonight.options())
    (tonight.raw).rename(tmp_path / "gone")
    with pytest.raises(PreconditionError, match="AP-RUN-031"):
        run(tonight)
    assert not tonight.layout.driver_lock.exists()
