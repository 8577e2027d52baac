"""`bench semester`: part of a semester with pixels, on a site and serially."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click


@click.command("semester")
@click.option(
    "--site",
    default="slurm:local",
    show_default=True,
    metavar="NAME",
    help="Where it is reduced: slurm:local is a throw-away SLURM of its own (or the one that SLURM_CONF names).",
)
@click.option(
    "--scale",
    type=click.FloatRange(0.0, 0.1, min_open=True),
    default=0.005,
    show_default=True,
    help="Part of a busy semester.",
)
@click.option("--period", default="P97", show_default=True, metavar="P97", help="The ESO period.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another semester of the same kind.")
@click.option(
    "--bin", "binning", type=click.IntRange(1, 2), default=2, show_default=True, help="One pixel in place of N by N."
)
@click.option("--work", metavar="DIR", help="Where raw files and archives are made, and stay [a temporary directory].")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--strict", is_flag=True, help="Exit 4 when an aim is missed.")
def semester(
    site: str, scale: float, period: str, seed: int, binning: int, work: str | None, as_json: bool, strict: bool
) -> None:
    """Part of a semester with pixels (IRDIS imaging), reduced on a site and serially: complete, and alike.

    How many complete observations end in a centred cube, whether every array equals the serial run's, and what both
    cost. Minutes of CPU for every thousandth.
    """
    from archive_proc.bench.figures import report_json, table
    from archive_proc.bench.pixel_semester import bench_semester
    from archive_proc.simulate.semester.nights import period_named
    from archive_proc.simulate.semester.write import SemesterSpec

    spec = SemesterSpec(period=period_named(period), scale=scale, seed=seed)
    with tempfile.TemporaryDirectory(prefix="archive-proc-bench-") as temporary:
        report = bench_semester(site, spec, binning, Path(work) if work else Path(temporary))
    click.echo(report_json(report) if as_json else table(report))
    if strict and report.missed:
        sys.exit(4)
