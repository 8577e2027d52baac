"""Workers and jobs of a real SLURM: set up as the run wants, encrypted, refused by name where they cannot be had."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil
import pytest
from slurm_site import SITE
from toy_night import night, plan_of, process, raw_input

from archive_proc.errors import ArchiveProcError, PreconditionError, TemporaryError
from archive_proc.execution.executor import execute
from archive_proc.execution.meters import Mark
from archive_proc.execution.worker_config import difference, expected
from archive_proc.model.events import JobChanged, RunEnded, WorkerReady
from archive_proc.settings import SiteProfile, parse_site
from archive_proc.storage.journal import iter_journals, read_journal

TOYS = Path(__file__).parents[1] / "execution"


def site(**changed: object) -> SiteProfile:
    made = parse_site(SITE.format(name="toys", more=""), "toys.toml")
    assert made.slurm is not None
    return msgspec.structs.replace(made, slurm=msgspec.structs.replace(made.slurm, **changed))


@pytest.fixture
def toys_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    home = str(TOYS.parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([home, str(TOYS)]))


def test_workers_of_a_clean_environment_are_set_up_encrypted_and_listen_on_loopback(
    slurm: Path, toys_on_path: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Looking takes a second on a busy machine, and a publisher takes a small share of the time only.
    monkeypatch.setattr("archive_proc.execution.publishing.SHARE", 1.0)
    # What sbatch would hand on from a careless shell.
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE", "0.5")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    # Blocks last until both workers were looked at, however fast the machine is.
    free = tmp_path / "free"
    tonight = night(tmp_path / "a night", science=(200,), behave=f"held:{free}")
    seen: dict[str, object] = {}

    def look() -> None:
        """While the run goes on: its keys, its sockets, and a stranger without a key."""
        (run,) = tonight.layout.runs.iterdir()
        if "refused" in seen or len(_at_work(tonight.layout.pending)) < 2:
            return
        workers = [one for one in psutil.process_iter() if _is_ours(one, run)]
        found = re.search(r"tls://127\.0\.0\.1:(\d+)", (run / "worker.sh").read_text())
        assert found is not None
        seen["refused"] = _plain_is_refused(int(found[1]))
        seen["modes"] = {stat.S_IMODE(one.stat().st_mode) for one in (run / "keys").iterdir()}
        seen["directory"] = stat.S_IMODE((run / "keys").stat().st_mode)
        mine = [psutil.Process(), *workers]
        seen["listens"] = {
            one.laddr.ip
            for process in mine
            for one in process.net_connections("inet")
            if one.status == psutil.CONN_LISTEN
        }
        free.touch()

    # The jobs get nothing of this process's environment but where to find Python's modules and SLURM.
    profile = site(tls="always", directives=("--export=PATH,PYTHONPATH,SLURM_CONF",))
    outcome = execute(
        tonight.plan,
        tonight.layout,
        tonight.frames,
        profile,
        tonight.options(chunk_planes=16, publish=look, publish_every_s=0.0),
    )
    assert outcome.exit_status == 0, outcome
    assert seen == {"refused": True, "modes": {0o600}, "directory": 0o700, "listens": {"127.0.0.1"}}
    ready = [one for one in _events(tonight.layout.runs) if isinstance(one, WorkerReady)]
    assert len(ready) == 2
    assert {difference(expected(1_000_000_000), one.config) for one in ready} == {""}
    assert all(one.job for one in ready)
    (run,) = tonight.layout.runs.iterdir()
    assert not (run / "keys").exists()


def _at_work(pending: Path) -> set[int]:
    """Pids of workers that execute a task now."""
    found = set()
    for path in pending.glob("*/marks/*.json"):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            found.add(msgspec.json.decode(path.read_bytes(), type=Mark).writer.pid)
    return found


def _is_ours(process: psutil.Process, run: Path) -> bool:
    with contextlib.suppress(psutil.Error):
        return str(run / "keys") in " ".join(process.cmdline()) or any(
            str(run / "keys") in " ".join(one.cmdline()) for one in process.parents()[:1]
        )
    return False


def _plain_is_refused(port: int) -> bool:
    """A stranger's plain bytes get no answer of the scheduler."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
        stranger.sendall(bytes(8) + b"\x00" * 64)
        with contextlib.suppress(ConnectionResetError):
            answer = stranger.recv(64)
            # TLS says no in a record of its own (21: alert), or hangs up.
            return answer == b"" or answer[0] == 21
        return True


