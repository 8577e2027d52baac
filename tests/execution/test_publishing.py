"""A catalog that cannot be published ends no run: it is said, noted, and made up for later."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_night import Night, night, site

from archive_proc.errors import InputError
from archive_proc.execution.executor import execute
from archive_proc.execution.outcome import RunOutcome
from archive_proc.model.events import RunEnded
from archive_proc.model.processes import State
from archive_proc.storage.journal import read_journal


def run(tonight: Night, publish: Callable[[], None], **options: object) -> RunOutcome:
    given = tonight.options(publish=publish, publish_every_s=0.0, **options)
    return execute(tonight.plan, tonight.layout, tonight.frames, site(), given)


def ends(tonight: Night, outcome: RunOutcome) -> list[RunEnded]:
    events = read_journal(tonight.layout.journal(outcome.run_id)).events
    return [one for one in events if isinstance(one, RunEnded)]


class Failing:
    """Fails the first so many times."""

    def __init__(self, error: Exception, times: int = 1000) -> None:
        self.error, self.left, self.calls = error, times, 0

    def __call__(self) -> None:
        self.calls += 1
        self.left -= 1
        if self.left >= 0:
            raise self.error


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), InputError("AP-STO-503", "no readable manifest.json")]
)
def test_a_catalog_that_stays_behind_is_told_and_the_products_stand(
    tmp_path: Path, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    tonight = night(tmp_path)
    publish = Failing(error)
    outcome = run(tonight, publish)
    assert outcome.counts == {State.DONE: 3}
    assert publish.calls > 2
    assert outcome.catalog_behind
    assert outcome.exit_status == 75
    assert str(error) in outcome.note
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2, "once while it runs, once at its end"
    assert all("the catalog could not be published" in line and str(error) in line for line in said)
    assert ends(tonight, outcome)[-1].note == outcome.note


def test_a_passing_failure_is_noted_and_the_run_succeeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tonight = night(tmp_path)
    outcome = run(tonight, Failing(OSError(errno.ESTALE, "Stale file handle"), times=2))
    assert outcome.exit_status == 0
    assert not outcome.catalog_behind
    (end,) = ends(tonight, outcome)
    assert "Stale file handle" in end.note
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_stops_the_run_as_it_does_under_a_process(tmp_path: Path, number: int) -> None:
    tonight = night(tmp_path)
    wrapped = InputError("AP-STO-503", "could not be written")
    wrapped.__cause__ = OSError(number, "full")
    outcome = run(tonight, Failing(wrapped, times=1))
    assert outcome.stopped == "disk full"
    assert outcome.exit_status == 5
    assert outcome.counts[State.CANCELLED] >= 1


def test_a_disk_that_fills_at_the_very_end_is_no_success(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    publish = Failing(OSError(errno.ENOSPC, "No space left on device"))
    options = tonight.options(publish=publish, publish_every_s=1000.0)
    outcome = execute(tonight.plan, tonight.layout, tonight.frames, site(), options)
    assert (publish.calls, outcome.counts, outcome.exit_status) == (1, {State.DONE: 3}, 5)
    assert [bool(one.note) for one in ends(tonight, outcome)] == [False, True]


def test_a_fault_of_the_compactor_itself_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(night(tmp_path), Failing(ZeroDivisionError("a fault of the code")))
