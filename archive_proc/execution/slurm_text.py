"""What SLURM's commands print, as values; pure, so that states which no test cluster produces are read all the same."""

from __future__ import annotations

import re
from dataclasses import dataclass

from archive_proc.execution.backends import JobEnd

QUEUE_FORMAT = "JobID:|,State:|,Reason:|,exit_code:|,NodeList:|,RestartCnt:|"
"""Of `squeue -O`: one line a job, fields of any length. Its exit code is a wait status, the signal in the low bits."""
ACCOUNT_FORMAT = "JobIDRaw,State,ExitCode"
"""Of `sacct -P`: its exit code is `status:signal`."""
MARK_FORMAT = "JobID:|,Comment:|"
"""Of `squeue -O`: whose a job is."""

WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
RUNNING = frozenset({"RUNNING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"})
ENDING = "COMPLETING"
"""Its processes are being ended; how it ended is not known yet."""
GONE = "GONE"
"""SLURM has forgotten the job: it ended some time ago."""
OUTSIDE = frozenset(
    {"TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "CANCELLED", "DEADLINE", "REVOKED", "COMPLETED", GONE}
)
"""Ends that no task of the job is to blame for."""
_SIGNAL_BITS = 0x7F
_TEMPORARY = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "temporarily unable to accept job",
    "Resource temporarily unavailable",
    "Connection refused",
    "Transport endpoint",
    "Message receive failure",
)
_POLICY = "Job violates accounting/QOS policy"
"""One sentence for too many jobs and for one that asks for too much; what SLURM says before it tells them apart."""
_LIMIT = re.compile(r"\b(?:Assoc|QOS|Max)\w*(?:Limit|PerUser|PerAccount|PerAcct|PerJob|PerNode)\b")
_OF_JOBS = "Submit"
_LATER = re.compile(r"Transient|timed out|try again", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as SLURM lists it."""

    job: str
    state: str
    """SLURM's long word."""
    reason: str = ""
    """Why it waits, or why it ended; empty for None."""
    signal: int = 0
    nodes: str = ""
    restarts: int = 0
    """Times it was put back into the queue."""

    @property
    def over(self) -> bool:
        """Whether it has ended and SLURM says how."""
        return self.state not in WAITING and self.state not in RUNNING and self.state != ENDING

    @property
    def end(self) -> JobEnd:
        """The end of a job that is over."""
        return JobEnd(self.job, self.state, self.reason, self.signal)


def parse_queue(text: str) -> dict[str, JobState]:
    """Jobs by number, from `squeue -h -t all -O QUEUE_FORMAT`. Lines that are none are left out.

    >>> parse_queue("5|FAILED|JobLaunchFailure|9|node2|0|")["5"].signal
    9
    >>> parse_queue("7|PENDING|job requeued in held state|0||1|")["7"].restarts
    1
    """
    found: dict[str, JobState] = {}
    for line in text.splitlines():
        fields = [one.strip() for one in line.split("|")]
        if len(fields) < 5 or not fields[0].split("_")[0].isdecimal():
            continue
        job, state, reason, code, nodes = fields[:5]
        signal = int(code) & _SIGNAL_BITS if code.isdecimal() else 0
        restarts = int(fields[5]) if len(fields) > 5 and fields[5].isdecimal() else 0
        found[job] = JobState(job, state.split()[0] if state else "", _said(reason), signal, nodes, restarts)
    return found


def parse_accounts(text: str) -> dict[str, JobState]:
    """Jobs by number, from `sacct -n -P -X -o ACCOUNT_FORMAT`.

    >>> parse_accounts("12|CANCELLED by 1000|0:15")["12"].state
    'CANCELLED'
    """
    found: dict[str, JobState] = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) < 3 or not fields[0].isdecimal() or not fields[1]:
            continue
        word, _, by = fields[1].partition(" ")
        signal = fields[2].rpartition(":")[2]
        found[fields[0]] = JobState(fields[0], word.rstrip("+"), by, int(signal) if signal.isdecimal() else 0)
    return found


def parse_marked(text: str, mark: str) -> set[str]:
    r"""Numbers of the jobs with this comment, from `squeue -h -O MARK_FORMAT`.

    >>> parse_marked("6|archive-proc-5f3c|\n7|somebody's|", "archive-proc-5f3c")
    {'6'}
    """
    found = [[one.strip() for one in line.split("|")] for line in text.splitlines()]
    return {one[0] for one in found if len(one) > 1 and one[0].isdecimal() and one[1] == mark}


def _said(reason: str) -> str:
    return "" if reason in ("None", "(null)", "N/A") else reason


def refusal(text: str) -> str:
    """What sbatch said when it refused, in its own words without the prefix; the last line says why."""
    lines = [re.sub(r"^sbatch: (error: |fatal: )?", "", one.strip()) for one in text.splitlines() if "sbatch:" in one]
    said = [re.sub(r"^Batch job submission failed: ", "", one) for one in lines if one]
    return "; ".join(dict.fromkeys(said)) or (text.strip().splitlines() or ["no message"])[-1]


def may_heal(text: str) -> bool:
    """Whether a refusal of SLURM is one of the moment: controller away, too many jobs.

    One for the job's own size or time is not; where no limit is named (SLURM before 21), it may be either.

    >>> may_heal(f"QOSMaxWallDurationPerJobLimit; {_POLICY}"), may_heal(f"AssocMaxSubmitJobLimit; {_POLICY}")
    (False, True)
    """
    if _POLICY in text:
        named = _LIMIT.findall(text)
        return not named or any(_OF_JOBS in one for one in named)
    return any(one in text for one in _TEMPORARY) or _LATER.search(text) is not None


def words(end: JobEnd) -> str:
    """How a job ended, for people: `job 6: FAILED (JobLaunchFailure, signal 9)`."""
    details = [one for one in (end.reason, f"signal {end.signal}" if end.signal else "") if one]
    return f"job {end.job}: {end.state}" + (f" ({', '.join(details)})" if details else "")
