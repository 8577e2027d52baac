"""A real SLURM to be disturbed: the throw-away one of cluster/slurm-local, or the one that the environment names."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from archive_proc.errors import PreconditionError

SCRIPTS = Path(__file__).resolve().parents[4] / "cluster" / "slurm-local"
NODES = 3
NAMED = ("SLURM_CONF", "AP_SLURM_DIR", "AP_SLURM_PORT", "AP_SLURM_NODES")
"""Variables that say which cluster is meant."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A SLURM that answers."""

    environment: Mapping[str, str]
    """For every command that talks to it."""
    place: Path | None
    """Where its daemons are recorded; None: somebody else's, whose controller is left alone."""

    def ask(self, *command: str) -> str:
        """What a command of SLURM printed; empty where it failed."""
        given = {**os.environ, **self.environment}
        done = subprocess.run(command, capture_output=True, text=True, env=given, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def tell(self, *command: str) -> str:
        """Give a command of SLURM; what it complains about, empty where it obeyed."""
        given = {**os.environ, **self.environment}
        done = subprocess.run(command, capture_output=True, text=True, env=given, check=False)
        return "" if done.returncode == 0 else (done.stderr.strip() or f"exit {done.returncode}")

    def queue(self) -> set[str]:
        """Numbers of the jobs that wait or run."""
        return set(self.ask("squeue", "-h", "-o", "%i").split())

    def kill_controller(self) -> bool:
        """`kill -9` of slurmctld by its recorded pid; False where it is not ours to kill."""
        if self.place is None:
            return False
        pid = int((self.place / "pids" / "slurmctld").read_text())
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 10
        while self.ask("scontrol", "ping").find("UP") >= 0 and time.monotonic() < until:
            time.sleep(0.2)
        return True

    def mend(self) -> None:
        """Start what is missing. Raises PreconditionError AP-SIM-008 where it does not come up."""
        _start(self.environment)


def _start(environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        [SCRIPTS / "start"], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    if done.returncode:
        raise _lacks(f"SLURM did not start: {done.stderr.strip()[-300:]}")


def _lacks(what: str) -> PreconditionError:
    return PreconditionError(
        "AP-SIM-008",
        what,
        subject="bench faults --site slurm:local",
        remedy="apt-get install slurmctld slurmd slurm-client munge, and run it from a checkout; or name a running "
        "cluster by SLURM_CONF",
    )


@contextlib.contextmanager
def a_slurm() -> Iterator[Cluster]:
    """The cluster that SLURM_CONF names, else one of its own, stopped and removed at the end.

    Raises PreconditionError AP-SIM-008 where there is neither.
    """
    if "SLURM_CONF" in os.environ:
        known = {name: os.environ[name] for name in NAMED if name in os.environ}
        place = known.get("AP_SLURM_DIR")
        yield Cluster(known, Path(place) if place else None)
        return
    if shutil.which("slurmctld") is None or not (SCRIPTS / "start").is_file():
        raise _lacks("no SLURM: slurmctld or cluster/slurm-local/start is missing")
    place = tempfile.mkdtemp(prefix="ap-faults-")
    given = {
        "SLURM_CONF": f"{place}/slurm.conf",
        "AP_SLURM_DIR": place,
        "AP_SLURM_PORT": str(free_ports(NODES + 1)),
        "AP_SLURM_NODES": str(NODES),
    }
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, _terminated)  # daemons outlive whoever started them
        _start(given)
        yield Cluster(given, Path(place))
    finally:
        signal.signal(signal.SIGTERM, before)
        subprocess.run([SCRIPTS / "stop", "--remove"], capture_output=True, env={**os.environ, **given}, check=False)


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def free_ports(number: int) -> int:
    """The first of so many free ports in a row."""
    for first in range(30000 + os.getpid() % 9000, 60000, number):
        try:
            for port in range(first, first + number):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise _lacks("no free ports")
