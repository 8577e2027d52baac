"""`resume [RUN]`: the same plan, only what is missing."""

from __future__ import annotations

import sys

import click

from archive_proc.cli.options import command_words, opened, quiet
from archive_proc.cli.outcomes import print_outcome


@click.command("resume")
@click.argument("run", required=False)
@click.option("--site", metavar="NAME", help="Where: local, serial, slurm:NAME, or a profile of sites/ [where it ran].")
@click.option("--workers", type=click.IntRange(1), help="Worker processes [one a core].")
@click.option(
    "--notify", metavar="CMD", help="At the end, or when a recipe is paused; words as in a shell, run by none."
)
@click.pass_context
def command(context: click.Context, run: str | None, site: str | None, workers: int | None, notify: str | None) -> None:
    """Continue RUN (the latest): its plan exactly, only what is missing."""
    archive = opened(context)
    run_id = archive.run_id(run)
    outcome = archive.resume(
        run_id,
        site=archive.site(site or archive.status(run_id).site, workers, command_words(notify)),
        progress=not quiet(context),
    )
    print_outcome(archive, archive.load_plan(outcome.plan_id), outcome)
    sys.exit(outcome.exit_status)
