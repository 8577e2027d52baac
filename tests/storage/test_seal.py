"""A seal finds what changed; a commit happens once; records and journals come back as they were."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from archive_proc.errors import InfraFailure, InputError
from archive_proc.model.events import ProcessChanged, ProcessFailed, RunEnded
from archive_proc.model.ids import ProcessId, RunId
from archive_proc.model.processes import Cause, QcValue, State
from archive_proc.model.records import SealedObject
from archive_proc.storage.journal import JournalWriter, LineWriter, encode_line, read_journal, read_lines
from archive_proc.storage.layout import Layout
from archive_proc.storage.records import read_record, record_of
from archive_proc.storage.seal import (
    UnsealedError,
    commit,
    expect_whole,
    is_sealed,
    make_seal,
    remove_gone,
    remove_tree,
    sealed_processes,
    verify,
    verify_products,
)

PROCESS = ProcessId("3fa9" + 28 * "0")


def fill(out: Path, text: str = "pixels") -> None:
    (out / "product.zarr" / "dark").mkdir(parents=True)
    for name in ("zarr.json", "c.0.0", "c.0.1"):
        (out / "product.zarr" / "dark" / name).write_text(f"{text} {name}")
    (out / "process.json").write_text("{}")


def sealed(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    out = layout.pending_dir(PROCESS, 1) / "out"
    fill(out)
    seal = make_seal(out, PROCESS, 1, {}, ["process.json"])
    assert not is_sealed(layout, PROCESS)
    assert commit(out, layout.product_dir(PROCESS), seal).won
    return layout


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 4
    path.write_bytes(bytes(content))


def test_a_committed_process_is_read_only_and_verifies(tmp_path: Path) -> None:
    layout = sealed(tmp_path)
    assert is_sealed(layout, PROCESS)
    assert sealed_processes(layout) == (PROCESS,)
    assert verify_products(layout, deep=True) == ()
    where = layout.product_dir(PROCESS)
    assert {entry.stat().st_mode & 0o222 for entry in where.rglob("*")} == {0}


@pytest.mark.parametrize(
    ("damage", "code", "deep_only"),
    [
        (flip, "AP-STO-024", True),
        (lambda path: path.write_bytes(path.read_bytes()[:-2]), "AP-STO-023", False),
        (lambda path: path.unlink(), "AP-STO-021", False),
        (lambda path: (path.parent / "c.9.9").write_text("x"), "AP-STO-022", False),
        (lambda path: (path.parents[2] / "seal.json").write_text("{"), "AP-STO-025", False),
    ],
)
def test_verify_finds_what_is_flipped_cut_missing_or_added(
    tmp_path: Path, damage: Callable[[Path], object], code: str, deep_only: bool
) -> None:
    layout = sealed(tmp_path)
    where = layout.product_dir(PROCESS)
    for entry in (where, *where.rglob("*")):
        entry.chmod(0o755)
    damage(where / "product.zarr" / "dark" / "c.0.1")
    assert [one.code for one in verify(where, PROCESS, deep=True)] == [code]
    assert [one.code for one in verify(where, PROCESS)] == ([] if deep_only else [code])


def test_what_was_not_written_is_not_sealed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out)
    with pytest.raises(UnsealedError, match=r"AP-STO-020 .*c\.1\.0 is missing"):
        make_seal(out, PROCESS, 1, {}, ["product.zarr/dark/c.1.0"])
    name = "process.json"
    with pytest.raises(UnsealedError, match="3 were written"):
        make_seal(out, PROCESS, 1, {name: SealedObject(name, 3, "0" * 64)}, [])
    with pytest.raises(UnsealedError, match="read back"):
        make_seal(out, PROCESS, 1, {name: SealedObject(name, 2, "0" * 64)}, [], full=True)
    assert not (out / "seal.json").exists()


def test_leftovers_of_killed_writers_are_not_sealed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out)
    (out / "product.zarr" / "dark" / "c.0.abc.partial").write_text("x")
    seal = make_seal(out, PROCESS, 1, {}, [])
    assert "partial" not in str(seal)


def compete(root: str, attempt: int) -> bool:
    layout = Layout(Path(root))
    out = layout.pending_dir(PROCESS, attempt) / "out"
    fill(out)
    return commit(out, layout.product_dir(PROCESS), make_seal(out, PROCESS, attempt, {}, [])).won


def test_of_eight_writers_one_wins_and_the_product_is_whole(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        won = pool.starmap(compete, [(str(tmp_path), attempt) for attempt in range(1, 9)])
    assert sum(won) == 1
    assert verify_products(Layout(tmp_path), deep=True) == ()
    assert not list(Layout(tmp_path).pending.glob("*/out"))


def test_a_name_taken_by_something_else_is_said(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (layout.product_dir(PROCESS) / "foreign").mkdir(parents=True)
    out = layout.pending_dir(PROCESS, 1) / "out"
    fill(out)
    with pytest.raises(InfraFailure, match="AP-STO-026"):
        commit(out, layout.product_dir(PROCESS), make_seal(out, PROCESS, 1, {}, []))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("c.0.1", lambda path: path.unlink()),
        ("c.0.1", lambda path: path.write_bytes(path.read_bytes()[:-2])),
        ("zarr.json", flip),
    ],
    ids=["missing shard", "truncated shard", "changed metadata"],
)
def test_what_is_about_to_be_read_is_held_against_its_seal(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    where = sealed(tmp_path).product_dir(PROCESS)
    group = where / "product.zarr" / "dark"
    expect_whole(where, PROCESS, group)
    for one in (group, group / name):
        one.chmod(0o755)
    damage(group / name)
    with pytest.raises(InfraFailure, match=rf"AP-STO-014 .*dark.*{name}"):
        expect_whole(where, PROCESS, group)


def test_a_twin_that_begins_anew_or_removes_lets_nothing_half_be_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    out = layout.pending_dir(PROCESS, 1) / "out"
    fill(out)
    seal = make_seal(out, PROCESS, 1, {}, ["process.json"])
    # A removal is slow, and what it has not reached yet must not be published: at its first file the name is gone.
    slow, seen = shutil.rmtree, []

    def removing(directory: Path, **options: bool) -> None:
        seen.append(out.exists())
        slow(directory, **options)

    monkeypatch.setattr("archive_proc.storage.seal.shutil.rmtree", removing)
    remove_tree(out)
    assert seen == [False]
    assert list(out.parent.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        commit(out, layout.product_dir(PROCESS), seal)
    # The twin has made `out` again and writes into it.
    fill(out)
    with pytest.raises(UnsealedError, match="AP-STO-020"):
        commit(out, layout.product_dir(PROCESS), seal)
    assert not layout.product_dir(PROCESS).exists()
    # What a kill amid a removal leaves is swept by its ending.
    (tmp_path / "x.1.0a1b2c3d.gone" / "deep").mkdir(parents=True)
    remove_gone(tmp_path)
    assert not list(tmp_path.glob("*.gone"))


def test_a_read_only_tree_can_be_removed(tmp_path: Path) -> None:
    layout = sealed(tmp_path)
    remove_tree(layout.product_dir(PROCESS))
    assert not layout.product_dir(PROCESS).exists()


def test_a_record_that_is_none_is_an_error_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"AP-STO-001.*no process.json"):
        read_record(tmp_path)
    with pytest.raises(InputError, match=r"AP-STO-001 here:"):
        record_of(b'{"process": 3}', "here")


EVENTS = (
    ProcessChanged(process_id=PROCESS, state=State.RUNNING, at="2026-01-01T00:00:00+00:00", attempt=1),
    ProcessFailed(
        process_id=PROCESS,
        recipe="irdis_dark",
        attempt=1,
        at="2026-01-01T00:00:01+00:00",
        cause=Cause.DATA,
        code="AP-IRD-001",
        signature="AP-IRD-001",
        message="noise",
        qc=(QcValue("", "noise", float("inf"), "adu", "refuse"),),
    ),
    RunEnded(run_id=RunId("0" * 32), at="2026-01-01T00:00:02+00:00", counts={"failed": 1}),
)


def test_a_journal_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with JournalWriter(path) as journal:
        for event in EVENTS:
            journal.append(event)
    read = read_journal(path)
    assert read.events == EVENTS
    assert (read.torn, read.end) == (0, path.stat().st_size)
    assert [row["n"] for row in read_lines(path).rows] == [0, 1, 2]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_tail_is_counted_and_never_swallows_the_next_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal.jsonl"
    with JournalWriter(path) as journal:
        for event in EVENTS:
            journal.append(event)
    os.truncate(path, path.stat().st_size - cut)
    assert read_journal(path).events == (EVENTS if cut == 1 else EVENTS[:2])
    with JournalWriter(path) as journal:
        journal.append(EVENTS[0])
    read = read_journal(path)
    assert read.events[-1] == EVENTS[0]
    assert read.torn == (0 if cut == 1 else 1)


def test_a_flipped_line_is_rejected_alone(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    with LineWriter(path) as lines:
        for number in range(3):
            lines.append({"number": number})
    content = path.read_bytes().replace(b'"number":1', b'"number":7')
    path.write_bytes(content + b"\xff\xfe\n" + encode_line({"number": 3}))
    read = read_lines(path)
    assert [row["number"] for row in read.rows] == [0, 2, 3]
    assert read.torn == 2
