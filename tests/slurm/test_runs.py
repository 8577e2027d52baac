"""Runs on a real SLURM: whatever dies, the same command ends with the products of an undisturbed serial run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from slurm_site import queue, write_site

from archive_proc.bench.faults.children import Child
from archive_proc.bench.faults.grounds import Grounds, seals
from archive_proc.bench.faults.on_slurm.cluster import Cluster
from archive_proc.bench.faults.on_slurm.strikes import ENDS, STRIKES, Scene
from archive_proc.execution.meters import Mark
from archive_proc.execution.slurm_left import archive_mark
from archive_proc.execution.slurm_queries import listed
from archive_proc.execution.slurm_scripts import job_name
from archive_proc.model.events import Event, JobChanged, ProcessFailed, RunEnded, RunStarted, WorkerReady
from archive_proc.storage.journal import iter_journals, read_journal
from archive_proc.storage.layout import Layout

PATIENCE_S = 120.0
WINDOW = 2 * 3
"""Tasks in flight: workers times window."""


def events(root: Path) -> list[Event]:
    return [one for _, path in iter_journals(Layout(root).runs) for one in read_journal(path).events]


def wait_for(condition: Callable[[], bool], child: Child | None = None) -> bool:
    """Until it holds; False when the process ended first."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if condition():
            return True
        if child is not None and child.poll() is not None:
            return False
        time.sleep(0.05)
    raise TimeoutError


def marked(root: Path) -> list[Mark]:
    """Tasks that execute now."""
    found = []
    for path in Layout(root).pending.glob("*/marks/*.json"):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Mark))
        except (OSError, msgspec.MsgspecError):
            continue
    return found


def held(file: Path) -> dict[str, str]:
    """A run whose blocks do not end before this file stands: what is to be seen of it can be, however fast it is."""
    return {"ARCHIVE_PROC_PAUSE_S": str(PATIENCE_S), "ARCHIVE_PROC_PAUSE_UNTIL": str(file)}


def amid_a_block(root: Path) -> set[str]:
    """Jobs of workers that are held: what else a worker does is over at once."""
    return {one.writer.job for one in marked(root) if one.writer.job and one.task.kind in ("block", "all")}


def replaced(root: Path) -> set[str]:
    """Jobs in whose place others were submitted."""
    return {one.replaces for one in events(root) if isinstance(one, JobChanged) and one.replaces}


def test_jobs_that_are_cancelled_or_requeued_are_replaced_and_cost_only_what_was_in_flight(
    grounds: Grounds, tmp_path: Path
) -> None:
    root, free, begin = grounds.copy(), tmp_path / "free", tmp_path / "begin"
    write_site(root, "late", more=f'prologue = ["until [ -e {begin} ]; do sleep 0.1; done"]')
    child = grounds.start(root, "run", "--site", "slurm:late", environment=held(free))
    # One is put back before it has a worker, and held there, as SLURM does where a node cannot start it.
    assert wait_for(lambda: [listed_as(one) for one in queue()] == 2 * ["RUNNING"], child)
    never, _ = queue()
    subprocess.run(["scontrol", "update", f"JobId={never}", "Requeue=1"], check=True)
    subprocess.run(["scontrol", "requeuehold", never], check=True)
    assert wait_for(lambda: replaced(root) == {never}, child)
    begin.touch()
    assert wait_for(lambda: len(amid_a_block(root)) == 2, child)
    first, second = sorted(amid_a_block(root))
    assert listed(first) is True
    assert listed("99999999") is False
    subprocess.run(["scancel", first], check=True)
    # Ours forbid it; an administrator may all the same, and a twin would come back.
    subprocess.run(["scontrol", "update", f"JobId={second}", "Requeue=1"], check=True)
    subprocess.run(["scontrol", "requeue", second], check=True)
    assert wait_for(lambda: second not in queue(), child), "its twin is taken out of the queue"
    assert wait_for(lambda: replaced(root) == {never, first, second}, child)
    free.touch()
    ended = child.finish()
    assert ended.status == 0, ended.err
    assert grounds.wrong(root, {}) == []
    assert grounds.beyond(root) <= 2 * WINDOW
    happened = events(root)
    changed = [one for one in happened if isinstance(one, JobChanged)]
    gone = {one.job: one.reason for one in changed if one.state == "CANCELLED" and "not needed" not in one.reason}
    assert gone.keys() == {never, first, second}
    assert gone[never] == gone[second] == "it was requeued, and another took its place"
    assert replaced(root) == {never, first, second}
    for job in (first, second):
        assert f"job {job} ended and was replaced" in ended.err
    # The task that was executing there says why it had to be done again; it was no fault of its process.
    tried = [one for one in happened if isinstance(one, ProcessFailed)]
    assert tried
    told = [(one.final, one.code, one.message) for one in tried]
    assert [one for one in told if one[:2] != (False, "AP-RUN-045") or "CANCELLED" not in one[2]] == []
    assert {one.job for one in happened if isinstance(one, WorkerReady)} <= {one.job for one in changed}


