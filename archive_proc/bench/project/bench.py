"""`bench project`: one semester and a whole archive on workers that are not at hand. Every time is projected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from archive_proc.archive import Archive
from archive_proc.bench.figures import Figure, Report
from archive_proc.bench.project.costs import Costs, fitted
from archive_proc.bench.project.load import Load, load_of
from archive_proc.bench.project.machine import Machine
from archive_proc.bench.project.model import HOUR_S, Projection, bounds, projected
from archive_proc.bench.run_records import RunRecords, latest_that_worked, read_records
from archive_proc.errors import MisuseError
from archive_proc.execution.cookbooks import DEFAULT_COOKBOOK, recipes_of
from archive_proc.flow.running import load_plan
from archive_proc.model.events import RunStarted
from archive_proc.model.processes import Plan
from archive_proc.storage.journal import read_journal

ERROR_AIM = 20.0
"""Of predicted run times, % (notes/workflow 12)."""
TERABYTE = 1e12


@dataclass(frozen=True, slots=True)
class Measured:
    """A run that did work."""

    archive: Archive
    records: RunRecords
    plan: Plan
    chunk_gb: float

    @property
    def name(self) -> str:
        """For the table."""
        return f"run:{self.records.run_id[:12]}"

    @property
    def workers(self) -> int:
        """Most that it had at once."""
        return max(one.workers for one in self.records.stretches)


def measured_run(named: str) -> Measured:
    """A run by `ARCHIVE` (the latest that did work) or `ARCHIVE:RUN`.

    Raises NotFoundError where there is none, InputError AP-BEN-001 where it has no task on record.
    """
    place, _, run = named.rpartition(":") if not Path(named).is_dir() else (named, "", "")
    archive = Archive.open(place or named)
    run_id = archive.run_id(run) if run and place else latest_that_worked(archive.layout)
    started = next(one for one in read_journal(archive.layout.journal(run_id)).events if isinstance(one, RunStarted))
    return Measured(
        archive,
        read_records(archive.layout, run_id),
        load_plan(archive.layout, started.plan_id),
        float(started.config.get("chunk_gb", "0.5")),
    )


def bench_project(
    archive: Archive,
    plan: Plan,
    runs: Sequence[Measured],
    machine: Machine,
    sizes: Sequence[int],
    *,
    semesters: int,
    seed: int,
) -> Report:
    """Project a plan onto so many workers, and so many semesters like it.

    Raises MisuseError AP-BEN-002 where the plan has nothing to run, or no run was measured.
    """
    if not runs or not any(one.to_run for one in plan.processes):
        raise MisuseError(
            "AP-BEN-002",
            "no measured run to project from" if not runs else "nothing is left to run, so nothing to project",
            subject=f"plan:{plan.plan_id[:12]}",
            remedy="--measured ARCHIVE of a run that did work (bench throughput --work DIR makes one: DIR/archive)"
            if not runs
            else "project the plan of an archive whose files are not yet reduced (simulate semester, ingest)",
        )
    costs = fitted([one.records for one in runs])
    load = load_of(
        plan, costs, machine, recipes_of(archive.cookbook or DEFAULT_COOKBOOK), archive.campaign.frames, seed
    )
    figures = [*_inputs(load, costs, machine, runs), *_calibration(runs, seed)]
    figures += _sizes("the plan, projected", load, costs, machine, sizes, seed)
    if semesters > 1:
        figures += _sizes(
            f"{semesters} such plans at once, projected", load.times(semesters), costs, machine, sizes, seed
        )
    return Report("project", tuple(figures))


def _inputs(load: Load, costs: Costs, machine: Machine, runs: Sequence[Measured]) -> list[Figure]:
    case = f"inputs: site {machine.site}"
    most = max(one.workers for one in runs)
    life = machine.life_s / HOUR_S if math.isfinite(machine.life_s) else None
    rows: list[tuple[str, float | None, str]] = [
        ("processes to run, of the plan", len(load.jobs), "1"),
        (f"tasks, in chunks of {machine.chunk_gb:g} GB", load.tasks, "1"),
        ("CPU", load.cpu_s / HOUR_S, "core-h"),
        ("CPU whose recipes were measured; the rest is the recipes' own model", 100.0 * load.measured_share, "%"),
        ("read and written, decoded", load.bytes_moved / TERABYTE, "TB"),
        ("files made", load.objects, "1"),
        (f"engine, a task; measured with {most} worker{'s' if most > 1 else ''}", 1e3 * costs.engine_s, "ms"),
        ("wall over CPU of the measured tasks; taken out", costs.stretch, "1"),
        ("life of a worker, from the profile", life, "h"),
        ("start of a worker at most, assumed", machine.start_s[1], "s"),
        ("file system, assumed", machine.file_system_bytes_s / 1e9, "GB/s"),
        ("one client of it, assumed", machine.client_bytes_s / 1e6, "MB/s"),
        ("files it makes, assumed", machine.metadata_per_s, "1/s"),
        ("crashes of a worker, assumed", machine.crashes_per_hour, "1/h"),
    ]
    return [
        Figure(case=case, name=name, value=value, unit=unit, n=sum(len(one.records.tasks) for one in runs))
        for name, value, unit in rows
    ]


def _calibration(runs: Sequence[Measured], seed: int) -> list[Figure]:
    """The model's wall time of each measured run beside the real one; costs from the other runs where there are."""
    figures = []
    for one in runs:
        others = [other.records for other in runs if other is not one] or [one.records]
        own, costs = fitted([one.records]), fitted(others)
        # A recipe that no other run did cannot be told by them.
        costs = replace(costs, recipes={**own.recipes, **costs.recipes})
        error, wall_s = _error(one, costs, own, seed)
        figures.append(
            Figure(
                case="calibration: the model beside measured runs",
                name=f"{one.name}, {one.workers} workers, costs of {'the other runs' if len(runs) > 1 else 'itself'}",
                value=error,
                unit="% off",
                aim=ERROR_AIM,
                reference="s measured",
                reference_value=wall_s,
                n=len(one.records.tasks),
            )
        )
    return figures


