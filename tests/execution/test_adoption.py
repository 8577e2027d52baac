"""What another driver left is touched only when its driver and all its workers are dead."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from toy_night import Night, night, site

from archive_proc.execution.adoption import adopt, dead, sweep_sealed
from archive_proc.execution.calls import Task
from archive_proc.execution.executor import execute
from archive_proc.execution.liveness import Writer, this_writer, writer_of
from archive_proc.execution.meters import Mark
from archive_proc.execution.receipts import Receipt, read_receipts, write_receipt
from archive_proc.execution.spec import AttemptDir, AttemptSpec, write_spec
from archive_proc.model.ids import PlanId, RunId
from archive_proc.storage.objects import BlockDigest
from archive_proc.storage.seal import is_sealed, remove_tree, sealed_processes, verify

GONE = replace(this_writer(), pid=2**22 + 1, started="1")
"""A pid beyond the kernel's largest."""
ELSEWHERE = replace(this_writer(), host="another-host.invalid")


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def attempt(tonight: Night, driver: Writer, *workers: Writer) -> AttemptDir:
    """An attempt at the dark that this driver made and these workers are at."""
    directory = AttemptDir(tonight.layout.pending_dir(tonight.dark.process_id, 1))
    write_spec(
        directory,
        AttemptSpec(
            process=tonight.dark,
            frames=tuple(tonight.frames.values())[:2],
            pixel_digests={},
            run_id=RunId("r"),
            plan_id=PlanId("p"),
            attempt=1,
            asked_by="",
            driver=driver,
        ),
    )
    directory.marks.mkdir()
    for number, one in enumerate(workers):
        task = Task("block", 0, 16 * number, 16 * number + 16)
        (directory.marks / f"{task.label}.json").write_bytes(msgspec.json.encode(Mark(task, one)))
    return directory


def test_an_attempt_is_dead_only_with_its_last_worker(tmp_path: Path, worker: subprocess.Popen[bytes]) -> None:
    tonight = night(tmp_path)
    living = writer_of(worker.pid)
    directory = attempt(tonight, GONE, GONE, living)
    assert not dead(directory)
    worker.kill()
    worker.wait()
    assert dead(directory)


@pytest.mark.parametrize("driver", [ELSEWHERE, GONE])
def test_what_this_host_cannot_tell_counts_as_alive(tmp_path: Path, driver: Writer) -> None:
    tonight = night(tmp_path)
    assert not dead(attempt(tonight, driver, ELSEWHERE))


def test_a_sealed_out_of_a_living_worker_is_not_published_for_it(
    tmp_path: Path, worker: subprocess.Popen[bytes]
) -> None:
    tonight = night(tmp_path)
    directory = _left_sealed(tonight, writer_of(worker.pid))
    process_id = tonight.dark.process_id
    found = adopt(tonight.layout, process_id, [1], keep_chunks=True)
    assert (found.attempt, found.sealed, found.receipts) == (1, False, ())
    assert directory.out.is_dir()
    assert not is_sealed(tonight.layout, process_id)
    worker.kill()
    worker.wait()
    assert adopt(tonight.layout, process_id, [1], keep_chunks=True).sealed
    assert is_sealed(tonight.layout, process_id)
    assert not directory.path.exists()


def test_a_run_beside_a_living_worker_works_under_a_number_of_its_own(
    tmp_path: Path, worker: subprocess.Popen[bytes]
) -> None:
    tonight = night(tmp_path)
    directory = attempt(tonight, GONE, writer_of(worker.pid))
    assert execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options()).exit_status == 0
    assert [one.name for one in tonight.layout.pending.iterdir()] == [directory.path.name]
    sweep_sealed(tonight.layout)
    assert directory.path.exists()
    worker.kill()
    worker.wait()
    sweep_sealed(tonight.layout)
    assert not directory.path.exists()


def _left_sealed(tonight: Night, by: Writer) -> AttemptDir:
    """A complete `out/` whose writer did not come to the rename."""
    assert execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options()).exit_status == 0
    directory = attempt(tonight, GONE, by)
    product = tonight.layout.product_dir(tonight.dark.process_id)
    product.chmod(0o755)
    product.rename(directory.out)
    return directory


def test_the_seal_of_another_process_seals_nothing(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    assert execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options()).exit_status == 0
    layout, dark, cube = tonight.layout, tonight.dark.process_id, tonight.cube.process_id
    assert is_sealed(layout, cube)
    remove_tree(layout.product_dir(cube))
    assert not is_sealed(layout, cube)
    layout.product_dir(dark).chmod(0o755)
    layout.product_dir(cube).parent.mkdir(exist_ok=True)
    layout.product_dir(dark).rename(layout.product_dir(cube))
    assert not is_sealed(layout, cube)
    assert not is_sealed(layout, dark)
    assert [one.code for one in verify(layout.product_dir(cube), cube)] == ["AP-STO-025"]
    assert cube in sealed_processes(layout), "a listing looks at names only: who takes a product asks is_sealed"


def test_a_chunk_with_digests_of_an_older_package_is_done_again(tmp_path: Path) -> None:
    directory = AttemptDir(tmp_path)
    for first in (0, 16):
        digests = (BlockDigest("toy_cube", "flux", first, "00"),)
        write_receipt(directory, Receipt(task=Task("block", 0, first, first + 16), block_digests=digests))
    (older,) = directory.receipts.glob("*00000016.json")
    older.write_bytes(older.read_bytes().replace(b'"digest":', b'"sha256":'))
    assert [one.task.first for one in read_receipts(directory)] == [0]
