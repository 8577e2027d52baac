"""Predicted cost of processes and plans: seconds, memory, bytes, objects, and the longest chain.

Planes measure work, not observations. Without history the recipe's own linear model speaks; with it, quantiles of
CPU seconds a plane over past processes of the same recipe and version.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, ProcessId
from archive_proc.model.processes import Plan, PlannedProcess, Prediction, Process
from archive_proc.recipes.recipe import Recipe

MARGIN = 1.1
"""What is predicted must fit a site with so much to spare."""
CHUNK_PLANES = 64
"""Planes of one chunk of about 0.5 GB of raw IRDIS pixels (DESIGN 4): what several workers share a process by."""
MIN_HISTORY = 3
"""Past processes below which quantiles say less than the recipe's own model."""


@dataclass(frozen=True, slots=True)
class CostHistory:
    """What past processes of one recipe cost; per plane, so that long and short sequences teach each other."""

    n: int
    """Processes it rests on."""
    cpu_s_per_plane: tuple[float, float, float]
    """10, 50 and 90 % quantile, s."""
    memory_gb: float
    """95 % quantile of the peak, GB."""
    bytes_out_per_plane: float
    """Median."""


History = Mapping[str, CostHistory]
"""By recipe name."""


class Forecast:
    """Predicts processes one after the other, sources before those that use them."""

    def __init__(
        self, cookbook: Sequence[Recipe], frames: Mapping[FileId, RawFrame], history: History | None = None
    ) -> None:
        self._recipes = {one.name: one for one in cookbook}
        self._frames = frames
        self._history = history or {}
        self._known: dict[ProcessId, Prediction] = {}

    def of(self, process: Process) -> Prediction:
        """The predicted cost of a process whose sources were predicted before. Raises KeyError where they were not."""
        if process.process_id in self._known:
            return self._known[process.process_id]
        raw = [self._frames[FileId(one.input_id)] for one in process.main if one.kind == "file"]
        main_sources = [ProcessId(one.input_id.partition(".")[0]) for one in process.main if one.kind == "product"]
        planes = sum(one.n_planes for one in raw) + sum(self._known[one].planes for one in main_sources)
        # Whole products of the sources are counted, which is at most what a recipe reads of them.
        bytes_in = sum(one.declared_bytes for one in raw) + sum(self._known[one].bytes_out for one in process.sources)
        found = self._predict(self._recipes[process.recipe], planes, bytes_in)
        self._known[process.process_id] = found
        return found

    def _predict(self, recipe: Recipe, planes: int, bytes_in: int) -> Prediction:
        cost, past = recipe.cost, self._history.get(recipe.name)
        bytes_out = cost.bytes_out + cost.bytes_out_per_plane * planes
        if past is None or past.n < MIN_HISTORY or not planes:
            cpu_s = cost.cpu_s + cost.cpu_s_per_plane * planes
            return Prediction(
                cpu_s=cpu_s,
                memory_gb=cost.memory_gb,
                bytes_in=bytes_in,
                bytes_out=bytes_out,
                inodes=cost.inodes,
                planes=planes,
                cpu_s_low=cpu_s,
                cpu_s_high=cpu_s,
            )
        low, median, high = (one * planes for one in past.cpu_s_per_plane)
        return Prediction(
            cpu_s=median,
            memory_gb=past.memory_gb,
            bytes_in=bytes_in,
            bytes_out=round(past.bytes_out_per_plane * planes),
            inodes=cost.inodes,
            planes=planes,
            source="history",
            cpu_s_low=low,
            cpu_s_high=high,
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """The processes that must follow each other and take longest."""

    seconds: float
    processes: tuple[ProcessId, ...]
    """In the order they run."""


def longest_chain(plan: Plan, workers: int = 1) -> Chain:
    """The longest path through what is to run, s. A process is shared by as many workers as it has chunks."""
    rows = {one.process.process_id: one for one in plan.processes if one.to_run}
    sources = {key: [source for source in one.process.sources if source in rows] for key, one in rows.items()}
    best: dict[ProcessId, tuple[float, ProcessId | None]] = {}
    for key in _sources_first(sources):
        # Ties go to the smaller id, so that equal plans print alike.
        previous = min(sources[key], key=lambda source: (-best[source][0], source), default=None)
        start = best[previous][0] if previous is not None else 0.0
        best[key] = (start + _seconds(rows[key], workers), previous)
    if not best:
        return Chain(0.0, ())
    last: ProcessId | None = min(best, key=lambda one: (-best[one][0], one))
    seconds, path = best[last][0] if last else 0.0, []
    while last is not None:
        path.append(last)
        last = best[last][1]
    return Chain(seconds, tuple(reversed(path)))


def chains_ahead(rows: Mapping[ProcessId, PlannedProcess], workers: int = 1) -> dict[ProcessId, float]:
    """Predicted seconds from each process to the end of the longest chain it is in, its own included."""
    sources = {key: [source for source in one.process.sources if source in rows] for key, one in rows.items()}
    ahead = {key: _seconds(one, workers) for key, one in rows.items()}
    after = dict.fromkeys(rows, 0.0)
    for key in reversed(_sources_first(sources)):
        ahead[key] += after[key]
        for source in sources[key]:
            after[source] = max(after[source], ahead[key])
    return ahead


def _seconds(one: PlannedProcess, workers: int) -> float:
    chunks = max(1, math.ceil(one.prediction.planes / CHUNK_PLANES))
    return one.prediction.cpu_s / min(max(1, workers), chunks)


def _sources_first(sources: Mapping[ProcessId, Sequence[ProcessId]]) -> list[ProcessId]:
    """The keys so ordered that every process follows its sources."""
    waiting = {key: len(some) for key, some in sources.items()}
    users: defaultdict[ProcessId, list[ProcessId]] = defaultdict(list)
    for key, some in sources.items():
        for source in some:
            users[source].append(key)
    order = [key for key in sorted(sources) if not waiting[key]]
    for key in order:  # grows while it is walked
        for user in users[key]:
            waiting[user] -= 1
            if not waiting[user]:
                order.append(user)
    return order


@dataclass(frozen=True, slots=True)
class Demand:
    """What a plan asks of a site, summed over what is to run."""

    cpu_s: float
    cpu_s_low: float
    cpu_s_high: float
    memory_gb: float
    """Largest of all processes."""
    bytes_in: int
    bytes_out: int
    scratch_bytes: int
    """Products in the making at the same time, at most."""
    inodes: int
    planes: int
    chain_s: float
    """Longest chain on the given workers, s."""
    with_history: int
    """Processes predicted from past ones."""
    to_run: int

    def wall_s(self, workers: int) -> float:
        """Wall seconds on so many workers: the sum shared among them, never less than the longest chain."""
        return max(self.cpu_s / max(1, workers), self.chain_s)


def demand(plan: Plan, workers: int = 1, chain: Chain | None = None) -> Demand:
    """Sum the predictions of what is to run. `chain`: the plan's longest for these workers, where it is known."""
    some = [one.prediction for one in plan.processes if one.to_run]
    sizes = sorted((one.bytes_out for one in some), reverse=True)
    return Demand(
        cpu_s=math.fsum(one.cpu_s for one in some),
        cpu_s_low=math.fsum(one.cpu_s_low for one in some),
        cpu_s_high=math.fsum(one.cpu_s_high for one in some),
        memory_gb=max((one.memory_gb for one in some), default=0.0),
        bytes_in=sum(one.bytes_in for one in some),
        bytes_out=sum(sizes),
        scratch_bytes=sum(sizes[: max(1, workers)]),
        inodes=sum(one.inodes for one in some),
        planes=sum(one.planes for one in some),
        chain_s=(chain or longest_chain(plan, workers)).seconds,
        with_history=sum(one.source == "history" for one in some),
        to_run=len(some),
    )


def disk(plan: Plan) -> tuple[int, int]:
    """Bytes and objects (inodes) that the plan will add to the archive."""
    found = demand(plan)
    return found.bytes_out, found.inodes
