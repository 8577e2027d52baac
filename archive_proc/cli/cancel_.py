"""`cancel [RUN]`: stop gracefully."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from archive_proc.cli.options import opened
from archive_proc.errors import NotFoundError

if TYPE_CHECKING:
    from archive_proc.archive import Archive

_LOOK_S = 1.0


@click.command("cancel")
@click.argument("run", required=False)
@click.option("--wait", is_flag=True, help="Until it has stopped.")
@click.pass_context
def command(context: click.Context, run: str | None, wait: bool) -> None:
    """Ask the driver of RUN (the latest) to stop: running tasks end, nothing new starts, all that is sealed is kept.

    The driver may work on another host: it is asked through the run's directory, and looks there several times a
    second (a shared file system may show it what is new only after half a minute). One that still plans stops before
    its first task; a detached driver that has not begun is taken out of the queue.
    """
    from archive_proc.flow.status_text import status_line

    archive = opened(context)
    try:
        status = archive.status(run)
    except NotFoundError:
        if run is not None or not (_stop_driver(archive, wait) or _take_back(archive)):
            raise
        return
    if not status.is_running and run is None and (_stop_driver(archive, wait) or _take_back(archive)):
        return
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


def _stop_driver(archive: Archive, wait: bool) -> bool:
    """Ask a driver to stop that plans, or is between two rounds: no run tells of it. Whether there was one."""
    from archive_proc.execution.lock import ask_to_stop, holder_of

    asked = ask_to_stop(archive.layout)
    if asked is None:
        return False
    where = f"pid {asked.writer.pid} on {asked.writer.host}, `{asked.purpose}`"
    if not wait:
        click.echo(f"the driver ({where}) was asked to stop; it does before its next task")
        return True
    while (now := holder_of(archive.layout)) is not None and now.token == asked.token:
        time.sleep(_LOOK_S)
    click.echo(f"the driver ({where}) has stopped")
    return True


def _take_back(archive: Archive) -> bool:
    """Cancel detached drivers that no run tells of yet; whether there was one."""
    jobs = archive.cancel_detached()
    for job in jobs:
        click.echo(f"job {job}, a detached driver without a run yet, was cancelled")
    return bool(jobs)
