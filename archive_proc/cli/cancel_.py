"""`cancel [RUN]`: stop gracefully."""

from __future__ import annotations

import click

from archive_proc.cli.options import opened


@click.command("cancel")
@click.argument("run", required=False)
@click.pass_context
def command(context: click.Context, run: str | None) -> None:
    """Ask the driver of RUN (the latest) to stop: running tasks end, nothing new starts, all that is sealed is kept."""
    archive = opened(context)
    status = archive.status(run)
    if status.state != "running":
        click.echo(f"run:{status.run_id} is not running ({status.state}); nothing to cancel")
        return
    archive.cancel(status.run_id)
    click.echo(f"run:{status.run_id} was asked to stop; archive-proc status shows when it has")
