"""What has to hold after a round: exactly the spoiled failed, nothing is left behind, what is healed is whole."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from archive_proc.bench.faults.grounds import Grounds, array_digests, seals, tasks_beyond
from archive_proc.bench.faults.on_slurm.cluster import Cluster
from archive_proc.bench.faults.on_slurm.known import Night, lines_without
from archive_proc.bench.faults.on_slurm.spoiling import Done, Spoiled
from archive_proc.bench.faults.on_slurm.strikes import ENDS, FREEZE
from archive_proc.model.events import JobChanged, ProcessChanged, ProcessFailed
from archive_proc.model.processes import State
from archive_proc.storage.journal import iter_journals, read_journal
from archive_proc.storage.layout import Layout

SITE = "faults-serial"
WALLTIME = "walltime ends"
LEAVE_S = 120.0
"""Workers of a killed driver find out by themselves."""


def last_failures(root: Path) -> dict[str, ProcessFailed]:
    """Process -> its final failure, of those that nothing mended."""
    found: dict[str, ProcessFailed] = {}
    for _, path in iter_journals(Layout(root).runs):
        for event in read_journal(path).events:
            if isinstance(event, ProcessFailed) and event.final:
                found[event.process_id] = event
            elif isinstance(event, ProcessChanged) and event.state is State.DONE:
                found.pop(event.process_id, None)
    return found


def exactly_these_failed(root: Path, night: Night, spoiled: Mapping[str, Done]) -> list[str]:
    """What else failed, and what else is missing; of the spoiled each fault is told what came of it."""
    failed = last_failures(root)
    for process_id, fault in spoiled.items():
        one, wanted = failed.get(process_id), fault.expected
        assert wanted is not None
        if one is None:
            fault.found = "did not fail"
            fault.wrong.append("it was spoiled, and did not fail")
            continue
        fault.found = f"{one.cause} {one.code}"
        if one.cause is not wanted.cause or one.code not in wanted.codes:
            fault.wrong.append(f"{one.cause} {one.code} in place of {wanted.cause} {wanted.codes[0]}: {one.message}")
    wrong = [
        f"{one.recipe} {process_id[:12]} failed, and nothing was wrong with it: {one.cause} {one.code} {one.message}"
        for process_id, one in failed.items()
        if process_id not in spoiled
    ]
    standing = set(night.processes) - set(spoiled) - night.below(spoiled)
    missing = sorted(standing - set(seals(root)))
    if missing:
        wrong.append(f"{len(missing)} of {len(standing)} processes are not made: {missing[0]}")
    return wrong


def same_digests(grounds: Grounds, root: Path) -> list[str]:
    """Arrays of what was made, against those of the undisturbed run."""
    found = array_digests(root)
    differing = sorted(name for name, digest in found.items() if grounds.digests.get(name) != digest)
    return [f"{len(differing)} arrays differ from the serial run: {differing[0]}"] if differing else []


def no_job_left(cluster: Cluster, before: Iterable[str]) -> list[str]:
    """Jobs that are still queued once everybody had time to notice; they are cancelled."""
    until = time.monotonic() + LEAVE_S
    while (left := cluster.queue() - set(before)) and time.monotonic() < until:
        time.sleep(0.3)
    if left:
        cluster.tell("scancel", *sorted(left))
    return [f"jobs left behind: {' '.join(sorted(left))}"] if left else []


def tasks_beyond_need(grounds: Grounds, root: Path, night: Night, spoiled: Iterable[str]) -> int:
    """Tasks executed more often than once, those of spoiled processes left out."""
    return tasks_beyond(lines_without(grounds.tallied(root), [night.processes[one] for one in spoiled]))


def after_the_run(grounds: Grounds, root: Path, spoiled: Spoiled) -> list[str]:
    """Judge what stands; then heal what was spoiled, give the command again, and judge the whole."""
    wrong = same_digests(grounds, root)
    before = seals(root)
    if spoiled.faults:
        spoiled.heal()
        healed = grounds.call(root, "--quiet", "run", "--retry", "--site", SITE)
        if healed.status:
            wrong.append(f"healed, run --retry: {healed.said}: {healed.err.strip()[-300:]}")
    return wrong + grounds.wrong(root, before)


def ends_of_jobs(root: Path) -> dict[str, str]:
    """Job -> how SLURM calls its end, of those that nobody cancelled."""
    return {
        event.job: event.state
        for _, path in iter_journals(Layout(root).runs)
        for event in read_journal(path).events
        if isinstance(event, JobChanged) and event.state not in ("submitted", "CANCELLED")
    }


def ended_as_slurm_says(ends: Mapping[str, str], faults: Iterable[Done]) -> None:
    """SLURM's word for the end of a job that it ended by itself has to be on record."""
    for one in faults:
        if one.kind in ENDS:
            one.found = ends.get(one.what.split()[1], "nothing")
            if one.found != ENDS[one.kind]:
                one.wrong.append(f"{one.found} on record in place of {ENDS[one.kind]}")


def came_to_their_time(ends: Mapping[str, str], faults: Iterable[Done]) -> list[Done]:
    """Ends by walltime that are faults of their own: workers heed SLURM's warning, so their jobs end in good order.

    One that was frozen on purpose waits for its time; that has to be on record.
    """
    frozen = set()
    for one in faults:
        if one.kind == FREEZE:
            job = one.what.split()[1]
            frozen.add(job)
            one.found = ends.get(job, "nothing on record")
            if job not in ends:
                one.wrong.append("the end of its job is not on record")
    return [
        Done(WALLTIME, f"job {job}", found=state)
        for job, state in ends.items()
        if state in ("COMPLETED", "TIMEOUT") and job not in frozen
    ]
