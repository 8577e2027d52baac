"""What processes cost, fitted to measured runs: seconds by recipe and planes, bytes, start-up, the engine itself."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from archive_proc.bench.run_records import RunRecords
from archive_proc.bench.worker_time import BETWEEN, worker_time
from archive_proc.model.processes import Prediction
from archive_proc.model.records import ProcessRecord

SCATTER_FLOOR = 0.05
"""Processes of one recipe and size still differ by as much; one or two of them cannot tell."""
LEAST_SECONDS = 1e-3


@dataclass(frozen=True, slots=True)
class RecipeCost:
    """Processes of one recipe."""

    fixed_s: float
    """CPU seconds of a process, whatever its planes."""
    per_plane_s: float
    scatter: float
    """Standard deviation of the logarithm of measured over fitted seconds."""
    read_per_plane: float
    """Decoded bytes."""
    written_per_plane: float
    objects: float
    """Files that a process makes."""
    n: int
    """Measured processes."""

    def seconds(self, planes: int) -> float:
        """CPU seconds of a process of so many planes."""
        return max(LEAST_SECONDS, self.fixed_s + self.per_plane_s * planes)


@dataclass(frozen=True, slots=True)
class Costs:
    """All that a projection knows from measurement."""

    recipes: Mapping[str, RecipeCost]
    engine_s: float
    """Wall seconds between two tasks of a worker that is not waiting for work."""
    start_s: tuple[float, float]
    """Shortest and longest start of a worker process, s."""
    stretch: float
    """Wall over CPU seconds of the measured tasks: what else the machine did."""
    runs: int

    def of(self, recipe: str, prediction: Prediction) -> tuple[float, float, float, bool]:
        """CPU seconds, bytes read, bytes written of a process; and whether a measurement says so."""
        known = self.recipes.get(recipe)
        if known is None:
            return max(LEAST_SECONDS, prediction.cpu_s), prediction.bytes_in, prediction.bytes_out, False
        planes = prediction.planes
        return known.seconds(planes), known.read_per_plane * planes, known.written_per_plane * planes, True

    def scatter(self, recipe: str) -> float:
        """Of the logarithm of its seconds."""
        known = self.recipes.get(recipe)
        return SCATTER_FLOOR if known is None else known.scatter


def fitted(runs: Sequence[RunRecords]) -> Costs:
    """Costs from the records of one or more runs."""
    sealed: defaultdict[str, list[ProcessRecord]] = defaultdict(list)
    for run in runs:
        for recipe, some in run.by_recipe().items():
            sealed[recipe].extend(some)
    tasks = [task for run in runs for task in run.tasks]
    cpu_s = math.fsum(one.cpu_s for one in tasks)
    between_s = math.fsum(share.wall_s for run in runs for share in worker_time(run).shares if share.name == BETWEEN)
    starts = [one.wall_s for run in runs for stretch in run.stretches for one in stretch.ready]
    return Costs(
        recipes={recipe: _recipe(some) for recipe, some in sorted(sealed.items())},
        engine_s=between_s / len(tasks) if tasks else 0.0,
        start_s=(min(starts), max(starts)) if starts else (0.0, 0.0),
        stretch=max(1.0, math.fsum(one.wall_s for one in tasks) / cpu_s) if cpu_s else 1.0,
        runs=len(runs),
    )


def _recipe(records: Sequence[ProcessRecord]) -> RecipeCost:
    planes = np.array([max(1, one.planes) for one in records], np.float64)
    seconds = np.array([max(LEAST_SECONDS, one.cpu_s) for one in records])
    fixed, per_plane = _line(planes, seconds)
    ratio = np.log(seconds / np.maximum(LEAST_SECONDS, fixed + per_plane * planes))
    total = float(planes.sum())
    return RecipeCost(
        fixed_s=fixed,
        per_plane_s=per_plane,
        scatter=max(SCATTER_FLOOR, float(ratio.std())) if len(records) > 2 else SCATTER_FLOOR,
        read_per_plane=sum(one.bytes_read for one in records) / total,
        written_per_plane=sum(one.bytes_written for one in records) / total,
        objects=sum(3 + 4 * len(one.products) for one in records) / len(records),
        n=len(records),
    )


def _line(planes: NDArray[np.float64], seconds: NDArray[np.float64]) -> tuple[float, float]:
    """Seconds = fixed + slope x planes, neither negative, by relative residuals; one size alone: all by the plane."""
    if np.ptp(planes) == 0.0:
        return 0.0, float(np.mean(seconds / planes))
    matrix = np.stack([1.0 / seconds, planes / seconds], axis=1)
    found, _ = nnls(matrix, np.ones(len(seconds)))
    return float(found[0]), float(found[1])
