"""`doctor` on a real SLURM: its controller, its partition, and one tiny job that reports from a node."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from slurm_site import write_site

from archive_proc.archive import Archive
from archive_proc.cli.main import program


def examined(archive: Archive, *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    answer = CliRunner().invoke(program, ["--archive", str(archive.root), "doctor", "--json", *words])
    return answer.exit_code, {f"{one['part']}/{one['name']}": one for one in json.loads(answer.output)["items"]}


def test_a_site_is_looked_at_for_real_and_a_node_answers(slurm: Path, tmp_path: Path) -> None:
    archive = Archive.init(tmp_path / "an archive")
    write_site(archive.root, "jobs")
    status, found = examined(archive, "--site", "slurm:jobs", "--job")
    wrong = {name: one["says"] for name, one in found.items() if one["verdict"] == "fail"}
    assert (status, wrong) == (0, {})
    for name in ("controller", "partition", "walltime", "job size"):
        assert found[f"scheduler/{name}"]["verdict"] == "pass", found[f"scheduler/{name}"]
    for name in ("job", "same file system", "same program", "clocks", "scratch"):
        assert found[f"node/{name}"]["verdict"] == "pass", found[f"node/{name}"]
    assert [one.name for one in archive.root.iterdir() if one.name.startswith(".doctor")] == []


def test_what_slurm_would_refuse_is_known_before_anything_is_submitted(slurm: Path, tmp_path: Path) -> None:
    archive = Archive.init(tmp_path / "A")
    write_site(archive.root, "nowhere", partition='"genoa"')
    write_site(archive.root, "greedy", more="job_memory_gb = 900.0")
    status, found = examined(archive, "--site", "slurm:nowhere", "--job")
    partition = found["scheduler/partition"]
    assert (status, partition["verdict"], partition["code"]) == (5, "fail", "AP-DOC-022")
    assert "work" in partition["remedy"]
    assert "node/job" not in found, "no job where there is no partition for it"
    status, found = examined(archive, "--site", "slurm:greedy")
    assert (status, found["scheduler/job size"]["code"]) == (5, "AP-DOC-024")
