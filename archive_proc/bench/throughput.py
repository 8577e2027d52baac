"""How fast a run was, what it cost, and where the time of its workers went: figures from its records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from archive_proc.archive import Archive
from archive_proc.bench.commands import reduce_by_commands
from archive_proc.bench.figures import Figure, Report
from archive_proc.bench.limits import limit_figures
from archive_proc.bench.plain_reduction import PlainCost, plain_cost
from archive_proc.bench.run_records import RunRecords, read_records
from archive_proc.bench.worker_time import Budget, idle_while_blocks_were_left, worker_time
from archive_proc.model.events import TaskEnded
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, RunId
from archive_proc.model.phases import RECIPE_PHASES, Phase, PhaseCost, summed
from archive_proc.model.records import ProcessRecord
from archive_proc.simulate.night import simulate_night
from archive_proc.simulate.repeated import long_night
from archive_proc.storage.fits import RawReader

SEED = 20170929
PLAIN_PLANES = 32
"""Planes of the plain reduction."""
ENGINE_NAME = "engine, Zarr and checksums: all but recipes, the reading of raw FITS and compiling"
"""Zarr read and written, every digest (of raw pixels too), start-up, records, seals.

Not the compiling of kernels, which a machine does once; it has a line of its own and counts in the CPU a plane.
"""
MEGABYTE = 1e6
GROWTH_AIM_MB = 200.0
READS_AIM = 2.0
IDLE_AIM = 10.0


@dataclass(frozen=True, slots=True)
class Chain:
    """Raw file to centred cube of one arm, and what is asked of it."""

    recipes: tuple[str, ...]
    readers: tuple[str, ...]
    """Those that read raw planes."""
    cpu_aim_s: float
    """A science plane."""
    memory_aim_mb: float
    """Of any task of the arm."""
    engine_aim: float | None = None
    """Per cent of CPU; None: nothing is asked."""


IRDIS_CHAIN = Chain(
    ("irdis_tracks", "irdis_science", "irdis_centered"), ("irdis_tracks", "irdis_science"), 0.8, 2000.0, 35.0
)
IFS_CHAIN = Chain(("ifs_extract", "ifs_tracks", "ifs_science", "ifs_centered"), ("ifs_extract",), 3.0, 1500.0)
CHAINS = (IRDIS_CHAIN, IFS_CHAIN)
OF_FRAMES = "ifs_extract_frame"
"""Neither of the science planes nor a master: CENTER and FLUX files, and what was asked for."""


def bench_simulated(
    planes: int, work: Path, *, run_options: tuple[str, ...] = (), filter_name: str, small_files: bool = False
) -> Report:
    """Simulate an observation of so many full planes below `work`, reduce it by the commands, measure that run.

    `small_files`: raw planes as packed whole numbers, about a seventh of the bytes.
    """
    raw = work / "raw"
    night = long_night(planes, filter_name=filter_name, whole_numbers=small_files, packed=small_files)
    simulate_night(raw, night, SEED)
    reduce_by_commands(work / "archive", raw, run_options)
    archive = Archive.open(work / "archive")
    return bench_run(archive, archive.run_id(None))


def bench_run(archive: Archive, run_id: RunId) -> Report:
    """Measure a run of an archive from its records."""
    records = read_records(archive.layout, run_id)
    return Report("throughput", throughput_figures(records, _plain(archive, records)))


def _plain(archive: Archive, records: RunRecords) -> PlainCost | None:
    """The plain reduction of the same raw planes; None where they are out of reach."""
    wanted = [
        FileId(entry.input_id)
        for record in (*records.by_recipe().get("irdis_science", ()), *records.by_recipe().get("irdis_tracks", ()))
        for entry in record.process.main
        if entry.frame_role not in ("CENTER", "FLUX")
    ]
    frames: Mapping[FileId, RawFrame] = archive.campaign.frames
    reader = RawReader({name: Path(root) for name, root in archive.settings.raw_roots.items()})
    found = [(frames[one], reader.path(frames[one])) for one in dict.fromkeys(wanted) if one in frames]
    present = [(frame, path) for frame, path in found if path.is_file()]
    return plain_cost(present, PLAIN_PLANES) if present else None


def throughput_figures(records: RunRecords, plain: PlainCost | None) -> tuple[Figure, ...]:
    """Every figure of a run."""
    made = records.by_recipe()
    figures = _speed(records, made)
    for chain in CHAINS:
        figures += _chain(chain, records, made, plain if chain is IRDIS_CHAIN else None)
    figures += _masters(records, made)
    for recipe, sealed in made.items():
        figures += _recipe(records, recipe, sealed)
    budget = worker_time(records)
    return (*figures, *limit_figures(records, budget), *_budget(records, budget))


def _science_planes(chain: Chain, made: Mapping[str, Sequence[ProcessRecord]]) -> int:
    """Science planes of an arm in the run, from the last recipe of the chain that tells."""
    for recipe in reversed(chain.recipes):
        if recipe in made:
            return sum(one.planes for one in made[recipe])
    return 0


def _speed(records: RunRecords, made: Mapping[str, Sequence[ProcessRecord]]) -> list[Figure]:
    wall_s = records.wall_s
    planes = sum(_science_planes(chain, made) for chain in CHAINS)
    read = sum(one.bytes_read for one in records.tasks)
    written = sum(one.bytes_written for one in records.sealed)
    workers = max(one.workers for one in records.stretches)
    note = f"of {workers} workers, {wall_s:.0f} s wall"
    return [
        Figure(case="run", name="science planes", value=planes / wall_s, unit="1/s", reference=note, n=planes),
        Figure(case="run", name="read, decoded", value=read / MEGABYTE / wall_s, unit="MB/s", n=len(records.tasks)),
        Figure(case="run", name="written", value=written / MEGABYTE / wall_s, unit="MB/s", n=len(records.sealed)),
    ]


def _chain(
    chain: Chain, records: RunRecords, made: Mapping[str, Sequence[ProcessRecord]], plain: PlainCost | None
) -> list[Figure]:
    """Raw file to centred cube of an arm, as far as the run went; masters apart."""
    present = [one for one in chain.recipes if one in made]
    planes = _science_planes(chain, made)
    if not present or not planes:
        return []
    case = " + ".join(present)
    phases = _phases([task for recipe in present for task in records.tasks_of(recipe)])
    cpu_s = sum(one.cpu_s for one in phases.values())
    apart = {*RECIPE_PHASES, Phase.RAW, Phase.COMPILE}
    # By what is left out: a phase that this package does not know is the engine's.
    engine_s = sum(cost.cpu_s for name, cost in phases.items() if name not in apart)
    raw_s = phases.get(Phase.RAW, PhaseCost()).cpu_s
    lasting_s = cpu_s - phases.get(Phase.COMPILE, PhaseCost()).cpu_s
    whole = present == list(chain.recipes)
    figures = [
        Figure(
            case=case,
            name="CPU a science plane",
            value=cpu_s / planes,
            unit="s",
            aim=chain.cpu_aim_s if whole else None,
            reference="plain numpy and Zarr, once" if plain else "",
            reference_value=plain.cpu_s_per_plane if plain else None,
            n=planes,
        ),
        Figure(
            case=case,
            name=ENGINE_NAME,
            # Of what every plane costs: compiling must not make the share look smaller either.
            value=100.0 * engine_s / lasting_s if lasting_s else None,
            unit="% of CPU",
            aim=chain.engine_aim if whole else None,
            reference="s a plane",
            reference_value=engine_s / planes,
            n=planes,
        ),
        Figure(
            case=case,
            name="reading and inflating raw FITS planes",
            value=100.0 * raw_s / cpu_s if cpu_s else None,
            unit="% of CPU",
            reference="s a plane",
            reference_value=raw_s / planes,
            n=planes,
        ),
    ]
    figures += [
        Figure(
            case=case,
            name=f"CPU a science plane, {name}",
            value=cost.cpu_s / planes,
            unit="s",
            reference="% of CPU",
            reference_value=100.0 * cost.cpu_s / cpu_s if cpu_s else None,
            n=planes,
        )
        for name, cost in phases.items()
    ]
    readers = [one for one in chain.readers if one in made]
    reads = sum(sum(one.planes_read for one in made[name]) / sum(one.planes for one in made[name]) for name in readers)
    figures.append(Figure(case=case, name="reads of a raw plane", value=reads, unit="1", aim=READS_AIM, n=len(readers)))
    return figures


def _masters(records: RunRecords, made: Mapping[str, Sequence[ProcessRecord]]) -> list[Figure]:
    """What the masters cost, and single frames that were extracted."""
    chained = {recipe for chain in CHAINS for recipe in chain.recipes}
    kinds = {"masters": [one for one in made if one not in {*chained, OF_FRAMES}], "single frames": [OF_FRAMES]}
    figures = []
    for case, recipes in kinds.items():
        n = sum(one.planes for recipe in recipes for one in made.get(recipe, ()))
        if n:
            spent = sum(task.cpu_s for recipe in recipes for task in records.tasks_of(recipe))
            figures.append(Figure(case=case, name="CPU of all", value=spent, unit="s", n=n))
    return figures


def _memory_aim(recipe: str) -> float:
    """Megabytes: by the arm that the recipe is named after."""
    return IFS_CHAIN.memory_aim_mb if recipe.startswith("ifs_") else IRDIS_CHAIN.memory_aim_mb


def _phases(tasks: Sequence[TaskEnded]) -> Mapping[str, PhaseCost]:
    found: Mapping[str, PhaseCost] = {}
    for one in tasks:
        found = summed(found, one.phases)
    return found


def _recipe(records: RunRecords, recipe: str, sealed: Sequence[ProcessRecord]) -> list[Figure]:
    tasks = records.tasks_of(recipe)
    planes = sum(one.planes for one in sealed)
    phases = _phases(tasks)
    cpu_s = sum(one.cpu_s for one in tasks)
    own_s = sum(phases.get(name, PhaseCost()).cpu_s for name in RECIPE_PHASES)
    peaks = [one.peak_memory_bytes / MEGABYTE for one in tasks]
    figures = [
        Figure(
            case=recipe,
            name="CPU a plane",
            value=cpu_s / planes if planes else None,
            unit="s",
            reference="the recipe itself",
            reference_value=own_s / planes if planes else None,
            n=planes,
        ),
        Figure(
            case=recipe,
            name="peak memory",
            value=max(peaks),
            unit="MB",
            # What the caller's process held before is no cost of the recipe: there the figure has no aim.
            aim=_memory_aim(recipe) if records.in_workers else None,
            reference="" if records.in_workers else "in the caller's process, with all it held",
            n=len(tasks),
        ),
    ]
    blocks = [one.peak_memory_bytes / MEGABYTE for one in tasks if one.task.startswith("block")]
    third = len(blocks) // 3
    if third:
        figures.append(
            Figure(
                case=recipe,
                name="peak memory, last third of its blocks above the first",
                value=float(np.median(blocks[-third:]) - np.median(blocks[:third])),
                unit="MB",
                aim=GROWTH_AIM_MB,
                reference="median of the first third",
                reference_value=float(np.median(blocks[:third])),
                n=len(blocks),
            )
        )
    idle = idle_while_blocks_were_left(tasks, max(one.workers for one in records.stretches))
    if idle:
        figures.append(
            Figure(
                case=recipe,
                name="idlest worker, while blocks were left",
                value=100.0 * idle[-1],
                unit="% of wall",
                aim=IDLE_AIM,
                reference="busiest worker",
                reference_value=100.0 * idle[0],
                n=len(idle),
            )
        )
    return figures


def _budget(records: RunRecords, budget: Budget) -> list[Figure]:
    return [
        Figure(
            case="worker time",
            name=one.name,
            value=one.share,
            unit="%",
            reference="CPU s",
            reference_value=one.cpu_s,
            n=len(records.tasks),
        )
        for one in budget.shares
    ] + [
        Figure(
            case="worker time",
            name="sum",
            value=sum(one.share for one in budget.shares),
            unit="%",
            reference="CPU s",
            reference_value=budget.cpu_s,
            n=len(records.tasks),
        )
    ]
