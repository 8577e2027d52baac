"""`doctor` tries things for real: it passes here, and says what to do where something is broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from archive_proc.archive import Archive
from archive_proc.cli.main import program
from archive_proc.execution.doctor import environment, file_system
from archive_proc.execution.doctor.finding import Finding, Verdict
from archive_proc.settings import SiteProfile
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
