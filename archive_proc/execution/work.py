"""One process on its way: which tasks it still needs, in which order, on which attempt."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from archive_proc.execution.calls import Task
from archive_proc.execution.cookbooks import Cookbook
from archive_proc.execution.receipts import Meters, Receipt
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import ProductId, split_product_id
from archive_proc.model.processes import PlannedProcess, Process
from archive_proc.recipes.recipe import SHARD_PLANES, ProductMain, Recipe
from archive_proc.storage.layout import Layout

FLOAT_BYTES = 4
BESIDE_S = 5.0
"""What one of the tasks before, between and after blocks takes: little beside them, so roughly is enough."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large the main input is."""

    planes: int
    plane_bytes: int
    """Decoded."""


def main_size(process: Process, recipe: Recipe, frames: Iterable[RawFrame], layout: Layout, cookbook: Cookbook) -> Size:
    """Planes of the main input and bytes of one: from frames, or from the metadata of the main product."""
    if not isinstance(recipe.main, ProductMain):
        listed = list(frames)
        largest = max(((one.naxis1 or 0) * (one.naxis2 or 0) for one in listed), default=0)
        return Size(sum(one.n_planes for one in listed), FLOAT_BYTES * largest)
    process_id, product_type = split_product_id(ProductId(process.main[0].input_id))
    group = layout.product_group(process_id, product_type)
    names = [one.name for one in cookbook.form(product_type).variables if one.by_block]
    shapes = [_array_shape(group / name) for name in names]
    return Size(
        min((shape[0] for shape, _ in shapes), default=0),
        sum(itemsize * int(np.prod(shape[1:], dtype=np.int64)) for shape, itemsize in shapes),
    )


def _array_shape(path: Path) -> tuple[tuple[int, ...], int]:
    tree = json.loads((path / "zarr.json").read_bytes())
    return tuple(tree["shape"]), np.dtype(tree["data_type"]).itemsize


def chunk_planes(size: Size, chunk_gb: float) -> int:
    """Planes of one chunk: whole shards, about `chunk_gb` of decoded pixels, one shard at least."""
    if not size.plane_bytes:
        return SHARD_PLANES
    return SHARD_PLANES * max(1, round(chunk_gb * 1e9 / size.plane_bytes / SHARD_PLANES))


@dataclass(slots=True)
class ProcessWork:
    """State of one process in this run, while it is being worked on."""

    planned: PlannedProcess
    priority: float
    attempt: int
    size: Size
    chunk: int
    """Planes of one chunk."""
    passes: int
    chunked: bool
    done: dict[str, set[int]] = field(default_factory=dict)
    """Stage label -> first planes (or {0}) that are done."""
    waiting: list[Task] = field(default_factory=list)
    """Tasks that could be submitted now."""
    in_flight: set[Task] = field(default_factory=set)
    retries: int = 0
    memory_retries: int = 0
    needs_gb: float = 0.0
    """Memory it needs: predicted, then more each time that was too little."""
    had_gb: float = 0.0
    """Of the worker it was last sent to; 0: not limited."""
    kills: int = 0
    interruptions: int = 0
    """Times that a job ended under it since one of its tasks was done."""
    losses: int = 0
    """Times it vanished with a worker that it had not killed."""
    alone: bool = False
    """To be tried with nothing else in flight."""
    retrying: bool = False
    """A new attempt starts when nothing of this one is in flight."""
    counted: bool = False
    """A failure of this attempt counts against the process already; further chunks of it do not count again."""
    not_before: float = 0.0
    """Monotonic time; back-off."""
    ended: bool = False
    meters: Meters = field(default_factory=Meters)

    @property
    def process(self) -> Process:
        """The process."""
        return self.planned.process

    @property
    def width(self) -> int:
        """Tasks of it that can be in flight at once, now or in a later stage."""
        return max(1, math.ceil(self.size.planes / self.chunk)) if self.chunked else 1

    def seconds(self, task: Task) -> float:
        """Predicted, of one task: blocks share what the process takes by their planes."""
        whole = self.planned.prediction.cpu_s
        if task.kind == "block":
            return whole * (task.stop - task.first) / (self.passes * max(1, self.size.planes))
        return whole if task.kind == "all" else min(whole, BESIDE_S)

    def adopt(self, receipts: Iterable[Receipt]) -> None:
        """Count tasks of an earlier attempt as done."""
        for one in receipts:
            self.finish(one.task)

    def finish(self, task: Task) -> None:
        """Note that a task is done."""
        self.interruptions = self.losses = 0
        if task.kind == "block":
            self.done.setdefault(f"block-{task.pass_index}", set()).update(range(task.first, task.stop, SHARD_PLANES))
        else:
            self.done.setdefault(task.label, set()).add(0)

    def open_tasks(self) -> list[Task]:
        """Tasks of the first stage that is not done; empty when all are."""
        if not self.chunked:
            return [] if "all" in self.done else [Task("all")]
        for stage in self._stages():
            tasks = self._open(stage)
            if tasks:
                return tasks
        return []

    def _stages(self) -> Iterable[Task]:
        yield Task("prepare")
        for index in range(self.passes):
            yield Task("block", index)
            yield Task("reduce", index) if index < self.passes - 1 else Task("close")

    def _open(self, stage: Task) -> list[Task]:
        if stage.kind != "block":
            return [] if stage.label in self.done else [stage]
        done = self.done.get(f"block-{stage.pass_index}", set())
        missing = [first for first in range(0, self.size.planes, SHARD_PLANES) if first not in done]
        tasks: list[Task] = []
        for first in missing:
            stop = min(first + SHARD_PLANES, self.size.planes)
            last = tasks[-1] if tasks else None
            if last is not None and last.stop == first and first - last.first < self.chunk:
                tasks[-1] = Task("block", stage.pass_index, last.first, stop)
            else:
                tasks.append(Task("block", stage.pass_index, first, stop))
        return tasks
