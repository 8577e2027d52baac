"""Asking SLURM about jobs: one squeue for all of them, seldom, with back-off; no answer is an answer, too."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from archive_proc.errors import PreconditionError, TemporaryError
from archive_proc.execution.slurm_text import (
    ACCOUNT_FORMAT,
    GONE,
    QUEUE_FORMAT,
    JobState,
    may_heal,
    parse_accounts,
    parse_queue,
    refusal,
)

ANSWER_S = 30.0
"""A command that takes longer has no answer."""
SLOWEST_S = 600.0
"""The back-off ends here."""
_INVALID = "Invalid job id"


def answer(command: Sequence[str]) -> tuple[str, str] | None:
    """(stdout, stderr) of a SLURM command; None where it failed, is not there, or did not end."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and _INVALID not in done.stderr:
        return None
    return done.stdout, done.stderr


def submit(script: Path) -> str:
    """Submit a script; the job's number.

    Raises PreconditionError AP-RUN-042 with SLURM's words where it refuses, TemporaryError AP-RUN-044 where the
    controller is away, or has too many jobs of ours.
    """
    done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout.strip().partition(";")[0]
    said = refusal(done.stderr)
    if may_heal(done.stderr):
        raise TemporaryError(
            "AP-RUN-044", f"SLURM takes no job now: {said}", subject="SLURM", remedy="give the same command again"
        )
    raise PreconditionError(
        "AP-RUN-042",
        f"SLURM refuses the job: {said}",
        subject=script.name,
        remedy="mend partition, account, walltime or memory of the site's profile",
    )


class JobQuery:
    """States of jobs, asked for at most every `every_s` seconds; after a failure ever more seldom."""

    def __init__(self, every_s: float, ask: Callable[[Sequence[str]], tuple[str, str] | None] = answer) -> None:
        self._every_s = every_s
        self._ask = ask
        self._next = 0.0
        self._failures = 0
        self.known: dict[str, JobState] = {}
        """The last word on every job that was ever asked for."""
        self.answered = 0
        """Answers so far."""
        self.asked_at = 0.0
        """Monotonic time of the last one."""

    @property
    def silent(self) -> bool:
        """Whether SLURM did not answer the last time."""
        return self._failures > 0

    def due(self) -> bool:
        """Whether it may be asked now."""
        return time.monotonic() >= self._next

    def look(self, jobs: Iterable[str]) -> bool:
        """Ask about jobs; whether there was an answer. What is listed no more counts as GONE, unless it had ended."""
        wanted = sorted(set(jobs), key=lambda one: (len(one), one))
        if not wanted:
            return True
        begun = time.monotonic()
        got = self._ask(["squeue", "-h", "-t", "all", "-j", ",".join(wanted), "-O", QUEUE_FORMAT])
        if got is None:
            self._failures += 1
            self._next = time.monotonic() + min(SLOWEST_S, max(1.0, self._every_s) * 2**self._failures)
            return False
        self._failures = 0
        self._next = begun + self._every_s
        listed = parse_queue(got[0])
        missing = [one for one in wanted if one not in listed and not self._over(one)]
        if missing:
            # Accounting knows longer than the controller; where there is none, the job has ended and that is all.
            accounts = self._ask(["sacct", "-n", "-P", "-X", "-j", ",".join(missing), "-o", ACCOUNT_FORMAT])
            listed |= parse_accounts(accounts[0]) if accounts is not None else {}
        for job in wanted:
            if job in listed:
                self.known[job] = listed[job]
            elif not self._over(job):
                self.known[job] = JobState(job, GONE)
        self.answered += 1
        self.asked_at = begun
        return True

    def _over(self, job: str) -> bool:
        return job in self.known and self.known[job].over


_LISTED_S = 30.0
_LISTED: dict[str, tuple[float, bool | None]] = {}
"""What `listed` was told, and when: adoption asks for the same few jobs again and again."""


def listed(job: str) -> bool | None:
    """Whether SLURM lists a job as waiting or running; None where it does not answer."""
    now = time.monotonic()
    if job not in _LISTED or now - _LISTED[job][0] > _LISTED_S:
        got = answer(["squeue", "-h", "-t", "all", "-j", job, "-O", QUEUE_FORMAT])
        state = parse_queue(got[0]).get(job) if got is not None else None
        _LISTED[job] = (now, None if got is None else state is not None and not state.over)
    return _LISTED[job][1]
