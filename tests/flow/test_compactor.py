"""The compactor of large runs: the same catalog, made by a process that ends with its driver."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from archive_proc.bench.engine.semester import semester_plan
from archive_proc.flow.compactor import Compactor
from archive_proc.flow.publish import publish
from archive_proc.flow.running import save_plan
from archive_proc.storage.layout import Layout
from archive_proc.storage.snapshots import equal_snapshots, open_current

KILLED_DRIVER = """
import os, signal, sys
from pathlib import Path
from archive_proc.flow.compactor import Compactor
from archive_proc.storage.layout import Layout
compactor = Compactor(Layout(Path(sys.argv[1])))
compactor()
print(compactor.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _archive(root: Path) -> Layout:
    layout = Layout(root)
    save_plan(layout, semester_plan(20)[0])
    return layout


def test_it_publishes_what_the_driver_would_says_what_fails_and_is_started_again_when_it_died(tmp_path: Path) -> None:
    layout, other = _archive(tmp_path / "one"), _archive(tmp_path / "other")
    publish(other)
    compactor = Compactor(layout)
    layout.catalog.write_text("in the way")
    with pytest.raises(OSError, match=r"Not a directory|File exists") as told:
        compactor()
    assert told.value.errno in (errno.ENOTDIR, errno.EEXIST)
    layout.catalog.unlink()
    compactor()
    assert equal_snapshots(open_current(layout), open_current(other))
    assert compactor.last.cpu_s > 0
    assert compactor.last.peak_bytes > 0
    assert compactor.pid is not None
    os.kill(compactor.pid, signal.SIGKILL)
    with pytest.raises(OSError, match="the compactor's process ended with status -9"):
        compactor()
    compactor()
    compactor.close()
    assert compactor.pid is None
    compactor.close()


def test_a_checkout_in_the_directory_of_the_command_is_not_what_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "archive_proc"
    checkout.mkdir()
    (checkout / "__init__.py").write_text("raise SystemExit('another checkout')")
    monkeypatch.chdir(tmp_path)
    compactor = Compactor(_archive(tmp_path / "archive"))
    compactor()
    # What is no answer is an error that a run survives, and the next call has a process of its own.
    stray = tmp_path / "stray"
    stray.mkdir()
    (stray / "sitecustomize.py").write_text("print('module loaded')")
    compactor.close()
    with monkeypatch.context() as noisy:
        noisy.syspath_prepend(str(stray))
        with pytest.raises(OSError, match=r"the compactor's process wrote b'module loaded.n' where its answer belongs"):
            compactor()
    assert compactor.pid is None
    compactor()
    compactor.close()


def test_it_does_not_outlive_a_killed_driver(tmp_path: Path) -> None:
    layout = _archive(tmp_path)
    driver = subprocess.run(
        [sys.executable, "-c", KILLED_DRIVER, str(layout.root)], capture_output=True, text=True, check=False
    )
    assert driver.returncode == -signal.SIGKILL, driver.stderr
    pid = int(driver.stdout)
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
