"""kill -9 of driver and workers at random moments: the same command continues and ends with the same arrays."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import nights
import psutil
import pytest

from archive_proc.archive import Archive
from archive_proc.simulate.truth import Truth

KILLS = 10


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_ten_kills_end_in_the_digests_of_the_undisturbed_run(night: Truth, reduced: Archive, tmp_path: Path) -> None:
    rng = random.Random(5)
    kills: list[str] = []
    while len(kills) < KILLS:
        archive = nights.archive_of(tmp_path / f"A{len(kills)}", night.directory)
        made: dict[str, bytes] = {}
        status = None
        while status is None:
            victim, status, account = _run_until_killed(archive, rng, may_kill=len(kills) < KILLS)
            kills += [victim] if victim else []
            for process, seal in nights.seals(archive).items():
                assert made.setdefault(process, seal) == seal, "a sealed product was made twice"
        assert status == 0, account
        assert nights.array_digests(archive) == nights.array_digests(reduced)
        archive = Archive.open(archive.root)
        assert archive.verify(deep=True) == ()
        assert not list(archive.layout.pending.iterdir())
    print("killed:", kills)


def _run_until_killed(archive: Archive, rng: random.Random, *, may_kill: bool) -> tuple[str, int | None, str]:
    """What was killed ("" for nothing), the exit status of a run that ended by itself, and what it printed."""
    driver = nights.start(archive.root, "run", "--workers", "2")
    if may_kill:
        deadline = time.monotonic() + rng.uniform(3.0, 12.0)
        while time.monotonic() < deadline and driver.poll() is None:
            time.sleep(0.05)
    if not may_kill or driver.poll() is not None:
        out, err = driver.communicate(timeout=600)
        return "", driver.returncode, out + err
    family = psutil.Process(driver.pid).children(recursive=True)
    workers = [one for one in family if "spawn_main" in " ".join(_words(one))]
    victim = rng.choice(["driver", "worker"]) if workers else "driver"
    if victim == "worker":
        rng.choice(workers).kill()
        out, err = driver.communicate(timeout=600)
        # A worker killed while it starts may end the run with 75, temporary: the same command continues.
        return victim, None if driver.returncode == 75 else driver.returncode, out + err
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    return victim, None, ""


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def test_a_stop_signal_saves_what_is_done_and_the_same_command_continues(night: Truth, tmp_path: Path) -> None:
    archive = nights.archive_of(tmp_path / "A", night.directory)
    driver = nights.start(archive.root, "run", "--site", "serial")
    deadline = time.monotonic() + 120
    while not nights.seals(archive) and time.monotonic() < deadline:
        time.sleep(0.1)
    driver.send_signal(signal.SIGTERM)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 143, out + err
    kept = nights.seals(archive)
    assert kept
    done = nights.call(archive.root, "resume", "--site", "serial")
    assert done.returncode == 0, done.stderr
    assert {name: seal for name, seal in nights.seals(archive).items() if name in kept} == kept
