"""Who is to blame when a worker vanishes, and whether a driver on another host lives: SLURM's word beside the mark."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from toy_night import night

from archive_proc.errors import LockedError
from archive_proc.execution import adoption, lock
from archive_proc.execution.backends import JobEnd
from archive_proc.execution.calls import Task
from archive_proc.execution.liveness import this_writer
from archive_proc.execution.lock import Lease, acquire, holder_of
from archive_proc.execution.meters import Mark
from archive_proc.execution.retrying import INTERRUPTIONS, Lost, Rules, Verdict, after_loss
from archive_proc.execution.work import ProcessWork, Size
from archive_proc.model.processes import Cause
from archive_proc.storage.layout import Layout

BLOCK = Task("block", 0, 0, 16)
HERE = replace(this_writer(), pid=2**22 + 1, started="1", job="7")
ELSEWHERE = replace(this_writer(), host="another-host.invalid", job="7")
KILLED = "KilledWorker: gave up"
TRIES = Rules(2, 0.0)
"""Of `max_retries` and `back_off_s`."""


def lost_again(work: ProcessWork, mark: Mark, lost: Lost) -> Verdict:
    """Lost in a new attempt: what several chunks of one attempt tell counts once."""
    work.counted = False
    return after_loss(work, mark, lost, TRIES)


@pytest.fixture
def work(tmp_path: Path) -> ProcessWork:
    (planned, *_) = night(tmp_path).plan.processes
    return ProcessWork(planned, 1.0, 1, Size(64, 100), 16, 2, chunked=True)


def test_the_end_of_a_job_is_not_its_processs_fault_unless_it_comes_ten_times_in_a_row(work: ProcessWork) -> None:
    lost = Lost(KILLED, end=JobEnd("7", "TIMEOUT", "TimeLimit"))
    for number in range(INTERRUPTIONS):
        verdict = lost_again(work, Mark(BLOCK, HERE), lost)
        assert verdict.facts is not None
        assert (verdict.facts.cause, verdict.facts.code) == (Cause.INFRA, "AP-RUN-045")
        assert "TIMEOUT (TimeLimit)" in verdict.facts.message
        assert verdict.again is (number < INTERRUPTIONS - 1)
    assert (work.retries, work.kills, work.alone) == (0, 0, False)
    work.finish(BLOCK)
    assert lost_again(work, Mark(BLOCK, HERE), lost).again


def test_a_job_that_ended_for_its_memory_is_its_process_s_fault(work: ProcessWork) -> None:
    lost = Lost(KILLED, end=JobEnd("7", "OUT_OF_MEMORY"))
    tried = [lost_again(work, Mark(BLOCK, HERE), lost) for _ in range(2)]
    assert [one.again for one in tried] == [True, False]
    assert work.alone
    assert {one.facts.cause for one in tried if one.facts is not None} == {Cause.MEMORY}


def test_a_fatal_signal_is_the_codes_whatever_slurm_says_of_the_job(work: ProcessWork) -> None:
    for mark in (Mark(BLOCK, HERE), Mark(BLOCK, ELSEWHERE)):
        for end in (None, JobEnd("7", "FAILED", "RaisedSignal:11", 11)):
            verdict = lost_again(work, mark, Lost(KILLED, "Fatal Python error: Segmentation fault", end))
            assert verdict.facts is not None
            assert (verdict.facts.cause, verdict.facts.code) == (Cause.CODE, "AP-RUN-017")
    assert work.kills == 4


def test_a_worker_of_another_host_is_dead_when_dask_lost_it_and_only_then(work: ProcessWork) -> None:
    silent = lost_again(work, Mark(BLOCK, ELSEWHERE), Lost("TimeoutError: "))
    assert silent.facts is not None
    assert (silent.facts.code, work.kills) == ("AP-RUN-016", 0)
    killed = lost_again(work, Mark(BLOCK, ELSEWHERE), Lost(KILLED))
    assert killed.facts is not None
    assert (killed.facts.code, work.kills) == ("AP-RUN-017", 1)


def _lease_of(layout: Layout, beat_s: float) -> None:
    """A lease of a driver in job 7 of another host, whose last heartbeat is so old."""
    acquire(layout, "run").release()
    holder = lock.Holder("token", "run", ELSEWHERE, "then", "then")
    lease = Lease(layout.driver_lock, holder)
    lease.release()
    layout.driver_lock.write_bytes(lock._text(holder))
    at = time.time() - beat_s
    os.utime(layout.driver_lock, (at, at))


@pytest.mark.parametrize(
    ("listed", "beat_s", "lives"),
    [
        (True, 3600.0, True),  # its job is there: whatever the file system's clocks say
        (False, 30.0, True),  # another cluster may know nothing of it, and its heart beats
        (False, 120.0, False),
        (None, 120.0, True),  # SLURM does not answer: ten minutes, as without it
        (None, 3600.0, False),
    ],
)
def test_a_driver_in_a_job_of_another_host_lives_as_long_as_slurm_lists_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool | None, beat_s: float, lives: bool
) -> None:
    asked: list[str] = []

    def word(job: str) -> bool | None:
        asked.append(job)
        return listed

    for place in (lock, adoption):
        monkeypatch.setattr(place, "listed", word)
    layout = Layout(tmp_path)
    _lease_of(layout, beat_s)
    assert (holder_of(layout) is not None) is lives
    if lives:
        with pytest.raises(LockedError, match="AP-RUN-001"):
            acquire(layout, "second")
    else:
        acquire(layout, "second").release()
    # What it left is touched only where its job is certainly gone.
    assert adoption._gone(ELSEWHERE) is (listed is False)
    assert set(asked) == {"7"}
