"""The figures of `bench engine`: cost of driver and scheduler, efficiency, memory; plain Dask beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from archive_proc.bench.engine.longest import longest_figures
from archive_proc.bench.engine.measuring import Order, measured_apart
from archive_proc.bench.engine.slurm_array import NAME as ARRAY
from archive_proc.bench.engine.slurm_array import array_efficiency
from archive_proc.bench.figures import Beside, Figure, Report

COST_AIM_MS = 5.0
EFFICIENCY_AIM = 0.95
MEMORY_AIM_MB = 1000.0
GROWTH_AIM_MB = 100.0
PLAIN = "plain futures of as many tasks, all at once, nothing recorded"
_PLAYERS = 8
_SPEED = 2000.0
"""So much faster than life do played workers answer where only the cost of driver and scheduler is asked for."""
_ROUNDS = 12
"""Processes of one second a real worker gets."""
_PLAYED_S, _PLAYED_ROUNDS = 10.0, 6


def bench_engine(
    processes: int, real: Sequence[int], simulated: int, work: Path, longest: Sequence[int] = ()
) -> Report:
    """Stand-ins of a semester, processes of one second on real workers, ten seconds on so many simulated ones; the
    longest sequence in a semester's mix on so many real workers, and on the simulated ones.

    `processes` 0: no semester.
    """
    figures = _cost(processes, work) if processes else []
    for workers in real:
        figures += _efficiency(workers, work)
    if simulated:
        figures += _many(simulated, work)
    for workers in longest:
        figures += longest_figures(workers, work / f"longest-{workers}", played=False)
    if longest and simulated:
        figures += longest_figures(simulated, work / "longest-played", played=True)
    return Report("engine", tuple(figures))


def _cost(processes: int, work: Path) -> list[Figure]:
    order = Order(kind="semester", processes=processes, workers=_PLAYERS, root=str(work / "semester"), speed=_SPEED)
    found = measured_apart(order)
    plain = measured_apart(
        Order(kind="plain", processes=found.tasks, workers=_PLAYERS, root=str(work / "plain"), each_s=0.0, speed=_SPEED)
    )
    case = f"{found.processes} stand-ins of a semester, real scheduler, {_PLAYERS} played workers"
    parts = {"driver": found.driver_s, "scheduler and client": found.scheduler_s, "catalog": found.catalog_s}
    n = found.processes

    def figure(name: str, value: float, unit: str, aim: float | None = None, beside: float | None = None) -> Figure:
        reference = PLAIN if beside is not None else ""
        return Figure(
            case=case, name=name, value=value, unit=unit, aim=aim, n=n, reference=reference, reference_value=beside
        )

    return [
        figure("CPU a process, all", 1e3 * sum(parts.values()) / n, "ms", COST_AIM_MS, 1e3 * plain.scheduler_s / n),
        *(figure(f"CPU a process, {name}", 1e3 * spent / n, "ms") for name, spent in parts.items()),
        figure("tasks a process", found.tasks / n, "1"),
        figure("bundles a process", found.bundles / n, "1"),
        figure(
            "peak memory of the driver, plan included",
            found.peak_bytes / 1e6,
            "MB",
            MEMORY_AIM_MB,
            plain.peak_bytes / 1e6,
        ),
        figure("peak memory of the catalog's own process", found.catalog_peak_bytes / 1e6, "MB"),
        figure("memory at the end above a fifth of the run", found.growth_bytes / 1e6, "MB", GROWTH_AIM_MB),
        figure("not done", float(n - found.done), "1", 0.0),
    ]


def _efficiency(workers: int, work: Path) -> list[Figure]:
    n = _ROUNDS * workers
    root = str(work / f"real-{workers}")
    found = measured_apart(Order(kind="equal", processes=n, workers=workers, root=root, played=False))
    plain = measured_apart(Order(kind="plain", processes=n, workers=workers, root=root, played=False))
    array = array_efficiency(work / f"array-{workers}", workers, n, 1.0)
    case = f"processes of 1 s, {workers} real workers"
    return [
        Figure(
            case=case,
            name="efficiency, start-up apart",
            value=found.efficiency,
            unit="1",
            aim=EFFICIENCY_AIM if workers == 4 else None,
            at_least=True,
            reference=PLAIN,
            reference_value=plain.efficiency,
            n=n,
            beside=(Beside(ARRAY if array is not None else f"{ARRAY} (no SLURM answers)", array),),
        ),
        Figure(case=case, name="CPU of a worker a process", value=1e3 * found.worker_s, unit="ms", n=n),
        # On a machine with other work the first figure is that work's, too; these two are the engine's alone.
        Figure(case=case, name="efficiency that this CPU would leave", value=1 / (1 + found.worker_s), unit="1", n=n),
        Figure(case=case, name="share of a worker's time between tasks", value=found.between, unit="1", n=n),
    ]


def _many(workers: int, work: Path) -> list[Figure]:
    n = _PLAYED_ROUNDS * workers
    order = Order(kind="equal", processes=n, workers=workers, root=str(work / "many"), each_s=_PLAYED_S)
    found = measured_apart(order)
    case = f"processes of {_PLAYED_S:.0f} s, {workers} played workers, real scheduler"
    spent = 1e3 * (found.driver_s + found.scheduler_s) / n
    return [
        Figure(case=case, name="efficiency", value=found.efficiency, unit="1", n=n),
        Figure(case=case, name="CPU a process, driver and scheduler", value=spent, unit="ms", n=n),
        # Near a whole core it is the player that limits: the efficiency is a floor.
        Figure(case=case, name="share of a core, the process that plays them", value=found.players_busy, unit="1", n=n),
    ]
