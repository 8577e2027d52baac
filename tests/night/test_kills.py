"""kill -9 of driver and workers at random moments: the same command continues and ends with the same arrays."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import nights
import psutil
import pytest

from archive_proc.archive import Archive
from archive_proc.simulate.truth import Truth

VICTIMS = ("driver", "worker")
"""In turn, and in one archive as a rule: the run that goes on loses a worker. `bench faults` kills sixty times, and
tests/execution/test_kills.py a toy night ten times."""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_kills_end_in_the_digests_of_the_undisturbed_run(night: Truth, reduced: Archive, tmp_path: Path) -> None:
    rng = random.Random(5)
    kills: list[str] = []
    while len(kills) < len(VICTIMS):
        archive = nights.archive_of(tmp_path / f"A{len(kills)}", night.directory)
        made: dict[str, bytes] = {}
        status = None
        while status is None:
            victim, status, account = _run_until_killed(archive, rng, VICTIMS[len(kills) :][:1])
            kills += [victim] if victim else []
            for process, seal in nights.seals(archive).items():
                assert made.setdefault(process, seal) == seal, "a sealed product was made twice"
        assert status == 0, account
        assert nights.array_digests(archive) == nights.array_digests(reduced)
        archive = Archive.open(archive.root)
        assert archive.verify(deep=True) == ()
        assert not list(archive.layout.pending.iterdir())
    print("killed:", kills)


def _run_until_killed(archive: Archive, rng: random.Random, next_one: Sequence[str]) -> tuple[str, int | None, str]:
    """What was killed ("" for nothing), the exit status of a run that ended by itself, and what it printed."""
    sealed = len(nights.seals(archive)) + rng.randint(0, 2)
    driver = nights.start(archive.root, "run", "--workers", "2")
    while next_one and driver.poll() is None:
        if len(nights.seals(archive)) >= sealed and (next_one[0] == "driver" or _workers(driver.pid)):
            time.sleep(rng.uniform(0.0, 2.0))
            break
        time.sleep(0.05)
    workers = _workers(driver.pid)
    if next_one and driver.poll() is None and (workers or next_one[0] == "driver"):
        os.kill(driver.pid if next_one[0] == "driver" else rng.choice(workers), signal.SIGKILL)
        out, err = driver.communicate(timeout=600)
        # A worker killed while it starts may end the run with 75, temporary: the same command continues.
        again = driver.returncode in (75, -signal.SIGKILL)
        return next_one[0], None if again else driver.returncode, out + err
    out, err = driver.communicate(timeout=600)
    return "", driver.returncode, out + err


def _workers(driver: int) -> list[int]:
    try:
        family = psutil.Process(driver).children(recursive=True)
    except psutil.Error:
        return []
    return [one.pid for one in family if "spawn_main" in " ".join(_words(one))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def test_a_stop_signal_saves_what_is_done_and_the_same_command_continues(night: Truth, tmp_path: Path) -> None:
    archive = nights.archive_of(tmp_path / "A", night.directory)
    driver = nights.start(archive.root, "run", "--site", "serial", "--to", "bad_pixels")
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
