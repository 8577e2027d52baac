"""`bench project` and `bench compare`: measured runs, on other workers."""

from __future__ import annotations

import sys

import click

from archive_proc.catalog.selection import Selection
from archive_proc.cli.options import opened, selection_options
from archive_proc.errors import MisuseError


@click.command("project")
@selection_options
@click.option("--to", multiple=True, metavar="TYPE", help="Product types wanted [the final ones].")
@click.option("--preset", metavar="NAME", help="Parameter set of the recipes.")
@click.option("--site", metavar="NAME", help="Site whose chunks and walltime are assumed [that of the archive].")
@click.option(
    "--measured",
    multiple=True,
    metavar="ARCHIVE[:RUN]",
    help="A run that did work, and tells the costs; several test each other [the archive's own].",
)
@click.option("--workers", default="1,16,64,256,1024", show_default=True, metavar="N,...", help="Sizes to project to.")
@click.option(
    "--semesters", type=click.IntRange(1), default=11, show_default=True, help="As many such semesters: the archive."
)
@click.option("--start", metavar="LOW,HIGH", default="30,340", show_default=True, help="s until a worker works.")
@click.option("--file-system", type=click.FloatRange(min=0.001), default=20.0, show_default=True, help="GB/s, of all.")
@click.option("--client", type=click.FloatRange(min=0.001), default=800.0, show_default=True, help="MB/s of a worker.")
@click.option(
    "--files", type=click.FloatRange(min=1), default=20000.0, show_default=True, help="Made a second, by all."
)
@click.option("--crashes", type=click.FloatRange(min=0), default=0.02, show_default=True, help="A worker and hour.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of scatter, starts and crashes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--strict", is_flag=True, help="Exit 4 when an aim is missed.")
@click.pass_context
def project(
    context: click.Context,
    selection: Selection,
    to: tuple[str, ...],
    preset: str | None,
    site: str | None,
    measured: tuple[str, ...],
    workers: str,
    semesters: int,
    start: str,
    file_system: float,
    client: float,
    files: float,
    crashes: float,
    seed: int,
    as_json: bool,
    strict: bool,
) -> None:
    """How long a plan would take on workers that are not at hand: projected, by a model held against measured runs.

    The archive may be one without pixels (simulate semester). What limits is named at every size.
    """
    from archive_proc.bench.figures import report_json, table
    from archive_proc.bench.project.bench import bench_project, measured_run
    from archive_proc.bench.project.machine import machine_of
    from archive_proc.flow.collector import paused

    sizes, limits = _numbers("--workers", workers), _numbers("--start", start)
    if len(limits) != 2 or limits[0] > limits[1]:
        raise MisuseError("AP-CLI-007", "is not LOW,HIGH", subject=f"--start {start}", remedy="--start 30,340")
    if min(sizes) < 1:
        raise MisuseError("AP-CLI-007", "is not 1 or more", subject=f"--workers {workers}", remedy="--workers 1,16,64")
    archive = opened(context, preset)
    runs = [measured_run(one) for one in measured or _own(archive.root)]
    machine = machine_of(
        archive.site(site),
        (float(limits[0]), float(limits[1])),
        file_system_gb_s=file_system,
        client_mb_s=client,
        metadata_per_s=files,
        crashes_per_hour=crashes,
    )
    with paused():
        plan = archive.plan(selection, to)
        report = bench_project(archive, plan, runs, machine, sizes, semesters=semesters, seed=seed)
    click.echo(report_json(report) if as_json else table(report))
    if strict and report.missed:
        sys.exit(4)


@click.command("compare")
@click.argument("run", metavar="ARCHIVE[:RUN]")
@click.argument("other", metavar="ARCHIVE[:RUN]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def compare(run: str, other: str, as_json: bool) -> None:
    """Two runs of one plan: speed-up, efficiency, serial fraction. Runs of different plans are refused."""
    from archive_proc.bench.figures import report_json, table
    from archive_proc.bench.project.bench import measured_run
    from archive_proc.bench.same_plan import compared

    report = compared(measured_run(run), measured_run(other))
    click.echo(report_json(report) if as_json else table(report))


def _own(root: object) -> tuple[str, ...]:
    """The archive itself, where a run of it did work; else none, which the bench answers."""
    from pathlib import Path

    from archive_proc.storage.layout import Layout
    from archive_proc.storage.runs import run_ids

    return (str(root),) if run_ids(Layout(Path(str(root)))) else ()


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(one) for one in text.split(","))
    except ValueError:
        raise MisuseError(
            "AP-CLI-007", "are not numbers", subject=f"{option} {text}", remedy=f"{option} 1,16"
        ) from None