def test_jobs_that_slurm_ends_are_told_by_its_own_word_and_replaced(
    slurm: Path, grounds: Grounds, tmp_path: Path
) -> None:
    """Lost with their node, preempted by another partition, killed at the end of their time, deaf to every warning."""
    root, free = grounds.copy(), tmp_path / "free"
    write_site(root, "alone", more='directives = ["--exclusive"]')  # each on a node of its own
    child = grounds.start(root, "run", "--site", "slurm:alone", environment=held(free))
    scene = Scene(Cluster({}, slurm), root, child, random.Random(3), frozenset(), 0.0)
    ended: dict[str, str] = {}
    for kind, word in ENDS.items():
        assert wait_for(lambda: len(amid_a_block(root) - ended.keys()) == 2, child)
        struck = STRIKES[kind](scene)
        assert struck
        ended[struck.split()[1]] = word
    assert wait_for(lambda: replaced(root) >= ended.keys(), child)
    free.touch()
    last = child.finish()
    assert last.status == 0, last.err
    assert grounds.wrong(root, {}) == []
    assert grounds.beyond(root) <= len(ended) * WINDOW
    happened = events(root)
    told = {one.job: one.state for one in happened if isinstance(one, JobChanged) and one.job in ended}
    assert told == ended
    # What was at work there was tried again for that, and is not to blame.
    tried = [one.message for one in happened if isinstance(one, ProcessFailed)]
    for job, word in ended.items():
        assert any(f"job {job}: {word}" in one for one in tried), tried


def test_a_killed_driver_is_continued_and_its_jobs_end_by_themselves(grounds: Grounds) -> None:
    root = grounds.copy()
    child = grounds.start(root, "run", "--site", "jobs")
    assert wait_for(lambda: len(seals(root)) >= 1 and bool(marked(root)), child)
    os.kill(child.pid, signal.SIGKILL)
    child.finish()
    before = seals(root)
    assert wait_for(lambda: not queue())
    ended = grounds.run(root, "jobs")
    assert ended.status == 0, ended.err
    assert grounds.wrong(root, before) == []
    assert grounds.beyond(root) <= WINDOW


def test_a_detached_driver_keeps_others_out_stops_gracefully_and_is_continued(grounds: Grounds, tmp_path: Path) -> None:
    root, free = grounds.copy(), tmp_path / "free"
    written = grounds.call(root, "run", "--site", "slurm:jobs", "--no-submit")
    assert written.status == 0, written.err
    assert "nothing was submitted" in written.out
    assert queue() == []
    assert len(list(root.glob("jobs/*/*.sh"))) == 2
    (script,) = root.glob("jobs/*/driver.sh")
    assert f"--archive {root}" in script.read_text()
    assert script.read_text().rstrip().endswith("run --site slurm:jobs")
    detached = grounds.call(root, "run", "--site", "slurm:jobs", "--detach", environment=held(free))
    assert detached.status == 0, detached.err
    job = detached.out.split()[1]
    assert wait_for(lambda: bool(marked(root)))
    for more in ([], ["--detach"]):
        second = grounds.call(root, "run", "--site", "jobs", *more)
        assert second.status == 6, second.err
        assert "AP-RUN-001" in second.err
    subprocess.run(["scancel", "--batch", "--signal=TERM", job], check=True)
    # Its grace is over: tasks end once their block does, and begin no other.
    assert wait_for(lambda: any(root.glob("runs/*/stop")))
    free.touch()
    assert wait_for(lambda: any(isinstance(one, RunEnded) for one in events(root)))
    (end,) = [one for one in events(root) if isinstance(one, RunEnded)]
    assert end.stopped == "SIGTERM"
    assert wait_for(lambda: not queue())
    before = seals(root)
    last = grounds.call(root, "resume")
    assert last.status == 0, last.err
    assert grounds.wrong(root, before) == []
    begun = [one for one in events(root) if isinstance(one, RunStarted)]
    assert [(one.site, one.backend) for one in begun] == 2 * [("jobs", "slurm")], "where the run did, the same run"


def test_workers_retire_before_the_walltime_and_are_replaced(grounds: Grounds, tmp_path: Path) -> None:
    root = grounds.copy()
    # The first two jobs say that they began in 1970: their workers are old enough whenever they come. Those that take
    # their place are not for minutes: the run ends, however slow the machine. SLURM's warning is far off for all.
    first = f'mkdir "{tmp_path}/1" || mkdir "{tmp_path}/2"'
    clock = f'date() {{ if {first}; then echo 0; else command date "$@"; fi; }}'
    write_site(root, "old", more=f"prologue = ['{clock}']")
    # Blocks last so long until a job was replaced: however fast the machine, the run outlives its first workers.
    seen = tmp_path / "seen"
    slow = {"ARCHIVE_PROC_PAUSE_S": "4", "ARCHIVE_PROC_PAUSE_UNTIL": str(seen)}
    child = grounds.start(root, "run", "--site", "old", environment=slow)
    assert wait_for(lambda: bool(replaced(root)), child)
    seen.touch()
    ended = child.finish()
    assert ended.status == 0, ended.err
    assert grounds.wrong(root, {}) == []
    changed = [one for one in events(root) if isinstance(one, JobChanged)]
    assert any(one.state == "COMPLETED" for one in changed)
    # Between two tasks: nothing was lost with a worker, and nothing was done twice at once.
    assert [one.message for one in events(root) if isinstance(one, ProcessFailed)] == []


