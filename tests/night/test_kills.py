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
    archive = nights.archive_of(tmp_path / "A", night.directory)
    rng = random.Random(5)
    made: dict[str, bytes] = {}
    killed = 0
    while killed < KILLS:
        driver = nights.start(archive.root, "run", "--workers", "2")
        deadline = time.monotonic() + rng.uniform(2.0, 14.0)
        while time.monotonic() < deadline and driver.poll() is None:
            time.sleep(0.05)
        if driver.poll() is not None:
            break
        family = psutil.Process(driver.pid).children(recursive=True)
        workers = [one for one in family if "spawn_main" in " ".join(_words(one))]
        victim = rng.choice(["driver", "worker"]) if workers else "driver"
        if victim == "driver":
            os.kill(driver.pid, signal.SIGKILL)
        else:
            rng.choice(workers).kill()
            time.sleep(rng.uniform(0.5, 2.0))
            if driver.poll() is None:
                os.kill(driver.pid, signal.SIGKILL)
        driver.communicate()
        killed += 1
        for process, seal in nights.seals(archive).items():
            assert made.setdefault(process, seal) == seal, "a sealed product was made twice"
    done = nights.call(archive.root, "run", "--workers", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    print("kills:", killed)
    assert killed >= 3
    for process, seal in made.items():
        assert nights.seals(archive)[process] == seal
    assert nights.array_digests(archive) == nights.array_digests(reduced)
    archive = Archive.open(archive.root)
    assert archive.verify(deep=True) == ()
    assert not list(archive.layout.pending.iterdir())


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