def _events(runs: Path) -> list[object]:
    return [one for _, path in iter_journals(runs) for one in read_journal(path).events]


@pytest.mark.parametrize(
    ("changed", "kind", "code", "says"),
    [
        ({"partition": "closed"}, PreconditionError, "AP-RUN-042", "Required partition not available"),
        ({"job_memory_gb": 900.0}, PreconditionError, "AP-RUN-042", "Memory specification can not be satisfied"),
        ({"interface": "ib9"}, PreconditionError, "AP-RUN-047", "no network interface 'ib9'"),
        (
            {"directives": ("--begin=now+1hour",), "queue_wait_minutes": 0.05},
            TemporaryError,
            "AP-RUN-041",
            "PENDING (BeginTime)",
        ),
        ({"prologue": ("exit 3",), "lost_jobs": 0}, TemporaryError, "AP-RUN-043", "FAILED (NonZeroExitCode)"),
        ({"python": "{wrapper}"}, PreconditionError, "AP-RUN-046", "memory.pause is '0.5', not '0.85'"),
    ],
    ids=["partition", "memory", "interface", "queue", "dying", "setup"],
)
def test_what_cannot_work_is_named_before_work_is_lost(
    slurm: Path,
    toys_on_path: None,
    tmp_path: Path,
    changed: dict[str, object],
    kind: type[ArchiveProcError],
    code: str,
    says: str,
) -> None:
    if "python" in changed:
        # A Python of the nodes that sets Dask up in its own way.
        wrapper = tmp_path / "python"
        wrapper.write_text(f'#!/bin/sh\nDASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=0.5 exec {sys.executable} "$@"\n')
        wrapper.chmod(0o755)
        changed = {"python": str(wrapper)}
    tonight = night(tmp_path)
    with pytest.raises(kind) as refused:
        execute(tonight.plan, tonight.layout, tonight.frames, site(**changed), tonight.options())
    assert refused.value.code == code
    assert says in refused.value.message
    assert refused.value.remedy
    # The run is on record as one that ended, nothing of it is left, and elsewhere it goes on.
    (end,) = [one for one in _events(tonight.layout.runs) if isinstance(one, RunEnded)]
    assert (end.stopped, sum(end.counts.values())) == (code, 3)
    assert not tonight.layout.driver_lock.exists()


def test_what_needs_more_memory_gets_larger_jobs_of_each_size(slurm: Path, toys_on_path: None, tmp_path: Path) -> None:
    tonight = night(tmp_path)
    frames = [raw_input(list(tonight.frames.values())[3])]
    needs = {"small": 0.1, "large": 1.1, "huge": 1.5}
    plan = plan_of(*(process("toy_cube", frames, subject=one) for one in needs))
    rows = [
        replace(one, prediction=replace(one.prediction, memory_gb=needs[one.process.subject.subject_id]))
        for one in plan.processes
    ]
    profile = msgspec.structs.replace(site(), larger_workers_gb=(1.3, 2.0))
    outcome = execute(replace(plan, processes=tuple(rows)), tonight.layout, tonight.frames, profile, tonight.options())
    assert outcome.exit_status == 0, outcome
    happened = _events(tonight.layout.runs)
    limits = {one.job: one.config["memory_limit"] for one in happened if isinstance(one, WorkerReady)}
    assert sorted(round(int(one) / 1e9, 1) for one in limits.values()) == [1.0, 1.3, 2.0]
    # None was taken for one that a killed driver had left, and none is left on record.
    ends = [one for one in happened if isinstance(one, JobChanged) and one.state != "submitted"]
    assert [one for one in ends if "not needed" not in one.reason] == []
    assert list(tonight.layout.runs.glob("**/jobs-*.txt")) == []
