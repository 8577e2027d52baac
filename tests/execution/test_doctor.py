"""`doctor` tries things for real: it passes here, and says what to do where something is broken."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from archive_proc.archive import Archive
from archive_proc.cli.main import program
from archive_proc.execution.doctor import environment, file_system, node, slurm
from archive_proc.execution.doctor.finding import Finding, Verdict
from archive_proc.execution.interpreters import same_paths
from archive_proc.execution.open_files import NO_LIMIT
from archive_proc.settings import SiteProfile, SlurmProfile
from archive_proc.storage.quotas import Allowance


def by_name(found: list[Finding] | Iterator[Finding]) -> dict[str, Finding]:
    return {one.name: one for one in found}


def failing(one: Finding, code: str, says: str) -> None:
    assert (one.verdict, one.code) == (Verdict.FAIL, code)
    assert says in one.says
    assert one.remedy


def test_this_host_passes_and_nothing_is_left_behind(tmp_path: Path) -> None:
    archive = Archive.init(tmp_path / "A")
    answer = CliRunner().invoke(program, ["--archive", str(archive.root), "doctor", "--json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.output)
    assert told["counts"]["fail"] == 0
    items = {one["name"]: one for one in told["items"]}
    assert {one["part"] for one in told["items"]} == {"environment", "file system", "archive"}
    for name in ("renames", "locks", "links", "sync", "latency", "clocks", "held by"):
        assert items[name]["verdict"] == "pass", items[name]
    assert [one.name for one in archive.root.iterdir() if one.name.startswith(".")] == []


def test_what_is_wrong_with_an_archive_is_in_the_table_and_the_exit_status(tmp_path: Path) -> None:
    archive = Archive.init(tmp_path / "A")
    with archive.layout.archive_toml.open("a") as stream:
        stream.write('night = "/nowhere/raw"\n')
    answer = CliRunner().invoke(program, ["--archive", str(archive.root), "doctor"])
    assert answer.exit_code == 5
    assert "fail  raw root night" in answer.output
    assert "AP-RUN-031 -> mount it" in " ".join(answer.output.split())


def test_outside_of_an_archive_the_current_directory_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ARCHIVE_PROC_HOME", raising=False)
    answer = CliRunner().invoke(program, ["doctor"])
    assert answer.exit_code == 0, answer.output
    assert "pass  renames" in answer.output
    assert "held by" not in answer.output


def test_a_directory_that_cannot_be_written_is_the_one_finding(tmp_path: Path) -> None:
    (one,) = file_system.file_system(tmp_path / "nowhere")
    failing(one, "AP-DOC-010", "No such file")


def test_file_systems_that_keep_no_promise_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replacing(self: Path, target: Path) -> Path:
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(self, target)
        return target

    def shared(name: Path, mine: str) -> None:
        name.write_text(mine)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", replacing)
        failing(*file_system.renames(tmp_path), "AP-DOC-011", "replaced a full directory")  # type: ignore[call-arg]
    monkeypatch.setattr(file_system, "_exclusive", shared)
    failing(*file_system.locks(tmp_path), "AP-DOC-012", "O_EXCL: 100 winners of 25 names")  # type: ignore[call-arg]


@pytest.mark.parametrize(("ahead", "verdict"), [(0.5, "pass"), (-20.0, "warn"), (3600.0, "fail"), (-3600.0, "fail")])
def test_clocks_are_judged_by_how_far_they_are_apart(ahead: float, verdict: str) -> None:
    assert file_system.clock_finding(ahead, "it").verdict == verdict


def test_quotas_that_are_nearly_full_warn_and_full_ones_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = (
        Allowance("user pd", 95, 100, 5, None),
        Allowance("group sphere", 5, None, 100, 100),
        Allowance("group x", 1, 2, 1, 2),
    )
    monkeypatch.setattr(file_system, "allowances", lambda root: told)
    found = by_name(file_system.room(tmp_path))
    verdicts = [found[f"quota of {one.whose}"].verdict for one in told]
    assert verdicts == [Verdict.WARN, Verdict.FAIL, Verdict.PASS]
    assert found["quota of group sphere"].says == "0.00 MB of no limit, 100 files of 100"


def test_an_environment_that_would_spoil_a_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    many = environment.threads({"OMP_NUM_THREADS": "8", "MKL_NUM_THREADS": "1"})
    assert (many.verdict, many.says) == (Verdict.WARN, "OMP_NUM_THREADS=8")
    failing(environment.kernels_kept({"NUMBA_CACHE_DIR": "/proc/none"}), "AP-DOC-003", "/proc/none")
    declared = ["numpy>=99", "nothing-of-that-name", "cryptography; extra == 'slurm'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: declared)
    wrong = environment.packages(SiteProfile(name="x", backend="local"))
    failing(wrong, "AP-DOC-001", "needs >=99; nothing-of-that-name is missing")
    greedy = SiteProfile(name="x", backend="local", workers=10**6)
    assert environment.cores(greedy).verdict == environment.memory(greedy).verdict == Verdict.WARN
    monkeypatch.setattr(environment, "files_allowed", lambda: 1024)
    for workers, verdict in ((100, Verdict.PASS), (1000, Verdict.WARN)):
        files = environment.open_files(SiteProfile(name="x", backend="local", workers=workers))
        assert (files.verdict, files.code) == (verdict, "AP-DOC-004")
    monkeypatch.setattr(environment, "files_allowed", lambda: NO_LIMIT)
    assert environment.open_files(SiteProfile(name="x", backend="local", workers=1)).says.startswith("no limit;")


_FEW_FILES = """\
import resource
from archive_proc.execution.open_files import allow_files, files_allowed, files_needed
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 6000))
allow_files(1000)
print(resource.getrlimit(resource.RLIMIT_NOFILE), files_needed(1000), files_allowed())
allow_files(10)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
allow_files(100_000)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def test_a_driver_asks_for_the_open_files_it_needs_and_never_for_fewer() -> None:
    """In a process of its own, whose limits are of this test alone."""
    command = [sys.executable, "-c", _FEW_FILES]
    done = subprocess.run(command, capture_output=True, text=True, env=same_paths(), check=True)
    assert done.stdout.splitlines() == ["(4512, 6000) 4512 6000", "4512", "6000"]


