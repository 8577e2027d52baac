"""A command at the end or when a recipe is paused: told in variables, run by no shell, never the run's undoing."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from toy_night import night, plan_of, process, raw_input, site

from archive_proc.archive import Archive
from archive_proc.cli.main import program
from archive_proc.execution.executor import execute
from archive_proc.execution.notifying import Notice, notify
from archive_proc.execution.outcome import RunOutcome
from archive_proc.flow.running import Order, telling
from archive_proc.model.ids import PlanId, RunId
from archive_proc.model.processes import State
from archive_proc.storage.layout import Layout

TELL = "import json, os, sys; json.dump({**os.environ, 'words': sys.argv[2:]}, open(sys.argv[1], 'w'))"


def command(into: Path, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-c", TELL, str(into), *words)


def told(into: Path) -> dict[str, object]:
    import json

    found = json.loads(into.read_text())
    assert isinstance(found, dict)
    return found


def test_a_paused_recipe_is_told_at_once_with_counts_and_signature(tmp_path: Path) -> None:
    tonight = night(tmp_path)
    main = [raw_input(one) for one in list(tonight.frames.values())[2:4]]
    bad = [process("toy_cube", main, subject=f"o{at}", behave="code") for at in range(4)]
    into = tmp_path / "told.json"
    profile = site(breaker=2, window_per_worker=1, notify=command(into))
    outcome = execute(plan_of(*bad), tonight.layout, tonight.frames, profile, tonight.options())
    assert outcome.counts == {State.FAILED: 2, State.BLOCKED: 2}
    found = told(into)
    assert (found["ARCHIVE_PROC_STATE"], found["ARCHIVE_PROC_RUN_ID"]) == ("paused", outcome.run_id)
    assert "toy_cube failed 2 times with" in str(found["ARCHIVE_PROC_REASON"])
    assert found["ARCHIVE_PROC_FAILED"] == "2"
    assert found["ARCHIVE_PROC_EXIT"] == "", "the run goes on"


def test_the_end_of_a_run_is_told_once_after_the_lease_is_free(tmp_path: Path) -> None:
    into, layout = tmp_path / "told.json", Layout(tmp_path)
    order = Order(site=site(notify=command(into, "a b", "; touch x", "$HOME")))
    with telling(layout, order) as ended:
        ended.append(RunOutcome(RunId("0" * 32), PlanId("1" * 64), {State.DONE: 3, State.FAILED: 1}, (), {}))
    found = told(into)
    assert found["words"] == ["a b", "; touch x", "$HOME"], "word by word, no shell"
    assert found["ARCHIVE_PROC_STATE"] == "ended"
    assert found["ARCHIVE_PROC_EXIT"] == "3"
    assert found["ARCHIVE_PROC_LINE"] == "run:000000000000 ended: 3 done, 1 failed"
    assert found["ARCHIVE_PROC_HOME"] == str(tmp_path)
    assert (found["ARCHIVE_PROC_PROCESSES"], found["ARCHIVE_PROC_BLOCKED"]) == ("4", "0")
    assert not (tmp_path / "x").exists()


def test_what_refuses_a_run_is_told_too(tmp_path: Path) -> None:
    archive = Archive.init(tmp_path / "A")
    into = tmp_path / "told.json"
    words = f"{sys.executable} -c '{TELL.replace(chr(39), chr(34))}' {into} 'two words'"
    answer = CliRunner().invoke(program, ["--archive", str(archive.root), "run", "--notify", words])
    assert answer.exit_code != 0
    found = told(into)
    assert (found["ARCHIVE_PROC_STATE"], found["words"]) == ("refused", ["two words"])
    assert str(found["ARCHIVE_PROC_REASON"]).startswith("AP-")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("/nowhere/tell",), "could not be started"),
        ((), "could not be started"),
        ((sys.executable, "-c", "import sys; sys.exit('no mail today')"), "left with 1: no mail today"),
        (("\x1b[2Jtell",), "could not be started"),
    ],
)
def test_a_command_that_fails_is_a_warning_with_a_code(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    warning = notify(words, Notice(root=tmp_path, state="ended", reason="two\nlines"))
    assert warning.startswith("warning AP-RUN-070")
    assert says in warning
    assert "\x1b" not in warning
    assert "\n" not in warning


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    child = "import pathlib, os, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"
    both = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    warning = notify((sys.executable, "-c", both), Notice(root=tmp_path, state="ended"), patience_s=3.0)
    assert "took longer than 3 s" in warning
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
    else:
        os.kill(pid, 9)
        pytest.fail("a child went on")
