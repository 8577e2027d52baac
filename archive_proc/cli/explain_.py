"""`explain OBS|PRODUCT|GROUP`: why this calibration."""

from __future__ import annotations

import click

from archive_proc.cli.options import opened


@click.command("explain")
@click.argument("identifier", metavar="ID")
@click.option("--all", "every", is_flag=True, help="Every candidate, not only the nearest of each role.")
@click.pass_context
def command(context: click.Context, identifier: str, every: bool) -> None:
    """Say, criterion by criterion, why this calibration was chosen and not each other candidate."""
    from archive_proc.flow.explaining import explanation_lines

    found = opened(context).explain(identifier)
    click.echo("\n".join(explanation_lines(found, every=every)))
