"""Order and blocking, and what a killed driver left behind, judged from disk only."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from pathlib import Path

import msgspec
import pytest
from toy_night import Night, night, plan_of, process, product_input, raw_input, site

from archive_proc.errors import LockedError
from archive_proc.execution import progress
from archive_proc.execution.adoption import adopt
from archive_proc.execution.executor import execute, processes_to_run
from archive_proc.execution.liveness import Writer, alive, this_writer
from archive_proc.execution.lock import acquire, holder_of
from archive_proc.execution.schedule import Schedule
from archive_proc.execution.spec import AttemptDir, attempts, read_spec, write_spec
from archive_proc.execution.work import Size, chunk_planes
from archive_proc.model.processes import Reason, State
from archive_proc.storage.records import read_record
from archive_proc.storage.seal import commit, is_sealed, read_seal, remove_tree, verify_products

DEAD = Writer(this_writer().host, "another boot", 1, "0")


def test_the_longest_chain_comes_first(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    frame = next(iter(tonight.frames.values()))
    short = process("toy_cube", [raw_input(frame)], subject="short")
    schedule = Schedule(plan_of(tonight.dark, tonight.cube, tonight.centered, short).processes)
    assert schedule.priorities[tonight.dark.process_id] == pytest.approx(0.3)
    assert schedule.priorities[short.process_id] == pytest.approx(0.1)
    assert set(schedule.ready()) == {tonight.dark.process_id, short.process_id}
    assert schedule.settle(tonight.dark.process_id, State.DONE) == [tonight.cube.process_id]


def test_chunks_are_whole_shards_near_the_size_asked_for() -> None:
    assert chunk_planes(Size(1000, 2048 * 1024 * 4), 0.5) == 64
    assert chunk_planes(Size(1000, 2048 * 2048 * 4), 0.5) == 32
    assert chunk_planes(Size(1000, 10**10), 0.5) == 16


def test_a_pruned_product_that_nothing_needs_is_not_made_again(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options())
    remove_tree(tonight.layout.product_dir(tonight.cube.process_id))
    cached = dataclasses.replace(
        tonight.plan, processes=tuple(dataclasses.replace(one, reason=Reason.CACHED) for one in tonight.plan.processes)
    )
    assert processes_to_run(cached, tonight.layout) == []
    new = process("toy_centered", [product_input("main", tonight.cube)], subject="new", gain=3.0)
    wider = dataclasses.replace(cached, processes=(*cached.processes, plan_of(new).processes[0]))
    found = {one.process.process_id for one in processes_to_run(wider, tonight.layout)}
    assert found == {new.process_id, tonight.cube.process_id}


def killed_at_closing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Night, AttemptDir]:
    """Chunks done, receipts written, killed while closing: the driver's name is made that of a dead process."""
    import archive_proc.execution.worker as worker

    tonight = night(tmp_path)
    execute(plan_of(tonight.dark), tonight.layout, tonight.frames, site(), tonight.options())
    with monkeypatch.context() as patch:
        patch.setattr(worker, "close_process", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options(chunk_planes=16))
    directory = AttemptDir(tonight.layout.pending_dir(tonight.cube.process_id, 1))
    write_spec(directory, dataclasses.replace(read_spec(directory), driver=DEAD))
    return tonight, directory


def test_after_a_kill_while_closing_only_the_closing_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tonight, directory = killed_at_closing(tmp_path, monkeypatch)
    before = {path.name: path.stat().st_mtime_ns for path in (directory.out / "product.zarr/toy_cube/flux").iterdir()}
    outcome = execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options(chunk_planes=48))
    assert outcome.exit_status == 0
    flux = tonight.layout.product_group(tonight.cube.process_id, "toy_cube") / "flux"
    assert {path.name: path.stat().st_mtime_ns for path in flux.iterdir()} == before
    record = read_record(tonight.layout.product_dir(tonight.cube.process_id))
    assert (record.attempt, record.tasks) == (2, 11)
    assert list(tonight.layout.pending.iterdir()) == []


def test_a_chunk_whose_shard_was_damaged_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tonight, directory = killed_at_closing(tmp_path, monkeypatch)
    shard = directory.out / "product.zarr/toy_cube/flux/c.1.0.0.0"
    content = bytearray(shard.read_bytes())
    content[7] ^= 1
    shard.write_bytes(bytes(content))
    assert (
        execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options(chunk_planes=16)).exit_status == 0
    )
    assert verify_products(tonight.layout, deep=True) == ()
    clean = night(tmp_path / "clean")
    execute(clean.plan, clean.layout, clean.frames, site(), clean.options())
    one, other = (read_record(each.layout.product_dir(each.cube.process_id)).products for each in (tonight, clean))
    assert one == other