def _error(run: Measured, costs: Costs, own: Costs, seed: int) -> tuple[float, float]:
    """(% off, measured s). What the machine did beside is the run's own: no other run can tell it."""
    here = Machine(
        site=run.name,
        start_s=own.start_s,
        file_system_bytes_s=math.inf,  # what reading and writing took is in the tasks' wall time
        client_bytes_s=math.inf,
        metadata_per_s=math.inf,
        life_s=math.inf,
        crashes_per_hour=0.0,
        chunk_gb=run.chunk_gb,
        workers_at_most=run.workers,
    )
    load = load_of(
        run.plan,
        costs,
        here,
        recipes_of(run.archive.cookbook or DEFAULT_COOKBOOK),
        run.archive.campaign.frames,
        seed,
        only={one.process_id for one in run.records.sealed},
    )
    slowed = Load(tuple(replace(one, cpu_s=own.stretch * one.cpu_s) for one in load.jobs), load.planes)
    found = projected(slowed, here, run.workers, costs.engine_s, seed)
    wall_s = run.records.wall_s
    return 100.0 * abs(found.makespan_s - wall_s) / wall_s, wall_s


def _sizes(case: str, load: Load, costs: Costs, machine: Machine, sizes: Sequence[int], seed: int) -> list[Figure]:
    alone_s = bounds(load, machine, 1, costs.engine_s)["workers"]
    figures = []
    for workers in sizes:
        found = projected(load, machine, workers, costs.engine_s, seed)
        figures += _size(case, found, alone_s, bounds(load, machine, workers, costs.engine_s))
    return figures


def _size(case: str, found: Projection, alone_s: float, least: dict[str, float]) -> list[Figure]:
    limit = max(least, key=lambda name: least[name])
    label = f"{found.workers} worker{'s' if found.workers > 1 else ''}"
    return [
        Figure(
            case=case,
            name=f"{label}: wall",
            value=found.makespan_s / HOUR_S,
            unit="h",
            reference=f"% of it: {limit}",
            reference_value=found.share(least[limit]),
            n=found.tasks,
        ),
        Figure(
            case=case,
            name=f"{label}: efficiency",
            value=alone_s / (found.workers * found.makespan_s),
            unit="1",
            reference="% driver busy",
            reference_value=found.share(found.driver_s),
            n=found.tasks,
        ),
        Figure(
            case=case,
            name=f"{label}: end of what is cut into most tasks, the longest sequence",
            value=found.share(found.longest_s),
            unit="% of wall",
            n=found.tasks,
        ),
    ]