# -- SLURM: what its commands print; the real one is asked in tests/slurm ---------------------------------------------

PARTITIONS = """\
PartitionName=batch AllowGroups=ALL Default=NO MaxNodes=UNLIMITED MaxTime=04:00:00 State=UP TotalCPUs=4 TotalNodes=2
PartitionName=long AllowGroups=ALL Default=YES MaxNodes=1 MaxTime=UNLIMITED State=DRAIN TotalCPUs=4 TotalNodes=1
"""


def a_site(**more: object) -> SiteProfile:
    return SiteProfile(
        name="x",
        backend="slurm",
        workers=4,
        memory_per_worker_gb=2.0,
        slurm=SlurmProfile(**more),  # type: ignore[arg-type]
    )


def test_partitions_are_read_with_their_limits() -> None:
    known = slurm.partitions(PARTITIONS)
    assert set(known) == {"batch", "long"}
    assert slurm.fits_time("walltime", "04:00:00", "batch", known["batch"]).verdict is Verdict.PASS
    failing(slurm.fits_time("walltime", "04:00:01", "batch", known["batch"]), "AP-DOC-023", "of at most 04:00:00")
    assert slurm.fits_time("driver_walltime", "2-0", "batch", known["batch"], needed=False).verdict is Verdict.WARN
    assert slurm.fits_time("walltime", "30-0", "long", known["long"]).verdict is Verdict.PASS


def test_a_job_that_no_node_can_hold_is_named() -> None:
    nodes = "32 64000 8 idle\n64 128000+ 2 drained*\n"
    failing(slurm.fits_nodes(a_site(workers_per_job=32), nodes[:16]), "AP-DOC-024", "32 CPUs and 80.0 GB a job")
    assert slurm.fits_nodes(a_site(workers_per_job=32), nodes).verdict is Verdict.PASS
    assert slurm.fits_nodes(a_site(workers_per_job=16), nodes).verdict is Verdict.PASS
    failing(slurm.fits_nodes(a_site(workers_per_job=65), nodes), "AP-DOC-024", "largest node 64 CPUs")
    assert "nodes drained, idle" in slurm.fits_nodes(a_site(), nodes).says


def test_a_profile_whose_workers_never_retire_or_whose_interface_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = by_name(slurm.worker_jobs(a_site(retire_minutes=0.0, interface="ib7")))
    assert found["lifetime"].verdict is Verdict.WARN
    failing(found["interface"], "AP-RUN-047", "ib7")
    assert "lo" in found["interface"].remedy
    assert found["encryption"].says.startswith("TLS")
    assert (
        by_name(slurm.worker_jobs(a_site(interface="lo")))["encryption"].says == "none: the traffic stays on this host"
    )


def test_a_drivers_job_that_cannot_hold_its_archive_is_warned_of() -> None:
    for raw_files, verdict in ((31_000, Verdict.PASS), (344_000, Verdict.WARN)):
        found = slurm.driver_job(a_site(driver_memory_gb=4.0), raw_files)
        assert (found.verdict, found.code) == (verdict, "AP-RUN-074")
        assert f"{raw_files} raw files" in found.says


def test_a_port_that_cannot_be_had_is_named() -> None:
    assert slurm.port("127.0.0.1").verdict is Verdict.PASS
    failing(slurm.port("203.0.113.7"), "AP-DOC-027", "cannot listen on 203.0.113.7")
    assert socket.getdefaulttimeout() is None


def test_without_slurms_commands_the_first_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (one,) = slurm.scheduler(a_site())
    failing(one, "AP-DOC-020", "sbatch, squeue")


def test_a_node_that_is_not_like_this_host_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / node.QUESTION).write_text("why")
    monkeypatch.setenv(node.SCRATCH, str(tmp_path))
    node.answer_from_node(tmp_path)
    import msgspec

    same = msgspec.json.decode((tmp_path / node.ANSWER).read_bytes(), type=node.NodeAnswer)
    assert {one.verdict for one in node.judge(same, "why")} == {Verdict.PASS}
    failing(by_name(node.judge(same, "how"))["same file system"], "AP-DOC-029", "other bytes")
    bad = {"version": "0.0.9", "skew_s": -3600.0, "kernels": "cannot be written: /home", "scratch_bytes": -1}
    other = msgspec.structs.replace(same, **bad)
    found = by_name(node.judge(other, "why"))
    failing(found["same program"], "AP-DOC-029", "archive-proc 0.0.9")
    failing(found["clocks"], "AP-DOC-015", "3600 s behind")
    failing(found["environment"], "AP-DOC-029", "cannot be written")
    failing(found["scratch"], "AP-DOC-029", f"{tmp_path}, cannot be written")
