"""What a killed driver leaves in the queue: found by its register, or by what its jobs say of themselves; cancelled."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
from pathlib import Path

from archive_proc.execution.slurm_queries import answer
from archive_proc.execution.slurm_scripts import job_name
from archive_proc.execution.slurm_text import MARK_FORMAT, parse_marked

_REGISTERS = "jobs-*.txt"


def archive_mark(runs: Path) -> str:
    """The comment of an archive's jobs: a driver that dies between sbatch and its register leaves nothing else."""
    return f"archive-proc-{hashlib.sha256(str(runs.resolve()).encode()).hexdigest()[:12]}"


class JobRegister:
    """Numbers of one driver's jobs, on disk, while they may be there.

    Of one driver, not of one run: a driver that was taken for dead ends beside the one that continues its run.
    """

    def __init__(self, directory: Path, driver: str) -> None:
        self._path = directory / _REGISTERS.replace("*", driver)

    def write(self, job: str) -> None:
        """Note a submitted job."""
        with self._path.open("a") as stream:
            stream.write(f"{job}\n")

    def forget(self) -> None:
        """All jobs were cancelled."""
        self._path.unlink(missing_ok=True)


def cancel_left(runs: Path) -> None:
    """Cancel what drivers that were killed left waiting; for a driver that holds the lease and has no jobs.

    Running ones end by themselves: their scheduler is gone. By number and name, because SLURM gives numbers again.
    """
    registers = [*runs.glob(f"*/{_REGISTERS}"), *runs.glob(f"*/*/{_REGISTERS}")]  # normal workers, larger ones
    left = _marked(archive_mark(runs))
    for register in registers:
        with contextlib.suppress(OSError):  # a driver that was taken for dead has just ended
            left |= {one for one in register.read_text().split() if one.isdecimal()}
    waiting = ["--quiet", "--state=PENDING", f"--name={job_name('worker')}"]
    if left and answer(["scancel", *waiting, *sorted(left)]) is None:
        return  # SLURM is away: the next driver tries again
    for register in registers:
        register.unlink(missing_ok=True)


def _marked(mark: str) -> set[str]:
    """Numbers of waiting jobs that bear an archive's mark."""
    try:
        mine = [f"--user={getpass.getuser()}"]
    except (KeyError, OSError):
        mine = []
    asked = ["squeue", "-h", *mine, f"--name={job_name('worker')}", "--states=PENDING", "-O", MARK_FORMAT]
    got = answer(asked)
    return parse_marked(got[0], mark) if got is not None else set()
