"""Raw roots that are not there: said before a run, noticed in the middle of one; the same command continues."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_night import Night, night, site

from archive_proc.errors import PreconditionError
from archive_proc.execution.executor import execute
from archive_proc.execution.outcome import RunOutcome
from archive_proc.execution.preflight import roots_gone
from archive_proc.execution.stopping import ROOT_GONE
from archive_proc.model.processes import State


def run(tonight: Night, **options: object) -> RunOutcome:
    return execute(tonight.plan, tonight.layout, tonight.frames, site(), tonight.options(**options))


def test_an_empty_mount_point_ends_a_run_before_it_begins(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    away = tonight.raw.rename(tmp_path / "away")
    tonight.raw.mkdir()
    with pytest.raises(PreconditionError, match=r"AP-RUN-031.*holds none of the 6 raw files"):
        run(tonight)
    tonight.raw.rmdir()
    away.rename(tonight.raw)
    assert run(tonight).exit_status == 0


def test_a_few_files_that_vanished_from_a_root_that_stands_stop_no_night(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    files = sorted(one for one in tonight.raw.rglob("*") if one.is_file())
    (tonight.raw / "kept.txt").write_text("the root is mounted")
    for one in files[3:]:
        one.unlink()
    outcome = run(tonight)
    assert outcome.exit_status == 3, "what the files served has failed, the rest was made"
    assert outcome.counts[State.DONE] > 0


@pytest.mark.parametrize("chunk", [16, 1000])
def test_a_root_that_goes_in_the_middle_stops_the_run_and_the_same_command_continues(
    tmp_path: Path, chunk: int
) -> None:
    tonight = night(tmp_path)
    away = tmp_path / "away"

    def unmount() -> None:
        if tonight.raw.exists():
            tonight.raw.rename(away)

    outcome = run(tonight, publish=unmount, publish_every_s=0.0, chunk_planes=chunk)
    assert (outcome.stopped, outcome.exit_status) == (ROOT_GONE, 75)
    assert sum(outcome.counts.values()) == 3
    assert outcome.counts.get(State.DONE, 0) < 3
    away.rename(tonight.raw)
    again = run(tonight, chunk_planes=chunk)
    assert again.exit_status == 0
    assert again.counts.get(State.DONE, 0) + again.counts.get(State.CACHED, 0) == 3


def test_without_gzip_z_files_end_a_run_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    tonight = night(tmp_path)
    packed = {file_id: replace(one, compression="Z") for file_id, one in tonight.frames.items()}
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreconditionError, match="AP-ING-007"):
        execute(tonight.plan, tonight.layout, packed, site(), tonight.options())


def test_an_empty_directory_counts_as_gone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "empty").mkdir()
    roots = {"full": tmp_path / "full", "empty": tmp_path / "empty", "none": tmp_path / "none"}
    assert [roots_gone(roots, [name]) for name in (*roots, "unset")] == [False, True, True, True]
