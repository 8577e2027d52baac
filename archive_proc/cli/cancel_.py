"""`cancel [RUN]`: stop gracefully."""

from __future__ import annotations

import time

import click

from archive_proc.cli.options import opened

_LOOK_S = 1.0


@click.command("cancel")
@click.argument("run", required=False)
@click.option("--wait", is_flag=True, help="Until it has stopped.")
@click.pass_context
def command(context: click.Context, run: str | None, wait: bool) -> None:
    """Ask the driver of RUN (the latest) to stop: running tasks end, nothing new starts, all that is sealed is kept.

    The driver may work on another host: it is asked through the run's directory, and looks there several times a
    second (a shared file system may show it what is new only after half a minute).
    """
    from archive_proc.flow.status_text import status_line

    archive = opened(context)
    status = archive.status(run)
    if not status.is_running:
        click.echo(f"run:{status.run_id} is not running ({status.state}); nothing to cancel")
        return
    archive.cancel(status.run_id)
    if not wait:
        click.echo(f"run:{status.run_id} was asked to stop; archive-proc status shows when it has")
        return
    while (status := archive.status(status.run_id)).is_running:
        time.sleep(_LOOK_S)
    click.echo(f"run:{status.run_id} {status_line(status)}")
