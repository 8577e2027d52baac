"""Workers that are not as the driver wishes: their nanny gave up, they are paused, they have other code."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed.core import Status
from toy_night import Night, night, site

from archive_proc.errors import PreconditionError
from archive_proc.execution import clusters, worker_config
from archive_proc.execution.backends import Finished, SerialBackend
from archive_proc.execution.calls import Bundle
from archive_proc.execution.clusters import DaskLocal
from archive_proc.execution.executor import execute
from archive_proc.execution.meters import marked
from archive_proc.execution.spec import AttemptDir
from archive_proc.execution.worker_config import CODE, SETTINGS, code_on_disk, expected, refusal
from archive_proc.model.events import RunEnded
from archive_proc.model.processes import State
from archive_proc.storage.journal import iter_journals, read_journal
from archive_proc.storage.layout import Layout


def test_a_worker_whose_nanny_gave_up_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "LOOK_EVERY_S", 0.1)
    tonight = night(tmp_path, science=(20,))
    backend = DaskLocal(1, 1.0)
    gone: list[Any] = []

    def give_up() -> None:
        """Once: the only worker ends, and its nanny starts no other."""
        cluster = backend._cluster
        if not gone and cluster is not None:
            gone.extend(cluster.workers.values())
            cluster.sync(gone[0].kill)

    options = tonight.options(backend=backend, publish=give_up, publish_every_s=0.0)
    outcome = execute(tonight.plan, tonight.layout, tonight.frames, site(), options)
    assert len(gone) == 1
    assert outcome.exit_status == 0, outcome


class Paused(SerialBackend):
    """Its only worker is paused for its memory; the task that it was sent has begun, or has not."""

    def __init__(self, tonight: Night, *, begun: bool) -> None:
        super().__init__(lambda: False)
        self.layout: Layout = tonight.layout
        self.begun = begun
        self.sent: list[Bundle] = []
        self.answers = 0
        self.marks = ExitStack()

    def census(self) -> dict[str, int]:
        return {"paused": 1}

    def submit(self, bundle: Bundle, priority: float) -> None:
        super().submit(bundle, priority)
        self.sent.append(bundle)

    def wait_any(self, timeout_s: float) -> list[Finished]:
        if self.sent:  # the first time: the run is told to stop, and its grace is over at once
            (call, *_), _ = self.sent[0].calls, self.sent.clear()
            if self.begun:
                directory = AttemptDir(self.layout.pending_dir(call.process_id, call.attempt))
                self.marks.enter_context(marked(directory, call.task, isolated=False))
            (run,) = self.layout.runs.iterdir()
            (run / "stop").touch()
            return []
        self.marks.close()
        self.answers += 1
        return super().wait_any(timeout_s)


@pytest.mark.parametrize("begun", [True, False])
def test_a_run_that_stops_waits_for_a_paused_worker_if_it_is_amid_a_task(tmp_path: Path, begun: bool) -> None:
    tonight = night(tmp_path)
    backend = Paused(tonight, begun=begun)
    options = tonight.options(backend=backend, stop_grace_s=0.0)
    outcome = execute(tonight.plan, tonight.layout, tonight.frames, site(window_per_worker=1), options)
    assert outcome.stopped == "cancelled"
    assert backend.answers == begun
    assert outcome.counts[State.CANCELLED] >= 2


def test_a_checkout_with_another_table_or_another_name_is_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_config, "PACKAGE", tmp_path)
    found = []
    for name, text in (("one.py", "x = 1"), ("air.toml", "n = 1.0"), ("air.toml", "n = 1.1")):
        (tmp_path / name).write_text(text)
        found.append(code_on_disk())
    (tmp_path / "one.py").rename(tmp_path / "two.py")
    found.append(code_on_disk())
    (tmp_path / "two.pyc").touch()
    assert len(set(found)) == len(found)
    assert code_on_disk() == found[-1], "what Python leaves there is no code"


def test_a_run_under_which_the_package_is_changed_ends_with_the_first_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tonight = night(tmp_path, science=(20,), behave="kill")

    def change() -> None:
        """In this process, the driver's: workers have what they had."""
        monkeypatch.setattr(worker_config, "PACKAGE", tmp_path)

    options = tonight.options(backend=DaskLocal(1, 1.0), publish=change, publish_every_s=0.0)
    with pytest.raises(PreconditionError, match=r"AP-RUN-050.*changed while the run went on"):
        execute(tonight.plan, tonight.layout, tonight.frames, site(), options)
    ((_, journal),) = iter_journals(tonight.layout.runs)
    assert isinstance(read_journal(journal).events[-1], RunEnded), "recorded as any that ended"


def test_a_worker_with_other_code_than_the_driver_does_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tonight = night(tmp_path)
    mine = expected(1000)
    monkeypatch.setattr(worker_config, "code_id", lambda: "0.9 0000beef")  # of this process, the driver's
    assert refusal(expected(1000), expected(1000)) is None
    wrong = refusal(expected(1000), {**mine, "OMP_NUM_THREADS": "7"})
    assert wrong is not None
    assert wrong.code == "AP-RUN-050", "what differs besides may follow from it"
    with pytest.raises(PreconditionError, match=rf"AP-RUN-050.*{mine[CODE]}, the driver 0\.9 0000beef"):
        execute(
            tonight.plan,
            tonight.layout,
            tonight.frames,
            site(),
            tonight.options(backend=DaskLocal(1, 1.0)),
        )


STUCK = """
import os, time
if os.path.exists(PLACE):
    time.sleep(600)
"""


def test_a_worker_that_does_not_come_up_again_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, preload = tmp_path / "stuck", tmp_path / "preload.py"
    preload.write_text(STUCK.replace("PLACE", repr(str(place))))
    monkeypatch.setattr(clusters, "SETTINGS", {**SETTINGS, "distributed.worker.preload": [str(preload)]})
    backend = DaskLocal(1, 1.0)
    backend.start()
    place.touch()
    (nanny,) = backend._cluster.workers.values()
    os.kill(nanny.pid, signal.SIGKILL)
    until = time.monotonic() + 60.0
    while (nanny.process is None or nanny.process.status != Status.starting) and time.monotonic() < until:
        time.sleep(0.05)
    assert nanny.process.status == Status.starting
    pid = nanny.process.pid
    begun = time.monotonic()
    backend.stop()
    assert time.monotonic() - begun < 20.0, "it would wait for the worker, ten minutes"
    assert pid is None or not psutil.pid_exists(pid)