def test_a_driver_whose_workers_never_came_stops_and_the_next_one_cancels_what_killed_ones_left(
    grounds: Grounds, tmp_path: Path
) -> None:
    root = grounds.copy()
    write_site(root, "later", more='directives = ["--begin=now+1hour"]')
    # The first dies before sbatch has told it a number: nothing on disk knows its jobs.
    sbatch = script(tmp_path, "sbatch", f'{shutil.which("sbatch")} "$@" >/dev/null\nkill -KILL $PPID\n')
    assert grounds.start(root, "run", "--site", "later", environment=sbatch).finish().status == -signal.SIGKILL
    assert wait_for(lambda: bool(queue()))
    unknown = set(queue())
    assert list(root.glob("runs/*/jobs-*.txt")) == []
    killed = grounds.start(root, "run", "--site", "later")
    assert wait_for(lambda: len(queue()) == 2 and not unknown & set(queue()), killed)
    assert wait_for(lambda: any(root.glob("runs/*/jobs-*.txt")), killed)
    left = set(queue())
    os.kill(killed.pid, signal.SIGKILL)
    killed.finish()
    child = grounds.start(root, "run", "--site", "later")
    # Its own jobs wait, those of the killed one are gone.
    assert wait_for(lambda: len(queue()) == 2 and not left & set(queue()), child)
    # The sbatch of a killed one had waited for a controller that was away, and is heard only now.
    late = (f"--comment={archive_mark(Layout(root).runs)}", f"--job-name={job_name('worker')}", "--wrap=true")
    subprocess.run(["sbatch", "--begin=now+1hour", "--output=/dev/null", *late], check=True)
    os.kill(child.pid, signal.SIGTERM)
    ended = child.finish()
    assert ended.status == 143, ended.err
    assert wait_for(lambda: not queue())
    (end,) = [one for one in events(root) if isinstance(one, RunEnded)]
    assert end.counts == {"cancelled": sum(end.counts.values())}


def script(place: Path, name: str, text: str) -> dict[str, str]:
    """The environment in which a command is this script."""
    path = place / name
    path.write_text(f"#!/usr/bin/env bash\n{text}")
    path.chmod(0o755)
    return {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}


def test_a_detached_driver_that_waits_in_the_queue_is_told_of_and_can_be_taken_back(grounds: Grounds) -> None:
    root = grounds.copy()
    whole = ["--exclusive", "-N", "3", "-t", "15", "-o", "/dev/null", "--wrap", "sleep 900"]
    submitted = subprocess.run(["sbatch", "--parsable", *whole], capture_output=True, text=True, check=True)
    blocker = submitted.stdout.strip()
    assert wait_for(lambda: listed_as(blocker) == "RUNNING")
    try:
        job = grounds.call(root, "run", "--site", "slurm:jobs", "--detach").out.split()[1]
        told = grounds.call(root, "status")
        assert f"job {job} is a detached driver without a run yet: PENDING" in told.err
        assert told.status == 0
        watching = grounds.start(root, "status", "--watch", "--every", "0.2")
        assert f"job {job}, a detached driver without a run yet, was cancelled" in grounds.call(root, "cancel").out
        assert "no such run" in watching.finish().err
        assert wait_for(lambda: queue() == [blocker])
        assert "no such run" in grounds.call(root, "cancel").err
        assert not list(Layout(root).jobs.glob("*/driver.job"))
    finally:
        subprocess.run(["scancel", blocker], check=False)


def listed_as(job: str) -> str:
    asked = ["squeue", "-h", "-j", job, "-O", "State"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def test_a_site_that_takes_fewer_jobs_than_the_run_wants_does_the_run(grounds: Grounds, tmp_path: Path) -> None:
    root = grounds.copy()
    # What a limit of submitted jobs says (recorded), which needs a database to be set up: after the first job.
    one_job = f"""\
mkdir "{tmp_path}/taken" 2>/dev/null && exec {shutil.which("sbatch")} "$@"
echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2
echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size \
and/or time limits)" >&2
exit 1
"""
    ended = grounds.start(root, "run", "--site", "slurm:jobs", environment=script(tmp_path, "sbatch", one_job)).finish()
    assert ended.status == 0, ended.err
    assert grounds.wrong(root, {}) == []
    submitted = [one for one in events(root) if isinstance(one, JobChanged) and one.state == "submitted"]
    assert len(submitted) == 1
