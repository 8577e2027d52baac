"""What SLURM prints is read, also for ends that no test cluster produces; recorded with SLURM 22.05 and 23.11."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from archive_proc.execution.backends import JobEnd
from archive_proc.execution.failures import job_ended, killed_its_worker
from archive_proc.execution.slurm_queries import JobQuery
from archive_proc.execution.slurm_text import may_heal, parse_accounts, parse_queue, refusal, words
from archive_proc.model.processes import Cause

QUEUE = """\
7|RUNNING|None|0|node3|
8|PENDING|Resources|0||
9|TIMEOUT|TimeLimit|0|node1|
10|NODE_FAIL|NodeDown|1|node2|
11|PREEMPTED|None|15|node2|
12|OUT_OF_MEMORY|OutOfMemory|9|node2|
13|CANCELLED|None|15|node1|
14|FAILED|JobLaunchFailure|9|node2|
15|FAILED|NonZeroExitCode|768|node1|
16|COMPLETED|None|0|node1|
17|COMPLETING|None|0|node1|
18_3|FAILED|RaisedSignal:11(Segmentation_fault)|11|node1|
"""
REFUSED = """\
Command exited with non-zero exit code.
Exit code: 1
Command:
sbatch /tmp/x.sh
stderr:
sbatch: error: invalid partition specified: nope
sbatch: error: Batch job submission failed: Invalid partition name specified
"""


def test_every_state_of_a_queue_is_read() -> None:
    jobs = parse_queue(QUEUE + "slurm_load_jobs error\nJOBID|STATE|REASON|EXIT|NODES|\n")
    assert len(jobs) == 12
    assert [one for one, job in jobs.items() if not job.over] == ["7", "8", "17"]
    assert jobs["8"].reason == "Resources"
    assert (jobs["14"].signal, jobs["15"].signal, jobs["12"].signal) == (9, 0, 9)
    assert words(jobs["14"].end) == "job 14: FAILED (JobLaunchFailure, signal 9)"
    assert words(jobs["16"].end) == "job 16: COMPLETED"


@pytest.mark.parametrize(
    ("job", "cause"),
    [
        ("9", Cause.INFRA),
        ("10", Cause.INFRA),
        ("11", Cause.INFRA),
        ("12", Cause.MEMORY),
        ("13", Cause.INFRA),
        ("16", Cause.INFRA),
        ("14", None),
        ("15", None),
    ],
)
def test_slurms_own_word_gives_the_cause(job: str, cause: Cause | None) -> None:
    end = parse_queue(QUEUE)[job].end
    facts = job_ended(end)
    assert (facts.cause if facts is not None else None) is cause
    if facts is not None:
        assert end.state in facts.message
        assert facts.signature == f"job ended: {end.state}"
    else:  # the mark tells; SLURM's word stands beside it
        assert words(end) in killed_its_worker("", end).message


def test_accounting_is_read() -> None:
    accounts = parse_accounts("12|CANCELLED by 1000|0:15\n13|NODE_FAIL|1:0\n14.batch|FAILED|0:9\n\n")
    assert {one: (job.state, job.signal) for one, job in accounts.items()} == {
        "12": ("CANCELLED", 15),
        "13": ("NODE_FAIL", 0),
    }


def test_a_refusal_is_told_in_sbatchs_own_words_and_by_whether_it_may_heal() -> None:
    assert refusal(REFUSED) == "invalid partition specified: nope; Invalid partition name specified"
    assert not may_heal(REFUSED)
    assert may_heal("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)")
    assert may_heal("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")


POLICY = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size "
    "and/or time limits)"
)


@pytest.mark.parametrize(
    ("limit", "heals"),
    [
        ("QOSMaxSubmitJobPerUserLimit", True),
        ("AssocMaxSubmitJobLimit", True),
        ("AssocGrpSubmitJobsLimit", True),
        ("QOSGrpSubmitJobsLimit", True),
        ("MaxSubmitJobsPerAccount", True),
        ("QOSMaxWallDurationPerJobLimit", False),
        ("AssocMaxCpuPerJobLimit", False),
        ("QOSMaxMemoryPerJob\nsbatch: error: QOSMaxMemoryPerUser", False),
        ("MaxGRESRunMinsPerUser", False),
        ("", True),
    ],
)
def test_too_many_jobs_are_taken_later_and_one_that_asks_for_too_much_never(limit: str, heals: bool) -> None:
    """Limits by the names that SLURM 22.05 to 24.05 prints, a line before the sentence that they share."""
    said = f"sbatch: error: {limit}\n{POLICY}" if limit else POLICY
    assert may_heal(said) is heals
    assert refusal(said).startswith(limit.split("\n")[0] or "Job violates accounting/QOS policy")


def test_slurm_is_asked_seldom_and_ever_more_seldom_while_it_is_silent() -> None:
    asked: list[Sequence[str]] = []
    answers: list[tuple[str, str] | None] = [None, (QUEUE, ""), None]

    def ask(command: Sequence[str]) -> tuple[str, str] | None:
        asked.append(command)
        return answers.pop(0)

    query = JobQuery(30.0, ask)
    assert query.due()
    assert not query.look(["9", "10"])
    assert query.silent
    assert not query.due()
    assert query.look(["9", "10", "99"])  # accounting is asked for the one that is not listed, and knows nothing
    assert not query.due()
    assert {job: one.state for job, one in query.known.items()} == {"9": "TIMEOUT", "10": "NODE_FAIL", "99": "GONE"}
    assert asked[1][asked[1].index("-j") + 1] == "9,10,99"
    assert asked[2][0] == "sacct"
    assert query.known["99"].end == JobEnd("99", "GONE")


def test_a_job_that_slurm_forgets_keeps_its_end() -> None:
    answers: list[tuple[str, str] | None] = [(QUEUE, ""), ("", "slurm_load_jobs error: Invalid job id specified")]
    query = JobQuery(0.0, lambda command: answers.pop(0))
    assert query.look(["9"])
    assert query.look(["9"])
    assert query.known["9"].state == "TIMEOUT"
