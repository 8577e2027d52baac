"""kill -9 anywhere: the same command continues and ends with the products of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from toy_night import Night, night, site

from archive_proc.execution.executor import execute
from archive_proc.execution.meters import Mark
from archive_proc.model.events import ProcessChanged
from archive_proc.model.processes import State
from archive_proc.storage.journal import iter_journals, read_journal
from archive_proc.storage.records import read_record
from archive_proc.storage.seal import verify_products

HERE = Path(__file__).parent
SLOW = "slow:0.02"
PATIENCE_S = 120.0


def driver(directory: Path, backend: str, workers: int, chunk: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    command = [sys.executable, str(HERE / "toy_driver.py"), str(directory), backend, str(workers), str(chunk), SLOW]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> bool:
    """Wait until the condition holds; False when the process ended first."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if condition():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    raise TimeoutError


def products(tonight: Night) -> dict[str, object]:
    found: dict[str, object] = {}
    for one in (tonight.dark, tonight.cube, tonight.centered):
        record = read_record(tonight.layout.product_dir(one.process_id))
        found |= {made.product_type: (made.array_digests, made.sha256) for made in record.products}
    return found


def undisturbed(tmp_path: Path) -> dict[str, object]:
    tonight = night(tmp_path / "undisturbed", behave=SLOW)
    assert execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options()).exit_status == 0
    return products(tonight)


def judge(tonight: Night, tmp_path: Path) -> None:
    assert products(tonight) == undisturbed(tmp_path)
    assert verify_products(tonight.layout, deep=True) == ()
    assert list(tonight.layout.pending.iterdir()) == []
    assert not tonight.layout.driver_lock.exists()
    done: Counter[str] = Counter()
    for _, journal in iter_journals(tonight.layout.runs):
        read = read_journal(journal)
        assert read.torn <= 1
        done.update(
            one.process_id for one in read.events if isinstance(one, ProcessChanged) and one.state is State.DONE
        )
    assert all(count == 1 for count in done.values())


@pytest.mark.parametrize(("backend", "workers", "chunk", "kills"), [("serial", 1, 16, 6), ("local", 2, 16, 2)])
def test_killed_drivers_lose_nothing(tmp_path: Path, backend: str, workers: int, chunk: int, kills: int) -> None:
    tonight = night(tmp_path, behave=SLOW)
    rng = random.Random(7)
    for _ in range(kills):
        process = driver(tmp_path, backend, workers, chunk)
        # Work is under way, or was all done before: an attempt of this driver lies under pending/.
        mine = f'"pid":{process.pid},'
        started = wait_for(lambda mine=mine: any(mine in text for text in specs(tonight)), process)
        if started:
            time.sleep(rng.uniform(0, 0.8))
        process.kill()
        process.wait()
    last = driver(tmp_path, backend, workers, chunk)
    assert last.wait(PATIENCE_S) == 0
    judge(tonight, tmp_path)


def specs(tonight: Night) -> list[str]:
    found = []
    for path in tonight.layout.pending.glob("*/spec.json"):
        try:
            found.append(path.read_text())
        except FileNotFoundError:
            continue
    return found


def test_killed_workers_lose_nothing(tmp_path: Path) -> None:
    tonight = night(tmp_path, behave=SLOW)
    process = driver(tmp_path, "local", 2, 16)
    rng = random.Random(11)
    killed: set[int] = set()
    for _ in range(2):
        if wait_for(lambda: bool(workers_of(tonight, killed)), process):
            time.sleep(rng.uniform(0, 0.1))
            for pid in workers_of(tonight, killed)[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
    if process.wait(PATIENCE_S):  # both kills hit one process: it failed as one that kills its worker
        last = driver(tmp_path, "local", 2, 16)
        assert last.wait(PATIENCE_S) == 0
    judge(tonight, tmp_path)


def workers_of(tonight: Night, but: set[int]) -> list[int]:
    """Pids of workers that execute a task of this archive now."""
    found = []
    for path in tonight.layout.pending.glob("*/marks/*.json"):
        try:
            pid = msgspec.json.decode(path.read_bytes(), type=Mark).writer.pid
        except (OSError, msgspec.MsgspecError):
            continue
        if pid not in but:
            found.append(pid)
    return found


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("backend", ["serial", "local"])
def test_a_stop_signal_ends_gracefully_and_the_same_command_continues(
    tmp_path: Path, backend: str, number: int, status: int
) -> None:
    tonight = night(tmp_path, science=(200,), behave="slow:0.1")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    command = [sys.executable, str(HERE / "toy_stopped.py"), str(tmp_path), backend]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    assert wait_for(lambda: any(tonight.layout.pending.glob("*/receipts/block*.json")), process)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == status, said.decode()
    assert not tonight.layout.driver_lock.exists()
    assert list(tonight.layout.pending.glob("*/receipts/block*.json"))
    outcome = execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options(chunk_planes=16))
    assert outcome.exit_status == 0
    record = read_record(tonight.layout.product_dir(tonight.cube.process_id))
    assert record.attempt == 2
    assert list(tonight.layout.pending.iterdir()) == []


@pytest.mark.parametrize("backend", ["serial", "local"])
def test_a_cancelled_run_ends_between_blocks_and_keeps_its_chunks(tmp_path: Path, backend: str) -> None:
    tonight = night(tmp_path, science=(200,), behave="slow:0.1")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    process = subprocess.Popen([sys.executable, str(HERE / "toy_stopped.py"), str(tmp_path), backend], env=environment)
    assert wait_for(lambda: any(tonight.layout.pending.glob("*/receipts/block*.json")), process)
    (run,) = tonight.layout.runs.iterdir()
    (run / "stop").touch()
    assert process.wait(PATIENCE_S) == 130
    assert list(tonight.layout.pending.glob("*/receipts/block*.json"))
    assert not (run / "stop").exists()
