"""A discrete-event model of a run: workers that come, work, retire and crash; one driver; a shared file system.

The driver hands out one task after the other and needs its time for each. Of the tasks that are ready, that with the
longest chain behind it goes first. The file system is one server of bytes and one of files: whoever asks is served
after those who asked before, and a worker never moves its bytes faster than one client can.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

import numpy as np

from archive_proc.bench.project.load import Load
from archive_proc.bench.project.machine import Machine

HOUR_S = 3600.0
JOIN_SHARE = 0.02
"""Of a process's seconds: what each task that prepares or joins chunks takes. The chunks share the rest."""


@dataclass(frozen=True, slots=True)
class Projection:
    """One run of the model."""

    workers: int
    makespan_s: float
    busy_s: float
    """Worker seconds in tasks, lost ones included."""
    driver_s: float
    """Driver seconds handing out tasks."""
    file_system_s: float
    """Seconds in which the file system moved bytes at its full rate."""
    lost_s: float
    """Worker seconds of tasks that a crash ended."""
    starts: int
    """Workers that came up."""
    tasks: int
    longest_s: float = 0.0
    """When the last of those processes ended that are cut into the most tasks: the longest sequence's."""

    def share(self, seconds: float) -> float:
        """Of the makespan, %."""
        return 100.0 * seconds / self.makespan_s if self.makespan_s else 0.0

    @property
    def utilisation(self) -> float:
        """Busy workers, % of those asked for."""
        return self.share(self.busy_s / self.workers)


@dataclass(slots=True)
class _Run:
    load: Load
    machine: Machine
    workers: int
    engine_s: float
    draws: np.random.Generator
    now: float = 0.0
    events: list[tuple[float, int, str, int]] = field(default_factory=list)
    """Heap: (time, number, what, job)."""
    ready: list[tuple[float, int, int]] = field(default_factory=list)
    """Heap: (-priority, job, tasks left of the stage)."""
    idle: list[float] = field(default_factory=list)
    """Heap: when each idle worker retires."""
    number: int = 0
    driver_free: float = 0.0
    bytes_free: float = 0.0
    files_free: float = 0.0
    busy: float = 0.0
    driver: float = 0.0
    moved: float = 0.0
    lost: float = 0.0
    starts: int = 0
    done: int = 0
    longest: float = 0.0

    def later(self, at: float, what: str, job: int = -1) -> None:
        self.number += 1
        heapq.heappush(self.events, (at, self.number, what, job))

    def ask_for_worker(self) -> None:
        low, high = self.machine.start_s
        self.later(self.now + float(self.draws.uniform(low, high)), "up")

    def go(self) -> Projection:
        stage = [0] * len(self.load.jobs)
        left = [one.stages[0] for one in self.load.jobs]
        waits = [one.waits for one in self.load.jobs]
        retires: dict[int, float] = {}
        for job, one in enumerate(self.load.jobs):
            if not one.waits:
                heapq.heappush(self.ready, (-one.priority, job, one.stages[0]))
        for _ in range(self.workers):
            self.ask_for_worker()
        open_jobs = len(self.load.jobs)
        most = max(one.tasks for one in self.load.jobs)
        while open_jobs:
            self.hand_out(stage, retires)
            self.now, number, what, job = heapq.heappop(self.events)
            if what == "up":
                self.starts += 1
                heapq.heappush(self.idle, self.now + self.machine.life_s)
                continue
            until = retires.pop(number)
            if what == "crash":
                heapq.heappush(self.ready, (-self.load.jobs[job].priority, job, 1))
                self.ask_for_worker()
                continue
            self.done += 1
            self.back(until)
            left[job] -= 1
            if left[job]:
                continue
            stages = self.load.jobs[job].stages
            stage[job] += 1
            if stage[job] < len(stages):
                left[job] = stages[stage[job]]
                heapq.heappush(self.ready, (-self.load.jobs[job].priority, job, left[job]))
                continue
            open_jobs -= 1
            if self.load.jobs[job].tasks == most:
                self.longest = self.now
            for user in self.load.jobs[job].feeds:
                waits[user] -= 1
                if not waits[user]:
                    heapq.heappush(self.ready, (-self.load.jobs[user].priority, user, left[user]))
        return Projection(
            self.workers, self.now, self.busy, self.driver, self.moved, self.lost, self.starts, self.done, self.longest
        )  # fmt: skip

    def back(self, until: float) -> None:
        """A worker is free again, or retires and is replaced."""
        if self.now >= until:
            self.ask_for_worker()
        else:
            heapq.heappush(self.idle, until)

    def hand_out(self, stage: list[int], retires: dict[int, float]) -> None:
        while self.ready and self.idle:
            until = heapq.heappop(self.idle)
            if until <= self.now:  # it retired while it had nothing to do
                self.ask_for_worker()
                continue
            priority, job, tasks = heapq.heappop(self.ready)
            if tasks > 1:
                heapq.heappush(self.ready, (priority, job, tasks - 1))
            begin = max(self.now, self.driver_free)
            self.driver_free = begin + self.engine_s
            self.driver += self.engine_s
            end = self.ended(begin + self.engine_s, *self.shares(job, stage[job]))
            rate = self.machine.crashes_per_hour / HOUR_S
            crash = begin + float(self.draws.exponential(1.0 / rate)) if rate else math.inf
            self.busy += min(end, crash) - begin
            if crash < end:
                self.lost += crash - begin
            self.later(min(end, crash), "crash" if crash < end else "end", job)
            retires[self.number] = until

    def shares(self, job: int, stage: int) -> tuple[float, float, float]:
        """(CPU seconds, bytes, files) of one task."""
        one = self.load.jobs[job]
        if len(one.stages) == 1:
            return one.cpu_s, one.bytes_moved, one.objects
        joins = len(one.stages) // 2 + 1
        if stage % 2 == 0:
            return JOIN_SHARE * one.cpu_s, 0.0, one.objects / joins
        chunks = sum(one.stages[1::2])
        return (1.0 - joins * JOIN_SHARE) * one.cpu_s / chunks, one.bytes_moved / chunks, 0.0

    def ended(self, begin: float, cpu_s: float, size: float, files: float) -> float:
        """When a task that begins now will be over."""
        served = size / self.machine.file_system_bytes_s
        self.moved += served
        self.bytes_free = max(self.bytes_free, begin) + served
        self.files_free = max(self.files_free, begin) + files / self.machine.metadata_per_s
        moved = max(begin + size / self.machine.client_bytes_s, self.bytes_free, self.files_free)
        return moved + cpu_s


def projected(load: Load, machine: Machine, workers: int, engine_s: float, seed: int) -> Projection:
    """Run the model. Seeded: equal arguments give equal numbers."""
    return _Run(load, machine, workers, engine_s, np.random.default_rng(seed)).go()


def bounds(load: Load, machine: Machine, workers: int, engine_s: float) -> dict[str, float]:
    """The least that each resource alone would need, s: the largest limits."""
    alone = math.fsum(one.bytes_moved for one in load.jobs) / machine.client_bytes_s
    return {
        "workers": (load.cpu_s + alone + load.tasks * engine_s) / workers,
        "longest chain": load.longest_chain(),
        "file system, bytes": load.bytes_moved / machine.file_system_bytes_s,
        "file system, files": load.objects / machine.metadata_per_s,
        "driver": load.tasks * engine_s,
        "start of workers": machine.start_s[1],
    }
