"""`bench engine`: what the engine costs, with stand-ins in place of science."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from archive_proc.errors import MisuseError


@click.command("engine")
@click.option(
    "--processes", type=click.IntRange(0), default=2000, show_default=True, help="Stand-ins of a semester; 0: none."
)
@click.option(
    "--real", default="1,2,4", show_default=True, metavar="N,...", help="Numbers of real workers; empty: none."
)
@click.option(
    "--simulated", type=click.IntRange(0, 1000), default=100, show_default=True, help="Simulated workers; 0: none."
)
@click.option(
    "--longest",
    default="",
    metavar="N,...",
    help="Also a sequence of 3,360 planes in a semester's mix, on so many real workers and on the simulated ones.",
)
@click.option("--work", metavar="DIR", help="Where archives of stand-ins are made [a temporary directory].")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--strict", is_flag=True, help="Exit 4 when an aim is missed.")
def engine(
    processes: int, real: str, simulated: int, longest: str, work: str | None, as_json: bool, strict: bool
) -> None:
    """What driver and scheduler cost a process, how busy they keep workers, and what memory they take.

    Stand-ins take the place of science: nothing they make can become a product. --processes 100000 is the campaign.
    """
    from archive_proc.bench.engine.report import bench_engine
    from archive_proc.bench.figures import report_json, table

    workers, beside = _counts("--real", real), _counts("--longest", longest)
    with tempfile.TemporaryDirectory(prefix="archive-proc-bench-") as temporary:
        report = bench_engine(processes, workers, simulated, Path(work) if work else Path(temporary), beside)
    click.echo(report_json(report) if as_json else table(report))
    if strict and report.missed:
        sys.exit(4)


def _counts(option: str, text: str) -> list[int]:
    try:
        return [int(one) for one in text.split(",") if one.strip()]
    except ValueError:
        raise MisuseError(
            "AP-CLI-007", f"{text!r} is no list of numbers", subject=f"bench engine {option}", remedy="such as 1,2,4"
        ) from None
