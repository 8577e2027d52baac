"""What a run would miss is named before its first job; what is only odd is a warning."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from toy_night import Night, night, site

from archive_proc.errors import PreconditionError
from archive_proc.execution.cookbooks import cookbook
from archive_proc.execution.executor import execute
from archive_proc.execution.outcome import RunOutcome
from archive_proc.execution.preflight import expect_walltime
from archive_proc.settings import SlurmProfile
from archive_proc.storage.runs import run_ids


def predicting(tonight: Night, **more: object) -> Night:
    """The night with other predictions, each process alike."""
    planned = tuple(replace(one, prediction=replace(one.prediction, **more)) for one in tonight.plan.processes)
    return replace(tonight, plan=replace(tonight.plan, processes=planned))


def run(tonight: Night, **profile: object) -> RunOutcome:
    return execute(tonight.plan, tonight.layout, tonight.frames, site(**profile), tonight.options())


def refused(tonight: Night, code: str, says: str, **profile: object) -> None:
    with pytest.raises(PreconditionError, match=code) as answer:
        run(tonight, **profile)
    assert says in answer.value.message
    assert answer.value.remedy
    assert answer.value.exit_status == 5
    assert run_ids(tonight.layout) == (), "nothing was begun"


def test_the_largest_process_must_fit_into_a_worker_with_a_tenth_to_spare(tmp_path: Path) -> None:
    tonight = predicting(night(tmp_path), memory_gb=1.9)
    refused(tonight, "AP-RUN-033", "needs about 1.9 GB, the largest worker has 2.0", memory_per_worker_gb=2.0)
    assert run(tonight, memory_per_worker_gb=2.1).exit_status == 0


@pytest.mark.parametrize(
    ("recipe", "prediction", "refused"),
    [
        ("toy_cube", {"planes": 10, "cpu_s": 1400.0}, True),
        ("toy_cube", {"planes": 10, "cpu_s": 1300.0}, False),
        ("toy_cube", {"planes": 10, "cpu_s": 1300.0, "cpu_s_high": 1400.0}, True),
        ("toy_cube", {"planes": 640, "cpu_s": 13000.0}, False),
        ("toy_dark", {"planes": 640, "cpu_s": 13000.0}, True),
    ],
    ids=["too long", "fits", "by the slowest", "in ten chunks", "never in chunks"],
)
def test_the_longest_task_must_end_before_its_worker_does(
    tmp_path: Path, recipe: str, prediction: dict[str, float], refused: bool
) -> None:
    tonight = predicting(night(tmp_path), **prediction)
    some = [one for one in tonight.plan.processes if one.process.recipe == recipe]
    slurm = site(backend="slurm", slurm=SlurmProfile(walltime="00:30:00", retire_minutes=5))
    with (
        pytest.raises(PreconditionError, match=r"AP-RUN-073 proc:.* a worker lives 0.4 h") if refused else nullcontext()
    ):
        expect_walltime(slurm, some, cookbook("toy_recipes"))
    expect_walltime(site(), some, cookbook("toy_recipes"))
    limited = site(backend="local", task_hours=25 / 60)
    with pytest.raises(PreconditionError, match=r"a task may take 0.4 h") if refused else nullcontext():
        expect_walltime(limited, some, cookbook("toy_recipes"))


def test_more_files_than_inodes_are_free(tmp_path: Path) -> None:
    refused(predicting(night(tmp_path), inodes=10**12), "AP-RUN-036", "inodes are free")


@pytest.mark.parametrize(
    ("line", "prediction", "says"),
    [
        ("/dev/x 900 0 1000 0 10 0 0 0", {"bytes_out": 50_000}, "the quota of user"),
        ("/dev/x 900 0 0 0 10 0 100 0", {"inodes": 29}, "leaves 90 files"),
    ],
)
def test_a_quota_is_asked_for_where_a_tool_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, prediction: dict[str, int], says: str
) -> None:
    tool = tmp_path / "bin" / "quota"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho 'Disk quotas for user pd (uid 7):'\necho ' {line}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    refused(predicting(night(tmp_path), **prediction), "AP-RUN-072", says)


def test_a_clock_an_hour_off_is_named_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import time
    from types import SimpleNamespace

    off = SimpleNamespace(time=lambda: time.time() - 3600)
    monkeypatch.setattr("archive_proc.storage.clock_skew.time", off)
    assert run(night(tmp_path)).exit_status == 0
    said = capsys.readouterr().err
    assert "warning AP-RUN-071" in said
    assert "clock is 3600 s ahead of this host's" in said
