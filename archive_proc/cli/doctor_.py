"""`doctor`: whether work could begin here, looked at for real."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archive_proc.cli.fitting import folded
from archive_proc.cli.options import opened
from archive_proc.errors import NotFoundError, PreconditionError, printable

if TYPE_CHECKING:
    from archive_proc.execution.doctor.finding import Finding


@click.command("doctor")
@click.option("--site", metavar="NAME", help="The profile that work would run with [the archive's default].")
@click.option("--job", is_flag=True, help="On SLURM: submit one tiny job that reports from a node.")
@click.option("--patience", type=click.FloatRange(1), default=120.0, metavar="S", help="How long --job may take [120].")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--on-node", type=click.Path(path_type=Path), hidden=True, help="What --job runs.")
@click.pass_context
def command(
    context: click.Context, site: str | None, job: bool, patience: float, as_json: bool, on_node: Path | None
) -> None:
    """Environment, file system, archive, site and scheduler: what passes, what may hurt, what would fail, what to do.

    Outside of an archive the current directory is looked at. Exits 5 when something fails.
    """
    if on_node is not None:
        from archive_proc.execution.doctor.node import answer_from_node

        answer_from_node(on_node)
        return
    from archive_proc.execution.doctor.finding import Verdict

    findings = _findings(context, site, patience if job else None)
    counts = Counter(one.verdict for one in findings)
    if as_json:
        items = [
            {
                "part": one.part,
                "name": one.name,
                "verdict": one.verdict.value,
                "says": one.says,
                "code": one.code,
                "remedy": one.remedy,
            }
            for one in findings
        ]
        numbers = {one.value: counts[one] for one in Verdict}
        click.echo(json.dumps({"schema": 1, "counts": numbers, "items": items}, indent=1))
    else:
        width = max(len(one.name) for one in findings)
        part = ""
        for one in findings:
            if one.part != part:
                part = one.part
                click.echo(part)
            line = f"  {one.verdict.value}  {one.name.ljust(width)}  {printable(one.says)}"
            if one.verdict is not Verdict.PASS:
                line += f"  {one.code} -> {printable(one.remedy)}"
            click.echo(folded(line, width + 10))
        click.echo(", ".join(f"{counts[one]} {one.value}" for one in Verdict))
    if counts[Verdict.FAIL]:
        sys.exit(PreconditionError.exit_status)


def _findings(context: click.Context, site: str | None, job_patience_s: float | None) -> tuple[Finding, ...]:
    """Of the archive this call works in; of the current directory where there is none."""
    from archive_proc.execution.doctor.examination import examine
    from archive_proc.flow.sites import site_named

    try:
        return opened(context).doctor(site, job_patience_s=job_patience_s)
    except NotFoundError as answer:
        if answer.code != "AP-CLI-002" or context.obj["archive"]:
            raise
    click.echo("no archive here: the current directory was looked at", err=True)
    return examine(site_named(site or "local", None), Path.cwd(), None, job_patience_s)
