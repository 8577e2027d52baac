"""One tiny real job on a SLURM site: does a node see this archive, run this Python, agree about the time?"""

from __future__ import annotations

import contextlib
import os
import platform
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from archive_proc.execution.doctor.environment import kernels_kept, threads, writable
from archive_proc.execution.doctor.file_system import clock_finding
from archive_proc.execution.doctor.finding import Finding, Verdict, judged
from archive_proc.execution.liveness import host_name
from archive_proc.execution.slurm_queries import answer, submit
from archive_proc.execution.slurm_scripts import driver_script, slurm_of
from archive_proc.execution.slurm_text import QUEUE_FORMAT, parse_queue
from archive_proc.settings import SiteProfile
from archive_proc.storage.answers import free_bytes, size_text
from archive_proc.storage.clock_skew import skew_s
from archive_proc.storage.seal import remove_tree
from archive_proc.version import __version__

PART = "node"
WALLTIME = "00:05:00"
MEMORY_GB = 1.0
LOOK_S = 0.5
QUESTION, ANSWER = "question", "answer.json"
SCRATCH = "ARCHIVE_PROC_SCRATCH"
"""Variable in which the job's shell puts what it makes of the profile's scratch directory."""
LITTLE_BYTES = 1e9


class NodeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says about itself."""

    host: str
    question: str
    """What it read from the archive."""
    python: str
    version: str
    package: str
    """Where this package lies there."""
    skew_s: float
    """How far the file system's clock is ahead of the node's."""
    scratch: str
    """The workers' scratch directory there, as the job's shell names it."""
    scratch_bytes: int
    """Free in it; -1 where it cannot be written."""
    threads: str
    """Empty where all is well, as the next."""
    kernels: str


def answer_from_node(directory: Path) -> None:
    """Written by the job: what the node sees."""
    looks = (threads(os.environ), kernels_kept(os.environ))
    wrong = ["" if one.verdict is Verdict.PASS else one.says for one in looks]
    found = NodeAnswer(
        host=host_name(),
        question=(directory / QUESTION).read_text(),
        python=platform.python_version(),
        version=__version__,
        package=str(Path(__file__).resolve().parents[2]),
        skew_s=skew_s(directory),
        scratch=(scratch := os.environ.get(SCRATCH, "")),
        scratch_bytes=free_bytes(Path(scratch)) if scratch and writable(Path(scratch)) else -1,
        threads=wrong[0],
        kernels=wrong[1],
    )
    beside = directory / f"{ANSWER}.tmp"
    beside.write_bytes(msgspec.json.encode(found))
    beside.replace(directory / ANSWER)


def node(site: SiteProfile, root: Path, patience_s: float) -> Iterator[Finding]:
    """Submit the job, wait for its answer, judge it. The job is cancelled where it takes longer."""
    ground = (root / f".doctor-{uuid.uuid4().hex}").resolve()
    ground.mkdir()
    question = uuid.uuid4().hex
    (ground / QUESTION).write_text(question)
    job = ""
    try:
        script = ground / "job.sh"
        script.write_text(driver_script(_tiny(site), ["doctor", "--on-node", str(ground)], ground / "output"))
        job = submit(script)
        answered, state = _wait(job, ground, patience_s)
        if answered is None:
            said = (ground / "output").read_text(errors="replace") if (ground / "output").is_file() else ""
            yield judged(
                PART,
                "job",
                "AP-DOC-028",
                f"job {job} gave no answer in {patience_s:.0f} s, {state}{': ' + said[-200:].strip() if said else ''}",
                fail=True,
                remedy="look at squeue; --patience where the queue is long; mend slurm.prologue or slurm.python",
            )
        else:
            yield judged(PART, "job", "AP-DOC-028", f"job {job} answered from {answered.host}")
            yield from judge(answered, question)
    finally:
        if job:
            answer(["scancel", "--quiet", job])
        with contextlib.suppress(OSError):
            remove_tree(ground)


def judge(found: NodeAnswer, question: str) -> Iterator[Finding]:
    """Whether a node is like this host, in what matters."""
    same = found.question == question
    yield judged(
        PART,
        "same file system",
        "AP-DOC-029",
        f"{found.host} {'reads and writes the archive' if same else 'read other bytes'}",
        fail=not same,
        remedy="put the archive on a file system that all nodes share",
    )
    here = (platform.python_version(), __version__, str(Path(__file__).resolve().parents[2]))
    there = (found.python, found.version, found.package)
    yield judged(
        PART,
        "same program",
        "AP-DOC-029",
        f"Python {found.python}, archive-proc {found.version} in {found.package}",
        fail=there[:2] != here[:2],
        warn=there[2] != here[2],
        remedy=f"slurm.python and slurm.prologue must give Python {here[0]} and archive-proc {here[1]} of {here[2]}",
    )
    yield clock_finding(found.skew_s, f"the file system's clock, seen from {found.host},", PART)
    yield judged(
        PART,
        "scratch",
        "AP-DOC-029",
        f"{found.scratch or 'none'}, "
        + (f"{size_text(found.scratch_bytes)} free" if found.scratch_bytes >= 0 else "cannot be written"),
        fail=found.scratch_bytes < 0,
        warn=found.scratch_bytes < LITTLE_BYTES,
        remedy="slurm.scratch: a directory on the node that its jobs may write",
    )
    yield judged(
        PART,
        "environment",
        "AP-DOC-029",
        "; ".join(one for one in (found.threads, found.kernels) if one) or "one thread a task, kernels can be kept",
        fail=bool(found.kernels),
        warn=bool(found.threads),
        remedy="set NUMBA_CACHE_DIR, and unset thread variables, in slurm.prologue",
    )


def _tiny(site: SiteProfile) -> SiteProfile:
    """The site with a driver job that is as small as it can be, where workers run."""
    slurm = slurm_of(site)
    tiny = msgspec.structs.replace(
        slurm,
        driver_walltime=WALLTIME,
        driver_memory_gb=MEMORY_GB,
        driver_partition=slurm.partition,
        prologue=(*slurm.prologue, f'export {SCRATCH}="{slurm.scratch}"'),
    )
    return msgspec.structs.replace(site, slurm=tiny)


def _wait(job: str, ground: Path, patience_s: float) -> tuple[NodeAnswer | None, str]:
    """The answer, or what SLURM says of the job."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        # A listing, not a look at one name: file systems remember for a while that a name was not there.
        if ANSWER in {one.name for one in ground.iterdir()}:
            return msgspec.json.decode((ground / ANSWER).read_bytes(), type=NodeAnswer), ""
        time.sleep(LOOK_S)
    got = answer(["squeue", "-h", "-t", "all", "-j", job, "-O", QUEUE_FORMAT])
    state = parse_queue(got[0]).get(job) if got is not None else None
    words: Mapping[str, str] = {} if state is None else {"state": state.state, "reason": state.end.reason}
    return None, " ".join(one for one in words.values() if one) or "unknown to SLURM"
