"""A plan as the model sees it: processes in stages of tasks, their seconds and bytes, who waits for whom."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from archive_proc.bench.project.costs import Costs
from archive_proc.bench.project.machine import Machine
from archive_proc.execution.schedule import Schedule
from archive_proc.execution.work import FLOAT_BYTES, Size, chunk_planes
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, ProcessId
from archive_proc.model.processes import Plan, PlannedProcess
from archive_proc.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Job:
    """One process."""

    recipe: str
    stages: tuple[int, ...]
    """Tasks of each stage: a stage begins when the one before has ended."""
    cpu_s: float
    """Of all its tasks together."""
    bytes_moved: float
    """Read and written."""
    objects: float
    """Files made."""
    priority: float
    """CPU seconds to the end of the longest chain that begins with it."""
    feeds: tuple[int, ...]
    """Positions of the processes that wait for it."""
    waits: int
    """How many it waits for."""
    measured: bool
    """Whether its cost comes from a measured process of its recipe."""

    @property
    def tasks(self) -> int:
        """All of them."""
        return sum(self.stages)


@dataclass(frozen=True, slots=True)
class Load:
    """All that is to run."""

    jobs: tuple[Job, ...]
    planes: int
    """Raw planes read, each counted for every process that reads it."""

    @property
    def cpu_s(self) -> float:
        """Of all."""
        return math.fsum(one.cpu_s for one in self.jobs)

    @property
    def tasks(self) -> int:
        """Of all."""
        return sum(one.tasks for one in self.jobs)

    @property
    def bytes_moved(self) -> float:
        """Of all."""
        return math.fsum(one.bytes_moved for one in self.jobs)

    @property
    def objects(self) -> float:
        """Of all."""
        return math.fsum(one.objects for one in self.jobs)

    @property
    def measured_share(self) -> float:
        """Of the CPU seconds: what rests on measured processes, the rest on the recipes' own models."""
        total = self.cpu_s
        return math.fsum(one.cpu_s for one in self.jobs if one.measured) / total if total else 0.0

    def times(self, n: int) -> Load:
        """As many such semesters, none waiting for another."""
        size = len(self.jobs)
        jobs = [
            Job(
                one.recipe, one.stages, one.cpu_s, one.bytes_moved, one.objects, one.priority,
                tuple(position + turn * size for position in one.feeds), one.waits, one.measured,
            )
            for turn in range(n)
            for one in self.jobs
        ]  # fmt: skip
        return Load(tuple(jobs), n * self.planes)

    def longest_chain(self) -> float:
        """Seconds of the longest chain with a worker for every task."""
        ready = [0.0] * len(self.jobs)
        waits = [one.waits for one in self.jobs]
        queue = [position for position, count in enumerate(waits) if not count]
        longest = 0.0
        for position in queue:  # grows while it is walked
            job = self.jobs[position]
            end = ready[position] + job.cpu_s * len(job.stages) / job.tasks
            longest = max(longest, end)
            for user in job.feeds:
                ready[user] = max(ready[user], end)
                waits[user] -= 1
                if not waits[user]:
                    queue.append(user)
        return longest


def load_of(
    plan: Plan,
    costs: Costs,
    machine: Machine,
    recipes: Sequence[Recipe],
    frames: Mapping[FileId, RawFrame],
    seed: int,
    *,
    only: Collection[ProcessId] | None = None,
) -> Load:
    """What a plan has to run (`only`: these, sealed or not), at measured costs, scattered as they were.

    A process is cut into chunks as the engine cuts it. Seconds are drawn about the fitted ones, seeded.
    """
    chosen = [one for one in plan.processes if (one.to_run if only is None else one.process.process_id in only)]
    schedule = Schedule(chosen)
    position = {one.process.process_id: number for number, one in enumerate(chosen)}
    by_name = {one.name: one for one in recipes}
    feeds: list[list[int]] = [[] for _ in chosen]
    for number, one in enumerate(chosen):
        for source in one.process.sources:
            if source in position:
                feeds[position[source]].append(number)
    drawn = np.random.default_rng(seed).normal(size=len(chosen))
    jobs = []
    for number, one in enumerate(chosen):
        process, prediction = one.process, one.prediction
        cpu_s, read, written, measured = costs.of(process.recipe, prediction)
        known = costs.recipes.get(process.recipe)
        jobs.append(
            Job(
                recipe=process.recipe,
                stages=_stages(one, by_name[process.recipe], schedule.planned, frames, machine.chunk_gb),
                cpu_s=cpu_s * math.exp(costs.scatter(process.recipe) * float(drawn[number])),
                bytes_moved=read + written,
                objects=float(prediction.inodes) if known is None else known.objects,
                priority=schedule.priorities[process.process_id],
                feeds=tuple(feeds[number]),
                waits=sum(source in position for source in process.sources),
                measured=measured,
            )
        )
    return Load(tuple(jobs), sum(one.prediction.planes for one in chosen))


def _stages(
    one: PlannedProcess,
    recipe: Recipe,
    planned: Mapping[ProcessId, PlannedProcess],
    frames: Mapping[FileId, RawFrame],
    chunk_gb: float,
) -> tuple[int, ...]:
    """One task, or those of `execution.work`: prepare and, for every pass, its chunks and what joins them."""
    planes = one.prediction.planes
    chunk = chunk_planes(Size(planes, _plane_bytes(one, planned, frames)), chunk_gb)
    if recipe.axis != "planes" or planes <= chunk:
        return (1,)
    return (1, *(tasks for _ in recipe.passes for tasks in (math.ceil(planes / chunk), 1)))


def _plane_bytes(
    one: PlannedProcess, planned: Mapping[ProcessId, PlannedProcess], frames: Mapping[FileId, RawFrame]
) -> int:
    largest = 0
    for entry in one.process.main:
        if entry.kind == "file":
            frame = frames[FileId(entry.input_id)]
            largest = max(largest, FLOAT_BYTES * (frame.naxis1 or 0) * (frame.naxis2 or 0))
        else:
            source = planned.get(ProcessId(entry.input_id.partition(".")[0]))
            if source is not None and source.prediction.planes:
                largest = max(largest, source.prediction.bytes_out // source.prediction.planes)
    return largest
