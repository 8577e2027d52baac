"""`report [RUN]`: pictures of what a run made, and its page."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click

from archive_proc.cli.options import opened, quiet, shown_path


@click.command("report")
@click.argument("run", required=False)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Write there, with copies of the pictures [runs/RUN/report].")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Draw up-to-date pictures anew too.")
@click.option("--site", metavar="NAME", help="Site profile that bounds the drawing processes.")
@click.option("--workers", type=click.IntRange(1), help="Drawing processes [one a core].")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def command(
    context: click.Context,
    run: str | None,
    output: Path | None,
    everything: bool,
    site: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Draw a page for each observation and master of RUN (the latest), and write the run's HTML report.

    Only what is missing or outdated is drawn. Exits 3 when something of the run failed or is blocked.
    """
    archive = opened(context)
    progress = None if quiet(context) else _progress(sys.stderr.isatty())
    written = archive.report(
        run, directory=output, everything=everything, site=archive.site(site, workers), progress=progress
    )
    report, drawing = written.report, written.report.drawing
    if as_json:
        click.echo(
            json.dumps(
                {
                    "schema": 1,
                    "run_id": report.run.run_id,
                    "index": str(written.index),
                    "json": str(written.json),
                    "verdict": report.verdict,
                    "counts": dict(report.counts),
                    "drawn": drawing.drawn,
                    "up_to_date": drawing.stood,
                    "cpu_s_median": drawing.median_cpu_s,
                    "cpu_s_max": drawing.max_cpu_s,
                    "peak_memory_mb": drawing.peak_memory_mb,
                },
                indent=1,
            )
        )
    else:
        click.echo(f"run:{report.run.run_id[:12]}  {report.verdict}")
        cost = "" if drawing.median_cpu_s is None else f", {drawing.median_cpu_s:g} s CPU each (median)"
        click.echo(f"pictures of {drawing.drawn} subjects drawn, {drawing.stood} up to date{cost}")
        click.echo(shown_path(written.index))
    sys.exit(report.exit_status)


def _progress(live: bool) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        if live:
            click.echo(f"\rdrawing {done} of {total}", err=True, nl=done == total)
        elif done == total:
            click.echo(f"drawing: {total} subjects looked at", err=True)

    return show
