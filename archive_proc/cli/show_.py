"""`show ID`: one page."""

from __future__ import annotations

import click

from archive_proc.cli.options import opened


@click.command("show")
@click.argument("identifier", metavar="ID")
@click.pass_context
def command(context: click.Context, identifier: str) -> None:
    """One page about an observation, product, process, run, plan, group, target or file.

    Any unambiguous start of an ID will do.
    """
    click.echo(opened(context).show(identifier), nl=False)
