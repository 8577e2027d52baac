"""A task that never ends: its process is ended from inside, says where it stood, and counts against its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from toy_night import night

from archive_proc.execution.calls import Task
from archive_proc.execution.meters import marked, read_mark
from archive_proc.execution.retrying import KILLS, Lost, Rules, after_loss
from archive_proc.execution.spec import AttemptDir
from archive_proc.execution.work import ProcessWork, Size
from archive_proc.model.processes import Cause

HANGING = """\
import sys, time
from pathlib import Path
from archive_proc.execution.calls import Task
from archive_proc.execution.meters import marked
from archive_proc.execution.spec import AttemptDir

with marked(AttemptDir(Path(sys.argv[1])), Task("all"), isolated=True, limit_s=0.2):
    time.sleep(600)
"""


def test_a_task_that_hangs_ends_its_process_and_is_quarantined_after_three_tries(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", HANGING, str(tmp_path)], capture_output=True, check=False)
    assert ended.returncode == 1
    mark, fault = read_mark(AttemptDir(tmp_path), Task("all"))
    assert mark is not None
    work = ProcessWork(night(tmp_path / "night").plan.processes[0], 0.0, 1, Size(60, 1), 16, 1, chunked=True)
    verdicts = []
    for _ in range(KILLS):
        work.retrying = work.counted = False
        # Another chunk was lost with it and is told of first, a third one hung beside it: neither makes a difference.
        assert after_loss(work, None, Lost("its worker is gone"), Rules(2, 0.0)).facts is None
        work.retrying = True
        verdicts.append(after_loss(work, mark, Lost("its worker is gone", fault), Rules(2, 0.0)))
        after_loss(work, mark, Lost("its worker is gone", fault), Rules(2, 0.0))
    assert [(one.again, one.poison) for one in verdicts] == [(True, False), (True, False), (False, True)]
    facts = verdicts[-1].facts
    assert facts is not None
    assert (facts.cause, facts.code, facts.signature) == (Cause.INFRA, "AP-RUN-019", "hangs")
    assert "after 0:00:00.2" in facts.message
    assert "line 8" in facts.traceback, "where it stood"
    assert not work.alone, "the others need not wait for it"


@pytest.mark.parametrize("limit_s", [0.0, 600.0])
def test_a_task_that_ends_in_time_leaves_neither_mark_nor_alarm(tmp_path: Path, limit_s: float) -> None:
    with marked(AttemptDir(tmp_path), Task("all"), isolated=True, limit_s=limit_s):
        pass
    assert read_mark(AttemptDir(tmp_path), Task("all")) == (None, "")
    assert list((tmp_path / "marks").iterdir()) == []