def test_an_attempt_sealed_before_its_driver_died_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import archive_proc.execution.closing as closing

    tonight = night(tmp_path)

    def killed(*_: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(closing, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            execute(plan_of(tonight.dark), tonight.layout, tonight.frames, site(), tonight.options())
    directory = AttemptDir(tonight.layout.pending_dir(tonight.dark.process_id, 1))
    assert read_seal(directory.out) is not None
    write_spec(directory, dataclasses.replace(read_spec(directory), driver=DEAD))
    outcome = execute(plan_of(tonight.dark), tonight.layout, tonight.frames, site(), tonight.options())
    assert outcome.counts == {State.DONE: 1}
    assert read_record(tonight.layout.product_dir(tonight.dark.process_id)).attempt == 1
    assert verify_products(tonight.layout, deep=True) == ()


def test_after_the_rename_leftovers_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tonight, directory = killed_at_closing(tmp_path, monkeypatch)
    kept = directory.path.with_name(f"{tonight.cube.process_id}.7")
    directory.path.rename(kept)
    execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options())
    (kept.parent / f"{tonight.cube.process_id}.9" / "out").mkdir(parents=True)
    execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options())
    assert list(tonight.layout.pending.iterdir()) == []


def test_an_attempt_whose_writer_lives_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tonight, directory = killed_at_closing(tmp_path, monkeypatch)
    elsewhere = Writer("another-host", "boot", 1, "1")
    write_spec(directory, dataclasses.replace(read_spec(directory), driver=elsewhere))
    numbers = attempts(tonight.layout)[tonight.cube.process_id]
    adopted = adopt(tonight.layout, tonight.cube.process_id, numbers, keep_chunks=True)
    assert (adopted.attempt, adopted.sealed, adopted.receipts) == (1, False, ())
    assert directory.path.exists()
    assert execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options()).exit_status == 0
    assert read_record(tonight.layout.product_dir(tonight.cube.process_id)).attempt == 2


def test_the_first_rename_wins_and_the_loser_drops_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import archive_proc.execution.closing as closing

    tonight = night(tmp_path)

    def overtaken(out: Path, destination: Path, seal: object) -> object:
        import shutil

        shutil.copytree(out, destination)
        return commit(out, destination, seal)

    monkeypatch.setattr(closing, "commit", overtaken)
    outcome = execute(plan_of(tonight.dark), tonight.layout, tonight.frames, site(), tonight.options())
    assert outcome.counts == {State.DONE: 1}
    assert is_sealed(tonight.layout, tonight.dark.process_id)
    assert list(tonight.layout.pending.iterdir()) == []


def test_a_lease_is_taken_over_from_the_dead_only(tmp_path: Path) -> None:
    layout = night(tmp_path).layout
    lease = acquire(layout, "run one")
    assert holder_of(layout) == lease.holder
    with pytest.raises(LockedError):
        acquire(layout, "run two")
    an_hour_ago = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)).isoformat()
    elsewhere = Writer("another-host", "boot", 1, "1")
    for writer, beat, silent_min, free in [
        (DEAD, lease.holder.heartbeat, 0, True),
        (elsewhere, lease.holder.heartbeat, 0, False),
        (elsewhere, an_hour_ago, 0, False),  # its clock is off, its heart beats
        (elsewhere, lease.holder.heartbeat, 11, True),
    ]:
        holder = dataclasses.replace(lease.holder, token="theirs", writer=writer, heartbeat=beat)
        layout.driver_lock.write_bytes(msgspec.json.encode(holder))
        beaten = layout.driver_lock.stat().st_mtime - 60 * silent_min
        os.utime(layout.driver_lock, (beaten, beaten))
        if free:
            with acquire(layout, "run three"):
                assert holder_of(layout).purpose == "run three"
        else:
            with pytest.raises(LockedError, match="another-host"):
                acquire(layout, "run three")
    lease.release()


def test_a_reused_pid_is_not_its_former_owner() -> None:
    me = this_writer()
    assert alive(me) is True
    assert alive(dataclasses.replace(me, started="1")) is False
    assert alive(dataclasses.replace(me, host="another-host")) is None


def test_a_line_tells_what_has_ended_and_the_band_of_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    processes = {one.process.process_id: one for one in night(tmp_path).plan.processes}
    first, second, _ = processes
    lines = progress.Lines(processes, lambda: (100.0, 300.0))
    lines.settle(first, State.DONE, 3.0)
    lines.settle(second, State.QUARANTINED, 0.0)
    lines.tick(4)
    assert capsys.readouterr().err == "2 of 3 processes, 4 tasks in flight, 1 failed, 2-5 min left\n"
    assert progress.time_left(None) == ""
