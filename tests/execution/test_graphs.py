"""Graphs are unfolded where the scheduler runs; a large run's plan is out of the collector's sight."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import distributed.scheduler
import pytest
from distributed import utils
from toy_night import night, site

from archive_proc.execution import executor
from archive_proc.execution.clusters import DaskLocal
from archive_proc.execution.executor import execute
from archive_proc.execution.graphs import unfolded_at_once
from archive_proc.execution.heap import frozen


def test_graphs_of_a_run_are_unfolded_in_the_schedulers_own_thread_and_its_plan_is_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    held: list[int] = []
    unfold = distributed.scheduler._materialize_graph

    # Any: Dask's own.
    def watched(*args: Any, **kwargs: Any) -> Any:
        threads.add(threading.current_thread().name)
        held.append(gc.get_freeze_count())
        return unfold(*args, **kwargs)

    monkeypatch.setattr(distributed.scheduler, "_materialize_graph", watched)
    monkeypatch.setattr(executor, "PACKED_FROM", 1)
    tonight = night(tmp_path, science=(20,))
    options = tonight.options(backend=DaskLocal(1, 1.0))
    assert execute(tonight.plan, tonight.layout, tonight.frames, site(), options).exit_status == 0
    assert len(threads) == 1
    assert not threads.pop().startswith("Dask-Offload")
    assert min(held) > 10_000
    assert gc.get_freeze_count() == 0


def test_back_ends_may_end_in_any_order_and_leave_dask_as_it_was() -> None:
    before = utils._offload_executor
    first, second = unfolded_at_once(), unfolded_at_once()
    first.__enter__()
    second.__enter__()
    at_once = utils._offload_executor
    first.__exit__(None, None, None)
    assert utils._offload_executor is at_once
    second.__exit__(None, None, None)
    assert utils._offload_executor is before
    assert at_once is not before
    assert at_once.submit(int, "7").result() == 7
    with pytest.raises(ValueError, match="seven"):
        at_once.submit(int, "seven").result()


def test_a_small_run_freezes_nothing() -> None:
    with frozen(large=False):
        assert gc.get_freeze_count() == 0
